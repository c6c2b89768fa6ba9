"""A reader who looks at a lake again and again, in a process of its own, while others write and rewrite it.

with Reader(lake, tmp_path, "old") as reader:
    … writers, compactors …
reader.saw_each_once(ids=300, upto=measures(values))

Each look goes two ways: through `playlake.query`'s views, and by plain pyarrow and DuckDB over the files that deltalake
lists. Any look that fails ends the reader, and with it the test. `python -m tests.reading LAKE PREFIX` prints one JSON
object a look until its input ends.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import select
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable
from pyarrow.fs import FileSystem, LocalFileSystem, S3FileSystem

from query import connect
from tests.broker.kafka import wait_until
from tests.ledger import files_of
from tests.viewing import Measures
from tests.workers import DIES_WITH_US

_SILVER = """
    select
        count(*) as rows,
        count(distinct (topic, topic_id, kafka_partition, kafka_offset)) as positions,
        count(*) filter (event_id like $prefix) as closed_rows,
        count(distinct event_id) filter (event_id like $prefix) as closed_ids
    from silver
"""
_TITLES = {
    "plays": "select cast(event_date as text) || ' ' || title_id, sum(plays) from {title_daily} group by 1",
    "viewers": "select cast(event_date as text) || ' ' || title_id, sum(viewers) from {title_daily} group by 1",
}
_GOLD = {**_TITLES, "events": "select cast(event_date as text), sum(events) from {temporal_trends} group by 1"}


class Reader:
    """Looks at a lake from its start to its close.

    Attributes:
        looks: what it saw, in order; complete once it is closed.
    """

    def __init__(self, lake: Path | str, folder: Path, prefix: str) -> None:
        """Start it; `prefix` is that of the ids that count as closed: all in silver by now."""
        self._out, self._log = folder / "reader.out", folder / "reader.log"
        with self._out.open("wb") as out, self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*DIES_WITH_US, sys.executable, "-m", "tests.reading", str(lake), prefix],
                cwd=Path(__file__).parent.parent,
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=log,
            )
        self.looks: list[dict[str, Any]] = []

    def __enter__(self) -> Reader:
        try:
            wait_until(lambda: self._out.stat().st_size > 0 or self._process.poll() is not None, "a first look", 60)
        except BaseException:
            self._kill()
            raise
        return self

    def __exit__(self, *raised: object) -> None:
        if raised[0] is not None:
            self._kill()
            return
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            assert 0 == self._process.wait(60), self._log.read_text()
        finally:
            self._kill()
        self.looks = [json.loads(line) for line in self._out.read_text().splitlines()]

    def _kill(self) -> None:
        self._process.kill()
        self._process.wait(10)

    def saw_each_once(self, ids: int, upto: Measures) -> None:
        """No closed id was missing at any look, nothing was there twice, and gold never went down or beyond `upto`."""
        for via in ("query", "files"):
            looks = [look for look in self.looks if look["via"] == via]
            assert [] != looks
            each_id_once(looks, ids)
            gold_only_grows(looks, upto)


def each_id_once(looks: list[dict[str, Any]], ids: int) -> None:
    """No closed id is missing at any look, and no position there twice; rows of closed ids only go (dedupe)."""
    assert [] == [look for look in looks if look["closed_ids"] != ids], "closed ids went or came"
    assert [] == [look for look in looks if look["rows"] != look["positions"]], "a position twice"
    rows = [look["closed_rows"] for look in looks]
    assert sorted(rows, reverse=True) == rows, "rows of closed ids came"


def gold_only_grows(looks: list[dict[str, Any]], upto: Measures) -> None:
    """No measure of gold goes down from one look to the next, or beyond `upto`."""
    most = {
        "plays": {" ".join(key): count for key, count in upto.plays.items()},
        "viewers": {" ".join(key): count for key, count in upto.viewers.items()},
        "events": upto.events,
    }
    for before, after in itertools.pairwise(looks):
        for measure, known in before["gold"].items():
            down = {key: count for key, count in known.items() if after["gold"][measure].get(key, 0) < count}
            assert {} == down, f"{measure} of gold went down"
    for look in looks:
        for measure, known in look["gold"].items():
            over = {key: count for key, count in known.items() if count > most[measure].get(key, 0)}
            assert {} == over, f"{measure} of gold counts twice"


def silver_history(lake: Path, prefix: str, since: int) -> list[dict[str, Any]]:
    """A look at every version that silver had on a disk from `since` on, by its log's JSON; no file may be gone."""
    root = lake / "silver/playback_events"
    positions: Counter[tuple[Any, ...]] = Counter()
    closed: Counter[str] = Counter()
    looks = []
    for version, commit in enumerate(sorted((root / "_delta_log").glob("*.json"))):
        assert f"{version:020}" == commit.stem
        for action in map(json.loads, commit.read_text().splitlines()):
            for kind, change in (("add", 1), ("remove", -1)):
                if kind in action:
                    rows = _as_tuples(_rows(f"{root}/{unquote(action[kind]['path'])}", LocalFileSystem()))
                    for row in rows:
                        _count_up(positions, row[:4], change)
                        _count_up(closed, row[4], change if row[4].startswith(prefix) else 0)
        if version >= since:
            looks.append(
                {
                    "version": version,
                    "rows": positions.total(),
                    "positions": len(positions),
                    "closed_rows": closed.total(),
                    "closed_ids": len(closed),
                }
            )
    return looks


