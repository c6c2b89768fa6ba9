"""What each part of the fence alone holds off: zombies between claims, refreshed handles, rows left behind."""

from __future__ import annotations

import random
import signal
from pathlib import Path

import pyarrow as pa
import pytest
from confluent_kafka import Consumer, TopicPartition

from schemas.tables import RECORDS
from sink.faults import VARIABLE
from sink.lake import Lake
from sink.positions import Source
from sink.writer import LakeWriter
from tests.broker import Broker, fresh_name, wait_until
from tests.conftest import MakeTopic
from tests.fault.promise import PARTITIONS, recover, the_promise_holds
from tests.ledger import Ledger, events, rows_in
from tests.records import processed, records
from tests.workers import Workers


@pytest.mark.also_on_s3("before silver")
@pytest.mark.parametrize("step", ["before silver", "after files silver"])
def test_a_zombie_woken_after_the_new_owner_trimmed_and_died(
    workers: Workers, broker: Broker, topic: MakeTopic, lake: Path | str, dice: random.Random, step: str
) -> None:
    """Its half flush is gone from quarantine by then: its other half must not come to silver."""
    ledger = Ledger(broker, topic(PARTITIONS))
    ledger.send_spread(events(dice.randrange(200, 2000), bad_every=2), PARTITIONS)
    zombie = workers.start(ledger.topic, lake, env={VARIABLE: f"{step}=stop"})
    zombie.until(lambda: zombie.is_stopped, "it stopped between quarantine's commit and silver's")
    owner = workers.start(ledger.topic, lake, group=fresh_name("group"), env={VARIABLE: "after trim quarantine"})
    assert -signal.SIGKILL == owner.exit_code()
    zombie.send(signal.SIGCONT)
    zombie.wait_for(" flushed ")
    zombie.stop()
    recover(workers, ledger, lake)
    the_promise_holds(lake, broker, ledger)


def test_a_zombie_whose_handles_its_own_commits_refreshed(
    workers: Workers, broker: Broker, topic: MakeTopic, lake: Path, dice: random.Random
) -> None:
    """It lost one Kafka partition and flushes another one: from then on its handles know the new owner's commits."""
    ledger = Ledger(broker, topic(2))
    zombie = workers.start(ledger.topic, lake, "--allowed-latency", "200ms", env={VARIABLE: "before bronze=stop"})
    zombie.wait_for(" reading ")
    ledger.send(events(dice.randrange(10, 200), bad_every=2), kafka_partition=1)
    zombie.until(lambda: zombie.is_stopped, "it stopped before it flushes Kafka partition 1")
    ledger.send(events(dice.randrange(10, 200), first=1000, bad_every=2), kafka_partition=0)
    take_over(lake, ledger, Source(ledger.topic, broker.topic_id(ledger.topic), 0))
    zombie.send(signal.SIGCONT)
    zombie.until(lambda: rows_in(lake, "bronze") >= len(ledger), "all is in bronze")
    ledger.send_spread(events(20, first=5000), 2)
    zombie.until(lambda: rows_in(lake, "bronze") >= len(ledger), "fresh events follow")
    assert 0 == zombie.stop()
    the_promise_holds(lake, broker, ledger)


def test_rows_that_waited_for_a_flush_when_their_kafka_partitions_were_lost_are_read_again_and_written_once(
    workers: Workers, broker: Broker, topic: MakeTopic, lake: Path, dice: random.Random
) -> None:
    """A machine that stood still for longer than its session lasts, with rows in its buffer."""
    ledger = Ledger(broker, topic(PARTITIONS))
    ledger.send_spread(events(dice.randrange(200, 1000), bad_every=3), PARTITIONS)
    late = ("--allowed-latency", "10m", "--flush-bytes", "500kB")
    worker = workers.start(ledger.topic, lake, *late, env={VARIABLE: "after add=stop"})
    worker.until(lambda: worker.is_stopped, "it stopped with rows in its buffer")
    wait_until(lambda: members(broker, workers.group) == 0, "the group goes on without it", 60)
    worker.send(signal.SIGCONT)
    worker.wait_for(" reading ", count=2)
    ledger.send_spread(events(5000, first=2000), PARTITIONS)
    worker.wait_for(" flushed ")
    assert 0 == worker.stop()
    assert [0, 0] == worker.claims(0)
    recover(workers, ledger, lake)
    the_promise_holds(lake, broker, ledger)


def test_the_group_hears_only_of_what_is_in_the_lake(
    workers: Workers, broker: Broker, topic: MakeTopic, lake: Path, dice: random.Random
) -> None:
    """Offsets committed to Kafka are for lag tools: a record must not look done while it waits for the store."""
    ledger = Ledger(broker, topic())
    done = dice.randrange(100, 1000)
    ledger.send(events(done))
    worker = workers.start(ledger.topic, lake, "--allowed-latency", "200ms")
    worker.until(lambda: rows_in(lake) + rows_in(lake, "quarantine") == done, "the first records are in the lake")
    (lake / "silver").rename(lake / "away")
    (lake / "silver").write_text("a file where the folder was: nobody can write below it, root neither")
    ledger.send(events(100, first=done))
    worker.wait_for("WARNING waiting: the store does not serve")
    assert 2 == worker.stop()  # without its last flush
    assert done == committed(broker, workers.group, ledger.topic)
    (lake / "silver").unlink()
    (lake / "away").rename(lake / "silver")
    recover(workers, ledger, lake, kafka_partitions=1)
    the_promise_holds(lake, broker, ledger)


def take_over(lake: Path, ledger: Ledger, source: Source) -> None:
    """Claim a Kafka partition and flush what it holds, as its new owner."""
    owner = LakeWriter(Lake.at(str(lake)))
    assert {source: 0} == owner.claim({source: 0})
    values = [
        ledger.records[position][:2] for position in sorted(ledger.records) if position[0] == source.kafka_partition
    ]
    batch = records([value for _, value in values], 0, source.kafka_partition, source.topic_id)
    batch = batch.set_column(0, RECORDS.field("topic"), pa.array([source.topic] * batch.num_rows))
    batch = batch.set_column(
        RECORDS.get_field_index("key"), RECORDS.field("key"), pa.nulls(batch.num_rows, pa.binary())
    )
    bad = frozenset(offset for offset, (_, value) in enumerate(values) if value == b"{broken")
    owner.add(*processed(batch, bad))
    assert {source: batch.num_rows - 1} == owner.flush().done


def members(broker: Broker, group: str) -> int:
    """How many members the broker counts in a group."""
    admin = broker.admin()
    return len(admin.describe_consumer_groups([group])[group].result(30).members)


def committed(broker: Broker, group: str, topic: str) -> int:
    """The offset that a group has committed of Kafka partition 0."""
    asking = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": group})
    try:
        return int(asking.committed([TopicPartition(topic, 0)], timeout=30)[0].offset)
    finally:
        asking.close()
