"""A Faust transport on Kinesis: a shard is a Kafka partition, one answer of `GetRecords` is one Faust message.

Kinesis has no consumer groups. Shards are shared by static shares: worker `k/n` reads the shards whose number leaves
`k - 1` when divided by `n`. Two workers with the same share are kept apart by the claim and the fence in the lake
alone: the later one wins, the earlier one stops.

One thread follows the stream: it lists the shards, claims those that may be read, and starts a reader for each. A shard
may be read once all its parents are in the lake to their ends, whichever worker read them: the lake says so.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError
from faust.transport import base
from faust.types import TP
from yarl import URL

from kinesis import Shard, Stream
from schemas.errors import BrokerUnavailable, FenceLost
from sink.lake import Lake, store_trouble
from sink.positions import Source
from sink.shards import ShardFacts, begun, begun_ids, end_id, last_record, read_to_id, shard_facts
from sink.writer import LakeWriter
from stream_app.batches import HANDED_OVER_BYTES, POLL_S, BatchConsumer, Fetched, PositionKeeper
from stream_app.lineage import turn_of
from stream_app.patience import Patience
from stream_app.shards import ShardReader
from stream_app.tableless import SilentProducer

_FOLLOW_S: Final = 0.2
_LOOK_S: Final = 1.0
"""Between two looks at the lake for parents' ends, while a shard waits for one."""
_LIST_S: Final = 30.0
_CALLS: Final = 4
NOTE_IDLE_MS: Final = 3_600_000
"""Much less than the shortest retention, a day."""
_JOIN_S: Final = 5.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Share:
    """Which of a stream's shards a worker reads: those whose number leaves `number - 1` when divided by `of`."""

    number: int = 1
    of: int = 1

    def has(self, shard: Shard) -> bool:
        """Return whether a shard is in this share."""
        return shard.number % self.of == self.number - 1

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


class ShardKeeper(PositionKeeper, Protocol):
    """Who knows positions, and the facts about shards: the lake, by way of the worker. Called on the app's loop."""

    def done(self, tp: TP) -> int:
        """Return the last ordinal in the lake, -1 before the first."""

    async def flush(self) -> None:
        """Commit what was taken so far."""

    async def in_lake(self, action: Callable[[LakeWriter], None]) -> None:
        """Have the writer do something between two flushes."""


