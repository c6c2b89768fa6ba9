"""Ask the broker about a topic: is it there, which id has it, how far does it reach."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient

from schemas.errors import BrokerUnavailable, ConfigError, TerminalError, TopicNotFound
from sink.positions import NO_TOPIC_ID, topic_id_text

Answer = TypeVar("Answer")

TIMEOUT_S: Final = 5.0
"""How long a broker may take for one answer."""
_BUILT_IN_BROKER: Final = "mockCluster"
_LEADER_WAIT_S: Final = 10.0
"""How long a Kafka partition of a topic that is there may be without a leader: one just made has none for a moment."""
NO_TOPIC_CODES: Final = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION)
"""What Kafka and its client say of a topic or Kafka partition that is not there."""
_BROKER_AWAY_CODES: Final = (
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._RESOLVE,
    KafkaError._TIMED_OUT,
    KafkaError._TRANSPORT,
    KafkaError.BROKER_NOT_AVAILABLE,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.NETWORK_EXCEPTION,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.OFFSET_NOT_AVAILABLE,
    KafkaError.REQUEST_TIMED_OUT,
)
_NO_LEADER_CODES: Final = (
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.OFFSET_NOT_AVAILABLE,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
)
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Topic:
    """What the broker says of a topic.

    Attributes:
        name: the topic.
        topic_id: the broker's UUID of it, `NO_TOPIC_ID` where the broker has none.
        offsets: per Kafka partition, the first offset it still has and the one that a next record would get.
    """

    name: str
    topic_id: str
    offsets: Mapping[int, tuple[int, int]]


def inspect_topic(client_options: Mapping[str, Any], name: str) -> Topic:
    """Ask for a topic's id and offsets.

    Args:
        client_options: librdkafka's settings.
        name: the topic.

    Raises:
        BrokerUnavailable: no answer within 5 s, or a Kafka partition without a leader for 10 s.
        ConfigError: librdkafka does not take the settings.
        TopicNotFound: the broker has no such topic; the message says how to make it.
    """
    servers = client_options["bootstrap.servers"]
    quiet: dict[str, Any] = {**client_options, "log_level": 0}
    troubles: list[str] = []
    heard: dict[str, Any] = {**quiet, "error_cb": lambda error: troubles.append(error.str())}
    try:
        admin = AdminClient(heard)
        try:
            metadata = admin.list_topics(timeout=TIMEOUT_S)
        except KafkaException:
            admin.poll(0)  # fills `troubles`, the first of which says more than the exception
            raise
        if name not in metadata.topics:  # asked for all: asking for one by name makes some brokers create it
            if (metadata.cluster_id or "").startswith(_BUILT_IN_BROKER):
                metadata = admin.list_topics(name, timeout=TIMEOUT_S)
            else:
                raise TopicNotFound(
                    f"the broker {servers} has no topic {name!r}: make it with `kafka-topics.sh --create "
                    f"--topic {name} --partitions 4 --bootstrap-server {servers}`, or start with --wait"
                )
        topic_id = _topic_id(admin, name, metadata.cluster_id)
        partitions = sorted(metadata.topics[name].partitions)
        consumer = Consumer({**quiet, "group.id": "playlake-inspect", "enable.auto.commit": False})
        try:
            give_up_at = time.monotonic() + _LEADER_WAIT_S
            parts = [TopicPartition(name, number) for number in partitions]
            offsets = {part.partition: _led_offsets(consumer, part, give_up_at) for part in parts}
        finally:
            consumer.close()
    except KafkaException as error:
        reason: KafkaError = error.args[0]
        if reason.code() in (KafkaError._INVALID_ARG, KafkaError._CONFLICT):
            raise ConfigError(f"librdkafka does not take the settings (--kafka-option): {reason.str()}") from error
        said = troubles[0] if troubles else reason.str()
        raise BrokerUnavailable(
            f"no answer from the broker {servers} ({said}): is it running, and is --broker right?"
        ) from error
    return Topic(name, topic_id, offsets)


def _led_offsets(consumer: Consumer, part: TopicPartition, give_up_at: float) -> tuple[int, int]:
    """Return a Kafka partition's first and next offset, once it has a leader; raises KafkaException otherwise."""
    while True:
        try:
            low, high = consumer.get_watermark_offsets(part, timeout=TIMEOUT_S)
        except KafkaException as error:
            if error.args[0].code() not in _NO_LEADER_CODES or time.monotonic() > give_up_at:
                raise
            time.sleep(random.uniform(0.05, 0.2))  # noqa: S311  # jitter, no secret
        else:
            return low, high


