"""The compaction job on a lake of many small files, gold after one changed date, and queries on what it leaves."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from deltalake import write_deltalake

from bench import lakes
from bench.measure import PLAYLAKE, run
from compaction.gold import refresh
from query.views import connect
from schemas.tables import SILVER
from sink.lake import Lake

DAYS = 30
FILES = 500
QUERIES = {
    "gold: plays by title": "select title_id, sum(plays) from gold.title_daily group by 1 order by 2 desc limit 20",
    "gold: hours of a day": "select * from gold.temporal_trends",
    "silver: events by title and hour": (
        "select title_id, hour(event_timestamp), count(*) from silver group by 1, 2 order by 3 desc limit 20"
    ),
}


def measure(bootstrap: str, events: int, rounds: int, folder: Path) -> dict[str, Any]:
    """5,000,000 rows unless told otherwise; the job runs as a user's process, so that its memory is its own."""
    lake = Lake.at(str(folder / "lake"))
    lakes.fill(lake, events, DAYS, flush_rows=events // FILES)
    before = len(lake.table("silver").file_uris())
    job = run(*PLAYLAKE, "compact", "--lake", lake.uri)
    after = len(lake.table("silver").file_uris())
    found: dict[str, Any] = {
        "rows": events,
        "files": [before, after],
        "compact_s": round(job.seconds, 2),
        "rows_per_s": round(events / job.seconds),
        "peak_mb": round(job.peak_bytes / 1e6),
    }
    print(f"  compact: {before} files to {after}, {found['rows_per_s']:,} rows/s, {found['peak_mb']:,} MB")
    print(job.said)
    full_s = _timed(lambda: refresh(lake, full=True))
    _change_one_date(lake, events)
    one_s = _timed(lambda: refresh(lake))
    found |= {"gold_full_s": round(full_s, 2), "gold_one_date_s": round(one_s, 2), "ratio": round(one_s / full_s, 3)}
    print(f"  gold: full {full_s:.2f} s, after one changed date {one_s:.2f} s: {one_s / full_s:.3f} (wanted <= 0.1)")
    with connect(lake.uri) as connection:
        for name, sql in QUERIES.items():
            best = min(_timed(lambda sql=sql: connection.execute(sql).fetchall()) for _ in range(max(3, rounds)))
            found[name] = round(best * 1000)
            print(f"  {name}: {best * 1000:.0f} ms")
    return found


def _change_one_date(lake: Lake, events: int) -> None:
    """A few more events of one date in the middle, as late ones would come."""
    table = lake.table("silver")
    with connect(lake.uri) as connection:
        rows = connection.execute(
            "select * replace ('late-' || event_id as event_id, kafka_offset + $1 as kafka_offset) from silver"
            " where event_date = (select min(event_date) + 15 from silver where event_date > '2026-10-01') limit 1000",
            [events],
        ).to_arrow_table()
    write_deltalake(table, rows.cast(SILVER), mode="append")


def _timed(step: Callable[[], Any]) -> float:
    started = time.perf_counter()
    step()
    return time.perf_counter() - started