class Consumer(BatchConsumer):
    """Faust's consumer over readers of shards, with a thread that follows the stream."""

    transport: Transport
    _keeper: ShardKeeper

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._stream = self.transport.stream
        self._subscribed = threading.Event()
        self._halted = threading.Event()
        self._wake = threading.Event()
        self._following = threading.Thread(target=self._follow_until_closed, name="follow", daemon=True)
        self._at_store = Patience(self._halted)
        self._at_kinesis = Patience(self._halted, BrokerUnavailable, "Kinesis")
        self._calls = threading.BoundedSemaphore(_CALLS)
        self._readers: dict[TP, ShardReader] = {}
        self._ended: set[int] = set()
        self._listed: list[Shard] = []
        self._is_listed = False
        self._next_listing = 0.0
        self._next_look = 0.0
        self._noted_ms: dict[TP, int] = {}
        self._told_to_wait: set[int] = set()
        self._tables: dict[str, DeltaTable] = {}
        self._begun = (-1, 0)

    # ---------------------------------------------------------------- life cycle

    async def on_start(self) -> None:
        """Start the thread that follows the stream; nothing is read before `subscribe`."""
        self._app_loop = asyncio.get_running_loop()
        self._following.start()
        await super().on_start()

    async def on_stop(self) -> None:
        """End all threads."""
        await super().on_stop()
        self._closing.set()
        self._halted.set()
        self._wake.set()
        await asyncio.to_thread(self._join)

    def _join(self) -> None:
        self._following.join(_JOIN_S)
        for reader in list(self._readers.values()):
            reader.join(_JOIN_S)

    async def subscribe(self, topics: Iterable[str]) -> None:
        """Begin to read the stream; Faust's own topics (leader, replies) are not used."""
        self._subscribed.set()

    def _fail(self, error: BaseException) -> None:
        self._halted.set()  # nothing more is fetched: what was is on its way to the lake
        super()._fail(error)

    def _follow_until_closed(self) -> None:
        """Follow the stream until closed: the thread's outermost shell, so whatever fails here stops the worker."""
        try:
            while not self._subscribed.wait(POLL_S):
                if self._closing.is_set():
                    return
            self._begin()
            self._wait_for(self._tell_faust_assigned())
            while not self._halted.is_set():
                self._finish_ended()
                self._note_idle()
                self._list_shards()
                self._claim_startable()
                self._wake.wait(_FOLLOW_S)
                self._wake.clear()
        except BaseException as error:
            if not self._closing.is_set():
                self._fail(error)

    # ---------------------------------------------------------------- what the lake knows

    def _source(self, number: int) -> Source:
        return Source(self._stream.name, self.transport.topic_id, number)

    def _newest(self, name: str = "silver") -> DeltaTable:
        """Return a table at its newest version."""

        def reload() -> DeltaTable:
            if name not in self._tables:
                self._tables[name] = self.transport.lake.table(name)
            try:
                self._tables[name].update_incremental()
            except (OSError, DeltaError) as error:
                raise store_trouble(self.transport.lake.path(name), error) from error
            return self._tables[name]

        return self._at_store(reload)

    def _facts(self, silver: DeltaTable, number: int) -> ShardFacts:
        return self._at_store(lambda: shard_facts(silver, self._source(number)))

    def _begin(self) -> None:
        """Note, at a lake's first sight of a stream, which shards there are: of later ones it is to hold everything."""
        stream, topic_id = self._stream.name, self.transport.topic_id
        self._listed = self._at_kinesis(self._stream.shards)
        silver = self._newest()
        found = self._at_store(lambda: begun(silver, stream, topic_id))
        if found is None:
            number_id, time_id = begun_ids(stream, topic_id)
            highest = max((shard.number for shard in self._listed), default=-1)
            versions = {number_id: highest, time_id: time.time_ns() // 1_000_000}
            self._wait_for(self._keeper.in_lake(lambda writer: writer.set_once(versions)))
            silver = self._newest()
            found = self._at_store(lambda: begun(silver, stream, topic_id))
        if found is None:
            if self._halted.is_set():
                return
            raise AssertionError(f"the begin of {self._stream} is not in the lake after its commit")
        self._begun = found

    # ---------------------------------------------------------------- following

    def _list_shards(self) -> None:
        if time.monotonic() < self._next_listing:
            return
        self._listed = self._at_kinesis(self._stream.shards)
        self._next_listing = time.monotonic() + _LIST_S
        self._next_look = 0.0
        self._is_listed = True

    def _waiting(self) -> list[Shard]:
        """Return the shards of our share that are neither read nor known to be read to their ends."""
        return [
            shard
            for shard in self._listed
            if self.transport.share.has(shard)
            and shard.number not in self._ended
            and TP(self._stream.name, shard.number) not in self._readers
        ]

    def _claim_startable(self) -> None:
        waiting = self._waiting()
        if not waiting or time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + _LOOK_S
        silver = self._newest()
        listed = {shard.shard_id for shard in self._listed}
        startable: dict[TP, tuple[Shard, int | None]] = {}
        for shard in waiting:
            facts = self._facts(silver, shard.number)
            if facts.ended_ms is not None:
                self._ended.add(shard.number)
                continue
            turn = turn_of(self._stream.name, shard, listed, self._begun[0], partial(self._facts, silver))
            if turn.waits_for is None:
                known_to_ms = facts.read_to_ms if facts.read_to_ms is not None else turn.known_to_ms
                startable[TP(self._stream.name, shard.number)] = (shard, known_to_ms)
            elif shard.number not in self._told_to_wait:
                self._told_to_wait.add(shard.number)
                _log.info("%s waits until %s is read to its end", shard.shard_id, turn.waits_for)
        if startable and not self._halted.is_set():
            self._claim_and_read(startable)

    def _claim_and_read(self, startable: Mapping[TP, tuple[Shard, int | None]]) -> None:
        self.transport.require_same(self._closing.is_set)
        # A worker that slept while its share went to another would take the children from that one, too.
        self._wait_for(self._require_share())
        if self._halted.is_set():
            return
        self._claim_number += 1
        next_offsets: Mapping[TP, int] = (
            self._wait_for(self._keeper.claim(dict.fromkeys(startable, 0), self._claim_number)) or {}
        )
        silver, bronze = self._newest(), self._newest("bronze")
        for tp, next_offset in next_offsets.items():
            shard, known_to_ms = startable[tp]
            facts = self._facts(silver, tp.partition)
            if facts.position != (next_offset - 1 if next_offset else None):
                raise self._fence_lost([tp])
            torn = self._at_store(partial(last_record, bronze, self._source(tp.partition)))
            self._noted_ms[tp] = time.time_ns() // 1_000_000
            self._readers[tp] = ShardReader(
                self._stream,
                shard,
                tp,
                self.transport.topic_id,
                self._claim_number,
                next_offset=next_offset,
                sequence_number=facts.sequence_number,
                known_to_ms=known_to_ms,
                torn=torn if torn is not None and torn[0] >= next_offset else None,
                stopping=self._halted,
                has_room=lambda: self._waiting_bytes < HANDED_OVER_BYTES,
                calls=self._calls,
                hand_over=self._hand_over,
                on_end=self._wake.set,
                on_failure=self._fail,
            )
        self._wait_for(self._tell_faust_assigned())
        for tp in next_offsets:
            self._readers[tp].start()

    async def _require_share(self) -> None:
        try:
            await self._keeper.in_lake(LakeWriter.require_owned)
        except FenceLost:
            raise self._fence_lost(self._readers) from None

    def _hand_over(self, tp: TP, fetched: list[Fetched], last_fetched: int, is_caught_up: bool) -> None:
        batches = [(tp, each) for each in fetched]
        reached = [(tp, last_fetched + 1, last_fetched)] if is_caught_up else []
        if (batches or reached) and not self._app_loop.is_closed():
            self._app_loop.call_soon_threadsafe(self._take_over, batches, reached)

    # ---------------------------------------------------------------- ends and idle shards

    def _finish_ended(self) -> None:
        for tp, reader in list(self._readers.items()):
            if not reader.has_ended or self._halted.is_set():
                continue
            self._wait_for(self._finish(tp, reader))
            if self._halted.is_set():
                return
            self._ended.add(tp.partition)
            self._is_listed = False
            del self._readers[tp]
            self._next_listing = 0.0
            _log.info("read %s[%d] to its end", *tp)

    async def _finish(self, tp: TP, reader: ShardReader) -> None:
        """Bring a shard's last records to the lake, note its end there, and give it up."""
        while self._keeper.done(tp) < reader.last_fetched:
            await self._keeper.flush()
            await asyncio.sleep(_FOLLOW_S / 4)  # a batch may still be on its way through Faust
        # Its children's records are younger than its own, and than what the lake noted while it was open.
        began_ms = max(reader.last_arrived_ms, self._begun[1])
        source = self._source(tp.partition)
        try:
            await self._keeper.in_lake(lambda writer: writer.note({source: {end_id(source): began_ms}}))
        except FenceLost:
            raise self._fence_lost([tp]) from None
        await self._release(frozenset({tp}), is_lost=False)

    def _note_idle(self) -> None:
        """Note about once an hour that idle shards were read, so that their last records may expire."""
        facts: dict[Source, dict[str, int]] = {}
        now_ms = time.time_ns() // 1_000_000
        for tp, reader in self._readers.items():
            idle_at_ms = reader.idle_at_ms
            if idle_at_ms is None or now_ms - self._noted_ms[tp] < self.transport.note_idle_ms:
                continue
            if self._keeper.done(tp) < reader.last_fetched:
                continue
            source = self._source(tp.partition)
            facts[source] = {read_to_id(source): idle_at_ms}
            self._noted_ms[tp] = now_ms
        if facts:
            self._wait_for(self._keeper.in_lake(lambda writer: writer.note(facts)))

    # ---------------------------------------------------------------- what the worker asks

    def has_reached_ends(self, ends: Mapping[TP, tuple[int, int]]) -> bool:
        """Return whether each shard of our share was taken over as far as there was something at the start.

        Args:
            ends: what the keeper was told, behind the batches before them.
        """
        readers = list(self._readers.items())
        return (
            self._is_listed
            and not self._waiting()
            and all(tp in ends and not reader.has_ended for tp, reader in readers)
        )

    def claim_again(self, tps: Iterable[TP]) -> None:
        """Stop: whoever claimed these shards after us has our share, and there is no group to ask."""
        self._fail(self._fence_lost(tps))

    def _fence_lost(self, tps: Iterable[TP]) -> FenceLost:
        names = ", ".join(f"{tp.topic}[{tp.partition}]" for tp in sorted(tps))
        return FenceLost(
            f"another worker claimed {names}: it has the same share (--worker {self.transport.share}) or the shares "
            "were cut anew while this one ran. Nothing is lost or doubled; give each running worker a share of its own"
        )

    def last_fetched(self) -> dict[TP, int]:
        """Return per shard that this worker reads the last ordinal fetched, or the one before its first."""
        return {tp: reader.last_fetched for tp, reader in list(self._readers.items())}

    def behind_s(self) -> dict[TP, float]:
        """Return per shard that this worker reads how far behind now what was fetched is, once anything was."""
        now_ms = time.time_ns() // 1_000_000
        known = ((tp, reader.known_to_ms) for tp, reader in list(self._readers.items()))
        return {tp: max(0, now_ms - known_to_ms) / 1000 for tp, known_to_ms in known if known_to_ms is not None}

    def assignment(self) -> set[TP]:
        """Return the shards that this worker reads."""
        return set(self._readers)

    def highwater(self, tp: TP) -> int:
        """Answer nothing: Kinesis does not tell how many records a shard has."""
        return 0

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        """Do nothing: positions are in the lake, and no lag tool asks Kinesis."""
        return True


class Transport(base.Transport):
    """Faust's way to Kinesis, for one app.

    Attributes:
        stream: to read.
        topic_id: the stream's id.
        share: which of its shards.
        lake: whose silver table says how far shards are.
        keeper: who knows the positions.
        require_same: raises if the stream of that name is no longer the one with that id.
        note_idle_ms: how often an idle shard is noted to be read.
    """

    Consumer = Consumer
    Producer = SilentProducer
    driver_version = "boto3"

    def __init__(
        self,
        app: Any,
        *,
        stream: Stream,
        topic_id: str,
        share: Share,
        lake: Lake,
        keeper: PositionKeeper,
        require_same: Callable[[Callable[[], bool]], None],
        note_idle_ms: int,
    ) -> None:
        super().__init__([URL("kinesis://")], app)
        self.stream = stream
        self.topic_id = topic_id
        self.share = share
        self.lake = lake
        self.keeper = keeper
        self.require_same = require_same
        self.note_idle_ms = note_idle_ms
