"""Children after their parents' ends, and no parent that vanished unread."""

from __future__ import annotations

import pytest

from kinesis import Shard
from kinesis.client import shard_id
from schemas.errors import OffsetsGone
from sink.shards import ShardFacts
from stream_app.lineage import Turn, turn_of

UNKNOWN = ShardFacts(None, None, None, None, False)
CLAIMED = ShardFacts(None, None, None, None, True)
HALF_READ = ShardFacts(41, 7, None, None, True)
ENDED = ShardFacts(41, 7, None, 1_000, True)
ENDED_LATER = ShardFacts(99, 8, None, 2_000, True)

CHILD = Shard(shard_id(7), (shard_id(2), shard_id(3)))


def turn(first: ShardFacts, second: ShardFacts, *listed: int, highest_at_begin: int = 3) -> Turn:
    facts = {2: first, 3: second}
    return turn_of("views", CHILD, {shard_id(number) for number in (7, *listed)}, highest_at_begin, facts.__getitem__)


def test_a_shard_without_parents_may_be_read() -> None:
    assert Turn() == turn_of("views", Shard(shard_id(1)), set(), -1, {}.__getitem__)


@pytest.mark.parametrize("parent", [UNKNOWN, CLAIMED, HALF_READ])
@pytest.mark.parametrize("highest_at_begin", [3, 7])
def test_a_child_waits_for_each_parent_that_is_still_there(parent: ShardFacts, highest_at_begin: int) -> None:
    for listed in ((2, 3), (3,)):
        found = turn(ENDED, parent, *listed, highest_at_begin=highest_at_begin)
        assert Turn(waits_for="shardId-000000000003") == found


def test_a_child_is_no_older_than_the_end_of_its_last_parent() -> None:
    assert Turn(known_to_ms=2_000) == turn(ENDED, ENDED_LATER)
    assert Turn(known_to_ms=2_000) == turn(ENDED_LATER, ENDED, 2, 3)


@pytest.mark.parametrize(("parent", "has"), [(UNKNOWN, "nothing"), (CLAIMED, "nothing"), (HALF_READ, "42 records")])
def test_a_parent_that_vanished_unread_is_a_gap(parent: ShardFacts, has: str) -> None:
    with pytest.raises(OffsetsGone) as caught:
        turn(ENDED, parent, 2)
    assert str(caught.value).startswith(f"views shardId-000000000003: the lake has {has} of it and had not read it")
    assert "Its child shardId-000000000007 was not begun." in str(caught.value)


def test_a_parent_that_was_gone_when_the_lake_began_is_none() -> None:
    assert Turn() == turn(UNKNOWN, UNKNOWN, highest_at_begin=7)
    with pytest.raises(OffsetsGone, match="42 records"):
        turn(UNKNOWN, HALF_READ, highest_at_begin=7)
