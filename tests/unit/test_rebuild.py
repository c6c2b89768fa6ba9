"""`quarantine replay --from bronze`: a date's records are judged anew, and silver and quarantine change as one."""

import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from audit.verify import verify
from compaction.compact import compact
from compaction.dedupe import dedupe
from compaction.repair import repair
from playlake.cli import main
from playlake.rebuild import Rebuilt, rebuild
from playlake.replay import replay
from query import connect
from schemas.errors import CommitConflict, StoreUnavailable
from schemas.tables import TABLES
from sink.lake import Lake
from sink.writer import LakeWriter
from stream_app.process import Processed
from stream_app.rules import Rule, RuleSet
from tests.lake_contents import positions_of
from tests.processing import processor
from tests.records import NOW, event_bytes, records, source

TABLETS, BROKEN, UNDATED = (0, 3), (1, 5), (2,)
DATE = NOW.date()


def ruled(device: str) -> RuleSet:
    """Rules by which this device is refused."""
    rule = Rule(
        name=f"no_{device}", condition=f"device_type = '{device}'", action="quarantine", message="twice", since=1
    )
    return RuleSet(rules=(rule,), version=1)


def values(count: int = 10) -> list[bytes]:
    return [
        b"{broken"
        if offset in BROKEN
        else event_bytes(
            offset,
            device_type="tablet" if offset in TABLETS else "web",
            playhead_s=60.0 * offset,
            **({"event_ts": None} if offset in UNDATED else {}),
        )
        for offset in range(count)
    ]


def buggy(batch: pa.Table) -> Processed:
    """A parser that refuses tablets and takes seconds for minutes."""
    told = processor(ruled("tablet"))(batch)
    at = told.silver.schema.get_field_index("playhead_s")
    wrong = pc.divide(told.silver["playhead_s"], 60.0)
    return Processed(told.silver.set_column(at, "playhead_s", wrong), told.quarantine, told.broken)


def flush(
    lake: Lake,
    judge: Callable[[pa.Table], Processed] = buggy,
    step: Callable[[str], None] = lambda name: None,
    at: dt.datetime = NOW,
) -> None:
    writer = LakeWriter(lake, step=step)
    batch = records(values(), writer.claim({source(): 0})[source()])
    times = pa.array([at] * len(batch), pa.timestamp("us", "UTC"))
    batch = batch.set_column(batch.schema.get_field_index("ingest_timestamp"), "ingest_timestamp", times)
    told = judge(batch)
    writer.add(batch, told.silver, told.quarantine)
    writer.flush()


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """A date as a buggy parser wrote it, and the next date."""
    place = Lake.at(str(tmp_path / "lake"))
    flush(place)
    flush(place, at=NOW + dt.timedelta(days=1))
    return place


def today(lake: Lake, rules: RuleSet | None = None, **options: object) -> Rebuilt:
    return rebuild(lake, processor(rules), DATE, **options)


def playheads(lake: Lake) -> dict[int, float]:
    with connect(lake.uri) as con:
        return dict(con.execute("select kafka_offset, playhead_s from silver order by 1").fetchall())


def offsets(lake: Lake, name: str) -> list[int]:
    return [offset for _, offset in positions_of(lake, name)]


def seen(lake: Lake) -> tuple[dict[int, float], list[int]]:
    """What a reader sees: silver's values, and which records are refused."""
    with connect(lake.uri) as con:
        refused = [offset for (offset,) in con.execute("select kafka_offset from quarantine order by 1").fetchall()]
    return playheads(lake), refused


def die_at(where: str) -> Callable[[str], None]:
    def step(name: str) -> None:
        if name == where:
            raise StoreUnavailable(f"away {where}")

    return step


FORMER = {offset: 1.0 * offset for offset in range(10) if offset not in (*TABLETS, *BROKEN)}
RIGHT = {offset: 60.0 * offset for offset in range(10) if offset not in BROKEN}
RIGHT_BUT_WEB = {offset: 60.0 * offset for offset in TABLETS}
NEXT_DAY = {offset + 10: value for offset, value in FORMER.items()}
REFUSED_NEXT_DAY = [offset + 10 for offset in sorted((*TABLETS, *BROKEN))]


def test_wrong_values_are_put_right_and_another_date_stays_as_it_was(lake):
    done = today(lake)
    assert (10, 6, 8, 0) == (done.records, done.silver_before, done.silver_after, done.repeats)
    assert ({"rule:no_tablet": 2, "malformed_json": 2}, {"malformed_json": 2}) == (done.before, done.after)
    assert {"playhead_s": 6} == done.changed
    assert (RIGHT | NEXT_DAY, [*BROKEN, *REFUSED_NEXT_DAY]) == seen(lake)
    assert [*BROKEN, *REFUSED_NEXT_DAY] == offsets(lake, "quarantine")
    assert verify(lake).holds


def test_a_record_that_no_longer_passes_goes_to_quarantine(lake):
    done = today(lake, ruled("web"))
    assert {"rule:no_web": 6, "malformed_json": 2} == done.after
    assert (RIGHT_BUT_WEB | NEXT_DAY) == playheads(lake)
    assert sorted({*range(10), *REFUSED_NEXT_DAY} - {*TABLETS}) == offsets(lake, "quarantine")
    assert verify(lake).holds


def test_a_second_one_changes_no_value(lake):
    today(lake)
    before = seen(lake)
    again = today(lake)
    assert {} == again.changed
    assert before == seen(lake)
    assert verify(lake).holds


