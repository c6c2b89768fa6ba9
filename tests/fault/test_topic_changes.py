"""A topic that lost records, or was deleted and made again: a loud stop, never a silent reset, and what to do then."""

from __future__ import annotations

import random
import re
import signal
import time
from contextlib import nullcontext
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition

from tests.broker import Broker, fresh_name
from tests.conftest import MakeTopic
from tests.fault.promise import PARTITIONS, recover, the_promise_holds
from tests.ledger import Ledger, events, positions, rows_in
from tests.workers import Worker, Workers, playlake

HOLDS_BACK = ("--allowed-latency", "60s")
"""What it fetched is in its memory alone."""


def truncate(broker: Broker, topic: str, kafka_partition: int, first: int) -> None:
    """Have the broker delete a Kafka partition's records before an offset."""
    admin = broker.admin()
    for answer in admin.delete_records([TopicPartition(topic, kafka_partition, first)]).values():
        answer.result(30)


def generation(broker: Broker, name: str) -> Ledger:
    """A ledger of the topic that has this name now."""
    return Ledger(broker, name, broker.topic_id(name))


def last_words(worker: Worker) -> str:
    """The one line with which it stopped."""
    assert 2 == worker.exit_code(60)
    assert "Traceback" not in worker.log
    [said] = worker.lines("^playlake stream:")
    return said


# ---------------------------------------------------------------- truncated


@pytest.mark.parametrize("worker_is", ["asleep", "gone"])
def test_a_topic_truncated_under_a_worker(
    workers: Workers, broker: Broker, topic: MakeTopic, lake: Path, tmp_path: Path, dice: random.Random, worker_is: str
) -> None:
    ledger = Ledger(broker, topic(PARTITIONS))
    ledger.send_spread(events(PARTITIONS * dice.randrange(1, 500)), PARTITIONS)
    truncated = dice.randrange(PARTITIONS)
    workers.catch_up(ledger.topic, lake)
    worker = workers.start(ledger.topic, lake, *HOLDS_BACK)
    worker.until(lambda: len(worker.assigned) == PARTITIONS, "it reads")
    ledger.send_spread(events(PARTITIONS * dice.choice([0, 1, 50, 500]), first=10_000), PARTITIONS)
    if worker_is == "asleep":
        worker.send(signal.SIGSTOP)
    else:
        worker.kill()
    for first, count in ((20_000, 1), (30_000, dice.randrange(1, 500))):  # it may be fetching: it gets the first alone
        ledger.send(events(count, first=first), truncated)
    end = max(offset for number, offset in ledger.records if number == truncated) + 1
    low = end - dice.choice([0, 1, count - 1])  # 0: none is left
    truncate(broker, ledger.topic, truncated, low)
    if worker_is == "asleep":
        worker.send(signal.SIGCONT)
    else:
        worker = workers.start(ledger.topic, lake, *HOLDS_BACK, group=fresh_name("group"))

    for told in (last_words(worker), last_words(workers.start(ledger.topic, lake, group=fresh_name("group")))):
        place = re.escape(f"{ledger.topic}[{truncated}]")
        match = re.search(
            rf"{place}: the lake needs offset (\d+) next, but .* starts at {low}: records (\d+)\.\.(\d+) ", told
        )
        assert match is not None, told
        needed, first, last = (int(number) for number in match.groups())
        assert (needed, low - 1) == (first, last)
        assert "--lake" in told, "the remedy"
        of_it = [offset for number, offset in positions(lake, "bronze") if number == truncated]
        assert list(range(first)) == of_it, "what was read before is in the lake, and the range begins right behind it"

    remedy = tmp_path / "a new lake"
    ledger.records = {
        (number, offset): record
        for (number, offset), record in ledger.records.items()
        if number != truncated or offset >= low
    }
    recover(workers, ledger, remedy)
    the_promise_holds(remedy, broker, ledger)


