#!/usr/bin/env python3
"""What playlake needs and costs at a rate of events: the tables of docs/scaling.md and docs/cost.md.

    tools/cost.py                  rewrite the tables between the markers of both documents
    tools/cost.py --rate 20000     print one rate, part by part

Change a price or a measure below, run it, and the documents follow; a test fails where they do not.
"""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

DOCS = Path(__file__).resolve().parent.parent / "docs"
MONTH_S = 30 * 86_400
MONTH_H = MONTH_S / 3600
GB = 1e9


@dataclass(frozen=True)
class Measures:
    """What was measured (docs/performance.md, docs/cost.md), for simulated events."""

    event_bytes: int = 272
    bronze_bytes: int = 35
    silver_bytes: int = 46
    gold_bytes: int = 10
    cpu_s_per_event: float = 4.6e-6
    worker_events_s: float = 300_000
    worker_load: float = 0.7
    flush_events: int = 100_000  # what --flush-bytes 32MiB holds
    flush_puts: float = 20.0  # PUT and LIST, of three tables and five dates
    flush_gets: float = 16.6  # GET and HEAD
    compaction_puts: float = 815.0  # a run that has all gold tables to make
    compaction_gets: float = 3_308.0
    merge_rows_s: float = 800_000
    gold_rows_s: float = 500_000  # on two cores


@dataclass(frozen=True)
class Prices:
    """List prices of us-east-1 in USD as noted on 2026-11-21, without free tiers, discounts and taxes: assumptions."""

    s3_gb_month: float = 0.023
    s3_put: float = 0.005 / 1000  # PUT, LIST
    s3_get: float = 0.0004 / 1000
    kms_key_month: float = 1.0
    fargate_vcpu_h: float = 0.04048
    fargate_gb_h: float = 0.004445
    athena_tb: float = 5.0
    msk_broker_h: float = 0.204  # kafka.m7g.large
    msk_broker_mb_s: float = 10.0  # that one takes in all copies of, with room for a reader: no price, a guess
    msk_gb_month: float = 0.10
    kinesis_shard_h: float = 0.015
    kinesis_put_unit: float = 0.014 / 1e6  # of 25 KB
    firehose_gb: float = 0.029  # each record rounded up to 5 KB
    firehose_convert_gb: float = 0.018  # rounded up, too
    firehose_partition_gb: float = 0.020  # as delivered
    glue_dpu_h: float = 0.44


@dataclass(frozen=True)
class Use:
    """How the lake is used: assumptions of the tables.

    Attributes:
        latency_s: `--allowed-latency`.
        compactions: a month.
        bronze_days, silver_days: how long rows are kept.
        retain_days: how long superseded files stay (`compact --retain`): that many days of rows are there twice.
        athena_share: of all silver's bytes, scanned a month: a few columns of a few dates, often.
        kafka_days: how long the topic keeps records.
    """

    latency_s: float = 60
    compactions: float = MONTH_S / 3600
    bronze_days: int = 90
    silver_days: int = 400
    retain_days: int = 7
    athena_share: float = 1.0
    kafka_days: float = 1


M, P, U = Measures(), Prices(), Use()


def workers(rate: float) -> int:
    """At `worker_load` each, and two at least, for one to be away."""
    return max(2, math.ceil(rate / (M.worker_events_s * M.worker_load)))


def flushes(rate: float) -> float:
    """A month, of all workers: by the clock, or as often as a worker's buffer is full."""
    every_s = min(U.latency_s, M.flush_events * workers(rate) / rate)
    return workers(rate) * MONTH_S / every_s


def large_flushes_s(rate: float) -> float:
    """A second, of all workers, with buffers eight times the default's."""
    return max(workers(rate) / U.latency_s, rate / (8 * M.flush_events))


def lake_gb(rate: float) -> float:
    """In the steady state, gold and superseded files included."""
    per_day = rate * 86_400 / GB
    superseded = (M.bronze_bytes + M.silver_bytes) * U.retain_days
    kept = M.bronze_bytes * U.bronze_days + (M.silver_bytes + M.gold_bytes) * U.silver_days
    return per_day * (kept + superseded)


