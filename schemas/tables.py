"""The lake's tables: name, Arrow schema, lake partition and which columns may leave statistics in the Delta log.

Gold tables are declared by their SQL files (`compaction/gold`); everything else is declared here and nowhere else.
All timestamps are microseconds UTC.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import pyarrow as pa

LAKE_FORMAT: Final = 1
"""Version of the layout below, kept in each table's configuration as `playlake.format`. Raised when an older playlake
must not touch a newer lake."""

NULL_PARTITION: Final = "event_date=__HIVE_DEFAULT_PARTITION__"

_TIMESTAMP = pa.timestamp("us", tz="UTC")
_TEXT_LIST = pa.list_(pa.string())

POSITION: Final = (
    pa.field("topic", pa.string(), nullable=False),
    pa.field("topic_id", pa.string(), nullable=False),
    pa.field("kafka_partition", pa.int32(), nullable=False),
    pa.field("kafka_offset", pa.int64(), nullable=False),
)
"""Where a record came from. `topic_id` is the broker's UUID of the topic (`-` where a broker has none), so that a topic
deleted and made again under its name is another source."""

RECORDS: Final = pa.schema(
    [
        *POSITION,
        pa.field("broker_timestamp", _TIMESTAMP),
        pa.field("key", pa.binary()),
        pa.field("value", pa.binary()),
        pa.field("headers", pa.map_(pa.string(), pa.binary())),
        pa.field("ingest_timestamp", _TIMESTAMP, nullable=False),
    ]
)
"""Records as fetched: bronze without its lake partition. A null `value` is a tombstone; a repeated header name keeps
every value, in order (a map may repeat a key in Arrow and Parquet). In memory `topic` and `topic_id` may be
dictionary-encoded."""

BRONZE: Final = RECORDS.append(pa.field("ingest_date", pa.date32(), nullable=False))

RESCUED: Final = pa.field("rescued", pa.map_(pa.string(), pa.string()))
"""Silver's column of fields that playlake does not know, name → text."""

SILVER: Final = pa.schema(
    [
        pa.field("event_id", pa.string(), nullable=False),
        pa.field("user_id", pa.string(), nullable=False),
        pa.field("profile_id", pa.string(), nullable=False),
        pa.field("session_id", pa.string(), nullable=False),
        pa.field("title_id", pa.string(), nullable=False),
        pa.field("event_type", pa.string(), nullable=False),
        pa.field("event_ts", pa.float64()),
        pa.field("event_timestamp", _TIMESTAMP),
        pa.field("device_type", pa.string()),
        pa.field("country", pa.string()),
        pa.field("playhead_s", pa.float64()),
        pa.field("app_version", pa.string()),
        pa.field("audio_language", pa.string()),
        pa.field("bitrate_kbps", pa.int32()),
        pa.field("ab_bucket", pa.string()),
        RESCUED,
        pa.field("title", pa.string()),
        pa.field("content_type", pa.string()),
        pa.field("genres", _TEXT_LIST),
        pa.field("release_year", pa.int32()),
        pa.field("rating", pa.string()),
        pa.field("director", pa.string()),
        pa.field("duration_s", pa.float64()),
        pa.field("content_countries", _TEXT_LIST),
        pa.field("region", pa.string()),
        pa.field("quality_score", pa.float64(), nullable=False),
        pa.field("warnings", _TEXT_LIST, nullable=False),
        pa.field("event_date_source", pa.string(), nullable=False),
        *POSITION,
        pa.field("broker_timestamp", _TIMESTAMP),
        pa.field("ingest_timestamp", _TIMESTAMP, nullable=False),
        pa.field("raw_payload", pa.string()),
        pa.field("repair_id", pa.string()),
        pa.field("event_date", pa.date32()),
    ]
)

QUARANTINE: Final = pa.schema(
    [
        *POSITION,
        pa.field("broker_timestamp", _TIMESTAMP),
        pa.field("key", pa.binary()),
        pa.field("value", pa.binary()),
        pa.field("reasons", _TEXT_LIST, nullable=False),
        pa.field("detail", pa.string()),
        pa.field("rule_set", pa.string(), nullable=False),
        pa.field("ingest_timestamp", _TIMESTAMP, nullable=False),
        pa.field("ingest_date", pa.date32(), nullable=False),
    ]
)


