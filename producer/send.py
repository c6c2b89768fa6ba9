"""Send a simulation's blocks to a sink: as fast as it takes them, or at a rate; count what went."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Protocol

from producer.simulate import Block, Counts

_LONGEST_NAP_S: Final = 0.05


class Sink(Protocol):
    """Where records go."""

    def write(self, block: Block) -> None:
        """Take over a block in its order; may wait for room."""

    def flush(self) -> None:
        """Return when everything taken over has arrived; raise where something has not."""


@dataclass(frozen=True)
class Sent:
    """What was sent; all of it has arrived.

    Attributes:
        events: how many records.
        by_kind: the same by `producer.dirt.Kind.name`.
        value_bytes: size of their values together.
        elapsed_s: from the call to the end of the flush.
        is_complete: False when `should_stop` ended it.
    """

    events: int
    by_kind: dict[str, int]
    value_bytes: int
    elapsed_s: float
    is_complete: bool


def send(
    blocks: Iterable[Block],
    sink: Sink,
    *,
    rate_per_s: float | None = None,
    duration_s: float | None = None,
    before_block: Callable[[int], None] | None = None,
    after_block: Callable[[int], None] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Sent:
    """Send all blocks, then wait until they have arrived.

    Args:
        blocks: what to send; may be endless when `duration_s` or `should_stop` ends it.
        sink: where to.
        rate_per_s: records a second; a block is sent when its last record is due. None: no limit.
        duration_s: no block begins later than this after the first.
        before_block: called with the number of records sent so far; may wait, so that a caller paces the sending.
        after_block: called with the number of records sent so far.
        should_stop: asked before every block and while waiting.
        clock: seconds, from any point on.
        sleep: waits for seconds.

    Raises:
        PlaylakeError: what the sink raises; not all that was sent has arrived then.
    """
    counts = Counts()
    events = value_bytes = 0
    is_complete = True
    called_s = clock()
    began_s: float | None = None  # the rate holds from when the first block is there
    for block in blocks:
        if began_s is None:
            began_s = clock()
        if before_block is not None:
            before_block(events)
        due_s = (events + len(block)) / rate_per_s if rate_per_s is not None else 0.0
        if duration_s is not None and max(due_s, clock() - began_s) > duration_s:
            break
        while not should_stop() and (left_s := began_s + due_s - clock()) > 0:
            sleep(min(left_s, _LONGEST_NAP_S))
        if should_stop():
            is_complete = False
            break
        sink.write(block)
        counts.add(block.kinds)
        events += len(block)
        value_bytes += sum(map(len, block.values))
        if after_block is not None:
            after_block(events)
    sink.flush()
    return Sent(events, counts.by_kind(), value_bytes, clock() - called_s, is_complete)
