"""Take a repair back, and let its rows be repaired again."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pyarrow as pa
from deltalake import DeltaTable

from compaction.delta_log import live_files
from compaction.marks import (
    EVENT_DATE_BEFORE,
    EVENT_DATE_SOURCE,
    EVENT_TIME_BEFORE,
    HELD,
    REPAIR_ID,
    repair_columns,
    require_repairable,
    require_same_event_time,
)
from compaction.rewrite import Plan, rewrite
from schemas.errors import ConfigError
from sink.lake import Lake
from sink.scan import connect, create_view, duckdb_types, quoted


@dataclass(frozen=True)
class Undone:
    """What an undo or a release did.

    Attributes:
        rows: how many it changed.
        version: the table's version that holds it.
    """

    rows: int
    version: int


def undo(lake: Lake, repair_id: str, *, step: Callable[[str], None] = lambda name: None) -> Undone:
    """Take one repair back, in one atomic commit, whatever was appended, repaired or compacted since.

    Its rows leave their dates for where they were, as they were, but for `repair_id`, which says `held:` and the id:
    later repairs leave them alone until `release`. Rows that dedupe has dropped since stay dropped.

    Raises:
        ConfigError: no row has that id.
        LakeNotFound, IncompatibleLake, StoreUnavailable, CommitConflict, RewriteMismatch: as `repair`.
    """

    def sets(columns: Mapping[str, str]) -> dict[str, str]:
        before = {name: name if name in columns else "null" for name in (EVENT_TIME_BEFORE, EVENT_DATE_BEFORE)}
        back = {lake.events.partition_by: before[EVENT_DATE_BEFORE], REPAIR_ID: "$held"}
        if repair_columns(lake).is_set:
            back[repair_columns(lake).event_time] = before[EVENT_TIME_BEFORE]
        back[EVENT_DATE_SOURCE] = "null"
        if lake.is_own:  # as the worker writes it
            back[EVENT_DATE_SOURCE] = f"case when {before[EVENT_DATE_BEFORE]} is null then 'null' else 'event_ts' end"
        return back | {name: "null" for name in before if name in columns}

    return _mark(lake, repair_id, sets, {"id": repair_id, "held": f"{HELD}{repair_id}"}, "undo", step)


def release(lake: Lake, repair_id: str, *, step: Callable[[str], None] = lambda name: None) -> Undone:
    """Let the next repair have the rows that an undone one holds.

    Raises:
        ConfigError: no row is held for that id.
        LakeNotFound, IncompatibleLake, StoreUnavailable, CommitConflict, RewriteMismatch: as `repair`.
    """
    held = f"{HELD}{repair_id}"
    return _mark(lake, held, lambda columns: {REPAIR_ID: "null"}, {"id": held}, "release", step)


def _mark(
    lake: Lake,
    marked: str,
    make_sets: Callable[[Mapping[str, str]], dict[str, str]],
    parameters: Mapping[str, str],
    what: str,
    step: Callable[[str], None],
) -> Undone:
    """Set columns of the rows with a `repair_id`: `make_sets` gets each column's DuckDB type, gives its new value."""
    require_repairable(lake)
    table = lake.events.name

    def make_plan(handle: DeltaTable) -> Plan | None:
        con = connect(lake)
        schema = pa.schema(handle.schema().to_arrow())
        types = duckdb_types(con, schema)
        require_same_event_time(lake, schema)
        if REPAIR_ID not in types:
            return None
        sets = ", ".join(
            f"cast({value} as {types[name]}) as {quoted(name)}" for name, value in make_sets(types).items()
        )
        create_view(con, "events", handle, _files_with(lake, handle, marked), with_places=True)
        rows: pa.Table = con.sql(
            f"select _file, _row, {sets} from events where {REPAIR_ID} = $id",  # noqa: S608  # our own text
            params=dict(parameters),
        ).to_arrow_table()
        return Plan(rows) if rows.num_rows else None

    done = rewrite(lake, make_plan, what=what, rewrite_id=f"{what}-{marked}-{secrets.token_hex(4)}", step=step)
    if done is None:
        raise ConfigError(
            f"no row of {lake.path(table)} has repair_id {marked!r}: "
            f"the column repair_id of {table} says which there are"
        )
    return Undone(done.rows, done.version)


def _files_with(lake: Lake, handle: DeltaTable, repair_id: str) -> list[str]:
    """Return the files whose statistics don't rule the id out."""
    actions = pa.table(handle.get_add_actions(flatten=True)).to_pylist()
    files = live_files(handle, lake.path(lake.events.name))
    return [
        file.path
        for file, action in zip(files, actions, strict=True)
        if (action.get("min.repair_id") or repair_id) <= repair_id <= (action.get("max.repair_id") or repair_id)
        and (file.rows is None or action.get("null_count.repair_id") != file.rows)
    ]
