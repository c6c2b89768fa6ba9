"""What is said of a position that a topic does not have: the range, and what to do."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from faust.types import TP

from schemas.errors import OffsetsGone
from stream_app.transport import Consumer, offsets_gone


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (150, 200, "the topic now starts at 150: records 100..149 expired or were truncated before they were read"),
        (0, 50, "the topic ends at 50: it was truncated or made again"),
        (0, 500, "its offsets 0..500 are not those read so far: the topic was made again"),
    ],
    ids=["truncated", "shorter", "another log"],
)
def test_the_range_is_named(low: int, high: int, said: str) -> None:
    told = str(offsets_gone(TP("playback", 3), 100, low, high))
    assert told.startswith("playback[3]: the lake needs offset 100 next, ")
    assert said in told


@pytest.mark.parametrize("ends", [(100, 150), (100, 120)], ids=["grown since", "still short"])
def test_a_claim_beyond_the_end_told_before_it_asks_for_the_end_again(ends: tuple[int, int]) -> None:
    async def claim(first_offsets: object, claim_number: int) -> dict[TP, int]:
        return {TP("playback", 3): 130}

    told = iter(ends)
    consumer = SimpleNamespace(
        _watermarks=lambda tp: (0, next(told)),
        _keeper=SimpleNamespace(claim=claim),
        _closing=SimpleNamespace(is_set=lambda: False),
        transport=SimpleNamespace(require_same_topics=lambda is_closing: None),
    )
    claimed = Consumer._claim(consumer, [TP("playback", 3)], 1)
    if ends[1] > 130:
        assert {TP("playback", 3): 130} == asyncio.run(claimed)
    else:
        with pytest.raises(OffsetsGone, match="the topic ends at 120"):
            asyncio.run(claimed)
    assert [] == list(told)
