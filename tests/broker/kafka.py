"""What a broker for tests is, whoever runs it."""

from __future__ import annotations

import socket
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient, NewTopic


class NoBroker(Exception):
    """This way to a broker is closed; `str(error)` says why and what would open it."""


@dataclass
class Broker:
    """A running Apache Kafka.

    Attributes:
        bootstrap: `host:port`.
        kind: `environment`, `docker` or `java`.
    """

    bootstrap: str
    kind: str
    _starter: Callable[[], None] | None = field(default=None, repr=False)
    _stopper: Callable[[bool], None] | None = field(default=None, repr=False)
    _closer: Callable[[], None] | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        """The address as playlake's `--broker` takes it."""
        return f"kafka://{self.bootstrap}"

    @property
    def can_stop(self) -> bool:
        """Whether `stop` and `start` work: only for a broker that we started."""
        return self._stopper is not None

    def admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self.bootstrap})

    def create_topic(self, name: str, partitions: int = 1, config: dict[str, str] | None = None) -> None:
        """Create a topic and return once its Kafka partitions have leaders."""
        admin = self.admin()
        topic = NewTopic(name, num_partitions=partitions, replication_factor=1, config=config or {})
        admin.create_topics([topic])[name].result(30)

        def is_ready() -> bool:
            found = admin.list_topics(name, timeout=10).topics[name]
            return len(found.partitions) == partitions and all(p.leader >= 0 for p in found.partitions.values())

        wait_until(is_ready, f"topic {name} has leaders", 30)

    def delete_topic(self, name: str) -> None:
        admin = self.admin()  # held until the answer: a collected client drops its requests
        admin.delete_topics([name])[name].result(30)

    def topic_id(self, name: str) -> str:
        """Return a topic's id as Kafka's own tools write it (base64url)."""
        admin = self.admin()
        described = admin.describe_topics(TopicCollection([name]))[name].result(30)
        return str(described.topic_id).replace("+", "-").replace("/", "_")

    def stop(self, *, kill: bool = False) -> None:
        """Stop the broker and return once it is down: in order, or (`kill`) as a crash would. Its records stay."""
        if self._stopper is None:
            raise NoBroker(f"a broker of kind {self.kind} is not ours to stop")
        self._stopper(kill)

    def start(self) -> None:
        """Start the stopped broker again, at the same address with its records; return once it answers."""
        if self._starter is None:
            raise NoBroker(f"a broker of kind {self.kind} is not ours to start")
        self._starter()
        self.wait_until_it_answers()

    def close(self) -> None:
        """End the broker, if it is ours, and remove its records."""
        if self._closer is not None:
            self._closer()

    def wait_until_it_answers(self, timeout_s: float = 60.0, is_alive: Callable[[], bool] = lambda: True) -> None:
        """Poll until the broker answers a metadata request.

        Raises:
            NoBroker: it did not within `timeout_s`, or `is_alive` said no.
        """
        host, port = self.bootstrap.split(",")[0].rsplit(":", 1)
        deadline = time.monotonic() + timeout_s
        while not _accepts(host, int(port)):  # a client that meets a closed port backs off for long
            if not is_alive():
                raise NoBroker(f"the broker at {self.bootstrap} ended while it started")
            if time.monotonic() > deadline:
                raise NoBroker(f"nothing listens at {self.bootstrap} after {timeout_s:.0f} s")
            time.sleep(0.05)
        try:
            self.admin().list_topics(timeout=max(1.0, deadline - time.monotonic()))
        except KafkaException as error:
            raise NoBroker(f"the broker at {self.bootstrap} does not answer: {error}") from error


def fresh_name(hint: str = "test") -> str:
    """Return a topic name that no run has used."""
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in hint)[:60].strip("-.")
    return f"{kept or 'test'}-{uuid.uuid4().hex[:8]}"


def free_ports(count: int) -> list[int]:
    """Return different ports of 127.0.0.1 that were free just now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [taken.getsockname()[1] for taken in sockets]
    for taken in sockets:
        taken.close()
    return ports


def wait_until(condition: Callable[[], bool], what: str, timeout_s: float) -> None:
    """Poll a condition; fail the test with `what` when it does not come true in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s:.0f} s: {what}"
        time.sleep(0.02)


def _accepts(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=1):
            return True
    except OSError:
        return False
