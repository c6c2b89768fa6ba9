"""Messages of confluent-kafka as Arrow: the one place where Python touches each record."""

from __future__ import annotations

import itertools
from operator import itemgetter
from typing import Any, Final

import numpy as np
import pyarrow as pa
from confluent_kafka import Message

from schemas.tables import RECORDS

_HEADERS: Final = RECORDS.field("headers").type
_TIMESTAMP: Final = RECORDS.field("broker_timestamp").type
_YEAR_10000_MS: Final = 253_402_300_800_000
"""What readers' dates end before."""


def by_kafka_partition(messages: list[Any]) -> list[list[Any]]:
    """Cut messages of one topic where the Kafka partition changes; neighbours of one Kafka partition stay together.

    Args:
        messages: without errors, each Kafka partition's offsets ascending; may be empty.
    """
    numbers = np.fromiter(map(Message.partition, messages), np.int32, len(messages))
    cuts = np.flatnonzero(numbers[1:] != numbers[:-1]) + 1
    ends = [0, *cuts.tolist(), len(messages)]
    return [messages[start:end] for start, end in itertools.pairwise(ends) if end > start]


def to_records(messages: list[Any], topic_id: str, ingest_timestamp_us: int) -> pa.Table:
    """Return messages of one Kafka partition as a table of schema `RECORDS`.

    Args:
        messages: at least one, without errors.
        topic_id: the broker's id of their topic.
        ingest_timestamp_us: when they were fetched, microseconds since 1970 UTC.
    """
    count = len(messages)
    topic, kafka_partition = messages[0].topic(), messages[0].partition()
    # Methods mapped unbound: calling each by its name takes 1.4 times the CPU.
    times_ms = np.fromiter(map(itemgetter(1), map(Message.timestamp, messages)), np.int64, count)
    headers = list(map(Message.headers, messages))
    return pa.table(
        [
            pa.repeat(topic, count),
            pa.repeat(topic_id, count),
            pa.repeat(pa.scalar(kafka_partition, pa.int32()), count),
            pa.array(np.fromiter(map(Message.offset, messages), np.int64, count)),
            _timestamps(times_ms),
            pa.array(list(map(Message.key, messages)), pa.binary()),
            pa.array(list(map(Message.value, messages)), pa.binary()),
            pa.array(headers, _HEADERS) if any(headers) else pa.nulls(count, _HEADERS),
            pa.repeat(pa.scalar(ingest_timestamp_us, pa.int64()), count).cast(_TIMESTAMP),
        ],
        schema=RECORDS,
    )


def _timestamps(milliseconds: np.ndarray) -> pa.Array:
    # librdkafka says -1 where the broker keeps no time for a record; a producer may have sent any number.
    is_unknown = (milliseconds < 0) | (milliseconds >= _YEAR_10000_MS)
    return pa.array(milliseconds * 1000, mask=is_unknown if is_unknown.any() else None).cast(_TIMESTAMP)
