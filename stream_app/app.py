"""The worker: a Faust app whose one agent feeds the pipeline, from start to the last flush.

    Faust agent ──take──> Pipeline (process, write) ──flushed──> acknowledge ──> Faust commits offsets to the group

Faust runs it: `faust.App`, an agent, its life cycle and its web server. What is read next is the lake's decision.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import signal
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import faust
import pyarrow as pa
from faust.types import TP

from schemas.errors import (
    BrokerUnavailable,
    FenceLost,
    OffsetsGone,
    RegistryUnavailable,
    StoreUnavailable,
    TerminalError,
    TopicNotFound,
    TopicRecreated,
    TransientError,
)
from schemas.wire import Registry
from sink.lake import Lake
from sink.policies import agree_on_unknown_fields
from sink.positions import Source
from sink.pseudonyms import Pseudonyms, settle_key
from sink.writer import Flushed, LakeWriter
from stream_app.batches import BatchConsumer
from stream_app.budgets import Budgets
from stream_app.catalogue import WatchedCatalogue, known_countries
from stream_app.known_schemas import KnownSchemas, require_registry
from stream_app.metrics import WorkerMetrics, WorkerState, lag_records
from stream_app.origin import Origin
from stream_app.patience import Patience
from stream_app.pipeline import Limits, Pipeline
from stream_app.process import Processor
from stream_app.pseudonymous import make_processor
from stream_app.rules import RuleSet
from stream_app.unknown_fields import UnknownFields, known_policy
from stream_app.web import add_pages, require_free_port

_START_TIMEOUT_S: Final = 5.0
_CLAIM_TRIES: Final = 5
_RELEASE_TIMEOUT_S: Final = 20.0
_STOP_TIMEOUT_S: Final = 8.0
_CAUGHT_UP_CHECK_S: Final = 0.1
_OTHERS_CHECK_S: Final = 1.0
_TOPIC_CHECK_S: Final = 5.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class WorkerSettings:
    """Everything a worker needs to know.

    Attributes:
        origin: where records come from.
        lake: where to write.
        catalogue: CSV of titles.
        group: what the worker is called; workers of one of Kafka's consumer groups share the Kafka partitions.
        limits: when to flush and how much to hold.
        registry: of the schemas of Avro records; without one these are quarantined.
        rules: the lake's own, with their budgets.
        pseudonyms: what takes the place of ids in silver; None: nothing does.
        unknown_fields: what the lake is to do with fields that playlake does not know; None: what it does.
        change_unknown_fields: also where it does something else.
        accept_over_budget: go on where a flush is over a budget.
        until_caught_up: stop once the topic, up to its ends at the start, is in the lake.
        accept_new_topic: read a topic that was deleted and made again, from its beginning, where the lake holds records
            of the former one; without it that is an error.
        wait: for as long as it takes, for a store or a schema registry that does not serve at the start; else for 5 s.
        web_port: of Faust's web server, on 127.0.0.1 unless `web_bind` says otherwise; None for no server.
        web_bind: address for the web server.
        freshness_limit_s: the worker is not ready (`/readyz`) while a record that it fetched is older than this, by the
            broker's time, and not yet in the lake.
    """

    origin: Origin
    lake: Lake
    catalogue: Path
    group: str
    limits: Limits = field(default_factory=Limits)
    registry: Registry | None = None
    rules: RuleSet = field(default_factory=RuleSet)
    pseudonyms: Pseudonyms | None = None
    unknown_fields: UnknownFields | None = None
    change_unknown_fields: bool = False
    accept_over_budget: bool = False
    until_caught_up: bool = False
    accept_new_topic: bool = False
    wait: bool = False
    web_port: int | None = None
    web_bind: str = "127.0.0.1"
    freshness_limit_s: float = 300.0


@dataclass
class WorkerReport:
    """What a worker did until it stopped.

    Attributes:
        rows: per table, rows committed.
        broken: per rule, how many committed records broke it.
        flushes: how many flushes committed something.
        seconds: from the first batch to the last flush.
        interrupted: whether a signal stopped it.
        is_flushed: whether everything that was taken is in the lake.
    """

    rows: dict[str, int] = field(default_factory=lambda: {"bronze": 0, "silver": 0, "quarantine": 0})
    broken: dict[str, int] = field(default_factory=dict)
    flushes: int = 0
    seconds: float = 0.0
    interrupted: bool = False
    is_flushed: bool = True


def run_worker(settings: WorkerSettings, *, step: Callable[[str], None] | None = None) -> WorkerReport:
    """Run a worker until a signal, the end of the topic (`until_caught_up`), or an error.

    Args:
        settings: what to do.
        step: fault point of the writer, see `LakeWriter`.

    Raises:
        ConfigError: the web server's address is taken or not this machine's, or the lake does something else with
            unknown fields, or the schema registry refuses to answer.
        TerminalError: waiting will not mend it; nothing unflushed was acknowledged.
        IncompatibleLake, StoreUnavailable: the lake can't be opened, also not within `wait`; nothing was started.
        RegistryUnavailable: the schema registry does not answer, likewise.
    """
    if settings.web_port is not None:
        require_free_port(settings.web_bind, settings.web_port)
        _log.info("metrics on http://%s:%d/metrics", settings.web_bind, settings.web_port)
    patiently, for_s = Patience(threading.Event()), float("inf") if settings.wait else _START_TIMEOUT_S
    if (registry := settings.registry) is not None:
        ask = Patience(threading.Event(), RegistryUnavailable, "the schema registry")
        ask(lambda: require_registry(registry), for_s=for_s)
    patiently(lambda: settings.origin.require_known(settings.lake, accept_new=settings.accept_new_topic), for_s=for_s)
    catalogue = WatchedCatalogue(settings.catalogue)
    settings.lake.filesystem()  # loads s3fs now: that takes a second or more, for which the first flush would wait
    writer = patiently(lambda: LakeWriter(settings.lake, step=step), for_s=for_s)
    patiently(lambda: settle_key(settings.lake, settings.pseudonyms), for_s=for_s)
    policy = patiently(lambda: _agree(settings), for_s=for_s)
    processor = make_processor(catalogue.titles, known_countries(), settings.rules, settings.pseudonyms, policy)
    if not processor.is_compiled:
        _log.warning("JSON is read by SQL, at half the speed: playlake was installed where there was no C compiler")
    with tempfile.TemporaryDirectory(prefix="playlake-worker-") as folder:  # Faust wants one; it stays empty
        return asyncio.run(Worker(settings, writer, processor, catalogue, Path(folder)).run())


def _agree(settings: WorkerSettings) -> UnknownFields:
    wanted, change = settings.unknown_fields, settings.change_unknown_fields
    return known_policy(agree_on_unknown_fields(settings.lake, wanted, change=change))


class Worker:
    """One worker's state on the app's loop: which claims hold, what waits for an acknowledgement, where ends are."""

    def __init__(
        self,
        settings: WorkerSettings,
        writer: LakeWriter,
        processor: Processor,
        catalogue: WatchedCatalogue,
        folder: Path,
    ) -> None:
        """Make the app; `run` starts it. Call it on a running loop's thread."""
        self._settings = settings
        self._lake_id = writer.lake_id
        self._origin = settings.origin
        self._report = WorkerReport()
        self._claims: dict[TP, int] = {}
        self._unacknowledged: dict[TP, deque[tuple[int, Any]]] = {}
        self._done: dict[TP, int] = {}
        self._ends: dict[TP, tuple[int, int]] = {}
        self._fences_lost: dict[TP, int] = {}
        self._first_batch_at: float | None = None
        self._broker_trouble: str | None = None
        self._error: BaseException | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._refused = writer.refused
        self._metrics = WorkerMetrics(self._state)
        self._budgets = Budgets(settings.rules, accept=settings.accept_over_budget)
        self._pipeline = Pipeline(
            writer,
            processor,
            catalogue,
            settings.limits,
            schemas=KnownSchemas(settings.registry),
            budgets=self._budgets,
            on_flushed=self._on_flushed,
            on_room=lambda: self._soon(self._room_made),
            on_failure=lambda error: self._soon(self.failed, error),
            before_flush=self._origin.before_flush,
        )
        self._app = self._make_app(folder)

    def _make_app(self, folder: Path) -> Any:
        settings = self._settings
        app = faust.App(
            settings.group,
            broker="kafka://",
            store="memory://",
            datadir=folder,
            topic_disable_leader=True,
            stream_wait_empty=False,
            stream_buffer_maxsize=1,
            broker_commit_interval=0.5,
            broker_session_timeout=10,
            web_enabled=settings.web_port is not None,
            web_port=settings.web_port or 6066,
            web_bind=settings.web_bind,
            web_router_enabled=False,
            web_tables_enabled=False,
        )
        if settings.web_port is not None:
            add_pages(app, self._metrics, self._state, settings.freshness_limit_s)
        app.transport = self._origin.make_transport(app, self)
        app.producer_transport = app.transport

        async def ingest(batches: Any) -> None:
            try:
                async for event in batches.noack().events():
                    await self._take(event)
            except Exception as error:  # Faust would start the agent again and go on behind the lost batch
                self.failed(error)
                raise

        app.agent(app.topic(self._origin.topic, value_serializer="raw"), name="ingest")(ingest)
        app.on_before_shutdown.connect(self._last_flush, weak=False)
        return app

    async def run(self) -> WorkerReport:
        """Run to the end; see `run_worker`."""
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        self._room = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            self._loop.add_signal_handler(number, self._on_signal)
        self._pipeline.start()
        # Faust's start lasts until the first assignment, which may fail, or not come: nothing here waits for it.
        for step in (self._app.start(), self._watch(), self._watch_topic()):
            self._start(step)
        try:
            await self._stopping.wait()
        finally:
            for task in self._tasks:
                task.cancel()
            await self._app.stop()
        if self._error is not None:
            raise self._error
        return self._report

    def _on_signal(self) -> None:
        if self._report.interrupted:  # a second time: at once. Unflushed records were never acknowledged.
            os._exit(130)
        _log.info("stopping: flushing what was read")
        self._report.interrupted = True
        self._stopping.set()

    def _soon(self, action: Callable[..., None], *arguments: Any) -> None:
        """Carry something out on the app's loop, from a thread of the pipeline."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: the worker is gone already
            self._loop.call_soon_threadsafe(action, *arguments)

    # ---------------------------------------------------------------- batches

    async def _take(self, event: Any) -> None:
        tp, fetched = event.message.tp, event.message.value
        while not self._pipeline.has_room:
            self._room.clear()
            await self._room.wait()
        if fetched.claim_number != self._claims.get(tp):
            return  # of a claim that is over: whoever holds the Kafka partition now reads it from the lake's position
        if self._first_batch_at is None:
            self._first_batch_at = time.monotonic()
        self._unacknowledged[tp].append((event.message.offset, event))
        self._metrics.received(fetched.records.num_rows)
        self._pipeline.submit(fetched.records)

    def _room_made(self) -> None:
        self._room.set()

    def _on_flushed(self, flushed: Flushed) -> None:
        """Count on the writing thread, where it delays nothing that flows, and go on on the loop."""
        self._metrics.flushed(flushed)
        self._soon(self._flushed, flushed)

    def _flushed(self, flushed: Flushed) -> None:
        for name, rows in flushed.rows.items():
            self._report.rows[name] += rows
        self._report.flushes += 1
        self._report.broken = dict(self._budgets.totals)
        if self._first_batch_at is not None:
            self._report.seconds = time.monotonic() - self._first_batch_at
        for source, last in flushed.done.items():
            tp = TP(source.topic, source.kafka_partition)
            self._done[tp] = last
            self._fences_lost.pop(tp, None)
            waiting = self._unacknowledged.get(tp, deque())
            while waiting and waiting[0][0] <= last:
                waiting.popleft()[1].ack()
        _log.info(
            "flushed %s: %s",
            ", ".join(f"{rows:,} {name}" for name, rows in flushed.rows.items()),
            ", ".join(f"{source}@{last}" for source, last in sorted(flushed.done.items())),
            extra={
                "rows": dict(flushed.rows),
                "positions": {str(source): last for source, last in sorted(flushed.done.items())},
                "seconds": {name: round(seconds, 3) for name, seconds in flushed.seconds.items()},
            },
        )
        if flushed.lost:
            self._fence_lost(flushed.lost)

    def _fence_lost(self, sources: frozenset[Source]) -> None:
        """Another writer claimed these. If the group still gives them to us, claim them again, but not for ever."""
        self._metrics.fence_lost(len(sources))
        lost = [TP(source.topic, source.kafka_partition) for source in sources]
        still_ours = [tp for tp in lost if tp in self._claims]
        for tp in still_ours:
            self._claims.pop(tp)
            self._unacknowledged.pop(tp, None)
            self._fences_lost[tp] = self._fences_lost.get(tp, 0) + 1
            if self._fences_lost[tp] > _CLAIM_TRIES:
                self.failed(
                    FenceLost(
                        f"{tp.topic}[{tp.partition}] is claimed by another writer again and again: does another "
                        f"consumer group than {self._settings.group!r} write to {self._settings.lake.uri}? Stop one"
                    )
                )
                return
        if still_ours:
            _log.warning("another writer claimed %s: asking the group", ", ".join(f"{t}[{p}]" for t, p in still_ours))
            consumer: BatchConsumer = self._app.consumer
            consumer.claim_again(still_ours)

    # ---------------------------------------------------------------- PositionKeeper

    async def claim(self, first_offsets: Mapping[TP, int], claim_number: int) -> Mapping[TP, int]:
        """Claim sources in the lake (see `PositionKeeper`); overtaken by another claimant, try again a few times."""
        sources = {self._source(tp): offset for tp, offset in first_offsets.items()}
        for tp in first_offsets:
            self._claims[tp] = claim_number
            self._unacknowledged[tp] = deque()
            self._ends.pop(tp, None)
        for attempt in range(_CLAIM_TRIES):
            try:
                claimed = await asyncio.wrap_future(self._pipeline.claim(sources))
                break
            except FenceLost:
                if attempt == _CLAIM_TRIES - 1:
                    raise
                await asyncio.sleep(random.uniform(0.1, 1.0))  # noqa: S311  # jitter, no secret
        next_offsets = {TP(source.topic, source.kafka_partition): offset for source, offset in claimed.items()}
        for tp, offset in next_offsets.items():
            self._done[tp] = offset - 1
        _log.info("reading %s", ", ".join(f"{t}[{p}] from {o}" for (t, p), o in sorted(next_offsets.items())))
        return next_offsets

    async def release(self, tps: frozenset[TP], *, is_lost: bool) -> None:
        """Flush what was taken of these and forget them (see `PositionKeeper`), within a bounded time."""
        _log.info("giving up %s", ", ".join(f"{t}[{p}]" for t, p in sorted(tps)))
        released = self._pipeline.release((self._source(tp) for tp in tps), flush=not is_lost)
        try:
            await asyncio.wait_for(asyncio.wrap_future(released), _RELEASE_TIMEOUT_S)
        except TimeoutError:
            _log.warning("no flush within %.0f s: the new owner reads again what was not committed", _RELEASE_TIMEOUT_S)
        for tp in tps:
            self._claims.pop(tp, None)
            self._unacknowledged.pop(tp, None)
            self._ends.pop(tp, None)

    def failed(self, error: BaseException) -> None:
        """Stop without a last flush: a bug or a world that waiting will not mend.

        A topic that lost records or went away may have been the last to hold what was fetched: that is written first.
        """
        if self._stopping.is_set() and isinstance(error, TransientError):
            return  # waiting was given up because the worker stops: the report says that it is not flushed
        if self._error is None or isinstance(error, TopicRecreated):  # the reason behind offsets or topics gone
            self._error = error
        if isinstance(error, OffsetsGone | TopicNotFound):
            self._start(self._write_the_rest())
        else:
            self._stopping.set()

    async def _write_the_rest(self) -> None:
        """Stop once everything fetched is in the lake, or after a bounded time.

        Raises:
            TopicRecreated: that is why its records are gone.
        """
        with contextlib.suppress(BrokerUnavailable):
            await asyncio.to_thread(self._origin.require_same, lambda: True)
        consumer: BatchConsumer = self._app.consumer
        try:
            async with asyncio.timeout(_RELEASE_TIMEOUT_S):
                while any(self._done.get(tp, -1) < last for tp, last in consumer.last_fetched().items()):
                    await asyncio.sleep(_CAUGHT_UP_CHECK_S)
                    await asyncio.wrap_future(self._pipeline.flush())
        except TimeoutError:
            _log.warning("not all that was read could be written within %.0f s", _RELEASE_TIMEOUT_S)
        finally:
            self._stopping.set()

    @property
    def lake_id(self) -> str:
        """What no other lake has."""
        return self._lake_id

    def reached_end(self, tp: TP, end: int, last_fetched: int) -> None:
        """Note an end for `until_caught_up`."""
        self._ends[tp] = (end, last_fetched)

    def done(self, tp: TP) -> int:
        """Return the last offset in the lake (see `ShardKeeper`)."""
        return self._done.get(tp, -1)

    async def flush(self) -> None:
        """Commit what was taken so far (see `ShardKeeper`)."""
        await asyncio.wrap_future(self._pipeline.flush())

    async def in_lake(self, action: Callable[[LakeWriter], None]) -> None:
        """Have the writer do something between two flushes (see `ShardKeeper`)."""
        await asyncio.wrap_future(self._pipeline.carry_out(action))

    # ---------------------------------------------------------------- what is asked from outside

    def _state(self) -> WorkerState:
        """Return how the worker is now, from memory. On the app's loop."""
        store_trouble, registry_trouble = self._pipeline.store_trouble, self._pipeline.registry_trouble
        return WorkerState(
            is_joined=self._app.rebalancing_count > 0,
            store_trouble=None if store_trouble is None else str(store_trouble),
            broker_trouble=self._broker_trouble,
            registry_trouble=None if registry_trouble is None else str(registry_trouble),
            oldest_waiting_s=max(map(self._waiting_s, self._unacknowledged), default=0.0),
            buffer_bytes=self._pipeline.in_flight_bytes,
            refused=dict(self._refused),
            behind_s={tuple(tp): s for tp, s in self._app.consumer.behind_s().items()} if self._claims else {},
            lag={(tp.topic, tp.partition): lag for tp in self._claims if (lag := self._lag(tp)) is not None},
        )

    def _waiting_s(self, tp: TP) -> float:
        """Return the age, by the broker's time, of the oldest record fetched of a Kafka partition and not yet done."""
        waiting = self._unacknowledged[tp]
        if not waiting:
            return 0.0
        records: pa.Table = waiting[0][1].message.value.records
        written_us: int | None = records["broker_timestamp"][0].value
        return 0.0 if written_us is None else max(0.0, time.time() - written_us / 1e6)

    def _lag(self, tp: TP) -> int | None:
        """Return the records between the lake and the end last heard; None while either is unknown."""
        consumer: BatchConsumer = self._app.consumer
        end, done = consumer.highwater(tp), self._done.get(tp)
        if done is None or end == 0:
            return None
        return lag_records(end, done, *self._ends.get(tp, (-1, -1)))

    def _source(self, tp: TP) -> Source:
        return Source(tp.topic, self._origin.topic_id, tp.partition)

    # ---------------------------------------------------------------- ends

    async def _watch(self) -> None:
        """Stop when Faust crashed or, if asked to, when caught up."""
        others_checked_at = 0.0
        while not self._stopping.is_set():
            await asyncio.sleep(_CAUGHT_UP_CHECK_S)
            if self._app.crashed:
                self.failed(self._app.crash_reason or TerminalError("Faust crashed without a reason"))
            if not self._settings.until_caught_up or self._app.rebalancing_count == 0:
                continue
            if not await self._has_read_its_own():
                continue
            if time.monotonic() - others_checked_at >= _OTHERS_CHECK_S:
                others_checked_at = time.monotonic()
                with contextlib.suppress(StoreUnavailable):  # asked again in a second
                    if await asyncio.to_thread(self._origin.have_others_read, self._app.consumer, self._settings.lake):
                        self._stopping.set()

    async def _watch_topic(self) -> None:
        """Stop when the topic was made again, also while nothing comes: its first records may not be where we wait."""
        while True:
            await asyncio.sleep(_TOPIC_CHECK_S)
            try:
                await asyncio.to_thread(self._origin.require_same, lambda: True)
                self._broker_trouble = None
            except BrokerUnavailable as error:
                self._broker_trouble = str(error)

    def _start(self, step: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(step)
        task.add_done_callback(self._task_ended)
        self._tasks.append(task)

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.failed(error)

    async def _has_read_its_own(self) -> bool:
        """Return whether all that is ours to read is in the lake up to the ends seen at the start."""
        if not self._origin.has_reached_ends(self._app.consumer, self._ends):
            return False
        if any(self._done.get(tp, -1) < self._ends.get(tp, (-1, -1))[1] for tp in self._claims):
            await asyncio.wrap_future(self._pipeline.flush())
            return False
        await self._commit_ends()
        return True

    async def _commit_ends(self) -> None:
        """Tell the group that ends were reached, also past transaction markers, where no record's offset says so."""
        consumer: BatchConsumer = self._app.consumer
        if ends := {tp: end for tp, (end, _) in self._ends.items() if tp in self._claims}:
            await consumer._commit(ends)

    async def _last_flush(self, *_: Any, **__: Any) -> None:
        flush = self._error is None
        done = await asyncio.to_thread(self._pipeline.stop, flush=flush, timeout_s=_STOP_TIMEOUT_S)
        self._report.is_flushed = flush and done
