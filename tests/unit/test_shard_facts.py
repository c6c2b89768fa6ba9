"""Facts about shards in the lake: committed with the rows, whole, and only by the holder of the claim."""

from __future__ import annotations

from pathlib import Path

import pytest
from faust.types import TP
from hypothesis import given
from hypothesis import strategies as st

from kinesis import Record
from schemas.errors import FenceLost
from schemas.tables import QUARANTINE, SILVER
from sink.lake import Lake
from sink.positions import Source
from sink.shards import (
    SEQUENCE_BITS,
    _joined,
    _split,
    begun,
    begun_ids,
    end_id,
    read_to_id,
    shard_facts,
)
from sink.writer import LakeWriter
from stream_app.shards import to_records

SHARD = Source("views", "kinesis:abc", 3)
FIRST = 2**185 + 12_345


def add(writer: LakeWriter, first_offset: int, count: int) -> None:
    records = [Record(FIRST + 2 * (first_offset + number), 1_795_000_000_000, "u", b"x") for number in range(count)]
    place = TP(SHARD.topic, SHARD.kafka_partition)
    rows = to_records(records, place, SHARD.topic_id, first_offset=first_offset, ingest_timestamp_us=1)
    writer.add(rows, SILVER.empty_table(), QUARANTINE.empty_table())


@given(st.integers(0, 2**SEQUENCE_BITS - 1))
def test_a_sequence_number_survives_its_parts(number: int) -> None:
    parts = _split(number)
    assert all(0 <= part < 2**63 for part in parts)
    assert number == _joined(parts)


def test_the_sequence_number_moves_with_the_position(tmp_path: Path) -> None:
    lake = Lake.at(str(tmp_path))
    writer = LakeWriter(lake)
    assert {SHARD: 0} == writer.claim({SHARD: 0})
    before = shard_facts(lake.table("silver"), SHARD)
    assert (None, None, None, None, True) == tuple(vars(before).values())
    for first in (0, 3):
        add(writer, first, 3)
        writer.flush()
        facts = shard_facts(lake.table("silver"), SHARD)
        assert (first + 2, FIRST + 2 * (first + 2)) == (facts.position, facts.sequence_number)
    assert {SHARD: 6} == LakeWriter(lake).claim({SHARD: 0})


def test_a_torn_flush_moves_neither(tmp_path: Path) -> None:
    lake = Lake.at(str(tmp_path))

    def tear(step: str) -> None:
        if step == "before silver":
            raise InterruptedError

    writer = LakeWriter(lake, step=tear)
    writer.claim({SHARD: 0})
    add(writer, 0, 3)
    with pytest.raises(InterruptedError):
        writer.flush()
    facts = shard_facts(lake.table("silver"), SHARD)
    assert (None, None) == (facts.position, facts.sequence_number)


def test_notes_are_the_claimants_alone(tmp_path: Path) -> None:
    lake = Lake.at(str(tmp_path))
    first, second = LakeWriter(lake), LakeWriter(lake)
    first.claim({SHARD: 0})
    first.note({SHARD: {read_to_id(SHARD): 5}})
    second.claim({SHARD: 0})
    with pytest.raises(FenceLost, match=r"another writer claimed views\[3\]"):
        first.note({SHARD: {end_id(SHARD): 7}})
    second.note({SHARD: {end_id(SHARD): 8}})
    facts = shard_facts(lake.table("silver"), SHARD)
    assert (5, 8) == (facts.read_to_ms, facts.ended_ms)
    add(second, 0, 2)
    assert {SHARD: 1} == second.flush().done
    second.require_owned()
    with pytest.raises(FenceLost, match=r"another writer claimed views\[3\]"):
        first.require_owned()


def test_a_stream_begins_once(tmp_path: Path) -> None:
    lake = Lake.at(str(tmp_path))
    assert begun(LakeWriter(lake)._handles["silver"], "views", "kinesis:abc") is None
    number_id, time_id = begun_ids("views", "kinesis:abc")
    LakeWriter(lake).set_once({number_id: 4, time_id: 1000})
    LakeWriter(lake).set_once({number_id: 9, time_id: 2000})
    assert (4, 1000) == begun(lake.table("silver"), "views", "kinesis:abc")
