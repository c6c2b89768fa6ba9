"""One shard, read in a thread of its own: from the lake's position on, without a gap, at Kinesis' pace.

An answer of `GetRecords` is one batch. Each record in it gets the next ordinal of its shard as its offset; a shard's
records never change and come in the order of their sequence numbers, so whoever reads on from the same record gives the
same ordinals. Records packed by the Kinesis producer library are unpacked first, each with an ordinal of its own.

Kinesis does not say when it no longer has the record to read on from: it begins with the oldest that it has. So reading
on begins *at* the last record done, which must come back; or else a time is known up to which the shard was read, and
everything after it is younger than Kinesis keeps records. And where a torn flush left bronze ahead of silver, nothing
is handed over until the record at bronze's position turned out to be the one that bronze has there.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Final, Protocol

import numpy as np
import pyarrow as pa
from faust.types import TP

from kinesis import Answer, Description, IteratorExpired, Record, Shard, unpack
from schemas.errors import BrokerUnavailable, OffsetsGone
from schemas.tables import RECORDS
from sink.positions import Source
from sink.shards import SEQUENCE_HEADER, SUB_SEQUENCE_HEADER
from stream_app.batches import POLL_S, Fetched
from stream_app.patience import Patience
from stream_app.records import as_records, timestamps

_PAUSE_S: Final = 0.2
"""Kinesis answers five reads a second and shard."""
_IDLE_PAUSE_S: Final = 0.8
"""After an answer without records: others may want to read the shard, too."""
_RETENTION_MARGIN_MS: Final = 300_000
"""For clocks that differ, and for records that expire while we look."""
_HEADERS: Final = RECORDS.field("headers").type
_log = logging.getLogger(__name__)


class ReadsShards(Protocol):
    """What is needed of `kinesis.Stream`."""

    def describe(self) -> Description:
        """Return what Kinesis says of the stream."""

    def iterator(self, shard_id: str, *, at: int | None = None, after: int | None = None) -> str:
        """Return an iterator that begins at or after a sequence number, or with the oldest record there is."""

    def get(self, iterator: str) -> Answer:
        """Read from an iterator."""


class ShardReader:
    """Reads one shard under one claim. The attributes may be read by any thread.

    Attributes:
        last_fetched: ordinal of the last record handed over, or the one before the first.
        last_arrived_ms: when the last record seen arrived at Kinesis; 0 before the first.
        known_to_ms: the shard's records up to this time were fetched; None where nothing is known.
        idle_at_ms: when it was last found that there is nothing more to fetch for now; None while there is.
        is_caught_up: whether everything was handed over that was there when this reader began.
        has_ended: whether the shard is closed and was fetched to its end.
    """

    def __init__(
        self,
        stream: ReadsShards,
        shard: Shard,
        tp: TP,
        topic_id: str,
        claim_number: int,
        *,
        next_offset: int,
        sequence_number: int | None,
        known_to_ms: int | None,
        torn: tuple[int, int] | None,
        stopping: threading.Event,
        has_room: Callable[[], bool],
        calls: threading.Semaphore,
        hand_over: Callable[[TP, list[Fetched], int, bool], None],
        on_end: Callable[[], None],
        on_failure: Callable[[BaseException], None],
    ) -> None:
        """Set up; `start` begins.

        Args:
            stream: where the shard is.
            shard: to read.
            tp: what the worker calls it.
            topic_id: the stream's id.
            claim_number: of the claim under which it is read.
            next_offset: ordinal of the first record to hand over.
            sequence_number: of the record before that; None where there is none: read from the oldest record on.
            known_to_ms: everything up to this time is done; None where that isn't known, or where nothing was promised
                of an unread shard.
            torn: ordinal and sequence number of the last record in bronze, where that is ahead.
            stopping: ends the thread.
            has_room: whether more may be handed over.
            calls: held while an answer is fetched and converted, to bound the memory of all readers together.
            hand_over: takes new batches, the last ordinal in them, and whether all is there that was at the begin.
            on_end: called at the end of a closed shard.
            on_failure: called with what waiting will not mend.
        """
        self._stream = stream
        self._shard = shard
        self._tp = tp
        self._topic_id = topic_id
        self._claim_number = claim_number
        self._sequence_number = sequence_number
        self._torn = torn
        self._held: list[Fetched] = []
        self._stopping = stopping
        self._has_room = has_room
        self._calls = calls
        self._hand_over = hand_over
        self._on_end = on_end
        self._on_failure = on_failure
        self._began_ms = time.time_ns() // 1_000_000
        self._patiently = Patience(stopping, BrokerUnavailable, "Kinesis")
        self._thread = threading.Thread(target=self._guard, name=shard.shard_id, daemon=True)
        self.last_fetched = next_offset - 1
        self.last_arrived_ms = 0
        self.known_to_ms = known_to_ms
        self.idle_at_ms: int | None = None
        self.is_caught_up = False
        self.has_ended = False

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def join(self, timeout_s: float) -> None:
        """Wait for the thread's end."""
        self._thread.join(timeout_s)

    def _guard(self) -> None:
        """Run the thread's loop: whatever fails in it stops the worker, never hangs it."""
        try:
            for answer in self._answers():
                self._take(answer)
        except BaseException as error:
            if not self._stopping.is_set():
                self._on_failure(error)
        else:
            if self.has_ended:
                self._on_end()

    # ---------------------------------------------------------------- reading

    def _answers(self) -> Iterator[Answer]:
        """Yield each answer's records that were not fetched yet, until the end of the shard or of the worker.

        Each is yielded with a permit for a call held; taking the next gives it back.

        Raises:
            OffsetsGone: records between the last one done and the first that Kinesis has may have expired.
        """
        iterator: str | None = None
        must_prove = False
        while not self._stopping.is_set():
            if not self._has_room():
                self._stopping.wait(POLL_S)
                continue
            if iterator is None:
                iterator = self._patiently(self._new_iterator)
                must_prove = self._sequence_number is not None
                if not must_prove and self.known_to_ms is not None:
                    self._require_nothing_expired(None)
            asked_ms, asked = time.time_ns() // 1_000_000, time.monotonic()
            try:
                answer = self._patiently(partial(self._get_with_permit, iterator))
            except IteratorExpired:
                _log.info("%s: the iterator expired, asking for another one", self._shard.shard_id)
                iterator = None
                continue
            try:
                if must_prove and (answer.records or answer.behind_ms == 0 or answer.next_iterator is None):
                    answer = self._without_last_done(answer)
                    must_prove = False
                iterator = answer.next_iterator
                self._note_times(answer, asked_ms)
                yield answer
            finally:
                self._calls.release()
            if iterator is None:
                self.has_ended = True
                return
            pause_s = _PAUSE_S if answer.records else _IDLE_PAUSE_S
            self._stopping.wait(max(0.0, asked + pause_s - time.monotonic()))

    def _get_with_permit(self, iterator: str) -> Answer:
        """Return an answer with a permit held; none is held while Kinesis refuses, so that other shards go on."""
        self._calls.acquire()
        try:
            return self._stream.get(iterator)
        except BaseException:
            self._calls.release()
            raise

    def _new_iterator(self) -> str:
        return self._stream.iterator(self._shard.shard_id, at=self._sequence_number)

    def _without_last_done(self, answer: Answer) -> Answer:
        """Return the records after the last one done, which comes first, or is gone and nothing after it is."""
        first = answer.records[0] if answer.records else None
        if first is not None and first.sequence_number == self._sequence_number:
            self.last_arrived_ms = max(self.last_arrived_ms, first.arrived_ms)
            return replace(answer, records=answer.records[1:])
        self._require_nothing_expired(first)
        return answer

    def _require_nothing_expired(self, first: Record | None) -> None:
        retention_ms = self._patiently(self._stream.describe).retention_s * 1000
        kept_from_ms = time.time_ns() // 1_000_000 - retention_ms + _RETENTION_MARGIN_MS
        if self.known_to_ms is not None and self.known_to_ms >= kept_from_ms:
            return
        done = (
            f"has {self.last_fetched + 1:,} records of it, the last with sequence number {self._sequence_number}"
            if self._sequence_number is not None
            else "has no record of it"
        )
        read_to = f", read to {_time(self.known_to_ms)}" if self.known_to_ms is not None else ""
        found = (
            f"begins with sequence number {first.sequence_number} of {_time(first.arrived_ms)}"
            if first is not None
            else "has no such record"
        )
        raise OffsetsGone(
            f"{self._tp.topic} {self._shard.shard_id}: the lake {done}{read_to}; the shard now {found}, and the stream "
            f"keeps records for {retention_ms / 3_600_000:.0f} h: those between may have expired before they were "
            "read. Start a new lake with --lake, and keep records longer (aws kinesis "
            "increase-stream-retention-period)"
        )

    def _note_times(self, answer: Answer, asked_ms: int) -> None:
        self.known_to_ms = max(self.known_to_ms or 0, asked_ms - answer.behind_ms)
        if answer.records:
            self.last_arrived_ms = answer.records[-1].arrived_ms
        self.idle_at_ms = asked_ms if answer.behind_ms == 0 and not answer.records else None

    def _catches_up(self, answer: Answer) -> bool:
        """Return whether an answer ends at the tip; where records never stop coming, one of after our begin says it."""
        return answer.behind_ms == 0 and (not answer.records or answer.records[-1].arrived_ms >= self._began_ms)

    # ---------------------------------------------------------------- records

    def _take(self, answer: Answer) -> None:
        if answer.records:
            self._sequence_number = answer.records[-1].sequence_number
            records = to_records(
                answer.records,
                self._tp,
                self._topic_id,
                first_offset=self.last_fetched + 1,
                ingest_timestamp_us=time.time_ns() // 1000,
            )
            if records.num_rows:
                self.last_fetched += records.num_rows
                self._held.append(Fetched(records, self._claim_number))
                self._compare_with_torn(records)
        if self._torn is not None:
            if self.idle_at_ms is not None or answer.next_iterator is None:
                raise self._other_records("has no such record")
            return
        is_caught_up = self.is_caught_up or self._catches_up(answer)
        self._hand_over(self._tp, self._held, self.last_fetched, is_caught_up)
        self._held = []
        self.is_caught_up = is_caught_up

    def _compare_with_torn(self, records: pa.Table) -> None:
        """Raise where the record at bronze's position is another one than bronze's."""
        if self._torn is None or self._torn[0] > self.last_fetched:
            return
        ordinal, expected = self._torn
        headers = dict(records["headers"][ordinal - (self.last_fetched + 1 - records.num_rows)].as_py())
        found = int(headers[SEQUENCE_HEADER])
        if found != expected:
            raise self._other_records(f"gives sequence number {found}")
        self._torn = None

    def _other_records(self, found: str) -> OffsetsGone:
        ordinal, expected = self._torn or (-1, -1)
        return OffsetsGone(
            f"{self._tp.topic} {self._shard.shard_id}: a flush that was cut short left record {ordinal:,} of it in "
            f"bronze, with sequence number {expected}, and the shard now {found} in its place: records before it "
            "expired before they were read. Start a new lake with --lake"
        )


