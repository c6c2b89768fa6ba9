"""Silver's and quarantine's oldest days go; verify knows them, gold keeps what it has but nobody's sessions."""

import datetime as dt
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from audit.verify import verify
from compaction import gold_files
from compaction.compact import compact
from compaction.dedupe import dedupe
from compaction.expire import expire, preview_expire
from compaction.gold import pending, refresh
from compaction.gold_files import Column
from playlake.cli import main
from sink.gone import expired_before
from sink.lake import Lake
from sink.writer import LakeWriter
from tests import lakes
from tests.lake_contents import positions_of
from tests.processing import processor
from tests.records import NOW, event_bytes, records, source

DAY_S = 86400.0
NEW_TS = NOW.timestamp() - 60
OLD_TS = NEW_TS - 100 * DAY_S
OLD_DATE = (NOW - dt.timedelta(days=100)).date()
BETWEEN = (NOW - dt.timedelta(days=50)).date()


def old(number: int, **changes: Any) -> bytes:
    return event_bytes(number, **({"event_ts": OLD_TS + number, "session_id": "old"} | changes))


def new(number: int, **changes: Any) -> bytes:
    return event_bytes(number, **({"event_ts": NEW_TS + number} | changes))


def flush(lake: Lake, values: list[bytes]) -> None:
    writer = LakeWriter(lake)
    rows = records(values, writer.claim({source(): 0})[source()])
    told = processor()(rows)
    writer.add(rows, told.silver, told.quarantine)
    writer.flush()


@pytest.fixture
def lake(tmp_path) -> Lake:
    """Three old events and a repeat of one (position 3), two new ones and a repeat (6), one without a time, one bad."""
    place = Lake.at(str(tmp_path / "lake"))
    flush(place, [old(0), old(1), old(2), old(1), new(4), new(5), new(5), new(7, event_ts="when"), b"{"])
    dedupe(place)
    return place


def offsets(lake: Lake, name: str) -> list[int]:
    return [offset for _, offset in positions_of(lake, name)]


def faults(lake: Lake) -> dict[str, tuple[int, tuple[str, ...]]]:
    return {fault.kind: (fault.count, fault.first) for fault in verify(lake).faults}


def test_old_event_dates_go_and_verify_still_proves_the_rest(lake):
    looked = preview_expire(lake, BETWEEN, table="silver")
    assert ((str(OLD_DATE),), 3, None) == (looked.dates, looked.rows, looked.version)
    done = expire(lake, BETWEEN, table="silver")
    assert (3, lake.table("silver").version()) == (done.rows, done.version)
    assert [4, 5, 7] == offsets(lake, "silver")
    assert BETWEEN == expired_before(lake.table("silver"))
    verdict = verify(lake)
    assert () == verdict.faults
    [totals] = verdict.sources
    assert (9, 9, 4, 1, 0) == (
        *(totals.bronze, totals.done_positions, totals.settled, totals.duplicates, totals.holes),
    )


def test_what_is_lost_of_the_rest_is_still_found(lake):
    expire(lake, BETWEEN, table="silver")
    lake.table("silver").delete("kafka_offset = 4")
    assert {"in_neither": (1, ("playback[0]@4",))} == faults(lake)


def test_all_three_tables_can_expire(lake):
    after = NOW.date() + dt.timedelta(days=1)
    for name in ("quarantine", "silver", "bronze"):
        expire(lake, after, table=name)
        assert {} == faults(lake)
    assert ([], [7], []) == tuple(offsets(lake, name) for name in ("bronze", "silver", "quarantine"))
    flush(lake, [new(20), b"{"])
    assert {} == faults(lake)


def test_a_second_expiry_changes_nothing_and_a_shorter_one_leaves_the_watermark(lake):
    expire(lake, BETWEEN, table="silver")
    names = ("silver", "expired/silver")
    versions = [lake.table(name).version() for name in names]
    assert 0 == expire(lake, BETWEEN, table="silver").files
    assert versions == [lake.table(name).version() for name in names]
    flush(lake, [old(30, event_ts=OLD_TS - 10 * DAY_S)])
    expire(lake, OLD_DATE, table="silver")
    assert BETWEEN == expired_before(lake.table("silver"))


