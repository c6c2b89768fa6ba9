"""One worker and two against the tuned loop, stock Faust and each other, reading the same topics in turn."""

from __future__ import annotations

import json
import shutil
import statistics
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
from deltalake import DeltaTable

from bench.measure import PLAYLAKE, Run, run, run_all
from sink.lake import Lake, data_files

KAFKA_PARTITIONS = 4
FAUST_EVENTS = 100_000
AVRO = ("--format", "avro", "--schema-registry", "mock://")


def fill(url: str, events: int, *more: str) -> tuple[str, Run]:
    """Produce into a fresh topic; return its name and what producing took."""
    topic = f"bench-{uuid.uuid4().hex[:8]}"
    flags = ["--broker", url, "--topic", topic, "--events", str(events), "--seed", "7", "--schema-version", "1"]
    return topic, run(*PLAYLAKE, "produce", *flags, "--partitions", str(KAFKA_PARTITIONS), "--dirty", "0.01", *more)


def stream(url: str, topic: str, lake: Path, group: str, *more: str) -> list[str]:
    """The command of a worker that ends once caught up."""
    where = ["--broker", url, "--topic", topic, "--lake", str(lake), "--group", group]
    return [*PLAYLAKE, "stream", *where, "--until-caught-up", "--json", *more]


def lake_seconds(lake: Path, topic: str) -> float:
    """From the first record fetched to the last commit of silver, by the lake's own account, whoever wrote it."""
    place = Lake.at(str(lake))
    silver = place.table("silver")
    last_ms = DeltaTable(silver.table_uri).history(1)[0]["timestamp"]
    files = data_files(place.table("bronze"))
    first = duckdb.execute(
        "select epoch_ms(min(ingest_timestamp)) from read_parquet($1) where topic = $2", [files, topic]
    ).fetchone()
    return (last_ms - first[0]) / 1000


def report_seconds(runs: list[Run]) -> float:
    """From the first record to the last write, by the loops' own account: their last line, since Faust speaks, too."""
    reports = [json.loads(each.said.splitlines()[-1]) for each in runs]
    reports = [report for report in reports if report["events"]]
    return max(report["last"] for report in reports) - min(report["first"] for report in reports)


def one_round(bootstrap: str, events: int, folder: Path) -> Iterator[dict[str, Any]]:
    url = f"kafka://{bootstrap}"
    topic, produced = fill(url, events)
    yield _row("produce", events, produced.seconds, [produced])
    for workers in (1, 2):
        place, group = folder / "loop", uuid.uuid4().hex
        command = [*PLAYLAKE[:1], "-m", "bench.afternoon_loop", bootstrap, topic, str(place), group]
        runs = run_all([command] * workers)
        yield _row(f"loop x{workers}", events, report_seconds(runs), runs)
        shutil.rmtree(place)
        lake = folder / "lake"
        runs = run_all(
            [stream(url, topic, lake, uuid.uuid4().hex[:8])]
            if workers == 1
            else [stream(url, topic, lake, group)] * workers
        )
        yield _row(f"stream x{workers}", events, lake_seconds(lake, topic), runs)
        shutil.rmtree(lake)
    avro, produced = fill(url, events, *AVRO)
    yield _row("produce avro", events, produced.seconds, [produced])
    runs = run_all([stream(url, avro, lake, uuid.uuid4().hex[:8], *AVRO)])
    yield _row("stream avro", events, lake_seconds(lake, avro), runs)
    shutil.rmtree(lake)
    few, _ = fill(url, FAUST_EVENTS)
    place = folder / "faust"
    runs = run_all([[*PLAYLAKE[:1], "-m", "bench.stock_faust", bootstrap, few, str(FAUST_EVENTS), str(place)]])
    yield _row("stock faust", FAUST_EVENTS, report_seconds(runs), runs)
    shutil.rmtree(place)


def _row(subject: str, events: int, seconds: float, runs: list[Run]) -> dict[str, Any]:
    return {
        "subject": subject,
        "events_per_s": round(events / seconds),
        "cpu_s_per_million": round(sum(each.cpu_s for each in runs) * 1e6 / events, 2),
        "peak_mb": round(max(each.peak_bytes for each in runs) / 1e6),
        "process_s": round(max(each.seconds for each in runs), 2),
    }


RATIOS = (
    ("one worker's rate against the tuned loop", "stream x1", "loop x1", "events_per_s", ">= 2.0"),
    ("one worker's rate against stock Faust", "stream x1", "stock faust", "events_per_s", ">= 25"),
    ("two workers' rate against two loops", "stream x2", "loop x2", "events_per_s", ">= 1.2"),
    ("one worker's rate for Avro against JSON", "stream avro", "stream x1", "events_per_s", ">= 0.9"),
    ("one worker's CPU against the tuned loop", "stream x1", "loop x1", "cpu_s_per_million", "<= 0.75"),
)


def measure(bootstrap: str, events: int, rounds: int, folder: Path) -> dict[str, Any]:
    """Interleave all subjects, `rounds` times.

    CPU is of whole processes, start-up included. Rates count from the first record fetched to the last write.
    """
    rows = []
    for number in range(rounds):
        for row in one_round(bootstrap, events, folder):
            print(
                f"  {row['subject']:<12} {row['events_per_s']:>9,} events/s  {row['cpu_s_per_million']:>6} CPU-s/M"
                f"  {row['peak_mb']:>6,} MB  {row['process_s']:>6} s in all",
                flush=True,
            )
            rows.append({"round": number, **row})
    ratios = {}
    for name, ours, theirs, figure, wanted in RATIOS:
        pairs = zip(
            (row[figure] for row in rows if row["subject"] == ours),
            (row[figure] for row in rows if row["subject"] == theirs),
            strict=True,
        )
        ratios[name] = round(statistics.median(a / b for a, b in pairs), 2)
        print(f"{name}: {ratios[name]} (wanted {wanted})")
    return {"events": events, "runs": rows, "ratios": ratios}
