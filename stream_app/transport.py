"""A Faust transport on confluent-kafka: one fetch of one Kafka partition is one Faust message.

Faust keeps what it is good at (agents, group membership, life cycle, web server, sensors); the cost per event is gone,
since a message's value holds an Arrow table of records. What shaped it:

- Records are taken by compiled code from a queue of their own; a Python object a message costs a fifth of all.
- `fetch.queue.backoff.ms` is 1 s by default and starves a fast reader.
- librdkafka assigns Kafka partitions only while it is polled, and Faust fetches only after an assignment. So a thread
  of our own polls from `subscribe` on, and Faust's fetcher reads what that thread handed over.
- Rebalance callbacks run on the polling thread, Faust's handlers on the app's loop: they run there and are waited for,
  so that an assignment is complete (claimed, its positions read from the lake) before a record of it arrives.
- Assignment is cooperative: only what moves is revoked. Faust's own handler of a revocation empties every agent's
  queue, kept Kafka partitions' included; so it is not called.
- A Kafka partition that comes back, or that is claimed again, is read from the lake's position. What was fetched under
  its former claim and still waits in a queue must not follow: each batch carries the number of its claim.
- A client lets one thread in at a time, and one that polls hardly ever lets go: only the polling thread touches it, and
  what others want of it (commits, seeks) waits in a queue; questions go to a second client.
- Full buffers pause the Kafka partitions while polling goes on: the group never takes a busy worker for a dead one. But
  a pause throws away what librdkafka has fetched ahead, so for a moment nothing is polled instead.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import Consumer as RdConsumer
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from faust.transport import base
from faust.types import TP
from yarl import URL

from schemas.errors import OffsetsGone, TerminalError
from stream_app.batches import HANDED_OVER_BYTES, POLL_S, BatchConsumer, Fetched, PositionKeeper
from stream_app.broker import NO_TOPIC_CODES, topic_gone, watermarks
from stream_app.kafka_records import Taken, make_client
from stream_app.tableless import SilentProducer

_PAUSE_AFTER_S: Final = 1.0
_COMMITTED_TIMEOUT_S: Final = 10.0
_LEAVE_TIMEOUT_S: Final = 5.0
_TROUBLE_TOLD_S: Final = 30.0
_ENDS_NOTED_S: Final = 1.0
_log = logging.getLogger(__name__)
_librdkafka_log = logging.getLogger("librdkafka")


@dataclass
class _Assigned:
    claim_number: int
    last_fetched: int


class Consumer(BatchConsumer):
    """Faust's consumer over librdkafka's, with a polling thread of its own."""

    transport: Transport

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._subscribed = threading.Event()
        self._polling = threading.Thread(target=self._poll_until_closed, name="poll", daemon=True)
        self._topics: list[str] = []
        self._assigned: dict[TP, _Assigned] = {}
        self._paused = False
        self._full_since: float | None = None
        self._seek_requests: deque[TP] = deque()
        self._commit_requests: deque[dict[TP, int]] = deque()
        self._next_trouble_told = 0.0
        self._next_ends_noted = 0.0

    # ---------------------------------------------------------------- life cycle

    async def on_start(self) -> None:
        """Make the client and start to poll; nothing is fetched before `subscribe`."""
        self._app_loop = asyncio.get_running_loop()
        identity = {
            **self.transport.client_options,
            "group.id": self.app.conf.id,
            "enable.auto.commit": False,
        }
        # For questions from other threads; it never joins the group. Nobody polls it, so its log lines would pile up.
        self._asking = RdConsumer({**identity, "log_level": 0})
        [(topic, topic_id)] = self.transport.topic_ids.items()
        self._rd, self._source = make_client(
            {
                **identity,
                "auto.offset.reset": "error",  # positions come from the lake; `earliest` would reset silently
                "enable.partition.eof": True,
                "partition.assignment.strategy": "cooperative-sticky",
                "isolation.level": "read_committed",
                # What is fetched comes compressed; in memory it is four times that, and 300 bytes an event:
                # a fetch of 32 MB for four Kafka partitions held 260 MB. These keep a fast reader as busy.
                "fetch.max.bytes": 8 << 20,
                "fetch.message.max.bytes": 2 << 20,
                "queued.max.messages.kbytes": 16_384,
                "fetch.queue.backoff.ms": 5,
                # A member hears of a rebalance with its next heartbeat: by default who joins waits for two, 6 s.
                "heartbeat.interval.ms": 500,
                "session.timeout.ms": int(self.app.conf.broker_session_timeout * 1000),
            },
            topic,
            topic_id,
            on_error=self._on_client_trouble,
            logger=_librdkafka_log,
        )
        self._polling.start()
        await super().on_start()

    async def on_stop(self) -> None:
        """Commit what was acknowledged, leave the group and end the polling thread."""
        await super().on_stop()
        self._closing.set()
        await asyncio.get_running_loop().run_in_executor(None, self._polling.join, _LEAVE_TIMEOUT_S)

    async def subscribe(self, topics: Iterable[str]) -> None:
        """Join the group for the worker's one topic; Faust's own (leader, replies) are not used."""
        self._topics = [topic for topic in topics if topic in self.transport.topics]
        if len(self._topics) != 1:
            raise AssertionError(f"a worker reads one topic, not {self._topics}")
        self._subscribed.set()

    def _poll_until_closed(self) -> None:
        """Poll until closed: the thread's outermost shell, so whatever fails here stops the worker, never hangs it."""
        rd = self._rd
        try:
            while not self._subscribed.wait(POLL_S):
                if self._closing.is_set():
                    return
            rd.subscribe(self._topics, on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost)
            while not self._closing.is_set():
                self._seek_where_asked(rd)
                self._commit_where_asked(rd)
                self._note_ends(rd)
                if not self._should_poll(rd):
                    continue
                known_claims = self._claim_number
                self._hand_over(self._source.take(POLL_S), known_claims)
        except BaseException as error:
            self._fail(error)
            self._closing.wait()  # in the group still: what was fetched is on its way to the lake
        finally:
            self._commit_where_asked(rd, asynchronous=False)
            self._source.close()
            rd.close()
            self._asking.close()

    def _on_client_trouble(self, error: KafkaError) -> None:
        """Say, but not at each of some thirty tries a second, that the client can't reach the broker; it tries on.

        Raises:
            TopicNotFound, TerminalError: that is not what it says, and waiting will not mend it.
        """
        if error.code() in NO_TOPIC_CODES:
            for tp in self._assigned:
                self._watermarks(tp)  # the broker has the last word: one that starts may not know all topics yet
        elif error.code() == KafkaError._FATAL:
            raise TerminalError(f"the Kafka client gave up: {error.str()}")
        elif time.monotonic() >= self._next_trouble_told:
            self._next_trouble_told = time.monotonic() + _TROUBLE_TOLD_S
            _log.warning("waiting for the broker: %s", error.str())

    def _note_ends(self, rd: RdConsumer) -> None:
        """Note, once a second, the ends that came with the last fetches: from memory, the broker is not asked."""
        if time.monotonic() < self._next_ends_noted:
            return
        self._next_ends_noted = time.monotonic() + _ENDS_NOTED_S
        for tp in self._assigned:
            _, end = rd.get_watermark_offsets(TopicPartition(tp.topic, tp.partition), cached=True)
            if end >= 0:  # negative before the first answer
                self._ends_heard[tp] = end

    # ---------------------------------------------------------------- fetch

    def _should_poll(self, rd: RdConsumer) -> bool:
        """Pause or resume, and return whether to poll; if not, a moment was spent waiting for room."""
        self._has_room.clear()
        is_full = self._waiting_bytes >= HANDED_OVER_BYTES
        now = time.monotonic()
        self._full_since = (self._full_since or now) if is_full else None
        should_pause = self._full_since is not None and now - self._full_since >= _PAUSE_AFTER_S
        if self._assigned and ((should_pause and not self._paused) or (self._paused and not is_full)):
            parts = [TopicPartition(tp.topic, tp.partition) for tp in self._assigned]
            (rd.pause if should_pause else rd.resume)(parts)
            self._paused = should_pause
        if is_full and not self._paused:
            self._has_room.wait(POLL_S)
            return False
        return True

    def _hand_over(self, taken: Taken, known_claims: int) -> None:
        """Pass on what was fetched.

        A Kafka partition claimed while this fetch went on (its number is above `known_claims`) was paused at once: what
        the fetch holds of it dates from a former assignment and is void, like what it holds of one that was revoked.
        """
        [topic] = self._topics
        batches = []
        for kafka_partition, records in taken.records:
            tp = TP(topic, kafka_partition)
            assigned = self._assigned.get(tp)
            if assigned is None or assigned.claim_number > known_claims:
                continue
            first, last = (records["kafka_offset"][row].as_py() for row in (0, records.num_rows - 1))
            if first <= assigned.last_fetched:
                raise AssertionError(f"{tp.topic}[{tp.partition}]: {first} was fetched after {assigned.last_fetched}")
            assigned.last_fetched = last
            batches.append((tp, Fetched(records, assigned.claim_number)))
        reached = [
            (tp, end, assigned.last_fetched)
            for tp, end in ((TP(topic, number), end) for number, end in taken.ends)
            if (assigned := self._assigned.get(tp)) is not None and assigned.claim_number <= known_claims
        ]
        if batches or reached:
            self._app_loop.call_soon_threadsafe(self._take_over, batches, reached)
        for kafka_partition, error in taken.troubles:
            self._judge_error(error, TP(topic, kafka_partition))

    def _judge_error(self, error: KafkaError, tp: TP) -> None:
        """Raise what waiting will not mend; librdkafka goes on by itself after everything else."""
        place = f"{tp.topic}[{tp.partition}]"
        if error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
            if tp in self._assigned:
                raise offsets_gone(tp, self._assigned[tp].last_fetched + 1, *self._watermarks(tp))
            return
        if error.code() in NO_TOPIC_CODES:
            raise topic_gone(place)
        if error.fatal():
            raise TerminalError(f"the Kafka client gave up on {place}: {error.str()}")
        _log.warning("broker: %s: %s", place, error.str())

    # ---------------------------------------------------------------- membership (callbacks on the polling thread)

    def _on_assign(self, rd: RdConsumer, parts: list[TopicPartition]) -> None:
        if self._closing.is_set():
            return
        if not parts:  # Faust starts up with its first assignment, also where there is nothing to read
            if not self._assigned:
                self._wait_for(self._tell_faust_assigned())
            return
        next_offsets = self._claim_now([TP(part.topic, part.partition) for part in parts])
        if not next_offsets:
            return
        self._wait_for(self._tell_faust_assigned())
        parts = [TopicPartition(tp.topic, tp.partition, offset) for tp, offset in next_offsets.items()]
        for part in parts:
            self._source.attach(part.partition)
        rd.incremental_assign(parts)
        rd.pause(parts)  # until the fetch that this callback interrupts is over
        self._paused = True

    def _on_revoke(self, rd: RdConsumer, parts: list[TopicPartition]) -> None:
        self._give_up(rd, parts, is_lost=False)

    def _on_lost(self, rd: RdConsumer, parts: list[TopicPartition]) -> None:
        self._give_up(rd, parts, is_lost=True)

    def _give_up(self, rd: RdConsumer, parts: list[TopicPartition], *, is_lost: bool) -> None:
        gone = frozenset(TP(part.topic, part.partition) for part in parts)
        if not self._closing.is_set() and gone:
            self._wait_for(self._release(gone, is_lost))
            self._commit_where_asked(rd, asynchronous=False)
        for tp in gone:
            self._assigned.pop(tp, None)
        rd.incremental_unassign(parts)

    def _claim_now(self, tps: list[TP]) -> Mapping[TP, int]:
        """Claim and note the positions; nothing when it failed, which stops the worker."""
        self._claim_number += 1
        next_offsets: Mapping[TP, int] = self._wait_for(self._claim(tps, self._claim_number)) or {}
        for tp, offset in next_offsets.items():
            self._assigned[tp] = _Assigned(self._claim_number, offset - 1)
        return next_offsets

    async def _claim(self, tps: list[TP], claim_number: int) -> Mapping[TP, int]:
        loop = asyncio.get_running_loop()
        marks = await asyncio.gather(*(loop.run_in_executor(None, self._watermarks, tp) for tp in tps))
        found = dict(zip(tps, marks, strict=True))
        await loop.run_in_executor(None, self.transport.require_same_topics, self._closing.is_set)
        next_offsets = await self._keeper.claim({tp: low for tp, (low, _) in found.items()}, claim_number)
        for tp, offset in next_offsets.items():
            low, high = found[tp]
            if offset > high:  # what the former owner wrote in the meantime may be past the end that was told before
                low, high = await loop.run_in_executor(None, self._watermarks, tp)
            if not low <= offset <= high:
                raise offsets_gone(tp, offset, low, high)
        return next_offsets

    def _watermarks(self, tp: TP) -> tuple[int, int]:
        return watermarks(self._asking, tp.topic, tp.partition, self._closing.is_set)

    # ---------------------------------------------------------------- positions

    def claim_again(self, tps: Iterable[TP]) -> None:
        """Ask the polling thread to claim and seek Kafka partitions that lost their fence but are still assigned."""
        self._seek_requests.extend(tps)

    def _seek_where_asked(self, rd: RdConsumer) -> None:
        still_ours = []
        while self._seek_requests:
            tp = self._seek_requests.popleft()
            if tp in self._assigned:
                still_ours.append(tp)
        if still_ours:
            for tp, offset in self._claim_now(still_ours).items():
                rd.seek(TopicPartition(tp.topic, tp.partition, offset))

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        """Have the polling thread tell the group how far the lake is: for lag tools only, positions are in the lake."""
        self._commit_requests.append(dict(offsets))
        return True

    def _commit_where_asked(self, rd: RdConsumer, *, asynchronous: bool = True) -> None:
        offsets: dict[TP, int] = {}
        while self._commit_requests:
            offsets.update(self._commit_requests.popleft())
        if not offsets:
            return
        parts = [
            TopicPartition(tp.topic, tp.partition, offset, self.transport.commit_mark(tp.topic))
            for tp, offset in offsets.items()
        ]
        try:
            if asynchronous:
                rd.commit(offsets=parts)
            else:
                rd.commit(offsets=parts, asynchronous=False)
        except KafkaException as error:
            _log.debug("offsets not committed to Kafka: %s", error)

    def committed_offsets(self, topic: str, partitions: Iterable[int]) -> dict[int, int]:
        """Return what the group has committed of these Kafka partitions of a topic, without those that have nothing.

        Only for this lake and this topic: what the group did for another lake, or for a former topic of that name,
        whose offsets can outlive it, says nothing here. Blocks for up to 10 s; an unreachable broker answers as if
        nothing was committed.
        """
        parts = [TopicPartition(topic, number) for number in partitions]
        try:
            answers = self._asking.committed(parts, timeout=_COMMITTED_TIMEOUT_S)
        except KafkaException:
            return {}
        mark = self.transport.commit_mark(topic)
        return {part.partition: part.offset for part in answers if part.offset >= 0 and part.metadata == mark}

    def last_fetched(self) -> dict[TP, int]:
        """Return per Kafka partition that this worker reads the last offset fetched, or the one before its first."""
        return {tp: assigned.last_fetched for tp, assigned in list(self._assigned.items())}

    def assignment(self) -> set[TP]:
        """Return the Kafka partitions that this worker reads."""
        return set(self._assigned)


