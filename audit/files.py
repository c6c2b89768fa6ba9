"""Compare a lake with the files that it took in, as far as they are still there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Final

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from landing.place import File, FileGone, Place, id_of, topic_of
from landing.read import read
from schemas.errors import ConfigError
from schemas.tables import FILES
from sink.lake import Lake
from sink.ledger import ledger_of
from sink.positions import Source
from sink.scan import create_view

_KEPT: Final = 5


@dataclass
class FilesRead:
    """What came of reading files again.

    Attributes:
        faults: kind, source's id, records, the first few places.
        compared: files whose records were compared with bronze.
        gone: files that are no longer there as they were taken: what they held can't be compared. The first few.
        gone_count: how many these are.
    """

    faults: list[tuple[str, int, int, list[str]]] = field(default_factory=list)
    compared: int = 0
    gone: list[str] = field(default_factory=list)
    gone_count: int = 0


def faults_of_files(con: duckdb.DuckDBPyConnection, lake: Lake) -> list[tuple[str, int, int, list[int]]]:
    """Return what lake and ledger tell of files' records: kind, source's id, positions, the first few offsets.

    Args:
        con: with the views of `verify`.
        lake: whose ledger becomes the view `taken`.
    """
    create_view(con, "taken", ledger_of(lake).table(FILES.name))
    return con.execute(_sql("files")).fetchall()


def read_files(con: duckdb.DuckDBPyConnection, place: Place, sources: Sequence[Source]) -> FilesRead:
    """Read the files of a place again, and return what bronze lacks of those that are done.

    Args:
        con: with the views of `faults_of_files`, which was called before.
        place: where they are.
        sources: a source's id is its index.

    Raises:
        ConfigError: the lake took in nothing from there.
        BrokerUnavailable: the place is away.
    """
    source = Source(topic_of(place), id_of(place), 0)
    if source not in sources:
        raise ConfigError(f"the lake took in nothing from {place.uri}: check --files; a place is told by its address")
    number = sources.index(source)
    [(done,)] = con.execute("select done from sources where source_id = $1", [number]).fetchall()
    columns = "path, size, etag, epoch_us(modified), format, first_offset"
    taken = con.execute(
        f"select {columns} from taken where topic = $1 and topic_id = $2 order by number",  # noqa: S608
        [source.topic, source.topic_id],
    ).fetchall()
    con.execute(
        "create or replace temp table reread (source_id int, kafka_offset bigint, place varchar, digest varchar)"
    )
    found = FilesRead()
    ends = [row[-1] for row in taken[1:]] + [(-1 if done is None else done) + 1]
    for (path, size, etag, modified_us, file_format, first), end in zip(taken, ends, strict=True):
        if first >= end or end - 1 > (-1 if done is None else done):
            continue
        try:
            _read_file(con, place, File(path, size, etag, modified_us), file_format, number, first)
            found.compared += 1
        except FileGone:
            found.gone_count += 1
            found.gone += [path] if len(found.gone) < _KEPT else []
    con.execute("delete from reread where kafka_offset > $1", [-1 if done is None else done])
    found.faults = con.execute(_sql("reread")).fetchall()
    return found


def _read_file(
    con: duckdb.DuckDBPyConnection, place: Place, file: File, file_format: str, source_id: int, first: int
) -> None:
    for batch in read(place, file, "csv" if file_format == "csv" else "json"):
        count = len(batch.values)
        rows = pa.table(
            {
                "kafka_offset": pa.array(range(first, first + count), pa.int64()),
                "place": pc.binary_join_element_wise(pa.scalar(file.path), batch.places, ":"),
                "value": batch.values,
            }
        )
        con.register("__read", rows)
        con.execute("insert into reread select $1, kafka_offset, place, md5(value) from __read", [source_id])
        con.unregister("__read")
        first += count


def _sql(name: str) -> str:
    return files("audit").joinpath(f"{name}.sql").read_text(encoding="utf-8")
