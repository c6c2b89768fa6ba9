"""Gold: the SQL files of `compaction/gold` as Delta tables, refreshed for the dates that changed.

Each gold commit keeps, as `txn`, the version of silver and quarantine that it shows. The ids of those entries carry a
hash of the SQL, so that a table whose SQL changed is found without any and is built anew.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, TypeAlias

import duckdb
import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake.exceptions import CommitFailedError, DeltaError

from compaction import gold_files
from compaction.delta_log import live_files
from compaction.gold_changes import Base, Changes, dates_in, open_base, seen_versions
from compaction.gold_duckdb import CHUNK_ROWS, DuckDB, schema_of
from compaction.gold_engine import Computed, Engine, Order
from compaction.gold_files import GoldFile
from compaction.workspace import MEMORY_LIMIT, workspace
from schemas.errors import CommitConflict, LakeNotFound
from sink.lake import Lake, store_trouble
from sink.scan import create_view

_MAX_ATTEMPTS: Final = 5
_TABLES_AT_ONCE: Final = 8
"""How many are opened or written at once: a commit waits for the store more than it computes."""


@dataclass(frozen=True)
class Refreshed:
    """What a refresh did to one gold table.

    Attributes:
        name: of the table, without `gold/`.
        how: `full`, `incremental` or `unchanged`.
        dates: dates computed (0 for a table without dates).
        rows: rows written.
        seconds: for its queries and its commit; shared sources not included.
    """

    name: str
    how: str
    dates: int
    rows: int
    seconds: float


def refresh(
    lake: Lake,
    *,
    full: bool = False,
    memory_limit: str = MEMORY_LIMIT,
    chunk_rows: int = CHUNK_ROWS,
    engine: Engine | None = None,
    step: Callable[[str], None] = lambda name: None,
) -> list[Refreshed]:
    """Bring all gold tables up to the newest silver and quarantine.

    Idempotent; the result is the same as that of a full rebuild. Each table is one atomic commit.

    Args:
        lake: where.
        full: build everything anew.
        memory_limit: DuckDB's.
        chunk_rows: silver rows of the dates that DuckDB computes at once.
        engine: what runs the SQL; None: DuckDB in this process. What changed is found out by DuckDB in any case.
        step: called with `before gold` and `after gold` around each table's commit, and with `before create gold` and
            `after create gold` where the table isn't there yet: fault points of tests.

    Returns:
        One entry a table, in the order in which they were written.

    Raises:
        LakeNotFound, IncompatibleLake, StoreUnavailable: as `Lake.table`.
        CommitConflict: other refreshes got in between at every attempt.
    """
    lake.require()
    with workspace(lake, memory_limit) as con, ThreadPoolExecutor(_TABLES_AT_ONCE) as pool:
        schemas = {file.name: schema_of(con, file) for file in gold_files.load().values() if not file.is_source}
        run = _Run(lake, con, engine or DuckDB(con, chunk_rows), full, step, pool, schemas)
        return run.refresh_dated() + run.refresh_whole()


def pending(lake: Lake) -> dict[str, int | None]:
    """Return, per dated gold table that is not up to date, how many of its dates are stale; None: all of it.

    Changes nothing. Tables without dates follow those that they are made from.

    Raises:
        LakeNotFound, IncompatibleLake, StoreUnavailable: as `Lake.table`.
    """
    lake.require()
    declared = gold_files.load()
    handles: dict[str, DeltaTable | None] = {}
    for name in (name for name, file in declared.items() if file.is_dated):
        try:
            handles[name] = lake.table(f"gold/{name}")
        except LakeNotFound:
            handles[name] = None
    with workspace(lake) as con:
        plan = _plan(lake, con, DuckDB(con), declared, handles, full=False)
    return {name: None if name in plan.rebuilt else len(dates) for name, dates in plan.stale.items()}


# ---------------------------------------------------------------- tables by date


@dataclass(frozen=True)
class _Plan:
    """What a refresh will compute: `stale` dates of each table that isn't up to date; `rebuilt` tables wholly.

    Dates before `kept_before` of a table stay as they are: what they were made of has expired.
    """

    bases: Mapping[str, Base]
    stale: Mapping[str, frozenset[dt.date]]
    rebuilt: frozenset[str]
    kept_before: Mapping[str, dt.date]


def _plan(
    lake: Lake,
    con: duckdb.DuckDBPyConnection,
    engine: Engine,
    declared: Mapping[str, GoldFile],
    handles: Mapping[str, DeltaTable | None],
    full: bool,
) -> _Plan:
    # The handles were opened before: so what they show can't be newer than the bases.
    bases = {name: open_base(lake, name) for name in ("silver", "quarantine")}
    existing = _all_dates(con, bases)
    changes = Changes(lake, con, bases, engine.linked_dates)
    stale: dict[str, frozenset[dt.date]] = {}
    rebuilt: set[str] = set()
    kept_before = {name: _kept_before(declared[name], declared, bases) for name in handles}
    for name, handle in handles.items():
        can_compute = frozenset(date for date in existing if date >= kept_before[name])
        since = None if full or handle is None else seen_versions(handle, declared[name], declared, bases)
        affected = None if since is None else changes.affected(declared[name], declared, since)
        if affected is None or handle is None:
            rebuilt.add(name)
            stale[name] = can_compute
        else:
            there = dates_in(live_files(handle, lake.path(f"gold/{name}")))
            dates = {date for date in affected & (existing | there) if date >= kept_before[name]}
            if dates:
                stale[name] = frozenset(dates)
    return _Plan(bases, stale, frozenset(rebuilt), kept_before)


def _kept_before(file: GoldFile, declared: Mapping[str, GoldFile], bases: Mapping[str, Base]) -> dt.date:
    needed = gold_files.needed_dates({file.name: frozenset([dt.date(2000, 1, 1)])}, declared)
    return max((base.expired_before for name, base in bases.items() if name in needed), default=dt.date.min)


def _all_dates(con: duckdb.DuckDBPyConnection, bases: Mapping[str, Base]) -> frozenset[dt.date]:
    """Return every date that any base has rows of."""
    undated = [file.path for file in bases["silver"].files if file.partition is None]
    create_view(con, "undated", bases["silver"].handle, undated)
    waiting = con.execute("select distinct cast(ingest_timestamp as date) from undated").fetchall()
    return dates_in(file for base in bases.values() for file in base.files) | {row[0] for row in waiting}


# ---------------------------------------------------------------- one refresh


_Work: TypeAlias = tuple[Order, Computed, Mapping[str, int]]
"""What to commit, and which versions of what it was made of it then shows."""


@dataclass(frozen=True)
class _Run:
    """One refresh: the engine computes one table after the other, while those before are written."""

    lake: Lake
    con: duckdb.DuckDBPyConnection
    engine: Engine
    full: bool
    step: Callable[[str], None]
    pool: ThreadPoolExecutor
    schemas: Mapping[str, pa.Schema]

    def refresh_dated(self) -> list[Refreshed]:
        """Refresh the tables by date."""
        declared = gold_files.load()
        tables = [file for file in declared.values() if file.is_dated]
        done: dict[str, Refreshed] = {}
        for _ in range(_MAX_ATTEMPTS):
            handles = self._open([table for table in tables if table.name not in done])
            plan = _plan(self.lake, self.con, self.engine, declared, handles, self.full)
            done |= {name: Refreshed(name, "unchanged", 0, 0, 0.0) for name in handles if name not in plan.stale}
            orders = [
                Order(
                    declared[name],
                    handles[name],
                    self.schemas[name],
                    is_full=name in plan.rebuilt,
                    dates=dates,
                    kept_before=plan.kept_before[name],
                )
                for name, dates in plan.stale.items()
            ]
            versions = {base.txn: base.handle.version() for base in plan.bases.values()}
            computed = self.engine.compute(orders, declared, plan.bases) if orders else ()
            done |= self._commit((order, rows, versions) for order, rows in computed)
            if len(done) == len(tables):
                return [done[table.name] for table in tables]
        raise CommitConflict(self._overtaken)

    def refresh_whole(self) -> list[Refreshed]:
        """Refresh the tables without dates, which are made from those by date."""
        tables = [file for file in gold_files.load().values() if not file.is_dated and not file.is_source]
        done: dict[str, Refreshed] = {}
        for _ in range(_MAX_ATTEMPTS):
            left = [table for table in tables if table.name not in done]
            handles = self._open(left)
            # After those: what they show can't be newer.
            names = sorted({read.source for table in left for read in table.reads})
            sources = dict(zip(names, self.pool.map(self.lake.table, names), strict=True))
            orders: list[Order] = []
            versions: dict[str, dict[str, int]] = {}
            for table in left:
                reads = {read.source: sources[read.source] for read in table.reads}
                versions[table.name] = {
                    f"playlake.gold/{name}/{source.metadata().id}": source.version() for name, source in reads.items()
                }
                handle = handles[table.name]
                if not self.full and _shows(handle, table, versions[table.name]):
                    done[table.name] = Refreshed(table.name, "unchanged", 0, 0, 0.0)
                else:
                    orders.append(Order(table, handle, self.schemas[table.name], is_full=True))
            done |= self._commit(
                (order, self.engine.compute_whole(order, sources), versions[order.file.name]) for order in orders
            )
            if len(done) == len(tables):
                return [done[table.name] for table in tables]
        raise CommitConflict(self._overtaken)

    @property
    def _overtaken(self) -> str:
        return f"other refreshes of gold at {self.lake.uri} got in between at each of {_MAX_ATTEMPTS} tries"

    def _open(self, tables: Sequence[GoldFile]) -> dict[str, DeltaTable]:
        schemas = [self.schemas[table.name] for table in tables]
        opened = self.pool.map(partial(_open_or_create, self.lake, step=self.step), tables, schemas)
        return {table.name: handle for table, handle in zip(tables, opened, strict=True)}

    def _commit(self, work: Iterable[_Work]) -> dict[str, Refreshed]:
        """Commit each as soon as it is computed; return what was not overtaken by another refresh."""

        def commit(each: _Work) -> Refreshed | None:
            order, computed, versions = each
            return _commit(order, computed, versions, self.step)

        committed = self.pool.map(commit, work)
        return {refreshed.name: refreshed for refreshed in committed if refreshed is not None}


# ---------------------------------------------------------------- one table


def _entries(file: GoldFile, versions: Mapping[str, int]) -> dict[str, int]:
    """Return the `txn` entries that say which versions a table shows, and by which SQL."""
    fingerprint = gold_files.fingerprint(file.name, gold_files.load())
    return {f"{txn}@{fingerprint}": version for txn, version in versions.items()}


def _shows(handle: DeltaTable, file: GoldFile, versions: Mapping[str, int]) -> bool:
    entries = _entries(file, versions)
    return all(handle.transaction_version(app_id) == version for app_id, version in entries.items())


def _commit(
    order: Order, computed: Computed, versions: Mapping[str, int], step: Callable[[str], None]
) -> Refreshed | None:
    """Commit what was computed of a gold table.

    The order's handle is the one on which it was decided what to compute, so that a refresh that came in between is
    noticed: it wrote the same `txn` ids.

    Returns:
        What was done; None when another refresh came in between, and nothing was.
    """
    started = time.perf_counter()
    entries = _entries(order.file, versions)
    properties = CommitProperties(app_transactions=[Transaction(*entry) for entry in entries.items()])
    step("before gold")
    try:
        computed.overwrite(order, properties)
    except CommitFailedError:
        return None
    except (OSError, DeltaError) as error:
        raise store_trouble(order.handle.table_uri, error) from error
    step("after gold")
    how = "full" if order.is_full else "incremental"
    seconds = computed.seconds + time.perf_counter() - started
    return Refreshed(order.file.name, how, len(order.dates), computed.rows, seconds)


def _open_or_create(lake: Lake, file: GoldFile, schema: pa.Schema, *, step: Callable[[str], None]) -> DeltaTable:
    name = f"gold/{file.name}"
    try:
        return lake.table(name)
    except LakeNotFound:
        pass
    path = lake.path(name)
    step("before create gold")
    try:
        if not lake.is_s3:
            Path(path).mkdir(parents=True, exist_ok=True)
        DeltaTable.create(
            path,
            schema=schema,
            mode="ignore",
            partition_by=["event_date"] if file.is_dated else None,
            name=f"playlake gold {file.name}",
            description=f"{file.purpose} One row: {file.grain}.",
            configuration=lake.gold_configuration(),
            storage_options=lake.storage_options,
            raise_if_key_not_exists=False,
        )
    except (OSError, DeltaError) as error:
        try:
            return lake.table(name)  # another refresh made it at the same moment
        except LakeNotFound:
            raise store_trouble(path, error) from error
    step("after create gold")
    return lake.table(name)
