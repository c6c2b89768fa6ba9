"""A sample of real records to try rules on: the newest of a topic, or lines of a file. Joins no group."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
from confluent_kafka import Consumer, KafkaError, TopicPartition

from schemas.errors import BrokerUnavailable, ConfigError
from schemas.tables import RECORDS
from stream_app.broker import inspect_topic
from stream_app.records import by_kafka_partition, to_records

_QUIET_S: Final = 10.0
"""A broker that sends nothing for this long is away."""


def of_file(path: Path, records: int) -> pa.Table:
    """Return the first lines of a file, a value each (as `produce --broker file:PATH` writes them), as `RECORDS`.

    Raises:
        ConfigError: it can't be read.
    """
    try:
        with path.open("rb") as file:
            values = [line.rstrip(b"\r\n") for line in itertools.islice(file, records)]
    except OSError as error:
        raise ConfigError(f"--sample {path} can't be read: {error.strerror}; for a topic give --broker, too") from None
    count = len(values)
    nothing = {field.name: pa.nulls(count, field.type) for field in RECORDS}
    now = pa.scalar(time.time_ns() // 1000, pa.int64())
    given = {
        "topic": pa.repeat(path.name, count),
        "topic_id": pa.repeat("-", count),
        "kafka_partition": pa.repeat(pa.scalar(0, pa.int32()), count),
        "kafka_offset": pa.array(range(count), pa.int64()),
        "value": pa.array(values, pa.binary()),
        "ingest_timestamp": pa.repeat(now, count).cast(RECORDS.field("ingest_timestamp").type),
    }
    return pa.table({**nothing, **given}, RECORDS)


def of_topic(client_options: Mapping[str, Any], name: str, records: int) -> pa.Table:
    """Return about that many of a topic's newest records, evenly from its Kafka partitions, as `RECORDS`.

    Raises:
        BrokerUnavailable, TopicNotFound, ConfigError: as `stream_app.broker.inspect_topic`.
    """
    topic = inspect_topic(client_options, name)
    share = -(-records // max(1, len(topic.offsets)))
    starts = {number: max(low, high - share) for number, (low, high) in topic.offsets.items() if high > low}
    consumer = Consumer(
        {
            **client_options,
            "group.id": "playlake-sample",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",  # records that expire meanwhile are no loss here
            "isolation.level": "read_committed",
            "log_level": 0,
        }
    )
    messages: list[Any] = []
    open_partitions = set(starts)
    try:
        consumer.assign([TopicPartition(name, number, start) for number, start in starts.items()])
        heard_at = time.monotonic()
        while open_partitions:
            fetched = consumer.consume(10_000, 0.5)
            if fetched:
                heard_at = time.monotonic()
            elif time.monotonic() - heard_at > _QUIET_S:
                raise BrokerUnavailable(f"the broker stopped to answer while {name} was read")
            for message in fetched:
                error = message.error()
                if error is None:
                    messages.append(message)
                elif error.code() == KafkaError._PARTITION_EOF:
                    open_partitions.discard(message.partition())
    finally:
        consumer.close()
    messages.sort(key=lambda message: (message.partition(), message.offset()))
    ingest_us = time.time_ns() // 1000
    tables = [to_records(part, topic.topic_id, ingest_us) for part in by_kafka_partition(messages)]
    return pa.concat_tables(tables) if tables else RECORDS.empty_table()
