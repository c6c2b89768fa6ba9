"""Symlink manifests: lists of a table's live files, for engines that can't read a Delta log."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from deltalake.exceptions import DeltaError

from compaction.delta_log import live_files
from sink.lake import Lake, store_trouble

FOLDER: Final = "_symlink_format_manifest"


def write_manifests(lake: Lake, names: Iterable[str]) -> None:
    """Write tables' manifests for their newest versions; take away those of lake partitions without files.

    Not atomic: an engine that reads meanwhile may see some lake partitions before and some after. Idempotent.

    Args:
        lake: where.
        names: of tables, as `Lake.table` takes them.

    Raises:
        LakeNotFound, IncompatibleLake, StoreUnavailable: as `Lake.table`.
    """
    filesystem = lake.filesystem()
    for name in names:
        handle = lake.table(name)
        root = f"{lake.path(name)}/{FOLDER}"
        try:
            handle.generate()
            live = {file.path.rsplit("/", 2)[-2] for file in live_files(handle, lake.path(name))}
            for manifest in filesystem.find(root):
                if handle.metadata().partition_columns and str(manifest).rsplit("/", 2)[-2] not in live:
                    filesystem.rm(manifest)
        except (OSError, DeltaError) as error:
            raise store_trouble(root, error) from error


def refresh_manifests(lake: Lake, names: Iterable[str]) -> list[str]:
    """Write again the manifests of those tables that have any; return their names.

    For the end of a compaction. Arguments and errors are those of `write_manifests`.
    """
    filesystem = lake.filesystem()
    having = [name for name in names if filesystem.exists(f"{lake.path(name)}/{FOLDER}")]
    write_manifests(lake, having)
    return having
