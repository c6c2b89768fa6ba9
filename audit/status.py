"""Say how a lake is: sizes, freshness, positions. From the logs' statistics, so that large lakes answer at once."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable

from audit.holes import end_offsets
from audit.sources import sources_in_log, with_rowless
from schemas.tables import TABLES
from sink import positions
from sink.gone import create_views
from sink.lake import Lake, store_trouble
from sink.positions import Source
from sink.scan import connect, create_view


@dataclass(frozen=True)
class TableStatus:
    """One table at its newest version.

    Attributes:
        name: `bronze`, `silver`, `quarantine` or `gold/<name>`.
        version: of the Delta log.
        rows: None where a file's count is not in the log.
        files: live data files.
        size_bytes: of these, on the store.
        committed_at: time of the newest commit.
        operation: its kind, as the log calls it: WRITE, DELETE, OPTIMIZE…
    """

    name: str
    version: int
    rows: int | None
    files: int
    size_bytes: int
    committed_at: dt.datetime | None
    operation: str

    @property
    def average_file_bytes(self) -> int:
        """Mean size of a live file; 0 without files."""
        return self.size_bytes // self.files if self.files else 0


@dataclass(frozen=True)
class SourceStatus:
    """One source's position.

    Attributes:
        source: topic and Kafka partition.
        done: last offset that is done; None before the first flush.
        bronze_ahead: offsets that bronze is ahead of `done`: a flush is under way, or was torn.
        lag: offsets from `done` to the broker's end, transaction markers included; None when no broker was asked, or
            it has no such Kafka partition.
    """

    source: Source
    done: int | None
    bronze_ahead: int
    lag: int | None


@dataclass(frozen=True)
class Status:
    """How the lake is.

    Attributes:
        tables: bronze, silver, quarantine, then the gold tables there are.
        newest_broker_time: of silver's rows; now less this is the freshness.
        newest_event_time: of silver's rows; the client's clock, so it may lie in the future.
        null_partition_rows: silver rows without a usable event time.
        reopened_dates: dates of silver that got rows more than a day after they had ended, oldest first.
        quarantine_share: quarantine's rows among silver's and quarantine's; None without any.
        reasons: (reason, rows), most frequent first.
        sources: sorted.
    """

    tables: tuple[TableStatus, ...]
    newest_broker_time: dt.datetime | None
    newest_event_time: dt.datetime | None
    null_partition_rows: int
    reopened_dates: tuple[dt.date, ...]
    quarantine_share: float | None
    reasons: tuple[tuple[str, int], ...]
    sources: tuple[SourceStatus, ...]


@dataclass(frozen=True)
class Progress:
    """How far the lake is.

    Attributes:
        newest_broker_time: of silver's rows; now less this is the freshness.
        lag: offsets from what is done to the broker's end, of all sources together; None when no broker was asked.
    """

    newest_broker_time: dt.datetime | None
    lag: int | None


@dataclass(frozen=True)
class Sizes:
    """How large a lake is, as far as the logs alone tell.

    Attributes:
        tables: bronze, silver, quarantine, then the gold tables there are.
        null_partition_rows: silver rows without a usable event time.
    """

    tables: tuple[TableStatus, ...]
    null_partition_rows: int


def read_sizes(lake: Lake) -> Sizes:
    """Read how large the lake is, from the logs alone.

    Raises:
        LakeNotFound, IncompatibleLake, StoreUnavailable: as `read_status`.
    """
    handles = {name: lake.table(name) for name in lake.tables}
    statistics = {name: _file_statistics(handle) for name, handle in handles.items()}
    events = lake.events
    null_rows = _null_partition_rows(statistics[events.name], events.partition_by)
    return Sizes(_table_statuses(lake, handles, statistics), null_rows)


def read_progress(lake: Lake, client_options: Mapping[str, Any] | None = None) -> Progress:
    """Read how far the lake is, which takes less than `read_status`: the log of silver, and without a broker no other.

    Args:
        lake: where.
        client_options: as `read_status`.

    Raises:
        LakeNotFound, IncompatibleLake, StoreUnavailable, BrokerUnavailable: as `read_status`.
    """
    silver = lake.table("silver")
    newest = _max(_file_statistics(silver), "max.broker_timestamp")
    if client_options is None:
        return Progress(newest, None)
    handles = {"silver": silver, **{name: lake.table(name) for name in ("quarantine", "bronze")}}
    lags = [source.lag for source in _sources(lake, handles, client_options) if source.lag is not None]
    return Progress(newest, sum(lags) if lags else None)


def read_status(lake: Lake, client_options: Mapping[str, Any] | None = None) -> Status:
    """Read how the lake is. Only the reasons of quarantine are read from data files.

    Args:
        lake: where.
        client_options: librdkafka's settings of the broker to ask for end offsets; None asks none.

    Raises:
        LakeNotFound, IncompatibleLake: there is no lake, or another playlake's.
        StoreUnavailable: the store did not answer.
        BrokerUnavailable: the broker did not.
    """
    handles = {name: lake.table(name) for name in ("silver", "quarantine", "bronze")}
    statistics = {name: _file_statistics(handle) for name, handle in handles.items()}
    silver = statistics["silver"]
    tables = _table_statuses(lake, handles, statistics)
    rows = {table.name: table.rows or 0 for table in tables}
    total = rows["silver"] + rows["quarantine"]
    return Status(
        tables=tables,
        newest_broker_time=_max(silver, "max.broker_timestamp"),
        newest_event_time=_max(silver, "max.event_timestamp"),
        null_partition_rows=_null_partition_rows(silver, TABLES["silver"].partition_by),
        reopened_dates=_reopened_dates(silver),
        quarantine_share=rows["quarantine"] / total if total else None,
        reasons=_reasons(lake, handles["quarantine"]) if rows["quarantine"] else (),
        sources=_sources(lake, handles, client_options),
    )


def _file_statistics(handle: DeltaTable) -> pa.Table:
    return pa.table(handle.get_add_actions(flatten=True))


def _table_statuses(
    lake: Lake, handles: Mapping[str, DeltaTable], statistics: Mapping[str, pa.Table]
) -> tuple[TableStatus, ...]:
    """Return the lake's own tables, which were opened, and then the gold tables there are."""
    own = [_table_status(name, handles[name], statistics[name]) for name in lake.tables]
    gold = [(name, lake.table(name)) for name in _gold_names(lake)] if lake.is_own else []
    return (*own, *(_table_status(name, handle, _file_statistics(handle)) for name, handle in gold))


