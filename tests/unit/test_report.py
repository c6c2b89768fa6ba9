"""The report: its numbers are those of the events, computed by hand; its file stands alone; what is missing is said."""

from __future__ import annotations

import datetime as dt
import re
import shutil
from html.parser import HTMLParser

import pytest

from compaction.gold import refresh
from compaction.repair import repair
from playlake.cli import main
from query import connect
from report import read_day, render
from report.page import change
from tests import lakes

DAY = dt.date(2026, 11, 21)
STEPS = [(0, "PLAY_START"), (60, "HEARTBEAT"), (90, "PLAY_STOP")]


def sessions(date: str, count: int, **changes) -> list[dict]:
    """That many sessions of one play and 90 seconds each, in hours of their own."""
    return [
        row
        for number in range(count)
        for row in lakes.session(
            f"{date}T{8 + number:02}:00:00",
            STEPS,
            session_id=f"{date}-{number}-{changes.get('user_id')}",
            **changes,
        )
    ]


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    lake = lakes.make(tmp_path_factory.mktemp("report"))
    lakes.append(lake, "silver", sessions("2026-11-17", 2) + sessions("2026-11-20", 6, title_id="t2"))
    today = sessions("2026-11-21", 3) + sessions("2026-11-21", 1, title_id="<b>x</b>", country=None, user_id="u2")
    repeat = {**today[0], **lakes.position()}
    lakes.append(lake, "silver", [*today, repeat])
    lakes.append(lake, "silver", [lakes.undated(client_ts="2026-11-21T09:00:00Z", event_type="PAUSE", session_id="p")])
    repair(lake)
    lakes.append(lake, "silver", [lakes.undated(ingest="2026-11-21T12:00:00")])
    lakes.append(lake, "quarantine", [lakes.refused(), lakes.refused(reasons=["rule:a<script>"])])
    refresh(lake)
    return lake


@pytest.fixture(scope="module")
def day(lake):
    return read_day(lake.uri, DAY)


def test_the_numbers_are_those_of_the_date_s_events(day):
    expected = {"events": 13, "plays": 4, "watch_hours": 0.1, "viewers": 2, "new_viewers": 1, "titles": 2}
    assert {"event_date": DAY, **expected} == pytest.approx(dict(day.numbers))
    assert [(17, 2), (20, 6)] == [(row["event_date"].day, row["plays"]) for row in day.week]


def test_averages_are_over_the_dates_that_the_lake_reaches_back(day):
    assert 4 == day.days
    assert [("t1", 3, 0.5), ("<b>x</b>", 1, 0.0)] == [
        ("t1" if row["name"] == "The Long Evening" else row["name"], row["plays"], row["before"]) for row in day.titles
    ]
    assert [("DE", 3, 2.0), ("none sent", 1, 0.0)] == [(c["name"], c["plays"], c["before"]) for c in day.countries]
    assert [("mobile", 4, 2.0)] == [(row["name"], row["plays"], row["before"]) for row in day.devices]
    hours = {row["event_hour"]: (row["plays"], row["before"]) for row in day.hours}
    assert list(range(24)) == list(hours)
    assert {8: (2, 0.5), 9: (1, 0.5), 13: (0, 0.25), 14: (0, 0.0)} == {hour: hours[hour] for hour in (8, 9, 13, 14)}


def test_the_ledger_balances_and_says_when_it_does_not(lake, day):
    assert (14, 1, 13, True) == (
        day.scorecard["silver_rows"],
        day.scorecard["repeated_rows"],
        day.counted_once,
        day.is_balanced,
    )
    assert "13 ✓" in render(day, lake.uri)
    off = render(type(day)(**{**vars(day), "numbers": {**day.numbers, "events": 11}}), lake.uri)
    assert "They differ by 2" in off
    assert "11 ✗" in off


def test_repairs_and_codes_are_told(day):
    assert (DAY, 1, 0, 1) == tuple(day.repairs[-1].values())
    assert {("malformed_json", "quarantined", 1), ("rule:a<script>", "quarantined", 1)} <= {
        (code["code"], code["outcome"], code["found"]) for code in day.codes
    }


