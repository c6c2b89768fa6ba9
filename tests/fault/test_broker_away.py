"""The broker stopped and started under workers that read, claim, start or stop: they wait, say so once, and go on.

Away for 3 s with seed 0, which CI runs, and for up to 30 s, longer than any session, with the others.
"""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from confluent_kafka import Consumer

from schemas.errors import TopicNotFound
from sink.faults import VARIABLE
from stream_app.broker import watermarks
from tests.broker import Broker, fresh_name
from tests.fault.promise import PARTITIONS, recover, the_promise_holds
from tests.ledger import Ledger, events, rows_in
from tests.workers import Workers, workers_of

TOPIC = "events"


@pytest.fixture
def workers(stoppable_broker: Broker, tmp_path: Path) -> Iterator[Workers]:
    """Starts workers against a broker that can be stopped."""
    with workers_of(stoppable_broker, tmp_path) as started:
        yield started


@pytest.fixture
def ledger(stoppable_broker: Broker) -> Ledger:
    stoppable_broker.create_topic(TOPIC, PARTITIONS)
    return Ledger(stoppable_broker, TOPIC)


@pytest.fixture
def away_s(seed: int, dice: random.Random) -> float:
    return 3 if seed == 0 else dice.choice([1, 5, 12, 30])


@pytest.mark.parametrize("the_other", ["reads", "claims", "starts"])
def test_workers_go_on_when_the_broker_is_back(
    workers: Workers,
    stoppable_broker: Broker,
    ledger: Ledger,
    lake: Path,
    dice: random.Random,
    away_s: float,
    the_other: str,
) -> None:
    ledger.send_spread(events(dice.randrange(500, 3000), bad_every=20), PARTITIONS)
    worker = workers.start(TOPIC, lake)
    worker.until(lambda: rows_in(lake, "bronze") == len(ledger), "the first records are in the lake")
    with ledger.trickle(PARTITIONS):  # its producer waits, too
        if the_other == "claims":
            other = workers.start(TOPIC, lake, env={VARIABLE: f"after claim {dice.choice(['silver', 'bronze'])}=stop"})
            other.until(lambda: other.is_stopped, "it stopped half-way through its claim")
        elif the_other == "reads":
            other = workers.start(TOPIC, lake)
            other.until(lambda: bool(other.assigned), "it has joined")
        stoppable_broker.stop(kill=dice.random() < 0.5)
        back_at = time.monotonic() + away_s
        if the_other == "starts":
            other = workers.start(TOPIC, lake, "--wait")
            other.wait_for("WARNING waiting: no answer from the broker")
        other.send(signal.SIGCONT)
        worker.until(lambda: time.monotonic() >= back_at, "it runs on, with the broker away", away_s + 10)
        stoppable_broker.start()
        other.until(lambda: bool(other.assigned) and not worker.assigned & other.assigned, "both read", 90)
        enough = len(ledger) + 100
        worker.until(lambda: rows_in(lake, "bronze") >= enough, "fresh events flow", 90)
    for one in (worker, other):
        assert 0 == one.stop()
        assert "Traceback" not in one.log
        assert 5 > len(one.lines("WARNING|ERROR")), "said, but not again and again"
    recover(workers, ledger, lake)
    the_promise_holds(lake, stoppable_broker, ledger)


def test_a_worker_stopped_while_the_broker_is_away_loses_nothing(
    workers: Workers, stoppable_broker: Broker, ledger: Ledger, lake: Path, dice: random.Random
) -> None:
    worker = workers.start(TOPIC, lake, "--allowed-latency", "60s", "--flush-bytes", "200kB")
    with ledger.trickle(PARTITIONS):
        ledger.send_spread(events(3000, bad_every=20), PARTITIONS)
        worker.wait_for(" flushed ")
        enough = len(ledger) + dice.randrange(1, 200)
        worker.until(lambda: len(ledger) >= enough, "some more were sent, and read")
        stoppable_broker.stop(kill=dice.random() < 0.5)
        worker.wait_for("WARNING waiting for the broker")
        assert worker.stop() in (0, 2)
        assert "Traceback" not in worker.log
        said = worker.lines("^playlake stream:")
        assert [line for line in said if "Nothing is lost" in line] == said
        stoppable_broker.start()
    recover(workers, ledger, lake)
    the_promise_holds(lake, stoppable_broker, ledger)


def test_a_claim_waits_for_the_offsets_that_only_a_broker_knows(
    stoppable_broker: Broker, ledger: Ledger, dice: random.Random
) -> None:
    ledger.send(events(500), 1)
    asking = Consumer(
        {"bootstrap.servers": stoppable_broker.bootstrap, "group.id": fresh_name("asking"), "log_level": 0}
    )
    with ThreadPoolExecutor(1) as ask:
        if dice.random() < 0.5:
            assert (0, 500) == watermarks(asking, TOPIC, 1, lambda: True)
        stoppable_broker.stop(kill=dice.random() < 0.5)
        asked = ask.submit(watermarks, asking, TOPIC, 1, lambda: False)
        stoppable_broker.start()
        assert (0, 500) == asked.result(60)
    with pytest.raises(TopicNotFound, match=r"no longer has events\[7\]"):
        watermarks(asking, TOPIC, 7, lambda: False)
    asking.close()
