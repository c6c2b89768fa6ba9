"""`quarantine replay`: what passes by today's rules moves to silver once, whatever dies or runs beside it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from audit.verify import verify
from playlake.cli import main
from playlake.replay import Replayed, replay
from query import connect
from schemas.errors import CommitConflict, StoreUnavailable
from schemas.tables import TABLES
from sink.lake import Lake
from sink.writer import LakeWriter
from stream_app.rules import Rule, RuleSet
from tests.lake_contents import positions_of
from tests.processing import processor
from tests.records import event_bytes, records, source

NO_TABLETS = RuleSet(
    rules=(
        Rule(
            name="no_tablets",
            condition="device_type = 'tablet'",
            action="quarantine",
            message="tablets count twice",
            since=1,
        ),
    ),
    version=1,
)
TABLETS, BROKEN, SOUND = (0, 3, 6, 9), (1, 5), (2, 4, 7, 8)


def values(count: int = 10) -> list[bytes]:
    return [
        b"{broken" if offset in BROKEN else event_bytes(offset, device_type="tablet" if offset in TABLETS else "web")
        for offset in range(count)
    ]


def flush(lake: Lake, step: Callable[[str], None] = lambda name: None) -> None:
    writer = LakeWriter(lake, step=step)
    first = writer.claim({source(): 0})[source()]
    batch = records(values(), first)
    told = processor(NO_TABLETS)(batch)
    writer.add(batch, told.silver, told.quarantine)
    writer.flush()


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    place = Lake.at(str(tmp_path / "lake"))
    flush(place)
    return place


def versions(lake: Lake) -> dict[str, int]:
    return {name: lake.table(name).version() for name in TABLES}


def offsets(lake: Lake, name: str) -> list[int]:
    return [offset for _, offset in positions_of(lake, name)]


def die_at(where: str) -> Callable[[str], None]:
    def step(name: str) -> None:
        if name == where:
            raise StoreUnavailable(f"away {where}")

    return step


def judged_today(lake: Lake, where: str = "true", **options: object) -> Replayed:
    return replay(lake, processor(), where, **options)


def test_what_passes_now_moves_to_silver_and_the_rest_stays(lake):
    done = judged_today(lake)
    assert (6, 4, 0) == (done.chosen, done.passed, done.not_done)
    assert {"rule:no_tablets": 4, "malformed_json": 2} == done.before
    assert {"malformed_json": 2} == done.after
    assert sorted((*TABLETS, *SOUND)) == offsets(lake, "silver")
    assert [*BROKEN] == offsets(lake, "quarantine")
    assert verify(lake).holds


def test_a_second_replay_finds_what_stayed_and_changes_nothing(lake):
    judged_today(lake)
    before = versions(lake)
    again = judged_today(lake)
    assert (2, 0, 0) == (again.chosen, again.passed, again.finished)
    assert before == versions(lake)


def test_a_dry_run_says_the_same_and_changes_nothing(lake):
    before = versions(lake)
    said = judged_today(lake, dry_run=True)
    assert before == versions(lake)
    assert judged_today(lake) == said


def test_a_condition_chooses(lake):
    assert 2 == judged_today(lake, "kafka_offset < 5 and 'rule:no_tablets' in reasons").passed
    assert [1, 5, 6, 9] == offsets(lake, "quarantine")
    assert verify(lake).holds


def test_one_that_died_between_its_commits_is_in_flight_until_the_next_ends_it(lake):
    with pytest.raises(StoreUnavailable):
        judged_today(lake, step=die_at("after replay silver"))
    assert {"replay_in_flight": 4} == {fault.kind: fault.count for fault in verify(lake).faults}
    con = connect(lake.uri)
    assert [(offset,) for offset in BROKEN] == con.execute("select kafka_offset from quarantine order by 1").fetchall()
    con.close()
    alone = connect(lake.uri, mentioned_in="from quarantine")
    assert [(2,)] == alone.execute("select count(*) from quarantine").fetchall()
    alone.close()

    done = judged_today(lake)
    assert (4, 2, 0) == (done.finished, done.chosen, done.passed)
    assert [*BROKEN] == offsets(lake, "quarantine")
    assert verify(lake).holds


@pytest.mark.parametrize("where", ["before replay silver", "before replay quarantine", "after replay quarantine"])
def test_one_that_died_anywhere_is_made_good_by_the_next(lake, where):
    with pytest.raises(StoreUnavailable):
        judged_today(lake, step=die_at(where))
    judged_today(lake)
    assert sorted((*TABLETS, *SOUND)) == offsets(lake, "silver")
    assert [*BROKEN] == offsets(lake, "quarantine")
    assert verify(lake).holds


def test_of_two_at_once_one_gives_up_and_nothing_is_doubled(lake):
    other: list[Replayed] = []

    def step(name: str) -> None:
        if name == "before replay silver":
            other.append(judged_today(lake))

    with pytest.raises(CommitConflict, match="another replay"):
        judged_today(lake, step=step)
    assert [4] == [each.passed for each in other]
    assert sorted((*TABLETS, *SOUND)) == offsets(lake, "silver")
    assert verify(lake).holds


@pytest.mark.parametrize("where", ["before replay silver", "before replay quarantine"])
def test_a_worker_that_writes_beside_it_does_no_harm(lake, where):
    left = [1]

    def step(name: str) -> None:
        if name == where and left.pop():
            left.append(0)
            flush(lake)

    done = judged_today(lake, step=step)
    assert 4 == done.passed
    assert 20 == len(offsets(lake, "silver")) + len(offsets(lake, "quarantine"))
    assert verify(lake).holds


def test_records_of_a_torn_flush_are_left_to_the_worker(lake):
    with pytest.raises(StoreUnavailable):
        flush(lake, die_at("before silver"))
    done = judged_today(lake)
    assert (6, 4, 6) == (done.chosen, done.passed, done.not_done)
    flush(lake)  # claims, and reads them again
    assert verify(lake).holds


def test_the_command_says_before_and_after(lake, capsys, tmp_path):
    assert 0 == main(["quarantine", "replay", "--lake", lake.uri, "--dry-run"])
    assert "6 records judged again: 4 would go to silver, 2 stay" in capsys.readouterr().out
    assert 0 == main(["quarantine", "replay", "--lake", lake.uri])
    out = capsys.readouterr().out.split("\n")
    assert "6 records judged again: 4 went to silver, 2 stay" == out[0]
    assert "rule:no_tablets 4 before 0 after" == " ".join(out[1].split())
    assert 0 == main(["quarantine", "replay", "--lake", lake.uri, "--json"])
    assert {"malformed_json": 2} == json.loads(capsys.readouterr().out)["after"]
    assert 1 == main(["quarantine", "replay", "--lake", lake.uri, "--where", "kafka_offset > 99"])
    assert "0 records judged again" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["replay", "--where", "no_such_column = 1"], "no_such_column"),
        (["replay", "--rules", "/nowhere.toml"], "/nowhere.toml"),
        (["list", "--dry-run"], "belong to replay"),
    ],
)
def test_a_mistake_is_one_line(lake, capsys, flags, said):
    assert 2 == main(["quarantine", *flags, "--lake", lake.uri])
    err = capsys.readouterr().err.strip().split("\n")
    assert said in err[-1]
