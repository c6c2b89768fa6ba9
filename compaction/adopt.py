"""Adopt a folder of plain Parquet files: it becomes a Delta table where it is, by one commit; no file is rewritten.

Why not `convert_to_deltalake`: `docs/decisions/015-adopt-writes-its-own-first-commit.md`.
"""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Final
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import CommitProperties, Schema
from deltalake.exceptions import DeltaError
from deltalake.transaction import AddAction, create_table_with_add_actions

from schemas.errors import ConfigError
from sink.files import HIVE_NULL, statistics
from sink.lake import Lake, modified_s, store_trouble

ADOPTED_KEY: Final = "playlake.adopted"
"""Name in `commitInfo` under which the first commit says how many files it took over."""

_READERS: Final = 16
_INDEXED_COLUMNS: Final = 32
"""So many columns get statistics, as Delta's own default is."""


@dataclass(frozen=True)
class ParquetFile:
    """One file that is to be adopted.

    Attributes:
        path: below the folder.
        partition: lake partition column → value as text, None for `__HIVE_DEFAULT_PARTITION__`; in order.
        rows: number of rows.
        size: bytes.
        written_ms: when it was written, in milliseconds since 1970.
        schema: its columns, as Delta knows types; without the lake partition columns.
        statistics: for the Delta log.
    """

    path: str
    partition: Mapping[str, str | None]
    rows: int
    size: int
    written_ms: int
    schema: pa.Schema
    statistics: str


