"""Change or drop some rows of a table in one atomic commit, beside writers; prove first that nothing else changes.

Repair, dedupe and the end of a replay are that: plan rows on a version, write the files that hold them anew, compare
old and new files with the plan, commit if the old ones are still live. Why so:
`docs/decisions/014-rewrites-replace-files.md`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable, Transaction
from deltalake.transaction import AddAction

from compaction.delta_log import DataFile, live_files
from compaction.merge import bins, read_file, stored_schema, write_rows
from compaction.replace import replace_files
from compaction.workspace import workspace
from schemas.errors import CommitConflict, RewriteMismatch
from sink.files import Then
from sink.lake import Lake
from sink.scan import create_view, duckdb_types, quoted

REWRITE_KEY: Final = "playlake.rewrite"
"""Name in `commitInfo` under which a rewrite keeps its id."""

_PLACE: Final = ("_file", "_row")
_BIN_BYTES: Final = 64 * 1000**2
_BINS_AT_ONCE: Final = 2
_MAX_ATTEMPTS: Final = 12


@dataclass(frozen=True)
class Plan:
    """The rows that one rewrite changes.

    Attributes:
        rows: `_file` and `_row` as `sink.scan.create_view` gives them, and one column, of the table's name and type,
            for each column to be set; without any, the rows are dropped. Empty only where something is added.
        transactions: `txn` entries that the commit is to carry.
        added: files with other rows that the commit is to add; written already.
    """

    rows: pa.Table
    transactions: tuple[Transaction, ...] = ()
    added: tuple[AddAction, ...] = ()

    @property
    def sets(self) -> tuple[str, ...]:
        """Names of the columns to be set."""
        return tuple(name for name in self.rows.column_names if name not in _PLACE)


@dataclass(frozen=True)
class Rewritten:
    """A rewrite that is in the table.

    Attributes:
        rows: how many were changed or dropped.
        version: the table's, that it made.
        attempts: how often it was planned.
    """

    rows: int
    version: int
    attempts: int


def rewrite(
    lake: Lake,
    make_plan: Callable[[DeltaTable], Plan | None],
    *,
    what: str,
    rewrite_id: str,
    table: str | None = None,
    upon: Callable[[DeltaTable], bool] = lambda handle: True,
    step: Callable[[str], None] = lambda name: None,
) -> Rewritten | None:
    """Plan, write and commit; when others took up one of the files meanwhile, plan anew and try again.

    Appends of others don't matter: their rows are the next run's.

    Args:
        lake: where.
        make_plan: called with a handle; returns the plan on its version, or None when there is nothing to do.
        what: `repair` or `dedupe`, for `step`.
        rewrite_id: unique; kept in the commit.
        table: which of the lake's; None: the table of events.
        upon: must hold for the version committed upon, or the plan is made anew.
        step: called with `before repair` (written and checked, not committed) and `after repair`: tests' fault points.

    Returns:
        What was done, or None when the plan was empty.

    Raises:
        CommitConflict: others took its files at every attempt; nothing was changed.
        RewriteMismatch: what was written is not what was planned; nothing was changed.
        StoreUnavailable: the store does not answer. The commit may have landed; running again is safe.
    """
    table = table or lake.events.name
    for attempt in range(1, _MAX_ATTEMPTS + 1):
        handle = lake.table(table)
        plan = make_plan(handle)
        if plan is None:
            return None
        removed, added = _write(lake, table, handle, plan)
        difference = _difference(lake, table, handle, plan, removed, added) if plan.rows.num_rows else ""
        if difference:
            raise RewriteMismatch(
                f"{what} of {lake.path(table)} wrote other rows than planned ({difference}); "
                "nothing was changed; please report this"
            )
        version = replace_files(
            lake,
            table,
            removed,
            [*added, *plan.added],
            changes_data=True,
            metadata={REWRITE_KEY: rewrite_id},
            transactions=plan.transactions,
            upon=upon,
            before_commit=lambda: step(f"before {what}"),
        )
        if version is not None:
            step(f"after {what}")
            return Rewritten(plan.rows.num_rows, version, attempt)
    raise CommitConflict(
        f"{lake.path(table)} was changed by others at each of {_MAX_ATTEMPTS} tries; nothing was changed: "
        "run it again when fewer jobs rewrite this lake"
    )


def _write(lake: Lake, table: str, handle: DeltaTable, plan: Plan) -> tuple[list[DataFile], list[AddAction]]:
    """Write the planned rows' files anew; return those and what takes their place."""
    planned = _by_file(plan.rows)
    files = [file for file in live_files(handle, lake.path(table)) if file.path in planned]
    schema = pa.schema(handle.schema().to_arrow())

    by_partition: dict[tuple[str | None, Then], list[DataFile]] = defaultdict(list)
    for file in files:
        by_partition[file.partition, file.then].append(file)

    def write_bin(files: Sequence[DataFile]) -> list[AddAction]:
        parts: dict[str | None, list[pa.Table]] = defaultdict(list)
        for file in files:
            for partition, rows in _changed(lake, table, schema, file, planned[file.path], plan.sets):
                parts[partition].append(rows)
        then = files[0].then
        return [
            write_rows(lake, table, partition, parts.pop(partition), changes_data=True, then=then)
            for partition in list(parts)
        ]

    together = [each for group in by_partition.values() for each in bins(group, _BIN_BYTES)]
    with ThreadPoolExecutor(_BINS_AT_ONCE) as pool:
        return files, [action for written in pool.map(write_bin, together) for action in written]