def storage(rate: float) -> float:
    """S3's bytes, and the key."""
    return lake_gb(rate) * P.s3_gb_month + P.kms_key_month


def requests(rate: float) -> float:
    """S3's requests, of workers and compaction."""
    puts = flushes(rate) * M.flush_puts + U.compactions * M.compaction_puts
    gets = flushes(rate) * M.flush_gets + U.compactions * M.compaction_gets
    return puts * P.s3_put + gets * P.s3_get


def compaction_cores(rate: float) -> int:
    """So many that a run ends before the next begins: it merges what came, and makes half a date of gold on average.

    That twice the cores take half the time is an assumption: it was measured on two.
    """
    interval_s = MONTH_S / U.compactions
    run_s = rate * interval_s / M.merge_rows_s + rate * 86_400 / 2 / M.gold_rows_s
    return max(2, math.ceil(2 * run_s / interval_s))


def compute(rate: float) -> float:
    """Fargate, all month: 2 GB for each worker and for each core of compaction."""
    worker_cores = workers(rate) * max(1, math.ceil(rate * M.cpu_s_per_event / workers(rate)))
    cores = worker_cores + compaction_cores(rate)
    memory_gb = 2 * (workers(rate) + compaction_cores(rate))
    return MONTH_H * (cores * P.fargate_vcpu_h + memory_gb * P.fargate_gb_h)


def athena(rate: float) -> float:
    """Scans of silver."""
    return rate * 86_400 * U.silver_days * M.silver_bytes / 1e12 * U.athena_share * P.athena_tb


def msk(rate: float) -> float:
    """Provisioned MSK, three copies of everything, half of each disk free."""
    copies_mb_s = 3 * rate * M.event_bytes / 1e6
    brokers = 3 * math.ceil(copies_mb_s / P.msk_broker_mb_s / 3)
    kept_gb = 3 * rate * 86_400 * U.kafka_days * M.event_bytes / GB
    return MONTH_H * brokers * P.msk_broker_h + 2 * kept_gb * P.msk_gb_month


def kinesis(rate: float) -> float:
    """Kinesis with shards, one event a record: 1,000 records a second and shard come before its 1 MB."""
    shards = max(math.ceil(rate / 1000), math.ceil(rate * M.event_bytes / 1e6))
    return MONTH_H * shards * P.kinesis_shard_h + rate * MONTH_S * P.kinesis_put_unit


def firehose(rate: float) -> float:
    """Firehose from Kinesis to Parquet by date, one event a record: each counts as 5 KB."""
    return _firehose(rate, 5_000)


def firehose_packed(rate: float) -> float:
    """The same where producers pack events to records of 5 KB or more."""
    return _firehose(rate, M.event_bytes)


def _firehose(rate: float, billed_bytes: int) -> float:
    billed_gb, real_gb = (rate * MONTH_S * size / GB for size in (billed_bytes, M.event_bytes))
    return billed_gb * (P.firehose_gb + P.firehose_convert_gb) + real_gb * P.firehose_partition_gb


def glue(rate: float) -> float:
    """A job for each compaction of ours, with its CPU time: 2 DPU of 4 cores for 2 minutes at least."""
    run_core_s = 2 * (rate * MONTH_S / U.compactions / M.merge_rows_s + rate * 86_400 / 2 / M.gold_rows_s)
    dpu_h = max(2 * 120, run_core_s / 4) / 3600
    return U.compactions * dpu_h * P.glue_dpu_h


LAKE: dict[str, Callable[[float], float]] = {
    "S3: storage, key": storage,
    "S3: requests": requests,
    "compute (Fargate)": compute,
    "Athena": athena,
}
WAYS: dict[str, tuple[Callable[[float], float], ...]] = {
    "**playlake on Kinesis**": (*LAKE.values(), kinesis),
    "**playlake on MSK**": (*LAKE.values(), msk),
    "Kinesis, Firehose, Glue": (storage, athena, kinesis, firehose, glue),
    "the same, packed for Firehose": (storage, athena, kinesis, firehose_packed, glue),
}
COST_RATES = (100, 1_000, 10_000, 100_000)
SIZE_RATES = (1_000, 10_000, 100_000, 1_000_000)