class Transport(base.Transport):
    """Faust's way to confluent-kafka, for one app.

    Attributes:
        client_options: librdkafka's settings (`bootstrap.servers`, SASL, TLS, …).
        topics: the topics to read.
        topic_ids: topic → the broker's id of it.
        keeper: who knows the positions.
        require_same_topics: raises if a topic of that name is no longer the one with that id; see `TopicWatch`.
    """

    Consumer = Consumer
    Producer = SilentProducer
    default_port = 9092
    driver_version = "confluent-kafka"

    def __init__(
        self,
        app: Any,
        *,
        client_options: Mapping[str, Any],
        topic_ids: Mapping[str, str],
        keeper: PositionKeeper,
        require_same_topics: Callable[[Callable[[], bool]], None],
    ) -> None:
        super().__init__([URL("kafka://")], app)
        self.client_options = dict(client_options)
        self.topics = frozenset(topic_ids)
        self.topic_ids = dict(topic_ids)
        self.keeper = keeper
        self.require_same_topics = require_same_topics

    def commit_mark(self, topic: str) -> str:
        """Return what is kept with each offset committed to Kafka: which topic of that name, and which lake."""
        return f"{self.topic_ids[topic]} {self.keeper.lake_id}"


def offsets_gone(tp: TP, wanted: int, low: int, high: int) -> OffsetsGone:
    """Return the error for a position that the topic does not have."""
    place = f"{tp.topic}[{tp.partition}]"
    if wanted < low:
        return OffsetsGone(
            f"{place}: the lake needs offset {wanted} next, but the topic now starts at {low}: records "
            f"{wanted}..{low - 1} expired or were truncated before they were read. Restore them, or start a new lake "
            "with --lake"
        )
    if wanted <= high:  # there is such an offset, but not of the log that was read: Kafka tells them apart by epochs
        return OffsetsGone(
            f"{place}: the lake needs offset {wanted} next, and the broker says that its offsets {low}..{high} are not "
            "those read so far: the topic was made again. Use another --lake for it"
        )
    return OffsetsGone(
        f"{place}: the lake needs offset {wanted} next, but the topic ends at {high}: it was truncated or made again. "
        "Check --broker and --topic, or start a new lake with --lake"
    )
