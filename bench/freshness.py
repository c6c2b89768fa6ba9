"""From broker time to being visible in `playlake query`'s views, at a steady rate."""

from __future__ import annotations

import subprocess
import time
import uuid
from pathlib import Path
from typing import Any

from bench.measure import PLAYLAKE, run
from query.views import connect
from schemas.errors import PlaylakeError
from sink.lake import Lake

RATE = 20_000
SECONDS = 120
KAFKA_PARTITIONS = 4
WARM_UP_S = 15  # the worker's start


def measure(bootstrap: str, events: int, rounds: int, folder: Path) -> dict[str, Any]:
    """Produce at a steady rate for two minutes; ask the lake in a loop what it sees; then compact.

    Once for each allowed latency.
    """
    found = {}
    for latency, wanted in (("500ms", 2.0), ("1s", 2.5), ("10s", 12.0)):
        lake = folder / f"lake-{latency}"
        p50, p99 = _one(f"kafka://{bootstrap}", lake, latency)
        files = _silver_files(lake)
        run(*PLAYLAKE, "compact", "--lake", str(lake))
        compacted = _silver_files(lake)
        found[latency] = {"p50_s": p50, "p99_s": p99, "silver_files": files, "silver_files_compacted": compacted}
        print(
            f"  --allowed-latency {latency}: p50 {p50} s, p99 {p99} s (wanted <= {wanted}), "
            f"{files} files in silver, {compacted} once compacted"
        )
    return found


def _silver_files(lake: Path) -> int:
    return len(Lake.at(str(lake)).table("silver").file_uris())


def _one(url: str, lake: Path, latency: str) -> tuple[float, float]:
    topic = f"bench-{uuid.uuid4().hex[:8]}"
    where = ["--broker", url, "--topic", topic]
    produce = [
        *PLAYLAKE,
        "produce",
        *where,
        "--partitions",
        str(KAFKA_PARTITIONS),
        "--rate",
        str(RATE),
        "--duration",
        f"{SECONDS}s",
    ]
    stream = [*PLAYLAKE, "stream", *where, "--wait", "--lake", str(lake), "--group", topic]
    worker = subprocess.Popen([*stream, "--allowed-latency", latency], stderr=subprocess.DEVNULL)
    producer = subprocess.Popen(produce, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        seen = _watch(Lake.at(str(lake)), producer)
    finally:
        producer.wait()
        worker.terminate()
        worker.wait()
    return _percentile(seen, 0.5), _percentile(seen, 0.99)


def _watch(lake: Lake, producer: subprocess.Popen[bytes]) -> list[tuple[float, int]]:
    """Look again and again; return (delay in seconds, events) of the events that each look saw for the first time.

    An event's delay is the look's time less its broker time, so the pause between looks counts as well.
    """
    found: list[tuple[float, int]] = []
    known: dict[int, int] = dict.fromkeys(range(KAFKA_PARTITIONS), -1)
    ready_at = time.time() + WARM_UP_S
    while producer.poll() is None:
        try:
            with connect(lake.uri) as connection:
                new = " or ".join(
                    f"(kafka_partition = {part} and kafka_offset > {last})" for part, last in known.items()
                )
                rows = connection.execute(
                    "select kafka_partition, max(kafka_offset), floor(epoch(broker_timestamp) * 20) / 20, count(*)"
                    f" from silver where {new} group by 1, 3"
                ).fetchall()
        except PlaylakeError:  # no lake yet
            time.sleep(0.2)
            continue
        now = time.time()
        for part, last, broker_time, count in rows:
            known[part] = max(known[part], last)
            if now > ready_at:
                found.append((now - broker_time, count))
        time.sleep(0.05)
    return found


def _percentile(seen: list[tuple[float, int]], share: float) -> float:
    left = share * sum(count for _, count in seen)
    for delay, count in sorted(seen):
        left -= count
        if left <= 0:
            return round(delay, 2)
    raise SystemExit("no event became visible")
