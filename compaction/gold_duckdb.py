"""Gold's SQL on DuckDB, in this process: chunk of dates by chunk of dates, within a memory limit."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

import duckdb
import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, write_deltalake

from compaction import gold_files
from compaction.delta_log import DataFile, LogGone
from compaction.gold_changes import Base
from compaction.gold_engine import Order
from compaction.gold_files import GoldFile, Read
from sink.scan import create_view, without_rows

CHUNK_ROWS: Final = 4_000_000
"""Silver rows of the dates that are computed at once: bounds memory whatever the size of the lake."""

_MANY: Final = 3
"""Times as many dates in a window as are wanted: then it is worth a look which of them matter."""


@dataclass(frozen=True)
class Rows:
    """What DuckDB computed of one gold table; see `gold_engine.Computed`."""

    table: pa.Table
    seconds: float

    @property
    def rows(self) -> int:
        """How many."""
        count: int = self.table.num_rows
        return count

    def overwrite(self, order: Order, properties: CommitProperties) -> None:
        """Write the rows and commit them; see `gold_engine.Computed`."""
        handle, rows = order.handle, self.table
        if order.is_full:
            write_deltalake(handle, rows, mode="overwrite", schema_mode="overwrite", commit_properties=properties)
        else:
            literals = ", ".join(f"date '{date}'" for date in sorted(order.dates))
            write_deltalake(
                handle, rows, mode="overwrite", predicate=f"event_date in ({literals})", commit_properties=properties
            )


class DuckDB:
    """Gold's SQL on one DuckDB connection; see `gold_engine.Engine`."""

    def __init__(self, con: duckdb.DuckDBPyConnection, chunk_rows: int = CHUNK_ROWS) -> None:
        """Take a connection (`compaction.workspace`), and how many silver rows to compute dates of at once."""
        self._con = con
        self._chunk_rows = chunk_rows
        constants = ", ".join(f"{value} as {name}" for name, value in gold_files.CONSTANTS.items())
        con.execute(f"create or replace view constants as select {constants}")

    def linked_dates(
        self, silver: Base, nearby: Sequence[DataFile], touched: Sequence[DataFile]
    ) -> Iterable[tuple[str, dt.date]]:
        """Answer `linked_dates.sql`; see `gold_engine.Engine`."""
        try:
            create_view(self._con, "silver", silver.handle, [file.path for file in nearby])
            create_view(self._con, "touched", silver.handle, [file.path for file in touched])
            query = files("compaction").joinpath("linked_dates.sql").read_text(encoding="utf-8")
            found: list[tuple[str, dt.date]] = self._con.execute(query).fetchall()
        except (duckdb.IOException, FileNotFoundError) as error:
            raise LogGone(str(error)) from None
        return found

    def compute(
        self, orders: Sequence[Order], declared: Mapping[str, GoldFile], bases: Mapping[str, Base]
    ) -> Iterator[tuple[Order, Rows]]:
        """Compute dated tables; see `gold_engine.Engine`."""
        parts: dict[str, list[Rows]] = {order.file.name: [] for order in orders}
        left = {order.file.name: order.dates for order in orders}
        yield from ((order, self._with_kept(order, [])) for order in orders if not order.dates)
        self._show_null_partition(bases["silver"])
        for chunk in _chunks(frozenset[dt.date]().union(*left.values()), bases["silver"].files, self._chunk_rows):
            targets = {name: dates & chunk for name, dates in left.items() if dates & chunk}
            near = _Near(self._con, bases["silver"], chunk)
            needed = gold_files.needed_dates(targets, declared, near)
            for source in declared.values():
                if source.is_source and source.name in needed:
                    self._compute_source(source, needed[source.name], bases, near)
            for order in (order for order in orders if order.file.name in targets):
                name = order.file.name
                started = time.perf_counter()
                self._show(order.file, targets[name], bases, near)
                parts[name].append(self._run(order.file, started))
                left[name] -= chunk
                if not left[name]:
                    yield order, self._with_kept(order, parts.pop(name))

    def compute_whole(self, order: Order, sources: Mapping[str, DeltaTable]) -> Rows:
        """Compute a table without dates; see `gold_engine.Engine`."""
        started = time.perf_counter()
        for name in (read.source for read in order.file.reads):
            columns = pa.schema(sources[name].schema().to_arrow()).names  # no file lacks one: other SQL writes all anew
            create_view(self._con, name.removeprefix("gold/"), sources[name], columns=columns)
        return self._run(order.file, started)

    def _compute_source(
        self, source: GoldFile, dates: frozenset[dt.date], bases: Mapping[str, Base], near: _Near
    ) -> None:
        """Compute a source for some dates."""
        self._show(source, dates, bases, near)
        if any(read.link == "event_id" for read in source.reads):
            near.narrow_silver(dates)
        self._con.execute(f"create or replace temp table {source.name} as {source.sql}")

    def _show_null_partition(self, silver: Base) -> None:
        undated = [file.path for file in silver.files if file.partition is None]
        create_view(self._con, "undated", silver.handle, undated)
        self._con.execute(
            "create or replace view null_partition as "
            "select *, cast(ingest_timestamp as date) as ingest_date from undated"
        )

    def _with_kept(self, order: Order, parts: list[Rows]) -> Rows:
        """Return a table's new rows and those that it keeps, in the columns of the new ones."""
        rows = pa.concat_tables([part.table for part in parts] or [order.schema.empty_table()])
        if order.is_full and order.kept_before > dt.date.min:
            create_view(self._con, "had", order.handle)
            self._con.register("computed", rows.slice(0, 0))
            query = "from computed union all by name from had where event_date < $before"
            kept: pa.Table = self._con.sql(query, params={"before": order.kept_before}).to_arrow_table()
            self._con.unregister("computed")
            rows = pa.concat_tables([rows, kept.select(rows.column_names).cast(rows.schema)])
        return Rows(rows, sum(part.seconds for part in parts))

    def _show(self, file: GoldFile, dates: frozenset[dt.date], bases: Mapping[str, Base], near: _Near) -> None:
        """Make `wanted` and the bases that a file reads, cut down to the dates that matter."""
        for read in file.reads:
            if read.source in bases:
                base = bases[read.source]
                create_view(self._con, base.name, base.handle, [file.path for file in base.of(near(read, dates))])
        rows = ", ".join(f"(date '{date}')" for date in sorted(dates))
        self._con.execute(f"create or replace view wanted as from (values {rows}) as dates (event_date)")

    def _run(self, file: GoldFile, started: float) -> Rows:
        """Run a file's SQL and return its columns in the types of its header."""
        typed = ", ".join(f'cast("{column.name}" as {column.type}) as "{column.name}"' for column in file.columns)
        rows: pa.Table = self._con.sql(f"select {typed} from ({file.sql}\n)").to_arrow_table()  # noqa: S608
        return Rows(rows, time.perf_counter() - started)


