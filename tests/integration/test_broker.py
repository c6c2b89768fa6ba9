"""The broker fixture itself: what every integration test stands on."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from stream_app.broker import inspect_topic
from tests.broker import Broker

pytestmark = pytest.mark.broker


def send(broker: Broker, topic: str, values: list[bytes]) -> None:
    producer = Producer({"bootstrap.servers": broker.bootstrap, "enable.idempotence": True})
    for value in values:
        producer.produce(topic, value, partition=0)
    assert producer.flush(30) == 0


def values_of(broker: Broker, topic: str, count: int) -> list[bytes]:
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "unused", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, 0, 0)])
    try:
        return [record.value() for record in consumer.consume(count, timeout=30)]
    finally:
        consumer.close()


def test_records_come_back_in_order(broker: Broker, topic: Callable[..., str]) -> None:
    name = topic(partitions=2)
    sent = [b"%d" % number for number in range(1000)]
    send(broker, name, sent)
    assert sent == values_of(broker, name, 1000)


def test_every_topic_is_fresh_and_has_the_partitions_asked_for(broker: Broker, topic: Callable[..., str]) -> None:
    one, other = topic(), topic(partitions=5)
    found = broker.admin().list_topics(timeout=10).topics
    assert one != other
    assert [1, 5] == [len(found[one].partitions), len(found[other].partitions)]


def test_topics_are_not_made_by_asking_for_them(broker: Broker) -> None:
    found = broker.admin().list_topics("nobody-made-this", timeout=10).topics["nobody-made-this"]
    assert found.error is not None


@pytest.mark.parametrize("kill", [False, True], ids=["in order", "by a crash"])
def test_a_stopped_broker_comes_back_with_its_records(stoppable_broker: Broker, kill: bool) -> None:
    stoppable_broker.create_topic("kept")
    send(stoppable_broker, "kept", [b"before"])
    stoppable_broker.stop(kill=kill)
    stoppable_broker.start()
    send(stoppable_broker, "kept", [b"after"])
    assert [b"before", b"after"] == values_of(stoppable_broker, "kept", 2)


def test_a_topic_is_told_as_soon_as_it_was_made(broker: Broker, topic: Callable[..., str]) -> None:
    name = topic(200)  # for a moment most of these have no leader that knows of it
    told = inspect_topic({"bootstrap.servers": broker.bootstrap}, name)
    assert {number: (0, 0) for number in range(200)} == told.offsets