def to_records(
    records: list[Record], tp: TP, topic_id: str, *, first_offset: int, ingest_timestamp_us: int
) -> pa.Table:
    """Return one shard's records as a table of schema `RECORDS`, packed ones as the records that they hold.

    Args:
        records: in the shard's order.
        tp: stream and number of the shard.
        topic_id: the stream's id.
        first_offset: ordinal of the first.
        ingest_timestamp_us: when they were fetched, microseconds since 1970 UTC.
    """
    keys: list[bytes] = []
    values: list[bytes] = []
    times_ms: list[int] = []
    headers: list[list[tuple[str, bytes]]] = []
    for record in records:
        sequence = (SEQUENCE_HEADER, str(record.sequence_number).encode())
        packed = unpack(record.value)
        if packed is None:
            keys.append(record.key.encode())
            values.append(record.value)
            times_ms.append(record.arrived_ms)
            headers.append([sequence])
            continue
        for number, (key, value) in enumerate(packed):
            keys.append(key.encode())
            values.append(value)
            times_ms.append(record.arrived_ms)
            headers.append([sequence, (SUB_SEQUENCE_HEADER, str(number).encode())])
    return as_records(
        Source(tp.topic, topic_id, tp.partition),
        np.arange(first_offset, first_offset + len(values), dtype=np.int64),
        timestamps(np.array(times_ms, np.int64)),
        pa.array(keys, pa.binary()),
        pa.array(values, pa.binary()),
        pa.array(headers, _HEADERS),
        ingest_timestamp_us,
    )


def _time(time_ms: int) -> str:
    return f"{datetime.fromtimestamp(time_ms / 1000, UTC):%Y-%m-%d %H:%M:%S}Z"
