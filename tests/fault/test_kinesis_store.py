"""A Kinesis stream whose shards are split while the S3 API of its lake is in trouble: nothing lost, nothing doubled."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.fault.bad_store import LONG_S, OUTAGES, QUICK, WAITS, bad_network, wait_until_all_are_in
from tests.fault.promise import the_promise_holds_of_a_stream
from tests.kinesis import Kinesalite
from tests.kinesis.ledger import StreamLedger
from tests.kinesis.workers import StreamWorkers, stream_workers_of
from tests.ledger import events, rows_in
from tests.s3.flaky import AWAY, CALM, Fault, FlakyS3
from tests.workers import Worker

pytestmark = pytest.mark.parametrize("store", ["s3"], indirect=True)

CHILDREN = {0: (4, 5), 1: (6, 7)}
"""Shards made by the first split of a test and by the second."""


@pytest.fixture
def workers(kinesis: Kinesalite, flaky: FlakyS3, tmp_path: Path) -> Iterator[StreamWorkers]:
    """Starts workers whose way to the store is `flaky`; tests themselves look at it by another."""
    with stream_workers_of(kinesis, tmp_path, flaky.env) as started:
        yield started


@pytest.fixture
def parents(dice: random.Random) -> tuple[int, int]:
    """A shard of each of two workers, to be split."""
    return dice.choice([0, 2]), dice.choice([1, 3])


def team(workers: StreamWorkers, ledger: StreamLedger, lake: str, count: int, *flags: str) -> list[Worker]:
    """Start a worker for each share."""
    shares = [f"{number}/{count}" for number in range(1, count + 1)]
    return [workers.start(ledger.stream, lake, "--worker", share, *QUICK, *flags) for share in shares]


def split_each(kinesis: Kinesalite, ledger: StreamLedger, parents: tuple[int, int]) -> None:
    for parent in parents:
        kinesis.split(ledger.stream, parent)


def split_while_away(
    flaky: FlakyS3,
    kinesis: Kinesalite,
    ledger: StreamLedger,
    parents: tuple[int, int],
    outage: Mapping[Fault, float] = AWAY,
) -> None:
    """Split both while no commit gets through: no worker notes one's end, and lists the shards, without the other's."""
    flaky.shares = outage
    split_each(kinesis, ledger, parents)


def all_children_are_read(started: list[Worker]) -> None:
    for child in (child for pair in CHILDREN.values() for child in pair):
        started[child % len(started)].wait_for(rf"reading .*\[{child}\] from 0", LONG_S)


def all_ends_well(
    started: list[Worker], ledger: StreamLedger, kinesis: Kinesalite, lake: str, parents: tuple[int, int]
) -> None:
    """On a calm network all that was sent arrives while these workers run, exactly once, parents first."""
    ledger.send(events(300, first=7_000_000))
    wait_until_all_are_in(lake, ledger, started)
    assert [0] * len(started) == [worker.stop() for worker in started]
    the_promise_holds_of_a_stream(lake, kinesis, ledger)
    for number, parent in enumerate(parents):
        ledger.order_of_arrival_keeps_parents_first(lake, parent, CHILDREN[number])


@pytest.mark.short_run(2)
@pytest.mark.parametrize("count", [1, 2])
def test_workers_on_a_bad_network_while_shards_are_split(
    workers: StreamWorkers,
    stream_ledger: StreamLedger,
    kinesis: Kinesalite,
    lake: str,
    flaky: FlakyS3,
    dice: random.Random,
    parents: tuple[int, int],
    count: int,
) -> None:
    stream_ledger.send(events(dice.randrange(500, 3000), bad_every=dice.choice([2, 20])))
    network = flaky.shares = bad_network(dice)
    started = team(workers, stream_ledger, lake, count, "--wait")
    with stream_ledger.trickle():
        for worker in started:
            worker.wait_for(" reading ", LONG_S)
            worker.until(lambda: rows_in(lake) > 0, "records arrive in spite of it", LONG_S)
        split_while_away(flaky, kinesis, stream_ledger, parents)
        flaky.shares = network
        all_children_are_read(started)
        started[0].until(lambda: flaky.counts.total() > 30 * count, "many faults happened", LONG_S)
    flaky.shares = CALM
    all_ends_well(started, stream_ledger, kinesis, lake, parents)


@pytest.mark.short_run("in the long run")
@pytest.mark.parametrize("outage", [*OUTAGES])
def test_shards_split_while_the_store_stays_away(
    workers: StreamWorkers,
    stream_ledger: StreamLedger,
    kinesis: Kinesalite,
    lake: str,
    flaky: FlakyS3,
    dice: random.Random,
    parents: tuple[int, int],
    outage: str,
) -> None:
    stream_ledger.send(events(dice.randrange(200, 1000), bad_every=2))
    started = team(workers, stream_ledger, lake, 2)
    with stream_ledger.trickle():
        for worker in started:
            worker.wait_for(" flushed ", count=dice.randrange(1, 4))
        split_while_away(flaky, kinesis, stream_ledger, parents, OUTAGES[outage])
        for worker in started:
            worker.wait_for(WAITS, LONG_S)
        flaky.shares = CALM
        all_children_are_read(started)
    assert all(worker.lines("the store answers again") for worker in started)
    all_ends_well(started, stream_ledger, kinesis, lake, parents)


@pytest.mark.short_run("in the long run")
@pytest.mark.parametrize("count", [1, 2])
def test_commits_whose_answers_are_lost_while_shards_are_split(
    workers: StreamWorkers,
    stream_ledger: StreamLedger,
    kinesis: Kinesalite,
    lake: str,
    flaky: FlakyS3,
    dice: random.Random,
    parents: tuple[int, int],
    count: int,
) -> None:
    stream_ledger.send(events(dice.randrange(200, 1000), bad_every=2))
    network = flaky.shares = {Fault.LOST_COMMIT: dice.uniform(0.3, 0.7)}
    started = team(workers, stream_ledger, lake, count, "--wait")
    with stream_ledger.trickle():
        for worker in started:
            worker.wait_for(" flushed ", LONG_S)
        split_while_away(flaky, kinesis, stream_ledger, parents)
        flaky.shares = network
        all_children_are_read(started)
        started[0].until(lambda: flaky.counts[Fault.LOST_COMMIT] > 5 * count, "answers to commits were lost", LONG_S)
    flaky.shares = CALM
    all_ends_well(started, stream_ledger, kinesis, lake, parents)


@pytest.mark.short_run("in the long run")
@pytest.mark.parametrize("count", [1, 2])
def test_workers_killed_on_a_bad_network_before_and_after_a_split(
    workers: StreamWorkers,
    stream_ledger: StreamLedger,
    kinesis: Kinesalite,
    lake: str,
    flaky: FlakyS3,
    dice: random.Random,
    parents: tuple[int, int],
    count: int,
) -> None:
    stream_ledger.send(events(3000, bad_every=20))
    flaky.shares = bad_network(dice)
    with stream_ledger.trickle():
        for number in range(2):
            doomed = team(workers, stream_ledger, lake, count, "--flush-bytes", "100kB", "--wait")
            for worker in doomed:
                worker.wait_for(" flushed ", LONG_S, count=dice.randrange(1, 4))
            if number == 0:
                split_each(kinesis, stream_ledger, parents)
            doomed[0].until(lambda: dice.random() < 0.2, "a moment later")
            for worker in doomed:
                worker.kill()
    stream_ledger.send(events(300, first=7_000_000))
    last = workers.start(stream_ledger.stream, lake, "--until-caught-up", "--wait")  # on the same network
    assert 0 == last.exit_code(2 * LONG_S)
    the_promise_holds_of_a_stream(lake, kinesis, stream_ledger)
    for number, parent in enumerate(parents):
        stream_ledger.order_of_arrival_keeps_parents_first(lake, parent, CHILDREN[number])


@pytest.mark.short_run("in the long run")
def test_workers_started_while_the_store_is_away_wait_for_it(
    workers: StreamWorkers,
    stream_ledger: StreamLedger,
    kinesis: Kinesalite,
    lake: str,
    flaky: FlakyS3,
    parents: tuple[int, int],
) -> None:
    stream_ledger.send(events(500, bad_every=2))
    flaky.shares = AWAY
    started = team(workers, stream_ledger, lake, 2, "--wait")
    for worker in started:
        worker.wait_for(WAITS, LONG_S)
    split_each(kinesis, stream_ledger, parents)
    flaky.shares = CALM
    all_ends_well(started, stream_ledger, kinesis, lake, parents)
