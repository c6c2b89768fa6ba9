"""Between what a refresh of gold decides and commits, and what runs its SQL: DuckDB, or Spark.

An engine reads silver and quarantine at the versions that the refresh has pinned. What it computed is committed when
`compaction.gold` says so, with the `txn` entries that that gives, whichever engine it was.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable

from compaction.delta_log import DataFile
from compaction.gold_changes import Base
from compaction.gold_files import GoldFile


@dataclass(frozen=True)
class Order:
    """One gold table to compute.

    Attributes:
        file: its SQL file.
        handle: the table, at the version on which it was decided what to compute.
        schema: its columns as the file's header declares them.
        is_full: whether all its rows are replaced; else those of `dates`.
        dates: to compute; empty for a table without dates.
        kept_before: rows of dates before this one stay as they are in a full rebuild, too.
    """

    file: GoldFile
    handle: DeltaTable
    schema: pa.Schema
    is_full: bool
    dates: frozenset[dt.date] = frozenset()
    kept_before: dt.date = dt.date.min

    @property
    def partition_filter(self) -> list[tuple[str, str, list[str]]] | None:
        """The lake partitions that are replaced; None: all."""
        return None if self.is_full else [("event_date", "in", [str(date) for date in sorted(self.dates)])]


class Computed(Protocol):
    """New rows of one gold table, not committed yet."""

    @property
    def rows(self) -> int:
        """How many."""

    @property
    def seconds(self) -> float:
        """What its own queries took; shared sources not included."""

    def overwrite(self, order: Order, properties: CommitProperties) -> None:
        """Commit them in place of those that the order replaces, upon the order's handle.

        Raises:
            CommitFailedError: another commit came in between.
            OSError, DeltaError: the store's trouble.
        """


class Engine(Protocol):
    """Runs the SQL of gold."""

    def linked_dates(
        self, silver: Base, nearby: Sequence[DataFile], touched: Sequence[DataFile]
    ) -> Iterable[tuple[str, dt.date]]:
        """Answer `linked_dates.sql`: sources with the dates that changed rows reach by shared ids.

        Args:
            silver: as the refresh sees it.
            nearby: all its files of the dates around the changed ones.
            touched: files that came or went.

        Raises:
            LogGone: one of `touched` was vacuumed since.
        """

    def compute(
        self, orders: Sequence[Order], declared: Mapping[str, GoldFile], bases: Mapping[str, Base]
    ) -> Iterable[tuple[Order, Computed]]:
        """Compute dated tables, at least one, at the versions of `bases`; give an order's rows when they are there."""

    def compute_whole(self, order: Order, sources: Mapping[str, DeltaTable]) -> Computed:
        """Compute a table without dates from gold tables, those that its file reads: `gold/<name>` → handle."""
