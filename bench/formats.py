"""What the format buys: the same events as newline JSON, as CSV and as the lake's Parquet; gold against silver."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq

from bench import lakes
from bench.measure import PLAYLAKE, run
from query.views import connect
from sink.lake import Lake, data_files

DAYS = 30
COLUMNS = (
    "event_id, user_id, profile_id, session_id, title_id, event_type, event_ts, device_type, country, playhead_s, "
    "app_version, audio_language, bitrate_kbps, ab_bucket, event_date"
)
AGGREGATE = "select event_type, count(*), avg(playhead_s) from {source} group by 1"
ONE_DATE = AGGREGATE.replace(" group", " where event_date = '{date}' group")
TOP = "select title, count(*) from {source} where event_type = 'PLAY_START' group by 1 order by 2 desc limit 10"
TOP_GOLD = "select title, sum(plays) from {source} group by 1 order by 2 desc limit 10"
USED = ("event_type", "playhead_s")


def measure(bootstrap: str, events: int, rounds: int, folder: Path) -> dict[str, Any]:
    """Compact a lake, export the clients' columns of silver, and ask all three the same; best of `rounds`."""
    lake = Lake.at(str(folder / "lake"))
    lakes.fill(lake, events, DAYS, flush_rows=100_000)
    run(*PLAYLAKE, "compact", "--lake", lake.uri)
    files = data_files(lake.table("silver"))
    con = duckdb.connect()
    con.execute("set TimeZone = 'UTC'; set enable_progress_bar = false")
    parquet = f"read_parquet({files!r}, hive_partitioning = true, hive_types = {{'event_date': date}})"
    sources = {"ndjson": (folder / "all.ndjson", "json"), "csv": (folder / "all.csv", "csv")}
    for path, kind in sources.values():
        con.execute(f"copy (select {COLUMNS} from {parquet}) to '{path}' (format {kind})")
    ours = folder / "same.parquet"
    con.execute(f"copy (select {COLUMNS} from {parquet}) to '{ours}' (format parquet, compression zstd)")
    [date] = con.execute(f"select event_date::varchar from {parquet} group by 1 order by count(*) desc").fetchone()
    found: dict[str, Any] = {}
    for name, source, size, read in (
        ("ndjson", f"read_json('{folder}/all.ndjson')", _size(folder / "all.ndjson"), None),
        ("csv", f"read_csv('{folder}/all.csv')", _size(folder / "all.csv"), None),
        ("parquet", parquet, _size(ours), files),
    ):
        all_s = _best(con, AGGREGATE.format(source=source), rounds)
        date_s = _best(con, ONE_DATE.format(source=source, date=date), rounds)
        all_bytes = size if read is None else _bytes_of(read)
        date_bytes = size if read is None else _bytes_of([file for file in read if f"event_date={date}/" in file])
        found[name] = {
            "bytes": size,
            "aggregate_s": round(all_s, 3),
            "aggregate_one_date_s": round(date_s, 3),
            "bytes_read": all_bytes,
            "bytes_read_one_date": date_bytes,
        }
        print(
            f"  {name:<8} {size / 1e6:>8,.0f} MB  aggregate {all_s:6.3f} s, {all_bytes / 1e6:,.1f} MB read"
            f"  one date {date_s:6.3f} s, {date_bytes / 1e6:,.1f} MB read"
        )
    found["silver_all_columns_bytes"] = sum(_size(Path(file)) for file in files)
    with connect(lake.uri) as views:
        silver_s = _best(views, TOP.format(source="silver"), rounds)
        gold_s = _best(views, TOP_GOLD.format(source="gold.title_daily"), rounds)
    found["top_titles"] = {"silver_s": round(silver_s, 4), "gold_s": round(gold_s, 4)}
    print(f"  silver with all its columns: {found['silver_all_columns_bytes'] / 1e6:,.0f} MB")
    print(f"  top titles: silver {silver_s * 1000:.0f} ms, gold {gold_s * 1000:.0f} ms")
    con.close()
    return found


def _best(con: duckdb.DuckDBPyConnection, sql: str, rounds: int) -> float:
    seconds = []
    for _ in range(rounds):
        started = time.perf_counter()
        con.execute(sql).fetchall()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def _bytes_of(files: list[str]) -> int:
    """Compressed bytes of the columns that the aggregate needs."""
    total = 0
    for file in files:
        metadata = pq.read_metadata(file)
        for group in range(metadata.num_row_groups):
            for number in range(metadata.num_columns):
                column = metadata.row_group(group).column(number)
                if column.path_in_schema in USED:
                    total += column.total_compressed_size
    return total


def _size(path: Path) -> int:
    return path.stat().st_size