def _by_file(rows: pa.Table) -> dict[str, pa.Table]:
    rows = rows.sort_by("_file")
    counts = rows["_file"].value_counts().to_pylist()
    starts = np.cumsum([0, *(each["counts"] for each in counts)]).tolist()
    return {each["values"]: rows.slice(start, each["counts"]) for each, start in zip(counts, starts[:-1], strict=True)}


def _changed(
    lake: Lake, table: str, schema: pa.Schema, file: DataFile, planned: pa.Table, sets: tuple[str, ...]
) -> Iterator[tuple[str | None, pa.Table]]:
    """Give a file's rows as the plan wants them, by lake partition."""
    spec = lake.tables[table]
    rows = read_file(lake, table, schema, file)
    stays = np.ones(len(rows), bool)
    stays[planned["_row"].to_numpy()] = False
    if stays.any():
        yield file.partition, _without_ghosts(rows.filter(pa.array(stays)))
    if not sets:
        return
    moved = _without_ghosts(rows.take(planned["_row"]))
    for field in stored_schema(schema, spec):
        if field.name in sets:
            column = _as(planned[field.name], field.type)
            moved = moved.set_column(moved.schema.get_field_index(field.name), field, column)
    by = spec.partition_by
    if by not in sets:
        yield file.partition, moved
        return
    for date in pc.unique(planned[by]).to_pylist():
        is_there = pc.is_null(planned[by]) if date is None else pc.equal(planned[by], date)
        yield (None if date is None else str(date)), moved.filter(is_there)


def _without_ghosts(rows: pa.Table) -> pa.Table:
    """Drop dictionary entries that no row has any more: they would be written, and tell of rows that left the file.

    Lists keep theirs: codes and words of the title catalogue.
    """
    for place, field in enumerate(rows.schema):
        if pa.types.is_dictionary(field.type):
            column = rows.column(place).cast(field.type.value_type).dictionary_encode()
            rows = rows.set_column(place, field, column.cast(field.type))
    return rows


def _as(values: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    return values.dictionary_encode() if pa.types.is_dictionary(kind) else values.cast(kind)


def _difference(
    lake: Lake, table: str, handle: DeltaTable, plan: Plan, removed: list[DataFile], added: list[AddAction]
) -> str:
    """Compare the files to be added with the files to be removed, the plan applied to them; return what is wrong.

    By count and by the sum of hashes over all columns of a row, so that order does not matter.
    """
    stays = "" if plan.sets else "where plan._row is null"
    with workspace(lake) as con:
        # As the table's types: a file's may differ (Spark's INT96), and so would the hashes of equal values.
        types = duckdb_types(con, pa.schema(handle.schema().to_arrow()))
        wanted = ", ".join(
            f"cast({_planned(quoted(name)) if name in plan.sets else f'took.{quoted(name)}'} as {kind})"
            for name, kind in types.items()
        )
        written = ", ".join(f"cast(put.{quoted(name)} as {kind})" for name, kind in types.items())
        con.register("plan", plan.rows)
        create_view(con, "took", handle, [file.path for file in removed], with_places=True)
        create_view(con, "put", handle, [f"{lake.path(table)}/{action.path}" for action in added])
        found: list[tuple[Any, ...]] = [
            con.execute(sql).fetchall()[0]
            for sql in (
                "select count(*) from plan semi join took using (_file, _row)",
                f"select count(*), sum(hash({wanted})) from took left join plan using (_file, _row) {stays}",  # noqa: S608
                f"select count(*), sum(hash({written})) from put",  # noqa: S608
            )
        ]
    (matched,), expected, held = found
    if matched != plan.rows.num_rows:
        return f"{plan.rows.num_rows} rows planned, {matched} found"
    if expected[0] != held[0]:
        return f"{expected[0]} rows expected, {held[0]} written"
    return "" if expected == held else "rows differ"


def _planned(column: str) -> str:
    return f"case when plan._row is null then took.{column} else plan.{column} end"
