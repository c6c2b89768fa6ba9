"""The dashboard in a headless Chromium: pages load, their numbers are SQL's, and lakes that are not there are said."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from compaction.gold import refresh
from compaction.repair import repair
from playlake.cli import main
from query import connect
from tests import lakes
from tests.browser import PAGES, chromium, dashboard, metrics, open_page, settle

STEPS = [(0, "PLAY_START"), (60, "HEARTBEAT"), (90, "PLAY_STOP")]


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    lake = lakes.make(tmp_path_factory.mktemp("dashboard"))
    rows = []
    for number, (country, device, title) in enumerate(
        [("DE", "mobile", "t1"), ("DE", "web", "t2"), ("US", "web", "t3"), (None, None, "t9"), ("US", "web", "t1")]
    ):
        start = f"2026-11-{18 + number % 3}T{10 + number}:00:00"
        changes = {"title_id": title, "country": country, "device_type": device}
        rows += lakes.session(start, STEPS, session_id=f"s{number}", **changes)
    lakes.append(lake, "silver", rows)
    lakes.append(lake, "silver", [lakes.undated(client_ts="2026-11-19T09:00:00Z", country="US", device_type="web")])
    lakes.append(lake, "bronze", [lakes.record() for _ in range(18)])
    lakes.append(lake, "quarantine", [lakes.refused()])
    repair(lake)
    refresh(lake)
    return lake


@pytest.fixture(scope="module")
def url(lake, tmp_path_factory):
    with dashboard(lake.uri, tmp_path_factory.mktemp("log") / "log") as found:
        yield found


@pytest.fixture
def page(browser):
    """A page that fails the test when a script on it does."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.on("pageerror", lambda error: pytest.fail(str(error)))
    yield page
    context.close()


def asked(lake, sql: str) -> tuple:
    return connect(lake.uri).execute(sql).fetchall()[0]


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_every_page_loads_without_errors(browser, url, width, scheme):
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    for path, title in PAGES.items():
        open_page(page, f"{url}/{path}")
        assert title == page.locator("h1").inner_text()
        assert [] == [each.inner_text() for each in page.locator("[data-testid=stException]").all()]
        assert width >= page.evaluate("document.documentElement.scrollWidth"), path
        ground = page.evaluate("getComputedStyle(document.querySelector('.stApp')).backgroundColor")
        assert (scheme == "light") == (ground == "rgb(255, 255, 255)"), ground
    context.close()
    assert [] == errors


def test_figures_are_those_of_sql(page, lake, url):
    plays, hours, titles, countries = asked(
        lake,
        "select sum(plays), sum(watch_seconds) / 3600, (select count(*) from gold.top_titles where plays > 0), "
        "(select count(distinct country) from gold.geographic_distribution where plays > 0) from gold.title_daily",
    )
    figures = {
        "Plays": f"{plays:,}",
        "Watch hours": f"{hours:,.1f}",
        "Titles played": f"{titles:,}",
        "Countries": f"{countries:,}",
    }
    open_page(page, f"{url}/titles-and-genres")
    assert figures == metrics(page, figures)
    bronze, silver, quarantine = asked(
        lake, "select (select count(*) from bronze), (select count(*) from silver), (select count(*) from quarantine)"
    )
    names = ("Bronze", "Silver", "Quarantine", "Repeats dropped")
    counts = (bronze, silver, quarantine, bronze - silver - quarantine)
    figures = {name: f"{count:,}" for name, count in zip(names, counts, strict=True)}
    open_page(page, f"{url}/ledger")
    assert figures == metrics(page, figures)
    figures = {"Rows waiting": "0", "Rows repaired": "1", "Repairs": "1"}
    open_page(page, f"{url}/null-partition")
    assert figures == metrics(page, figures)


def test_a_filter_narrows_every_figure(page, lake, url):
    open_page(page, f"{url}/titles-and-genres")
    box = page.locator("[data-testid=stMultiSelect]").first.locator("input")
    box.fill("DE")
    box.press("Enter")
    plays, hours, titles = asked(
        lake,
        "select sum(plays), sum(watch_seconds) / 3600, count(distinct title_id) from gold.audience_titles "
        "where country = 'DE'",
    )
    in_silver = "select count(*) from silver where event_type = 'PLAY_START' and country = 'DE'"
    assert (plays,) == asked(lake, in_silver)
    figures = {"Plays": f"{plays}", "Watch hours": f"{hours:,.1f}", "Titles played": f"{titles}", "Countries": "1"}
    assert figures == metrics(page, figures)


def test_retention_funnel_and_health_say_what_sql_says(page, lake, url):
    viewers, month, sticky, back = asked(
        lake,
        "select last(daily_viewers order by event_date), last(monthly_viewers order by event_date), "
        "last(stickiness order by event_date), avg(retained_day_1) from gold.viewer_retention",
    )
    figures = {"Viewers": f"{viewers:,}", "Viewers in 28 days": f"{month:,}", "Stickiness": f"{sticky:.1%}"}
    figures["Back the next day"] = f"{back:.1%}"
    open_page(page, f"{url}/retention")
    assert figures == metrics(page, figures)
    started, ended = asked(
        lake, "select sum(viewings) filter (where step = 1), sum(viewings) filter (where step = 6) from gold.funnel"
    )
    figures = {
        "Viewings started": f"{started}",
        "Nearly all watched": f"{ended / started:.1%}",
        "Most are lost before": "quarter",
    }
    open_page(page, f"{url}/funnel")
    assert figures == metrics(page, figures)
    rows, refused, late, lag = asked(
        lake,
        "select sum(silver_rows), sum(quarantined_rows), sum(late_rows), max(ingest_lag_p99_s) "
        "from gold.pipeline_health",
    )
    shares = {"Bad share": f"{refused / (rows + refused):.1%}", "Late share": f"{late / rows:.1%}"}
    figures = {"Rows": f"{rows}", **shares, "Worst lag": f"{lag:.1f} s"}
    open_page(page, f"{url}/pipeline-health")
    assert figures == metrics(page, figures)


