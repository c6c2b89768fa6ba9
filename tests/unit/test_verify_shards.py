"""`verify` of a Kinesis lake: what the lake alone tells, and what the stream tells besides."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from faust.types import TP

from audit.verify import Verdict, verify
from compaction.expire import expire
from compaction.forget import forget
from compaction.person import Person
from kinesis import Answer, Description, Record, Shard
from sink.lake import Lake
from sink.positions import Source
from sink.writer import LakeWriter
from stream_app.shards import to_records
from tests.kinesis.shard import FIRST, ShardInMemory
from tests.processing import processor
from tests.records import event_bytes
from tests.unit.test_aggregation import packed
from tests.unit.test_verify import cut

SOURCE = Source("views", "kinesis:test", 0)


class StreamInMemory:
    """One stream of one shard."""

    name = SOURCE.topic

    def __init__(self, shard: ShardInMemory) -> None:
        self._shard = shard

    def describe(self) -> Description:
        return self._shard.describe()

    def shards(self) -> list[Shard]:
        return [Shard("shardId-000000000000")]

    def iterator(self, shard_id: str) -> str:
        return self._shard.iterator(shard_id)

    def get(self, iterator: str) -> Answer:
        return self._shard.get(iterator)


@pytest.fixture
def shard() -> ShardInMemory:
    shard = ShardInMemory(most=100)
    shard.add([event_bytes(number) for number in range(5)])
    shard.add([packed([("u1", event_bytes(5)), ("u2", b"{broken")])])
    shard.add([event_bytes(7)])
    return shard


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake.at(str(tmp_path / "lake"))


def write(lake: Lake, records: list[Record]) -> None:
    writer = LakeWriter(lake)
    first = writer.claim({SOURCE: 0})[SOURCE]
    rows = to_records(
        records, TP(SOURCE.topic, 0), SOURCE.topic_id, first_offset=first, ingest_timestamp_us=1_795_000_000_000_000
    )
    judged = processor()(rows)
    writer.add(rows, judged.silver, judged.quarantine)
    writer.flush()


def found(verdict: Verdict) -> dict[str, tuple[int, tuple[str, ...]]]:
    return {fault.kind: (fault.count, fault.first) for fault in verdict.faults}


def test_a_lake_with_all_that_the_stream_has_holds(lake: Lake, shard: ShardInMemory) -> None:
    write(lake, shard.records)
    shard.add([event_bytes(9)])  # not done yet: no fault
    verdict = verify(lake, stream=StreamInMemory(shard))
    assert ({}, True, 8) == (found(verdict), verdict.has_asked_broker, verdict.sources[0].bronze)


def test_records_that_were_skipped_are_found_in_the_stream(lake: Lake, shard: ShardInMemory) -> None:
    write(lake, [record for number, record in enumerate(shard.records) if number not in (2, 5)])
    assert verify(lake).holds, "counted without a hole: the lake alone can't tell"
    expected = (3, tuple(f"views[0]@{FIRST + 2 * number}" for number in (2, 5, 5)))
    assert {"lost": expected} == found(verify(lake, stream=StreamInMemory(shard)))


def test_other_bytes_are_found(lake: Lake, shard: ShardInMemory) -> None:
    write(lake, shard.records)
    old = shard.records[3]
    shard.records[3] = Record(old.sequence_number, old.arrived_ms, old.key, b"another")
    expected = (1, (f"views[0]@{FIRST + 6}",))
    assert {"other_bytes": expected} == found(verify(lake, stream=StreamInMemory(shard)))


def test_records_counted_twice_are_found_without_the_stream(lake: Lake, shard: ShardInMemory) -> None:
    write(lake, shard.records[:4])
    write(lake, shard.records[2:])  # two of them again, under ordinals of their own
    faults = found(verify(lake))
    assert (4, tuple(f"views[0]@{ordinal}" for ordinal in (2, 3, 4, 5))) == faults["record_repeated"]
    assert (1, ("views[0]@4",)) == faults["out_of_order"]


def test_an_ordinal_that_no_table_has_is_a_loss(lake: Lake, shard: ShardInMemory) -> None:
    write(lake, shard.records)
    for table in ("bronze", "silver"):
        cut(lake, table, "kafka_offset = 1")
    assert {"missing_ordinal": (1, ("views[0]@1",))} == found(verify(lake))


def test_a_forgotten_record_that_the_stream_still_has_is_no_loss_but_its_neighbour_is(
    lake: Lake, shard: ShardInMemory
) -> None:
    for user in ("u-17", "u1", "u-17"):
        shard.add([event_bytes(20, user_id=user, event_id=f"{user}-{len(shard.records)}")])
    write(lake, shard.records)
    forget(lake, Person(["u-17"]))
    assert {} == found(verify(lake, stream=StreamInMemory(shard)))
    shard.records.insert(9, Record(shard.records[8].sequence_number + 1, 0, "u1", event_bytes(99)))
    count, _ = found(verify(lake, stream=StreamInMemory(shard)))["lost"]
    assert 1 == count


def test_records_that_expired_from_bronze_are_no_loss(lake: Lake, shard: ShardInMemory) -> None:
    write(lake, shard.records)
    expire(lake, dt.date(2030, 1, 1))
    assert {} == found(verify(lake, stream=StreamInMemory(shard)))
    shard.add([event_bytes(30)])
    write(lake, shard.records[-1:])
    assert {} == found(verify(lake, stream=StreamInMemory(shard)))
