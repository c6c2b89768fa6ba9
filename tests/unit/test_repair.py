"""Repair: which time a row gets, one atomic commit, and nothing lost beside writers."""

import datetime as dt
import random

import pyarrow as pa
import pytest

from compaction.compact import compact
from compaction.dedupe import dedupe
from compaction.delta_log import live_files
from compaction.merge import write_rows
from compaction.repair import preview, repair
from schemas.errors import CommitConflict, RewriteMismatch
from tests import lakes

NOON = dt.datetime(2026, 11, 21, 12, tzinfo=dt.UTC)
EVENING = dt.datetime(2026, 11, 20, 20, 30, tzinfo=dt.UTC)
SECONDS = EVENING.timestamp()


@pytest.mark.parametrize(
    ("fields", "expected_time", "expected_source"),
    [
        ({"client_ts": "2026-11-20T20:30:00Z"}, EVENING, "payload"),
        ({"client_ts": "2026-11-20T21:30:00+01:00"}, EVENING, "payload"),
        ({"client_ts": "2026-11-20 20:30:00"}, EVENING, "payload"),
        ({"client_ts": SECONDS}, EVENING, "payload"),
        ({"client_ts": str(SECONDS)}, EVENING, "payload"),
        ({"client_ts": int(SECONDS * 1000)}, EVENING, "payload"),
        ({"client_ts": str(int(SECONDS * 1000))}, EVENING, "payload"),
        ({"event_ts": "2026-11-20T20:30:00.000Z"}, EVENING, "payload"),
        ({"event_ts": int(SECONDS * 1000)}, EVENING, "payload"),
        ({"event_ts": int(SECONDS * 1_000_000)}, EVENING, "payload"),
        ({"event_ts": str(int(SECONDS))}, EVENING, "payload"),
        ({"event_ts": 3600, "client_ts": "2026-11-20T20:30:00Z"}, EVENING, "payload"),
        ({"event_ts": "2026-11-20T20:30:00Z", "client_ts": "2026-11-19T00:00:00Z"}, EVENING, "payload"),
        ({}, NOON, "broker"),
        ({"event_ts": 0}, NOON, "broker"),
        ({"event_ts": "tomorrow"}, NOON, "broker"),
        ({"event_ts": 1e300}, NOON, "broker"),
        ({"event_ts": float("nan")}, NOON, "broker"),
        ({"event_ts": "infinity"}, NOON, "broker"),
        ({"event_ts": True, "client_ts": {"at": 1}}, NOON, "broker"),
        ({"client_ts": "1970-01-01T00:00:05Z"}, NOON, "broker"),
        ({"client_ts": "2026-11-22T12:00:01Z"}, NOON, "broker"),
        ({"client_ts": "2026-02-31T12:00:00Z"}, NOON, "broker"),
    ],
)
def test_a_row_gets_the_payloads_plausible_time_else_the_brokers(tmp_path, fields, expected_time, expected_source):
    lake = lakes.make(tmp_path)
    lakes.append(lake, "silver", [lakes.undated(broker=NOON, **fields)])
    done = repair(lake)
    assert {expected_source: 1} == done.rows
    assert [(expected_time, expected_time.date(), expected_source, done.repair_id)] == lakes.rows(
        lake, "select event_timestamp, event_date, event_date_source, repair_id from silver"
    )


@pytest.mark.parametrize("broker", [None, "1970-01-01T00:00:00", "2026-11-23T12:00:01"])
def test_a_row_with_no_usable_time_stays_in_the_null_partition(tmp_path, broker):
    lake = lakes.make(tmp_path)
    lakes.append(lake, "silver", [lakes.undated(broker=broker, ingest="2026-11-22T12:00:00")])
    version = lake.table("silver").version()
    done = repair(lake)
    assert (None, 0, 1, version) == (done.repair_id, done.total, done.left, lake.table("silver").version())


def test_only_the_four_repaired_columns_change(tmp_path):
    lake = lakes.make(tmp_path)
    lakes.append(lake, "silver", [lakes.undated(client_ts="2026-11-20T20:30:00Z"), lakes.silver()])
    query = (
        "select * exclude (event_timestamp, event_date, event_date_source, repair_id) from silver order by kafka_offset"
    )
    before = lakes.rows(lake, query)
    repair(lake)
    assert before == lakes.rows(lake, query)


def test_a_repair_is_one_commit_and_the_second_does_nothing(tmp_path):
    lake = lakes.make(tmp_path)
    for day in range(3):
        lakes.append(lake, "silver", [lakes.undated(client_ts=f"2026-11-{15 + day}T20:30:00Z") for _ in range(4)])
    version = lake.table("silver").version()
    first = repair(lake)
    assert (12, 0, version + 1) == (first.total, first.left, first.version)
    second = repair(lake)
    assert (0, 0, version + 1) == (second.total, second.left, lake.table("silver").version())


def test_a_repair_id_sorts_by_time(tmp_path):
    lake = lakes.make(tmp_path)
    ids = []
    for hour in (9, 10):
        lakes.append(lake, "silver", [lakes.undated()])
        ids.append(repair(lake, now=lambda hour=hour: NOON.replace(hour=hour)).repair_id)
    assert sorted(ids) == ids
    assert ids[0].startswith("20261121T090000Z-")


def test_a_preview_counts_by_date_and_source_and_changes_nothing(tmp_path):
    lake = lakes.make(tmp_path)
    lakes.append(
        lake,
        "silver",
        [
            lakes.undated(client_ts="2026-11-20T20:30:00Z"),
            lakes.undated(event_ts=SECONDS * 1000),
            lakes.undated(),
            lakes.undated(broker=None),
        ],
    )
    version = lake.table("silver").version()
    seen = [(line.event_date, line.event_date_source, line.found_in, line.rows) for line in preview(lake)]
    assert [
        (dt.date(2026, 11, 20), "payload", "client_ts as ISO text", 1),
        (dt.date(2026, 11, 20), "payload", "event_ts in milliseconds", 1),
        (dt.date(2026, 11, 21), "broker", "broker's time", 1),
        (None, None, None, 1),
    ] == seen
    assert version == lake.table("silver").version()


