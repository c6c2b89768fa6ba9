"""What a lake knows of a Kinesis shard beside its position, as Delta `txn` entries of silver, the first of bronze, too.

A shard is a source like a Kafka partition: its number is the Kafka partition, and a record's offset is its ordinal
among the records read of the shard, counted from 0 without a hole. An ordinal is no place to read on from; so the
commit that moves the position of silver or bronze also says which record that was:

    …#sequence-high, -middle, -low   the sequence number of the record at the table's position, 62 bits each
    …#read-to                        up to when an idle shard is known to be read, in milliseconds since 1970
    …#end                            the shard was read to its end; no child began before this time, in milliseconds
    <topic>/<topic id>#begun         the highest shard number when the lake began this stream: of shards above it, the
                                     lake is to hold everything
    <topic>/<topic id>#begun-at      when that was, in milliseconds
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable, Transaction

from sink import positions
from sink.positions import Source

SEQUENCE_HEADER: Final = "kinesis.sequence_number"
"""Header of a bronze row: the decimal digits of its sequence number."""
SUB_SEQUENCE_HEADER: Final = "kinesis.sub_sequence_number"
"""Header of a bronze row that came packed with others: its number among them, from 0."""

_STREAM_ID: Final = "kinesis:"
_FILES_ID: Final = "files:"
_PART_BITS: Final = 62
_PARTS: Final = ("high", "middle", "low")
SEQUENCE_BITS: Final = _PART_BITS * len(_PARTS)


@dataclass(frozen=True)
class ShardFacts:
    """What a lake knows of a shard.

    Attributes:
        position: ordinal of the last record done; None before the first flush.
        sequence_number: of that record.
        read_to_ms: up to when it is known to be read where it is idle, milliseconds since 1970; None where never noted.
        ended_ms: it was read to its end, and no child began before this time; None while it is not.
        is_started: whether it was ever claimed.
    """

    position: int | None
    sequence_number: int | None
    read_to_ms: int | None
    ended_ms: int | None
    is_started: bool


def is_shard(source: Source) -> bool:
    """Return whether a source is a shard of a Kinesis stream."""
    return source.topic_id.startswith(_STREAM_ID)


def is_counted(source: Source) -> bool:
    """Return whether a source's offsets count its records without a hole: of shards and of files they do."""
    return is_shard(source) or is_files(source)


def is_files(source: Source) -> bool:
    """Return whether a source is a place where files land (`sink.ledger`)."""
    return source.topic_id.startswith(_FILES_ID)


def read_to_id(source: Source) -> str:
    """Return the `txn` id of the time up to which a shard is known to be read."""
    return f"{source.app_id}#read-to"


def end_id(source: Source) -> str:
    """Return the `txn` id that says that a shard was read to its end."""
    return f"{source.app_id}#end"


def begun_ids(topic: str, topic_id: str) -> tuple[str, str]:
    """Return the `txn` ids of a stream's highest shard number at its begin, and of when that was."""
    return f"{topic}/{topic_id}#begun", f"{topic}/{topic_id}#begun-at"


def begun(handle: DeltaTable, topic: str, topic_id: str) -> tuple[int, int] | None:
    """Return highest shard number and time (ms) of a stream's begin in the lake; None where it has not begun."""
    number, at_ms = (positions.version_of(handle, name) for name in begun_ids(topic, topic_id))
    return None if number is None or at_ms is None else (number, at_ms)


def last_record(handle: DeltaTable, source: Source) -> tuple[int, int] | None:
    """Return ordinal and sequence number of a shard's last record in silver or bronze; None before the first.

    Raises:
        StoreUnavailable: the log can't be read now.
    """
    ordinal = positions.position(handle, source)
    parts = [positions.version_of(handle, name) for name in _sequence_ids(source)]
    number = _joined([part for part in parts if part is not None])
    return None if ordinal is None or number is None else (ordinal, number)


def is_set(handle: DeltaTable, name: str) -> bool:
    """Return whether a `txn` id has a version."""
    return positions.version_of(handle, name) is not None


def shard_facts(handle: DeltaTable, source: Source) -> ShardFacts:
    """Return what a lake knows of a shard at the handle's version (silver's).

    Raises:
        StoreUnavailable: the log can't be read now.
    """
    position, sequence_number = last_record(handle, source) or (None, None)
    return ShardFacts(
        position,
        sequence_number,
        positions.version_of(handle, read_to_id(source)),
        positions.version_of(handle, end_id(source)),
        positions.start(handle, source) is not None,
    )


def sequence_entries(bronze: Sequence[pa.Table], targets: Mapping[Source, int]) -> dict[Source, list[Transaction]]:
    """Return, for each shard among the sources, the entries for the sequence number of its last record.

    Args:
        bronze: tables of bronze's rows, in which the last record of each is.
        targets: per source, the offset of its last record. Sources that are no shards get no entry.
    """
    return {
        source: [
            Transaction(name, part)
            for name, part in zip(_sequence_ids(source), _split(_sequence_number(bronze, source, last)), strict=True)
        ]
        for source, last in targets.items()
        if is_shard(source)
    }


def _sequence_number(bronze: Sequence[pa.Table], source: Source, offset: int) -> int:
    for rows in reversed(bronze):
        is_last = pc.and_(
            pc.equal(rows["kafka_offset"], offset),
            pc.and_(
                pc.equal(rows["kafka_partition"], source.kafka_partition), pc.equal(rows["topic_id"], source.topic_id)
            ),
        )
        for headers in rows.filter(is_last)["headers"].to_pylist():
            return int(dict(headers)[SEQUENCE_HEADER])
    raise AssertionError(f"no row of {source}@{offset} in its own flush")


def _sequence_ids(source: Source) -> list[str]:
    return [f"{source.app_id}#sequence-{part}" for part in _PARTS]


def _split(number: int) -> list[int]:
    """Return a number's parts of 62 bits, the highest first: a `txn` version has 63."""
    if number >> SEQUENCE_BITS:
        raise AssertionError(f"a sequence number of more than {SEQUENCE_BITS} bits: {number}")
    mask = (1 << _PART_BITS) - 1
    return [(number >> (_PART_BITS * place)) & mask for place in reversed(range(len(_PARTS)))]


def _joined(parts: list[int]) -> int | None:
    if not parts:
        return None
    number = 0
    for part in parts:
        number = (number << _PART_BITS) | part
    return number
