"""Prove the promise, position by position: what each table holds, joined; never a comparison of sums."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final

import duckdb
import numpy as np
import pyarrow as pa
from deltalake import DeltaTable

from audit.files import FilesRead, faults_of_files, read_files
from audit.holes import Ranges, Reread, read_again, require_broker
from audit.shards import ReadableStream, faults_of_shards, faults_of_stream
from audit.sources import with_rowless
from landing.place import Place
from schemas.errors import ConfigError
from sink import positions
from sink.event_ids import create_event_id_of
from sink.gone import create_views
from sink.lake import Lake, store_trouble
from sink.positions import Source
from sink.replays import is_in_flight, replays
from sink.scan import connect, create_view
from sink.shards import is_counted, is_files, is_shard

FAULTS: Final = {
    "in_neither": "done, in bronze, but in neither silver nor quarantine",
    "in_silver_and_quarantine": "in both silver and quarantine",
    "replay_in_flight": "in both silver and quarantine until `playlake quarantine replay` ends what one began",
    "forget_in_flight": "in a table, though a person's record was there until `playlake forget` runs again",
    "silver_not_in_bronze": "in silver, but not in bronze",
    "quarantine_not_in_bronze": "in quarantine, but not in bronze",
    "repeated_in_bronze": "in bronze more than once",
    "repeated_in_silver": "in silver more than once",
    "repeated_in_quarantine": "in quarantine more than once",
    "changed_value": "in quarantine with other bytes than in bronze",
    "silver_not_done": "in silver beyond the position that silver's log says is done",
    "record_repeated": "in bronze with a sequence number that another position has, too",
    "out_of_order": "in bronze behind a later record of its shard",
    "line_repeated": "in bronze with a file and line that another position has, too",
    "in_another_file": "in bronze under another file than the ledger of files has there",
    "not_as_in_file": "in a file that was taken in, but not so in bronze",
    "lost": "at the broker, but in no table",
    "other_bytes": "in bronze with other bytes than in the stream",
    "missing_ordinal": "in no table, though the records of a shard or of files are counted without a hole",
    "unexplained_hole": "in no table; a transaction marker, a compacted record or a loss",
    "unchecked_hole": "in no table, and the broker can't be asked",
}
"""Kinds of fault → what is wrong with the positions counted. Any of them means that the promise does not hold, or (the
last two) that it can't be proved."""

_KEPT: Final = 5


@dataclass(frozen=True)
class Fault:
    """Positions of one source with the same thing wrong.

    Attributes:
        kind: one of `FAULTS`.
        source: topic and Kafka partition.
        count: how many positions.
        first: the first few, as text: `playback[3]@1234`, a range as `playback[3]@1234-1240`.
        why: what more is known, for people; may be empty.
    """

    kind: str
    source: Source
    count: int
    first: tuple[str, ...]
    why: str = ""


@dataclass(frozen=True)
class SourceTotals:
    """What the lake holds of one source.

    Attributes:
        source: topic and Kafka partition.
        first: first offset that the lake was to hold; None where nothing is known.
        done: last offset that is done; None before the first flush.
        bronze, silver, quarantine: rows.
        done_positions: positions up to `done` that any table holds, or held before they expired or were forgotten.
        duplicates: of these, in bronze only because silver holds their event_id at another position.
        holes: offsets from `first` to `done` that no table holds.
        expired: positions that bronze held until they expired.
        settled: positions in neither silver nor quarantine, since their row expired or the one that they repeat went.
        forgotten: positions whose records went with a person.
        bronze_in_flight, quarantine_in_flight: rows beyond `done`: a flush is under way or was torn; no fault.
    """

    source: Source
    first: int | None
    done: int | None
    bronze: int
    silver: int
    quarantine: int
    done_positions: int
    duplicates: int
    holes: int
    bronze_in_flight: int
    quarantine_in_flight: int
    expired: int
    settled: int
    forgotten: int


