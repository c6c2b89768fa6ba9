"""`verify --broker`: holes are read again at a real broker. Markers are nothing, records are losses."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from audit import holes
from audit.status import read_progress, read_status
from audit.verify import Verdict, verify
from playlake.cli import main
from sink.lake import Lake
from sink.positions import NO_TOPIC_ID, Source
from sink.writer import LakeWriter
from tests.broker import Broker
from tests.records import processed, records

pytestmark = pytest.mark.broker
MakeTopic = Callable[..., str]


class World:
    """A topic of one Kafka partition, and a lake that took from it what a test says."""

    def __init__(self, broker: Broker, topic: str, lake: Lake) -> None:
        self.broker, self.topic, self.lake = broker, topic, lake
        self.options = {"bootstrap.servers": broker.bootstrap}

    def send(self, count: int) -> None:
        producer = Producer(self.options)
        for _ in range(count):
            producer.produce(self.topic, b"{}", partition=0)
            producer.poll(0)
        assert producer.flush(60) == 0

    def transactions(self, outcomes: Iterable[bool]) -> None:
        """One transaction of one record for each outcome: committed or aborted. Each leaves a marker's offset."""
        producer = Producer({**self.options, "transactional.id": f"{self.topic}-t"})
        producer.init_transactions(30)
        for is_committed in outcomes:
            producer.begin_transaction()
            producer.produce(self.topic, b"{}", partition=0)
            producer.flush(30)
            producer.commit_transaction(30) if is_committed else producer.abort_transaction(30)

    def offsets(self) -> list[int]:
        """Offset of every record that a reader of committed records gets."""
        consumer = Consumer(
            {**self.options, "group.id": "x", "enable.partition.eof": True, "isolation.level": "read_committed"}
        )
        consumer.assign([TopicPartition(self.topic, 0, 0)])
        found: list[int] = []
        try:
            while True:
                for message in consumer.consume(10_000, timeout=1.0):
                    error = message.error()
                    if error is not None:
                        assert error.code() == KafkaError._PARTITION_EOF
                        return found
                    found.append(message.offset())
        finally:
            consumer.close()

    def take(self, offsets: Iterable[int], topic_id: str = NO_TOPIC_ID) -> None:
        """Write records with these offsets to the lake, as done."""
        kept = sorted(offsets)
        source = Source(self.topic, topic_id, 0)
        batch = records([b"{}"] * len(kept), 0, 0, topic_id)
        for name, values in (("kafka_offset", kept), ("topic", [self.topic] * len(kept))):
            index = batch.schema.get_field_index(name)
            field = batch.schema.field(name)
            batch = batch.set_column(index, field, [values])
        bronze, silver, quarantine = processed(batch)
        silver = silver.set_column(silver.schema.get_field_index("topic"), silver.schema.field("topic"), batch["topic"])
        writer = LakeWriter(self.lake)
        writer.claim({source: 0})
        writer.add(bronze, silver, quarantine)
        writer.flush()

    def verify(self) -> Verdict:
        return verify(self.lake, self.options)

    def faults(self) -> dict[str, tuple[int, tuple[str, ...]]]:
        return {fault.kind: (fault.count, fault.first) for fault in self.verify().faults}

    def named(self, *offsets: object) -> tuple[str, ...]:
        return tuple(f"{self.topic}[0]@{offset}" for offset in offsets)


@pytest.fixture
def world(broker: Broker, topic: MakeTopic, tmp_path: Path) -> World:
    return World(broker, topic(), Lake.at(str(tmp_path / "lake")))


def test_transaction_markers_and_aborted_records_are_no_losses(world: World) -> None:
    world.transactions([True, True, False, True, False, False, True, True])
    taken = world.offsets()
    assert [0, 2, 6, 12, 14] == taken
    world.take(taken)
    assert not verify(world.lake).holds, "unexplained from the lake alone"
    assert {} == world.faults()


def test_markers_at_the_end_do_not_keep_verify_waiting(world: World) -> None:
    world.send(3)
    world.transactions([True, False])
    world.take([0, 1, 2, 3, 6])  # a lake that took the position of a marker for done
    assert {} == world.faults()


def test_records_in_holes_are_losses_and_named(world: World) -> None:
    world.send(1000)
    world.take(set(range(1000)) - {0, 500, 501, 502, 998})
    assert {"lost": (5, world.named(0, 500, 501, 502, 998))} == world.faults()


