"""An S3 API behind a bad network, or away for a while: workers wait, never die of it, and lose and double nothing."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.broker import Broker, fresh_name
from tests.conftest import MakeTopic
from tests.fault.promise import PARTITIONS, recover, the_promise_holds
from tests.ledger import Ledger, events, rows_in
from tests.s3 import S3
from tests.s3.flaky import AWAY, CALM, DEAF, THROTTLED, Fault, FlakyS3
from tests.workers import Worker, Workers, workers_of

pytestmark = pytest.mark.parametrize("store", ["s3"], indirect=True)

QUICK = ("--allowed-latency", "200ms")
OUTAGES = {"away": AWAY, "throttled": THROTTLED, "deaf": DEAF}


@pytest.fixture
def flaky(s3: S3, dice: random.Random) -> Iterator[FlakyS3]:
    """The network before the store, calm at first."""
    started = FlakyS3(s3, random.Random(dice.random()))
    yield started
    started.close()


@pytest.fixture
def workers(broker: Broker, flaky: FlakyS3, tmp_path: Path) -> Iterator[Workers]:
    """Starts workers whose way to the store is `flaky`; tests themselves look at it by another."""
    with workers_of(broker, tmp_path, flaky.env) as started:
        yield started


PASSING = (
    Fault.SLOW_DOWN,
    Fault.ERROR,
    Fault.RESET,
    Fault.LOST_ANSWER,
    Fault.LOST_COMMIT,
    Fault.LATE,
    Fault.SLOW,
    Fault.TRUNCATED,
)


def bad_network(dice: random.Random) -> dict[Fault, float]:
    """Shares for every passing fault, a tenth of all requests together."""
    weights = {fault: dice.uniform(0.2, 1) for fault in PASSING}
    return {fault: 0.1 * weight / sum(weights.values()) for fault, weight in weights.items()}


def are_all_in_the_lake(ledger: Ledger, lake: str, workers: list[Worker]) -> None:
    """Fresh events flow again, and all that was sent arrives while these workers run."""
    ledger.send_spread(events(300, first=7_000_000), PARTITIONS)
    for worker in workers:
        worker.until(lambda: rows_in(lake, "bronze") == len(ledger), "all that was sent is in the lake", 90)


@pytest.mark.short_run(2)
@pytest.mark.parametrize("count", [1, 2])
def test_workers_on_a_bad_network_to_the_store(
    workers: Workers, broker: Broker, topic: MakeTopic, lake: str, flaky: FlakyS3, dice: random.Random, count: int
) -> None:
    ledger = Ledger(broker, topic(PARTITIONS))
    ledger.send_spread(events(dice.randrange(500, 3000), bad_every=dice.choice([2, 20])), PARTITIONS)
    flaky.shares = bad_network(dice)
    started = [workers.start(ledger.topic, lake, *QUICK, "--wait") for _ in range(count)]
    with ledger.trickle(PARTITIONS):
        for worker in started:
            worker.wait_for(" reading ", timeout_s=90)
            worker.until(lambda: flaky.counts.total() > 30 * count, "many faults happened", 90)
            worker.until(lambda: rows_in(lake) > 0, "records arrive in spite of it", 90)
    flaky.shares = CALM
    are_all_in_the_lake(ledger, lake, started)
    assert [0] * count == [worker.stop() for worker in started]
    the_promise_holds(lake, broker, ledger)


def test_commits_whose_answers_are_lost_are_known_as_one_s_own(
    workers: Workers, broker: Broker, topic: MakeTopic, lake: str, flaky: FlakyS3, dice: random.Random
) -> None:
    ledger = Ledger(broker, topic(PARTITIONS))
    ledger.send_spread(events(dice.randrange(200, 1000), bad_every=2), PARTITIONS)
    flaky.shares = {Fault.LOST_COMMIT: dice.uniform(0.3, 0.7)}
    worker = workers.start(ledger.topic, lake, *QUICK, "--wait")
    with ledger.trickle(PARTITIONS):
        worker.until(lambda: flaky.counts[Fault.LOST_COMMIT] > 5, "answers to commits were lost", 90)
    flaky.shares = CALM
    are_all_in_the_lake(ledger, lake, [worker])
    assert 0 == worker.stop()
    assert [] == worker.lines("another writer")
    the_promise_holds(lake, broker, ledger)


@pytest.mark.short_run("throttled")
@pytest.mark.parametrize("outage", [*OUTAGES])
def test_a_store_that_stays_away_is_waited_for(
    workers: Workers,
    broker: Broker,
    topic: MakeTopic,
    lake: str,
    flaky: FlakyS3,
    dice: random.Random,
    outage: str,
) -> None:
    ledger = Ledger(broker, topic(PARTITIONS))
    ledger.send_spread(events(dice.randrange(200, 1000), bad_every=2), PARTITIONS)
    worker = workers.start(ledger.topic, lake, *QUICK)
    with ledger.trickle(PARTITIONS):
        worker.wait_for(" flushed ", count=dice.randrange(1, 4))
        flaky.shares = OUTAGES[outage]
        worker.wait_for("WARNING waiting: the store does not serve", timeout_s=90)
    flaky.shares = CALM
    are_all_in_the_lake(ledger, lake, [worker])
    assert 1 == len(worker.lines("the store answers again"))
    assert 0 == worker.stop()
    the_promise_holds(lake, broker, ledger)


def test_workers_killed_on_a_bad_network(
    workers: Workers, broker: Broker, topic: MakeTopic, lake: str, flaky: FlakyS3, dice: random.Random
) -> None:
    ledger = Ledger(broker, topic(PARTITIONS))
    ledger.send_spread(events(5000, bad_every=20), PARTITIONS)
    flaky.shares = bad_network(dice)
    with ledger.trickle(PARTITIONS):
        for number in range(2):
            doomed = workers.start(
                ledger.topic, lake, *QUICK, "--flush-bytes", "100kB", "--wait", group=fresh_name("group")
            )
            doomed.wait_for(" flushed ", count=dice.randrange(1, 5) if number else 1, timeout_s=90)
            doomed.until(lambda: dice.random() < 0.2, "a moment later")
            doomed.kill()
    recover(workers, ledger, lake, "--wait")  # on the same network
    the_promise_holds(lake, broker, ledger)


def test_a_worker_started_while_the_store_is_away_waits_for_it(
    workers: Workers, broker: Broker, topic: MakeTopic, lake: str, flaky: FlakyS3
) -> None:
    ledger = Ledger(broker, topic(PARTITIONS))
    ledger.send_spread(events(500, bad_every=2), PARTITIONS)
    flaky.shares = AWAY
    worker = workers.start(ledger.topic, lake, *QUICK, "--wait")
    worker.wait_for("WARNING waiting: the store does not serve", timeout_s=90)
    flaky.shares = CALM
    are_all_in_the_lake(ledger, lake, [worker])
    assert 0 == worker.stop()
    the_promise_holds(lake, broker, ledger)
