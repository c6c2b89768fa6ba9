"""How long until the first event is consumed, and until `--help` is there."""

from __future__ import annotations

import statistics
import time
import uuid
from pathlib import Path
from typing import Any

import duckdb

from bench.measure import PLAYLAKE, run
from bench.throughput import fill, stream
from sink.lake import Lake, data_files


def measure(bootstrap: str, events: int, rounds: int, folder: Path) -> dict[str, Any]:
    """Start workers at a lake of their own: wall time from process start to the first record's ingest time."""
    url = f"kafka://{bootstrap}"
    topic, _ = fill(url, 1_000)
    first, idle_cpu, helps = [], [], []
    for number in range(max(3, rounds)):
        lake = folder / f"lake-{number}"
        before_ms = time.time() * 1000
        done = run(*stream(url, topic, lake, uuid.uuid4().hex[:8]))
        files = data_files(Lake.at(str(lake)).table("bronze"))
        [ingested_ms] = duckdb.execute(
            "select epoch_ms(min(ingest_timestamp)) from read_parquet($1)", [files]
        ).fetchone()
        first.append((ingested_ms - before_ms) / 1000)
        idle_cpu.append(done.cpu_s)
        helps.append(run(*PLAYLAKE, "--help").seconds)
    found = {
        "first_event_s": round(statistics.median(first), 2),
        "worker_cpu_s_for_1000_events": round(statistics.median(idle_cpu), 2),
        "help_s": round(statistics.median(helps), 2),
    }
    print(f"  first event after {found['first_event_s']} s (wanted <= 4), --help after {found['help_s']} s (<= 0.3)")
    print(f"  CPU of a worker that reads 1,000 events: {found['worker_cpu_s_for_1000_events']} s")
    return found
