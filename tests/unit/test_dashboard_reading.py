"""What the dashboard reads: right to the record, and no file that the log's statistics answer for."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from compaction.gold import refresh
from dashboard.reading import Choice, open_gold, recent, repairs
from schemas.errors import StoreUnavailable
from sink.lake import Lake, data_files
from tests import lakes


def minutes(lake: Lake) -> list[tuple[str, int, int]]:
    return [(f"{row['moment']:%H:%M:%S}", row["records"], row["refused"]) for row in recent(lake).to_pylist()]


def came(*times: str | None, refused: bool = False) -> list[dict[str, object]]:
    """Rows of bronze, or of quarantine, that came to the broker at these times."""
    make = lakes.refused if refused else lakes.record
    return [make(broker_timestamp=lakes.time(None if at is None else f"2026-11-21T{at}")) for at in times]


def unlink(lake: Lake, name: str) -> None:
    for path in data_files(lake.table(name)):
        Path(path).unlink()


def test_records_are_counted_by_ten_seconds_whether_a_file_spans_one_step_or_many(tmp_path):
    lake = lakes.make(tmp_path)
    lakes.append(lake, "bronze", came("12:00:00", "12:00:09.999999", None))
    lakes.append(lake, "bronze", came("12:00:09", "12:00:10", "12:05:00"))
    lakes.append(lake, "bronze", came(None))
    lakes.append(lake, "quarantine", came("12:00:10", refused=True))
    lakes.append(lake, "quarantine", came("12:00:10", "12:05:00", refused=True))
    assert [("12:00:00", 3, 0), ("12:00:10", 1, 2), ("12:05:00", 1, 1)] == minutes(lake)


def test_only_the_last_ten_minutes_before_the_newest_record_count(tmp_path):
    lake = lakes.make(tmp_path)
    lakes.append(lake, "bronze", came("11:40:00", "11:50:05", "11:50:10"))
    lakes.append(lake, "bronze", came("11:50:00", "11:50:09"))
    lakes.append(lake, "bronze", came("12:00:05"))
    assert [("11:50:10", 1, 0), ("12:00:00", 1, 0)] == minutes(lake)


def test_files_for_which_the_log_answers_are_not_opened(tmp_path):
    lake = lakes.make(tmp_path)
    lakes.append(lake, "bronze", came("10:00:00", "11:00:00"))
    lakes.append(lake, "bronze", came("12:00:01", "12:00:02"))
    unlink(lake, "bronze")
    assert [("12:00:00", 2, 0)] == minutes(lake)
    lakes.append(lake, "bronze", came("11:59:00", "12:00:03"))
    unlink_newest = set(data_files(lake.table("bronze")))
    assert [("11:59:00", 1, 0), ("12:00:00", 3, 0)] == minutes(lake)
    for path in unlink_newest:
        Path(path).unlink(missing_ok=True)
    with pytest.raises(StoreUnavailable, match="does not serve"):
        recent(lake)


def test_an_empty_lake_has_had_no_records_and_no_repairs(tmp_path):
    lake = lakes.make(tmp_path)
    assert [] == minutes(lake)
    assert [] == repairs(lake).to_pylist()


def test_repairs_are_read_from_the_files_that_hold_any(tmp_path):
    lake = lakes.make(tmp_path)
    lakes.append(lake, "silver", [lakes.silver()])
    unlink(lake, "silver")
    assert [] == repairs(lake).to_pylist()
    lakes.append(
        lake, "silver", [lakes.silver(), lakes.silver(repair_id="20261121T120000Z-ab", event_date_source="broker")]
    )
    [found] = repairs(lake).to_pylist()
    assert {
        "rows": 1,
        "from_payload": 0,
        "from_broker": 1,
        "first_date": dt.date(2026, 11, 21),
    }.items() <= found.items()


def test_dates_reach_to_those_on_which_every_record_was_refused(tmp_path):
    lake = lakes.make(tmp_path)
    lakes.append(lake, "quarantine", [lakes.refused(ingest="2026-11-22T12:00:00")])
    refresh(lake)
    late = dt.date(2026, 11, 22)
    gold = open_gold(lake.uri)
    assert gold.dates(["audience_hours"]) is None
    assert (late, late) == gold.dates(["quality_scorecard", "audience_hours"])
    lakes.append(lake, "silver", [lakes.silver(at="2026-11-20T12:00:00")])
    refresh(lake)
    gold = open_gold(lake.uri)
    first = dt.date(2026, 11, 20)
    assert (first, first) == gold.dates(["audience_hours"])
    assert (first, late) == gold.dates(["quality_scorecard", "audience_hours"])
    shown = gold.ask("scorecard", Choice(first, late).values).to_pylist()
    assert [(first, 0), (late, 1)] == [(row["event_date"], row["quarantined_rows"]) for row in shown]
