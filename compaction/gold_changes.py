"""Which dates of gold follow from silver and quarantine as they are now, but not as a gold table shows them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import duckdb
from deltalake import DeltaTable

from compaction import gold_files
from compaction.delta_log import EXPIRE_KEY, Commit, DataFile, LogGone, commits, live_files
from compaction.gold_files import GoldFile
from sink.gone import expired_before
from sink.lake import Lake
from sink.scan import create_view


@dataclass(frozen=True)
class Base:
    """Silver or quarantine as one refresh sees it: the same version for all gold tables.

    Attributes:
        name: `silver` or `quarantine`.
        handle: the table at that version.
        files: its live files.
    """

    name: str
    handle: DeltaTable
    files: list[DataFile]

    def of(self, dates: Iterable[dt.date]) -> list[DataFile]:
        """Return the files of some dates."""
        partitions = {str(date) for date in dates}
        return [file for file in self.files if file.partition in partitions]

    @cached_property
    def expired_before(self) -> dt.date:
        """Dates before this one have lost their rows, or some of them; gold never computes them anew."""
        return expired_before(self.handle) or dt.date.min

    @cached_property
    def txn(self) -> str:
        """Beginning of the `txn` id under which gold tables keep this base's version."""
        # A table made anew under the same path starts at version 0 again: its id keeps the two apart.
        return f"playlake.gold/{self.name}/{self.handle.metadata().id}"


def open_base(lake: Lake, name: str) -> Base:
    """Open silver or quarantine at its newest version.

    Raises:
        LakeNotFound, IncompatibleLake, StoreUnavailable: as `Lake.table`.
    """
    handle = lake.table(name)
    return Base(name, handle, live_files(handle, lake.path(name)))


def seen_versions(
    handle: DeltaTable, table: GoldFile, declared: Mapping[str, GoldFile], bases: Mapping[str, Base]
) -> dict[str, int] | None:
    """Return the versions that a gold table shows; None when it has to be built anew."""
    fingerprint = gold_files.fingerprint(table.name, declared)
    seen: dict[str, int] = {}
    for name, base in bases.items():
        version = handle.transaction_version(f"{base.txn}@{fingerprint}")
        if version is None or version > base.handle.version():
            return None
        seen[name] = version
    return seen


LinkedDates: TypeAlias = Callable[[Base, list[DataFile], list[DataFile]], Iterable[tuple[str, dt.date]]]
"""What joins the rows of changed files with those of dates around; `gold_engine.Engine.linked_dates`."""


class Changes:
    """Which dates changed since some version; asked once per refresh for each version that the tables are at."""

    def __init__(
        self, lake: Lake, con: duckdb.DuckDBPyConnection, bases: Mapping[str, Base], linked_dates: LinkedDates
    ) -> None:
        self._lake = lake
        self._con = con
        self._bases = bases
        self._ask_linked_dates = linked_dates
        self._commits: dict[tuple[str, int], list[Commit]] = {}
        self._linked: dict[int, dict[str, frozenset[dt.date]]] = {}

    def affected(
        self, file: GoldFile, declared: Mapping[str, GoldFile], since: Mapping[str, int]
    ) -> frozenset[dt.date] | None:
        """Return the dates of a file to compute anew; None when the log no longer says."""
        try:
            return self._affected(file, declared, since)
        except LogGone:
            return None

    def _affected(
        self, file: GoldFile, declared: Mapping[str, GoldFile], since: Mapping[str, int]
    ) -> frozenset[dt.date]:
        dates: frozenset[dt.date] = frozenset()
        for read in file.reads:
            if read.source in declared:
                changed = self._affected(declared[read.source], declared, since)
            elif read.source == "null_partition":
                changed = self._null_partition(since["silver"])
            else:
                changed = self._partitions(read.source, since[read.source])
            if read.link:
                dates |= changed | self._linked_dates(since["silver"], declared).get(file.name, frozenset())
            else:
                dates |= gold_files.shift(changed, -read.after, -read.before)
        return dates

    def _since(self, name: str, version: int) -> list[Commit]:
        if (name, version) not in self._commits:
            newest = self._bases[name].handle.version()
            self._commits[name, version] = [
                commit
                for commit in commits(self._lake, name, version, newest)
                if commit.changes_data and EXPIRE_KEY not in commit.info  # gold keeps what expired
            ]
        return self._commits[name, version]

    def _touched(self, version: int) -> list[DataFile]:
        return [file for commit in self._since("silver", version) for file in commit.touched]

    def _partitions(self, name: str, version: int) -> frozenset[dt.date]:
        return dates_in(file for commit in self._since(name, version) for file in commit.touched)

    def _null_partition(self, version: int) -> frozenset[dt.date]:
        """Return the ingest dates of rows that came to the null partition or left it."""
        touched = [file.path for file in self._touched(version) if file.partition is None]
        if not touched:
            return frozenset()
        try:
            create_view(self._con, "touched", self._bases["silver"].handle, touched)
            rows = self._con.execute("select distinct cast(ingest_timestamp as date) from touched").fetchall()
        except (duckdb.IOException, FileNotFoundError) as error:  # a file that left the table was vacuumed since
            raise LogGone(str(error)) from None
        return frozenset(row[0] for row in rows)

    def _linked_dates(self, version: int, declared: Mapping[str, GoldFile]) -> dict[str, frozenset[dt.date]]:
        """Return, per source with a linked read, the dates that changes reach by shared ids."""
        if version not in self._linked:
            touched = [file for file in self._touched(version) if file.partition is not None]
            changed = dates_in(touched)
            near = gold_files.needed_dates({"watched": changed}, declared)["silver"]
            nearby = self._bases["silver"].of(near)
            found: dict[str, set[dt.date]] = {}
            if not dates_in(nearby) <= changed:  # else every date is computed anyway
                for source, date in self._ask_linked_dates(self._bases["silver"], nearby, touched):
                    found.setdefault(source, set()).add(date)
            self._linked[version] = {source: frozenset(dates) for source, dates in found.items()}
        return self._linked[version]


def dates_in(files: Iterable[DataFile]) -> frozenset[dt.date]:
    """Return the dates of files' lake partitions, without the null partition."""
    return frozenset(dt.date.fromisoformat(file.partition) for file in files if file.partition is not None)
