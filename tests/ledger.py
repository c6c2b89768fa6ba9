"""What was sent, kept apart from playlake; and what the lake holds, read by plain pyarrow. Neither is our code's word.

ledger = Ledger(broker, topic)
ledger.send(events(1000), kafka_partition=0)
… a worker …
ledger.agrees_with(lake)
"""

from __future__ import annotations

import contextlib
import itertools
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
from confluent_kafka import KafkaError, Message, Producer

from tests.broker import Broker
from tests.meanwhile import meanwhile
from tests.records import event_bytes
from tests.tables import files_of, is_table, open_table, parquet_file

Position = tuple[int, int]
Header = tuple[str, bytes | None]


def events(count: int, first: int = 0, bad_every: int = 50) -> Iterator[bytes]:
    """Valid events with ids of their own, and one broken in every `bad_every`."""
    for number in range(first, first + count):
        yield b"{broken" if number % bad_every == bad_every - 1 else event_bytes(number)


def table_rows(lake: Path | str, name: str, columns: list[str]) -> pa.Table:
    """These columns of every row that the table's Delta log names."""
    table = open_table(f"{lake}/{name}/playback_events")
    known = pa.schema(table.schema().to_arrow())
    schema = pa.schema([known.field(column) for column in columns])  # a rewrite may note another kind of text
    parts = [parquet_file(path).read(columns=columns).cast(schema) for path in files_of(table)]
    return pa.concat_tables([schema.empty_table(), *parts])


def positions(lake: Path | str, name: str, topic: str | None = None, topic_id: str | None = None) -> list[Position]:
    """Every (Kafka partition, offset) of a table, or of a topic in it, in order, repeats included."""
    rows = table_rows(lake, name, ["topic", "topic_id", "kafka_partition", "kafka_offset"]).to_pylist()
    return sorted(
        (row["kafka_partition"], row["kafka_offset"])
        for row in rows
        if topic in (None, row["topic"]) and topic_id in (None, row["topic_id"])
    )


def rows_in(lake: Path | str, name: str = "silver") -> int:
    """Rows of a table by its log; 0 while it isn't there."""
    place = f"{lake}/{name}/playback_events"
    if not is_table(place):
        return 0
    counts = pa.table(open_table(place).get_add_actions())["num_records"]
    return int(sum(counts.to_pylist()))


class Ledger:
    """Every record that the broker acknowledged on one topic, by its position."""

    def __init__(self, broker: Broker, topic: str, topic_id: str | None = None) -> None:
        """Give `topic_id` where the lake may hold records of more than one topic of that name."""
        self.topic, self.topic_id = topic, topic_id
        self._settings = {"bootstrap.servers": broker.bootstrap, "linger.ms": 5, "message.max.bytes": 20_000_000}
        self._settings["metadata.recovery.rebootstrap.trigger.ms"] = 5000  # playlake/broker.py says why
        self._settings["log_level"] = 3  # what fails, fails by its delivery report
        self.records: dict[Position, tuple[bytes | None, bytes | None, list[Header] | None]] = {}

    def __len__(self) -> int:
        return len(self.records)

    def send(self, values: Iterable[bytes | None], kafka_partition: int = 0, **more: Any) -> None:
        """Send records (`key`, `headers` as in `more`) and wait until the broker acknowledged them."""
        self.deliver(Producer({**self._settings, "enable.idempotence": True}), values, kafka_partition, **more)

    def send_spread(self, values: Iterable[bytes | None], kafka_partitions: int) -> None:
        """Send records to all Kafka partitions in turn."""
        producer = Producer({**self._settings, "enable.idempotence": True})
        for number, value in enumerate(values):
            self._produce(producer, value, number % kafka_partitions)
        assert 0 == producer.flush(60)

    @contextlib.contextmanager
    def trickle(
        self,
        kafka_partitions: int = 1,
        per_s: float = 200,
        first: int = 1_000_000,
        values: Iterable[bytes] | None = None,
    ) -> Iterator[None]:
        """Keep sending single events, to all Kafka partitions in turn, until the block ends and all have arrived.

        They are `values`, as long as there are some, or valid events with the ids `first` and on.
        """
        endless = map(event_bytes, itertools.count(first)) if values is None else values
        producer = Producer({**self._settings, "enable.idempotence": True})

        def steps() -> Iterator[None]:
            for number, value in enumerate(endless):
                self._produce(producer, value, number % kafka_partitions)
                yield

        try:
            with meanwhile(steps, 1 / per_s):
                yield
        finally:
            left = producer.flush(60)
        assert 0 == left

    def transactional(self, transactional_id: str) -> Producer:
        producer = Producer({**self._settings, "transactional.id": transactional_id})
        producer.init_transactions(30)
        return producer

    def transaction(self, producer: Producer, values: Iterable[bytes], kafka_partition: int, *, commit: bool) -> None:
        """Send records in a transaction of their own; an aborted one's are not in the ledger."""
        before = dict(self.records)
        producer.begin_transaction()
        self.deliver(producer, values, kafka_partition)
        if commit:
            producer.commit_transaction(30)
        else:
            producer.abort_transaction(30)
            self.records = before

    def deliver(self, producer: Producer, values: Iterable[bytes | None], kafka_partition: int, **more: Any) -> None:
        for value in values:
            self._produce(producer, value, kafka_partition, **more)
        assert 0 == producer.flush(60)

    def _produce(self, producer: Producer, value: bytes | None, kafka_partition: int, **more: Any) -> None:
        def delivered(error: KafkaError | None, message: Message) -> None:
            assert error is None, error
            self.records[message.partition(), message.offset()] = (more.get("key"), value, more.get("headers"))

        while True:
            try:
                producer.produce(self.topic, value, partition=kafka_partition, on_delivery=delivered, **more)
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)

    @property
    def values(self) -> list[bytes | None]:
        """What was sent."""
        return [value for _, value, _ in self.records.values()]

    def agrees_with(self, lake: Path | str, *, is_deduped: bool = False) -> None:
        """Each record exactly once in bronze, byte for byte, and in exactly one of silver and quarantine.

        With `is_deduped`, a record may instead repeat an `event_id` that silver holds, and silver holds no id twice.
        """
        sent = [(*position, key, value) for position, (key, value, _) in self.records.items()]
        names = ("kafka_partition", "kafka_offset", "key", "value")
        rows = table_rows(lake, "bronze", ["topic", "topic_id", *names]).to_pylist()
        ours = [row for row in rows if row["topic"] == self.topic and self.topic_id in (None, row["topic_id"])]
        held = sorted((tuple(row[name] for name in names) for row in ours), key=_position)
        assert len(sent) == len(held), f"{len(sent)} records sent, {len(held)} rows in bronze"
        assert sorted(sent, key=_position) == held
        fates = Counter(
            positions(lake, "silver", self.topic, self.topic_id)
            + positions(lake, "quarantine", self.topic, self.topic_id)
        )
        if not is_deduped:
            assert Counter(list(self.records)) == fates
            return
        assert {} == fates - Counter(list(self.records)), "a record has two fates, or was never sent"
        ids = Counter(table_rows(lake, "silver", ["event_id"])["event_id"].to_pylist())
        assert [] == [name for name, rows in ids.items() if rows > 1], "ids that silver holds more than once"
        gone = [self.records[position][1] for position in self.records.keys() - fates.keys()]
        assert [] == [value for value in gone if json.loads(value or b"")["event_id"] not in ids], "lost records"


def _position(row: tuple[Any, ...]) -> Position:
    return row[0], row[1]
