"""Input of odd sizes and shapes: records of 10 MB, bursts of nothing but bad or repeated events, lopsided topics."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.broker import Broker
from tests.conftest import MakeTopic
from tests.fault.promise import PARTITIONS, recover, the_promise_holds
from tests.ledger import Ledger, events, rows_in, table_rows
from tests.meanwhile import meanwhile
from tests.records import event_bytes
from tests.workers import Workers, playlake

BURST = 15_000
DEFAULTS = ("--allowed-latency", "10s")
"""What a worker does that is told nothing."""
FRESH_S = 15.0
"""Latency of half a second, and what a busy machine adds to it."""


def test_records_of_10_mb_among_normal_ones(
    workers: Workers, broker: Broker, topic: MakeTopic, lake: Path, dice: random.Random
) -> None:
    ledger = Ledger(broker, topic(PARTITIONS, {"max.message.bytes": "11000000"}))
    filling = dice.randbytes(5_000_000).hex()
    large = [event_bytes(1_000_000, app_version=filling), filling.encode(), b"\xff" * 10_000_000]
    values = [*events(dice.randrange(300, 3000), bad_every=20), *large, *large[: dice.randrange(3)]]
    dice.shuffle(values)
    worker = workers.start(ledger.topic, lake, *DEFAULTS)
    worker.wait_for(" reading ")
    ledger.send_spread(values, PARTITIONS)
    worker.until(lambda: rows_in(lake, "bronze") == len(ledger), "all is in the lake", 60)
    assert 2**30 > worker.peak_memory_bytes
    dice.choice([worker.stop, worker.kill])()
    recover(workers, ledger, lake)
    the_promise_holds(lake, broker, ledger)


def bad(kind: str, dice: random.Random) -> bytes | None:
    """One bad record of a kind."""
    return {
        "no bytes": lambda: None,
        "no text": lambda: dice.randbytes(dice.randrange(200)) + b"\xff",
        "no JSON": lambda: event_bytes(1)[: dice.randrange(1, 200)],
        "no event": lambda: dice.choice([b"{}", b"[]", b"null", b"1e400", b'"x"', b"NaN"]),
        "wrong types": lambda: event_bytes(1, user_id=[], event_ts={}, country=7, playhead_s="x"),
        "an unknown type": lambda: event_bytes(1, event_type="\u0000" * dice.randrange(99)),
    }[kind]()


KINDS = ("no bytes", "no text", "no JSON", "no event", "wrong types", "an unknown type")


def test_a_burst_that_is_all_bad(
    workers: Workers, broker: Broker, topic: MakeTopic, lake: Path, dice: random.Random
) -> None:
    ledger = Ledger(broker, topic(PARTITIONS))
    kinds = dice.sample(KINDS, dice.randrange(1, len(KINDS) + 1))
    worker = workers.start(ledger.topic, lake, "--allowed-latency", "500ms", "--flush-bytes", "1MB")
    worker.wait_for(" reading ")
    ledger.send_spread((bad(dice.choice(kinds), dice) for _ in range(BURST)), PARTITIONS)
    if dice.random() < 0.5:
        worker.kill()
    else:
        worker.until(lambda: rows_in(lake, "quarantine") == BURST, "all of it is in quarantine", 60)
        assert 0 == worker.stop()
    recover(workers, ledger, lake)
    the_promise_holds(lake, broker, ledger)
    assert BURST + 6 == rows_in(lake, "quarantine"), "and six of those sent to recover"
    assert min(map(len, table_rows(lake, "quarantine", ["reasons"])["reasons"].to_pylist())) > 0


def test_a_burst_that_repeats_a_few_ids(
    workers: Workers, broker: Broker, topic: MakeTopic, lake: Path, dice: random.Random
) -> None:
    ledger = Ledger(broker, topic(PARTITIONS))
    ids = dice.choice([1, 2, 1000])
    worker = workers.start(ledger.topic, lake, "--allowed-latency", "500ms", "--flush-bytes", "1MB")
    worker.wait_for(" reading ")
    ledger.send_spread((event_bytes(dice.randrange(ids)) for _ in range(BURST)), PARTITIONS)
    dice.choice([worker.stop, worker.kill])()
    recover(workers, ledger, lake)
    the_promise_holds(lake, broker, ledger)
    compacted = playlake("compact", "--lake", str(lake), timeout_s=100)
    assert 0 == compacted.returncode, compacted.stderr
    assert len(set(ledger.values) - {b"{broken"}) == rows_in(lake), "one row an id"
    the_promise_holds(lake, broker, ledger, is_deduped=True)


# ---------------------------------------------------------------- lopsided topics


@contextlib.contextmanager
def flood(ledger: Ledger, kafka_partition: int, most: int) -> Iterator[None]:
    """Send to one Kafka partition as fast as its broker takes it, up to `most` records, until the block ends."""

    def steps() -> Iterator[None]:
        for first in range(0, most, 5000):
            ledger.send(events(5000, first=first), kafka_partition)
            yield

    with meanwhile(steps, 0):
        yield


@pytest.mark.parametrize("others_are", ["idle", "trickling"])
def test_a_topic_with_one_hot_kafka_partition(
    workers: Workers, broker: Broker, topic: MakeTopic, lake: Path, dice: random.Random, others_are: str
) -> None:
    ledger = Ledger(broker, topic(8))
    hot, *cold = dice.sample(range(8), 8)
    ledger.send(events(20_000, first=1_000_000), hot)
    if others_are == "trickling":
        for number in cold:
            ledger.send(events(dice.randrange(3), first=2_000_000 + 10 * number), number)
    caught_up = [workers.start(ledger.topic, lake, "--until-caught-up") for _ in range(dice.choice([1, 2]))]
    assert {0} == {worker.exit_code(100) for worker in caught_up}
    assert len(ledger) == rows_in(lake, "bronze")

    if others_are == "trickling":
        worker = workers.start(ledger.topic, lake, "--allowed-latency", "500ms")
        worker.until(lambda: worker.assigned == set(range(8)), "it reads")
        with flood(ledger, hot, 50_000):
            for number in dice.sample(cold, 3):
                sent_at = time.monotonic()
                ledger.send([event_bytes(number, event_id=f"cold-{number}")], number)
                worker.until(lambda number=number: f"cold-{number}" in ids(lake), "a cold one is in silver", 60)
                assert FRESH_S > time.monotonic() - sent_at
        assert 0 == worker.stop()
    recover(workers, ledger, lake, kafka_partitions=8)
    the_promise_holds(lake, broker, ledger)


def ids(lake: Path) -> set[str]:
    return set(table_rows(lake, "silver", ["event_id"])["event_id"].to_pylist())


def test_a_topic_of_64_kafka_partitions(
    workers: Workers, broker: Broker, topic: MakeTopic, lake: Path, dice: random.Random
) -> None:
    ledger = Ledger(broker, topic(64))
    workers.catch_up(ledger.topic, lake, name="on an empty topic")
    filled = dice.sample(range(64), dice.choice([1, 3, 40, 64]))
    for number in filled:
        ledger.send(events(dice.randrange(1, 100), first=1000 * number, bad_every=7), number)
    running = [workers.start(ledger.topic, lake, "--allowed-latency", "200ms") for _ in range(2)]
    running[0].until(lambda: set().union(*(worker.assigned for worker in running)) == set(range(64)), "all is read", 60)
    with ledger.trickle(64):
        running.pop(dice.randrange(2)).kill()
        sent = len(ledger) + 200
        running[0].until(lambda: rows_in(lake, "bronze") >= sent, "fresh events flow", 60)
    for worker in running:
        assert 0 == worker.stop()
    recover(workers, ledger, lake, kafka_partitions=64)
    the_promise_holds(lake, broker, ledger)
