"""Repair of the null partition: rows written without a usable event time get one, and move under its date.

Where a time may be found is said by `repair.toml`, and read by `repair.sql`; the commit is `compaction.rewrite`'s.
"""

from __future__ import annotations

import datetime as dt
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final

import duckdb
import pyarrow as pa
from deltalake import DeltaTable

from compaction.delta_log import live_files
from compaction.repair_rules import RepairRules, shipped_rules, time_sql
from compaction.rewrite import Plan, rewrite
from schemas.errors import ConfigError
from sink.lake import Lake
from sink.scan import connect, create_view

_HELD: Final = "held:"
"""Before the id in `repair_id` of rows whose repair was undone; `repair.sql` knows it, too."""


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
    """One line of a preview: so many rows would get this date, from this source; or would stay, and why.

    Attributes:
        event_date: the date that they would get; None: they would stay.
        event_date_source: `payload` or `broker`.
        found_in: the field and how it was read.
        why_not: why they would stay: `no usable time`, or `held` after an undone repair.
        rows: how many.
        sample: one of the rows: position, the time it would get, its payload's beginning.
    """

    event_date: dt.date | None
    event_date_source: str | None
    found_in: str | None
    why_not: str | None
    rows: int
    sample: Mapping[str, Any]


@dataclass(frozen=True)
class Undone:
    """What an undo or a release did.

    Attributes:
        rows: how many it changed.
        version: silver's version that holds it.
    """

    rows: int
    version: int


def preview(lake: Lake, rules: RepairRules | None = None) -> list[Outlook]:
    """Return what a repair would do now, by date, source and field; changes nothing.

    Raises:
        LakeNotFound, IncompatibleLake, StoreUnavailable: as `Lake.table`.
    """
    con = connect(lake)
    _create_plan(con, lake, lake.table("silver"), rules or shipped_rules())
    groups = con.execute(
        "select event_date, event_date_source, found_in, why_not, count(*), "
        "min_by(struct_pack(topic, kafka_partition, kafka_offset, event_timestamp, payload := raw_payload[:200]), "
        "(topic, kafka_partition, kafka_offset)) "
        "from repair_plan group by 1, 2, 3, 4 order by 1, 2, 3, 4"
    ).fetchall()
    return [Outlook(*group) for group in groups]


def repair(
    lake: Lake,
    rules: RepairRules | None = None,
    *,
    now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
    step: Callable[[str], None] = lambda name: None,
) -> Repaired:
    """Give the null partition's rows their event time, in one atomic commit.

    Idempotent: a second run finds nothing to do. Rows appended meanwhile are left to the next run; rows without any
    usable time stay, and those whose repair was undone. `event_ts`, `warnings`, `quality_score` and `raw_payload` stay
    as the worker wrote them.

    Args:
        lake: where.
        rules: where times come from; None: those that ship.
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
        plan = _plan(lake, handle, rules or shipped_rules(), repair_id)
        return plan

    done = rewrite(lake, make_plan, what="repair", rewrite_id=repair_id, step=step)
    silver = lake.table("silver")
    left = sum(file.rows or 0 for file in live_files(silver, lake.path("silver")) if file.partition is None)
    if done is None or plan is None:
        return Repaired(None, {}, left, None, 0)
    counts = plan.rows.group_by("event_date_source", use_threads=False).aggregate([([], "count_all")])
    rows = {row["event_date_source"]: row["count_all"] for row in counts.to_pylist()}
    return Repaired(repair_id, rows, left, done.version, done.attempts)


def undo(lake: Lake, repair_id: str, *, step: Callable[[str], None] = lambda name: None) -> Undone:
    """Take one repair back, in one atomic commit, whatever was appended, repaired or compacted since.

    Its rows leave their dates for the null partition as the worker wrote them, but for `repair_id`, which says `held:`
    and the id: later repairs leave them alone until `release`. Rows that dedupe has dropped since stay dropped.

    Raises:
        ConfigError: no row has that id.
        LakeNotFound, IncompatibleLake, StoreUnavailable, CommitConflict, RewriteMismatch: as `repair`.
    """
    sets = (
        "cast(null as timestamptz) as event_timestamp, cast(null as date) as event_date, "
        "'null' as event_date_source, $held as repair_id"
    )
    return _mark(lake, repair_id, sets, {"id": repair_id, "held": f"{_HELD}{repair_id}"}, "undo", step)


def release(lake: Lake, repair_id: str, *, step: Callable[[str], None] = lambda name: None) -> Undone:
    """Let the next repair have the rows that an undone one holds.

    Raises:
        ConfigError: no row is held for that id.
        LakeNotFound, IncompatibleLake, StoreUnavailable, CommitConflict, RewriteMismatch: as `repair`.
    """
    sets = "cast(null as varchar) as repair_id"
    return _mark(lake, f"{_HELD}{repair_id}", sets, {"id": f"{_HELD}{repair_id}"}, "release", step)


def _mark(
    lake: Lake, marked: str, sets: str, parameters: Mapping[str, str], what: str, step: Callable[[str], None]
) -> Undone:
    def make_plan(handle: DeltaTable) -> Plan | None:
        con = connect(lake)
        create_view(con, "silver", handle, _files_with(lake, handle, marked), with_places=True)
        rows: pa.Table = con.sql(
            f"select file, row, {sets} from silver where repair_id = $id",  # noqa: S608  # our own text
            params=dict(parameters),
        ).to_arrow_table()
        return Plan(rows) if rows.num_rows else None

    done = rewrite(lake, make_plan, what=what, rewrite_id=f"{what}-{marked}-{secrets.token_hex(4)}", step=step)
    if done is None:
        raise ConfigError(
            f"no row of {lake.path('silver')} has repair_id {marked!r}: "
            "the column repair_id of silver says which there are"
        )
    return Undone(done.rows, done.version)


def _files_with(lake: Lake, handle: DeltaTable, repair_id: str) -> list[str]:
    """Return the files whose statistics don't rule the id out."""
    actions = pa.table(handle.get_add_actions(flatten=True)).to_pylist()
    files = live_files(handle, lake.path("silver"))
    return [
        file.path
        for file, action in zip(files, actions, strict=True)
        if (action.get("min.repair_id") or repair_id) <= repair_id <= (action.get("max.repair_id") or repair_id)
        and action.get("null_count.repair_id") != file.rows
    ]


def _plan(lake: Lake, handle: DeltaTable, rules: RepairRules, repair_id: str) -> Plan | None:
    con = connect(lake)
    if not _create_plan(con, lake, handle, rules):
        return None
    rows: pa.Table = con.sql(
        "select file, row, event_timestamp, event_date, event_date_source, $repair_id as repair_id from repair_plan "
        "where event_timestamp is not null",
        params={"repair_id": repair_id},
    ).to_arrow_table()
    return Plan(rows) if rows.num_rows else None


def _create_plan(con: duckdb.DuckDBPyConnection, lake: Lake, handle: DeltaTable, rules: RepairRules) -> bool:
    """Create the table `repair_plan` on the handle's version; return whether the null partition has rows at all."""
    undated = [file.path for file in live_files(handle, lake.path("silver")) if file.partition is None]
    create_view(con, "silver", handle, undated, with_places=True)
    times = ", ".join(time_sql(source, rules.plausible) for source in rules.source)
    query = files("compaction").joinpath("repair.sql").read_text(encoding="utf-8")
    query = query.replace("$times$", times).replace("$ahead$", rules.plausible.ahead_sql)
    con.execute(f"create or replace temp table repair_plan as {query}")
    return bool(undated)
