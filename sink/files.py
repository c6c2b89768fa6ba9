"""Parquet files of a flush, written by pyarrow and described for the Delta log.

`write_deltalake` does both in one call, at 1.6 times the CPU for the same rows (`docs/decisions/012`).
"""

from __future__ import annotations

import datetime as dt
import json
import time
import uuid
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake.transaction import AddAction

from schemas.tables import TABLES, TableSpec
from sink.lake import Lake

_HIVE_NULL: Final = "__HIVE_DEFAULT_PARTITION__"


def write_files(lake: Lake, name: str, rows: pa.Table) -> list[AddAction]:
    """Write rows as new Parquet files, one for each lake partition; no reader sees them until a commit names them.

    Args:
        lake: where the table is; it exists.
        name: one of `TABLES`.
        rows: schema of that table, any number of rows.

    Returns:
        What a commit has to add.

    Raises:
        StoreUnavailable: the store does not take them; none of these files is needed any more.
        pyarrow.ArrowInvalid: null in a column that may have none.
    """
    spec = TABLES[name]
    files: dict[str, pa.Buffer] = {}
    actions = []
    now_ms = time.time_ns() // 1_000_000
    for value, part in _by_lake_partition(rows, spec.partition_by):
        path = f"{spec.partition_by}={value or _HIVE_NULL}/part-{uuid.uuid4()}.zstd.parquet"
        files[path], statistics = _parquet(part, spec)
        actions.append(AddAction(path, files[path].size, {spec.partition_by: value}, now_ms, True, statistics))
    lake.put(name, files)
    return actions


def _by_lake_partition(rows: pa.Table, column: str) -> list[tuple[str | None, pa.Table]]:
    dates = rows[column]
    rest = rows.drop_columns([column])
    found = pc.unique(dates).to_pylist()
    if len(found) == 1:
        return [(_text(found[0]), rest)]
    return [
        (_text(date), rest.filter(pc.is_null(dates) if date is None else pc.equal(dates, pa.scalar(date))))
        for date in found
    ]


def _text(date: dt.date | None) -> str | None:
    return None if date is None else date.isoformat()


def _parquet(rows: pa.Table, spec: TableSpec) -> tuple[pa.Buffer, str]:
    """Return a file's bytes and its statistics as the Delta log wants them."""
    buffer = pa.BufferOutputStream()
    pq.write_table(
        rows,
        buffer,
        row_group_size=rows.num_rows,
        compression="zstd",
        compression_level=1,
        use_dictionary=[column for column in rows.column_names if column not in spec.no_dictionary],
        column_encoding={"kafka_offset": "DELTA_BINARY_PACKED"},
        write_statistics=list(spec.statistics),
        store_schema=False,
    )
    content = buffer.getvalue()
    return content, _statistics(pq.read_metadata(pa.BufferReader(content)), rows.num_rows)


def _statistics(metadata: pq.FileMetaData, row_count: int) -> str:
    minimum: dict[str, Any] = {}
    maximum: dict[str, Any] = {}
    nulls: dict[str, int] = {}
    group = metadata.row_group(0)
    for number in range(metadata.num_columns):
        column = group.column(number)
        if column.is_stats_set:
            nulls[column.path_in_schema] = column.statistics.null_count
            if column.statistics.has_min_max:
                minimum[column.path_in_schema] = _json(column.statistics.min)
                maximum[column.path_in_schema] = _json(column.statistics.max)
    return json.dumps({"numRecords": row_count, "minValues": minimum, "maxValues": maximum, "nullCount": nulls})


def _json(value: Any) -> Any:
    # To the microsecond, as the rows are: delta-rs cuts off at milliseconds, which makes a maximum too low.
    return value.strftime("%Y-%m-%dT%H:%M:%S.%fZ") if isinstance(value, dt.datetime) else value
