"""Batches of records on their way through Faust: what the transports of all brokers have in common.

A transport's threads fetch; what they fetched is handed over to the app's loop, where Faust takes each batch as one
message. Full buffers stop the fetching, not the membership.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterable, Mapping
from concurrent.futures import CancelledError as FutureCancelled
from concurrent.futures import wait as wait_for_futures
from dataclasses import dataclass
from typing import Any, Final, Protocol, cast

import pyarrow as pa
from confluent_kafka import KafkaException
from faust.types import TP, ConsumerMessage

from schemas.errors import PlaylakeError
from stream_app.tableless import TablelessConsumer

POLL_S: Final = 0.1
HANDED_OVER_BYTES: Final = 16 << 20


@dataclass(frozen=True)
class Fetched:
    """The value of a Faust message: one fetch of one Kafka partition.

    Attributes:
        records: schema `RECORDS`, at least one row, offsets ascending.
        claim_number: of the claim under which it was fetched.
    """

    records: pa.Table
    claim_number: int


class PositionKeeper(Protocol):
    """Who knows where to read from: the lake, by way of the worker. Called on the app's loop."""

    @property
    def lake_id(self) -> str:
        """What no other lake has."""

    async def claim(self, first_offsets: Mapping[TP, int], claim_number: int) -> Mapping[TP, int]:
        """Claim Kafka partitions that were assigned, or that lost their fence and are still assigned.

        Args:
            first_offsets: per Kafka partition, the first offset that its topic still has.
            claim_number: batches with a lower number are void from now on.

        Returns:
            Per Kafka partition, the offset to read next.
        """

    async def release(self, tps: frozenset[TP], *, is_lost: bool) -> None:
        """Give Kafka partitions up: flushed first, unless they are lost already."""

    def failed(self, error: BaseException) -> None:
        """Stop the worker: waiting will not mend `error`. What was fetched may still be written before that."""

    def reached_end(self, tp: TP, end: int, last_fetched: int) -> None:
        """Note that a Kafka partition was read to its end for now.

        Args:
            tp: the Kafka partition.
            end: the offset that a next record would get.
            last_fetched: the last record's offset; below `end - 1` where transaction markers or compaction left holes.
        """


class BatchConsumer(TablelessConsumer):
    """Faust's consumer of batches that other threads fetch. A broker's own adds the fetching and the membership."""

    transport: Any  # with a `keeper`
    _app_loop: asyncio.AbstractEventLoop

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._keeper: PositionKeeper = self.transport.keeper
        self._closing = threading.Event()
        self._claim_number = 0
        self._ends_heard: dict[TP, int] = {}
        self._handed_over: asyncio.Queue[tuple[TP, Fetched]] = asyncio.Queue()
        self._waiting_bytes = 0
        self._has_room = threading.Event()

    def _fail(self, error: BaseException) -> None:
        if not self._app_loop.is_closed():
            self._app_loop.call_soon_threadsafe(self._keeper.failed, error)

    def _take_over(self, batches: list[tuple[TP, Fetched]], reached: list[tuple[TP, int, int]]) -> None:
        for batch in batches:
            self._handed_over.put_nowait(batch)
            self._waiting_bytes += batch[1].records.nbytes
        for tp, end, last_fetched in reached:
            self._ends_heard[tp] = end
            self._keeper.reached_end(tp, end, last_fetched)

    async def _wait_next_records(self, timeout: float) -> tuple[Any, None]:
        return await self._getmany(None, timeout), None

    async def _getmany(self, active_partitions: Any, timeout: float) -> dict[TP, list[Fetched]]:
        try:
            tp, fetched = await asyncio.wait_for(self._handed_over.get(), timeout)
        except TimeoutError:
            return {}
        self._waiting_bytes -= fetched.records.nbytes
        if self._waiting_bytes < HANDED_OVER_BYTES:
            self._has_room.set()
        return {tp: [fetched]}

    def _to_message(self, tp: TP, record: Fetched) -> ConsumerMessage:
        last = record.records.slice(record.records.num_rows - 1)
        offset = last["kafka_offset"][0].as_py()
        seconds = (last["broker_timestamp"][0].value or 0) / 1e6
        return ConsumerMessage(
            topic=tp.topic,
            partition=tp.partition,
            offset=offset,
            timestamp=seconds,
            timestamp_type=1,
            headers=None,
            key=None,
            value=cast(Any, record),  # Faust passes it on as it is; `stream_app.app` takes it out
            checksum=None,
            serialized_key_size=0,
            serialized_value_size=record.records.nbytes,
            tp=tp,
            generation_id=self.app.consumer_generation_id,
        )

    async def _release(self, gone: frozenset[TP], is_lost: bool) -> None:
        await self._keeper.release(gone, is_lost=is_lost)
        if not is_lost:
            await self.commit()
        # What Faust's own handler does for `gone`, without what it does to the Kafka partitions that stay.
        self._active_partitions.difference_update(gone)
        self._paused_partitions.difference_update(gone)
        for tp in gone:
            for state in (self._gap, self._acked, self._acked_index, self._read_offset, self._committed_offset):
                state.pop(tp, None)

    async def _tell_faust_assigned(self) -> None:
        self.app.on_rebalance_start()
        await self.on_partitions_assigned(self.assignment(), self.app.consumer_generation_id)

    def _wait_for(self, step: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine on the app's loop and wait; None when it failed, which stops the worker, or while closing."""
        future = asyncio.run_coroutine_threadsafe(step, self._app_loop)
        while not wait_for_futures([future], POLL_S).done:
            if self._closing.is_set():
                future.cancel()
                return None
        try:
            return future.result()
        except FutureCancelled:
            return None
        except (PlaylakeError, KafkaException) as error:
            self._fail(error)
            return None

    def _new_offset(self, tp: TP) -> int | None:
        # A batch is acknowledged by its last offset and batches in order, so the highest is the answer; Faust's own
        # search for gaps between single offsets would find nothing but gaps.
        acked = self._acked[tp]
        if not acked:
            return None
        last = max(acked)
        acked.clear()
        self._acked_index[tp].clear()
        return last + 1

    def last_fetched(self) -> dict[TP, int]:
        """Return per Kafka partition that this worker reads the last offset fetched, or the one before its first."""
        raise NotImplementedError

    def behind_s(self) -> dict[TP, float]:
        """Return how far behind now what was fetched is, where the broker tells: Kinesis does, in seconds."""
        return {}

    def claim_again(self, tps: Iterable[TP]) -> None:
        """Claim and read again Kafka partitions that lost their fence; an error where that can't be right."""
        raise NotImplementedError

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None: ...

    def highwater(self, tp: TP) -> int:
        """Return the end of a Kafka partition as last heard, 0 before."""
        return self._ends_heard.get(tp, 0)
