"""Parquet files of a flush, written by pyarrow and described for the Delta log.

`write_deltalake` does both in one call, at 1.6 times the CPU for the same rows (`docs/decisions/012`).
"""

from __future__ import annotations

import datetime as dt
import itertools
import json
import time
import uuid
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake.transaction import AddAction

from schemas.tables import TABLES, TableSpec
from sink.lake import Lake

_HIVE_NULL: Final = "__HIVE_DEFAULT_PARTITION__"
_NO_DATE: Final = np.iinfo(np.int32).max


def write_files(lake: Lake, name: str, rows: pa.Table) -> list[AddAction]:
    """Write rows as new Parquet files, one for each lake partition; no reader sees them until a commit names them.

    Args:
        lake: where the table is; it exists.
        name: one of `TABLES`.
        rows: schema of that table, text and lists of text dictionary-encoded or not; at least one row.

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
    """Cut rows by lake partition, without a copy: cheapest where equal dates are neighbours."""
    days = rows[column].combine_chunks().cast(pa.int32()).fill_null(_NO_DATE).to_numpy()
    starts = [0, *(np.flatnonzero(days[1:] != days[:-1]) + 1).tolist()]
    rest = rows.drop_columns([column])
    slices: dict[int, list[pa.Table]] = {}
    for start, end in itertools.pairwise([*starts, len(days)]):
        slices.setdefault(int(days[start]), []).append(rest.slice(start, end - start))
    return [(_text(day), pa.concat_tables(parts)) for day, parts in slices.items()]


def _text(day: int) -> str | None:
    return None if day == _NO_DATE else (dt.date(1970, 1, 1) + dt.timedelta(days=day)).isoformat()


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