def wait_for_topic(
    client_options: Mapping[str, Any],
    name: str,
    on_wait: Callable[[str], None],
    sleep: Callable[[float], None] = time.sleep,
) -> Topic:
    """Ask again until the topic is there; `on_wait` gets each new reason for waiting."""
    return wait_until_there(lambda: inspect_topic(client_options, name), on_wait, sleep)


def wait_until_there(
    ask: Callable[[], Answer], on_wait: Callable[[str], None], sleep: Callable[[float], None] = time.sleep
) -> Answer:
    """Ask again until there is a broker and a topic; `on_wait` gets each new reason for waiting."""
    reason = ""
    while True:
        try:
            return ask()
        except (BrokerUnavailable, TopicNotFound) as error:
            if str(error) != reason:
                reason = str(error)
                on_wait(reason)
            sleep(random.uniform(0.5, 1.5))  # noqa: S311  # jitter, no secret


def watermarks(
    asking: Consumer, topic: str, kafka_partition: int, should_give_up: Callable[[], bool]
) -> tuple[int, int]:
    """Return the first offset that a Kafka partition still has and the one that a next record would get.

    Waits while the broker is away or has no leader for it.

    Args:
        asking: any client.
        topic: the topic.
        kafka_partition: of it.
        should_give_up: asked after each try.

    Raises:
        TopicNotFound: the broker answered, and it has no such topic or Kafka partition.
        TerminalError: the broker refuses to say.
        BrokerUnavailable: given up.
    """
    place = f"{topic}[{kafka_partition}]"

    def ask() -> tuple[int, int]:
        try:
            low, high = asking.get_watermark_offsets(TopicPartition(topic, kafka_partition), TIMEOUT_S)
        except KafkaException as error:
            # NO_TOPIC_CODES are said from memory, also while no broker answers
            if error.args[0].code() in NO_TOPIC_CODES and _is_gone(asking, topic, kafka_partition):
                raise topic_gone(place) from error
            raise
        return low, high

    return ask_patiently(ask, f"the offsets of {place}", should_give_up)


def topic_gone(place: str) -> TopicNotFound:
    """Return the error for a Kafka partition (`topic[number]`) that was there and no longer is."""
    return TopicNotFound(f"the broker no longer has {place}: was the topic deleted? nothing more was acknowledged")


def ask_patiently(ask: Callable[[], Answer], what: str, should_give_up: Callable[[], bool]) -> Answer:
    """Ask the broker again until it answers.

    Args:
        ask: raises KafkaException while there is no answer; what else it raises ends the asking.
        what: is asked for, in a few words.
        should_give_up: asked after each try.

    Raises:
        TerminalError: the broker refuses to say.
        BrokerUnavailable: given up.
    """
    is_told = False
    while True:
        try:
            return ask()
        except KafkaException as error:
            reason: KafkaError = error.args[0]
            if reason.code() not in (*_BROKER_AWAY_CODES, *NO_TOPIC_CODES):
                raise TerminalError(f"the broker does not tell {what}: {reason.str()}") from error
            if should_give_up():
                raise BrokerUnavailable(f"the broker did not tell {what}: {reason.str()}") from error
            if not is_told:
                _log.warning("waiting for the broker to tell %s: %s", what, reason.str())
                is_told = True
            time.sleep(random.uniform(0.2, 1.0))  # noqa: S311  # jitter, no secret


def _is_gone(asking: Consumer, topic: str, kafka_partition: int) -> bool:
    """Return whether a broker answers that it has no such Kafka partition."""
    try:
        found = asking.list_topics(topic, TIMEOUT_S).topics[topic]
    except KafkaException:
        return False
    return kafka_partition not in found.partitions


def _topic_id(admin: AdminClient, name: str, cluster_id: str | None) -> str:
    if (cluster_id or "").startswith(_BUILT_IN_BROKER):  # never answers DescribeTopics
        return NO_TOPIC_ID
    try:
        described = admin.describe_topics(TopicCollection([name]), request_timeout=TIMEOUT_S)[name].result()
    except KafkaException as error:
        if error.args[0].code() == KafkaError._UNSUPPORTED_FEATURE:  # Kafka before 2.8
            return NO_TOPIC_ID
        raise
    return topic_id_text(described.topic_id)
