"""The report in a headless Chromium: fits every width, asks the network for nothing, can be read in light and dark."""

from __future__ import annotations

import datetime as dt

import pytest

from compaction.gold import refresh
from report import read_day, render
from tests import lakes
from tests.browser import chromium

_CLIPPED = """[...document.querySelectorAll('td, th, p, h1, h2')]
    .filter(each => each.scrollWidth > each.clientWidth + 1 && each.clientWidth > 0).map(each => each.innerText)"""
_CONTRAST = """(() => {
    const light = colour => {
        const [r, g, b] = colour.match(/[\\d.]+/g).map(Number)
            .map(v => v / 255).map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const ground = light(getComputedStyle(document.body).backgroundColor);
    return Math.min(...[...document.querySelectorAll('h1, h2, p, td, th, small')].map(each => {
        const ink = light(getComputedStyle(each).color);
        return (Math.max(ink, ground) + 0.05) / (Math.min(ink, ground) + 0.05);
    }));
})()"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    lake = lakes.make(folder)
    for day in range(1, 22):
        at = dt.datetime(2026, 11, day, 12, tzinfo=dt.UTC)
        rows = [lakes.silver(at=at, session_id=f"{day}-{n}", title_id=f"t{n % 4}") for n in range(40)]
        lakes.append(lake, "silver", rows)
    long = {"title": "A Title of Many Words and One" + "Unbreakable" * 6}
    lakes.append(lake, "silver", [{**lakes.silver(session_id="long", title_id="t1"), **long}])
    lakes.append(lake, "quarantine", [lakes.refused(reasons=["wrong_type:a_field_with_a_long_name"])])
    refresh(lake)
    path = folder / "report.html"
    path.write_text(render(read_day(lake.uri, dt.date(2026, 11, 21)), lake.uri), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 800, 1400])
def test_it_fits_and_can_be_read(browser, place, width, scheme):
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    asked, said = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.goto(place.as_uri())
    assert "Saturday, 21 November 2026" == page.inner_text("h1")
    assert width >= page.evaluate("document.documentElement.scrollWidth")
    assert [] == page.evaluate(_CLIPPED)
    assert page.evaluate(_CONTRAST) >= 4.5, "WCAG 2.2, 1.4.3: contrast of text"
    assert ([place.as_uri()], []) == (asked, said)
    context.close()
