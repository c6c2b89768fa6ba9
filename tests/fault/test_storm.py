"""Workers join and leave in a storm, 1 → 4 → 2, under a trickle of events: in order or killed, settled or not."""

from __future__ import annotations

import random
import signal
from itertools import combinations
from pathlib import Path

from tests.broker import Broker
from tests.conftest import MakeTopic
from tests.fault.promise import recover, the_promise_holds
from tests.ledger import Ledger, events, rows_in
from tests.workers import Worker, Workers

KAFKA_PARTITIONS = 8


def have_settled(running: list[Worker]) -> bool:
    """Whether these share all Kafka partitions, by their own account, and everyone has some."""
    shares = [worker.assigned for worker in running]
    is_disjoint = not any(one & other for one, other in combinations(shares, 2))
    return is_disjoint and all(shares) and set().union(*shares) == set(range(KAFKA_PARTITIONS))


def test_workers_join_and_leave_in_a_storm(
    workers: Workers, broker: Broker, topic: MakeTopic, lake: Path, dice: random.Random
) -> None:
    ledger = Ledger(broker, topic(KAFKA_PARTITIONS))
    ledger.send_spread(events(4000, bad_every=20), KAFKA_PARTITIONS)
    running: list[Worker] = []
    in_order: list[Worker] = []

    def joins() -> None:
        running.append(workers.start(ledger.topic, lake, "--allowed-latency", "200ms"))

    def leaves() -> None:
        leaving = running.pop(dice.randrange(len(running)))
        if dice.random() < 0.5:
            in_order.append(leaving)
            leaving.send(signal.SIGTERM)
        else:
            leaving.kill()

    with ledger.trickle(KAFKA_PARTITIONS):
        for size in (1, 4, 2):
            while len(running) != size:
                joins() if len(running) < size else leaves()
                running[-1].until(lambda: dice.random() < 0.2, "a moment later")
            if size == 4 and dice.random() < 0.5:
                continue  # they leave before all of them have joined
            running[0].until(lambda: have_settled(running), f"all is shared by {size}", 90)
            enough = len(ledger) + 100
            running[0].until(lambda enough=enough: rows_in(lake, "bronze") >= enough, "fresh events flow", 90)
    assert {0} == {worker.stop() for worker in running}
    for worker in in_order:  # one that has not begun may end by the signal itself
        assert worker.exit_code() in ([0] if worker.lines(" reading ") else [0, -signal.SIGTERM])
    for worker in (*running, *in_order):
        assert "Traceback" not in worker.log
    recover(workers, ledger, lake, kafka_partitions=KAFKA_PARTITIONS)
    the_promise_holds(lake, broker, ledger)
