"""Repair of the null partition: rows written without a usable event time get one, and move under its date.

With `implausible` also rows whose date can't be right. Of the table of events: silver, or one of somebody else's.

Where a time may be found is said by `repair.toml`, and read by `repair.sql`; the commit is `compaction.rewrite`'s.
"""

from __future__ import annotations

import datetime as dt
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import duckdb
import pyarrow as pa
from deltalake import DeltaTable

from compaction.delta_log import live_files
from compaction.marks import (
    EVENT_DATE_BEFORE,
    EVENT_DATE_SOURCE,
    EVENT_TIME_BEFORE,
    REPAIR_ID,
    missing_marks,
    repair_columns,
    require_repairable,
)
from compaction.repair_rules import RepairRules, implausible_sql, own_time_sql, shipped_rules, time_sql
from compaction.rewrite import Plan, rewrite
from sink.columns import add_columns
from sink.lake import Lake
from sink.scan import connect, create_view, duckdb_types, quoted


@dataclass(frozen=True)
class Repaired:
    """What one repair did.

    Attributes:
        repair_id: in each row's `repair_id`; None when there was nothing to repair.
        rows: per `event_date_source` (`payload`, `broker`, `event_time`), rows that got a date.
        left: rows that stay in the null partition, since no time of theirs is usable or they came in meanwhile.
        version: the table's version that holds it; None when there was nothing to repair.
        attempts: commits tried, the last one successful.
    """

    repair_id: str | None
    rows: Mapping[str, int]
    left: int
    version: int | None
    attempts: int

    @property
    def total(self) -> int:
        """Rows that got a date."""
        return sum(self.rows.values())


@dataclass(frozen=True)
class Outlook:
    """One line of a preview: so many rows would get this date, from this source; or would stay, and why.

    Attributes:
        event_date: the date that they would get; None: they would stay.
        event_date_source: `payload`, `broker`, or `event_time`, which is the table's own column.
        found_in: the field and how it was read.
        why_not: why they would stay: `no usable time`, or `held` after an undone repair.
        event_date_before: the date that they have; None: they are in the null partition.
        rows: how many.
        sample: one of the rows: place, the time it would get, its payload's beginning.
    """

    event_date: dt.date | None
    event_date_source: str | None
    found_in: str | None
    why_not: str | None
    event_date_before: dt.date | str | None
    rows: int
    sample: Mapping[str, Any]


@dataclass(frozen=True)
class _Task:
    rules: RepairRules
    implausible: bool
    now: dt.datetime


def preview(
    lake: Lake,
    rules: RepairRules | None = None,
    *,
    implausible: bool = False,
    now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
) -> list[Outlook]:
    """Return what a repair would do now, by date, source and field; changes nothing.

    Args:
        lake: where.
        rules: where times come from; None: those that ship.
        implausible: whether rows count whose date can't be right, too.
        now: clock, for what is plausible in a table without a broker's time.

    Raises:
        LakeNotFound, IncompatibleLake, StoreUnavailable: as `Lake.table`.
    """
    con = connect(lake)
    _create_plan(con, lake, lake.table(lake.events.name), _Task(rules or shipped_rules(), implausible, now()))
    groups = con.execute(
        "select event_date, event_date_source, found_in, why_not, event_date_before, count(*), "
        "min_by(struct_pack(place, event_time, payload := raw[:200]), place) "
        "from repair_plan group by 1, 2, 3, 4, 5 order by 1, 2, 3, 4, 5"
    ).fetchall()
    return [Outlook(*group) for group in groups]


def columns_to_add(lake: Lake, *, implausible: bool = False) -> list[str]:
    """Return the columns that the next repair would add to the table, beside changing rows.

    Raises:
        ConfigError: the table has some of these names for columns of its own.
        LakeNotFound, IncompatibleLake, StoreUnavailable: as `Lake.table`.
    """
    return [field.name for field in missing_marks(lake, lake.table(lake.events.name), implausible=implausible)]