@dataclass(frozen=True)
class Verdict:
    """The answer of `verify`.

    Attributes:
        versions: per table, the version that was read.
        sources: one entry per source, sorted.
        faults: sorted by kind, in the order of `FAULTS`, then source.
        has_asked_broker: whether holes were read again at a broker.
        files: what came of reading files again; None where that was not asked for.
    """

    versions: Mapping[str, int]
    sources: tuple[SourceTotals, ...]
    faults: tuple[Fault, ...]
    has_asked_broker: bool
    files: FilesRead | None = None

    @property
    def holds(self) -> bool:
        """Whether the promise was proved."""
        return not self.faults


def verify(
    lake: Lake,
    client_options: Mapping[str, Any] | None = None,
    *,
    stream: ReadableStream | None = None,
    place: Place | None = None,
    memory_limit: str = "2GB",
    folder: str | None = None,
) -> Verdict:
    """Prove that each record is in bronze once and in exactly one of silver and quarantine, or is a dropped duplicate.

    Safe beside running workers and compaction: silver, which decides what is done, is opened first, and the tables that
    are written before it later, so what is done is in them.

    Args:
        lake: where.
        client_options: librdkafka's settings of the broker that holes are read again at; None: they stay unexplained.
        stream: a Kinesis stream, whose records are compared with bronze as far as it still has them.
        place: a folder or bucket whose files are compared with bronze as far as they are as they were taken.
        memory_limit: as DuckDB takes it; beyond it, work goes to temporary files.
        folder: where these go; None is the system's.

    Raises:
        LakeNotFound, IncompatibleLake: there is no lake, or another playlake's.
        StoreUnavailable: the store did not answer, or a vacuum took a file away meanwhile.
        ConfigError: `memory_limit` is too small.
        BrokerUnavailable: the broker, or the place, does not answer.
    """
    if client_options is not None:
        require_broker(client_options)  # not after minutes of reading
    if stream is not None:
        stream.describe()
    handles = _handles(lake)
    with tempfile.TemporaryDirectory(prefix="playlake-verify-", dir=folder) as scratch:
        con = connect(lake, memory_limit=memory_limit)
        try:
            con.execute("set temp_directory = $1", [scratch])
            con.execute("set preserve_insertion_order = false")
            for name, handle in handles.items():
                create_view(con, name, handle)
            create_event_id_of(con)
            create_views(con, lake)  # last: ranges are kept before rows go
            sources = _register_sources(con, handles["silver"])
            con.execute(_sql("positions"))
            totals = con.execute(_sql("totals")).fetchall()
            found = con.execute(_sql("faults")).fetchall()
            ranges = _ranges(con, sources)
            of_stream: list[tuple[str, int, int, list[str]]] = []
            files_read = None
            if any(map(is_files, sources)):
                found += faults_of_files(con, lake)
            if any(map(is_shard, sources)):
                found += faults_of_shards(con)
                if stream is not None:
                    of_stream = faults_of_stream(con, stream, sources, handles["silver"])
            if place is not None:
                files_read = read_files(con, place, sources)
                of_stream += files_read.faults
        except (duckdb.IOException, OSError) as error:
            raise store_trouble(lake.uri, error) from error
        except duckdb.OutOfMemoryException:
            raise ConfigError(
                f"{memory_limit} of memory is too little to verify {lake.uri}: give --memory more"
            ) from None
        finally:
            con.close()
    if is_in_flight(handles["silver"], handles["quarantine"]):
        in_both = {"in_silver_and_quarantine": "replay_in_flight"}
        found = [(in_both.get(kind, kind), *rest) for kind, *rest in found]
    faults = [Fault(row[0], sources[row[1]], row[2], _named(sources[row[1]], row[3])) for row in found]
    faults += [
        Fault(kind, sources[number], count, _named(sources[number], first)) for kind, number, count, first in of_stream
    ]
    of_topics = {source: holes for source, holes in ranges.items() if not is_counted(source)}
    faults += [
        Fault("missing_ordinal", source, _size(holes), _named_ranges(source, holes[:_KEPT].tolist()))
        for source, holes in ranges.items()
        if is_counted(source)
    ]
    rereads = read_again(client_options, of_topics) if client_options is not None and of_topics else None
    faults += _hole_faults(of_topics, rereads)
    kinds = list(FAULTS)
    sizes = {source: _size(of_source) for source, of_source in ranges.items()}
    return Verdict(
        versions={name: handle.version() for name, handle in handles.items()},
        sources=tuple(_totals(sources[row[0]], row, sizes) for row in totals),
        faults=tuple(sorted(faults, key=lambda fault: (kinds.index(fault.kind), fault.source))),
        has_asked_broker=client_options is not None or stream is not None,
        files=files_read,
    )


