"""Compare a lake with what a Kinesis stream still has: each record that is done must be in bronze with its bytes.

The one place of `audit` that talks to Kinesis. It reads every shard again as far as the lake is, once, at a pace that
leaves the workers theirs.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.resources import files
from typing import Any, Final, Protocol, TypeVar

import duckdb
import pyarrow as pa
from deltalake import DeltaTable

from kinesis import Answer, Description, Record, Shard, unpack
from schemas.errors import BrokerUnavailable
from sink.positions import Source
from sink.shards import last_record

Result = TypeVar("Result")

_PAUSE_S: Final = 0.25
_STALL_S: Final = 30.0
_RETAINED: Final = pa.schema(
    [
        pa.field("source_id", pa.int32()),
        pa.field("sequence_number", pa.string()),
        pa.field("sub_sequence_number", pa.int32()),
        pa.field("value", pa.binary()),
    ]
)


class ReadableStream(Protocol):
    """What is needed of `kinesis.Stream`."""

    @property
    def name(self) -> str:
        """What it is called."""

    def describe(self) -> Description:
        """Return what Kinesis says of the stream."""

    def shards(self) -> list[Shard]:
        """Return every shard that may still have records."""

    def iterator(self, shard_id: str) -> str:
        """Return an iterator that begins with the oldest record there is."""

    def get(self, iterator: str) -> Answer:
        """Read from an iterator."""


def faults_of_shards(con: duckdb.DuckDBPyConnection) -> list[tuple[str, int, int, list[int]]]:
    """Return what bronze alone tells of shards' records: kind, source's id, positions, the first few offsets."""
    return con.execute(_sql("shards")).fetchall()


def faults_of_stream(
    con: duckdb.DuckDBPyConnection, stream: ReadableStream, sources: Sequence[Source], silver: DeltaTable
) -> list[tuple[str, int, int, list[str]]]:
    """Read the stream again and return what bronze lacks of it: kind, source's id, records, first sequence numbers.

    Args:
        con: with the views of `faults_of_shards`, which was called before.
        stream: read from the oldest record of each shard to the last one that is done.
        sources: a source's id is its index.
        silver: decides what is done.

    Raises:
        BrokerUnavailable: nothing was answered for 30 s.
    """
    stream_id = stream.describe().stream_id
    ids = {source: number for number, source in enumerate(sources)}
    con.execute(
        "create or replace temp table retained "
        "(source_id int, sequence_number varchar, sub_sequence_number int, value blob)"
    )
    for shard in _patiently(stream.shards):
        source = Source(stream.name, stream_id, shard.number)
        last = last_record(silver, source)
        if source not in ids or last is None:
            continue
        for records in _records_to(stream, shard.shard_id, last[1]):
            con.register("__retained", _retained(ids[source], records))
            con.execute("insert into retained select * from __retained")
            con.unregister("__retained")
    return con.execute(_sql("stream")).fetchall()


def _records_to(stream: ReadableStream, shard_id: str, last: int) -> Iterator[list[Record]]:
    """Yield a shard's records up to a sequence number."""
    iterator: str | None = _patiently(lambda: stream.iterator(shard_id))
    while iterator is not None:
        asked = time.monotonic()
        current = iterator
        answer = _patiently(lambda at=current: stream.get(at))  # type: ignore[misc]
        if records := [record for record in answer.records if record.sequence_number <= last]:
            yield records
        is_past = bool(answer.records) and answer.records[-1].sequence_number >= last
        if is_past or (not answer.records and answer.behind_ms == 0):
            return
        iterator = answer.next_iterator
        time.sleep(max(0.0, asked + _PAUSE_S - time.monotonic()))


def _retained(source_id: int, records: Sequence[Record]) -> pa.Table:
    rows = [
        (source_id, str(record.sequence_number), number, value)
        for record in records
        for number, value in enumerate(_values(record))
    ]
    columns: Mapping[str, Any] = {name: [row[place] for row in rows] for place, name in enumerate(_RETAINED.names)}
    return pa.table(columns, schema=_RETAINED)


def _values(record: Record) -> list[bytes]:
    packed = unpack(record.value)
    return [record.value] if packed is None else [value for _, value in packed]


def _patiently(ask: Callable[[], Result]) -> Result:
    """Ask again while Kinesis throttles or is away, for 30 s."""
    until = time.monotonic() + _STALL_S
    while True:
        try:
            return ask()
        except BrokerUnavailable:
            if time.monotonic() > until:
                raise
            time.sleep(random.uniform(0.2, 1.0))  # noqa: S311  # jitter, no secret


def _sql(name: str) -> str:
    return files("audit").joinpath(f"{name}.sql").read_text(encoding="utf-8")
