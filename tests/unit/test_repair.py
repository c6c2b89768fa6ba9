"""Repair: which time a row gets, one atomic commit, and nothing lost beside writers."""

import datetime as dt

import pytest
from deltalake import DeltaTable

from compaction.delta_log import commits
from compaction.repair import preview, repair
from compaction.rewrite import Plan, RewriteMismatch, revert, rewrite
from schemas.errors import CommitConflict
from sink.scan import connect, create_view
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
        if name == "before repair":
            lakes.append(lake, "silver", later, txn=("playback/x/0", 7))

    done = repair(lake, step=append)
    assert (1, 1, 1) == (done.total, done.left, done.attempts)
    assert [
        ("dated", False),
        ("new", True),
        ("old", False),
    ] == lakes.rows(lake, "select event_id, event_date is null from silver order by 1")
    assert 1 == repair(lake).total


def test_an_append_of_earlier_rows_makes_a_repair_step_back_behind_them(tmp_path):
    lake = lakes.make(tmp_path)
    lakes.append(lake, "silver", [lakes.undated(event_id="a", ingest="2026-11-21T12:00:01")])
    lakes.append(lake, "silver", [lakes.undated(event_id="b", ingest="2026-11-21T12:00:09")])
    appends = iter([[lakes.undated(event_id="c", ingest="2026-11-21T12:00:05")]])
    seen = []

    def append(name: str) -> None:
        seen.append(name)
        if name == "before repair":
            for rows in appends:
                lakes.append(lake, "silver", rows)
                break

    done = repair(lake, step=append)
    assert ["before repair", "before repair", "after repair"] == seen
    assert (1, 2, 2) == (done.total, done.left, done.attempts)
    assert [("a",)] == lakes.rows(lake, "select event_id from silver where event_date is not null")
    assert 2 == repair(lake).total


def test_a_compaction_in_between_makes_a_repair_plan_anew_and_doubles_nothing(tmp_path):
    lake = lakes.make(tmp_path)
    for _ in range(3):
        lakes.append(lake, "silver", [lakes.undated() for _ in range(5)])
    compactions = iter([1])

    def compact(name: str) -> None:
        if name == "before repair":
            for _ in compactions:
                lake.table("silver").optimize.compact(partition_filters=[("event_date", "=", "")])

    done = repair(lake, step=compact)
    assert (15, 2) == (done.total, done.attempts)
    assert [(15, 15)] == lakes.rows(lake, "select count(*), count(distinct kafka_offset) from silver")


def test_a_repair_that_is_always_refused_gives_up_and_changes_nothing(tmp_path):
    lake = lakes.make(tmp_path)
    lakes.append(lake, "silver", [lakes.undated(event_id="old", ingest="2026-11-21T12:00:01")])

    def append(name: str) -> None:
        lakes.append(lake, "silver", [lakes.undated(ingest="2026-11-21T12:00:00")])

    with pytest.raises(CommitConflict, match="nothing was changed"):
        rewrite(
            lake,
            lambda handle, before: _everything(lake, handle),
            what="repair",
            rewrite_id="x",
            sets={"country": "'XX'"},
            pause=lambda attempt: None,
            step=append,
        )
    assert [(0,)] == lakes.rows(lake, "select count(*) from silver where country = 'XX'")


def test_a_rewrite_that_changes_more_than_planned_is_undone_and_later_appends_stay(tmp_path):
    lake = lakes.make(tmp_path)
    lakes.append(lake, "silver", [lakes.undated(event_id="old"), lakes.undated(event_id="other")])

    def append(name: str) -> None:
        if name == "after repair":
            lakes.append(lake, "silver", [lakes.undated(event_id="later")])

    with pytest.raises(RewriteMismatch, match="it was undone"):
        rewrite(
            lake,
            lambda handle, before: _everything(lake, handle, set_country="YY"),
            what="repair",
            rewrite_id="x",
            sets={"country": "'XX'"},  # the plan said YY
            step=append,
        )
    assert [
        ("later", "DE"),
        ("old", "DE"),
        ("other", "DE"),
    ] == lakes.rows(lake, "select event_id, country from silver order by 1")


def test_a_rewrite_whose_files_were_compacted_since_is_not_undone_by_halves(tmp_path):
    lake = lakes.make(tmp_path)
    lakes.append(lake, "silver", [lakes.undated() for _ in range(3)])
    lakes.append(lake, "silver", [lakes.silver()])
    planned_on = lake.table("silver").version()
    repair(lake)
    commit = commits(lake, "silver", planned_on, planned_on + 1)[0]
    lake.table("silver").optimize.compact()
    with pytest.raises(CommitConflict, match=f"restore version {planned_on} by hand"):
        revert(lake, commit, planned_on)
    assert [(4, 4)] == lakes.rows(lake, "select count(*), count(distinct kafka_offset) from silver")


def test_statistics_of_repaired_files_name_no_user(tmp_path):
    lake = lakes.make(tmp_path)
    lakes.append(lake, "silver", [lakes.undated(user_id="u-secret")])
    version = repair(lake).version
    log = lake.filesystem().cat_file(f"{lake.path('silver')}/_delta_log/{version:020}.json").decode()
    assert "u-secret" not in log


def _everything(lake, handle: DeltaTable, set_country: str | None = None) -> Plan:
    con = connect(lake)
    create_view(con, "silver", handle)
    rows = con.sql(
        "select topic, topic_id, kafka_partition, kafka_offset, cast($1 as text) as country "
        "from silver where event_id <> 'other'",
        params=[set_country],
    ).to_arrow_table()
    if set_country is None:
        rows = rows.drop_columns(["country"])
    return Plan(rows, None, NOON + dt.timedelta(days=1))
