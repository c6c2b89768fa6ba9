"""Parquet files of a flush, written by pyarrow and described for the Delta log.

`write_deltalake` does both in one call, at 1.6 times the CPU for the same rows (`docs/decisions/012`).
"""

from __future__ import annotations

import datetime as dt
import itertools
import json
import math
import time
import uuid
from collections.abc import Collection, Iterator
from typing import Any, Final, TypeAlias
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake.transaction import AddAction

from schemas.tables import TableSpec
from sink.lake import Lake

HIVE_NULL: Final = "__HIVE_DEFAULT_PARTITION__"
"""Value of a lake partition's folder whose column is null."""
Then: TypeAlias = tuple[tuple[str, str | None], ...]
"""Lake partition columns after the first and their values as text, None for null."""
_PLAIN: Final = " !$&()+,;@"
"""Beside letters and digits, what a folder's name holds as it is."""
_LONGEST_TEXT: Final = 64
"""Longer text is no minimum or maximum in the log: payloads would make it as large as the files."""
_FEW_ROWS: Final = 100
"""Below, zstd and a whole catalogue's dictionary cost more than the rows, and save no byte. Most flushes have files
of so few rows: late events, and those without a date."""
_ENCODINGS: Final = {"kafka_offset": "DELTA_BINARY_PACKED", "event_id": "DELTA_LENGTH_BYTE_ARRAY"}
"""Of columns without a dictionary, where it takes less time than plain and fewer bytes."""
_NO_DATE: Final = np.iinfo(np.int32).max


def write_files(lake: Lake, name: str, rows: pa.Table) -> list[AddAction]:
    """Write rows as new Parquet files, one for each lake partition; no reader sees them until a commit names them.

    Args:
        lake: where the table is; it exists.
        name: one of the lake's tables.
        rows: schema of that table, text and lists of text dictionary-encoded or not; at least one row.

    Returns:
        What a commit has to add.

    Raises:
        StoreUnavailable: the store does not take them; none of these files is needed any more.
        pyarrow.ArrowInvalid: null in a column that may have none.
    """
    spec = lake.tables[name]
    files: dict[str, pa.Buffer] = {}
    actions = []
    now_ms = time.time_ns() // 1_000_000
    for value, part in _by_lake_partition(rows, spec.partition_by):
        path = _new_path(spec, value)
        buffer = pa.BufferOutputStream()
        is_small = part.num_rows < _FEW_ROWS
        part = _decoded(part) if is_small else _without_unused(part)
        statistics = _write_parquet(buffer, iter([part]), spec, compressed=not is_small)
        files[path] = buffer.getvalue()
        actions.append(AddAction(path, files[path].size, {spec.partition_by: value}, now_ms, True, statistics))
    lake.put(name, files)
    return actions


def write_file(
    lake: Lake,
    name: str,
    partition: str | None,
    row_groups: Iterator[pa.Table],
    *,
    changes_data: bool,
    then: Then = (),
) -> AddAction:
    """Write one large file of one lake partition, piece by piece; no reader sees it until a commit names it.

    Args:
        lake: where the table is; it exists.
        name: one of the lake's tables.
        partition: the lake partition as ISO text; None is the null partition.
        row_groups: rows without the lake partition column, all of one schema; each becomes a row group. At least one.
        changes_data: whether the commit changes rows; false where it only moves them to other files.
        then: further lake partition columns and their values.

    Returns:
        What a commit has to add.

    Raises:
        StoreUnavailable: the store does not take it.
    """
    spec = lake.tables[name]
    path = _new_path(spec, partition, then)
    with lake.new_file(name, path) as file:
        statistics = _write_parquet(file, row_groups, spec)
        size = file.tell()
    now_ms = time.time_ns() // 1_000_000
    return AddAction(path, size, {spec.partition_by: partition, **dict(then)}, now_ms, changes_data, statistics)


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


def folder(column: str, value: str | None) -> str:
    """Return the name of a lake partition's folder, as Hive writes it."""
    return f"{column}={HIVE_NULL if value is None else quote(value, safe=_PLAIN)}"


