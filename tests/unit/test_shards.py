"""A reader of one shard: all records from where it was told, in order, once; and never silently past a gap."""

from __future__ import annotations

import threading
import time
from typing import Any

import pyarrow as pa
import pytest
from faust.types import TP

from kinesis import Record, Shard
from schemas.errors import OffsetsGone
from stream_app.batches import Fetched
from stream_app.records import FETCHED
from stream_app.shards import ShardReader, to_records
from tests.broker import wait_until
from tests.kinesis.shard import FIRST, ShardInMemory
from tests.unit.test_aggregation import packed

PLACE = TP("views", 3)
HOUR_MS = 3_600_000


class Reading:
    """A reader with what it handed over."""

    def __init__(self, shard: ShardInMemory, calls: threading.Semaphore | None = None, **more: Any) -> None:
        self.stopping = threading.Event()
        self.ended = threading.Event()
        self.failure: BaseException | None = None
        self.batches: list[Fetched] = []
        self.has_room = True
        self.asked_for_room = 0
        nothing: dict[str, Any] = dict.fromkeys(("sequence_number", "known_to_ms", "torn"))
        self.reader = ShardReader(
            shard,
            Shard("shardId-000000000003"),
            PLACE,
            "kinesis:test",
            1,
            **{"next_offset": 0, **nothing, **more},
            stopping=self.stopping,
            has_room=self._asked_for_room,
            calls=calls or threading.Semaphore(1),
            hand_over=lambda tp, fetched, last, is_caught_up: self.batches.extend(fetched),
            on_end=self.ended.set,
            on_failure=self._failed,
        )

    def _failed(self, error: BaseException) -> None:
        self.failure = error
        self.stopping.set()

    def _asked_for_room(self) -> bool:
        self.asked_for_room += 1
        return self.has_room

    def __enter__(self) -> Reading:
        self.reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self.reader.join(5)

    @property
    def rows(self) -> list[dict[str, Any]]:
        return pa.concat_tables([FETCHED.empty_table(), *(batch.records for batch in self.batches)]).to_pylist()

    @property
    def values(self) -> list[tuple[int, bytes]]:
        return [(row["kafka_offset"], row["value"]) for row in self.rows]

    def until_caught_up(self) -> Reading:
        wait_until(lambda: self.reader.is_caught_up or self.failure is not None, "caught up", 10)
        assert self.failure is None
        return self

    def until_failed(self) -> str:
        wait_until(lambda: self.failure is not None, "a failure", 10)
        assert isinstance(self.failure, OffsetsGone)
        return str(self.failure)


def filled(count: int, **more: Any) -> ShardInMemory:
    shard = ShardInMemory(**more)
    shard.add([b"%d" % number for number in range(count)])
    return shard


def numbered(first: int, last: int) -> list[tuple[int, bytes]]:
    return [(number, b"%d" % number) for number in range(first, last)]


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def test_a_shard_is_read_from_its_oldest_record_with_an_ordinal_for_each() -> None:
    with Reading(filled(10)) as reading:
        assert numbered(0, 10) == reading.until_caught_up().values
    row = reading.rows[4]
    assert ("views", "kinesis:test", 3, b"u1") == tuple(
        row[name] for name in ("topic", "topic_id", "kafka_partition", "key")
    )
    assert {"kinesis.sequence_number": str(FIRST + 8).encode()} == dict(row["headers"])
    assert 9 == reading.reader.last_fetched


def test_reading_on_begins_after_the_last_record_done() -> None:
    shard = filled(10)
    with Reading(shard, next_offset=5, sequence_number=FIRST + 8) as reading:
        assert numbered(5, 10) == reading.until_caught_up().values
    assert [FIRST + 8] == shard.asked


def test_the_end_of_a_closed_shard_is_told_once_all_is_handed_over() -> None:
    with Reading(filled(7, is_closed=True)) as reading:
        assert reading.ended.wait(10)
        assert reading.reader.has_ended
        assert numbered(0, 7) == reading.values


def test_an_iterator_that_expired_is_renewed_without_a_record_lost_or_twice() -> None:
    shard = filled(20, expire_after=2)
    with Reading(shard) as reading:
        assert numbered(0, 20) == reading.until_caught_up().values
    assert len(shard.asked) > 2


def test_throttling_is_waited_out() -> None:
    with Reading(filled(4, refuse=2)) as reading:
        assert numbered(0, 4) == reading.until_caught_up().values


