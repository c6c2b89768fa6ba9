"""The promise on a Kinesis stream: workers killed, asleep, doubled, and shards split and merged under them."""

from __future__ import annotations

import random
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from audit.verify import verify
from kinesis import Stream
from sink.faults import VARIABLE
from sink.lake import Lake
from tests.kinesis import Kinesalite
from tests.kinesis.kinesalite import REGION
from tests.kinesis.ledger import StreamLedger
from tests.kinesis.workers import StreamWorkers, stream_workers_of
from tests.ledger import events, positions

SHARDS = 4
TABLES = ("bronze", "quarantine", "silver")


@pytest.fixture
def workers(kinesis: Kinesalite, tmp_path: Path) -> Iterator[StreamWorkers]:
    with stream_workers_of(kinesis, tmp_path) as started:
        yield started


@pytest.fixture
def ledger(kinesis: Kinesalite) -> StreamLedger:
    return StreamLedger(kinesis, kinesis.create("fault", SHARDS))


def the_promise_holds(lake: Path, ledger: StreamLedger, kinesis: Kinesalite) -> None:
    """What was acknowledged is in the lake, by the ledger's account and by `verify`'s, which reads the stream again."""
    ledger.agrees_with(lake)
    stream = Stream(ledger.stream, REGION, kinesis.client)
    assert () == verify(Lake.at(str(lake)), stream=stream).faults


@pytest.mark.short_run("after bronze", "after quarantine", "before silver")
@pytest.mark.parametrize("step", [f"{moment} {table}" for table in TABLES for moment in ("before", "after")])
def test_a_worker_killed_at_a_step_of_a_flush(
    workers: StreamWorkers,
    ledger: StreamLedger,
    kinesis: Kinesalite,
    tmp_path: Path,
    dice: random.Random,
    step: str,
) -> None:
    lake = tmp_path / "lake"
    ledger.send(events(dice.randrange(500, 2000), bad_every=dice.choice([2, 7, 50])))
    doomed = workers.start(
        ledger.stream, lake, "--allowed-latency", "200ms", env={VARIABLE: f"{step}@{dice.randrange(1, 4)}"}
    )
    with ledger.trickle():
        assert -9 == doomed.exit_code()
    workers.catch_up(ledger.stream, lake)
    the_promise_holds(lake, ledger, kinesis)


def test_two_workers_one_killed_while_a_shard_is_split_and_two_are_merged(
    workers: StreamWorkers, ledger: StreamLedger, kinesis: Kinesalite, tmp_path: Path
) -> None:
    lake = tmp_path / "lake"
    ledger.send(events(1000))
    pair = [workers.start(ledger.stream, lake, "--worker", f"{number}/2") for number in (1, 2)]
    with ledger.trickle():
        for worker in pair:
            worker.wait_for(" flushed ")
        kinesis.split(ledger.stream, 1)  # shards 4 and 5, one for each worker
        pair[1].wait_for(r"read .*\[1\] to its end")
        pair[0].wait_for(r"reading .*\[4\] from 0")
        pair[1].kill()
        kinesis.merge(ledger.stream, 2, 3)  # shard 6; its parents are read by one worker each
        pair[0].wait_for("shardId-000000000006 waits until shardId-000000000003 is read to its end")
        again = workers.start(ledger.stream, lake, "--worker", "2/2")
        pair[0].wait_for(r"reading .*\[6\] from 0")
        again.wait_for(r"read .*\[3\] to its end")
        pair[0].until(lambda: {6} <= kafka_partitions(lake), "rows of the merged shard")
    for worker in (pair[0], again):
        assert 0 == worker.stop()
    workers.catch_up(ledger.stream, lake)
    the_promise_holds(lake, ledger, kinesis)
    ledger.order_of_arrival_keeps_parents_first(lake, 1, (4, 5))
    for parent in (2, 3):
        ledger.order_of_arrival_keeps_parents_first(lake, parent, (6,))


def test_a_zombie_that_wakes_after_its_share_went_to_another_stops_and_writes_nothing(
    workers: StreamWorkers, ledger: StreamLedger, kinesis: Kinesalite, tmp_path: Path
) -> None:
    lake = tmp_path / "lake"
    ledger.send(events(400))
    other = workers.start(ledger.stream, lake, "--worker", "1/2")
    zombie = workers.start(ledger.stream, lake, "--worker", "2/2", "--allowed-latency", "200ms")
    with ledger.trickle():
        other.wait_for(" flushed ")
        zombie.wait_for(" flushed ", count=2)
        zombie.send(signal.SIGSTOP)
        kinesis.split(ledger.stream, 1)  # the zombie's; of its children 4 and 5 the first is the other worker's
        heir = workers.start(ledger.stream, lake, "--worker", "2/2")
        heir.wait_for(r"reading .*\[5\] from 0")
        other.wait_for(r"reading .*\[4\] from 0")
        zombie.send(signal.SIGCONT)
        assert 2 == zombie.exit_code()
        for worker in (other, heir):
            worker.wait_for(" flushed ", count=len(worker.lines(" flushed ")) + 2)
    assert "it has the same share (--worker 2/2)" in zombie.log.splitlines()[-1]
    for worker in (other, heir):
        assert 0 == worker.stop()
    workers.catch_up(ledger.stream, lake)
    the_promise_holds(lake, ledger, kinesis)


def test_a_split_read_by_one_worker_from_its_backlog(
    workers: StreamWorkers, ledger: StreamLedger, kinesis: Kinesalite, tmp_path: Path
) -> None:
    lake = tmp_path / "lake"
    ledger.send(events(600))
    kinesis.split(ledger.stream, 0)
    ledger.send(events(600, first=600))
    kinesis.split(ledger.stream, 4)
    ledger.send(events(600, first=1200))
    workers.catch_up(ledger.stream, lake)
    the_promise_holds(lake, ledger, kinesis)
    ledger.order_of_arrival_keeps_parents_first(lake, 0, (4, 5))
    assert 0 == workers.catch_up(ledger.stream, lake).report["bronze"], "a second run has nothing left to do"


def kafka_partitions(lake: Path) -> set[int]:
    return {number for number, _ in positions(lake, "bronze")}
