"""Process and write beside each other: batches in, flushes out, every step in a thread of its own.

    submit ──> inbox ──> process (one SQL statement a chunk) ──> outbox ──> write (LakeWriter) ──> on_flushed

Fetching, DuckDB and delta-rs all release the interpreter lock, so the three overlap on two cores. Commands (claim,
release, flush, stop) travel through the same two queues, so that each takes effect after everything submitted
before it.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import pyarrow as pa

from schemas.errors import FenceLost, RegistryUnavailable, TransientError
from sink.positions import Source
from sink.writer import Flushed, LakeWriter
from stream_app.budgets import Budgets
from stream_app.catalogue import WatchedCatalogue
from stream_app.known_schemas import KnownSchemas
from stream_app.patience import Patience
from stream_app.process import Processor

Result = TypeVar("Result")

_CHUNK_ROWS: Final = 50_000
"""Records per SQL statement: its working set stays in the processor's cache (measured in `bench/`)."""
_OUTBOX_CHUNKS: Final = 4
_CATALOGUE_CHECK_S: Final = 1.0


@dataclass(frozen=True)
class Limits:
    """When to flush and how much to hold.

    Attributes:
        allowed_latency_s: a row waits at most this long for its flush to start.
        flush_bytes: a flush starts at once when this many bytes of records are buffered.
        max_in_flight_bytes: bytes of records between `submit` and their flush, above which `has_room` is false.
    """

    allowed_latency_s: float = 10.0
    flush_bytes: int = 32 << 20
    max_in_flight_bytes: int = 64 << 20


@dataclass(frozen=True)
class _Batch:
    records: pa.Table
    submitted_at: float


@dataclass(frozen=True)
class _Rows:
    records: pa.Table
    silver: pa.Table
    quarantine: pa.Table
    broken: tuple[int, ...]
    submitted_at: float


@dataclass(frozen=True)
class _Command:
    action: Callable[[], Any]
    answer: Future[Any]
    is_last: bool = False


