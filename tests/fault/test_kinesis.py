"""The promise on a Kinesis stream: workers killed, asleep, doubled, and shards split and merged under them."""

from __future__ import annotations

import random
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from sink.faults import VARIABLE
from tests.fault.bad_store import QUICK
from tests.fault.promise import SHARDS, the_promise_holds_of_a_stream
from tests.kinesis import Kinesalite
from tests.kinesis.ledger import StreamLedger
from tests.kinesis.workers import StreamWorkers, stream_workers_of
from tests.ledger import events, positions
from tests.s3 import S3

pytestmark = pytest.mark.also_on_s3("in the long run")

TABLES = ("bronze", "quarantine", "silver")
CHILDREN = (4, 5)
"""Shards made by the first split of a test."""


@pytest.fixture
def workers(kinesis: Kinesalite, store: S3 | None, tmp_path: Path) -> Iterator[StreamWorkers]:
    with stream_workers_of(kinesis, tmp_path, store.env if store else None) as started:
        yield started


@pytest.mark.short_run("after bronze", "after quarantine", "before silver")
@pytest.mark.parametrize("step", [f"{moment} {table}" for table in TABLES for moment in ("before", "after")])
def test_a_worker_killed_at_a_step_of_a_flush_while_a_shard_is_split(
    workers: StreamWorkers,
    stream_ledger: StreamLedger,
    kinesis: Kinesalite,
    lake: Path | str,
    dice: random.Random,
    step: str,
) -> None:
    stream, count, parent = stream_ledger.stream, dice.choice([1, 2]), dice.randrange(SHARDS)
    stream_ledger.send(events(dice.randrange(500, 2000), bad_every=dice.choice([2, 7, 50])))
    fault = {VARIABLE: f"{step}@{dice.randrange(1, 4)}"}
    doomed = workers.start(stream, lake, "--worker", f"{count}/{count}", *QUICK, env=fault)
    others = [workers.start(stream, lake, "--worker", "1/2", *QUICK) for _ in range(count - 1)]
    with stream_ledger.trickle():
        doomed.wait_for(" reading ")
        kinesis.split(stream, parent)
        assert -9 == doomed.exit_code()
    assert [0] * len(others) == [worker.stop() for worker in others]
    stream_ledger.send(events(300, first=7_000_000))
    workers.catch_up(stream, lake)
    the_promise_holds_of_a_stream(lake, kinesis, stream_ledger)
    stream_ledger.order_of_arrival_keeps_parents_first(lake, parent, CHILDREN)


@pytest.mark.short_run(2)
@pytest.mark.parametrize("parent", [2, 1])  # 1 is not read by the reader of its child 4, which finds that 30 s later
def test_two_workers_one_killed_while_a_shard_is_split_and_two_are_merged(
    workers: StreamWorkers,
    stream_ledger: StreamLedger,
    kinesis: Kinesalite,
    lake: Path | str,
    dice: random.Random,
    parent: int,
) -> None:
    stream = stream_ledger.stream
    merged = (2, 3) if parent < 2 else (0, 1)
    stream_ledger.send(events(dice.randrange(300, 2000)))
    pair = [workers.start(stream, lake, "--worker", f"{number}/2") for number in (1, 2)]
    with stream_ledger.trickle():
        for worker in pair:
            worker.wait_for(" flushed ", count=dice.randrange(1, 4))
        kinesis.split(stream, parent)  # shards 4 and 5, one for each worker
        pair[parent % 2].wait_for(rf"read .*\[{parent}\] to its end")
        pair[0].wait_for(r"reading .*\[4\] from 0")
        pair[1].kill()
        kinesis.merge(stream, *merged)  # shard 6; its parents are read by one worker each
        pair[0].wait_for(f"shardId-000000000006 waits until shardId-00000000000{merged[1]} is read to its end")
        again = workers.start(stream, lake, "--worker", "2/2")
        pair[0].wait_for(r"reading .*\[6\] from 0")
        again.wait_for(rf"read .*\[{merged[1]}\] to its end")
        stream_ledger.send(events(300, first=7_000_000))  # the trickle's few keys may leave children out
        pair[0].until(lambda: {4, 5, 6} <= kafka_partitions(lake), "rows of the children")
    for worker in (pair[0], again):
        assert 0 == worker.stop()
    workers.catch_up(stream, lake)
    the_promise_holds_of_a_stream(lake, kinesis, stream_ledger)
    stream_ledger.order_of_arrival_keeps_parents_first(lake, parent, CHILDREN)
    for number in merged:
        stream_ledger.order_of_arrival_keeps_parents_first(lake, number, (6,))


@pytest.mark.short_run(2)
@pytest.mark.parametrize("count", [1, 2])
def test_a_zombie_that_wakes_after_its_share_went_to_another_stops_and_writes_nothing(
    workers: StreamWorkers,
    stream_ledger: StreamLedger,
    kinesis: Kinesalite,
    lake: Path | str,
    dice: random.Random,
    count: int,
) -> None:
    stream, share = stream_ledger.stream, f"{count}/{count}"
    stream_ledger.send(events(dice.randrange(200, 1000)))
    parent = dice.choice([1, 3])  # the zombie's; of its children 4 and 5 the second is its heir's
    others = [workers.start(stream, lake, "--worker", "1/2") for _ in range(count - 1)]
    zombie = workers.start(stream, lake, "--worker", share, *QUICK)
    with stream_ledger.trickle():
        for other in others:
            other.wait_for(" flushed ")
        zombie.wait_for(" flushed ", count=dice.randrange(1, 4))
        zombie.send(signal.SIGSTOP)
        kinesis.split(stream, parent)
        heir = workers.start(stream, lake, "--worker", share)
        heir.wait_for(r"reading .*\[5\] from 0")
        zombie.send(signal.SIGCONT)
        assert 2 == zombie.exit_code()
        awake = [*others, heir]
        for worker in awake:
            worker.wait_for(" flushed ", count=len(worker.lines(" flushed ")) + 2)
    assert f"it has the same share (--worker {share})" in zombie.log.splitlines()[-1]
    assert [0] * count == [worker.stop() for worker in awake]
    stream_ledger.send(events(300, first=7_000_000))
    workers.catch_up(stream, lake)
    the_promise_holds_of_a_stream(lake, kinesis, stream_ledger)
    stream_ledger.order_of_arrival_keeps_parents_first(lake, parent, CHILDREN)


def test_a_split_read_by_one_worker_from_its_backlog(
    workers: StreamWorkers, stream_ledger: StreamLedger, kinesis: Kinesalite, lake: Path | str, dice: random.Random
) -> None:
    stream, parent = stream_ledger.stream, dice.randrange(SHARDS)
    stream_ledger.send(events(dice.randrange(300, 1000)))
    for number, shard in enumerate((parent, 4), 1):
        kinesis.split(stream, shard)
        stream_ledger.send(events(dice.randrange(300, 1000), first=number * 1000))
    workers.catch_up(stream, lake)
    the_promise_holds_of_a_stream(lake, kinesis, stream_ledger)
    stream_ledger.order_of_arrival_keeps_parents_first(lake, parent, CHILDREN)
    assert 0 == workers.catch_up(stream, lake).report["bronze"], "a second run has nothing left to do"


def kafka_partitions(lake: Path | str) -> set[int]:
    return {number for number, _ in positions(lake, "bronze")}
