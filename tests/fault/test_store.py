"""An S3 API behind a bad network, or away for a while: workers wait, never die of it, and lose and double nothing."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.broker import Broker, fresh_name
from tests.conftest import MakeTopic
from tests.fault.bad_store import LONG_S, OUTAGES, QUICK, WAITS, bad_network, wait_until_all_are_in
from tests.fault.promise import PARTITIONS, recover, the_promise_holds
from tests.ledger import Ledger, events, rows_in
from tests.s3.flaky import AWAY, CALM, Fault, FlakyS3
from tests.workers import Worker, Workers, workers_of

pytestmark = pytest.mark.parametrize("store", ["s3"], indirect=True)


@pytest.fixture
def workers(broker: Broker, flaky: FlakyS3, tmp_path: Path) -> Iterator[Workers]:
    """Starts workers whose way to the store is `flaky`; tests themselves look at it by another."""
    with workers_of(broker, tmp_path, flaky.env) as started:
        yield started


def are_all_in_the_lake(ledger: Ledger, lake: str, workers: list[Worker]) -> None:
    """Fresh events flow again, and all that was sent arrives while these workers run."""
    ledger.send_spread(events(300, first=7_000_000), PARTITIONS)
    wait_until_all_are_in(lake, ledger, workers)


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
            worker.wait_for(" reading ", timeout_s=LONG_S)
            worker.until(lambda: flaky.counts.total() > 30 * count, "many faults happened", LONG_S)
            worker.until(lambda: rows_in(lake) > 0, "records arrive in spite of it", LONG_S)
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
        worker.until(lambda: flaky.counts[Fault.LOST_COMMIT] > 5, "answers to commits were lost", LONG_S)
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
        worker.wait_for(WAITS, timeout_s=LONG_S)
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
            doomed.wait_for(" flushed ", count=dice.randrange(1, 5) if number else 1, timeout_s=LONG_S)
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
    worker.wait_for(WAITS, timeout_s=LONG_S)
    flaky.shares = CALM
    are_all_in_the_lake(ledger, lake, [worker])
    assert 0 == worker.stop()
    the_promise_holds(lake, broker, ledger)