def _handles(lake: Lake) -> dict[str, DeltaTable]:
    """Open the tables, silver first: what it says is done is in the others. A replay in between looks like a loss."""
    while True:
        handles = {name: lake.table(name) for name in ("silver", "quarantine", "bronze")}
        if replays(handles["quarantine"]) <= replays(handles["silver"]):
            return handles


def _register_sources(con: duckdb.DuckDBPyConnection, silver: DeltaTable) -> list[Source]:
    """Create the table `sources`; a source's `source_id` is its index in the list returned."""
    found = [Source(*row) for row in con.execute(_sql("sources")).fetchall()]
    sources = with_rowless(found, silver)
    rows = pa.table(
        {
            "source_id": pa.array(range(len(sources)), pa.int32()),
            "topic": pa.array([source.topic for source in sources], pa.string()),
            "topic_id": pa.array([source.topic_id for source in sources], pa.string()),
            "kafka_partition": pa.array([source.kafka_partition for source in sources], pa.int32()),
            "start": pa.array([positions.start(silver, source) for source in sources], pa.int64()),
            "done": pa.array([positions.position(silver, source) for source in sources], pa.int64()),
        }
    )
    con.register("__sources", rows)
    con.execute("create or replace temp table sources as select * from __sources")
    con.unregister("__sources")
    return sources


def _ranges(con: duckdb.DuckDBPyConnection, sources: list[Source]) -> dict[Source, Ranges]:
    columns = con.execute(_sql("holes")).fetchnumpy()
    ids = np.asarray(columns["source_id"])
    ranges = np.column_stack([np.asarray(columns[name], np.int64) for name in ("first_offset", "last_offset")])
    return {sources[number]: ranges[ids == number] for number in np.unique(ids).tolist()}


def _totals(source: Source, row: tuple[Any, ...], hole_sizes: Mapping[Source, int]) -> SourceTotals:
    _, first, done, bronze, silver, quarantine, done_positions, duplicates, *rest = row
    counts = (first, done, bronze, silver, quarantine, done_positions, duplicates, hole_sizes.get(source, 0))
    return SourceTotals(source, *counts, *rest)


def _hole_faults(ranges: Mapping[Source, Ranges], rereads: Mapping[Source, Reread] | None) -> list[Fault]:
    if rereads is None:
        return [
            Fault("unexplained_hole", source, _size(holes), _named_ranges(source, holes[:_KEPT].tolist()))
            for source, holes in ranges.items()
        ]
    faults = []
    for source, answer in rereads.items():
        if answer.lost:
            faults.append(Fault("lost", source, answer.lost, _named(source, answer.first_lost)))
        if answer.unchecked:
            first = _named_ranges(source, answer.unchecked_ranges)
            faults.append(Fault("unchecked_hole", source, answer.unchecked, first, answer.why))
    return faults


def _size(ranges: Ranges) -> int:
    return int((ranges[:, 1] - ranges[:, 0] + 1).sum())


def _named(source: Source, offsets: Sequence[int | str]) -> tuple[str, ...]:
    return tuple(f"{source}@{offset}" for offset in offsets)


def _named_ranges(source: Source, ranges: list[Any]) -> tuple[str, ...]:
    return tuple(f"{source}@{first}" if first == last else f"{source}@{first}-{last}" for first, last in ranges)


def _sql(name: str) -> str:
    return files("audit").joinpath(f"{name}.sql").read_text(encoding="utf-8")


def by_kind(faults: tuple[Fault, ...]) -> dict[str, list[Fault]]:
    """Return the faults grouped by kind, in the order given."""
    grouped: dict[str, list[Fault]] = defaultdict(list)
    for fault in faults:
        grouped[fault.kind].append(fault)
    return dict(grouped)
