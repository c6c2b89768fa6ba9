"""The writer's protocol: claim, order, fence, conflicts, torn flushes. Real Delta tables on a local folder."""

from pathlib import Path

import pytest
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake

from schemas.errors import FenceLost, StoreUnavailable
from sink.lake import Lake
from sink.writer import LakeWriter
from tests.lake_contents import positions_of
from tests.records import processed, records, source


class Killed(BaseException):
    """Stands for a SIGKILL at a step."""


def stop_at(step: str):
    def at(name: str) -> None:
        if name == step:
            raise Killed(step)

    return at


@pytest.fixture
def lake(tmp_path) -> Lake:
    return Lake.at(str(tmp_path / "a lake"))


def batch(first: int, count: int, kafka_partition: int = 0, bad: frozenset[int] = frozenset()):
    return processed(records([b"{}"] * count, first, kafka_partition), bad)


def test_a_flush_commits_bronze_then_quarantine_then_silver_after_a_claim_of_all_three(lake):
    log: list[str] = []
    writer = LakeWriter(lake, step=log.append)
    assert {source(): 0} == writer.claim({source(): 0})
    writer.add(*batch(0, 10, bad=frozenset({3})))
    flushed = writer.flush()
    assert [
        "before claim silver",
        "after claim silver",
        "before claim quarantine",
        "after claim quarantine",
        "before claim bronze",
        "after claim bronze",
        "after add",
        "before bronze",
        "after files bronze",
        "after bronze",
        "before quarantine",
        "after files quarantine",
        "after quarantine",
        "before silver",
        "after files silver",
        "after silver",
    ] == log
    assert {source(): 9} == flushed.done
    assert {"bronze": 10, "quarantine": 1, "silver": 9} == flushed.rows
    assert [(0, n) for n in range(10)] == positions_of(lake, "bronze")
    assert [(0, 3)] == positions_of(lake, "quarantine")
    assert [(0, n) for n in range(10) if n != 3] == positions_of(lake, "silver")


def test_a_claim_starts_where_the_topic_starts_and_later_where_the_lake_ends(lake):
    writer = LakeWriter(lake)
    assert {source(): 40} == writer.claim({source(): 40})
    writer.add(*batch(40, 5))
    writer.flush()
    assert {source(): 45} == LakeWriter(lake).claim({source(): 0})
    assert 40 == lake.table("silver").transaction_version(source().start_id)


def test_an_empty_quarantine_still_records_the_position(lake):
    writer = LakeWriter(lake)
    writer.claim({source(): 0})
    writer.add(*batch(0, 5))
    writer.flush()
    assert 4 == lake.table("quarantine").transaction_version(source().app_id)


def test_a_second_flush_of_nothing_does_nothing(lake):
    writer = LakeWriter(lake)
    writer.claim({source(): 0})
    writer.add(*batch(0, 5))
    writer.flush()
    version = lake.table("silver").version()
    assert {} == writer.flush().done
    assert version == lake.table("silver").version()


@pytest.mark.parametrize(
    "step",
    [
        f"{moment} {table}"
        for table in ("bronze", "quarantine", "silver")
        for moment in ("before", "after files", "after")
    ],
)
def test_a_writer_killed_at_any_step_of_a_flush_loses_and_doubles_nothing(lake, step):
    first = LakeWriter(lake, step=stop_at(step))
    first.claim({source(): 0})
    first.add(*batch(0, 10, bad=frozenset({3, 7})))
    with pytest.raises(Killed):
        first.flush()
    second = LakeWriter(lake)
    start = second.claim({source(): 0})[source()]
    assert (10 if step == "after silver" else 0) == start
    # the rules changed meanwhile: 3 is good now and 5 is bad
    second.add(*batch(start, 15 - start, bad=frozenset({5, 7})))
    second.flush()
    assert [(0, n) for n in range(15)] == positions_of(lake, "bronze")
    assert [(0, n) for n in range(15)] == sorted(positions_of(lake, "silver") + positions_of(lake, "quarantine"))