def test_a_dry_run_says_the_same_and_changes_nothing(lake):
    before = {name: lake.table(name).version() for name in TABLES}
    said = today(lake, dry_run=True)
    assert before == {name: lake.table(name).version() for name in TABLES}
    assert today(lake) == said


STEPS = [
    "before rebuild begin",
    "after rebuild begin",
    "after rebuild quarantine",
    "before rebuild",
    "after rebuild",
    "before replay quarantine",
    "after replay quarantine",
]


@pytest.mark.parametrize("where", STEPS)
def test_one_that_dies_leaves_all_or_nothing_to_be_seen_and_the_next_makes_it_good(lake, where):
    before = seen(lake)
    expected = RIGHT_BUT_WEB | NEXT_DAY
    refused = sorted({*range(10), *REFUSED_NEXT_DAY} - {*TABLETS})
    with pytest.raises(StoreUnavailable):
        today(lake, ruled("web"), step=die_at(where))
    is_through = STEPS.index(where) >= STEPS.index("after rebuild")
    assert ((expected, refused) if is_through else before) == seen(lake)
    assert {fault.kind for fault in verify(lake).faults} <= {"replay_in_flight"}
    replay(lake, processor(ruled("web")), "false")  # ends it or takes it back
    assert ((expected, refused) if is_through else before) == seen(lake)
    assert verify(lake).holds
    today(lake, ruled("web"))
    assert (expected, refused) == seen(lake)
    assert verify(lake).holds


@pytest.mark.parametrize(
    "where", ["before rebuild begin", "after rebuild begin", "after rebuild quarantine", "before rebuild"]
)
def test_of_two_at_once_one_gives_up_and_nothing_is_doubled(lake, where):
    other: list[Rebuilt] = []

    def step(name: str) -> None:
        if name == where and not other:
            other.append(today(lake))

    with pytest.raises(CommitConflict, match="another replay"):
        today(lake, ruled("web"), step=step)
    assert (RIGHT | NEXT_DAY, [*BROKEN, *REFUSED_NEXT_DAY]) == seen(lake)
    assert verify(lake).holds


@pytest.mark.parametrize("where", ["after rebuild quarantine", "before rebuild", "before replay quarantine"])
def test_workers_and_compactions_beside_it_do_no_harm(lake, where):
    left = [1]

    def step(name: str) -> None:
        if name == where and left:
            left.pop()
            flush(lake)  # also on this date
            compact(lake, "silver")
            compact(lake, "bronze")
            repair(lake)

    today(lake, ruled("web"), step=step)
    late = {offset + 20: value for offset, value in FORMER.items()}
    assert RIGHT_BUT_WEB | NEXT_DAY | late == playheads(lake)
    assert verify(lake).holds


def test_records_of_a_torn_flush_are_left_to_the_worker(lake):
    with pytest.raises(StoreUnavailable):
        flush(lake, step=die_at("before silver"))
    done = today(lake)
    assert (10, 10) == (done.records, done.not_done)
    flush(lake)  # claims, and reads them again
    assert verify(lake).holds


def test_what_repair_dated_and_dedupe_dropped_is_for_them_to_do_again(lake):
    repaired = repair(lake)
    dropped = dedupe(lake).rows
    assert (2, 6) == (sum(repaired.rows.values()), dropped)
    done = rebuild(lake, processor(), DATE + dt.timedelta(days=1))
    assert (6, 1) == (done.repeats, done.undated)
    repair(lake)
    assert dropped <= dedupe(lake).rows
    assert verify(lake).holds


def test_a_date_without_records_is_told_and_nothing_changes(lake, capsys):
    before = {name: lake.table(name).version() for name in TABLES}
    flags = ["quarantine", "replay", "--lake", lake.uri, "--from", "bronze", "--date"]
    assert 1 == main([*flags, "2020-01-01"])
    assert "bronze holds no records that came in on 2020-01-01" in capsys.readouterr().out
    assert before == {name: lake.table(name).version() for name in TABLES}


def test_the_command_says_before_and_after(lake, capsys):
    flags = ["quarantine", "replay", "--lake", lake.uri, "--from", "bronze", "--date", str(DATE)]
    assert 0 == main([*flags, "--dry-run"])
    out = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert f"10 records of {DATE} judged again: 8 would be in silver" == out[0]
    assert {"silver 6 before 8 after", "rule:no_tablet 2 before 0 after", "playhead_s 6 rows of silver changed"} <= {
        *out
    }
    assert "1 rows have no date until they are repaired (`playlake repair`, or `playlake compact`)" == out[-1]
    assert 0 == main([*flags, "--json"])
    assert {"playhead_s": 6} == {
        name: count for name, count in json.loads(capsys.readouterr().out)["changed"].items() if name == "playhead_s"
    }
    assert verify(lake).holds


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["replay", "--from", "bronze"], "--from bronze needs --date"),
        (["replay", "--date", "2026-11-21"], "--from bronze needs --date"),
        (["list", "--from", "bronze", "--date", "2026-11-21"], "belongs to replay"),
        (["replay", "--from", "bronze", "--date", "2026-11-21", "--where", "true and true"], "leave --where out"),
        (["replay", "--from", "bronze", "--date", "21.11.2026"], "write YYYY-MM-DD"),
    ],
)
def test_a_mistake_is_one_line(lake, capsys, flags, said):
    assert 2 == main(["quarantine", *flags, "--lake", lake.uri])
    assert said in capsys.readouterr().err.strip().split("\n")[-1]