def test_a_shard_that_is_refused_does_not_hold_up_another() -> None:
    calls = threading.Semaphore(1)
    refused = filled(4, refuse=1_000_000)
    with Reading(refused, calls), Reading(filled(4), calls) as reading:
        wait_until(lambda: refused.refuse < 1_000_000, "the first was refused", 10)
        assert numbered(0, 4) == reading.until_caught_up().values


def test_nothing_is_fetched_while_there_is_no_room() -> None:
    shard = filled(4)
    reading = Reading(shard)
    reading.has_room = False
    with reading:
        wait_until(lambda: reading.asked_for_room > 3, "asked for room some times", 10)
        assert ([], []) == (shard.asked, reading.batches)
        reading.has_room = True
        assert numbered(0, 4) == reading.until_caught_up().values


@pytest.mark.parametrize("known_to_ms", [None, 30 * HOUR_MS], ids=["never idle", "idle 30 h ago"])
def test_a_last_record_that_is_gone_is_a_gap(known_to_ms: int | None) -> None:
    shard = filled(10)
    del shard.records[:6]
    known = None if known_to_ms is None else now_ms() - known_to_ms
    with Reading(shard, next_offset=5, sequence_number=FIRST + 8, known_to_ms=known) as reading:
        said = reading.until_failed()
    assert said.startswith("views shardId-000000000003: the lake has 5 records of it, the last with sequence number ")
    assert f"{FIRST + 8}" in said
    assert f"begins with sequence number {FIRST + 12}" in said
    assert "keeps records for 24 h" in said
    assert [] == reading.batches


def test_a_shard_that_lost_everything_after_the_last_record_done_is_a_gap() -> None:
    with Reading(ShardInMemory(), next_offset=5, sequence_number=FIRST + 8) as reading:
        assert "has no such record" in reading.until_failed()


def test_the_last_record_of_a_shard_known_to_be_idle_may_expire() -> None:
    shard = filled(10)
    del shard.records[:5]
    with Reading(shard, next_offset=5, sequence_number=FIRST + 8, known_to_ms=now_ms() - 20 * HOUR_MS) as reading:
        assert numbered(5, 10) == reading.until_caught_up().values


def test_a_child_that_began_before_what_the_stream_keeps_is_a_gap() -> None:
    with Reading(filled(3), known_to_ms=now_ms() - 25 * HOUR_MS) as reading:
        assert "has no record of it, read to " in reading.until_failed()
    with Reading(filled(3), known_to_ms=now_ms() - 23 * HOUR_MS) as reading:
        assert numbered(0, 3) == reading.until_caught_up().values


def test_an_empty_answer_before_the_tip_proves_nothing() -> None:
    shard = filled(10)
    whole = shard.get
    answers = iter([True, True])

    def sometimes_empty(iterator: str) -> Any:
        if next(answers, False):
            answer = whole(iterator)
            return type(answer)([], iterator, 60_000)
        return whole(iterator)

    shard.get = sometimes_empty  # type: ignore[method-assign]
    with Reading(shard, next_offset=5, sequence_number=FIRST + 8) as reading:
        assert numbered(5, 10) == reading.until_caught_up().values


def test_what_a_torn_flush_left_is_read_again_under_the_same_ordinals() -> None:
    with Reading(filled(10), next_offset=2, sequence_number=FIRST + 2, torn=(6, FIRST + 12)) as reading:
        assert numbered(2, 10) == reading.until_caught_up().values


@pytest.mark.parametrize("left", [8, 3])
def test_other_records_than_a_torn_flush_left_are_a_gap_before_any_is_handed_over(left: int) -> None:
    shard = filled(10)
    del shard.records[:-left]  # the lake has none of them in silver, so nothing else tells
    with Reading(shard, torn=(6, FIRST + 12)) as reading:
        said = reading.until_failed()
    assert "left record 6 of it in bronze" in said
    assert ("gives sequence number" if left > 6 else "has no such record") in said
    assert [] == reading.batches


def test_packed_records_get_an_ordinal_each() -> None:
    records = [
        Record(FIRST, 1_795_000_000_123, "outer", packed([("u1", b"a"), ("u2", b"b")])),
        Record(FIRST + 1, 1_795_000_000_456, "u3", b"c"),
    ]
    rows = to_records(records, PLACE, "kinesis:test", first_offset=7, ingest_timestamp_us=1).to_pylist()
    found = [(row["kafka_offset"], row["key"], row["value"]) for row in rows]
    assert [(7, b"u1", b"a"), (8, b"u2", b"b"), (9, b"u3", b"c")] == found
    assert [b"0", b"1", None] == [dict(row["headers"]).get("kinesis.sub_sequence_number") for row in rows]
    assert [123_000, 123_000, 456_000] == [row["broker_timestamp"].microsecond for row in rows]
