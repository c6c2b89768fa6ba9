"""Gold: the SQL files of `compaction/gold` as Delta tables, refreshed for the dates that changed.

Each gold commit keeps, as `txn`, the version of silver and quarantine that it shows. The ids of those entries carry a
hash of the SQL, so that a table whose SQL changed is found without any and is built anew.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import duckdb
import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError

from compaction import gold_files
from compaction.delta_log import DataFile, live_files
from compaction.gold_changes import Base, Changes, dates_in, open_base, seen_versions
from compaction.gold_files import GoldFile
from compaction.workspace import MEMORY_LIMIT, workspace
from schemas.errors import CommitConflict, LakeNotFound
from sink.lake import Lake, store_trouble
from sink.scan import create_view

CHUNK_ROWS: Final = 4_000_000
"""Silver rows of the dates that are computed at once: bounds memory whatever the size of the lake."""

_MAX_ATTEMPTS: Final = 5


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
    step: Callable[[str], None] = lambda name: None,
) -> list[Refreshed]:
    """Bring all gold tables up to the newest silver and quarantine.

    Idempotent; the result is the same as that of a full rebuild. Each table is one atomic commit.

    Args:
        lake: where.
        full: build everything anew.
        memory_limit: DuckDB's.
        chunk_rows: silver rows of the dates that are computed at once.
        step: called with `before gold` and `after gold` around each table's commit, and with `before create gold` and
            `after create gold` where the table isn't there yet: fault points of tests.

    Returns:
        One entry a table, in the order in which they were written.

    Raises:
        LakeNotFound, IncompatibleLake, StoreUnavailable: as `Lake.table`.
        CommitConflict: other refreshes got in between at every attempt.
    """
    declared = gold_files.load()
    lake.require()
    dated = [file for file in declared.values() if file.is_dated]
    whole = [file for file in declared.values() if not file.is_dated and not file.is_source]
    with workspace(lake, memory_limit) as con:
        _add_constants(con)
        done = _refresh_dated(lake, con, declared, dated, full, chunk_rows, step)
        done += [_refresh_whole(lake, con, declared, file, full, step) for file in whole]
    return done


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
        plan = _plan(lake, con, declared, handles, full=False)
    return {name: None if name in plan.rebuilt else len(dates) for name, dates in plan.stale.items()}


def _add_constants(con: duckdb.DuckDBPyConnection) -> None:
    constants = ", ".join(f"{value} as {name}" for name, value in gold_files.CONSTANTS.items())
    con.execute(f"create view constants as select {constants}")


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
    declared: Mapping[str, GoldFile],
    handles: Mapping[str, DeltaTable | None],
    full: bool,
) -> _Plan:
    # The handles were opened before: so what they show can't be newer than the bases.
    bases = {name: open_base(lake, name) for name in ("silver", "quarantine")}
    existing = _all_dates(con, bases)
    changes = Changes(lake, con, bases)
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


def _refresh_dated(
    lake: Lake,
    con: duckdb.DuckDBPyConnection,
    declared: Mapping[str, GoldFile],
    tables: list[GoldFile],
    full: bool,
    chunk_rows: int,
    step: Callable[[str], None],
) -> list[Refreshed]:
    done: dict[str, Refreshed] = {}
    for _ in range(_MAX_ATTEMPTS):
        handles = {table.name: _open_or_create(lake, con, table, step) for table in tables if table.name not in done}
        plan = _plan(lake, con, declared, handles, full)
        done |= {name: Refreshed(name, "unchanged", 0, 0, 0.0) for name in handles if name not in plan.stale}
        results, seconds = _compute(con, declared, plan.stale, plan.bases, chunk_rows)
        for name, dates in plan.stale.items():
            started = time.perf_counter()
            is_full = name in plan.rebuilt
            fingerprint = gold_files.fingerprint(name, declared)
            entries = {f"{base.txn}@{fingerprint}": base.handle.version() for base in plan.bases.values()}
            rows = results[name]
            if is_full:
                rows = _with_kept(con, handles[name], rows, plan.kept_before[name])
            if _write(handles[name], rows, None if is_full else dates, entries, step):
                how = "full" if is_full else "incremental"
                spent = seconds[name] + time.perf_counter() - started
                done[name] = Refreshed(name, how, len(dates), results[name].num_rows, spent)
        if len(done) == len(tables):
            return [done[table.name] for table in tables]
    raise CommitConflict(f"other refreshes of gold at {lake.uri} got in between at each of {_MAX_ATTEMPTS} tries")


def _with_kept(con: duckdb.DuckDBPyConnection, handle: DeltaTable, rows: pa.Table, before: dt.date) -> pa.Table:
    """Return a table's new rows and those that it has of dates before one, in the columns of the new ones."""
    if before == dt.date.min:
        return rows
    create_view(con, "had", handle)
    con.register("computed", rows.slice(0, 0))
    query = "from computed union all by name from had where event_date < $before"
    kept: pa.Table = con.sql(query, params={"before": before}).to_arrow_table()
    con.unregister("computed")
    return pa.concat_tables([rows, kept.select(rows.column_names).cast(rows.schema)])


