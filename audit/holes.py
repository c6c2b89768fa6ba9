"""Read offsets again at the broker that no table of the lake holds: is there a record, or nothing?

The one place of `audit` that talks to Kafka. It joins no group and commits nothing.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient

from schemas.errors import BrokerUnavailable
from sink.positions import NO_TOPIC_ID, Source, topic_id_text

Ranges: TypeAlias = npt.NDArray[np.int64]
"""Shape (n, 2): first and last offset of each range, both included; ascending, not touching."""

_TIMEOUT_S: Final = 6.0
_STALL_S: Final = 30.0
_SEEK_BEYOND: Final = 200_000
"""Reading on over this many records costs about as much as a seek."""
_KEPT: Final = 5
_BUILT_IN_BROKER: Final = "mockCluster"


@dataclass
class Reread:
    """What the broker says of one source's holes.

    Attributes:
        lost: offsets in them at which it has a record: that record is lost.
        first_lost: the first few of these.
        unchecked: offsets that it could not be asked about.
        unchecked_ranges: the first few ranges of these.
        why: for people, why not; empty when everything was checked.
    """

    lost: int = 0
    first_lost: list[int] = field(default_factory=list)
    unchecked: int = 0
    unchecked_ranges: list[tuple[int, int]] = field(default_factory=list)
    why: str = ""


def require_broker(client_options: Mapping[str, Any]) -> None:
    """Raise `BrokerUnavailable` unless the broker answers within 6 s."""
    with _client_errors(client_options["bootstrap.servers"]):
        AdminClient({**client_options, "log_level": 0}).list_topics(timeout=_TIMEOUT_S)


def read_again(client_options: Mapping[str, Any], holes: Mapping[Source, Ranges]) -> dict[Source, Reread]:
    """Read each hole at the broker. Records of aborted transactions and transaction markers are no records.

    Takes one pass over each source's records, leaving out long stretches without a hole: linear in what it reads.

    Args:
        client_options: librdkafka's settings.
        holes: per source, ranges of offsets.

    Raises:
        BrokerUnavailable: no answer within 6 s, or reading stalled for 30 s.
    """
    servers = client_options["bootstrap.servers"]
    with _client_errors(servers):
        topics = _topics({**client_options, "log_level": 0}, {source.topic for source in holes})
        consumer = Consumer(
            {
                **client_options,
                "group.id": "playlake-verify",
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "auto.offset.reset": "error",
                "isolation.level": "read_committed",
                "enable.partition.eof": True,
                "fetch.queue.backoff.ms": 5,
                "queued.max.messages.kbytes": 65536,
                "log_level": 0,
            }
        )
        try:
            return {source: _read_source(consumer, source, topics, ranges) for source, ranges in holes.items()}
        finally:
            consumer.close()


def end_offsets(client_options: Mapping[str, Any], sources: list[Source]) -> dict[Source, int | None]:
    """Return per source the offset that a next record would get; None where the broker has no such Kafka partition.

    Raises:
        BrokerUnavailable: no answer within 6 s.
    """
    quiet = {**client_options, "log_level": 0}
    with _client_errors(client_options["bootstrap.servers"]):
        topics = _topics(quiet, {source.topic for source in sources})
        consumer = Consumer({**quiet, "group.id": "playlake-status", "enable.auto.commit": False})
        try:
            return {
                source: None if _why_not(source, topics) else _watermarks(consumer, source)[1] for source in sources
            }
        finally:
            consumer.close()


@contextmanager
def _client_errors(servers: str) -> Iterator[None]:
    try:
        yield
    except KafkaException as error:
        raise BrokerUnavailable(
            f"no answer from the broker {servers} ({error.args[0].str()}): is it running, and is --broker right?"
        ) from error


@dataclass(frozen=True)
class _Topic:
    topic_id: str
    partitions: frozenset[int]


def _topics(options: dict[str, Any], names: set[str]) -> dict[str, _Topic]:
    """Return what the broker has of these topics. Topics it lacks are left out, and not created by asking."""
    admin = AdminClient(options)
    metadata = admin.list_topics(timeout=_TIMEOUT_S)
    is_built_in = (metadata.cluster_id or "").startswith(_BUILT_IN_BROKER)  # never answers DescribeTopics
    found = {}
    for name in names & set(metadata.topics):
        topic_id = NO_TOPIC_ID
        if not is_built_in:
            try:
                answer = admin.describe_topics(TopicCollection([name]), request_timeout=_TIMEOUT_S)[name].result()
                topic_id = topic_id_text(answer.topic_id)
            except KafkaException as error:
                if error.args[0].code() != KafkaError._UNSUPPORTED_FEATURE:  # Kafka before 2.8
                    raise
        found[name] = _Topic(topic_id, frozenset(metadata.topics[name].partitions))
    return found


def _why_not(source: Source, topics: Mapping[str, _Topic]) -> str:
    """Return why the broker can't be asked about a source; empty when it can."""
    topic = topics.get(source.topic)
    if topic is None:
        return f"the broker has no topic {source.topic}"
    if source.topic_id != topic.topic_id and NO_TOPIC_ID not in (source.topic_id, topic.topic_id):
        return f"the broker's topic {source.topic} was made again since, with another id"
    if source.kafka_partition not in topic.partitions:
        return f"the broker's topic {source.topic} has no Kafka partition {source.kafka_partition}"
    return ""


