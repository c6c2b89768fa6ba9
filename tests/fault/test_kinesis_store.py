"""A Kinesis stream whose shards are split while the S3 API of its lake is in trouble: nothing lost, nothing doubled."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
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


@dataclass
class Scene:
    """A stream of four shards, a lake behind `flaky`, and a shard of each of two workers that is to be split."""

    workers: StreamWorkers
    ledger: StreamLedger
    kinesis: Kinesalite
    lake: str
    flaky: FlakyS3
    parents: tuple[int, int]

    def team(self, count: int, *flags: str) -> list[Worker]:
        """Start a worker for each share."""
        shares = [f"{number}/{count}" for number in range(1, count + 1)]
        return [self.workers.start(self.ledger.stream, self.lake, "--worker", each, *QUICK, *flags) for each in shares]

    def split(self) -> None:
        for parent in self.parents:
            self.kinesis.split(self.ledger.stream, parent)

    def split_while_away(self, outage: Mapping[Fault, float] = AWAY) -> None:
        """Split both while no commit gets through: no worker notes one's end, and lists shards, without the other's."""
        self.flaky.shares = outage
        self.split()

    def the_promise_holds(self) -> None:
        """All that was sent is in the lake exactly once, parents first."""
        the_promise_holds_of_a_stream(self.lake, self.kinesis, self.ledger)
        for number, parent in enumerate(self.parents):
            self.ledger.order_of_arrival_keeps_parents_first(self.lake, parent, CHILDREN[number])

    def all_ends_well(self, started: list[Worker]) -> None:
        """On a calm network all that was sent arrives while these workers run."""
        self.flaky.shares = CALM
        self.ledger.send(events(300, first=7_000_000))
        wait_until_all_are_in(self.lake, self.ledger, started)
        assert [0] * len(started) == [worker.stop() for worker in started]
        self.the_promise_holds()


@pytest.fixture
def scene(
    workers: StreamWorkers,
    stream_ledger: StreamLedger,
    kinesis: Kinesalite,
    lake: str,
    flaky: FlakyS3,
    dice: random.Random,
) -> Scene:
    parents = dice.choice([0, 2]), dice.choice([1, 3])
    return Scene(workers, stream_ledger, kinesis, lake, flaky, parents)


def all_children_are_read(started: list[Worker]) -> None:
    for child in (child for pair in CHILDREN.values() for child in pair):
        started[child % len(started)].wait_for(rf"reading .*\[{child}\] from 0", LONG_S)


@pytest.mark.short_run(2)
@pytest.mark.parametrize("count", [1, 2])
def test_workers_on_a_bad_network_while_shards_are_split(scene: Scene, dice: random.Random, count: int) -> None:
    flaky = scene.flaky
    scene.ledger.send(events(dice.randrange(500, 3000), bad_every=dice.choice([2, 20])))
    network = flaky.shares = bad_network(dice)
    started = scene.team(count, "--wait")
    with scene.ledger.trickle():
        for worker in started:
            worker.wait_for(" reading ", LONG_S)
            worker.until(lambda: rows_in(scene.lake) > 0, "records arrive in spite of it", LONG_S)
        scene.split_while_away()
        flaky.shares = network
        all_children_are_read(started)
        started[0].until(lambda: flaky.counts.total() > 30 * count, "many faults happened", LONG_S)
    scene.all_ends_well(started)


@pytest.mark.short_run("in the long run")
@pytest.mark.parametrize("outage", [*OUTAGES])
def test_shards_split_while_the_store_stays_away(scene: Scene, dice: random.Random, outage: str) -> None:
    scene.ledger.send(events(dice.randrange(200, 1000), bad_every=2))
    started = scene.team(2)
    with scene.ledger.trickle():
        for worker in started:
            worker.wait_for(" flushed ", count=dice.randrange(1, 4))
        scene.split_while_away(OUTAGES[outage])
        for worker in started:
            worker.wait_for(WAITS, LONG_S)
        scene.flaky.shares = CALM
        all_children_are_read(started)
    assert all(worker.lines("the store answers again") for worker in started)
    scene.all_ends_well(started)


@pytest.mark.short_run("in the long run")
@pytest.mark.parametrize("count", [1, 2])
def test_commits_whose_answers_are_lost_while_shards_are_split(scene: Scene, dice: random.Random, count: int) -> None:
    flaky = scene.flaky
    scene.ledger.send(events(dice.randrange(200, 1000), bad_every=2))
    network = flaky.shares = {Fault.LOST_COMMIT: dice.uniform(0.3, 0.7)}
    started = scene.team(count, "--wait")
    with scene.ledger.trickle():
        for worker in started:
            worker.wait_for(" flushed ", LONG_S)
        scene.split_while_away()
        flaky.shares = network
        all_children_are_read(started)
        started[0].until(lambda: flaky.counts[Fault.LOST_COMMIT] > 5 * count, "answers to commits were lost", LONG_S)
    scene.all_ends_well(started)


@pytest.mark.short_run("in the long run")
@pytest.mark.parametrize("count", [1, 2])
def test_workers_killed_on_a_bad_network_before_and_after_a_split(
    scene: Scene, dice: random.Random, count: int
) -> None:
    scene.ledger.send(events(3000, bad_every=20))
    scene.flaky.shares = bad_network(dice)
    with scene.ledger.trickle():
        for number in range(2):
            doomed = scene.team(count, "--flush-bytes", "100kB", "--wait")
            for worker in doomed:
                worker.wait_for(" flushed ", LONG_S, count=dice.randrange(1, 4))
            if number == 0:
                scene.split()
            doomed[0].until(lambda: dice.random() < 0.2, "a moment later")
            for worker in doomed:
                worker.kill()
    scene.ledger.send(events(300, first=7_000_000))
    last = scene.workers.start(scene.ledger.stream, scene.lake, "--until-caught-up", "--wait")  # on the same network
    assert 0 == last.exit_code(2 * LONG_S)
    scene.the_promise_holds()


@pytest.mark.short_run("in the long run")
def test_workers_started_while_the_store_is_away_wait_for_it(scene: Scene) -> None:
    scene.ledger.send(events(500, bad_every=2))
    scene.flaky.shares = AWAY
    started = scene.team(2, "--wait")
    for worker in started:
        worker.wait_for(WAITS, LONG_S)
    scene.split()
    scene.all_ends_well(started)