def _table_status(name: str, handle: DeltaTable, statistics: pa.Table) -> TableStatus:
    newest = next(iter(handle.history(1)), {})
    committed_ms = newest.get("timestamp")
    counts = statistics["num_records"] if "num_records" in statistics.column_names else pa.nulls(statistics.num_rows)
    return TableStatus(
        name=name,
        version=handle.version(),
        rows=None if counts.null_count else pc.sum(counts).as_py() or 0,
        files=statistics.num_rows,
        size_bytes=pc.sum(statistics["size_bytes"]).as_py() or 0,
        committed_at=None if committed_ms is None else dt.datetime.fromtimestamp(committed_ms / 1000, dt.UTC),
        operation=str(newest.get("operation", "unknown")),
    )


def _max(statistics: pa.Table, column: str) -> dt.datetime | None:
    if column not in statistics.column_names:
        return None
    newest: dt.datetime | None = pc.max(statistics[column]).as_py()
    return newest


def _null_partition_rows(files: pa.Table, date_column: str) -> int:
    date = f"partition.{date_column}"
    if date not in files.column_names or "num_records" not in files.column_names:
        return 0
    return pc.sum(files.filter(pc.is_null(files[date]))["num_records"]).as_py() or 0


def _reopened_dates(silver: pa.Table) -> tuple[dt.date, ...]:
    if "max.ingest_timestamp" not in silver.column_names:
        return ()
    newest = zip(silver["partition.event_date"].to_pylist(), silver["max.ingest_timestamp"].to_pylist(), strict=True)
    return tuple(sorted({date for date, came in newest if date and came and (came.date() - date).days >= 2}))


def _gold_names(lake: Lake) -> list[str]:
    folder = lake.path("gold")
    filesystem = lake.filesystem()
    try:
        if not filesystem.isdir(folder):
            return []
        found = [str(path).rstrip("/").rsplit("/", 1)[-1] for path in filesystem.ls(folder, detail=False)]
    except OSError as error:
        raise store_trouble(folder, error) from error
    return sorted(name for name in (f"gold/{last}" for last in found) if lake.exists(name))


def _reasons(lake: Lake, quarantine: DeltaTable) -> tuple[tuple[str, int], ...]:
    con = connect(lake)
    try:
        create_view(con, "quarantine", quarantine, columns=("reasons",))
        return tuple(con.execute(_sql("reasons")).fetchall())
    except (duckdb.IOException, OSError) as error:
        raise store_trouble(lake.path("quarantine"), error) from error
    finally:
        con.close()


def _sources(
    lake: Lake, handles: Mapping[str, DeltaTable], client_options: Mapping[str, Any] | None
) -> tuple[SourceStatus, ...]:
    found = sources_in_log(handles)
    if found is None:
        con = connect(lake)
        try:
            for name, handle in handles.items():
                create_view(con, name, handle)
            create_views(con, lake)
            found = [Source(*row) for row in con.execute(_sql("sources")).fetchall()]
        except (duckdb.IOException, OSError) as error:
            raise store_trouble(lake.uri, error) from error
        finally:
            con.close()
    sources = with_rowless(found, handles["silver"])
    ends = {} if client_options is None or not sources else end_offsets(client_options, sources)
    answer = []
    for source in sources:
        done = positions.position(handles["silver"], source)
        in_bronze = positions.position(handles["bronze"], source)
        next_offset = (positions.start(handles["silver"], source) or 0) if done is None else done + 1
        end = ends.get(source)
        ahead = 0 if in_bronze is None else max(0, in_bronze + 1 - next_offset)
        answer.append(SourceStatus(source, done, ahead, None if end is None else max(0, end - next_offset)))
    return tuple(answer)


def _sql(name: str) -> str:
    return files("audit").joinpath(f"{name}.sql").read_text(encoding="utf-8")
