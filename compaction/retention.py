"""Retention: files that were replaced, and commits of the log, go when no reader can want them any more.

How long a table keeps its log stands in the table (`delta.logRetentionDuration`), for every Delta library to see.
"""

from __future__ import annotations

import datetime as dt
import math
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError, DeltaError

from schemas.errors import ConfigError, LakeNotFound
from sink.lake import LOG_RETENTION_KEY, Lake, interval, modified_s, store_trouble

SHORTEST: Final = dt.timedelta(days=7)
"""Readers and `--as-of` of the last week keep working; less only by force."""
_CHECKPOINT = re.compile(r"^(\d{20})\.checkpoint\b")
_OF_A_VERSION = re.compile(r"^(\d{20})\.")


@dataclass(frozen=True)
class Retention:
    """How long replaced files and the log's commits stay.

    Attributes:
        keep: so long; None: as each table itself says, or else `SHORTEST`.
        is_forced: whether `keep` may be shorter than `SHORTEST` and than a table itself says.
    """

    keep: dt.timedelta | None = None
    is_forced: bool = False

    def __post_init__(self) -> None:
        """Refuse what would take files from readers of the last week."""
        if self.keep is not None and self.keep < SHORTEST and not self.is_forced:
            raise ConfigError(
                f"--retain below {SHORTEST.days}d takes files from readers that began before, and from --as-of: "
                "add --force if there are none"
            )

    @property
    def span(self) -> dt.timedelta:
        """How long, where no table says something else."""
        return SHORTEST if self.keep is None else self.keep


@dataclass(frozen=True)
class Deleted:
    """What was deleted, or would be.

    Attributes:
        files: data files that no kept version names.
        log_files: commits and checkpoints that no kept version needs.
    """

    files: int
    log_files: int


def clean_up(lake: Lake, tables: Iterable[str], retention: Retention, *, dry_run: bool = False) -> Deleted:
    """Delete files that no version within the retention names, and commits that no such version needs.

    Of our own tables also files of rejected commits; in the folder of somebody else's there may be files of others.
    Tables that aren't there are skipped. Safe beside writers: what they have written and not committed is younger.

    Raises:
        ConfigError: a table itself asks for a longer retention, and nothing was forced.
        StoreUnavailable: the store does not answer or refuses.
    """
    files = log_files = 0
    for name in tables:
        try:
            handle = lake.table(name)
        except LakeNotFound:
            continue
        try:
            files += _vacuum(lake, name, handle, retention, dry_run)
            log_files += _shorten_log(lake, name, handle, retention, dry_run)
        except (OSError, DeltaError) as error:
            raise store_trouble(lake.path(name), error) from error
    return Deleted(files, log_files)


def _vacuum(lake: Lake, name: str, handle: DeltaTable, retention: Retention, dry_run: bool) -> int:
    hours = None if retention.keep is None else max(1, math.ceil(retention.keep.total_seconds() / 3600))
    try:
        deleted = handle.vacuum(
            retention_hours=hours,
            dry_run=dry_run,
            enforce_retention_duration=not retention.is_forced,
            full=lake.is_own,
        )
    except DeltaError as error:
        if "Invalid retention period" not in str(error):
            raise
        raise ConfigError(
            f"{lake.path(name)} itself keeps replaced files longer (delta.deletedFileRetentionDuration): "
            "--retain as long, or add --force"
        ) from error
    return len(deleted)


def _shorten_log(lake: Lake, name: str, handle: DeltaTable, retention: Retention, dry_run: bool) -> int:
    """Delete commits before the newest checkpoint that is older than the retention; return how many files went."""
    configuration = handle.metadata().configuration
    if configuration.get("delta.enableExpiredLogCleanup", "true").lower() == "false":
        return 0
    said = configuration.get(LOG_RETENTION_KEY)
    wanted = interval(retention.span)
    is_to_say = lake.is_own and said != wanted and (said is None or retention.keep is not None)
    before = _log_files(lake, name)
    if dry_run:
        return _expired(before, time.time() - retention.span.total_seconds()) if lake.is_own else 0
    if is_to_say:
        try:
            handle.alter.set_table_properties({LOG_RETENTION_KEY: wanted})
        except CommitFailedError:  # others committed meanwhile: the next run says it
            return 0
        handle.update_incremental()
    handle.cleanup_metadata()
    return len(before.keys() - _log_files(lake, name).keys())


def _log_files(lake: Lake, name: str) -> dict[str, float]:
    """Return the log's files of versions, and when each was written, in seconds since 1970."""
    listed: list[dict[str, Any]] = lake.filesystem().ls(f"{lake.path(name)}/_delta_log", detail=True)
    files = {str(info["name"]).rsplit("/", 1)[-1]: modified_s(info) for info in listed}
    return {file: written for file, written in files.items() if _OF_A_VERSION.match(file)}


def _expired(files: dict[str, float], cutoff: float) -> int:
    """Return how many of the log's files no version since `cutoff` (seconds since 1970) needs."""
    versions = {file: int(file[:20]) for file in files}
    old = [version for file, version in versions.items() if files[file] < cutoff]
    bases = [versions[file] for file in files if _CHECKPOINT.match(file) and versions[file] <= max(old, default=-1)]
    return sum(versions[file] < max(bases, default=0) and files[file] < cutoff for file in files)