def test_records_truncated_behind_a_worker_are_no_loss(
    workers: Workers, broker: Broker, topic: MakeTopic, lake: Path, dice: random.Random
) -> None:
    ledger = Ledger(broker, topic(PARTITIONS))
    ledger.send_spread(events(PARTITIONS * dice.randrange(10, 500)), PARTITIONS)
    worker = workers.start(ledger.topic, lake)
    worker.until(lambda: rows_in(lake, "bronze") == len(ledger), "all is in the lake")
    for number in range(PARTITIONS):
        end = max(offset for of, offset in ledger.records if of == number) + 1
        truncate(broker, ledger.topic, number, dice.choice([1, end // 2, end]))
    ledger.send_spread(events(300, first=10_000), PARTITIONS)
    worker.until(lambda: rows_in(lake, "bronze") == len(ledger), "fresh events flow")
    assert 0 == worker.stop()
    recover(workers, ledger, lake)
    the_promise_holds(lake, broker, ledger)


# ---------------------------------------------------------------- deleted and made again


@pytest.mark.parametrize("worker_is", ["awake", "asleep", "gone"])
def test_a_topic_made_again_is_refused_until_it_is_accepted(
    workers: Workers, broker: Broker, topic: MakeTopic, lake: Path, seed: int, dice: random.Random, worker_is: str
) -> None:
    old = generation(broker, topic(PARTITIONS))
    count = dice.randrange(2, 500)
    old.send_spread(events(PARTITIONS * count), PARTITIONS)
    if worker_is == "gone":
        workers.catch_up(old.topic, lake)
        worker = None
    else:
        worker = workers.start(old.topic, lake)
        worker.until(lambda: rows_in(lake, "bronze") == len(old), "all is in the lake")
    if worker is not None and worker_is == "asleep":
        worker.send(signal.SIGSTOP)
    broker.delete_topic(old.topic)
    broker.create_topic(old.topic, PARTITIONS)
    new = generation(broker, old.topic)
    # Longer first: its offsets look like the old one's next ones.
    of_each = (count + dice.randrange(1, 500), count, dice.randrange(count))[seed % 3]
    new.send_spread(events(PARTITIONS * of_each, first=100_000), PARTITIONS)
    if worker is not None:
        worker.send(signal.SIGCONT)
        told = last_words(worker)
        assert old.topic in told
        assert {old.topic_id, new.topic_id} <= {*re.findall(r"[\w-]{22}", told)} or "no longer has" in told
    old.agrees_with(lake)
    assert len(old) == rows_in(lake, "bronze"), "nothing of the new one"

    refused = last_words(workers.start(old.topic, lake, group=fresh_name("group")))
    for part in (old.topic_id, new.topic_id, "--accept-new-topic"):
        assert part in refused
    assert len(old) == rows_in(lake, "bronze")

    both = [
        workers.start(old.topic, lake, "--accept-new-topic", "--until-caught-up") for _ in range(dice.choice([1, 2]))
    ]
    assert {0} == {worker.exit_code() for worker in both}
    assert len(new) == sum(worker.report["bronze"] for worker in both)
    recover(workers, new, lake)  # accepted once: the flag is not needed any more
    the_promise_holds(lake, broker, old, new)


@pytest.mark.parametrize("busy", [True, False])
def test_a_topic_deleted_under_workers_is_told(
    workers: Workers, broker: Broker, lake: Path, dice: random.Random, busy: bool
) -> None:
    ledger = Ledger(broker, fresh_name("deleted"))
    broker.create_topic(ledger.topic, PARTITIONS)
    # As of a client that has known the topic for more than half a minute: it believes the first answer.
    flags = ["--kafka-option", "topic.metadata.propagation.max.ms=0", "--allowed-latency", "0.5s"]
    both = [workers.start(ledger.topic, lake, *flags) for _ in range(2)]
    for worker in both:
        worker.until(lambda worker=worker: bool(worker.assigned), "it has its share")
    ledger.send_spread(events(dice.randrange(1, 2000)), PARTITIONS)  # not before: the first could flush all alone
    with ledger.trickle(PARTITIONS) if busy else nullcontext():
        worker.until(lambda: rows_in(lake, "bronze") >= len(ledger) - 100, "nearly all is in the lake")
        time.sleep(dice.uniform(0, 2))
    broker.delete_topic(ledger.topic)
    for worker in both:
        told = last_words(worker)
        assert f"no longer has {ledger.topic}" in told
    assert rows_in(lake, "bronze") <= len(ledger)


def test_three_topics_of_one_name_live_in_one_lake_through_compactions(
    workers: Workers, broker: Broker, lake: Path, dice: random.Random
) -> None:
    name = fresh_name("three") + "-beyond-the-length-that-statistics-keep" * 4
    ledgers: list[Ledger] = []
    for number in range(3):
        broker.create_topic(name, PARTITIONS)
        ledgers.append(generation(broker, name))
        ledgers[-1].send_spread(events(dice.randrange(3, 900), first=100_000 * number, bad_every=7), PARTITIONS)
        if number == 2:
            refused = last_words(workers.start(name, lake))
            for ledger in ledgers:
                assert ledger.topic_id in refused
        workers.catch_up(name, lake, "--accept-new-topic", group=fresh_name("group"))
        if number == 1 or dice.random() < 0.5:  # files then hold rows of several of them
            done = playlake("compact", "--lake", str(lake), timeout_s=100)
            assert 0 == done.returncode, done.stderr
        if number < 2:
            broker.delete_topic(name)
    recover(workers, ledgers[-1], lake)
    broker.delete_topic(name)
    the_promise_holds(lake, broker, *ledgers)
    assert sum(map(len, ledgers)) == rows_in(lake, "bronze")
