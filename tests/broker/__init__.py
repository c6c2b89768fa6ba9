"""A real Apache Kafka for tests: from the environment, from Docker, or from local Java; in that order.

In a test, ask for the fixtures `broker`, `topic` or `stoppable_broker` (tests/conftest.py). For people and benches:

    uv run python -m tests.broker
"""

from __future__ import annotations

import os
from collections.abc import Callable

from tests.broker import container, java
from tests.broker.kafka import Broker, NoBroker, fresh_name, wait_until

__all__ = ["BOOTSTRAP_VARIABLE", "Broker", "NoBroker", "find", "fresh_name", "start", "wait_until"]

BOOTSTRAP_VARIABLE = "PLAYLAKE_TEST_BOOTSTRAP"

_closed: dict[str, str] = {}
"""Ways that failed in this process, with the reason: tried once, told once."""


def find(say: Callable[[str], None] = print) -> Broker:
    """Return a broker that answers: the environment's, else one that `start` starts. The caller closes it.

    Raises:
        NoBroker: none; the message names each way with its reason, and what to do.
    """
    bootstrap = os.environ.get(BOOTSTRAP_VARIABLE)
    if not bootstrap:
        return start(say)
    broker = Broker(bootstrap.removeprefix("kafka://"), "environment")
    try:
        broker.wait_until_it_answers(timeout_s=15)
    except NoBroker as error:
        raise NoBroker(f"{BOOTSTRAP_VARIABLE}={bootstrap}: {error}; start that broker or unset the variable") from error
    return broker


def start(say: Callable[[str], None] = print) -> Broker:
    """Start a broker of our own, in Docker or else as local Java. It ends with this process; `close` ends it earlier.

    Args:
        say: is told, in one line each, why a way was not taken and what takes time.

    Raises:
        NoBroker: neither works.
    """
    for kind, start_it in (("docker", container.start), ("java", java.start)):
        if kind in _closed:
            continue
        try:
            return start_it(say)
        except NoBroker as error:
            _closed[kind] = str(error)
            say(f"no broker through {kind}: {error}")
    raise NoBroker(
        "these tests need a real Apache Kafka and found none. Do one of: "
        f"set {BOOTSTRAP_VARIABLE}=host:port; start a Docker engine that has or can pull {container.IMAGE}; "
        f"install Java 17+ and Maven. Tried: {'; '.join(f'{kind}: {reason}' for kind, reason in _closed.items())}"
    )
