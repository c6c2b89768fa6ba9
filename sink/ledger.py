"""Which files a lake has taken in: the table `ingest/files`, a row a file, in the order in which they were read.

The records of a place's files are counted like those of a Kinesis shard: a source's offset is the record's ordinal
among all that were read there, from 0 without a hole. The ledger says at which ordinal a file's records begin, so an
ordinal is a file and a record of it. It is written ahead: no record of a file is committed to bronze before the file's
row is. What a flush that was cut short left here beyond bronze is taken out by the next claim; what is then left holds.

Beside silver's position its `txn` entries keep two more numbers, of files in the ledger:

    …#files-done      every file up to this number is in the lake to its end
    …#files-settled   every file whose name is not behind that of this one is in the ledger, or found by a sweep only
    …#files-swept     when all names were listed the last time, in seconds since 1970
"""

from __future__ import annotations

import datetime as dt
import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import duckdb
import pyarrow as pa
from deltalake import DeltaTable, Transaction
from deltalake.exceptions import CommitFailedError, DeltaError

from schemas.errors import CommitConflict, FenceLost
from schemas.tables import FILES
from sink import positions
from sink.files import write_files
from sink.lake import Lake, append, store_trouble
from sink.positions import Source
from sink.scan import connect, create_view

_MAX_ATTEMPTS: Final = 20
_ROWS_AT_ONCE: Final = 10_000


@dataclass(frozen=True)
class Taken:
    """A file of the ledger.

    Attributes:
        path: below its place.
        size: bytes, as the file was when it was taken.
        etag: of that content.
        modified_us: when it had been written, microseconds since 1970 UTC.
        format: as which it was read, `json` or `csv`.
        number: counts a source's files from 0, in the order in which they were read.
        first_offset: ordinal of its first record, if it has any.
    """

    path: str
    size: int
    etag: str
    modified_us: int
    format: str
    number: int
    first_offset: int


def ledger_of(lake: Lake) -> Lake:
    """Return the lake as one whose only table is the ledger, `files`."""
    return Lake(lake.uri, {FILES.name: FILES})


def fact_ids(source: Source) -> tuple[str, str, str]:
    """Return the `txn` ids of silver for files done, files settled and the last sweep."""
    return f"{source.app_id}#files-done", f"{source.app_id}#files-settled", f"{source.app_id}#files-swept"


