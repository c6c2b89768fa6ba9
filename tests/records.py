"""Builders of records and processed rows for tests of the sink and the worker."""

import datetime as dt
import json

import pyarrow as pa

from schemas.tables import QUARANTINE, RECORDS, SILVER
from sink.positions import Source

NOW = dt.datetime(2026, 11, 21, 12, 0, tzinfo=dt.UTC)
TOPIC = "playback"
TOPIC_ID = "AAAAAAAAAAAAAAAAAAAAAA"


def source(kafka_partition: int = 0, topic_id: str = TOPIC_ID) -> Source:
    return Source(TOPIC, topic_id, kafka_partition)


def event(number: int = 0, **changes: object) -> dict[str, object]:
    """One valid event as a dict; `changes` replace fields, a value of `...` removes one."""
    fields: dict[str, object] = {
        "event_id": f"e{number}",
        "user_id": "u1",
        "profile_id": "u1-p1",
        "session_id": "s1",
        "title_id": "s1",
        "event_type": "PLAY_START",
        "event_ts": NOW.timestamp() - 60,
        "device_type": "mobile",
        "country": "DE",
        "playhead_s": 0.0,
        "app_version": "5.1.2",
    }
    fields.update(changes)
    return {name: value for name, value in fields.items() if value is not ...}


def event_bytes(number: int = 0, **changes: object) -> bytes:
    return json.dumps(event(number, **changes)).encode()


def records(values: list[bytes | None], first_offset: int = 0, kafka_partition: int = 0, topic_id: str = TOPIC_ID):
    """A batch of one Kafka partition with these values at consecutive offsets, schema `RECORDS`."""
    count = len(values)
    return pa.table(
        {
            "topic": [TOPIC] * count,
            "topic_id": [topic_id] * count,
            "kafka_partition": pa.array([kafka_partition] * count, pa.int32()),
            "kafka_offset": pa.array(range(first_offset, first_offset + count), pa.int64()),
            "broker_timestamp": pa.array([NOW] * count, pa.timestamp("us", "UTC")),
            "key": pa.array([b"u1"] * count, pa.binary()),
            "value": pa.array(values, pa.binary()),
            "headers": pa.nulls(count, RECORDS.field("headers").type),
            "ingest_timestamp": pa.array([NOW] * count, pa.timestamp("us", "UTC")),
        },
        schema=RECORDS,
    )


def processed(batch: pa.Table, bad_offsets: frozenset[int] = frozenset()) -> tuple[pa.Table, pa.Table, pa.Table]:
    """A batch with made-up silver and quarantine rows, as `LakeWriter.add` takes them."""
    silver, quarantine = [], []
    for row in batch.to_pylist():
        if row["kafka_offset"] in bad_offsets:
            reasons = {"reasons": ["malformed_json"], "rule_set": "test", "ingest_date": NOW.date()}
            quarantine.append({**row, **reasons})
        else:
            silver.append(
                {
                    **event(row["kafka_offset"]),
                    "event_id": f"{row['kafka_partition']}-{row['kafka_offset']}",
                    "event_timestamp": NOW,
                    "quality_score": 1.0,
                    "warnings": [],
                    "event_date_source": "event_ts",
                    "event_date": NOW.date(),
                    **{name: row[name] for name in ("topic", "topic_id", "kafka_partition", "kafka_offset")},
                    "broker_timestamp": NOW,
                    "ingest_timestamp": NOW,
                }
            )
    return batch, pa.Table.from_pylist(silver, schema=SILVER), pa.Table.from_pylist(quarantine, schema=QUARANTINE)
