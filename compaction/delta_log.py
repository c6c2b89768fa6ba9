"""What changed in a table between two versions, read from the Delta log's JSON commits.

deltalake has no reader for single commits (its change feed needs a table option), so this one reads
`_delta_log/<version>.json` as the Delta protocol describes it ("Action Reconciliation", "Add File and Remove File").
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote

import pyarrow as pa
from deltalake import DeltaTable

from sink.files import Then
from sink.lake import Lake, store_trouble

EXPIRE_KEY: Final = "playlake.expire"
"""Name in `commitInfo` under which an expiry keeps its id."""
_READERS: Final = 16


class LogGone(Exception):  # internal: callers fall back to reading everything
    """A version's commit is no longer in the log (clean-up), so what changed since can't be told."""


@dataclass(frozen=True)
class DataFile:
    """One Parquet file of a table.

    Attributes:
        path: where it is, as DuckDB and fsspec take it.
        partition: value of the lake partition column as ISO text; None is the null partition (or no partition column).
        rows: number of rows; None where the log does not say (removed files).
        size: bytes.
        written_ms: when it was written, in milliseconds since 1970; 0 for removed files.
        then: further lake partition columns and their values as text, where a table has more than one.
    """

    path: str
    partition: str | None
    rows: int | None
    size: int
    written_ms: int = 0
    then: Then = ()


@dataclass(frozen=True)
class Commit:
    """One version of a table.

    Attributes:
        version: its number.
        info: the `commitInfo` action, with the custom metadata of whoever committed.
        added: files that it added.
        removed: files that it removed.
        changes_data: whether rows came, went or changed; false for a compaction and for a commit without files.
    """

    version: int
    info: dict[str, Any]
    added: tuple[DataFile, ...]
    removed: tuple[DataFile, ...]
    changes_data: bool

    @property
    def touched(self) -> tuple[DataFile, ...]:
        """Files added or removed."""
        return self.added + self.removed


def commits(lake: Lake, name: str, after: int, upto: int) -> list[Commit]:
    """Return the commits of a table with `after` < version ≤ `upto`, oldest first.

    Raises:
        LogGone: one of them was cleaned up; the caller reads everything instead.
        StoreUnavailable: the store did not answer.
    """
    filesystem = lake.filesystem()
    with ThreadPoolExecutor(_READERS) as pool:  # a day of flushes is thousands of small objects
        return list(pool.map(lambda version: _commit(lake, name, version, filesystem), range(after + 1, upto + 1)))


def live_files(handle: DeltaTable, root: str) -> list[DataFile]:
    """Return a table's live files at the handle's version.

    Args:
        handle: the table.
        root: its folder, `Lake.path(name)`.
    """
    columns = handle.metadata().partition_columns
    actions = pa.table(handle.get_add_actions(flatten=True))
    values = [actions[f"partition.{column}"].to_pylist() for column in columns] or [[None] * actions.num_rows]
    return [
        DataFile(
            f"{root}/{unquote(path)}",
            _text(first),
            rows,
            size,
            written_ms,
            tuple((column, _text(value)) for column, value in zip(columns[1:], then, strict=True)),
        )
        for path, (first, *then), rows, size, written_ms in zip(
            actions["path"].to_pylist(),
            zip(*values, strict=True),
            actions["num_records"].to_pylist(),
            actions["size_bytes"].to_pylist(),
            actions["modification_time"].cast(pa.int64()).to_pylist(),
            strict=True,
        )
    ]


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def dates_of(files: Iterable[DataFile]) -> set[str]:
    """Return the lake partitions (ISO dates) of files, without the null partition."""
    return {file.partition for file in files if file.partition is not None}


def _commit(lake: Lake, name: str, version: int, filesystem: Any) -> Commit:
    root = lake.path(name)
    path = f"{root}/_delta_log/{version:020}.json"
    try:
        lines = filesystem.cat_file(path).decode().splitlines()
    except FileNotFoundError:
        raise LogGone(path) from None
    except OSError as error:
        raise store_trouble(path, error) from error
    info: dict[str, Any] = {}
    added, removed = [], []
    changes_data = False
    for line in lines:
        if not line.strip():
            continue
        action = json.loads(line)
        if "commitInfo" in action:
            info = action["commitInfo"]
        elif "add" in action:
            added.append(_data_file(root, action["add"]))
            changes_data |= bool(action["add"]["dataChange"])
        elif "remove" in action:
            removed.append(_data_file(root, action["remove"]))
            changes_data |= bool(action["remove"]["dataChange"])
    return Commit(version, info, tuple(added), tuple(removed), changes_data)


def _data_file(root: str, action: dict[str, Any]) -> DataFile:
    values = list((action.get("partitionValues") or {}).values())
    statistics = json.loads(action.get("stats") or "{}")
    return DataFile(
        path=f"{root}/{unquote(action['path'])}",
        partition=values[0] if values and values[0] else None,
        rows=statistics.get("numRecords"),
        size=action.get("size") or 0,
    )