@dataclass(frozen=True)
class Survey:
    """What adopting a folder would do, and what stands against it.

    Attributes:
        files: those that would be in the table.
        schema: the table's; lake partition columns last.
        partition_by: lake partition columns; none for a folder without any.
        objections: why it can't be adopted as it is, one line each.
    """

    files: tuple[ParquetFile, ...]
    schema: pa.Schema
    partition_by: tuple[str, ...]
    objections: tuple[str, ...]

    @property
    def rows(self) -> int:
        """Rows of all files."""
        return sum(file.rows for file in self.files)

    @property
    def bytes(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    @property
    def partitions(self) -> int:
        """How many lake partitions there are, the null partition included."""
        return len({tuple(file.partition.items()) for file in self.files})

    @property
    def null_partition(self) -> tuple[ParquetFile, ...]:
        """Files of which a lake partition value is null."""
        return tuple(file for file in self.files if None in file.partition.values())


def survey(folder: Lake, *, done: Callable[[int], None] = lambda count: None) -> Survey:
    """Look at every file's footer and say what adopting the folder would do; changes nothing.

    Hidden files (`_SUCCESS`, `.part.crc`) are left out, as Spark and Athena do. Files need no `.parquet` at their end.

    Args:
        folder: where it is; the folder itself, not a lake above it.
        done: told how many files were read.

    Raises:
        ConfigError: there is no such folder, it holds no file, or it belongs to a Delta table.
        StoreUnavailable: the store does not answer.
    """
    filesystem = folder.filesystem()
    root = str(filesystem._strip_protocol(folder.uri))
    try:
        found = {
            path.removeprefix(f"{root}/"): info
            for path, info in sorted(filesystem.find(root, detail=True).items())
            if path != root and not path.endswith("/")
        }
        _require_plain(filesystem, folder, root, found)
        objections = list(_unfinished(found))
        visible = [path for path in found if not _is_hidden(path)]
        if not visible:
            raise ConfigError(f"{folder.uri} holds no Parquet file: check the address")
        files = []
        with ThreadPoolExecutor(_READERS) as pool:
            read = pool.map(lambda path: _read(filesystem, root, path, found[path]), visible)
            for number, each in enumerate(read, 1):
                done(number)
                if isinstance(each, ParquetFile):
                    files.append(each)
                else:
                    objections.append(each)
    except OSError as error:
        raise store_trouble(folder.uri, error) from error
    names, differing = _partition_columns(files)
    schema, conflicts = _schema(files)
    kinds = [(name, _partition_type([file.partition.get(name) for file in files])) for name in names]
    inside = [f"column {name} is in the files and in their folders' names" for name in names if name in schema.names]
    objections += [*differing, *conflicts, *inside]
    if not inside:
        schema = pa.schema([*schema, *(pa.field(name, kind) for name, kind in kinds)])
    return Survey(tuple(files), schema, names, tuple(objections))


def adopt(folder: Lake, found: Survey) -> None:
    """Make the folder a Delta table of the files that were found, by one commit.

    Files that other jobs write into the folder afterwards are not in the table; they have to append to it.

    Raises:
        ConfigError: something stands against it, or another job was first; nothing was changed.
        StoreUnavailable: the store does not take the commit.
    """
    if found.objections:
        more = len(found.objections) - 1
        rest = f"; and {more:,} more, which --dry-run lists" if more else ""
        raise ConfigError(f"{folder.uri} can't be adopted, nothing was changed: {found.objections[0]}{rest}")
    actions = [
        AddAction(file.path, file.size, dict(file.partition), file.written_ms, True, file.statistics)
        for file in found.files
    ]
    try:
        create_table_with_add_actions(
            folder.uri,
            Schema.from_arrow(found.schema),
            actions,
            mode="error",
            partition_by=list(found.partition_by) or None,
            storage_options=folder.storage_options,
            commit_properties=CommitProperties(custom_metadata={ADOPTED_KEY: f"{len(actions)} files"}),
        )
    except (OSError, DeltaError) as error:
        if "already exists" in str(error):
            raise ConfigError(
                f"{folder.uri} became a Delta table meanwhile, by another job; this one did nothing"
            ) from None
        raise store_trouble(folder.uri, error) from error


def _require_plain(filesystem: Any, folder: Lake, root: str, found: Iterable[str]) -> None:
    """Raise `ConfigError` where there is no folder, or where a Delta table is in it, above it or below it."""
    if not filesystem.exists(root):
        raise ConfigError(f"there is no folder at {folder.uri}: check the address")
    if not filesystem.isdir(root):
        raise ConfigError(f"{folder.uri} is a file: name the folder that holds the table's files")
    inside = next((path for path in found if "_delta_log" in path.split("/")), None)
    if inside is not None:
        below = inside.partition("_delta_log")[0].rstrip("/")
        if below:
            raise ConfigError(f"{folder.uri} holds a Delta table already, {below}: name a folder of plain Parquet")
        raise ConfigError(f"{folder.uri} is a Delta table already; `playlake compact --table` takes it as it is")
    for above in list(PurePosixPath(root).parents)[:-1]:
        if filesystem.exists(f"{above}/_delta_log"):
            raise ConfigError(f"{folder.uri} is part of the Delta table {above}; nothing was changed")


def _unfinished(paths: Iterable[str]) -> Iterator[str]:
    """Say which traces of other jobs forbid to take the files as they are."""
    parts = [PurePosixPath(path).parts for path in paths]
    if any("_temporary" in each[:-1] for each in parts):
        yield "_temporary holds files: a job is still writing, or died; wait for it, or remove that folder"
    if any(".hoodie" in each[:-1] for each in parts):
        yield "it is a Hudi table (.hoodie), whose files hold old versions of rows, too"


def _is_hidden(path: str) -> bool:
    """Return whether Spark and Hive leave a file out: a name on its way starts with `_` or `.`."""
    return path.endswith("_$folder$") or any(
        part.startswith(("_", ".")) and "=" not in part for part in path.split("/")
    )


def _read(filesystem: Any, root: str, path: str, info: Mapping[str, Any]) -> ParquetFile | str:
    """Read a file's footer; return what stands against it where it is no sound Parquet file in a sound place."""
    partition: dict[str, str | None] = {}
    for part in path.split("/")[:-1]:
        name, equals, value = part.partition("=")
        if not equals or not name:
            return f"{path}: the folder {part} is not named column=value"
        text = unquote(value)
        partition[unquote(name)] = None if text in (HIVE_NULL, "") else text
    try:
        with filesystem.open(f"{root}/{path}", "rb") as file:
            metadata = pq.read_metadata(file)
        schema = _delta_schema(metadata)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        if path.endswith((".parquet", ".parq")):
            return f"{path} is no sound Parquet file ({str(error).splitlines()[0]})"
        return f"{path} is no Parquet file; move it away, since a vacuum of the table would delete it"
    except _NotInDelta as error:
        return f"{path}: {error}"
    indexed = schema.names[:_INDEXED_COLUMNS]
    return ParquetFile(
        path,
        partition,
        metadata.num_rows,
        int(info["size"]),
        int(modified_s(info) * 1000),
        schema,
        statistics(metadata, indexed),
    )


class _NotInDelta(Exception):  # internal: becomes an objection
    """A column's type is none of Delta's; the text names both."""


def _delta_schema(metadata: pq.FileMetaData) -> pa.Schema:
    """Return a file's columns with the types that Delta has for them."""
    is_int96 = {
        column.path
        for column in map(metadata.schema.column, range(metadata.num_columns))
        if column.physical_type == "INT96"
    }
    return pa.schema(
        pa.field(field.name, _TIMESTAMP if field.name in is_int96 else _delta_type(field.name, field.type))
        for field in metadata.schema.to_arrow_schema()
    )


_TIMESTAMP: Final = pa.timestamp("us", tz="UTC")
_SAME: Final = (
    *(pa.types.is_boolean, pa.types.is_signed_integer, pa.types.is_float32, pa.types.is_float64),
    *(pa.types.is_decimal128, pa.types.is_string, pa.types.is_binary, pa.types.is_date32),
)


def _delta_type(name: str, kind: pa.DataType) -> pa.DataType:
    def inner(field: pa.Field) -> pa.Field:
        return pa.field(field.name, _delta_type(name, field.type))

    if any(is_kind(kind) for is_kind in _SAME):
        return kind
    if pa.types.is_dictionary(kind):
        return _delta_type(name, kind.value_type)
    if pa.types.is_large_string(kind):
        return pa.string()
    if pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return pa.binary()
    if pa.types.is_timestamp(kind) and kind.unit in ("ms", "us"):
        return pa.timestamp("us", tz="UTC" if kind.tz else None)
    if pa.types.is_struct(kind):
        return pa.struct([inner(field) for field in kind])
    if pa.types.is_map(kind):
        return pa.map_(_delta_type(name, kind.key_type), _delta_type(name, kind.item_type))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return pa.list_(inner(kind.value_field))
    raise _NotInDelta(f"column {name} is {kind}, which Delta tables don't have; write the files anew without it")


def _partition_columns(files: Iterable[ParquetFile]) -> tuple[tuple[str, ...], list[str]]:
    """Return the lake partition columns, and what stands against them."""
    ways: dict[tuple[str, ...], str] = {}
    for file in files:
        ways.setdefault(tuple(file.partition), file.path)
    if len(ways) > 1:
        (one, first), (other, second) = itertools.islice(ways.items(), 2)
        return (), [
            f"files are partitioned in different ways: {first} by {', '.join(one) or 'nothing'}, "
            f"{second} by {', '.join(other) or 'nothing'}"
        ]
    return next(iter(ways), ()), []


def _partition_type(values: Iterable[str | None]) -> pa.DataType:
    """Return `date32` where all values are ISO dates (or all null), `int64` where all are whole numbers, else text."""
    texts = {value for value in values if value is not None}
    if all(_is_date(text) for text in texts):
        return pa.date32()
    if all(text.isdecimal() and text == str(int(text)) for text in texts):
        return pa.int64()
    return pa.string()


def _is_date(text: str) -> bool:
    try:
        return str(dt.date.fromisoformat(text)) == text
    except ValueError:
        return False


def _schema(files: Iterable[ParquetFile]) -> tuple[pa.Schema, list[str]]:
    """Return all files' columns in the order in which they come up, and what stands against them."""
    fields: dict[str, tuple[pa.Field, str]] = {}
    conflicts: dict[str, str] = {}
    for file in files:
        for field in file.schema:
            known, path = fields.setdefault(field.name.lower(), (field, file.path))
            if known.name != field.name:
                what = f"is called {known.name} in {path} and {field.name} in {file.path}"
            elif known.type != field.type:
                what = f"is {known.type} in {path} and {field.type} in {file.path}"
            else:
                continue
            conflicts.setdefault(field.name.lower(), f"column {known.name} {what}; write one of them anew")
    return pa.schema([field for field, _ in fields.values()]), list(conflicts.values())
