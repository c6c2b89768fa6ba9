"""Gold's SQL on Spark, for lakes that outgrow a machine.

Spark reads silver and quarantine through Delta at the pinned versions, and writes Parquet files into a new folder below
the gold table's. No reader sees them until they are committed through delta-rs, with `txn` entries that Spark's own
Delta commits could not carry. Why so: `docs/decisions/008-gold-on-spark.md`.
"""

from __future__ import annotations

import datetime as dt
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Final

import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable
from deltalake.transaction import AddAction

from compaction import gold_files
from compaction.delta_log import DataFile, LogGone
from compaction.gold_changes import Base, dates_in
from compaction.gold_engine import Order
from compaction.gold_files import GoldFile
from compaction.spark_sql import translated, type_in_spark
from sink.files import HIVE_NULL, statistics
from sink.lake import Lake

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_FOOTER_READERS: Final = 16


@dataclass(frozen=True)
class Files:
    """What Spark computed of one gold table: files in its folder; see `gold_engine.Computed`."""

    actions: list[AddAction]
    rows: int
    seconds: float

    def overwrite(self, order: Order, properties: CommitProperties) -> None:
        """Commit the files; see `gold_engine.Computed`."""
        order.handle.create_write_transaction(
            [*self.actions],
            "overwrite",
            order.schema if order.is_full else order.handle.schema(),
            order.handle.metadata().partition_columns,
            order.partition_filter,
            commit_properties=properties,
        )