def _read_source(consumer: Consumer, source: Source, topics: Mapping[str, _Topic], ranges: Ranges) -> Reread:
    answer = Reread()
    why = _why_not(source, topics)
    if why:
        _leave_out(answer, ranges, why)
        return answer
    while len(ranges):
        low, end = _watermarks(consumer, source)
        below, ranges = _split(ranges, low)
        _leave_out(answer, below, f"the broker has nothing of {source} below offset {low} any more")
        ranges, beyond = _split(ranges, end)
        _leave_out(answer, beyond, f"the broker's {source} ends at offset {end}")
        ranges = _read_ranges(consumer, source, ranges, answer)
    return answer


def _read_ranges(consumer: Consumer, source: Source, ranges: Ranges, answer: Reread) -> Ranges:
    """Read until no range is left; return what is left when the broker dropped records meanwhile."""
    if not len(ranges):
        return ranges
    firsts, lasts = ranges[:, 0], ranges[:, 1]
    checked_to = 0  # every offset below is settled
    seek_to: int | None = int(firsts[0])
    last_progress = time.monotonic()
    while checked_to <= lasts[-1]:
        if seek_to is not None:
            checked_to = max(checked_to, seek_to)
            consumer.assign([TopicPartition(source.topic, source.kafka_partition, seek_to)])
            seek_to = None
        seen: list[int] = []
        reached = checked_to
        for message in consumer.consume(20_000, timeout=0.1):
            error, offset = message.error(), message.offset()
            if error is None and offset is not None:
                seen.append(offset)
            elif error is None:
                continue
            elif error.code() == KafkaError._PARTITION_EOF and offset is not None:
                reached = max(reached, offset)
            elif error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
                return _split(ranges, checked_to)[1]
            elif not error.retriable() and error.code() not in (KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN):
                raise KafkaException(error)
        offsets = np.array([offset for offset in seen if offset >= checked_to], dtype=np.int64)
        if len(offsets):
            reached = max(reached, int(offsets[-1]) + 1)
            which = np.searchsorted(firsts, offsets, side="right") - 1
            found = offsets[(which >= 0) & (offsets <= lasts[which])]
            answer.lost += len(found)
            answer.first_lost += found[: _KEPT - len(answer.first_lost)].tolist()
        if reached > checked_to:
            checked_to = reached
            last_progress = time.monotonic()
            ahead = int(np.searchsorted(lasts, checked_to))
            if ahead < len(ranges) and firsts[ahead] - checked_to > _SEEK_BEYOND:
                seek_to = int(firsts[ahead])
        elif time.monotonic() - last_progress > _STALL_S:
            raise BrokerUnavailable(
                f"the broker stopped answering: nothing of {source} from offset {checked_to} on within {_STALL_S:.0f} s"
            )
    consumer.unassign()
    return _split(ranges, checked_to)[1]


def _split(ranges: Ranges, offset: int) -> tuple[Ranges, Ranges]:
    """Return what of the ranges lies below an offset, and what lies at or after it."""
    below = ranges[ranges[:, 0] < offset].copy()
    after = ranges[ranges[:, 1] >= offset].copy()
    below[:, 1] = np.minimum(below[:, 1], offset - 1)
    after[:, 0] = np.maximum(after[:, 0], offset)
    return below, after


def _leave_out(answer: Reread, ranges: Ranges, why: str) -> None:
    if len(ranges):
        answer.unchecked += int((ranges[:, 1] - ranges[:, 0] + 1).sum())
        answer.unchecked_ranges += [(int(a), int(b)) for a, b in ranges[: _KEPT - len(answer.unchecked_ranges)]]
        answer.why = why if not answer.why else f"{answer.why}; {why}"


def _watermarks(consumer: Consumer, source: Source) -> tuple[int, int]:
    place = TopicPartition(source.topic, source.kafka_partition)
    low, end = consumer.get_watermark_offsets(place, timeout=_TIMEOUT_S)
    return low, end