@pytest.mark.parametrize(
    "step", ["before claim silver", "after claim silver", "after claim quarantine", "after claim bronze"]
)
def test_a_claimant_killed_half_way_is_followed_by_another(lake, step):
    torn = LakeWriter(lake, step=stop_at("after quarantine"))
    torn.claim({source(): 0})
    torn.add(*batch(0, 10, bad=frozenset({3})))
    with pytest.raises(Killed):
        torn.flush()
    with pytest.raises(Killed):
        LakeWriter(lake, step=stop_at(step)).claim({source(): 0})
    last = LakeWriter(lake)
    assert {source(): 0} == last.claim({source(): 0})
    last.add(*batch(0, 10, bad=frozenset({4})))
    last.flush()
    assert [(0, n) for n in range(10)] == positions_of(lake, "bronze")
    assert [(0, 4)] == positions_of(lake, "quarantine")
    assert [(0, n) for n in range(10) if n != 4] == positions_of(lake, "silver")


@pytest.mark.parametrize("stopped_before", ["bronze", "quarantine", "silver"])
def test_a_zombie_that_wakes_between_its_commits_is_refused_and_the_new_owner_is_whole(lake, stopped_before):
    owner = LakeWriter(lake)

    def take_over(step: str) -> None:
        if step == f"before {stopped_before}":
            assert {source(): 0} == owner.claim({source(): 0})
            owner.add(*batch(0, 20, bad=frozenset({5})))
            owner.flush()

    zombie = LakeWriter(lake, step=take_over)
    zombie.claim({source(): 0})
    zombie.add(*batch(0, 10, bad=frozenset({3})))
    flushed = zombie.flush()
    assert frozenset({source()}) == flushed.lost
    assert {} == flushed.done
    assert frozenset() == zombie.owned
    assert [(0, n) for n in range(20)] == positions_of(lake, "bronze")
    assert [(0, 5)] == positions_of(lake, "quarantine")
    assert [(0, n) for n in range(20) if n != 5] == positions_of(lake, "silver")


def test_a_zombie_whose_handle_was_refreshed_by_its_own_other_commit_is_refused_too(lake):
    zombie = LakeWriter(lake)
    zombie.claim({source(0): 0, source(1): 0})
    LakeWriter(lake).claim({source(0): 0})
    zombie.add(*batch(0, 5, kafka_partition=1))
    assert {source(1): 4} == zombie.flush().done  # its handles now hold the new owner's epoch of partition 0
    zombie.add(*batch(0, 5, kafka_partition=0))
    zombie.add(*batch(5, 5, kafka_partition=1))
    flushed = zombie.flush()
    assert frozenset({source(0)}) == flushed.lost
    assert {source(1): 9} == flushed.done
    assert [(1, n) for n in range(10)] == positions_of(lake, "silver") == positions_of(lake, "bronze")


def test_a_healthy_append_refused_by_a_concurrent_delete_is_committed_again(lake):
    def delete_meanwhile(step: str) -> None:
        if step == "before silver" and armed:
            armed.clear()
            DeltaTable(lake.path("silver")).delete("kafka_offset = 0")

    armed: list[bool] = []
    writer = LakeWriter(lake, step=delete_meanwhile)
    writer.claim({source(): 0})
    writer.add(*batch(0, 5))
    writer.flush()
    armed.append(True)
    writer.add(*batch(5, 5))
    flushed = writer.flush()
    assert frozenset() == flushed.lost
    assert [(0, n) for n in range(1, 10)] == positions_of(lake, "silver")


def test_a_commit_whose_answer_was_lost_is_recognised_as_our_own(lake):
    writer = LakeWriter(lake)
    writer.claim({source(): 0})
    writer.add(*batch(0, 5))
    real = writer._append
    broken: list[str] = []

    def append_then_lose_the_answer(handle, files, targets, sequences):
        real(DeltaTable(handle.table_uri), files, targets, sequences)
        broken.append(Path(handle.table_uri).parent.name)
        raise OSError("connection reset")

    writer._append = append_then_lose_the_answer
    for expected in (["bronze"], ["bronze", "quarantine"], ["bronze", "quarantine", "silver"]):
        with pytest.raises(Exception, match="connection reset"):
            writer.flush()
        assert expected == broken
    assert {source(): 4} == writer.flush().done
    assert [(0, n) for n in range(5)] == positions_of(lake, "silver") == positions_of(lake, "bronze")


