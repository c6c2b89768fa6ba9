"""Dates that can't be right: which rows count, where they go, what undo gives back; and that only who asks gets it."""

import datetime as dt
import json

import pytest

from compaction import job
from compaction.compact import compact
from compaction.foreign import open_table
from compaction.repair import columns_to_add, preview, repair
from compaction.undo import release, undo
from playlake.cli import main
from sink.writer import LakeWriter
from tests import lakes
from tests.records import processed, records, source
from tests.unit import test_foreign as foreign

BROKER = dt.datetime(2026, 11, 21, 12, tzinfo=dt.UTC)
EVERYTHING = "select * exclude (repair_id) from silver order by kafka_offset"


def old(**changes):
    """A row whose clock says 1970, as a worker with other rules may have let through."""
    return lakes.silver(at="1970-01-02T00:00:00.000001", broker=BROKER, ingest=BROKER, **changes)


@pytest.fixture
def lake(tmp_path):
    """A row of 1970, one of the far future, one without a date, two that are right."""
    lake = lakes.make(tmp_path)
    lakes.append(
        lake, "silver", [old(event_id="old"), lakes.silver(event_id="right"), lakes.undated(event_id="undated")]
    )
    lakes.append(
        lake, "silver", [lakes.silver(event_id="future", at="2027-03-01T00:00:00", broker=BROKER, ingest=BROKER)]
    )
    lakes.append(lake, "silver", [lakes.silver(event_id="ahead", at="2026-11-22T11:00:00", broker=BROKER)])
    return lake


def test_without_being_asked_neither_repair_nor_the_job_touches_them(lake):
    assert [("broker", 1)] == [(line.event_date_source, line.rows) for line in preview(lake)]
    [step, *_] = job.run(lake)
    assert 1 == step.detail["total"]
    assert [(2,)] == lakes.rows(lake, "select count(*) from silver where event_date in ('1970-01-02', '2027-03-01')")


def test_a_preview_says_which_date_rows_have_now(lake):
    found = [(o.event_date_before, o.event_date, o.found_in, o.rows) for o in preview(lake, implausible=True)]
    day = BROKER.date()
    assert {
        (dt.date(1970, 1, 2), day, "broker's time", 1),
        (dt.date(2027, 3, 1), day, "broker's time", 1),
        (None, day, "broker's time", 1),
    } == set(found)
    assert ["event_date_before", "event_time_before"] == columns_to_add(lake, implausible=True)
    assert [] == columns_to_add(lake)


def test_rows_get_the_next_plausible_time_and_say_what_they_had(lake):
    was = lake.table("silver").version()
    done = repair(lake, implausible=True)
    assert ({"broker": 3}, 0, was + 2) == (done.rows, done.left, done.version)
    day = BROKER.date()
    assert [
        ("ahead", dt.date(2026, 11, 22), "event_ts", None, None),
        ("future", day, "broker", dt.date(2027, 3, 1), done.repair_id),
        ("old", day, "broker", dt.date(1970, 1, 2), done.repair_id),
        ("right", day, "event_ts", None, None),
        ("undated", day, "broker", None, done.repair_id),
    ] == lakes.rows(
        lake, "select event_id, event_date, event_date_source, event_date_before, repair_id from silver order by 1"
    )
    assert [(BROKER,)] == lakes.rows(lake, "select event_timestamp from silver where event_id = 'old'")
    again = repair(lake, implausible=True)
    assert (0, was + 2) == (again.total, lake.table("silver").version())


def test_a_payload_comes_before_the_broker(tmp_path):
    lake = lakes.make(tmp_path)
    lakes.append(lake, "silver", [old(raw_payload=json.dumps({"client_ts": "2026-11-20T20:30:00Z"}))])
    assert {"payload": 1} == repair(lake, implausible=True).rows
    assert [(dt.date(2026, 11, 20),)] == lakes.rows(lake, "select event_date from silver")