def cost_table() -> str:
    """USD a month by rate."""
    lines = [["USD a month at", *(f"{rate:,}/s" for rate in COST_RATES)], ["---", *["---:"] * len(COST_RATES)]]
    parts: dict[str, tuple[Callable[[float], float], ...]] = {name: (part,) for name, part in LAKE.items()}
    parts |= {"Kinesis": (kinesis,), "MSK": (msk,), "Firehose": (firehose,)}
    parts |= {"Firehose, packed": (firehose_packed,), "Glue job": (glue,)}
    for name, functions in (parts | WAYS).items():
        lines.append([name, *(f"{sum(part(rate) for part in functions):,.0f}" for rate in COST_RATES)])
    return _markdown(lines)


def size_table() -> str:
    """What each rate needs."""
    rows: dict[str, Callable[[float], str]] = {
        "workers": lambda rate: f"{workers(rate)}",
        "cores of them": lambda rate: f"{rate * M.cpu_s_per_event:,.1f}",
        "commits a second to each table": lambda rate: f"{flushes(rate) / MONTH_S:,.2f}",
        "the same, `--flush-bytes 256MiB`": lambda rate: f"{large_flushes_s(rate):,.2f}",
        "Kafka in, MB/s": lambda rate: f"{rate * M.event_bytes / 1e6:,.1f}",
        "bronze and silver, GB a day": lambda rate: f"{rate * 86_400 * (M.bronze_bytes + M.silver_bytes) / GB:,.0f}",
        "cores of compaction, gold every hour": lambda rate: f"{compaction_cores(rate):,}",
        "gold of a whole date, minutes on two cores": lambda rate: f"{rate * 86_400 / M.gold_rows_s / 60:,.0f}",
    }
    lines = [["events a second", *(f"{rate:,}" for rate in SIZE_RATES)], ["---", *["---:"] * len(SIZE_RATES)]]
    return _markdown(lines + [[name, *map(cell, SIZE_RATES)] for name, cell in rows.items()])


def price_table() -> str:
    """The prices, by name."""
    lines = [["price", "USD"], ["---", "---:"]]
    return _markdown(lines + [[f"`{each.name}`", f"{getattr(P, each.name):.10g}"] for each in fields(P)])


TABLES = {"scaling.md": [size_table], "cost.md": [cost_table, price_table]}


def written(name: str) -> str:
    """A document's text, its tables made anew."""
    text = (DOCS / name).read_text(encoding="utf-8")
    tables = iter(TABLES[name])
    pattern = re.compile(r"(<!-- made by tools/cost.py -->\n).*?(\n<!-- end -->)", re.S)
    made = pattern.sub(lambda found: f"{found[1]}\n{next(tables)()}\n{found[2]}", text)
    if next(tables, None) is not None:
        raise ValueError(f"{name} has too few markers")
    return made


def _markdown(lines: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    """Print one rate, or rewrite the documents."""
    parser = argparse.ArgumentParser(description="What playlake needs and costs at a rate of events.")
    parser.add_argument("--rate", type=float, help="events a second: print this one")
    options = parser.parse_args()
    if options.rate is None:
        for name in TABLES:
            (DOCS / name).write_text(written(name), encoding="utf-8")
        return
    if options.rate <= 0:
        parser.error("--rate is more than 0")
    print(f"{workers(options.rate)} workers, {lake_gb(options.rate):,.0f} GB in the lake; USD a month:")
    for name, part in {**LAKE, "Kinesis": kinesis, "MSK": msk, "Firehose": firehose, "Glue": glue}.items():
        print(f"{part(options.rate):12,.2f}  {name}")


if __name__ == "__main__":
    main()
