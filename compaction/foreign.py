"""Delta tables that no worker of ours wrote: what compaction and repair need to know of one, read from its metadata.

A table whose rules our rewriting would break is refused: `docs/decisions/016-tables-of-others.md`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote

import pyarrow as pa
from deltalake import DeltaTable

from compaction.delta_log import live_files
from compaction.marks import REPAIR_ID
from schemas.errors import ConfigError, LakeNotFound
from schemas.tables import RepairColumns, TableSpec
from sink.files import HIVE_NULL
from sink.lake import FORMAT_KEY, Lake

_KNOWN_FEATURES: Final = frozenset(
    {"appendOnly", "invariants", "checkConstraints", "changeDataFeed", "generatedColumns", "timestampNtz"}
    | {"vacuumProtocolCheck"}
)
"""Delta features with which replacing files is safe, or is told from the table's settings to be safe or not."""
_INDEXED_COLUMNS: Final = 32
_OURS: Final = ("_file", "_row", "file_row_number")
_FLAT: Final = (
    *(pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_string),
    *(pa.types.is_timestamp, pa.types.is_date, pa.types.is_boolean),
)


def open_table(uri: str, event_time: str, date_column: str, raw: str | None = None) -> Lake:
    """Return a lake of one table, which somebody else writes.

    Args:
        uri: the table's folder, or `s3://bucket/prefix`.
        event_time: its column of event times: timestamps, text or numbers.
        date_column: the column by which it is partitioned, first of all: dates, or their ISO text.
        raw: its column with the event's JSON text, if it has one.

    Raises:
        LakeNotFound: there is no Delta table.
        ConfigError: the table has no such columns, or replacing its files would break it; nothing was changed.
        StoreUnavailable: the store does not answer.
    """
    place = Lake.at(uri).uri
    parent, _, name = place.rpartition("/")
    if parent in ("s3:", "s3:/"):
        raise ConfigError(f"{place} is a whole bucket: name the table's folder in it, with --table")
    spec = TableSpec(name, name, pa.schema([]), date_column, (), ())
    lake = Lake(parent, {name: spec})
    try:
        handle = lake.table(name)
    except LakeNotFound:
        raise LakeNotFound(
            f"there is no Delta table at {place}: check --table, or make one of plain Parquet with `playlake adopt`"
        ) from None
    _require_ours_to_rewrite(handle, place)
    schema = pa.schema(handle.schema().to_arrow())
    _require_columns(place, schema, handle, event_time, date_column, raw)
    _require_plain_places(lake, handle, date_column)
    then_by = tuple(handle.metadata().partition_columns[1:])
    stored = [field for field in schema if field.name not in (date_column, raw, *then_by)]
    repair = RepairColumns(
        event_time,
        raw,
        is_source=True,
        is_set=pa.types.is_timestamp(schema.field(event_time).type),
        refused=_why_rows_must_stay(handle),
    )
    found = TableSpec(
        name,
        name,
        schema,
        date_column,
        (*(field.name for field in stored[:_INDEXED_COLUMNS] if _is_flat(field.type)), REPAIR_ID),
        tuple(column for column in (event_time, raw) if column is not None),
        sort_by=event_time,
        repair=repair,
        then_by=then_by,
    )
    return Lake(parent, {name: found})


def _is_flat(kind: pa.DataType) -> bool:
    return any(is_kind(kind) for is_kind in _FLAT)


def _require_ours_to_rewrite(handle: DeltaTable, place: str) -> None:
    configuration = handle.metadata().configuration
    if FORMAT_KEY in configuration:
        raise ConfigError(f"{place} is a table of a playlake lake: name the lake with --lake, not its table")
    protocol = handle.protocol()
    features = {*(protocol.reader_features or ()), *(protocol.writer_features or ())}
    unknown = sorted(features - _KNOWN_FEATURES)
    if configuration.get("delta.columnMapping.mode", "none") != "none":
        unknown.append("columnMapping")
    if unknown:
        raise ConfigError(
            f"{place} uses {', '.join(dict.fromkeys(unknown))} of Delta, which replacing files here would break; "
            "nothing was changed"
        )


def _why_rows_must_stay(handle: DeltaTable) -> str | None:
    """Return why a repair must not change rows; merging files is no change of rows, so compaction may."""
    configuration: Mapping[str, str] = handle.metadata().configuration
    if configuration.get("delta.appendOnly", "").lower() == "true":
        return "it is append-only (delta.appendOnly)"
    if configuration.get("delta.enableChangeDataFeed", "").lower() == "true":
        return "it keeps a change data feed, which would tell of every row of a rewritten file"
    if any(key.startswith("delta.constraints.") for key in configuration):
        return "it has check constraints, which a repair does not check"
    for field in handle.schema().fields:
        if {"delta.generationExpression", "delta.invariants"} & set(field.metadata):
            return f"its column {field.name} is generated or checked by an expression"
    return None


def _require_columns(
    place: str, schema: pa.Schema, handle: DeltaTable, event_time: str, date_column: str, raw: str | None
) -> None:
    for flag, column in (("event-time", event_time), ("date-column", date_column), ("raw", raw)):
        if column is not None and column not in schema.names:
            raise ConfigError(f"{place} has no column {column!r} (--{flag}); it has {', '.join(schema.names)}")
    if event_time == date_column:
        raise ConfigError(f"{place}: --event-time and --date-column name the same column, {event_time}")
    taken = [name for name in _OURS if name in schema.names]
    if taken:
        raise ConfigError(f"{place} has a column {taken[0]}, a name that rewriting needs; nothing was changed")
    partitions = handle.metadata().partition_columns
    if partitions[:1] != [date_column]:
        by = ", ".join(partitions) or "nothing"
        raise ConfigError(f"{place} is partitioned by {by}; --date-column has to be its first partition column")
    if event_time in partitions or raw in partitions:
        raise ConfigError(
            f"{place} is partitioned by {', '.join(partitions)}: no --event-time or --raw can be of these"
        )
    for flag, column, kinds, wanted in (
        ("date-column", date_column, (pa.types.is_date, pa.types.is_string), "dates or their ISO text"),
        (
            "event-time",
            event_time,
            (pa.types.is_timestamp, pa.types.is_string, pa.types.is_integer, pa.types.is_floating),
            "timestamps, text or numbers",
        ),
        ("raw", raw, (pa.types.is_string,), "JSON text"),
    ):
        if column is not None and not any(is_kind(schema.field(column).type) for is_kind in kinds):
            raise ConfigError(f"{place}: column {column} is {schema.field(column).type}; --{flag} needs {wanted}")


def _require_plain_places(lake: Lake, handle: DeltaTable, date_column: str) -> None:
    """Raise `ConfigError` unless each file is where its lake partition says, and each of these is a date."""
    place = lake.path(next(iter(lake.tables)))
    for file in live_files(handle, place):
        path = file.path.removeprefix(f"{place}/")
        values = ((date_column, file.partition), *file.then)
        wanted = [f"{column}={value or HIVE_NULL}" for column, value in values]
        if [unquote(each) for each in path.split("/")[:-1]] != wanted:
            raise ConfigError(
                f"{place}: the file {path} is not in a folder {'/'.join(wanted)}, where its rows' dates are looked "
                "for; nothing was changed"
            )
        try:
            is_date = file.partition is None or str(dt.date.fromisoformat(file.partition)) == file.partition
        except ValueError:
            is_date = False
        if not is_date:
            raise ConfigError(f"{place}: {date_column}={file.partition} is no date as 2026-11-21; nothing was changed")
