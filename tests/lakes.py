"""Builders of small lakes, written straight into their Delta tables: rows with sensible defaults, no worker, no broker.

lake = lakes.make(tmp_path)
lakes.append(lake, "silver", [lakes.silver(event_type="PAUSE", at="2026-11-21T20:00:00")])
lakes.append(lake, "silver", [lakes.undated(client_ts="2026-11-21T20:00:00Z")])
"""

from __future__ import annotations

import datetime as dt
import itertools
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import CommitProperties, Transaction, write_deltalake

from schemas.tables import TABLES
from sink.lake import Lake
from sink.scan import connect, create_view

TOPIC = "playback"
TOPIC_ID = "AAAAAAAAAAAAAAAAAAAAAA"
DEFAULT_AT = "2026-11-21T12:00:00"
_offsets = itertools.count()

CATALOGUE: dict[str, dict[str, Any]] = {
    "t1": {
        "title": "The Long Evening",
        "content_type": "Movie",
        "genres": ["Dramas", "Thrillers"],
        "release_year": 2019,
        "rating": "PG-13",
        "director": "Ada Berg",
        "duration_s": 6000.0,
        "content_countries": ["DE"],
    },
    "t2": {
        "title": "Harbour Lights",
        "content_type": "TV Show",
        "genres": ["Dramas"],
        "release_year": 2021,
        "rating": "TV-MA",
        "director": None,
        "duration_s": None,
        "content_countries": ["GB", "US"],
    },
    "t3": {
        "title": "Two Clocks",
        "content_type": "Movie",
        "genres": ["Comedies"],
        "release_year": 2004,
        "rating": "PG",
        "director": "Ada Berg, Noor Diaz",
        "duration_s": 3000.0,
        "content_countries": ["FR"],
    },
}


def time(text: str | dt.datetime | None) -> dt.datetime | None:
    """ISO text as UTC; naive text is UTC."""
    if text is None or isinstance(text, dt.datetime):
        return text
    parsed = dt.datetime.fromisoformat(text)
    return parsed.replace(tzinfo=dt.UTC) if parsed.tzinfo is None else parsed


def make(folder: Path, *, bronze: bool = True) -> Lake:
    """An empty lake with its tables."""
    lake = Lake.at(str(folder / "lake"))
    for name in TABLES:
        if bronze or name != "bronze":
            lake.table_or_create(name)
    return lake


def position(offset: int | None = None, kafka_partition: int = 0) -> dict[str, Any]:
    """A position that no other row of this test run has, unless `offset` says one."""
    return {
        "topic": TOPIC,
        "topic_id": TOPIC_ID,
        "kafka_partition": kafka_partition,
        "kafka_offset": next(_offsets) if offset is None else offset,
    }


def silver(
    *,
    at: str | dt.datetime | None = DEFAULT_AT,
    broker: str | dt.datetime | None = ...,  # type: ignore[assignment]
    ingest: str | dt.datetime | None = None,
    title_id: str = "t1",
    offset: int | None = None,
    kafka_partition: int = 0,
    **changes: Any,
) -> dict[str, Any]:
    """One valid silver row; `at` is its event time, which broker time (+ 1 s) and ingest time (+ 2 s) follow."""
    where = position(offset, kafka_partition)
    event_time = time(at)
    assert event_time is not None
    broker_time = event_time + dt.timedelta(seconds=1) if broker is ... else time(broker)
    row = {
        "event_id": f"e-{where['kafka_partition']}-{where['kafka_offset']}",
        "user_id": "u1",
        "profile_id": "p1",
        "session_id": "s1",
        "title_id": title_id,
        "event_type": "PLAY_START",
        "event_ts": event_time.timestamp(),
        "event_timestamp": event_time,
        "device_type": "mobile",
        "country": "DE",
        "playhead_s": 0.0,
        "app_version": "5.1.2",
        **CATALOGUE.get(title_id, {}),
        "region": "Europe",
        "quality_score": 1.0,
        "warnings": [] if title_id in CATALOGUE else ["unknown_title"],
        "event_date_source": "event_ts",
        **where,
        "broker_timestamp": broker_time,
        "ingest_timestamp": time(ingest) or (broker_time or event_time) + dt.timedelta(seconds=1),
        "raw_payload": None,
        "repair_id": None,
        "event_date": event_time.date(),
    }
    return {**row, **changes}


