"""A store in trouble, whatever its workers read: outages, a bad network, and how tests wait for the end of it."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sized

from tests.ledger import rows_in
from tests.s3.flaky import AWAY, DEAF, THROTTLED, Fault
from tests.workers import Worker

QUICK = ("--allowed-latency", "200ms")
OUTAGES = {"away": AWAY, "throttled": THROTTLED, "deaf": DEAF}
WAITS = "WARNING waiting: the store does not serve"
LONG_S = 90
"""For what takes many requests of which a tenth fails."""

PASSING = (
    Fault.SLOW_DOWN,
    Fault.ERROR,
    Fault.RESET,
    Fault.LOST_ANSWER,
    Fault.LOST_COMMIT,
    Fault.LATE,
    Fault.SLOW,
    Fault.TRUNCATED,
)


def bad_network(dice: random.Random) -> dict[Fault, float]:
    """Shares for every passing fault, a tenth of all requests together."""
    weights = {fault: dice.uniform(0.2, 1) for fault in PASSING}
    return {fault: 0.1 * weight / sum(weights.values()) for fault, weight in weights.items()}


def wait_until_all_are_in(lake: str, ledger: Sized, workers: Iterable[Worker]) -> None:
    """Wait until all that was sent is in the lake, while these workers run."""
    for worker in workers:
        worker.until(lambda: rows_in(lake, "bronze") == len(ledger), "all that was sent is in the lake", LONG_S)