@dataclass(frozen=True)
class RepairColumns:
    """Which columns of a table of events repair reads and sets, beside the lake partition.

    Attributes:
        event_time: the event time.
        raw: JSON text of the event as the client sent it; None where there is none.
        sent: the payload's `event_ts` as a column, for rows without a payload; None where there is none.
        broker_time: when the broker saw the record; None where that is not known.
        ingest_time: when a worker saw it; None where that is not known.
        is_source: whether the event time column is itself where a repair looks first. Not where a worker of ours wrote
            it: what it holds there has passed the rules.
        is_set: whether a repair sets the event time column; one of text or numbers is left as it was sent.
        refused: why rows of this table may not be changed; None where they may.
    """

    event_time: str
    raw: str | None
    sent: str | None = None
    broker_time: str | None = None
    ingest_time: str | None = None
    is_source: bool = False
    is_set: bool = True
    refused: str | None = None


@dataclass(frozen=True)
class TableSpec:
    """One Delta table of the lake.

    Attributes:
        name: what the code and the `query` views call it.
        path: its folder under the lake's root.
        schema: Arrow schema, lake partition column included (last).
        partition_by: the lake partition column.
        statistics: columns with min/max in the Delta log. Never `user_id, profile_id, key, value, raw_payload`: the
            log must not remember whom the files forgot.
        no_dictionary: columns of (nearly) unique values, for which a Parquet dictionary only costs.
        sort_by: column by which compaction orders rows, in runs, since queries filter on it; None keeps the order in
            which they came.
        repair: for the table of events, what repair reads and sets.
        then_by: further columns by which it is partitioned, after `partition_by`; none of ours has any.
    """

    name: str
    path: str
    schema: pa.Schema
    partition_by: str
    statistics: tuple[str, ...]
    no_dictionary: tuple[str, ...]
    sort_by: str | None = None
    repair: RepairColumns | None = None
    then_by: tuple[str, ...] = ()


_POSITION_NAMES = tuple(field.name for field in POSITION)
_NEARLY_UNIQUE = ("kafka_offset", "broker_timestamp", "ingest_timestamp")

TABLES: Final = {
    spec.name: spec
    for spec in (
        TableSpec(
            "bronze",
            "bronze/playback_events",
            BRONZE,
            "ingest_date",
            (*_POSITION_NAMES, "broker_timestamp", "ingest_timestamp"),
            ("key", "value", *_NEARLY_UNIQUE),
        ),
        TableSpec(
            "silver",
            "silver/playback_events",
            SILVER,
            "event_date",
            (*_POSITION_NAMES, "event_timestamp", "event_type", "broker_timestamp", "ingest_timestamp", "repair_id"),
            ("event_id", "raw_payload", "event_ts", "event_timestamp", "playhead_s", *_NEARLY_UNIQUE),
            sort_by="event_timestamp",
            repair=RepairColumns("event_timestamp", "raw_payload", "event_ts", "broker_timestamp", "ingest_timestamp"),
        ),
        TableSpec(
            "quarantine",
            "quarantine/playback_events",
            QUARANTINE,
            "ingest_date",
            (*_POSITION_NAMES, "broker_timestamp", "ingest_timestamp", "rule_set"),
            ("value", "detail", *_NEARLY_UNIQUE),
        ),
    )
}

FILES: Final = TableSpec(
    "files",
    "ingest/files",
    pa.schema(
        [
            pa.field("topic", pa.string(), nullable=False),
            pa.field("topic_id", pa.string(), nullable=False),
            pa.field("number", pa.int64(), nullable=False),
            pa.field("first_offset", pa.int64(), nullable=False),
            pa.field("path", pa.string(), nullable=False),
            pa.field("size", pa.int64(), nullable=False),
            pa.field("etag", pa.string(), nullable=False),
            pa.field("modified", _TIMESTAMP, nullable=False),
            pa.field("format", pa.string(), nullable=False),
            pa.field("taken_at", _TIMESTAMP, nullable=False),
            pa.field("taken_month", pa.date32(), nullable=False),
        ]
    ),
    "taken_month",
    ("topic", "topic_id", "number", "first_offset", "path"),
    ("number", "first_offset", "path", "etag", "modified"),
)
"""Which files `playlake ingest` took in; in lakes where it ran (`sink.ledger`)."""
