"""The compaction job on a lake of many small files, gold after one changed date, and queries on what it leaves."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from deltalake import write_deltalake

from bench import lakes
from bench.measure import PLAYLAKE, run
from compaction.compact import compact
from compaction.gold import refresh
from query.views import connect
from schemas.tables import SILVER
from sink.lake import Lake, data_files

DAYS = 30
FLUSHES = 36
"""Late and early events among them leave about 500 files in silver."""
LATE = {
    "one date with new sessions": "'late-' || session_id || uuid()",
    "sessions that reach other dates": "session_id",
}
"""What comes late, and its sessions."""
QUERIES = {
    "gold: plays by title": "select title_id, sum(plays) from gold.title_daily group by 1 order by 2 desc limit 20",
    "gold: hours of a day": "select * from gold.temporal_trends",
    "silver: events by title and hour": (
        "select title_id, hour(event_timestamp), count(*) from silver group by 1, 2 order by 3 desc limit 20"
    ),
}


def measure(bootstrap: str, events: int, rounds: int, folder: Path) -> dict[str, Any]:
    """Silver's files are merged, and the job does all the rest, in processes of their own, whose memory can be told."""
    lake = Lake.at(str(folder / "lake"))
    lakes.fill(lake, events, DAYS, flush_rows=events // FLUSHES)
    before = len(data_files(lake.table("silver")))
    merged = run(sys.executable, "-m", "bench.compaction", lake.uri)
    after, seconds = len(data_files(lake.table("silver"))), float(merged.said)
    found: dict[str, Any] = {
        "rows": events,
        "files": [before, after],
        "merge_s": round(seconds, 2),
        "rows_per_s": round(events / seconds),
        "cpu_s": round(merged.cpu_s, 2),
        "peak_mb": round(merged.peak_bytes / 1e6),
    }
    print(f"  silver: {before} files to {after}, {found['rows_per_s']:,} rows/s, {found['peak_mb']:,} MB")
    job = run(*PLAYLAKE, "compact", "--lake", lake.uri)
    found |= {"job_s": round(job.seconds, 2), "job_peak_mb": round(job.peak_bytes / 1e6)}
    print(f"  the job, with bronze, repair, dedupe and gold: {job.seconds:.1f} s, {found['job_peak_mb']:,} MB")
    print(job.said)
    full_s = _timed(lambda: refresh(lake, full=True))
    found["gold_full_s"] = round(full_s, 2)
    for what, session_id in LATE.items():
        _late_events(lake, session_id)
        one_s = _timed(lambda: refresh(lake))
        found[f"gold_{what}_s"] = round(one_s, 2)
        print(
            f"  gold: all {full_s:.2f} s, after {what} {one_s:.2f} s: {one_s / full_s:.3f} (wanted <= 0.1 for one date)"
        )
    with connect(lake.uri) as connection:
        for name, sql in QUERIES.items():
            best = min(_timed(lambda sql=sql: connection.execute(sql).fetchall()) for _ in range(max(3, rounds)))
            found[name] = round(best * 1000)
            print(f"  {name}: {best * 1000:.0f} ms")
    return found


def _late_events(lake: Lake, session_id: str) -> None:
    """A thousand more events of one date in the middle."""
    with connect(lake.uri) as connection:
        rows = connection.sql(
            "select * replace ('late-' || event_id || uuid() as event_id, kafka_offset + 1000000000 as kafka_offset, "
            f"{session_id} as session_id) from silver where event_date = "
            "(select min(event_date) + 15 from silver where event_date > '2026-10-01') limit 1000",
        ).to_arrow_table()
    write_deltalake(lake.table("silver"), rows.cast(SILVER), mode="append")


def _merge(uri: str) -> None:
    """Print how long it took to merge silver's files: seconds, without the process' start."""
    print(_timed(lambda: compact(Lake.at(uri), "silver")))


def _timed(step: Callable[[], Any]) -> float:
    started = time.perf_counter()
    step()
    return time.perf_counter() - started


if __name__ == "__main__":
    _merge(sys.argv[1])