def test_a_loss_between_markers_is_found(world: World) -> None:
    world.transactions([True] * 50)
    world.take(set(world.offsets()) - {40, 60})
    assert {"lost": (2, world.named(40, 60))} == world.faults()


def test_a_loss_is_told_from_the_command_line(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.send(10)
    world.take([0, 1, 2, 4, 5])
    assert 1 == main(["verify", "--lake", world.lake.uri, "--broker", world.broker.url])
    assert world.named(3)[0] in capsys.readouterr().out.replace("\n", "")


def test_a_topic_without_holes_is_not_read(world: World) -> None:
    world.send(10)
    world.take(range(8))
    verdict = world.verify()
    assert verdict.holds
    assert verdict.has_asked_broker


def test_holes_that_the_broker_no_longer_has_stay_unproved_and_say_so(world: World) -> None:
    world.send(100)
    world.take(set(range(100)) - {10, 49, 50, 51})
    world.broker.admin().delete_records([TopicPartition(world.topic, 0, 50)])
    admin: AdminClient = world.broker.admin()
    for future in admin.delete_records([TopicPartition(world.topic, 0, 50)]).values():
        future.result(30)
    assert {"lost": (2, world.named(50, 51)), "unchecked_hole": (2, world.named(10, 49))} == world.faults()
    why = next(fault.why for fault in world.verify().faults if fault.kind == "unchecked_hole")
    assert "below offset 50" in why


def test_holes_beyond_the_end_of_the_topic_stay_unproved(world: World) -> None:
    world.send(5)
    world.take([0, 1, 2, 3, 4, 9])
    assert {"unchecked_hole": (4, world.named("5-8"))} == world.faults()


def test_a_topic_made_again_under_its_name_is_not_asked(world: World) -> None:
    world.send(10)
    world.take([0, 1, 5], topic_id="AAAAAAAAAAAAAAAAAAAAAA")
    assert {"unchecked_hole": (3, world.named("2-4"))} == world.faults()
    assert "made again" in world.verify().faults[0].why


def test_the_same_topic_is_known_by_its_id(world: World) -> None:
    world.send(10)
    world.take([0, 1, 5], topic_id=world.broker.topic_id(world.topic))
    assert {"lost": (3, world.named(2, 3, 4))} == world.faults()


def test_a_topic_that_the_broker_lacks_is_said(world: World, broker: Broker) -> None:
    gone = World(broker, f"{world.topic}-never-made", world.lake)
    gone.take([0, 2])
    assert {"unchecked_hole": (1, gone.named(1))} == gone.faults()
    assert gone.topic not in broker.admin().list_topics(timeout=10).topics


def test_holes_far_apart_are_reached_without_reading_all_between(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holes, "_SEEK_BEYOND", 1000)
    world.send(50_000)
    world.take(set(range(50_000)) - {5, 20_000, 20_001, 20_500, 49_998})
    assert {"lost": (5, world.named(5, 20_000, 20_001, 20_500, 49_998))} == world.faults()


def test_an_open_transaction_beyond_what_is_done_changes_nothing(world: World) -> None:
    world.transactions([True, True])
    taken = world.offsets()
    producer = Producer({**world.options, "transactional.id": f"{world.topic}-open"})
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(world.topic, b"{}", partition=0)
    assert producer.flush(30) == 0
    world.take(taken)
    assert {} == world.faults()
    producer.abort_transaction(30)


def test_holes_inside_an_open_transaction_stay_unproved(world: World) -> None:
    world.send(3)
    producer = Producer({**world.options, "transactional.id": f"{world.topic}-open"})
    producer.init_transactions(30)
    producer.begin_transaction()
    for _ in range(5):
        producer.produce(world.topic, b"{}", partition=0)
    assert producer.flush(30) == 0
    world.take([0, 2, 7])  # no lake of ours takes 7 before its transaction ends
    assert {"lost": (1, world.named(1)), "unchecked_hole": (4, world.named("3-6"))} == world.faults()
    producer.abort_transaction(30)


def test_status_tells_the_lag(world: World) -> None:
    world.send(30)
    world.take(range(20))
    assert [10] == [entry.lag for entry in read_status(world.lake, world.options).sources]
    assert 10 == read_progress(world.lake, world.options).lag


def test_a_broker_that_is_not_there_is_a_broken_world(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.take(range(3))
    for verb in ("verify", "status"):
        assert 2 == main([verb, "--lake", world.lake.uri, "--broker", "kafka://127.0.0.1:1"])
        assert "no answer from the broker 127.0.0.1:1" in capsys.readouterr().err
