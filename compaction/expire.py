"""Expire bronze: its oldest days leave the table, and which positions they held is kept for `verify`."""

from __future__ import annotations

import datetime as dt
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import pyarrow as pa
from deltalake import DeltaTable

from compaction.delta_log import DataFile, dates_of, live_files
from compaction.ranges import ranges_of
from compaction.replace import replace_files
from compaction.workspace import MEMORY_LIMIT, workspace
from schemas.errors import CommitConflict
from sink.gone import remember
from sink.lake import Lake
from sink.scan import create_view

EXPIRE_KEY: Final = "playlake.expire"
"""Name in `commitInfo` under which an expiry keeps its id."""

_TABLE: Final = "bronze"
_MAX_ATTEMPTS: Final = 12


@dataclass(frozen=True)
class Expired:
    """What an expiry took out of bronze, or would.

    Attributes:
        dates: ingest dates, as ISO text, oldest first.
        files: how many data files.
        rows: their rows; None where the log does not say.
        bytes: their bytes.
        version: bronze's version without them; None when nothing was changed.
    """

    dates: tuple[str, ...]
    files: int
    rows: int | None
    bytes: int
    version: int | None = None


def preview_expire(lake: Lake, before: dt.date) -> Expired:
    """Return what `expire` would take out now; changes nothing. Arguments and errors are those of `expire`."""
    return _described(_old_files(lake, lake.table(_TABLE), before))


def expire(
    lake: Lake,
    before: dt.date,
    *,
    memory_limit: str = MEMORY_LIMIT,
    step: Callable[[str], None] = lambda name: None,
) -> Expired:
    """Take the days before a date out of bronze, in one atomic commit, after their positions were kept.

    Idempotent, and safe to stop at any point: positions that are kept and still in bronze do no harm. Silver,
    quarantine and gold stay. The files themselves are deleted by the vacuum of a later compaction.

    Args:
        lake: where.
        before: ingest dates before this one go.
        memory_limit: DuckDB's, for reading positions.
        step: called with `before expire` (positions kept, nothing gone) and `after expire`: fault points of tests.

    Raises:
        LakeNotFound, IncompatibleLake, StoreUnavailable: as `Lake.table`.
        CommitConflict: others took up its files at every attempt; nothing was changed.
    """
    expire_id = f"{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"
    for _ in range(_MAX_ATTEMPTS):
        handle = lake.table(_TABLE)
        old = _old_files(lake, handle, before)
        if not old:
            return _described(old)
        remember(lake, "expired", _ranges(lake, handle, old, expire_id, memory_limit))
        version = replace_files(
            lake,
            _TABLE,
            old,
            [],
            changes_data=True,
            metadata={EXPIRE_KEY: expire_id},
            before_commit=lambda: step("before expire"),
        )
        if version is not None:
            step("after expire")
            return _described(old, version)
    raise CommitConflict(
        f"{lake.path(_TABLE)} was changed by others at each of {_MAX_ATTEMPTS} tries; nothing was changed: run it again"
    )


def _old_files(lake: Lake, handle: DeltaTable, before: dt.date) -> list[DataFile]:
    files = live_files(handle, lake.path(_TABLE))
    return [file for file in files if file.partition is not None and file.partition < before.isoformat()]


def _ranges(lake: Lake, handle: DeltaTable, old: Sequence[DataFile], expire_id: str, memory_limit: str) -> pa.Table:
    with workspace(lake, memory_limit) as con:
        create_view(con, "going", handle, [file.path for file in old])
        return ranges_of(con, expire_id)


def _described(old: Sequence[DataFile], version: int | None = None) -> Expired:
    rows = [file.rows for file in old]
    return Expired(
        tuple(sorted(dates_of(old))),
        len(old),
        None if None in rows else sum(row or 0 for row in rows),
        sum(file.size for file in old),
        version,
    )