def _new_path(spec: TableSpec, partition: str | None, then: Then = ()) -> str:
    folders = (folder(column, value) for column, value in ((spec.partition_by, partition), *then))
    return f"{'/'.join(folders)}/part-{uuid.uuid4()}.parquet"


def _decoded(rows: pa.Table) -> pa.Table:
    for place, field in enumerate(rows.schema):
        if pa.types.is_dictionary(field.type):
            text = field.type.value_type
            rows = rows.set_column(place, field.with_type(text), rows.column(place).cast(text))
    return rows


def _without_unused(rows: pa.Table) -> pa.Table:
    """Leave out what no row has of dictionaries that are longer than the rows.

    pyarrow writes the whole dictionary into a file, and past a megabyte gives up on it.
    """
    for place, field in enumerate(rows.schema):
        if pa.types.is_dictionary(field.type):
            column = rows.column(place)
            if len(column.chunk(0).dictionary) > rows.num_rows:
                text = field.type.value_type
                encoded = column.cast(text).combine_chunks().dictionary_encode()
                rows = rows.set_column(place, field.with_type(encoded.type), encoded)
    return rows


def _write_parquet(sink: Any, row_groups: Iterator[pa.Table], spec: TableSpec, *, compressed: bool = True) -> str:
    """Write a file to what pyarrow takes as a sink; return its statistics as the Delta log wants them."""
    rows = next(row_groups)
    with pq.ParquetWriter(
        sink,
        rows.schema,
        compression="zstd" if compressed else "none",
        compression_level=1 if compressed else None,
        use_dictionary=[column for column in rows.column_names if column not in spec.no_dictionary],
        column_encoding={name: _ENCODINGS[name] for name in _ENCODINGS if name in spec.no_dictionary} or None,
        write_statistics=list(spec.statistics),
        store_schema=False,
    ) as writer:
        writer.write_table(rows, rows.num_rows)
        for rows in row_groups:
            writer.write_table(rows, rows.num_rows)
    return statistics(writer.writer.metadata, spec.statistics)


def statistics(metadata: pq.FileMetaData, columns: Collection[str]) -> str:
    """Return a Parquet file's statistics as the Delta log wants them: never a minimum or maximum that is not one.

    Args:
        metadata: the file's footer.
        columns: top-level columns that may have statistics, where the footer has them.
    """
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    minimum: dict[str, Any] = {}
    maximum: dict[str, Any] = {}
    nulls: dict[str, int] = {}
    for number in range(metadata.num_columns):
        name = metadata.schema.column(number).path
        chunks = [group.column(number) for group in groups]
        if name not in columns or not chunks or not all(chunk.is_stats_set for chunk in chunks):
            continue
        found = [chunk.statistics for chunk in chunks]
        if all(each.has_null_count for each in found):
            nulls[name] = sum(each.null_count for each in found)
        edges = [(each.min, each.max) for each in found if each.has_min_max]
        # A row group of nulls only has no edges; one of values without edges says nothing about the file.
        if edges and all(each.has_min_max or each.num_values == 0 for each in found):
            low, high = _json(min(low for low, _ in edges)), _json(max(high for _, high in edges))
            if low is not None and high is not None:
                minimum[name], maximum[name] = low, high
    return json.dumps({"numRecords": metadata.num_rows, "minValues": minimum, "maxValues": maximum, "nullCount": nulls})


def _json(value: Any) -> str | int | float | None:
    """Return a minimum or maximum exactly as it is, or None where JSON or the log's readers could not."""
    if isinstance(value, dt.datetime):
        # To the microsecond, as the rows are: delta-rs cuts off at milliseconds, which makes a maximum too low.
        return value.strftime("%Y-%m-%dT%H:%M:%S.%f") + ("Z" if value.tzinfo else "")
    if isinstance(value, dt.date):
        return value.isoformat()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return value if len(value) <= _LONGEST_TEXT else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None
