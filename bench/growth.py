"""Does throughput hold as the world grows: Kafka partitions, dates, catalogue, commits? Each against the first."""

from __future__ import annotations

import csv
import json
import shutil
import uuid
from pathlib import Path
from typing import Any

from deltalake import CommitProperties, Transaction

from bench.measure import run
from bench.throughput import fill, stream
from sink.lake import Lake
from stream_app.catalogue import COLUMNS, shipped_catalogue

MANY_TITLES = 1_000_000
MANY_COMMITS = 10_000


def measure(bootstrap: str, events: int, rounds: int, folder: Path) -> dict[str, Any]:
    """One topic of `events` for each variant; the worker's own rate, from its first batch to its last flush."""
    url = f"kafka://{bootstrap}"
    base, _ = fill(url, events)
    topics = {
        "base: 4 Kafka partitions, 3 dates, 300 titles, new lake": (base, []),
        "1 Kafka partition": (fill(url, events, "--partitions", "1")[0], []),
        "8 Kafka partitions": (fill(url, events, "--partitions", "8")[0], []),
        "64 Kafka partitions": (fill(url, events, "--partitions", "64")[0], []),
        "1 date": (fill(url, events, "--days", "0.5")[0], []),
        "30 dates": (fill(url, events, "--days", "30")[0], []),
        f"{MANY_TITLES:,} titles": (base, ["--catalogue", str(_many_titles(folder / "titles.csv"))]),
        f"{MANY_COMMITS:,} commits": (base, []),
    }
    found: dict[str, Any] = {}
    for number in range(rounds):
        for name, (topic, more) in topics.items():
            lake = folder / "lake"
            if "commits" in name:
                _many_commits(lake)
            said = json.loads(run(*stream(url, topic, lake, uuid.uuid4().hex[:8], *more)).said)
            shutil.rmtree(lake)
            found.setdefault(name, []).append(round(said["bronze"] / said["seconds"]))
        print(f"  round {number + 1} of {rounds} done", flush=True)
    first = max(found[next(iter(found))])
    for name, rates in found.items():
        print(f"  {name:<58} {max(rates):>9,} events/s  {max(rates) / first:.2f} (wanted >= 0.75)")
    return found


def _many_titles(path: Path) -> Path:
    """The shipped catalogue and a million more."""
    with shipped_catalogue().open(encoding="utf-8") as shipped, path.open("w", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(shipped))
        writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
        for number in range(MANY_TITLES - len(rows)):
            row = rows[number % len(rows)]
            writer.writerow({**row, "show_id": f"x{number}", "title": f"{row['title']} {number}"})
    return path


def _many_commits(folder: Path) -> None:
    """A lake whose tables have seen many commits: one by the library, its like as files, and a checkpoint."""
    lake = Lake.at(str(folder))
    for name in ("bronze", "silver", "quarantine"):
        handle = lake.table_or_create(name)
        entry = CommitProperties(app_transactions=[Transaction("other/-/0", 1)])
        handle.create_write_transaction([], "append", handle.schema(), commit_properties=entry)
        first = handle.version() + 1
        log = Path(lake.path(name)) / "_delta_log"
        commit = (log / f"{first:020}.json").read_bytes()
        for version in range(first + 1, MANY_COMMITS):
            (log / f"{version:020}.json").write_bytes(commit)
        lake.table(name).create_checkpoint()
