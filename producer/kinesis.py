"""Records to a Kinesis stream: partitioned by user, each acknowledged or an error, in order for each user.

A `PutRecords` may take a record and refuse one before it, so no two records of one key travel at the same time: a key's
next record goes once the one before it was taken. What keeps it fast is that a thousand users wait at any time.
"""

from __future__ import annotations

import heapq
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import count
from typing import Final, Protocol

from kinesis.client import MOST_BYTES, MOST_RECORD_BYTES, MOST_RECORDS
from producer.simulate import Block
from schemas.errors import BrokerUnavailable, ConfigError

_MOST_QUEUED: Final = 20_000
_CALLS: Final = 8
_FIRST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 2.0
_GIVE_UP_S: Final = 120.0
_NO_KEY: Final = "-"
"""Kinesis takes no empty partition key."""


class PutsRecords(Protocol):
    """What is needed of `kinesis.Stream`."""

    @property
    def name(self) -> str:
        """What it is called."""

    def put(self, records: Sequence[tuple[str, bytes]]) -> list[str | None]:
        """Put keys and values; per record None or an error's code."""


class _Waiting:
    """The records of one key that are not acknowledged yet, in order."""

    def __init__(self) -> None:
        self.values: deque[bytes] = deque()
        self.refused = 0
        self.refused_since: float | None = None


class KinesisSink:
    """A stream that takes blocks; records of one key keep their order. Counts only what Kinesis acknowledged.

    A request whose answer gets lost is sent again, so Kinesis may hold some records twice, as with any of its
    producers; they have the same `event_id`.

    Attributes:
        acknowledged: records that Kinesis took.
        retried: times that a record was sent again.
    """

    def __init__(self, stream: PutsRecords, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Send to a stream, which must be there; `clock` gives seconds."""
        self._stream = stream
        self._clock = clock
        self._calls = ThreadPoolExecutor(_CALLS, thread_name_prefix="put")
        self._flying: dict[Future[list[str | None]], list[str]] = {}
        self._waiting: dict[str, _Waiting] = {}
        self._ready: deque[str] = deque()
        self._resting: list[tuple[float, int, str]] = []
        self._numbers = count()
        self._queued = 0
        self.acknowledged = 0
        self.retried = 0

    def write(self, block: Block) -> None:
        """Queue a block, sending while more than 20,000 records wait.

        Raises:
            BrokerUnavailable: a record was refused for 120 s.
            ConfigError: a record is over Kinesis' 1 MiB.
            TopicNotFound, TerminalError: what `kinesis.Stream` says.
        """
        for raw_key, value in zip(block.keys, block.values, strict=True):
            if len(raw_key) + len(value) > MOST_RECORD_BYTES:
                raise ConfigError(
                    f"a record of {len(value):,} bytes can't go to the stream {self._stream.name!r}: Kinesis takes "
                    f"{MOST_RECORD_BYTES:,} with its key"
                )
            key = raw_key.decode(errors="replace") or _NO_KEY
            waiting = self._waiting.get(key)
            if waiting is None:
                waiting = self._waiting[key] = _Waiting()
                self._ready.append(key)
            waiting.values.append(value)
        self._queued += len(block)
        self._send(_MOST_QUEUED, is_last=False)

    def flush(self) -> None:
        """Wait until Kinesis acknowledged everything; raises as `write` does."""
        self._send(0, is_last=True)

    def close(self) -> None:
        """End the calling threads; what was not flushed may or may not be in the stream."""
        self._calls.shutdown(cancel_futures=True)

    def _send(self, most_left: int, *, is_last: bool) -> None:
        self._go_on(is_last=is_last, should_wait=False)
        while self._queued > most_left:
            self._go_on(is_last=is_last, should_wait=True)

    def _go_on(self, *, is_last: bool, should_wait: bool) -> None:
        """Begin the calls that can begin, full ones unless none is under way, and take the answers that are there."""
        self._wake_rested()
        while (
            self._ready
            and len(self._flying) < _CALLS
            and (is_last or len(self._ready) >= MOST_RECORDS or not self._flying)
        ):
            self._start_call()
        if self._flying:
            wait_s = self._until_rested_s() if should_wait else 0.0
            done, _ = wait(self._flying, timeout=wait_s, return_when=FIRST_COMPLETED)
            for future in done:
                self._take_answer(future)
        elif should_wait:
            time.sleep(self._until_rested_s() or 0.0)

    def _start_call(self) -> None:
        keys: list[str] = []
        records: list[tuple[str, bytes]] = []
        size = 0
        while self._ready and len(keys) < MOST_RECORDS:
            key = self._ready[0]
            value = self._waiting[key].values[0]
            size += len(key.encode()) + len(value)
            if size > MOST_BYTES:
                break
            self._ready.popleft()
            keys.append(key)
            records.append((key, value))
        self._flying[self._calls.submit(self._stream.put, records)] = keys

    def _take_answer(self, future: Future[list[str | None]]) -> None:
        keys = self._flying.pop(future)
        try:
            refusals = future.result()
        except BrokerUnavailable as error:
            refusals = [str(error)] * len(keys)
        for key, refusal in zip(keys, refusals, strict=True):
            waiting = self._waiting[key]
            if refusal is not None:
                self._rest(key, waiting, refusal)
                continue
            waiting.values.popleft()
            waiting.refused, waiting.refused_since = 0, None
            self._queued -= 1
            self.acknowledged += 1
            if waiting.values:
                self._ready.append(key)
            else:
                del self._waiting[key]

    def _rest(self, key: str, waiting: _Waiting, refusal: str) -> None:
        now = self._clock()
        if waiting.refused_since is None:
            waiting.refused_since = now
        elif now - waiting.refused_since > _GIVE_UP_S:
            raise BrokerUnavailable(
                f"{self._queued:,} records or fewer were not acknowledged by the stream {self._stream.name!r} within "
                f"{_GIVE_UP_S:.0f} s ({refusal}): add shards, lower --rate, or see to the network, then produce again"
            )
        longest = min(_FIRST_PAUSE_S * 2**waiting.refused, _LONGEST_PAUSE_S)
        waiting.refused += 1
        self.retried += 1
        due = now + random.uniform(0, longest)  # noqa: S311  # jitter, no secret
        heapq.heappush(self._resting, (due, next(self._numbers), key))

    def _wake_rested(self) -> None:
        while self._resting and self._resting[0][0] <= self._clock():
            self._ready.appendleft(heapq.heappop(self._resting)[2])

    def _until_rested_s(self) -> float | None:
        if not self._resting:
            return None
        return max(0.0, self._resting[0][0] - self._clock())