class Ledger:
    """One source's part of the ledger, under one claim.

    `write` is called by the thread that commits; everything else by the one that reads files.
    """

    def __init__(self, lake: Lake, source: Source, *, step: Callable[[str], None] | None = None) -> None:
        """Open the table, making it where it isn't there.

        Args:
            lake: of which it is the ledger.
            source: the place.
            step: called with `before ledger` and `after ledger` around each commit of files: fault points of tests.

        Raises:
            IncompatibleLake, StoreUnavailable: as `Lake.table`.
        """
        self._lake = ledger_of(lake)
        self._source = source
        self._step = step or (lambda name: None)
        self._handle = self._lake.table_or_create(FILES.name)
        # The fence compares epochs on the handle that commits: nobody else may bring that one up to date in between.
        self._looking = self._lake.table(FILES.name)
        self._epoch: int | None = None
        self._lock = threading.Lock()
        self._waiting: list[Taken] = []
        self._next_number = 0

    def claim(self, epoch: int, bronze: int | None, done: int | None) -> None:
        """Refuse earlier claimants from now on, and take out what no table holds records of.

        Args:
            epoch: of the claim on silver, just now.
            bronze: bronze's position; None before the first flush.
            done: number of the last file known to be in the lake to its end.

        Raises:
            FenceLost: a later claimant was here.
            CommitConflict, StoreUnavailable: the claim is to be made again.
        """
        for attempt in range(_MAX_ATTEMPTS):
            self._reload()
            found = positions.epoch(self._handle, self._source)
            if found > epoch:
                raise self._lost()
            if found == epoch or self._commit([], [Transaction(self._source.epoch_id, epoch)]):
                break
            _pause(attempt)
        else:
            raise self._conflict()
        self._epoch = epoch
        self._trim(-1 if bronze is None else bronze, -1 if done is None else done)
        highest = positions.position(self._handle, self._source)
        with self._lock:
            self._waiting = []
            # Numbers taken out are not used again, so the `txn` of the highest one tells what has landed.
            self._next_number = 1 + (highest if highest is not None else -1)

    def _trim(self, bronze: int, done: int) -> None:
        torn = (
            f"topic_id = '{self._source.topic_id}' and topic = '{self._source.topic}' "
            f"and first_offset > {bronze} and number > {done}"
        )
        beyond = self._select("first_offset > $bronze and number > $done", bronze=bronze, done=done)
        if next(beyond, None) is None:
            return
        for attempt in range(_MAX_ATTEMPTS):
            try:
                self._handle.delete(torn)
                return
            except CommitFailedError:
                _pause(attempt)
                self._reload()
            except (OSError, DeltaError) as error:
                raise store_trouble(self._lake.path(FILES.name), error) from error
        raise self._conflict()

    # ---------------------------------------------------------------- what is written

    def begin(self, path: str, size: int, etag: str, modified_us: int, file_format: str, first_offset: int) -> Taken:
        """Note that a file is read from now on; `write` commits it."""
        with self._lock:
            taken = Taken(path, size, etag, modified_us, file_format, self._next_number, first_offset)
            self._next_number += 1
            self._waiting.append(taken)
            return taken

    def write(self) -> None:
        """Commit the files begun since the last time.

        Raises:
            FenceLost: another claimant was here; nothing was written.
            StoreUnavailable: it may be written or not; call again.
        """
        with self._lock:
            waiting = list(self._waiting)
        if not waiting:
            return
        files = None
        for attempt in range(_MAX_ATTEMPTS):
            self._reload()
            if self._epoch is None or positions.epoch(self._handle, self._source) != self._epoch:
                raise self._lost()
            # What landed under our epoch is ours, also where the answer to a commit was lost.
            landed = positions.position(self._handle, self._source)
            left = [taken for taken in waiting if landed is None or taken.number > landed]
            if not left:
                break
            self._step("before ledger")
            files = write_files(self._lake, FILES.name, self._rows(left)) if files is None else files
            entries = [
                Transaction(self._source.app_id, left[-1].number),
                Transaction(self._source.epoch_id, self._epoch),
            ]
            if self._commit(files, entries):
                self._step("after ledger")
                break
            _pause(attempt)
        else:
            raise self._conflict()
        with self._lock:
            self._waiting = self._waiting[len(waiting) :]

    def _commit(self, files: list[Any], entries: list[Transaction]) -> bool:
        """Append; return whether it went through, or whether others were faster."""
        try:
            append(self._handle, files, entries)
        except CommitFailedError:
            return False
        except (OSError, DeltaError) as error:
            raise store_trouble(self._lake.path(FILES.name), error) from error
        return True

    def _rows(self, taken: Iterable[Taken]) -> pa.Table:
        now = dt.datetime.now(dt.UTC)
        rows = [
            {
                "topic": self._source.topic,
                "topic_id": self._source.topic_id,
                "number": each.number,
                "first_offset": each.first_offset,
                "path": each.path,
                "size": each.size,
                "etag": each.etag,
                "modified": each.modified_us,
                "format": each.format,
                "taken_at": now,
                "taken_month": now.date().replace(day=1),
            }
            for each in taken
        ]
        columns: Mapping[str, Any] = {name: [row[name] for row in rows] for name in FILES.schema.names}
        return pa.table(columns, schema=FILES.schema)

    # ---------------------------------------------------------------- what is read

    def after(self, path: str | None) -> Iterator[Taken]:
        """Yield the files taken whose names lie behind `path`, None for all, in the order of the bytes of their names.

        Raises:
            StoreUnavailable: the store does not answer.
        """
        yield from self._select("path > $path order by path, number", path=path or "")

    def since(self, number: int) -> list[Taken]:
        """Return the files from a number on, in their order."""
        return list(self._select("number >= $number order by number", number=number))

    def name_of(self, number: int) -> str | None:
        """Return the name of the file with this number; None where there is none."""
        return next((taken.path for taken in self._select("number = $number", number=number)), None)

    def named(self, paths: list[str]) -> dict[str, Taken]:
        """Return those of these files that were taken."""
        found = self._select("list_contains($paths, path) order by number", paths=paths)
        return {taken.path: taken for taken in found}

    def _select(self, condition: str, **arguments: Any) -> Iterator[Taken]:
        """Yield rows of this source, so many at a time: memory does not grow with the ledger."""
        self._update(self._looking)
        columns = "path, size, etag, epoch_us(modified), format, number, first_offset"
        source = "topic = $topic and topic_id = $topic_id"
        con = connect(self._lake)
        try:
            create_view(con, "files", self._looking)
            found = con.execute(
                f"select {columns} from files where {source} and {condition}",  # noqa: S608
                {"topic": self._source.topic, "topic_id": self._source.topic_id, **arguments},
            )
            while rows := found.fetchmany(_ROWS_AT_ONCE):
                yield from (Taken(*row) for row in rows)
        except (duckdb.IOException, OSError) as error:
            raise store_trouble(self._lake.path(FILES.name), error) from error
        finally:
            con.close()

    def _reload(self) -> None:
        self._update(self._handle)

    def _update(self, handle: DeltaTable) -> None:
        try:
            handle.update_incremental()
        except (OSError, DeltaError) as error:
            raise store_trouble(self._lake.path(FILES.name), error) from error

    def _lost(self) -> FenceLost:
        return FenceLost(
            f"another `playlake ingest` took over {self._source.topic}. Nothing is lost or doubled; stop one"
        )

    def _conflict(self) -> CommitConflict:
        return CommitConflict(f"{self._lake.path(FILES.name)} was changed by others at each of {_MAX_ATTEMPTS} tries")


def _pause(attempt: int) -> None:
    """Wait a jittered moment before a refused commit is tried again."""
    time.sleep(random.uniform(0, min(0.05 * 2**attempt, 2.0)))  # noqa: S311  # jitter, no secret
