"""Messages of confluent-kafka as Arrow: the one place where Python touches each record."""

from __future__ import annotations

from typing import Any, Final

import pyarrow as pa

from schemas.tables import RECORDS

_HEADERS: Final = RECORDS.field("headers").type
_TIMESTAMP: Final = RECORDS.field("broker_timestamp").type


def to_records(messages: list[Any], topic_id: str, ingest_timestamp_us: int) -> pa.Table:
    """Return confluent-kafka messages of one Kafka partition as a table of schema `RECORDS`.

    Args:
        messages: at least one, without errors.
        topic_id: the broker's id of their topic.
        ingest_timestamp_us: when they were fetched, microseconds since 1970 UTC.
    """
    count = len(messages)
    first = messages[0]
    timestamps_us = [message.timestamp()[1] * 1000 for message in messages]
    headers = [message.headers() for message in messages]
    return pa.table(
        [
            pa.repeat(first.topic(), count),
            pa.repeat(topic_id, count),
            pa.repeat(pa.scalar(first.partition(), pa.int32()), count),
            pa.array([message.offset() for message in messages], pa.int64()),
            _timestamps(timestamps_us),
            pa.array([message.key() for message in messages], pa.binary()),
            pa.array([message.value() for message in messages], pa.binary()),
            pa.array(headers, _HEADERS) if any(headers) else pa.nulls(count, _HEADERS),
            pa.repeat(pa.scalar(ingest_timestamp_us, pa.int64()), count).cast(_TIMESTAMP),
        ],
        schema=RECORDS,
    )


def _timestamps(microseconds: list[int]) -> pa.Array:
    if min(microseconds) >= 0:
        return pa.array(microseconds, pa.int64()).cast(_TIMESTAMP)
    # librdkafka says -1 ms where the broker keeps no time for a record
    return pa.array([us if us >= 0 else None for us in microseconds], pa.int64()).cast(_TIMESTAMP)