def undated(
    *,
    event_ts: Any = None,
    client_ts: Any = None,
    broker: str | dt.datetime | None = DEFAULT_AT,
    ingest: str | dt.datetime | None = None,
    warning: str = "event_time_missing",
    payload_fields: dict[str, Any] | None = None,
    **changes: Any,
) -> dict[str, Any]:
    """One row of the null partition, its payload as the client sent it."""
    broker_time = time(broker)
    row = silver(at=broker_time or DEFAULT_AT, broker=broker_time, ingest=ingest, **changes)
    names = ("event_id", "user_id", "profile_id", "session_id", "title_id", "event_type", "playhead_s")
    payload = {name: row[name] for name in names} | (payload_fields or {})
    payload |= {"event_ts": event_ts} if event_ts is not None else {}
    payload |= {"client_ts": client_ts} if client_ts is not None else {}
    is_number = isinstance(event_ts, int | float) and not isinstance(event_ts, bool)
    return {
        **row,
        "event_ts": float(event_ts) if is_number else None,
        "event_timestamp": None,
        "event_date": None,
        "event_date_source": "null",
        "raw_payload": json.dumps(payload),
        "quality_score": 0.7,
        "warnings": [*row["warnings"], warning],
    }


def refused(
    *, ingest: str = DEFAULT_AT, reasons: Iterable[str] = ("malformed_json",), **changes: Any
) -> dict[str, Any]:
    """One quarantine row."""
    ingest_time = time(ingest)
    assert ingest_time is not None
    return {
        **position(),
        "broker_timestamp": ingest_time - dt.timedelta(seconds=1),
        "key": b"u1",
        "value": b"{",
        "reasons": list(reasons),
        "detail": None,
        "rule_set": "builtin",
        "ingest_timestamp": ingest_time,
        "ingest_date": ingest_time.date(),
        **changes,
    }


def record(*, ingest: str = DEFAULT_AT, value: bytes | None = b"{}", **changes: Any) -> dict[str, Any]:
    """One bronze row."""
    ingest_time = time(ingest)
    assert ingest_time is not None
    return {
        **position(),
        "broker_timestamp": ingest_time - dt.timedelta(seconds=1),
        "key": b"u1",
        "value": value,
        "headers": None,
        "ingest_timestamp": ingest_time,
        "ingest_date": ingest_time.date(),
        **changes,
    }


def session(
    start: str, steps: Iterable[tuple[float, str]], *, session_id: str = "s1", **changes: Any
) -> list[dict[str, Any]]:
    """The silver rows of one session: `steps` are (seconds after `start`, event type)."""
    begun = time(start)
    assert begun is not None
    return [
        silver(at=begun + dt.timedelta(seconds=after), event_type=kind, session_id=session_id, **changes)
        for after, kind in steps
    ]


def append(lake: Lake, name: str, rows: list[dict[str, Any]], *, txn: tuple[str, int] | None = None) -> None:
    """Append rows to a table in one commit; `txn` as the worker's commits carry it."""
    entries = [Transaction(*txn)] if txn else None
    write_deltalake(
        lake.table_or_create(name),
        pa.Table.from_pylist(rows, schema=TABLES[name].schema),
        mode="append",
        schema_mode="merge",  # a repair may have added columns, which come as null
        commit_properties=CommitProperties(app_transactions=entries),
    )


def rows(lake: Lake, query: str, *, names: Iterable[str] = ("silver",), version: int | None = None) -> list[Any]:
    """Run SQL over tables of the lake (`gold/x` is the view `x`) and return its rows."""
    con = connect(lake)
    for name in names:
        create_view(con, name.removeprefix("gold/"), lake.table(name, version))
    return con.execute(query).fetchall()
