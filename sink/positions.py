"""How far the lake is: positions, claims and starts, kept as Delta `txn` entries in the same commits as the rows.

For each source three `txn` ids exist:

    <topic>/<topic id>/<Kafka partition>          last offset that the table holds (silver's decides: that far is done)
    <topic>/<topic id>/<Kafka partition>#epoch    number of the newest claim; only its writer may commit
    <topic>/<topic id>/<Kafka partition>#start    first offset that this lake was to hold (set once, at the first claim)

A `txn` alone is no fence: Delta's protocol only lets concurrent commits collide, and a later commit may even write a
lower version. `sink.writer` adds the comparison that makes it one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from sink.lake import store_trouble

NO_TOPIC_ID: Final = "-"
"""Topic id where the broker has none (librdkafka's built-in broker)."""


def topic_id_text(uuid: object) -> str:
    """Return a topic's id as Kafka's own tools write it, in base64url; librdkafka's client says it in plain base64."""
    return str(uuid).replace("+", "-").replace("/", "_")


@dataclass(frozen=True, order=True)
class Source:
    """One Kafka partition of one topic, the topic told apart from a later one of the same name by its id."""

    topic: str
    topic_id: str
    kafka_partition: int

    @property
    def app_id(self) -> str:
        """The `txn` id of its position. Topic names can't hold a slash, so this is unambiguous."""
        return f"{self.topic}/{self.topic_id}/{self.kafka_partition}"

    @property
    def epoch_id(self) -> str:
        """The `txn` id of its claims."""
        return f"{self.app_id}#epoch"

    @property
    def start_id(self) -> str:
        """The `txn` id of its first offset."""
        return f"{self.app_id}#start"

    def __str__(self) -> str:
        return f"{self.topic}[{self.kafka_partition}]"


def names_apart(sources: Collection[Source]) -> dict[Source, str]:
    """Return what to call each of these for people: with the topic's id where there are several topics of its name."""
    topics = {(source.topic, source.topic_id) for source in sources}
    of_name = Counter(topic for topic, _ in topics)
    return {each: f"{each} of {each.topic_id}" if of_name[each.topic] > 1 else str(each) for each in sources}


def position(handle: DeltaTable, source: Source) -> int | None:
    """Return the last offset that the table holds of a source at the handle's version; None before its first flush.

    Raises:
        StoreUnavailable: the log can't be read now; so from the functions below.
    """
    return version_of(handle, source.app_id)


def epoch(handle: DeltaTable, source: Source) -> int:
    """Return the number of the newest claim on a source at the handle's version; 0 before the first."""
    return version_of(handle, source.epoch_id) or 0


def start(handle: DeltaTable, source: Source) -> int | None:
    """Return the first offset of a source that the lake was to hold; None before the first claim."""
    return version_of(handle, source.start_id)


def version_of(handle: DeltaTable, app_id: str) -> int | None:
    """Return the version of any `txn` id at the handle's version; None where it was never written."""
    try:
        version: int | None = handle.transaction_version(app_id)  # reads the log
    except (OSError, DeltaError) as error:
        raise store_trouble(handle.table_uri, error) from error
    return version