class Pipeline:
    """The worker's two inner threads. The public methods may be called from any thread."""

    def __init__(
        self,
        writer: LakeWriter,
        processor: Processor,
        catalogue: WatchedCatalogue,
        limits: Limits,
        *,
        schemas: KnownSchemas,
        budgets: Budgets,
        on_flushed: Callable[[Flushed], None],
        on_room: Callable[[], None],
        on_failure: Callable[[BaseException], None],
        before_flush: Callable[[Callable[[], bool]], None] | None = None,
    ) -> None:
        """Set up; `start` begins.

        Args:
            writer: used by the writing thread only from now on.
            processor: used by the processing thread only from now on, and closed when that ends.
            catalogue: looked at about once a second while batches come.
            limits: when to flush and how much to hold.
            schemas: of Avro records; asked before a batch is processed, and waited for.
            budgets: of the processor's rules; asked before a flush, which they may refuse.
            on_flushed: called in the writing thread after each flush that did something; acknowledge only there.
            on_room: called in the writing thread after a flush, when `has_room` may have become true.
            on_failure: called once, in the thread that failed, with an error that waiting will not mend (a
                `TerminalError` or a bug). Nothing more is written after it.
            before_flush: called in the writing thread before a flush of anything, with a function that tells whether
                to give up waiting. If it raises, nothing is written, as after any failure.
        """
        self._writer = writer
        self._processor = processor
        self._catalogue = catalogue
        self._schemas = schemas
        self._budgets = budgets
        self._limits = limits
        self._flush_bytes = min(limits.flush_bytes, limits.max_in_flight_bytes)  # once full, nothing more comes
        self._on_flushed = on_flushed
        self._on_room = on_room
        self._on_failure = on_failure
        self._before_flush = before_flush
        self._inbox: queue.SimpleQueue[_Batch | _Command] = queue.SimpleQueue()
        self._outbox: queue.Queue[_Rows | _Command] = queue.Queue(_OUTBOX_CHUNKS)
        self._lock = threading.Lock()
        self._in_flight_bytes = 0
        self._buffered_bytes = 0
        self._give_up = threading.Event()
        self._failure: BaseException | None = None
        self._next_catalogue_check = 0.0
        self._patiently = Patience(self._give_up)
        self._ask_registry = Patience(self._give_up, RegistryUnavailable, "the schema registry")
        self._threads = [
            threading.Thread(target=self._guard, args=(loop,), name=name, daemon=True)
            for name, loop in (("process", self._process), ("write", self._write))
        ]

    def start(self) -> None:
        """Start both threads."""
        for thread in self._threads:
            thread.start()

    @property
    def store_trouble(self) -> TransientError | None:
        """Why the store is being waited for; None while it answers."""
        return self._patiently.trouble

    @property
    def registry_trouble(self) -> TransientError | None:
        """Why the schema registry is being waited for; None while it answers."""
        return self._ask_registry.trouble

    @property
    def in_flight_bytes(self) -> int:
        """Bytes of records between `submit` and the end of their flush."""
        return self._in_flight_bytes

    @property
    def has_room(self) -> bool:
        """Whether the next batch may be submitted."""
        return self._in_flight_bytes < self._limits.max_in_flight_bytes

    def submit(self, records: pa.Table) -> None:
        """Take a batch (schema `RECORDS`, offsets ascending within a source). Never blocks; see `has_room` first."""
        with self._lock:
            self._in_flight_bytes += records.nbytes
        self._inbox.put(_Batch(records, time.monotonic()))

    def claim(self, first_offsets: Mapping[Source, int]) -> Future[dict[Source, int]]:
        """Claim sources, as `LakeWriter.claim`; a store that is away is waited for."""
        return self._send(lambda: self._patiently(lambda: self._writer.claim(first_offsets)))

    def release(self, sources: Iterable[Source], *, flush: bool) -> Future[None]:
        """Give sources up, after a flush of what was submitted for them if `flush`."""
        gone = frozenset(sources)

        def action() -> None:
            if flush:
                self._flush()
            self._writer.release(gone)

        return self._send(action)

    def flush(self) -> Future[None]:
        """Commit everything submitted so far."""
        return self._send(self._flush)

    def carry_out(self, action: Callable[[LakeWriter], Result]) -> Future[Result]:
        """Have the writing thread do something between two flushes; a store that is away is waited for."""
        return self._send(lambda: self._patiently(lambda: action(self._writer)))

    def stop(self, *, flush: bool, timeout_s: float) -> bool:
        """Stop both threads, after a last flush if `flush`, and wait for them.

        Args:
            flush: commit what was submitted before.
            timeout_s: how long to try, also when the store is away.

        Returns:
            Whether everything asked for was done. If not, nothing is lost: unflushed records were not acknowledged.
        """
        if not flush:
            self._give_up.set()
        done = self._send(self._flush if flush else lambda: None, is_last=True)
        until = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        self._give_up.set()
        return done.done() and not done.cancelled() and done.exception() is None

    def _send(self, action: Callable[[], Result], *, is_last: bool = False) -> Future[Result]:
        answer: Future[Result] = Future()
        if self._failure is not None:
            answer.set_exception(self._failure)
        else:
            self._inbox.put(_Command(action, answer, is_last))
        return answer

    # ---------------------------------------------------------------- threads

    def _guard(self, loop: Callable[[], None]) -> None:
        """Run a thread's loop; the one place where any error ends the pipeline instead of the thread alone."""
        try:
            loop()
        except BaseException as error:
            with self._lock:
                is_first = self._failure is None
                self._failure = self._failure or error
            self._give_up.set()
            self._refuse_waiting(error)
            if is_first:
                self._end_the_other_thread()
                self._on_failure(error)

    def _end_the_other_thread(self) -> None:
        last = _Command(lambda: None, Future(), is_last=True)
        self._inbox.put(last)
        with contextlib.suppress(queue.Full):
            self._outbox.put_nowait(last)

    def _refuse_waiting(self, error: BaseException) -> None:
        """Answer every command still queued with the failure; nobody will carry it out."""
        for waiting in (self._inbox, self._outbox):
            while True:
                try:
                    item = waiting.get_nowait()
                except queue.Empty:
                    break
                if isinstance(item, _Command):
                    _answer(item.answer, error)

    def _process(self) -> None:
        with contextlib.closing(self._processor):
            self._process_until_last()

    def _process_until_last(self) -> None:
        while True:
            item = self._inbox.get()
            command: _Command | None
            if isinstance(item, _Batch):
                batches, command = self._gather(item)
                self._pass_on(self._judge(batches))
            else:
                command = item
            if command is not None:
                self._pass_on(command)
                if command.is_last:
                    return

    def _gather(self, first: _Batch) -> tuple[list[_Batch], _Command | None]:
        """Return `first` and what waits behind it, up to a chunk or to the next command, which comes second."""
        batches, rows = [first], first.records.num_rows
        while rows < _CHUNK_ROWS:
            try:
                item = self._inbox.get_nowait()
            except queue.Empty:
                break
            if isinstance(item, _Command):
                return batches, item
            batches.append(item)
            rows += item.records.num_rows
        return batches, None

    def _judge(self, batches: list[_Batch]) -> _Rows:
        now = time.monotonic()
        if now >= self._next_catalogue_check:
            self._next_catalogue_check = now + _CATALOGUE_CHECK_S
            if self._catalogue.reload_if_changed():
                self._processor.use_titles(self._catalogue.titles)
        records = pa.concat_tables([batch.records for batch in batches])
        schemas = self._ask_registry(lambda: self._schemas.used_in(records))
        processed = self._processor(records, schemas)
        return _Rows(records, processed.silver, processed.quarantine, processed.broken, batches[0].submitted_at)

    def _pass_on(self, item: _Rows | _Command) -> None:
        while True:
            try:
                self._outbox.put(item, timeout=1.0)
                return
            except queue.Full:
                if self._failure is not None:
                    raise self._failure from None

    def _write(self) -> None:
        flush_at: float | None = None
        while True:
            try:
                wait = None if flush_at is None else max(0.0, flush_at - time.monotonic())
                item = self._outbox.get(timeout=wait)
            except queue.Empty:
                self._flush()
                flush_at = None
                continue
            if isinstance(item, _Command):
                self._carry_out(item)
                if item.is_last:
                    return
            else:
                self._writer.add(item.records, item.silver, item.quarantine)
                self._budgets.add(item.records.num_rows, item.quarantine.num_rows, item.broken)
                self._buffered_bytes += item.records.nbytes
                if flush_at is None:
                    flush_at = item.submitted_at + self._limits.allowed_latency_s
                # What waits is as old: it joins this flush. One flush a chunk would never catch up with a slow store.
                is_due = time.monotonic() >= flush_at and self._outbox.empty()
                if self._buffered_bytes >= self._flush_bytes or is_due:
                    self._flush()
            if self._buffered_bytes == 0:
                flush_at = None

    def _carry_out(self, command: _Command) -> None:
        try:
            result = command.action()
        except FenceLost as error:  # of a claim: who asked for it decides
            _answer(command.answer, error)
        except BaseException as error:
            _answer(command.answer, error)
            raise
        else:
            with contextlib.suppress(InvalidStateError):  # nobody waits for it any more
                command.answer.set_result(result)

    def _flush(self) -> None:
        self._budgets.require_within()
        if self._before_flush is not None and not self._writer.is_empty:
            self._before_flush(self._give_up.is_set)
        flushed = self._patiently(self._writer.flush)
        self._budgets.flushed()
        with self._lock:
            self._in_flight_bytes -= self._buffered_bytes
        self._buffered_bytes = 0
        if flushed.done or flushed.lost:
            self._on_flushed(flushed)
        self._on_room()


def _answer(answer: Future[Any], error: BaseException) -> None:
    with contextlib.suppress(InvalidStateError):  # nobody waits for it any more
        answer.set_exception(error)