def gold_history(lake: Path) -> list[dict[str, Any]]:
    """A look at every version that the gold table of titles had on a disk; no file may be gone."""
    looks = []
    for version in range(DeltaTable(f"{lake}/gold/title_daily").version() + 1):
        con = duckdb.connect()
        table = DeltaTable(f"{lake}/gold/title_daily", version=version)
        con.register("title_daily", _dated_rows(table, LocalFileSystem()))
        gold = {measure: _gold(con, query.format(title_daily="title_daily")) for measure, query in _TITLES.items()}
        looks.append({"version": version, "gold": gold})
    return looks


def _count_up(counts: Counter[Any], key: Any, change: int) -> None:
    counts[key] += change
    if counts[key] == 0:
        del counts[key]


def look_by_query(lake: str, prefix: str) -> dict[str, Any]:
    con = connect(lake)
    try:
        rows = con.execute(_SILVER, {"prefix": f"{prefix}%"}).fetchall()
        names = [column[0] for column in con.description or []]
        tables = con.execute("select table_name from information_schema.tables where table_schema = 'gold'").fetchall()
        there = {name: f"gold.{name}" for (name,) in tables}
        gold = {measure: _gold(con, query.format(**there)) for measure, query in _queries(there).items()}
    finally:
        con.close()
    return {"via": "query", "version": None, "gold": gold, **dict(zip(names, rows[0], strict=True))}


def look_by_files(lake: str, prefix: str) -> dict[str, Any]:
    options, filesystem = _store(lake)
    silver = DeltaTable(f"{lake}/silver/playback_events", storage_options=options)
    parts = [_rows(path, filesystem) for path in _paths(silver)]
    gold = {}
    there = {
        name: f"{lake}/gold/{name}"
        for name in ("title_daily", "temporal_trends")
        if DeltaTable.is_deltatable(f"{lake}/gold/{name}", options)
    }
    con = duckdb.connect()
    tables = {name: DeltaTable(uri, storage_options=options) for name, uri in there.items()}
    for name, table in tables.items():
        con.register(name, _dated_rows(table, filesystem))
    for measure, query in _queries(there).items():
        gold[measure] = _gold(con, query.format(title_daily="title_daily", temporal_trends="temporal_trends"))
    return {"via": "files", "version": silver.version(), "gold": gold, **_count(parts, prefix)}


def _queries(there: Mapping[str, str]) -> dict[str, str]:
    return {measure: query for measure, query in _GOLD.items() if any(f"{{{name}}}" in query for name in there)}


def _gold(con: duckdb.DuckDBPyConnection, query: str) -> dict[str, int]:
    return {key: int(count) for key, count in con.execute(query).fetchall()}


def _store(lake: str) -> tuple[dict[str, str], FileSystem]:
    """Storage options and a file system, from the AWS variables where needed."""
    if not lake.startswith("s3://"):
        return {}, LocalFileSystem()
    names = ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION")
    found = {name: os.environ[name] for name in names}
    endpoint, key, secret, region = found.values()
    filesystem = S3FileSystem(access_key=key, secret_key=secret, region=region, endpoint_override=endpoint)
    return {**found, "AWS_ALLOW_HTTP": "true"}, filesystem


def _paths(table: DeltaTable) -> list[str]:
    if table.table_uri.startswith("s3://"):
        return [uri.removeprefix("s3://") for uri in table.file_uris()]
    return files_of(table)


def _rows(path: str, filesystem: FileSystem) -> pa.Table:
    columns = ["topic", "topic_id", "kafka_partition", "kafka_offset", "event_id"]
    return pq.ParquetFile(filesystem.open_input_file(path)).read(columns=columns)


def _dated_rows(table: DeltaTable, filesystem: FileSystem) -> pa.Table:
    """All rows of a gold table, its lake partition's value as text in `event_date`."""
    parts = []
    for path in _paths(table):
        rows = pq.ParquetFile(filesystem.open_input_file(path)).read()
        date = re.search(r"event_date=([^/]+)/", path)
        assert date is not None, path
        parts.append(rows.append_column("event_date", pa.array([date[1]] * rows.num_rows, pa.string())))
    columns = [field.name for field in pa.schema(table.schema().to_arrow())]
    return pa.concat_tables(parts) if parts else pa.table({name: pa.nulls(0, pa.int64()) for name in columns})


def _as_tuples(rows: pa.Table) -> list[tuple[Any, ...]]:
    return list(zip(*(column.to_pylist() for column in rows.columns), strict=True))


def _count(parts: list[pa.Table], prefix: str) -> dict[str, int]:
    rows = [row for part in parts for row in _as_tuples(part)]
    ids = Counter(row[4] for row in rows if row[4].startswith(prefix))
    return {
        "rows": len(rows),
        "positions": len({row[:4] for row in rows}),
        "closed_rows": ids.total(),
        "closed_ids": len(ids),
    }


def main(lake: str, prefix: str) -> None:
    pause_s = 0.0
    while not select.select([sys.stdin], [], [], pause_s)[0]:
        started = time.monotonic()
        for look in (look_by_query, look_by_files):
            print(json.dumps(look(lake, prefix)), flush=True)
        pause_s = time.monotonic() - started  # leaves the machine to those who are looked at


if __name__ == "__main__":
    main(*sys.argv[1:])