def gold_rows(lake: Lake, name: str) -> list[Any]:
    return lakes.rows(lake, f"from {name} order by all", names=[f"gold/{name}"])


AGGREGATES = ("title_daily", "country_hours", "quality_scorecard", "pipeline_health")
OF_PEOPLE = ("session_facts", "fact_playback", "viewer_days")


def test_gold_keeps_expired_dates_also_in_a_full_build_but_nobodys_sessions(lake):
    refresh(lake)
    before = {name: gold_rows(lake, name) for name in (*AGGREGATES, *OF_PEOPLE)}
    for name, rows in before.items():
        assert {True, False} == {row[0] < BETWEEN for row in rows}, name
    expire(lake, BETWEEN, table="silver")
    assert {} == pending(lake)
    for build in (lambda: None, lambda: refresh(lake), lambda: refresh(lake, full=True)):
        build()
        for name in AGGREGATES:
            assert before[name] == gold_rows(lake, name), name
        for name in OF_PEOPLE:
            assert [row for row in before[name] if row[0] >= BETWEEN] == gold_rows(lake, name), name
            assert len(gold_rows(lake, name)) < len(before[name])


def test_late_events_of_an_expired_date_change_nothing_there_and_others_do(lake):
    refresh(lake)
    expire(lake, BETWEEN, table="silver")
    before = gold_rows(lake, "title_daily")
    flush(lake, [old(50), new(51)])
    refresh(lake)
    after = gold_rows(lake, "title_daily")
    assert [row for row in before if row[0] < BETWEEN] == [row for row in after if row[0] < BETWEEN]
    assert [row for row in before if row[0] >= BETWEEN] != [row for row in after if row[0] >= BETWEEN]
    assert [] == [row for row in gold_rows(lake, "session_facts") if row[0] < BETWEEN]


def test_a_gold_table_that_gets_a_column_keeps_its_expired_dates(lake, monkeypatch):
    refresh(lake)
    expire(lake, BETWEEN, table="silver")
    declared = dict(gold_files.load())
    file = declared["title_daily"]
    query = f"select *, 1 as one from ({file.sql}\n)"  # noqa: S608  # our own file
    wider = replace(file, sql=query, columns=(*file.columns, Column("one", "bigint", "1")))
    monkeypatch.setattr(gold_files, "load", lambda: declared | {"title_daily": wider})
    before = gold_rows(lake, "title_daily")
    refresh(lake)
    expected = [(*row, None if row[0] < BETWEEN else 1) for row in before]
    assert sorted(expected, key=str) == sorted(gold_rows(lake, "title_daily"), key=str)


class Killed(BaseException):
    """Stands for a SIGKILL at a step."""


@pytest.mark.parametrize("moment", ["before expire", "after expire"])
def test_a_crash_at_any_point_is_no_harm(lake, moment):
    refresh(lake)

    def kill(name: str) -> None:
        if name == moment:
            raise Killed

    with pytest.raises(Killed):
        expire(lake, BETWEEN, table="silver", step=kill)
    assert {} == faults(lake)
    expire(lake, BETWEEN, table="silver")
    assert {} == faults(lake)
    assert [4, 5, 7] == offsets(lake, "silver")
    assert [] == [row for row in gold_rows(lake, "session_facts") if row[0] < BETWEEN]


def test_a_compaction_and_an_append_in_between_lose_nothing(lake):
    flush(lake, [old(40)])
    waiting: list[Callable[[], object]] = [lambda: flush(lake, [old(41)]), lambda: compact(lake, "silver")]

    def overtake(name: str) -> None:
        if name == "before expire" and waiting:
            waiting.pop()()

    expire(lake, BETWEEN, table="silver", step=overtake)
    assert {} == faults(lake)
    expire(lake, BETWEEN, table="silver")
    assert [4, 5, 7] == offsets(lake, "silver")
    assert {} == faults(lake)


def test_the_verb_names_the_table(lake, capsys):
    arguments = ["expire", "--lake", lake.uri, "--older-than", "99999999d"]
    for name in ("silver", "quarantine"):
        assert 0 == main([*arguments, "--table", name, "--dry-run"])
        assert capsys.readouterr().out.startswith(f"{name} has no day before")