def test_an_empty_lake_has_nothing_to_repair(tmp_path):
    lake = lakes.make(tmp_path)
    assert [] == preview(lake)
    assert 0 == repair(lake).total


def test_rows_appended_while_a_repair_runs_are_neither_lost_nor_a_reason_to_retry(tmp_path):
    lake = lakes.make(tmp_path)
    lakes.append(lake, "silver", [lakes.undated(event_id="old")])
    later = [lakes.undated(event_id="new", ingest="2026-11-21T12:00:05"), lakes.silver(event_id="dated")]

    def append(name: str) -> None:
        if name == "before repair" and later:
            lakes.append(lake, "silver", [later.pop(), later.pop()], txn=("playback/x/0", 7))

    done = repair(lake, step=append)
    assert (1, 1, 1) == (done.total, done.left, done.attempts)
    assert [
        ("dated", False),
        ("new", True),
        ("old", False),
    ] == lakes.rows(lake, "select event_id, event_date is null from silver order by 1")
    assert 1 == repair(lake).total


def test_a_compaction_in_between_makes_a_repair_plan_anew_and_doubles_nothing(tmp_path):
    lake = lakes.make(tmp_path)
    for _ in range(3):
        lakes.append(lake, "silver", [lakes.undated() for _ in range(5)])
    compactions = iter([1])

    def overtake(name: str) -> None:
        if name == "before repair":
            for _ in compactions:
                compact(lake, "silver")

    done = repair(lake, step=overtake)
    assert (15, 2) == (done.total, done.attempts)
    assert [(15, 15)] == lakes.rows(lake, "select count(*), count(distinct kafka_offset) from silver")


def test_a_repair_that_others_always_overtake_gives_up_and_changes_nothing(tmp_path):
    lake = lakes.make(tmp_path)
    lakes.append(lake, "silver", [lakes.undated()])

    def overtake(name: str) -> None:
        lakes.append(lake, "silver", [lakes.undated()])
        compact(lake, "silver")

    with pytest.raises(CommitConflict, match="nothing was changed"):
        repair(lake, step=overtake)
    query = "select count(*) = count(distinct kafka_offset), count(event_date), count(repair_id) from silver"
    assert [(True, 0, 0)] == lakes.rows(lake, query)


def _drop_a_row(rows: pa.Table) -> pa.Table:
    return rows.slice(1)


def _double_a_row(rows: pa.Table) -> pa.Table:
    return pa.concat_tables([rows, rows.slice(0, 1)])


def _change_a_value(rows: pa.Table) -> pa.Table:
    names = pa.array(["XX", *rows["country"].to_pylist()[1:]])
    return rows.set_column(rows.schema.get_field_index("country"), "country", names.dictionary_encode())


@pytest.mark.parametrize("spoil", [_drop_a_row, _double_a_row, _change_a_value])
@pytest.mark.parametrize("job", [repair, dedupe])
def test_files_that_hold_anything_but_the_plan_are_not_committed(tmp_path, monkeypatch, job, spoil):
    lake = lakes.make(tmp_path)
    lakes.append(lake, "silver", [lakes.undated(), lakes.undated()])
    lakes.append(lake, "silver", [lakes.silver(event_id="a"), lakes.silver(event_id="a"), lakes.silver()])
    before = lakes.rows(lake, "select * from silver order by kafka_offset")
    version = lake.table("silver").version()

    def write(lake, table, partition, parts, **more):
        return write_rows(lake, table, partition, [spoil(pa.concat_tables(parts).unify_dictionaries())], **more)

    monkeypatch.setattr("compaction.rewrite.write_rows", write)
    with pytest.raises(RewriteMismatch, match="nothing was changed"):
        job(lake)
    assert version == lake.table("silver").version()
    assert before == lakes.rows(lake, "select * from silver order by kafka_offset")


def test_a_large_repair_of_many_files_and_dates_keeps_every_other_column(tmp_path):
    lake = lakes.make(tmp_path)
    dice = random.Random(3)
    for _ in range(8):
        times = [None if dice.random() < 0.2 else NOON - dt.timedelta(hours=dice.randrange(100)) for _ in range(60)]
        rows = [lakes.undated(broker=at, ingest=NOON) for at in times]
        lakes.append(lake, "silver", [*rows, lakes.silver()])
    query = "select * exclude (event_timestamp, event_date, event_date_source, repair_id) from silver order by all"
    before = lakes.rows(lake, query)
    files = len(live_files(lake.table("silver"), lake.path("silver")))
    done = repair(lake)
    assert before == lakes.rows(lake, query)
    assert [(done.left, done.total, 8)] == lakes.rows(
        lake,
        "select count(*) filter (event_date is null), count(repair_id), count(*) filter (raw_payload is null)"
        " from silver",
    )
    assert [(True,)] == lakes.rows(lake, "select bool_and(event_date = event_timestamp::date) from silver")
    assert files > len(live_files(lake.table("silver"), lake.path("silver")))


def test_statistics_of_repaired_files_name_no_user(tmp_path):
    lake = lakes.make(tmp_path)
    lakes.append(lake, "silver", [lakes.undated(user_id="u-secret")])
    version = repair(lake).version
    log = lake.filesystem().cat_file(f"{lake.path('silver')}/_delta_log/{version:020}.json").decode()
    assert "u-secret" not in log
