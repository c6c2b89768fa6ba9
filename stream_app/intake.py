"""Files as batches of records on their way through Faust, their ordinals counted on from one file to the next."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from landing.place import File, FileGone, Place
from landing.read import Batch, Format, format_of, read
from schemas.errors import BrokerUnavailable, OffsetsGone
from schemas.tables import RECORDS
from sink.ledger import Ledger, Taken
from sink.positions import Source
from stream_app.patience import Patience
from stream_app.records import as_records

_TIMESTAMP: Final = RECORDS.field("broker_timestamp").type
_log = logging.getLogger(__name__)


@dataclass
class Intake:
    """What was read since a worker began.

    Attributes:
        files: files, those begun by an earlier worker among them.
        unreadable: of these, those that could not be read to their ends.
        changed: files with another content than when they were taken.
    """

    files: int = 0
    unreadable: int = 0
    changed: int = 0


class FileReader:
    """Reads files of one place one after the other. For one thread; `counts` and `last_fetched` for any."""

    def __init__(
        self,
        place: Place,
        source: Source,
        ledger: Ledger,
        *,
        file_format: Format | None,
        stopping: threading.Event,
        hand_over: Callable[[pa.Table], None],
        counts: Intake,
    ) -> None:
        """Set up.

        Args:
            place: where files are.
            source: what their records are called.
            ledger: told of each file before its records are handed over.
            file_format: of all files; None goes by their names.
            stopping: ends reading, in the middle of a file, too.
            hand_over: takes records (schema `RECORDS`); may wait until there is room.
            counts: to be kept.
        """
        self._place = place
        self._source = source
        self._ledger = ledger
        self._format = file_format
        self._stopping = stopping
        self._hand_over = hand_over
        self._patiently = Patience(stopping, BrokerUnavailable, place.uri)
        self.counts = counts
        self.last_fetched = -1

    def take(self, file: File) -> Taken | None:
        """Read a new file.

        Returns:
            Its entry in the ledger; None where it went, or changed, since it was listed: the next round finds it anew.

        Raises:
            FileGone: it went while it was read, with some of its records handed over.
        """
        first_offset = self.last_fetched + 1
        file_format = self._format or format_of(file.path)
        begun: list[Taken] = []

        def begin() -> None:
            if not begun:
                entry = (file.path, file.size, file.etag, file.modified_us, file_format, first_offset)
                begun.append(self._ledger.begin(*entry))

        try:
            self._read(file, file_format, first_offset, first_offset, begin)
        except FileGone as error:
            if begun:
                raise
            _log.warning("%s: left to the next round", error)
            return None
        return begun[0] if begun else None

    def take_again(self, taken: Taken, until: int | None, next_offset: int, bronze: int) -> None:
        """Read a file that an earlier worker began, and hand over what silver has not.

        Args:
            taken: its entry.
            until: ordinal of the next file's first record; None for the last one, whose end is not known.
            next_offset: first ordinal that silver has not.
            bronze: last ordinal that bronze has.

        Raises:
            FileGone: it is no longer what it was.
            OffsetsGone: it gives other records than before.
        """
        file = File(taken.path, taken.size, taken.etag, taken.modified_us)
        file_format: Format = "csv" if taken.format == "csv" else "json"
        count = self._read(file, file_format, taken.first_offset, next_offset, lambda: None)
        if self._stopping.is_set():
            return
        end = taken.first_offset + count
        if (until is not None and end != until) or (until is None and end <= bronze):
            raise OffsetsGone(
                f"{self._place.uri}/{taken.path} gives {count:,} records now, and gave others when it was begun: was "
                "that by another version of playlake? Nothing of it was written again; put it under a new name"
            )

    def _read(
        self, file: File, file_format: Format, first_offset: int, next_offset: int, begin: Callable[[], None]
    ) -> int:
        """Read a file, from its beginning again whenever the place was away; return its number of records."""
        self.last_fetched = max(self.last_fetched, next_offset - 1)
        count = 0

        def from_the_start() -> None:
            nonlocal count
            at = first_offset
            batches = read(self._place, file, file_format)
            batch = next(batches, None)
            begin()
            while batch is not None and not self._stopping.is_set():
                end = at + len(batch.values)
                if end - 1 > self.last_fetched:
                    skip = max(0, self.last_fetched + 1 - at)
                    self._hand_over(self._records(file, batch, at).slice(skip))
                    self.last_fetched = end - 1
                    if batch.is_error:
                        self._tell_unreadable(file, batch)
                at = end
                batch = next(batches, None)
            count = at - first_offset

        self._patiently(from_the_start)
        self.counts.files += 1
        return count

    def _tell_unreadable(self, file: File, batch: Batch) -> None:
        self.counts.unreadable += 1
        [(_, why)] = batch.headers[0].as_py()
        _log.warning("%s/%s, line %s: %s", self._place.uri, file.path, batch.places[0], why.decode())

    def _records(self, file: File, batch: Batch, first_offset: int) -> pa.Table:
        count = len(batch.values)
        keys = pc.binary_join_element_wise(pa.scalar(file.path), batch.places, ":").cast(pa.binary())
        return as_records(
            self._source,
            np.arange(first_offset, first_offset + count, dtype=np.int64),
            pa.repeat(pa.scalar(file.modified_us, pa.int64()), count).cast(_TIMESTAMP),
            keys,
            batch.values,
            batch.headers,
            time.time_ns() // 1000,
        )
