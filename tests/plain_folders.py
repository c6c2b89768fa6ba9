"""Folders of plain Parquet files as other jobs leave them, and Delta tables that no worker of ours wrote."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

NULL = "event_date=__HIVE_DEFAULT_PARTITION__"
AT = dt.datetime(2026, 11, 20, 20, 30, 0, 123456, tzinfo=dt.UTC)


def table(count: int = 2, **columns: Any) -> pa.Table:
    """A table of `id` and `ts` (microseconds apart, the last ones beyond a millisecond), and whatever else."""
    times = [AT + dt.timedelta(microseconds=number) for number in range(count)]
    return pa.table(
        {"id": [f"e{number}" for number in range(count)], "ts": pa.array(times, pa.timestamp("us", "UTC")), **columns}
    )


def put(folder: Path, path: str, rows: pa.Table | bytes, **options: Any) -> Path:
    """Write one file below a folder: a Parquet file, or any bytes."""
    place = folder / path
    place.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(rows, bytes):
        place.write_bytes(rows)
    else:
        pq.write_table(rows, place, **options)
    return place
