"""The whole way on one machine with nothing but the Python packages: librdkafka's built-in broker stands in for Kafka.

That broker speaks the real protocol over TCP, groups and offsets included, but keeps only about 5 MB of a Kafka
partition and then drops the oldest without a word. So the producer waits for the worker: it never runs further ahead of
the group's committed offsets than the broker can hold, and `verify` proves afterwards that nothing was lost.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

from confluent_kafka import Consumer, Producer, TopicPartition

from producer.kafka import KafkaSink
from producer.send import Sent, send
from producer.simulate import Scenario, blocks
from schemas.errors import BrokerUnavailable, TerminalError

TOPIC: Final = "playback_events"
GROUP: Final = "playlake-demo"
_PARTITIONS: Final = 4  # what the built-in broker gives a topic
_AHEAD_EVENTS: Final = 12_000  # of ~280 bytes: 3.4 of the 5 MB that it keeps of a Kafka partition
_BLOCK_EVENTS: Final = 2_000
_TIMEOUT_S: Final = 30.0
_NAP_S: Final = 0.02


class BuiltInBroker:
    """librdkafka's mock cluster of one broker; lives as long as this object."""

    def __init__(self) -> None:
        self._host = Producer({"test.mock.num.brokers": 1, "log_level": 0})
        metadata = self._host.list_topics(TOPIC, timeout=_TIMEOUT_S)
        broker = next(iter(metadata.brokers.values()))
        self.address = f"{broker.host}:{broker.port}"


@dataclass
class Pace:
    """Holds the producer back: how far it may run ahead of what the worker has committed."""

    address: str
    worker: subprocess.Popen[bytes]
    _consumer: Consumer = field(init=False)

    def __post_init__(self) -> None:
        self._consumer = Consumer({"bootstrap.servers": self.address, "group.id": GROUP, "log_level": 0})

    def lag(self) -> list[int]:
        """Return, per Kafka partition, how many records the group has not committed yet."""
        parts = [TopicPartition(TOPIC, number) for number in range(_PARTITIONS)]
        committed = self._consumer.committed(parts, timeout=_TIMEOUT_S)
        return [
            self._consumer.get_watermark_offsets(part, timeout=_TIMEOUT_S)[1] - max(0, part.offset)
            for part in committed
        ]

    def wait_until(self, is_met: Callable[[list[int]], bool]) -> None:
        """Wait until the lag is as wanted.

        Raises:
            TerminalError: the worker ended, or took nothing for 30 s.
        """
        last, since = [-1], time.monotonic()
        while not is_met(lag := self.lag()):
            if self.worker.poll() is not None:
                raise TerminalError(f"the worker ended with exit code {self.worker.returncode}")
            if lag != last:
                last, since = lag, time.monotonic()
            elif time.monotonic() - since > _TIMEOUT_S:
                raise BrokerUnavailable(f"the worker took nothing for {_TIMEOUT_S:.0f} s")
            time.sleep(_NAP_S)

    def before_block(self, _events: int) -> None:
        """Wait until another block fits into what the broker keeps, whichever Kafka partition it goes to."""
        self.wait_until(lambda lag: max(lag) + _BLOCK_EVENTS <= _AHEAD_EVENTS)

    def close(self) -> None:
        """Close the client."""
        self._consumer.close()


@contextmanager
def worker(address: str, lake: str, log: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """Run `playlake stream` as a process of its own; its log goes to `log`. Ended, after a last flush, on leaving."""
    command = [
        sys.executable, "-m", "playlake", "stream", "--broker", f"kafka://{address}", "--topic", TOPIC, "--lake", lake,
        "--group", GROUP, "--allowed-latency", "300ms",
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)  # noqa: S603
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def fill(
    lake: str, log_path: Path, scenario: Scenario, on_sent: Callable[[int], None]
) -> tuple[Sent, BuiltInBroker, str]:
    """Send a scenario through the built-in broker into a lake.

    Args:
        lake: where the worker writes.
        log_path: takes the worker's log.
        scenario: what is simulated.
        on_sent: told the number of records sent so far.

    Returns:
        What was sent, the broker (which forgets everything once this is dropped), and the worker's last line.

    Raises:
        TerminalError: the worker ended early; the message quotes its log.
    """
    broker = BuiltInBroker()
    with log_path.open("wb") as log, worker(broker.address, lake, log) as process:
        pace = Pace(broker.address, process)
        try:
            sent = send(
                blocks(scenario, _BLOCK_EVENTS),
                KafkaSink({"bootstrap.servers": broker.address}, TOPIC),
                before_block=pace.before_block,
                after_block=on_sent,
            )
            pace.wait_until(lambda lag: max(lag) == 0)
        except (TerminalError, BrokerUnavailable) as error:
            raise TerminalError(f"{error}; its log {log_path} ends: {_last_line(log_path)}") from error
        finally:
            pace.close()
    if process.returncode != 0:
        raise TerminalError(f"the worker ended with exit code {process.returncode}; see {log_path}")
    return sent, broker, _last_line(log_path)


def _last_line(path: Path) -> str:
    lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "(nothing)"
