"""Change or drop some rows of silver in one atomic commit, beside writers, and prove that nothing else changed.

Repair and dedupe are both: plan rows on version N, commit a merge keyed by position, compare what the commit took out
with what it put in. Why a merge, and why its bound: `docs/decisions/010-rewrite-by-bounded-merge.md`.
"""

from __future__ import annotations

import datetime as dt
import json
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import duckdb
import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake.exceptions import CommitFailedError, DeltaError
from deltalake.transaction import AddAction

from compaction.delta_log import Commit, commits, live_files
from compaction.replace import replace_files
from compaction.workspace import workspace
from schemas.errors import CommitConflict, RewriteMismatch
from schemas.tables import POSITION
from sink.lake import Lake, store_trouble, writer_properties
from sink.scan import create_view

REWRITE_KEY: Final = "playlake.rewrite"
"""Name in `commitInfo` under which a rewrite keeps its id."""

_POSITION: Final = tuple(field.name for field in POSITION)
_MAX_ATTEMPTS: Final = 12


@dataclass(frozen=True)
class Plan:
    """The rows that one rewrite changes.

    Attributes:
        rows: position columns, and for an update one column for each column to be set, under its name. Not empty.
        dates: lake partitions that the rows are in now; None is the null partition.
        cutoff: later than the ingest time of each row. Appends of rows from then on don't stop the commit.
        transactions: `txn` entries that the commit is to carry.
    """

    rows: pa.Table
    dates: tuple[dt.date, ...] | None
    cutoff: dt.datetime
    transactions: tuple[Transaction, ...] = ()


@dataclass(frozen=True)
class Rewritten:
    """A rewrite that is in the table: its plan, the version planned on and the version it made."""

    plan: Plan
    planned_on: int
    version: int
    attempts: int


def rewrite(
    lake: Lake,
    make_plan: Callable[[DeltaTable, dt.datetime | None], Plan | None],
    *,
    what: str,
    rewrite_id: str,
    sets: Mapping[str, str] | None,
    pause: Callable[[int], None] | None = None,
    step: Callable[[str], None] = lambda name: None,
) -> Rewritten | None:
    """Plan and commit; when others' commits refuse it, reload, plan anew and try again.

    Args:
        lake: whose silver table is rewritten.
        make_plan: called with a handle and a time; returns the plan on that version, for rows ingested before that time
            only (None: all), or None when there is nothing to do.
        what: `repair` or `dedupe`, for `step`.
        rewrite_id: unique; kept in the commit.
        sets: for an update, silver's column → SQL over `t` (the table) and `s` (the plan's rows); None deletes.
        pause: waits before the next attempt; None is a jittered, growing moment.
        step: called with `before repair` (planned, not committed) and `after repair`: fault points of tests.

    Returns:
        What was done, or None when the plan was empty.

    Raises:
        CommitConflict: refused at every attempt; nothing was changed.
        RewriteMismatch: the commit was not what was planned; it was undone.
        StoreUnavailable: the store does not answer. The commit may have landed; running again is safe.
    """
    before: dt.datetime | None = None
    for attempt in range(_MAX_ATTEMPTS):
        handle = lake.table("silver")
        planned_on = handle.version()
        plan = make_plan(handle, before)
        if plan is None and before is None:
            return None
        if plan is None:  # what came in meanwhile is older than all that was planned: a clock far behind
            before = None
            continue
        step(f"before {what}")
        try:
            _commit(lake, handle, plan, rewrite_id, sets)
        except CommitFailedError:
            before = _earliest_arrival(lake, plan, planned_on)
            (pause or _pause)(attempt)
            continue
        except (OSError, DeltaError) as error:
            raise store_trouble(lake.path("silver"), error) from error
        step(f"after {what}")
        commit = _find(lake, rewrite_id, planned_on)
        difference = _difference(lake, planned_on, commit, plan, tuple(sets) if sets is not None else None)
        if difference:
            revert(lake, commit, planned_on)
            raise RewriteMismatch(
                f"version {commit.version} of {lake.path('silver')} did not hold what was planned ({difference}); "
                "it was undone, no row is lost; please report this"
            )
        return Rewritten(plan, planned_on, commit.version, attempt + 1)
    raise CommitConflict(
        f"{lake.path('silver')} was changed by others at each of {_MAX_ATTEMPTS} tries; nothing was changed: "
        "run it again when fewer jobs rewrite this lake"
    )


def revert(lake: Lake, commit: Commit, planned_on: int) -> None:
    """Take one rewrite's commit back, and nothing that others committed after it.

    Its files go, the files that it took come back. Only possible while the files that it added are live.

    Raises:
        CommitConflict: another rewrite or a compaction has already taken up its files; the message says how to go on.
    """
    root = lake.path("silver")
    rows = {file.path: file.rows for file in live_files(lake.table("silver", planned_on), root)}
    now_ms = int(time.time() * 1000)
    back = [
        AddAction(
            file.path.removeprefix(f"{root}/"),
            file.size,
            {"event_date": file.partition},
            now_ms,
            True,
            json.dumps({"numRecords": rows[file.path]}),
        )
        for file in commit.removed
    ]
    if replace_files(lake, "silver", commit.added, back, changes_data=True) is not None:
        return
    raise CommitConflict(
        f"version {commit.version} of {root} did not hold what was planned, and other commits have built on it: "
        f"stop the jobs that write it and restore version {commit.version - 1} by hand"
    )