def test_an_undo_gives_back_wrong_dates_and_null_ones_and_holds_both(lake):
    before = lakes.rows(lake, EVERYTHING)
    done = repair(lake, implausible=True)
    lakes.append(lake, "silver", [old(event_id="later")])
    compact(lake, "silver")
    assert 3 == undo(lake, done.repair_id).rows
    kept = "select * exclude (repair_id, event_date_before, event_time_before) from silver where event_id != 'later'"
    assert before == lakes.rows(lake, f"{kept} order by kafka_offset")
    assert {("held", 3), (None, 1)} == {(line.why_not, line.rows) for line in _by_reason(lake)}
    assert 1 == repair(lake, implausible=True).total
    assert 3 == release(lake, done.repair_id).rows
    assert 3 == repair(lake, implausible=True).total


def _by_reason(lake):
    lines = preview(lake, implausible=True)
    for why in {line.why_not for line in lines}:
        same = [line for line in lines if line.why_not == why]
        yield type(same[0])(**{**vars(same[0]), "rows": sum(line.rows for line in same)})


def test_a_row_without_another_time_stays_where_it_is(tmp_path, capsys):
    lake = lakes.make(tmp_path)
    lakes.append(lake, "silver", [lakes.silver(at="1970-01-02T00:00:00", broker=None, ingest=BROKER)])
    was = lake.table("silver").version()
    assert 0 == repair(lake, implausible=True).total
    assert 0 == main(["repair", "--lake", lake.uri, "--implausible", "--dry-run"])
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("1 rows would stay in 1970-01-02: no usable time; such as playback[0] offset ")
    assert was == lake.table("silver").version()


def test_the_verbs_repair_them_when_asked(lake, capsys):
    assert 0 == main(["repair", "--lake", lake.uri, "--implausible", "--dry-run"])
    out = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "1970-01-02 2026-11-21 broker broker's time 1" in out
    assert (
        "the table would get the columns event_date_before, event_time_before, by a commit before that of the rows"
        in out
    )
    assert 0 == main(["compact", "--lake", lake.uri, "--implausible", "--json"])
    assert 3 == json.loads(capsys.readouterr().out)["repair"]["total"]


def test_a_worker_that_runs_goes_on_writing_after_columns_were_added(tmp_path):
    lake = lakes.make(tmp_path)
    writer = LakeWriter(lake)
    writer.claim({source(): 0})
    writer.add(*processed(records([b"{}"] * 5)))
    writer.flush()
    lakes.append(lake, "silver", [old(offset=100)])
    assert 1 == repair(lake, implausible=True).total
    writer.add(*processed(records([b"{}"] * 5, 5)))
    writer.flush()
    compact(lake, "silver")
    found = "select count(*), count(distinct kafka_offset), count(repair_id), count(event_date_before) from silver"
    assert [(11, 11, 1, 1)] == lakes.rows(lake, found)


def test_a_table_of_others_gets_its_payloads_date(tmp_path):
    place = tmp_path / "t"
    wrong = dt.datetime(1970, 1, 1, 0, 0, 5, tzinfo=dt.UTC)
    row = {"ts": wrong, "day": wrong.date()}
    foreign.append(place, [{"id": 1, "payload": foreign.CLIENT_TS, **row}, {"id": 2, **row}])
    lake = open_table(str(place), "ts", "day", "payload")
    before = foreign.rows_of(lake, "select * from t order by id")
    assert 0 == repair(lake).total
    done = repair(lake, implausible=True)
    assert {"payload": 1} == done.rows
    assert [(1, dt.date(2026, 11, 19), wrong.date(), wrong), (2, wrong.date(), None, None)] == foreign.rows_of(
        lake, "select id, day, event_date_before, event_time_before from t order by id"
    )
    undo(lake, done.repair_id)
    assert before == [row[:6] for row in foreign.rows_of(lake, "select * from t order by id")]
