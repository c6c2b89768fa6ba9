"""What Kinesis acknowledged, kept apart from playlake; and whether a lake holds it, read by plain pyarrow."""

from __future__ import annotations

import contextlib
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.kinesis.kinesalite import Kinesalite
from tests.ledger import positions, table_rows
from tests.meanwhile import meanwhile
from tests.records import event_bytes

_CALL = 400


class StreamLedger:
    """Every record that Kinesis acknowledged on one stream: shard, sequence number, key, value."""

    def __init__(self, kinesis: Kinesalite, stream: str) -> None:
        self.stream = stream
        self._client = kinesis.client
        self.records: list[tuple[int, int, str, bytes]] = []

    def __len__(self) -> int:
        return len(self.records)

    def send(self, values: Iterable[bytes], users: int = 97) -> None:
        """Put records, their keys spread over the shards, until all are acknowledged."""
        keyed = ((f"u{number % users}", value) for number, value in enumerate(values))
        while batch := list(itertools.islice(keyed, _CALL)):
            self.put(batch)

    def put(self, batch: list[tuple[str, bytes]]) -> None:
        entries = [{"PartitionKey": key, "Data": value} for key, value in batch]
        answers = self._client.put_records(StreamName=self.stream, Records=entries)
        assert 0 == answers["FailedRecordCount"], answers
        for (key, value), answer in zip(batch, answers["Records"], strict=True):
            number = int(answer["ShardId"].rpartition("-")[2])
            self.records.append((number, int(answer["SequenceNumber"]), key, value))

    @contextlib.contextmanager
    def trickle(self, first: int = 1_000_000, per_call: int = 8, pause_s: float = 0.02) -> Iterator[None]:
        """Keep putting valid events to all shards until the block ends; all have arrived then."""

        def steps() -> Iterator[None]:
            for start in itertools.count(first, per_call):
                self.send([event_bytes(number) for number in range(start, start + per_call)], users=per_call)
                yield

        with meanwhile(steps, pause_s):
            yield

    def agrees_with(self, lake: Path | str) -> None:
        """Each record exactly once in bronze, byte for byte, in its shard's order without a hole, and with one fate."""
        names = ["topic", "kafka_partition", "kafka_offset", "key", "value", "headers"]
        rows = [row for row in table_rows(lake, "bronze", names).to_pylist() if row["topic"] == self.stream]
        rows.sort(key=lambda row: (row["kafka_partition"], row["kafka_offset"]))
        held = [
            (
                row["kafka_partition"],
                int(dict(row["headers"])["kinesis.sequence_number"]),
                row["key"].decode(),
                row["value"],
            )
            for row in rows
        ]
        assert len(self.records) == len(held), f"{len(self.records)} records put, {len(held)} rows in bronze"
        assert sorted(self.records) == held, "in the order of ordinals"
        by_shard = Counter(number for number, *_ in self.records)
        expected = [(number, ordinal) for number in sorted(by_shard) for ordinal in range(by_shard[number])]
        assert expected == [(row["kafka_partition"], row["kafka_offset"]) for row in rows]
        fates = positions(lake, "silver", self.stream) + positions(lake, "quarantine", self.stream)
        assert expected == sorted(fates)

    def order_of_arrival_keeps_parents_first(self, lake: Path | str, parent: int, children: Iterable[int]) -> None:
        """No record of a child was fetched before the last of its parent."""
        rows = table_rows(lake, "bronze", ["kafka_partition", "ingest_timestamp"]).to_pylist()
        times = {
            number: [row["ingest_timestamp"] for row in rows if row["kafka_partition"] == number]
            for number in (parent, *children)
        }
        assert times[parent], "the parent has no record: nothing was shown"
        for child in children:
            assert times[child], f"the child {child} has no record: nothing was shown"
            assert max(times[parent]) <= min(times[child])
