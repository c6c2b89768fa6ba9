"""What is said of a position that a topic does not have: the range, and what to do."""

from __future__ import annotations

import pytest
from faust.types import TP

from stream_app.transport import offsets_gone


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
