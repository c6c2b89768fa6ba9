"""Dedupe: of silver's rows that share an event_id, the first stays.

What repeats what is said by `gold/_repeats.sql`, which gold uses, too; the commit is `compaction.rewrite`'s.
"""

from __future__ import annotations

import datetime as dt
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

import pyarrow as pa
from deltalake import DeltaTable, Transaction
from deltalake.exceptions import CommitFailedError, DeltaError

from compaction.delta_log import LogGone, commits, dates_of, live_files
from compaction.rewrite import REWRITE_KEY, Plan, rewrite
from compaction.workspace import MEMORY_LIMIT, workspace
from schemas.tables import POSITION
from sink.lake import Lake, append, store_trouble
from sink.scan import create_view

DEDUPE_WINDOW_DAYS: Final = 3
"""Days between two dates up to which an event_id on both is one event; `gold/_repeats.sql` says the same."""

_TXN: Final = "playlake.dedupe"
_ID_PREFIX: Final = "dedupe-"


@dataclass(frozen=True)
class Deduped:
    """What one dedupe did.

    Attributes:
        rows: repeats that were dropped.
        dates: dates that were looked at, those within the window of a changed date included.
        version: silver's version without the repeats; None when there were none.
        attempts: commits tried, the last one successful.
    """

    rows: int
    dates: int
    version: int | None
    attempts: int


def dedupe(
    lake: Lake,
    *,
    now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
    memory_limit: str = MEMORY_LIMIT,
    step: Callable[[str], None] = lambda name: None,
) -> Deduped:
    """Drop rows that repeat an event_id, in one atomic commit; look only where rows changed since the last time.

    How far it has looked is a `txn` of silver, so a second run reads nothing. The null partition is left alone: its
    rows have no date to compare, and get one by repair.

    Args:
        lake: where.
        now: clock for the commit's id.
        memory_limit: DuckDB's, for the plan.
        step: fault points, see `compaction.rewrite.rewrite`.

    Raises:
        LakeNotFound, IncompatibleLake, StoreUnavailable: as `Lake.table`.
        CommitConflict: other commits refused it at every attempt; nothing was dropped.
        RewriteMismatch: what was written is not what was planned; nothing was changed.
    """
    looked_at: list[int] = [0]

    def make_plan(handle: DeltaTable) -> Plan | None:
        dates = _dates_to_read(lake, handle)
        looked_at[0] = len(dates)
        return _plan(lake, handle, dates, memory_limit) if dates else None

    rewrite_id = f"{_ID_PREFIX}{now():%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"
    handle = lake.table("silver")
    done = rewrite(lake, make_plan, what="dedupe", rewrite_id=rewrite_id, step=step)
    if done is None:
        if looked_at[0]:
            _remember(lake, handle)
        return Deduped(0, looked_at[0], None, 0)
    return Deduped(done.rows, looked_at[0], done.version, done.attempts)


def count_repeats(lake: Lake, *, memory_limit: str = MEMORY_LIMIT) -> int:
    """Return how many rows a dedupe would drop now; changes nothing."""
    handle = lake.table("silver")
    dates = _dates_to_read(lake, handle)
    plan = _plan(lake, handle, dates, memory_limit) if dates else None
    return plan.rows.num_rows if plan else 0


def _dates_to_read(lake: Lake, handle: DeltaTable) -> list[str]:
    """Return the dates that changed since the last dedupe and those within the window of one."""
    existing = sorted(dates_of(live_files(handle, lake.path("silver"))))
    last = handle.transaction_version(_TXN)
    if last is None or last > handle.version():
        return existing
    try:
        since = commits(lake, "silver", last, handle.version())
    except LogGone:
        return existing
    changed = {
        dt.date.fromisoformat(date)
        for commit in since
        if commit.changes_data and not str(commit.info.get(REWRITE_KEY, "")).startswith(_ID_PREFIX)
        for date in dates_of(commit.touched)
    }
    window = range(-DEDUPE_WINDOW_DAYS, DEDUPE_WINDOW_DAYS + 1)
    near = {str(date + dt.timedelta(days=days)) for date in changed for days in window}
    return [date for date in existing if date in near]


def _plan(lake: Lake, handle: DeltaTable, dates: list[str], memory_limit: str) -> Plan | None:
    wanted = set(dates)
    near = [file.path for file in live_files(handle, lake.path("silver")) if file.partition in wanted]
    with workspace(lake, memory_limit) as con:
        create_view(con, "silver", handle, near, with_places=True)
        con.register("wanted", pa.table({"event_date": pa.array(map(dt.date.fromisoformat, dates), pa.date32())}))
        con.execute(f"create temp table repeats as {files('compaction').joinpath('gold/_repeats.sql').read_text()}")
        position = ", ".join(field.name for field in POSITION)
        rows: pa.Table = con.sql(
            f"select _file, _row from silver semi join repeats using ({position}, event_date)"  # noqa: S608
        ).to_arrow_table()
    return Plan(rows, (Transaction(_TXN, handle.version()),)) if rows.num_rows else None


def _remember(lake: Lake, handle: DeltaTable) -> None:
    """Keep how far was looked. Only saves work next time, so losing a race to another dedupe is fine."""
    try:
        append(handle, [], [Transaction(_TXN, handle.version())])
    except CommitFailedError:
        return
    except (OSError, DeltaError) as error:
        raise store_trouble(lake.path("silver"), error) from error
