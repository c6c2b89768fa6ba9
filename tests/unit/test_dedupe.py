"""Dedupe: which of several rows stays, how far apart they may be, and what is read again."""

import datetime as dt

import pytest

from compaction.dedupe import DEDUPE_WINDOW_DAYS, count_repeats, dedupe
from compaction.repair import repair
from tests import lakes

IDS = "select event_id, kafka_partition, kafka_offset from silver order by 1, 2, 3"


def test_the_least_broker_time_stays_then_topic_then_kafka_partition_then_offset(tmp_path):
    lake = lakes.make(tmp_path)
    early, late = "2026-11-21T12:00:01", "2026-11-21T12:00:02"
    lakes.append(
        lake,
        "silver",
        [
            lakes.silver(event_id="by-time", offset=1, broker=late),
            lakes.silver(event_id="by-time", offset=2, broker=early),
            lakes.silver(event_id="by-topic", offset=3, broker=early, topic="b"),
            lakes.silver(event_id="by-topic", offset=4, broker=early, topic="a"),
            lakes.silver(event_id="by-partition", offset=5, broker=early, kafka_partition=2),
            lakes.silver(event_id="by-partition", offset=6, broker=early, kafka_partition=1),
            lakes.silver(event_id="by-offset", offset=8, broker=early),
            lakes.silver(event_id="by-offset", offset=7, broker=early),
            lakes.silver(event_id="no-broker-time", offset=9, broker=None),
            lakes.silver(event_id="no-broker-time", offset=10, broker=late),
            lakes.silver(event_id="alone", offset=11),
        ],
    )
    assert 5 == dedupe(lake).rows
    assert [
        ("alone", 0, 11),
        ("by-offset", 0, 7),
        ("by-partition", 1, 6),
        ("by-time", 0, 2),
        ("by-topic", 0, 4),
        ("no-broker-time", 0, 10),
    ] == lakes.rows(lake, IDS)


@pytest.mark.parametrize(("days", "expected_rows"), [(0, 1), (1, 1), (DEDUPE_WINDOW_DAYS, 1), (4, 2)])
def test_an_id_on_two_dates_is_one_event_within_the_window(tmp_path, days, expected_rows):
    lake = lakes.make(tmp_path)
    first = dt.datetime(2026, 11, 15, 23, 0, tzinfo=dt.UTC)
    rows = [lakes.silver(at=first, event_id="x"), lakes.silver(at=first + dt.timedelta(days=days), event_id="x")]
    lakes.append(lake, "silver", rows[:1])
    lakes.append(lake, "silver", rows[1:])
    dedupe(lake)
    assert [(expected_rows, first.date())] == lakes.rows(lake, "select count(*), min(event_date) from silver")


def test_an_id_sent_very_often_is_one_row(tmp_path):
    lake = lakes.make(tmp_path)
    lakes.append(lake, "silver", [lakes.silver(event_id="stuck") for _ in range(20_000)])
    assert 19_999 == dedupe(lake).rows


def test_a_second_run_reads_and_commits_nothing(tmp_path):
    lake = lakes.make(tmp_path)
    lakes.append(lake, "silver", [lakes.silver(event_id="x"), lakes.silver(event_id="x")])
    first = dedupe(lake)
    assert (1, 1) == (first.rows, first.dates)
    assert lake.table("silver").version() == first.version
    second = dedupe(lake)
    assert (0, 0, first.version) == (second.rows, second.dates, lake.table("silver").version())


def test_a_run_without_repeats_remembers_how_far_it_looked(tmp_path):
    lake = lakes.make(tmp_path)
    lakes.append(lake, "silver", [lakes.silver()])
    assert 1 == dedupe(lake).dates
    version = lake.table("silver").version()
    assert (0, version) == (dedupe(lake).dates, lake.table("silver").version())


def test_only_dates_near_a_changed_one_are_read(tmp_path):
    lake = lakes.make(tmp_path)
    for day in range(1, 21):
        lakes.append(lake, "silver", [lakes.silver(at=f"2026-11-{day:02}T12:00:00", event_id=f"on-{day}")])
    assert 20 == dedupe(lake).dates
    lakes.append(lake, "silver", [lakes.silver(at="2026-11-10T12:00:00", event_id="on-8")])
    second = dedupe(lake)
    assert (1, 7) == (second.rows, second.dates)


def test_a_repeat_that_repair_brings_to_its_date_is_found(tmp_path):
    lake = lakes.make(tmp_path)
    lakes.append(lake, "silver", [lakes.silver(event_id="x", broker="2026-11-21T12:00:01")])
    lakes.append(lake, "silver", [lakes.undated(event_id="x", client_ts="2026-11-20T12:00:00")])
    assert 0 == dedupe(lake).rows
    repair(lake)
    assert 1 == dedupe(lake).rows
    assert [("payload",)] == lakes.rows(lake, "select event_date_source from silver")


def test_rows_appended_while_a_dedupe_runs_are_kept_and_looked_at_next_time(tmp_path):
    lake = lakes.make(tmp_path)
    lakes.append(lake, "silver", [lakes.silver(event_id="x"), lakes.silver(event_id="x")])
    later = [lakes.silver(event_id="x", ingest="2026-11-21T12:00:09"), lakes.silver(event_id="y")]
    later[1]["ingest_timestamp"] = later[0]["ingest_timestamp"]

    def append(name: str) -> None:
        if name == "before dedupe" and later:
            lakes.append(lake, "silver", [later.pop(), later.pop()], txn=("playback/x/0", 9))

    first = dedupe(lake, step=append)
    assert (1, 1) == (first.rows, first.attempts)
    assert 1 == dedupe(lake).rows
    assert [("x",), ("y",)] == lakes.rows(lake, "select event_id from silver order by 1")


def test_counting_repeats_changes_nothing(tmp_path):
    lake = lakes.make(tmp_path)
    lakes.append(lake, "silver", [lakes.silver(event_id="x"), lakes.silver(event_id="x")])
    version = lake.table("silver").version()
    assert (1, version) == (count_repeats(lake), lake.table("silver").version())


def test_an_empty_lake_has_no_repeats(tmp_path):
    lake = lakes.make(tmp_path)
    assert (0, 0, 0) == (dedupe(lake).rows, count_repeats(lake), lake.table("silver").version())
