"""Compaction proper: small files of a lake partition become few large ones; then old files and long logs go.

Rows and their order stay; the commits carry `dataChange: false`, so neither dedupe nor gold looks at what was only
compacted.
"""

from __future__ import annotations

import datetime as dt
import json
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError, DeltaError

from compaction.delta_log import DataFile, live_files
from schemas.errors import LakeNotFound
from schemas.tables import TABLES
from sink.lake import Lake, store_trouble, writer_properties

TARGET_FILE_BYTES: Final = 128 * 1000**2
RETENTION: Final = dt.timedelta(days=7)
"""Superseded files stay this long, so that readers and `--as-of` of the last week keep working."""
MIN_SMALL_FILES: Final = 2
CHECKPOINT_AFTER_COMMITS: Final = 10

_MAX_ATTEMPTS: Final = 3


@dataclass(frozen=True)
class Candidate:
    """A lake partition that is worth compacting: its small files. `partition` None is the null partition."""

    table: str
    partition: str | None
    files: int
    bytes: int


@dataclass(frozen=True)
class Compacted:
    """What compaction did to one table.

    Attributes:
        table: its name.
        partitions: lake partitions that were rewritten.
        files_before: live files of the table before.
        files_after: and after.
        left: lake partitions that other commits kept changing; the next run takes them.
    """

    table: str
    partitions: int
    files_before: int
    files_after: int
    left: int


def candidates(table: str, files: Iterable[DataFile], target_file_bytes: int = TARGET_FILE_BYTES) -> list[Candidate]:
    """Return a table's lake partitions with at least two small files, in order; pure.

    A file is small below half of the target: one that is nearly full is not written again for every late row.
    """
    small: dict[str | None, list[DataFile]] = defaultdict(list)
    for file in files:
        if file.size < target_file_bytes / 2:
            small[file.partition].append(file)
    return [
        Candidate(table, partition, len(group), sum(file.size for file in group))
        for partition, group in sorted(small.items(), key=lambda item: item[0] or "")
        if len(group) >= MIN_SMALL_FILES
    ]


def plan(lake: Lake, target_file_bytes: int = TARGET_FILE_BYTES) -> list[Candidate]:
    """Return what a compaction would rewrite now, for bronze, silver and quarantine."""
    found = []
    for name in TABLES:
        found += candidates(name, live_files(lake.table(name), lake.path(name)), target_file_bytes)
    return found


def compact(
    lake: Lake,
    table: str,
    target_file_bytes: int = TARGET_FILE_BYTES,
    *,
    step: Callable[[str], None] = lambda name: None,
) -> Compacted:
    """Merge a table's small files, one atomic commit for each lake partition that is worth it.

    Idempotent: a second run finds nothing worth it. Safe beside writers and other compactions.

    Args:
        lake: where.
        table: one of `TABLES`.
        target_file_bytes: how large files should become.
        step: called with `before compact` and `after compact` around each commit: fault points of tests.

    Raises:
        LakeNotFound, IncompatibleLake, StoreUnavailable: as `Lake.table`.
    """
    handle = lake.table(table)
    root = lake.path(table)
    before = live_files(handle, root)
    done = left = 0
    for candidate in candidates(table, before, target_file_bytes):
        step("before compact")
        if _compact_partition(handle, root, table, candidate.partition, target_file_bytes):
            done += 1
            step("after compact")
        else:
            left += 1
    _checkpoint(lake, table, handle)
    return Compacted(table, done, len(before), len(live_files(lake.table(table), root)), left)


def vacuum(lake: Lake, tables: Iterable[str], retention: dt.timedelta = RETENTION, *, dry_run: bool = False) -> int:
    """Delete files that no version of the last `retention` names, those of rejected commits included.

    Tables that aren't there are skipped.

    Returns:
        How many files were deleted (or would be).

    Raises:
        StoreUnavailable: the store does not answer or refuses.
    """
    deleted = 0
    for name in tables:
        try:
            handle = lake.table(name)
        except LakeNotFound:
            continue
        hours = max(1, int(retention.total_seconds() // 3600))
        try:
            deleted += len(handle.vacuum(retention_hours=hours, dry_run=dry_run, full=True))
        except (OSError, DeltaError) as error:
            raise store_trouble(lake.path(name), error) from error
    return deleted


def _compact_partition(
    handle: DeltaTable, root: str, table: str, partition: str | None, target_file_bytes: int
) -> bool:
    column = TABLES[table].partition_by
    for _ in range(_MAX_ATTEMPTS):
        try:
            # No commit_properties: delta-rs drops a compaction's `txn`, so nothing may rely on one.
            handle.optimize.compact(
                partition_filters=[(column, "=", partition or "")],
                target_size=target_file_bytes,
                writer_properties=writer_properties(table),
            )
        except CommitFailedError:
            handle.update_incremental()
            continue
        except (OSError, DeltaError) as error:
            raise store_trouble(root, error) from error
        return True
    return False


def _checkpoint(lake: Lake, table: str, handle: DeltaTable) -> None:
    """Write a checkpoint after enough commits, so that tables with long logs open at once."""
    path = f"{lake.path(table)}/_delta_log/_last_checkpoint"
    try:
        last = json.loads(lake.filesystem().cat_file(path))["version"]
    except FileNotFoundError:
        last = 0
    except OSError as error:
        raise store_trouble(path, error) from error
    handle.update_incremental()
    if handle.version() - last >= CHECKPOINT_AFTER_COMMITS:
        try:
            handle.create_checkpoint()
        except (OSError, DeltaError) as error:
            raise store_trouble(path, error) from error
