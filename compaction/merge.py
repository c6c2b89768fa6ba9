"""Merge a table's files into one, its rows in runs of the order by which queries filter them.

Text stays as Parquet's dictionaries from file to file: decoded, it would cost most of the time and memory
(`docs/decisions/013-compaction-checks-its-own-commit.md`).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake.transaction import AddAction

from compaction.delta_log import DataFile
from schemas.errors import IncompatibleLake
from schemas.tables import TableSpec
from sink.files import Then, write_file
from sink.lake import Lake, store_trouble

ROW_GROUP_ROWS: Final = 125_000
SORTED_ROWS: Final = 500_000
"""So many rows in a row are in order; the whole file would be in twice the memory. Since files come in the order in
which they were written, a run is a stretch of time, and late rows are in the first of its row groups."""
_FEW_ROWS: Final = 1000
"""Of files with fewer, what is done once a file costs more than what is done with its rows: they are made dictionaries
of together, up to `_FEW_FILES` at once."""
_FEW_FILES: Final = 100


def bins(files: Iterable[DataFile], most_bytes: int) -> list[tuple[DataFile, ...]]:
    """Put files together in the order in which they were written, up to so many bytes; one alone may have more."""
    found: list[list[DataFile]] = []
    size = 0
    for file in sorted(files, key=lambda file: (file.written_ms, file.path)):
        size += file.size
        if not found or size > most_bytes:
            found.append([])
            size = file.size
        found[-1].append(file)
    return [tuple(each) for each in found]


def merge_files(lake: Lake, table: str, schema: pa.Schema, files: Sequence[DataFile]) -> AddAction:
    """Write one file with the rows of `files`; no reader sees it until a commit names it.

    Memory: `SORTED_ROWS` of a sorted table, twice; of others `ROW_GROUP_ROWS`.

    Args:
        lake: where.
        table: one of the lake's.
        schema: the table's, lake partition column included. Columns that a file lacks become null.
        files: of one lake partition, in the order in which their rows are to come (see `bins`); not empty.

    Returns:
        What a commit has to add.

    Raises:
        StoreUnavailable: the store does not give or take a file.
    """
    parts = _read_files(lake, files, stored_schema(schema, lake.tables[table]))
    return write_rows(lake, table, files[0].partition, parts, changes_data=False, then=files[0].then)


def write_rows(
    lake: Lake, table: str, partition: str | None, parts: Iterable[pa.Table], *, changes_data: bool, then: Then = ()
) -> AddAction:
    """Write one file of rows as `read_file` gives them, in runs of the table's order; at least one row.

    Raises:
        StoreUnavailable: the store does not give or take a file.
    """
    spec = lake.tables[table]
    if spec.sort_by:
        tables = _sorted(_runs(parts, SORTED_ROWS), spec.sort_by)
    else:
        tables = (run.unify_dictionaries() for run in _runs(parts, ROW_GROUP_ROWS))
    return write_file(lake, table, partition, _row_groups(tables), changes_data=changes_data, then=then)


def read_file(lake: Lake, table: str, schema: pa.Schema, file: DataFile) -> pa.Table:
    """Return a file's rows in its order: the table's columns but the lake partition, text as dictionaries.

    Raises:
        StoreUnavailable: the store does not give the file.
        IncompatibleLake: a value is finer or larger than the table's type.
    """
    target = stored_schema(schema, lake.tables[table])
    return _conformed(_read(lake, file, target), target, file.path)


def _read_files(lake: Lake, files: Iterable[DataFile], target: pa.Schema) -> Iterator[pa.Table]:
    """Give the rows of files in their order as `read_file` does, those of several small ones of one schema at once."""
    found = ((file, _read(lake, file, target)) for file in files)
    for schema, alike in itertools.groupby(found, lambda each: each[1].schema if _is_small(each[1]) else None):
        while some := list(itertools.islice(alike, 1 if schema is None else _FEW_FILES)):
            [(first, rows), *others] = some
            if others:
                rows = pa.concat_tables([rows, *(more for _, more in others)]).combine_chunks()
            paths = f"{first.path} or one of {len(others)} after it" if others else first.path
            yield _conformed(rows, target, paths)


def _read(lake: Lake, file: DataFile, target: pa.Schema) -> pa.Table:
    """Return a file's rows with its own columns; of a small one of ours without dictionaries."""
    try:
        source: Any = pa.BufferReader(lake.filesystem().cat_file(file.path)) if lake.is_s3 else file.path
        metadata = pq.read_metadata(source)
        # Another writer's own schema may say types that can't be made dictionaries of later.
        is_simple = metadata.num_rows < _FEW_ROWS and b"ARROW:schema" not in (metadata.metadata or {})
        as_dictionaries = [
            column.path
            for column in map(metadata.schema.column, range(0 if is_simple else metadata.num_columns))
            if column.physical_type == "BYTE_ARRAY" and _has_dictionary(target, column.path)
        ]
        return pq.ParquetFile(
            source, metadata=metadata, read_dictionary=as_dictionaries, coerce_int96_timestamp_unit="us"
        ).read(use_threads=False)
    except OSError as error:
        raise store_trouble(file.path, error) from error