@pytest.mark.parametrize("is_overtaken", [False, True])
@pytest.mark.parametrize("step", ["after claim silver", "before claim quarantine", "after claim bronze"])
def test_a_claim_that_the_store_broke_off_goes_on_unless_another_writer_came_between(lake, step, is_overtaken):
    other = LakeWriter(lake)
    left = [step]

    def away_once(name: str) -> None:
        if left == [name]:
            left.clear()
            raise StoreUnavailable("connection reset")

    writer = LakeWriter(lake, step=away_once)
    with pytest.raises(StoreUnavailable):
        writer.claim({source(): 0})
    before = DeltaTable(lake.path("silver")).version()
    if is_overtaken:
        other.claim({source(): 0})
        other.add(*batch(0, 5))
        other.flush()
    is_known = step != "after claim silver"  # else the commit's answer was lost: it may be another's
    assert {source(): 5 if is_overtaken else 0} == writer.claim({source(): 0})
    if not is_overtaken:
        assert (1 if is_known else 2) == writer.epoch_of(source())
        assert before + (0 if is_known else 1) == DeltaTable(lake.path("silver")).version()
    first = 5 if is_overtaken else 0
    writer.add(*batch(first, 5))
    assert {source(): first + 4} == writer.flush().done
    other.add(*batch(5, 5))
    assert {} == other.flush().done, "it is fenced off, or never was an owner"
    assert [(0, n) for n in range(first + 5)] == positions_of(lake, "silver") == positions_of(lake, "bronze")


def test_two_claimants_at_once_leave_one_owner(lake):
    other = LakeWriter(lake)

    def overtake(step: str) -> None:
        if step == "before claim quarantine":
            other.claim({source(): 0})

    first = LakeWriter(lake, step=overtake)
    with pytest.raises(FenceLost, match=r"playback\[0\]"):
        first.claim({source(): 0})
    assert frozenset() == first.owned
    other.add(*batch(0, 5))
    assert {source(): 4} == other.flush().done


def test_rows_of_released_and_unclaimed_sources_are_dropped(lake):
    writer = LakeWriter(lake)
    writer.claim({source(0): 0, source(1): 0})
    writer.add(*batch(0, 5, kafka_partition=0))
    writer.add(*batch(0, 5, kafka_partition=1))
    writer.release([source(0)])
    writer.add(*batch(5, 5, kafka_partition=0))
    writer.add(*batch(0, 5, kafka_partition=2))
    assert {source(1): 4} == writer.flush().done
    assert [(1, n) for n in range(5)] == positions_of(lake, "bronze")


def test_rows_seen_before_are_dropped(lake):
    writer = LakeWriter(lake)
    writer.claim({source(): 0})
    writer.add(*batch(0, 5))
    writer.add(*batch(3, 5))
    writer.flush()
    writer.add(*batch(0, 9))
    writer.flush()
    assert [(0, n) for n in range(9)] == positions_of(lake, "bronze") == positions_of(lake, "silver")


def test_personal_columns_leave_no_statistics_in_the_log(lake):
    writer = LakeWriter(lake)
    writer.claim({source(): 0})
    writer.add(*batch(0, 5, bad=frozenset({1})))
    writer.flush()
    for name in ("bronze", "silver", "quarantine"):
        columns = lake.table(name).get_add_actions(flatten=True).schema.names
        assert any(column.startswith("min.kafka_offset") for column in columns)
        for personal in ("user_id", "profile_id", "key", "value", "raw_payload"):
            assert f"min.{personal}" not in columns


def test_another_applications_commit_to_the_same_table_does_not_disturb(lake):
    writer = LakeWriter(lake)
    writer.claim({source(): 0})
    write_deltalake(
        lake.table("silver"),
        processed(records([b"{}"], 99, 7))[1],
        mode="append",
        commit_properties=CommitProperties(app_transactions=[Transaction("somebody/else", 1)]),
    )
    writer.add(*batch(0, 5))
    assert {source(): 4} == writer.flush().done
