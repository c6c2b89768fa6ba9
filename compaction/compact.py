"""Compaction proper: small files of a lake partition become few large ones.

Rows stay; the commits carry `dataChange: false`, so neither dedupe nor gold looks at what was only compacted.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError
from deltalake.transaction import AddAction

from compaction.delta_log import DataFile, live_files
from compaction.merge import bins, merge_files
from compaction.replace import replace_files
from sink.files import Then
from sink.lake import Lake, store_trouble

TARGET_FILE_BYTES: Final = 128 * 1000**2
MIN_SMALL_FILES: Final = 2
CHECKPOINT_AFTER_COMMITS: Final = 10

_MERGES_AT_ONCE: Final = 2
"""More would be faster on more cores; each takes up to half a gigabyte."""


@dataclass(frozen=True)
class Candidate:
    """A lake partition that is worth compacting. `partition` None is the null partition.

    Attributes:
        table: one of the lake's.
        partition: as ISO text.
        bins: its small files, at least two in each bin; a bin becomes one file.
    """

    table: str
    partition: str | None
    bins: tuple[tuple[DataFile, ...], ...]

    @property
    def files(self) -> int:
        """How many files would go."""
        return sum(map(len, self.bins))

    @property
    def bytes(self) -> int:
        """Their bytes."""
        return sum(file.size for group in self.bins for file in group)


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

    A file is small below half of the target: one that is nearly full is not written again for every late row. Bins are
    filled in the order in which the files were written.
    """
    small: dict[tuple[str | None, Then], list[DataFile]] = defaultdict(list)
    for file in files:
        if file.size < target_file_bytes / 2:
            small[file.partition, file.then].append(file)
    found = []
    for (partition, _), group in sorted(small.items(), key=lambda item: (item[0][0] or "", str(item[0][1]))):
        worth_it = tuple(each for each in bins(group, target_file_bytes) if len(each) >= MIN_SMALL_FILES)
        if worth_it:
            found.append(Candidate(table, partition, worth_it))
    return found


def plan(lake: Lake, target_file_bytes: int = TARGET_FILE_BYTES) -> list[Candidate]:
    """Return what a compaction would rewrite now, for each of the lake's tables but gold."""
    found = []
    for name in lake.tables:
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

    A second run finds nothing worth it. Safe beside writers and whatever else rewrites the table: what others took up
    meanwhile is left.

    Args:
        lake: where.
        table: one of the lake's.
        target_file_bytes: how large files should become.
        step: called with `before compact` and `after compact` around each commit: fault points of tests.

    Raises:
        LakeNotFound, IncompatibleLake, StoreUnavailable: as `Lake.table`.
        CommitConflict: others committed first at every attempt; what was committed before stays.
    """
    handle = lake.table(table)
    root = lake.path(table)
    schema = pa.schema(handle.schema().to_arrow())
    before = live_files(handle, root)
    done = left = 0

    def merge(files: tuple[DataFile, ...]) -> AddAction:
        return merge_files(lake, table, schema, files)

    with ThreadPoolExecutor(_MERGES_AT_ONCE) as pool:
        found = candidates(table, before, target_file_bytes)
        merging = [(candidate, [pool.submit(merge, files) for files in candidate.bins]) for candidate in found]
        try:
            for candidate, merged in merging:
                if _commit(lake, candidate, [future.result() for future in merged], step):
                    done += 1
                    step("after compact")
                else:
                    left += 1
        finally:
            pool.shutdown(cancel_futures=True)
    _checkpoint(lake, table, handle)
    return Compacted(table, done, len(before), len(live_files(lake.table(table), root)), left)


def _commit(lake: Lake, candidate: Candidate, merged: list[AddAction], step: Callable[[str], None]) -> bool:
    version = replace_files(
        lake,
        candidate.table,
        [file for group in candidate.bins for file in group],
        merged,
        changes_data=False,
        metadata={"playlake.compaction": f"{candidate.files} files to {len(merged)}"},
        before_commit=lambda: step("before compact"),
    )
    return version is not None


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