def _conformed(rows: pa.Table, target: pa.Schema, paths: str) -> pa.Table:
    columns = []
    for field in target:
        try:
            column = rows[field.name].cast(field.type) if field.name in rows.column_names else None
        except pa.ArrowInvalid as error:
            raise IncompatibleLake(
                f"{paths} holds values of {field.name} that {field.type} can't keep ({error}); nothing was changed"
            ) from error
        columns.append(pa.nulls(len(rows), field.type) if column is None else column)
    return pa.table(columns, schema=target)


def stored_schema(schema: pa.Schema, spec: TableSpec) -> pa.Schema:
    """Return a table's schema as `read_file` has it."""

    def dictionaries(kind: pa.DataType) -> pa.DataType:
        if pa.types.is_list(kind) and pa.types.is_string(kind.value_type):
            return pa.list_(kind.value_field.with_type(dictionaries(kind.value_type)))
        return pa.dictionary(pa.int32(), pa.string()) if pa.types.is_string(kind) else kind

    return pa.schema(
        field if field.name in spec.no_dictionary else field.with_type(dictionaries(field.type))
        for field in schema
        if field.name not in (spec.partition_by, *spec.then_by)
    )


def _has_dictionary(target: pa.Schema, path: str) -> bool:
    name = path.split(".", 1)[0]
    if name not in target.names:
        return False
    kind = target.field(name).type
    return isinstance(kind, pa.DictionaryType) or (
        isinstance(kind, pa.ListType) and isinstance(kind.value_type, pa.DictionaryType)
    )


def _is_small(rows: pa.Table) -> bool:
    """Whether a file's rows are few and without dictionaries, which can't be put together as cheaply."""
    kinds = (kind.value_type if pa.types.is_list(kind) else kind for kind in rows.schema.types)
    return len(rows) < _FEW_ROWS and not any(map(pa.types.is_dictionary, kinds))


def _runs(parts: Iterable[pa.Table], rows: int) -> Iterator[pa.Table]:
    """Put tables together until they have so many rows."""
    waiting: list[pa.Table] = []
    count = 0
    for part in parts:
        waiting.append(part)
        count += len(part)
        if count >= rows:
            yield pa.concat_tables(waiting)
            waiting, count = [], 0
    if waiting:
        yield pa.concat_tables(waiting)


def _sorted(runs: Iterable[pa.Table], by: str) -> Iterator[pa.Table]:
    for run in runs:
        # Each column as a whole: `take` puts all its chunks together, at every call.
        order = pc.sort_indices(run[by])
        columns = [column.unify_dictionaries().take(order) for column in run.columns]
        yield pa.table(columns, schema=run.schema)


def _row_groups(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    for table in tables:
        rows = -(-len(table) // max(1, round(len(table) / ROW_GROUP_ROWS)))
        for start in range(0, len(table), rows):
            yield table.slice(start, rows)
