"""Read the lake with DuckDB: tables as views over exactly the files that the Delta log names.

DuckDB's delta and httpfs extensions can't be assumed downloadable, so the file list comes from deltalake and S3 is read
through s3fs.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import duckdb
import pyarrow as pa
from deltalake import DeltaTable

from sink.lake import Lake, data_files

_types: dict[pa.Schema, Mapping[str, str]] = {}
"""What DuckDB has been asked already, which takes 3 ms a time."""


def connect(lake: Lake, *, threads: int | None = None, memory_limit: str | None = None) -> duckdb.DuckDBPyConnection:
    """Return an in-memory DuckDB connection that can read the lake's files: time zone UTC, s3fs registered for S3.

    Args:
        lake: whose files are to be read.
        threads: None leaves DuckDB's default (all cores).
        memory_limit: as DuckDB takes it, `2GB`; None leaves its default.
    """
    con = duckdb.connect()
    con.execute("set TimeZone = 'UTC'")
    con.execute("set enable_progress_bar = false")
    if threads is not None:
        con.execute(f"set threads = {int(threads)}")
    if memory_limit is not None:
        con.execute("set memory_limit = $1", [memory_limit])
    if lake.is_s3:
        con.register_filesystem(lake.filesystem_of_data())
    return con


def create_view(
    con: duckdb.DuckDBPyConnection,
    view: str,
    handle: DeltaTable,
    files: list[str] | None = None,
    *,
    columns: Collection[str] | None = None,
    with_places: bool = False,
) -> None:
    """Create or replace `view` (a name, or `schema.name`) over the table at the handle's version.

    Partition columns come from the Delta schema with their types, also where only the null partition is there (DuckDB
    would infer VARCHAR). Columns that files lack read as null. A table without files is a view of no rows with
    the right columns.

    Args:
        con: where to create it; the schema must exist.
        view: trusted name, not user input.
        handle: fixes the version that the view shows.
        files: only these of the table's files (paths as `data_files` gives them); None is all of them.
        columns: only these, which the table has had from its beginning: then files are opened when they are read, and
            not, one after the other, for their columns beforehand. None is all.
        with_places: two more columns say where a row is: `_file` (its path) and `_row` (its number there, from 0).
    """
    schema = pa.schema(handle.schema().to_arrow())
    if columns is not None:
        schema = pa.schema([schema.field(name) for name in columns])
    paths = data_files(handle) if files is None else files
    kinds = duckdb_types(con, schema)
    shown = {**kinds, "_file": "varchar", "_row": "bigint"} if with_places else kinds
    names = ", ".join(map(quoted, shown))
    if not paths:
        con.execute(f"create or replace view {view} as {without_rows(shown)}")
        return
    partition_columns = [name for name in handle.metadata().partition_columns if name in kinds]
    hive_types = ", ".join(f"{quoted(name)}: {kinds[name]}" for name in partition_columns)
    options = (
        f"hive_partitioning = true, hive_types = {{{hive_types}}}" if partition_columns else "hive_partitioning = false"
    )
    if with_places:
        options += ", filename = '_file', file_row_number = true"
    file_list = ", ".join("'" + path.replace("'", "''") + "'" for path in paths)
    rows = f"read_parquet([{file_list}], union_by_name = {columns is None}, {options})"
    if with_places:
        rows = f"(select *, file_row_number as _row from {rows})"  # noqa: S608
    try:
        con.execute(f"create or replace view {view} as select {names} from {rows}")  # noqa: S608
    except duckdb.BinderException:  # a column that was added to the table, and that none of these files has
        rows = f"({without_rows(shown)} union all by name select * from {rows})"  # noqa: S608
        con.execute(f"create or replace view {view} as select {names} from {rows}")  # noqa: S608


def without_rows(kinds: Mapping[str, str]) -> str:
    """Return a query of no rows with these columns: name → DuckDB's name of its type."""
    return f"select {', '.join(f'cast(null as {kind}) as {quoted(name)}' for name, kind in kinds.items())} where false"


def duckdb_types(con: duckdb.DuckDBPyConnection, schema: pa.Schema) -> Mapping[str, str]:
    """Return DuckDB's name of each column's type."""
    if schema not in _types:
        con.register("__schema_probe", schema.empty_table())
        try:
            _types[schema] = {row[0]: row[1] for row in con.execute("describe __schema_probe").fetchall()}
        finally:
            con.unregister("__schema_probe")
    return _types[schema]


def quoted(name: str) -> str:
    """Return a name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'
