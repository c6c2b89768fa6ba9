"""Repair of the null partition: rows written without a usable event time get one, and move under its date.

The times are read by `repair.sql`; the commit is `compaction.rewrite`'s.
"""

from __future__ import annotations

import datetime as dt
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import duckdb
import pyarrow as pa
from deltalake import DeltaTable

from compaction.delta_log import live_files
from compaction.rewrite import Plan, rewrite
from sink.lake import Lake
from sink.scan import connect, create_view


@dataclass(frozen=True)
class Repaired:
    """What one repair did.

    Attributes:
        repair_id: in each row's `repair_id`; None when there was nothing to repair.
        rows: per `event_date_source` (`payload`, `broker`), rows that left the null partition.
        left: rows that stay in the null partition, since no time of theirs is usable or they came in meanwhile.
        version: silver's version that holds it; None when there was nothing to repair.
        attempts: commits tried, the last one successful.
    """

    repair_id: str | None
    rows: Mapping[str, int]
    left: int
    version: int | None
    attempts: int

    @property
    def total(self) -> int:
        """Rows that left the null partition."""
        return sum(self.rows.values())


@dataclass(frozen=True)
class Outlook:
    """One line of a preview: so many rows would get this date, from this source; date and source None: no usable time.

    Attributes:
        event_date: the date that they would get.
        event_date_source: `payload` or `broker`.
        found_in: the field and how it was read.
        rows: how many.
        sample: one of the rows: position, the time it would get, its payload's beginning.
    """

    event_date: dt.date | None
    event_date_source: str | None
    found_in: str | None
    rows: int
    sample: Mapping[str, Any]


def preview(lake: Lake) -> list[Outlook]:
    """Return what a repair would do now, by date, source and field; changes nothing.

    Raises:
        LakeNotFound, IncompatibleLake, StoreUnavailable: as `Lake.table`.
    """
    con = connect(lake)
    _create_plan(con, lake, lake.table("silver"))
    groups = con.execute(
        "select event_date, event_date_source, found_in, count(*), "
        "min_by(struct_pack(topic, kafka_partition, kafka_offset, event_timestamp, payload := raw_payload[:200]), "
        "(topic, kafka_partition, kafka_offset)) "
        "from repair_plan group by 1, 2, 3 order by 1, 2, 3"
    ).fetchall()
    return [Outlook(*group) for group in groups]


def repair(
    lake: Lake,
    *,
    now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
    step: Callable[[str], None] = lambda name: None,
) -> Repaired:
    """Give the null partition's rows their event time, in one atomic commit.

    Idempotent: a second run finds nothing to do. Rows appended meanwhile are left to the next run; rows without any
    usable time stay. `event_ts`, `warnings`, `quality_score` and `raw_payload` stay as the worker wrote them.

    Args:
        lake: where.
        now: clock for the repair's id.
        step: fault points, see `compaction.rewrite.rewrite`.

    Raises:
        LakeNotFound, IncompatibleLake, StoreUnavailable: as `Lake.table`.
        CommitConflict: other commits refused it at every attempt; nothing was changed.
        RewriteMismatch: what was written is not what was planned; nothing was changed.
    """
    repair_id = f"{now():%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"
    plan: Plan | None = None

    def make_plan(handle: DeltaTable) -> Plan | None:
        nonlocal plan
        plan = _plan(lake, handle, repair_id)
        return plan

    done = rewrite(lake, make_plan, what="repair", rewrite_id=repair_id, step=step)
    silver = lake.table("silver")
    left = sum(file.rows or 0 for file in live_files(silver, lake.path("silver")) if file.partition is None)
    if done is None or plan is None:
        return Repaired(None, {}, left, None, 0)
    counts = plan.rows.group_by("event_date_source", use_threads=False).aggregate([([], "count_all")])
    rows = {row["event_date_source"]: row["count_all"] for row in counts.to_pylist()}
    return Repaired(repair_id, rows, left, done.version, done.attempts)


def _plan(lake: Lake, handle: DeltaTable, repair_id: str) -> Plan | None:
    con = connect(lake)
    if not _create_plan(con, lake, handle):
        return None
    rows: pa.Table = con.sql(
        "select file, row, event_timestamp, event_date, event_date_source, $repair_id as repair_id from repair_plan "
        "where event_timestamp is not null",
        params={"repair_id": repair_id},
    ).to_arrow_table()
    return Plan(rows) if rows.num_rows else None


def _create_plan(con: duckdb.DuckDBPyConnection, lake: Lake, handle: DeltaTable) -> bool:
    """Create the table `repair_plan` on the handle's version; return whether the null partition has rows at all."""
    undated = [file.path for file in live_files(handle, lake.path("silver")) if file.partition is None]
    create_view(con, "silver", handle, undated, with_places=True)
    macro, query = files("compaction").joinpath("repair.sql").read_text(encoding="utf-8").split(";\n", 1)
    con.execute(macro)
    con.execute(f"create or replace temp table repair_plan as {query}")
    return bool(undated)