def _commit(
    lake: Lake,
    handle: DeltaTable,
    plan: Plan,
    rewrite_id: str,
    sets: Mapping[str, str] | None,
) -> None:
    if plan.dates is None:
        where = "t.event_date IS NULL"
    else:
        where = "t.event_date IN (" + ", ".join(f"date '{date}'" for date in plan.dates) + ")"
    # delta-rs keeps the part that names only the target as the commit's read predicate, and prunes by it the files of
    # concurrent commits: their statistics must show that they are later.
    cutoff = plan.cutoff.astimezone(dt.UTC).replace(tzinfo=None).isoformat(timespec="microseconds")
    bound = f"t.ingest_timestamp < timestamp '{cutoff}Z'"
    same = " AND ".join(f"t.{name} = s.{name}" for name in _POSITION)
    merger = handle.merge(
        plan.rows,
        f"{where} AND {bound} AND {same}",
        source_alias="s",
        target_alias="t",
        writer_properties=writer_properties("silver"),
        commit_properties=CommitProperties(
            custom_metadata={REWRITE_KEY: rewrite_id}, app_transactions=list(plan.transactions) or None
        ),
    )
    if sets is None:
        merger.when_matched_delete().execute()
    else:
        merger.when_matched_update(dict(sets)).execute()


def _find(lake: Lake, rewrite_id: str, planned_on: int) -> Commit:
    newest = lake.table("silver").version()
    return next(c for c in commits(lake, "silver", planned_on, newest) if c.info.get(REWRITE_KEY) == rewrite_id)


def _earliest_arrival(lake: Lake, plan: Plan, planned_on: int) -> dt.datetime | None:
    """Return the least ingest time that others appended to the plan's lake partitions since it was planned."""
    handle = lake.table("silver")
    wanted = {None} if plan.dates is None else {str(date) for date in plan.dates}
    arrived = {
        file.path
        for commit in commits(lake, "silver", planned_on, handle.version())
        if commit.changes_data and not commit.removed
        for file in commit.added
        if file.partition in wanted
    }
    earliest = pa.table(handle.get_add_actions(flatten=True)).to_pylist()
    files = live_files(handle, lake.path("silver"))
    times = [
        action["min.ingest_timestamp"]
        for file, action in zip(files, earliest, strict=True)
        if file.path in arrived and action.get("min.ingest_timestamp") is not None
    ]
    return min(times, default=None)


def _difference(lake: Lake, planned_on: int, commit: Commit, plan: Plan, sets: tuple[str, ...] | None) -> str:
    """Compare what a commit took out with what it put in; return what is wrong, or nothing.

    Rows outside of the plan must be the same in every column; planned rows in every column that is not set (sums of
    row hashes, so that order does not matter), and set columns must hold the plan's values.
    """
    handle = lake.table("silver", planned_on)
    with workspace(lake) as con:
        con.register("plan", plan.rows)
        took = _fingerprint(con, handle, [file.path for file in commit.removed], sets)
        put = _fingerprint(con, handle, [file.path for file in commit.added], sets)
    planned = plan.rows.num_rows
    if took[False].all_columns != put[False].all_columns:
        return f"rows outside of the plan: {took[False].rows} before, {put[False].rows} after, or changed"
    if took[True].rows != planned:
        return f"{planned} rows planned, {took[True].rows} taken"
    if sets is None:
        return f"{put[True].rows} of the rows to delete remain" if put[True].rows else ""
    if put[True].rows != planned:
        return f"{planned} rows planned, {put[True].rows} written"
    if took[True].unset_columns != put[True].unset_columns:
        return "a column changed that was not to be set"
    return "" if put[True].as_planned == planned else f"{planned - put[True].as_planned} rows hold other values"


@dataclass(frozen=True)
class _Fingerprint:
    rows: int
    all_columns: Any
    unset_columns: Any
    as_planned: int


def _fingerprint(
    con: duckdb.DuckDBPyConnection, handle: DeltaTable, files: list[str], sets: tuple[str, ...] | None
) -> dict[bool, _Fingerprint]:
    create_view(con, "side", handle, files)
    names = [field.name for field in handle.schema().fields]
    every = ", ".join(f'side."{name}"' for name in names)
    unset = ", ".join(f'side."{name}"' for name in names if name not in (sets or ()))
    planned_columns = [row[0] for row in con.execute("describe plan").fetchall()]
    as_planned = " and ".join(
        f'side."{name}" is not distinct from plan."{name}"' for name in sets or () if name in planned_columns
    )
    found = con.execute(
        f"select plan.kafka_offset is not null, count(*), sum(hash({every})), sum(hash({unset})), "  # noqa: S608
        f"count(*) filter ({as_planned or 'true'}) "
        f"from side left join plan using ({', '.join(_POSITION)}) group by 1"
    ).fetchall()
    nothing = _Fingerprint(0, None, None, 0)
    return {False: nothing, True: nothing} | {row[0]: _Fingerprint(*row[1:]) for row in found}


def _pause(attempt: int) -> None:
    time.sleep(random.uniform(0, min(0.05 * 2**attempt, 2.0)))  # noqa: S311  # jitter, no secret