def _compute(
    con: duckdb.DuckDBPyConnection,
    declared: Mapping[str, GoldFile],
    stale: Mapping[str, frozenset[dt.date]],
    bases: Mapping[str, Base],
    chunk_rows: int,
) -> tuple[dict[str, pa.Table], dict[str, float]]:
    """Run the SQL of the stale tables, chunk of dates by chunk of dates."""
    parts: dict[str, list[pa.Table]] = {name: [] for name in stale}
    seconds = dict.fromkeys(stale, 0.0)
    every = frozenset[dt.date]().union(*stale.values())
    for chunk in _chunks(every, bases["silver"].files, chunk_rows):
        targets = {name: dates & chunk for name, dates in stale.items() if dates & chunk}
        needed = gold_files.needed_dates(targets, declared)
        for source in declared.values():
            if source.is_source and source.name in needed:
                _create_views(con, source, declared, needed[source.name], bases)
                con.execute(f"create or replace temp table {source.name} as {source.sql}")
        for name, dates in targets.items():
            started = time.perf_counter()
            _create_views(con, declared[name], declared, dates, bases)
            parts[name].append(_run(con, declared[name]))
            seconds[name] += time.perf_counter() - started
    schemas = {name: _schema(con, declared[name]) for name in stale}
    return {name: pa.concat_tables(tables or [schemas[name].empty_table()]) for name, tables in parts.items()}, seconds


def _create_views(
    con: duckdb.DuckDBPyConnection,
    file: GoldFile,
    declared: Mapping[str, GoldFile],
    dates: frozenset[dt.date],
    bases: Mapping[str, Base],
) -> None:
    """Make `wanted` and the bases that a file reads, cut down to what its window says."""
    con.register("wanted", pa.table({"event_date": pa.array(sorted(dates), pa.date32())}))
    for read in file.reads:
        if read.source in declared:
            continue
        near = {str(date) for date in gold_files.shift(dates, read.before, read.after)}
        if read.source == "null_partition":
            undated = [f.path for f in bases["silver"].files if f.partition is None]
            create_view(con, "undated", bases["silver"].handle, undated)
            con.execute(
                "create or replace view null_partition as "
                "select *, cast(ingest_timestamp as date) as ingest_date from undated"
            )
        else:
            base = bases[read.source]
            create_view(con, base.name, base.handle, [f.path for f in base.files if f.partition in near])


def _chunks(dates: frozenset[dt.date], silver: list[DataFile], chunk_rows: int) -> Iterator[frozenset[dt.date]]:
    """Cut dates into runs of about `chunk_rows` rows of silver; at least one date each."""
    rows: dict[str | None, int] = {}
    for file in silver:
        rows[file.partition] = rows.get(file.partition, 0) + (file.rows or 0)
    chunk: list[dt.date] = []
    size = 0
    for date in sorted(dates):
        more = rows.get(str(date), 0)
        if chunk and size + more > chunk_rows:
            yield frozenset(chunk)
            chunk, size = [], 0
        chunk.append(date)
        size += more
    if chunk:
        yield frozenset(chunk)