def dates_shown(page) -> str:
    """What the filter of dates says, such as 2026/11/20–2026/11/22."""
    return "".join(page.inner_text("[data-testid=stDateInput] [data-testid=stDateInputField]").split())


def test_dates_on_which_every_record_was_refused_are_shown_where_they_count(page, tmp_path):
    lake = lakes.make(tmp_path)
    lakes.append(lake, "quarantine", [lakes.refused(ingest="2026-11-22T12:00:00")])
    refresh(lake)
    with dashboard(lake.uri, tmp_path / "log") as url:
        figures = {"Rows": "0", "Quarantined": "1", "In the null partition": "0", "Repeats waiting": "0"}
        open_page(page, f"{url}/quality")
        assert figures == metrics(page, figures)
        figures_of_health = {"Rows": "0", "Bad share": "100.0%", "Late share": "-", "Worst lag": "-"}
        open_page(page, f"{url}/pipeline-health")
        assert figures_of_health == metrics(page, figures_of_health)
        open_page(page, f"{url}/titles-and-genres")
        assert "No event with a date has come yet" in page.inner_text("[data-testid=stAlert]")
    lakes.append(lake, "silver", [lakes.silver(at="2026-11-20T12:00:00")])
    refresh(lake)
    with dashboard(lake.uri, tmp_path / "log") as url:
        open_page(page, f"{url}/quality")
        assert "2026/11/20–2026/11/22" == dates_shown(page)
        assert figures | {"Rows": "1"} == metrics(page, figures | {"Rows": "1"})
        page.get_by_role("link", name="Titles and genres").click()
        page.wait_for_selector("h1:has-text('Titles and genres')")
        settle(page)
        assert [] == page.locator("[data-testid=stException]").all()
        assert "2026/11/20–2026/11/20" == dates_shown(page)


def test_volume_anomalies_are_counted_and_narrowed_by_country(page, url, tmp_path):
    open_page(page, f"{url}/volume-anomalies")
    assert "Nothing is out of line in this choice" in page.inner_text("[data-testid=stAlert]")
    lake = lakes.make(tmp_path)
    for day in (1, 8, 15, 22, 29):
        count = 3 if day == 22 else 60
        at = f"2026-10-{day:02}T12:00:00"
        lakes.append(lake, "silver", [lakes.silver(at=at, session_id=f"{day}-{number}") for number in range(count)])
        more = 90 if day == 22 else 60
        rows = [lakes.silver(at=at, session_id=f"US {day}-{number}", country="US") for number in range(more)]
        lakes.append(lake, "silver", rows)
    refresh(lake)
    found, whole, countries, fewer = asked(
        lake,
        "select count(*), count(*) filter (where event_hour is null), count(distinct country), "
        "count(*) filter (where deviation < 0) from gold.volume_anomalies",
    )
    assert (2, 1, 1, 2) <= (found, whole, countries, fewer)
    names = ("Anomalies", "Whole dates", "Countries", "Fewer than expected")
    with dashboard(lake.uri, tmp_path / "log") as own:
        figures = dict(zip(names, map(str, (found, whole, countries, fewer)), strict=True))
        open_page(page, f"{own}/volume-anomalies")
        assert figures == metrics(page, figures)
        box = page.locator("[data-testid=stMultiSelect]").first.locator("input")
        box.fill("DE")
        box.press("Enter")
        of_de = "select count(*) from gold.volume_anomalies where country = 'DE'"
        figures = dict(zip(names, map(str, (*asked(lake, of_de), 1, 1, 2)), strict=True))
        assert figures == metrics(page, figures)


def test_a_gold_table_that_is_not_there_is_said(page, tmp_path):
    lake = lakes.make(tmp_path)
    lakes.append(lake, "silver", [lakes.silver()])
    refresh(lake)
    shutil.rmtree(lake.path("gold/viewer_retention"))
    with dashboard(lake.uri, tmp_path / "log") as url:
        open_page(page, f"{url}/retention")
        assert "needs gold.viewer_retention, which this lake has not yet" in page.inner_text("[data-testid=stAlert]")


def test_lakes_that_are_not_there_empty_or_broken_have_a_friendly_page(page, tmp_path):
    with dashboard(str(tmp_path / "lake"), tmp_path / "log") as url:
        open_page(page, url)
        assert "There is no lake here yet" == page.inner_text("h1")
        assert f"playlake demo --lake {tmp_path}/lake" in page.inner_text("[data-testid=stCode] >> nth=0")
        lake = lakes.make(tmp_path)
        open_page(page, url)
        assert "No record has come yet" in page.inner_text("[data-testid=stAlert]")
        open_page(page, f"{url}/countries")
        assert f"playlake gold --lake {lake.uri}" in page.inner_text("[data-testid=stAlert]")
        Path(lake.path("silver"), "_delta_log", f"{0:020}.json").write_text("{}")
        open_page(page, f"{url}/null-partition")
        assert "This lake can't be read now" == page.inner_text("h1")


def test_a_port_in_use_is_said(capsys, url):
    assert 2 == main(["dashboard", "--lake", "x", "--port", url.rpartition(":")[2]])
    assert "choose another with --port" in capsys.readouterr().err
