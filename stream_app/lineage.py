"""Whether a shard may be read: not before its parents, and never past a parent that vanished unread."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from kinesis import Shard
from kinesis.client import shard_number
from schemas.errors import OffsetsGone
from sink.shards import ShardFacts


@dataclass(frozen=True)
class Turn:
    """Whether it is a shard's turn.

    Attributes:
        waits_for: id of a parent that is not in the lake to its end; None when the shard may be read.
        known_to_ms: no record of the shard is older than this, milliseconds since 1970; None where that isn't known,
            or where nothing was promised of an unread shard.
    """

    waits_for: str | None = None
    known_to_ms: int | None = None


def turn_of(
    stream: str,
    shard: Shard,
    listed: Collection[str],
    highest_at_begin: int,
    facts_of: Callable[[int], ShardFacts],
) -> Turn:
    """Return whether a shard may be read now.

    Args:
        stream: its stream's name.
        shard: not begun, or begun before.
        listed: ids of the shards that the stream still has.
        highest_at_begin: the highest shard number when the lake began the stream; of later ones it is to hold all.
        facts_of: what the lake knows of the shard with a number.

    Raises:
        OffsetsGone: a parent is gone from the stream, and the lake, which was to hold all of it, does not.
    """
    is_later = shard.number > highest_at_begin
    ended_ms = []
    for parent in shard.parents:
        facts = facts_of(shard_number(parent))
        if facts.ended_ms is not None:
            ended_ms.append(facts.ended_ms)
        elif parent in listed:
            return Turn(waits_for=parent)
        elif is_later or facts.is_started:
            done = "nothing" if facts.position is None else f"{facts.position + 1:,} records"
            raise OffsetsGone(
                f"{stream} {parent}: the lake has {done} of it and had not read it to its end, and the stream no "
                f"longer has it: its records expired before they were read. Its child {shard.shard_id} was not begun. "
                "Start a new lake with --lake"
            )
    return Turn(known_to_ms=max(ended_ms) if is_later and ended_ms else None)