def _all_dates(con: duckdb.DuckDBPyConnection, bases: Mapping[str, Base]) -> frozenset[dt.date]:
    """Return every date that any base has rows of."""
    undated = [file.path for file in bases["silver"].files if file.partition is None]
    create_view(con, "undated", bases["silver"].handle, undated)
    waiting = con.execute("select distinct cast(ingest_timestamp as date) from undated").fetchall()
    return dates_in(file for base in bases.values() for file in base.files) | {row[0] for row in waiting}


# ---------------------------------------------------------------- tables as a whole


def _refresh_whole(
    lake: Lake,
    con: duckdb.DuckDBPyConnection,
    declared: Mapping[str, GoldFile],
    file: GoldFile,
    full: bool,
    step: Callable[[str], None],
) -> Refreshed:
    started = time.perf_counter()
    fingerprint = gold_files.fingerprint(file.name, declared)
    for _ in range(_MAX_ATTEMPTS):
        handle = _open_or_create(lake, con, file, step)
        sources = {read.source: lake.table(read.source) for read in file.reads}
        entries = {
            f"playlake.gold/{name}/{source.metadata().id}@{fingerprint}": source.version()
            for name, source in sources.items()
        }
        if not full and all(handle.transaction_version(app_id) == version for app_id, version in entries.items()):
            return Refreshed(file.name, "unchanged", 0, 0, 0.0)
        for name, source in sources.items():
            create_view(con, name.removeprefix("gold/"), source)
        rows = _run(con, file)
        if _write(handle, rows, None, entries, step):
            return Refreshed(file.name, "full", 0, rows.num_rows, time.perf_counter() - started)
    raise CommitConflict(
        f"other refreshes of {lake.path(f'gold/{file.name}')} got in between at each of {_MAX_ATTEMPTS} tries"
    )


# ---------------------------------------------------------------- running and writing


def _run(con: duckdb.DuckDBPyConnection, file: GoldFile) -> pa.Table:
    """Run a file's SQL; its columns must be those of its header, which fixes their types."""
    typed = ", ".join(f'cast("{column.name}" as {column.type}) as "{column.name}"' for column in file.columns)
    relation = con.sql(f"select * from ({file.sql}\n)")  # noqa: S608  # our own file
    declared = [column.name for column in file.columns]
    if relation.columns != declared:
        raise ValueError(f"{file.name}: the header declares {declared}, the SQL gives {relation.columns}")
    rows: pa.Table = con.sql(f"select {typed} from ({file.sql}\n)").to_arrow_table()  # noqa: S608  # our own file
    return rows


def _schema(con: duckdb.DuckDBPyConnection, file: GoldFile) -> pa.Schema:
    typed = ", ".join(f'cast(null as {column.type}) as "{column.name}"' for column in file.columns)
    return con.sql(f"select {typed} where false").to_arrow_table().schema


def _write(
    handle: DeltaTable,
    rows: pa.Table,
    dates: frozenset[dt.date] | None,
    entries: Mapping[str, int],
    step: Callable[[str], None],
) -> bool:
    """Commit a gold table's rows: those of `dates`, or all.

    The handle is the one on which it was decided what to compute, so that a refresh that came in between is noticed: it
    wrote the same `txn` ids.

    Returns:
        Whether it is in the table; False when another refresh came in between.
    """
    properties = CommitProperties(
        app_transactions=[Transaction(app_id, version) for app_id, version in entries.items()]
    )
    step("before gold")
    try:
        if dates is None:
            write_deltalake(handle, rows, mode="overwrite", schema_mode="overwrite", commit_properties=properties)
        else:
            literals = ", ".join(f"date '{date}'" for date in sorted(dates))
            write_deltalake(
                handle, rows, mode="overwrite", predicate=f"event_date in ({literals})", commit_properties=properties
            )
    except CommitFailedError:
        return False
    except (OSError, DeltaError) as error:
        raise store_trouble(handle.table_uri, error) from error
    step("after gold")
    return True


def _open_or_create(
    lake: Lake, con: duckdb.DuckDBPyConnection, file: GoldFile, step: Callable[[str], None]
) -> DeltaTable:
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
            schema=_schema(con, file),
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