class _Near:
    """Tells what matters to some dates; for a window of many dates by looking which sessions reach where."""

    def __init__(self, con: duckdb.DuckDBPyConnection, silver: Base, targets: frozenset[dt.date]) -> None:
        """Take the dates for which tables are computed."""
        self._con = con
        self._silver = silver
        self._targets = targets
        self._known: dict[tuple[int, int, frozenset[dt.date]], frozenset[dt.date]] = {}

    def __call__(self, read: Read, dates: frozenset[dt.date]) -> frozenset[dt.date]:
        """Return the dates of what is read that matter."""
        window = gold_files.window(read, dates)
        # Looking costs a column of the window. By event_id nothing would be saved: its rows are narrowed instead.
        if read.link != "session_id" or len(window) < _MANY * len(dates):
            return window
        key = (read.before, read.after, dates)
        if key not in self._known:
            self._known[key] = self._reached(dates, window)
        return self._known[key]

    def narrow_silver(self, dates: frozenset[dt.date]) -> None:
        """Cut the view `silver` down to what shares an event_id with rows of `dates` that matter.

        On other dates than the targets only rows of sessions matter that have rows on those, too. To group the ids of
        all dates around takes three times as long as to look for these.
        """
        if len(dates) < _MANY * len(self._targets):
            return
        self._show("these", self._targets, "session_id")
        self._show("others", dates, "session_id", "event_id")
        self._con.execute(
            "create or replace temp table asked as select hash(event_id) as id_hash from others "
            "where session_id in (select session_id from these)"
        )
        self._con.execute("drop view if exists around")
        self._con.execute("alter view silver rename to around")
        self._con.execute("create view silver as from around where hash(event_id) in (select id_hash from asked)")

    def _reached(self, dates: frozenset[dt.date], window: frozenset[dt.date]) -> frozenset[dt.date]:
        self._show("these", dates, "session_id")
        self._show("others", window - dates, "session_id", "event_date")
        found = self._con.execute(
            "select distinct event_date from others where session_id in (select session_id from these)"
        ).fetchall()
        return dates | {date for (date,) in found}

    def _show(self, view: str, dates: frozenset[dt.date], *columns: str) -> None:
        paths = [file.path for file in self._silver.of(dates)]
        create_view(self._con, view, self._silver.handle, paths, columns=columns)


def schema_of(con: duckdb.DuckDBPyConnection, file: GoldFile) -> pa.Schema:
    """Return the columns of a gold table as its header declares them."""
    return con.sql(without_rows({column.name: column.type for column in file.columns})).to_arrow_table().schema


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