def test_a_volume_anomaly_is_told_once_a_later_date_came(tmp_path):
    lake = lakes.make(tmp_path)
    for days in (28, 21, 14, 7):
        at = dt.datetime(2026, 11, 21, tzinfo=dt.UTC) - dt.timedelta(days=days)
        rows = [lakes.silver(at=at, session_id=f"{days}-{number}") for number in range(60)]
        lakes.append(lake, "silver", rows)
    lakes.append(lake, "silver", [lakes.silver(at="2026-11-21T00:00:00")])
    refresh(lake)
    before = render(read_day(lake.uri, DAY), lake.uri)
    assert "Told once a later date has events" in before
    lakes.append(lake, "silver", [lakes.silver(at="2026-11-22T00:00:00")])
    refresh(lake)
    day = read_day(lake.uri, DAY)
    assert [(None, 1, 60.0), (0, 1, 60.0)] == [(a["event_hour"], a["events"], a["expected"]) for a in day.anomalies]
    assert "2 volume anomalies" in text_of(render(day, lake.uri))


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.words.append(data)


def parsed(html: str) -> _Text:
    found = _Text()
    found.feed(html)
    return found


def text_of(html: str) -> str:
    return " ".join(" ".join(parsed(html).words).split())


def test_the_file_stands_alone_and_what_events_say_is_text(lake, day):
    html = render(day, lake.uri)
    found = parsed(html)
    assert not {"script", "link", "img", "iframe", "object"} & {tag for tag, _ in found.tags}
    addresses = [attrs[name] for _, attrs in found.tags for name in ("src", "href", "action") if name in attrs]
    assert all(address.startswith("#") for address in addresses), addresses
    assert not re.search(r"url\(|@import", html)
    assert "<b>x</b>" in text_of(html)
    assert "rule:a<script>" in text_of(html)


def test_the_page_says_the_numbers(lake, day):
    text = text_of(render(day, lake.uri))
    assert "Saturday, 21 November 2026" in text
    (plays,) = (
        connect(lake.uri)
        .execute(
            "select count(distinct event_id) from silver where event_type = 'PLAY_START' and event_date = '2026-11-21'"
        )
        .fetchone()
    )
    assert f"{plays} plays and 0 hours watched, +100 % plays against the average of the 4 dates before" in text
    assert "The Long Evening Movie 3 0.1 ×6.0" in text


@pytest.mark.parametrize(
    ("now", "before", "said"),
    [
        (104, 100, "+4 %"),
        (88, 100, "−12 %"),
        (100.2, 100, "±0 %"),
        (340, 100, "×3.4"),
        (5, 0, "new"),
        (0, 0, "±0 %"),
        (5, None, ""),
    ],
)
def test_a_change_is_said_as_people_say_it(now, before, said):
    assert said == change(now, before)


def test_a_lake_s_first_date_has_nothing_to_compare_with(tmp_path):
    lake = lakes.make(tmp_path)
    lakes.append(lake, "silver", sessions("2026-11-21", 1))
    refresh(lake)
    day = read_day(lake.uri, DAY)
    assert (0, None, None) == (day.days, day.scorecard_before, day.titles[0]["before"])
    assert "against the average" not in text_of(render(day, lake.uri))


def test_the_verb_writes_the_file(lake, tmp_path, capsys):
    place = tmp_path / "report.html"
    assert 0 == main(["report", "--lake", lake.uri, "--date", "2026-11-21", "-o", str(place)])
    assert f"{place}: 2026-11-21" in capsys.readouterr().out
    assert 0 == main(["report", "--lake", lake.uri, "--date", "2026-11-21", "-o", "-"])
    assert place.read_text(encoding="utf-8") == capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--date", "2026-11-19", "-o", "-"), "have no event on 2026-11-19; they reach from 2026-11-17 to 2026-11-21"),
        (("--date", "19.11.2026", "-o", "-"), "'19.11.2026' is no date: write YYYY-MM-DD"),
        (("--date", "2026-11-21", "-o", "/nowhere/report.html"), "choose another place with -o"),
        (("--date", "2026-11-21"), "--output is needed"),
    ],
)
def test_what_is_wrong_is_one_line(lake, capsys, arguments, said):
    assert 2 == main(["report", "--lake", lake.uri, *arguments])
    told = capsys.readouterr().err
    assert said in told
    assert 1 == told.count("\n")


def test_gold_that_is_not_there_or_empty_is_one_line(tmp_path, capsys):
    lake = lakes.make(tmp_path)
    words = ["report", "--lake", lake.uri, "--date", "2026-11-21", "-o", "-"]
    assert 2 == main(words)
    assert f"run `playlake gold --lake {lake.uri}`" in capsys.readouterr().err
    refresh(lake)
    assert 2 == main(words)
    assert "its gold tables are empty" in capsys.readouterr().err
    lakes.append(lake, "silver", [lakes.silver()])
    refresh(lake)
    shutil.rmtree(lake.path("gold/quality_codes"))
    assert 2 == main(words)
    told = capsys.readouterr().err
    assert "the report needs gold.quality_codes, which" in told
    assert 1 == told.count("\n")
