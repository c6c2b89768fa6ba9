"""Messages of confluent-kafka as Arrow, each a Python object; kafka_records.py knows a faster way."""

from __future__ import annotations

import itertools
from operator import itemgetter
from typing import Any, Final

import numpy as np
import pyarrow as pa
from confluent_kafka import Message
from numpy.typing import NDArray

from schemas.tables import RECORDS
from sink.positions import Source

_TOPIC: Final = pa.dictionary(pa.int8(), pa.string())
FETCHED: Final = pa.schema(
    [field.with_type(_TOPIC) if field.name in ("topic", "topic_id") else field for field in RECORDS]
)
"""`RECORDS` as `as_records` makes them: what names the topic, the same in each row, is dictionary-encoded."""
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
    headers = list(map(Message.headers, messages))
    # Methods mapped unbound: calling each by its name takes 1.4 times the CPU.
    return as_records(
        Source(messages[0].topic(), topic_id, messages[0].partition()),
        np.fromiter(map(Message.offset, messages), np.int64, count),
        timestamps(np.fromiter(map(itemgetter(1), map(Message.timestamp, messages)), np.int64, count)),
        pa.array(list(map(Message.key, messages)), pa.binary()),
        pa.array(list(map(Message.value, messages)), pa.binary()),
        pa.array(headers, _HEADERS) if any(headers) else None,
        ingest_timestamp_us,
    )


def as_records(
    source: Source,
    offsets: NDArray[np.int64],
    times: pa.Array,
    keys: pa.Array,
    values: pa.Array,
    headers: pa.Array | None,
    ingest_timestamp_us: int,
) -> pa.Table:
    """Return what is known of one source's records, in a row each, as a table of schema `RECORDS`.

    Args:
        source: what they are from.
        offsets: ascending.
        times: the broker's, in `RECORDS`' type.
        keys: bytes or null.
        values: bytes or null.
        headers: None where no record has any.
        ingest_timestamp_us: when they were fetched, microseconds since 1970 UTC.
    """
    count = len(offsets)
    # Names that repeat in each row are written, compared and taken several times as fast as numbers.
    always_first = pa.array(np.zeros(count, np.int8))
    return pa.table(
        [
            pa.DictionaryArray.from_arrays(always_first, [source.topic]),
            pa.DictionaryArray.from_arrays(always_first, [source.topic_id]),
            pa.repeat(pa.scalar(source.kafka_partition, pa.int32()), count),
            pa.array(offsets),
            times,
            keys,
            values,
            pa.nulls(count, _HEADERS) if headers is None else headers,
            pa.repeat(pa.scalar(ingest_timestamp_us, pa.int64()), count).cast(_TIMESTAMP),
        ],
        schema=FETCHED,
    )


def timestamps(milliseconds: NDArray[np.int64]) -> pa.Array:
    """Return times since 1970 UTC in `RECORDS`' type; null for what no date can be made of."""
    # librdkafka says -1 where the broker keeps no time for a record; a producer may have sent any number.
    is_unknown = (milliseconds < 0) | (milliseconds >= _YEAR_10000_MS)
    return pa.array(milliseconds * 1000, mask=is_unknown if is_unknown.any() else None).cast(_TIMESTAMP)