def repair(
    lake: Lake,
    rules: RepairRules | None = None,
    *,
    implausible: bool = False,
    now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
    step: Callable[[str], None] = lambda name: None,
) -> Repaired:
    """Give the null partition's rows their event time, in one atomic commit.

    Idempotent: a second run finds nothing to do. Rows appended meanwhile are left to the next run; rows without any
    usable time stay, and those whose repair was undone. `event_ts`, `warnings`, `quality_score` and `raw_payload` stay
    as the worker wrote them. Columns that a table still lacks for this are added first, by a commit of their own.

    Args:
        lake: where.
        rules: where times come from; None: those that ship.
        implausible: whether rows get another date, too, whose date can't be right by the rules' `[plausible]`.
        now: clock for the repair's id, and for what is plausible in a table without a broker's time.
        step: fault points, see `compaction.rewrite.rewrite`.

    Raises:
        LakeNotFound, IncompatibleLake, StoreUnavailable: as `Lake.table`.
        ConfigError: rows of this table must not be changed, or a column of its own has the name of one of ours.
        CommitConflict: other commits refused it at every attempt; nothing was changed.
        RewriteMismatch: what was written is not what was planned; nothing was changed.
    """
    require_repairable(lake)
    table = lake.events.name
    started = now()
    repair_id = f"{started:%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"
    task = _Task(rules or shipped_rules(), implausible, started)
    plan: Plan | None = None

    def make_plan(handle: DeltaTable) -> Plan | None:
        nonlocal plan
        plan = _plan(lake, handle, task, repair_id)
        return plan

    handle = lake.table(table)
    missing = missing_marks(lake, handle, implausible=implausible)
    if missing and _has_work(lake, handle, task):
        add_columns(handle, missing)
        missing = []
    done = None if missing else rewrite(lake, make_plan, what="repair", rewrite_id=repair_id, step=step)
    handle = lake.table(table)
    left = sum(file.rows or 0 for file in live_files(handle, lake.path(table)) if file.partition is None)
    if done is None or plan is None:
        return Repaired(None, {}, left, None, 0)
    counts = plan.rows.group_by("event_date_source", use_threads=False).aggregate([([], "count_all")])
    rows = {row["event_date_source"]: row["count_all"] for row in counts.to_pylist()}
    return Repaired(repair_id, rows, left, done.version, done.attempts)


def _has_work(lake: Lake, handle: DeltaTable, task: _Task) -> bool:
    con = connect(lake)
    _create_plan(con, lake, handle, task)
    return bool(con.execute("select count(event_time) from repair_plan").fetchall()[0][0])


def _plan(lake: Lake, handle: DeltaTable, task: _Task, repair_id: str) -> Plan | None:
    con = connect(lake)
    _create_plan(con, lake, handle, task)
    columns = repair_columns(lake)
    types = duckdb_types(con, pa.schema(handle.schema().to_arrow()))
    values = {lake.events.partition_by: "event_date", EVENT_DATE_SOURCE: EVENT_DATE_SOURCE, REPAIR_ID: "$repair_id"}
    if columns.is_set:
        values[columns.event_time] = "event_time"
    values |= {name: name for name in (EVENT_TIME_BEFORE, EVENT_DATE_BEFORE) if name in types}
    sets = ", ".join(f"cast({value} as {types[name]}) as {quoted(name)}" for name, value in values.items())
    rows: pa.Table = con.sql(
        f"select _file, _row, {sets} from repair_plan where event_time is not null",  # noqa: S608  # our own text
        params={"repair_id": repair_id},
    ).to_arrow_table()
    return Plan(rows) if rows.num_rows else None


def _create_plan(con: duckdb.DuckDBPyConnection, lake: Lake, handle: DeltaTable, task: _Task) -> None:
    """Create the table `repair_plan` on the handle's version."""
    spec, columns = lake.events, repair_columns(lake)
    root = lake.path(spec.name)
    wanted = [file.path for file in live_files(handle, root) if task.implausible or file.partition is None]
    create_view(con, "events", handle, wanted, with_places=True)
    schema = pa.schema(handle.schema().to_arrow())
    plausible = task.rules.plausible
    sources = [source for source in task.rules.source if not source.broker or columns.broker_time is not None]
    times = [own_time_sql(columns.event_time, plausible)] if columns.is_source else []
    times += [time_sql(source, plausible) for source in sources]
    kind = duckdb_types(con, schema)[columns.event_time]
    texts = {
        "place": "concat(topic, '[', kafka_partition, '] offset ', kafka_offset)" if lake.is_own else _place_sql(root),
        "event_time": f"cast({quoted(columns.event_time)} as {kind})",
        "event_date": quoted(spec.partition_by),
        "raw": _column(columns.raw, "varchar"),
        "sent": _column(columns.sent, "double"),
        "broker_time": _column(columns.broker_time, "timestamptz"),
        "ingest_time": _column(columns.ingest_time, "timestamptz"),
        "repair_id": _column(REPAIR_ID if REPAIR_ID in schema.names else None, "varchar"),
        "now": f"timestamptz '{task.now.astimezone(dt.UTC):%Y-%m-%d %H:%M:%S+00}'",
        "ahead": plausible.ahead_sql,
        "is_implausible": implausible_sql(plausible) if task.implausible else "false",
        "times": ", ".join(times) or "null",
    }
    query = files("compaction").joinpath("repair.sql").read_text(encoding="utf-8")
    query = re.sub(r"\$(\w+)\$", lambda name: texts[name[1]], re.sub(r"(?m)^--.*\n", "", query))
    con.execute(f"create or replace temp table repair_plan as {query}")


def _column(name: str | None, kind: str) -> str:
    return f"cast(null as {kind})" if name is None else quoted(name)


def _place_sql(root: str) -> str:
    folder = root.replace("'", "''")
    return f"concat(replace(_file, '{folder}/', ''), ' row ', _row)"