class Spark:
    """Gold's SQL on one Spark session; see `gold_engine.Engine`."""

    def __init__(self, lake: Lake, session: SparkSession) -> None:
        """Take the lake and a session that reads Delta (`compaction.spark_session`)."""
        self._lake = lake
        self._session = session
        constants = ", ".join(f"cast({value} as bigint) as {name}" for name, value in gold_files.CONSTANTS.items())
        self._show("constants", session.sql(f"select {constants}"))

    def linked_dates(
        self, silver: Base, nearby: Sequence[DataFile], touched: Sequence[DataFile]
    ) -> Iterable[tuple[str, dt.date]]:
        """Answer `linked_dates.sql`; see `gold_engine.Engine`."""
        from pyspark.errors import AnalysisException

        self._show("silver", self._read(silver.handle, silver.name, f"event_date in ({_literals(dates_in(nearby))})"))
        # Files that left the table are in no version that Delta would read here.
        reader = self._session.read.schema("event_id string, session_id string, event_date date")
        reader = reader.option("basePath", self._address(self._lake.path(silver.name)))
        try:
            self._show("touched", reader.parquet(*(self._address(file.path) for file in touched)))
        except AnalysisException as error:
            if error.getCondition() == "PATH_NOT_FOUND":
                raise LogGone(str(error)) from None
            raise
        query = files("compaction").joinpath("linked_dates.sql").read_text(encoding="utf-8")
        return [(row[0], row[1]) for row in self._session.sql(translated(query, "linked_dates.sql")).collect()]

    def compute(
        self, orders: Sequence[Order], declared: Mapping[str, GoldFile], bases: Mapping[str, Base]
    ) -> Iterator[tuple[Order, Files]]:
        """Compute dated tables; see `gold_engine.Engine`."""
        needed = gold_files.needed_dates({order.file.name: order.dates for order in orders}, declared)
        filesystem = self._lake.filesystem()
        # Below a gold table's folder, whose vacuum takes what a crash leaves.
        staging = f"{self._lake.path(f'gold/{orders[0].file.name}')}/spark-{uuid.uuid4()}"
        try:
            for source in declared.values():
                if source.is_source and needed.get(source.name):
                    self._show_bases(source, declared, needed[source.name], bases)
                    self._stage(source, f"{staging}/{source.name}")
            for order in orders:
                yield order, self._compute(order, declared, bases)
        finally:
            if filesystem.exists(staging):
                filesystem.rm(staging, recursive=True)

    def _stage(self, source: GoldFile, folder: str) -> None:
        """Write what a source gives, once for all tables that read it.

        A cached frame would not do: each table's plan would hold the source's, and be as slow to make (36 s of 90 s).
        """
        rows = self._query(source)
        rows.write.option("compression", "zstd").parquet(self._address(folder))
        self._show(source.name, self._session.read.schema(rows.schema).parquet(self._address(folder)))

    def compute_whole(self, order: Order, sources: Mapping[str, DeltaTable]) -> Files:
        """Compute a table without dates; see `gold_engine.Engine`."""
        started = time.perf_counter()
        for name in (read.source for read in order.file.reads):
            self._show(name.removeprefix("gold/"), self._read(sources[name], name))
        return self._write(order, self._typed(order.file), started)

    def _compute(self, order: Order, declared: Mapping[str, GoldFile], bases: Mapping[str, Base]) -> Files:
        started = time.perf_counter()
        parts = []
        if order.dates:
            self._show_bases(order.file, declared, order.dates, bases)
            parts.append(self._typed(order.file))
        if order.is_full and order.kept_before > dt.date.min:
            parts.append(self._kept(order))
        if not parts:
            return Files([], 0, 0.0)
        return self._write(order, parts[0] if len(parts) == 1 else parts[0].unionByName(parts[1]), started)

    def _kept(self, order: Order) -> DataFrame:
        """Return the rows that a full rebuild keeps, in the columns of the new ones."""
        had = self._read(order.handle, f"gold/{order.file.name}", f"event_date < date'{order.kept_before}'")
        return had.selectExpr(
            *(
                f"cast({f'`{column.name}`' if column.name in had.columns else 'null'} as {type_in_spark(column.type)}) "
                f"as `{column.name}`"
                for column in order.file.columns
            )
        )

    def _show_bases(
        self, file: GoldFile, declared: Mapping[str, GoldFile], dates: frozenset[dt.date], bases: Mapping[str, Base]
    ) -> None:
        """Make `wanted` and the bases that a file reads, cut down to what its window says."""
        self._show("wanted", self._session.sql(f"select explode(array({_literals(dates)})) as event_date"))
        for read in file.reads:
            if read.source in declared:
                continue
            if read.source == "null_partition":
                undated = self._read(bases["silver"].handle, "silver", "event_date is null")
                self._show("null_partition", undated.selectExpr("*", "cast(ingest_timestamp as date) as ingest_date"))
            else:
                base = bases[read.source]
                (column,) = base.handle.metadata().partition_columns
                near = _literals(gold_files.window(read, dates))
                self._show(base.name, self._read(base.handle, base.name, f"{column} in ({near})"))

    def _query(self, file: GoldFile) -> DataFrame:
        return self._session.sql(translated(file.sql, f"{file.name}.sql"))

    def _typed(self, file: GoldFile) -> DataFrame:
        """Return what a file's SQL gives, in the types of its header."""
        types = ((column.name, type_in_spark(column.type)) for column in file.columns)
        return self._query(file).selectExpr(*(f"cast(`{name}` as {kind}) as `{name}`" for name, kind in types))

    def _read(self, handle: DeltaTable, name: str, where: str | None = None) -> DataFrame:
        """Return a table's rows at the handle's version."""
        reader = self._session.read.format("delta").option("versionAsOf", handle.version())
        frame = reader.load(self._address(self._lake.path(name)))
        return frame if where is None else frame.where(where)

    def _show(self, view: str, frame: DataFrame) -> None:
        frame.createOrReplaceTempView(view)

    def _address(self, path: str) -> str:
        return f"s3a://{path.removeprefix('s3://')}" if self._lake.is_s3 else f"file://{path}"

    def _write(self, order: Order, rows: DataFrame, started: float) -> Files:
        """Write rows as Parquet files below the table's folder; no reader sees them until a commit names them."""
        root = self._lake.path(f"gold/{order.file.name}")
        folder = f"spark-{uuid.uuid4()}"
        # Else each task would write a small file for each date.
        columns = order.handle.metadata().partition_columns
        writer = rows.hint("rebalance", *columns).write.option("compression", "zstd").partitionBy(*columns)
        writer.parquet(self._address(f"{root}/{folder}"))
        actions, count = self._described(root, folder)
        return Files(actions, count, time.perf_counter() - started)

    def _described(self, root: str, folder: str) -> tuple[list[AddAction], int]:
        """Return what a commit has to add of a folder that Spark wrote, and how many rows that is."""
        filesystem = self._lake.filesystem()
        beneath = f"{root}/{folder}".removeprefix("s3://")
        found = filesystem.find(beneath) if filesystem.exists(beneath) else []
        data = [path for path in found if path.endswith(".parquet")]
        for path in set(found) - set(data):  # checksums of Hadoop's local file system
            filesystem.rm_file(path)
        now_ms = time.time_ns() // 1_000_000

        def describe(path: str) -> tuple[AddAction, int]:
            with filesystem.open(path, "rb") as file:
                metadata = pq.read_metadata(file)
                size = file.seek(0, 2)
            below = path.removeprefix(f"{beneath}/").split("/")
            names = metadata.schema.to_arrow_schema().names
            partition = dict(map(_partition_value, below[:-1]))
            action = AddAction(
                f"{folder}/{'/'.join(below)}", size, partition, now_ms, True, statistics(metadata, names)
            )
            return action, metadata.num_rows

        with ThreadPoolExecutor(_FOOTER_READERS) as pool:
            described: list[tuple[AddAction, int]] = [each for each in pool.map(describe, data) if each[1] > 0]
        return [action for action, _ in described], sum(rows for _, rows in described)


def _partition_value(part: str) -> tuple[str, str | None]:
    name, _, value = part.partition("=")
    return name, None if value == HIVE_NULL else value


def _literals(dates: Iterable[dt.date]) -> str:
    return ", ".join(f"date'{date}'" for date in sorted(dates))
