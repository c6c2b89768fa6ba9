"""Clocks that jump by hours, a worker's or the broker's: nothing is lost, and flushes come on time."""

from __future__ import annotations

import datetime as dt
import random
import time
from pathlib import Path

import pyarrow as pa
from deltalake import DeltaTable

from tests.broker import Broker
from tests.conftest import MakeTopic
from tests.fault.promise import PARTITIONS, recover, the_promise_holds
from tests.fault.wall_clock import WallClock
from tests.ledger import Ledger, events, rows_in, table_rows
from tests.records import event_bytes
from tests.workers import Workers, playlake

LATENCY_S = 0.5
ON_TIME_S = 15.0
"""Latency, and what a busy machine adds to it; a wait that goes by the wall clock would take hours."""
LAST_YEARS_MS = 253_402_300_799_999
"""The last millisecond of the year 9999."""


def ingest_dates_are_those_of_ingest_timestamps(lake: Path) -> None:
    for table in ("bronze", "quarantine"):
        files = pa.table(DeltaTable(f"{lake}/{table}/playback_events").get_add_actions(flatten=True)).to_pylist()
        assert [] != files
        for file in files:
            for edge in ("min", "max"):
                assert file["partition.ingest_date"] == file[f"{edge}.ingest_timestamp"].date()


def test_a_workers_clock_that_jumps_by_hours(
    workers: Workers, broker: Broker, topic: MakeTopic, lake: Path, tmp_path: Path, dice: random.Random
) -> None:
    ledger = Ledger(broker, topic(PARTITIONS))
    clock = WallClock(tmp_path)
    worker = workers.start(ledger.topic, lake, "--allowed-latency", f"{LATENCY_S}s", env=clock.env)
    offsets_s: dict[tuple[int, int], float] = {}
    for number, hours in enumerate([0, dice.uniform(2, 40), -dice.uniform(2, 40), dice.choice([-30, -1, 0.5, 26])]):
        clock.set(hours=hours)
        if dice.random() < 0.5:
            worker.until(lambda: dice.random() < 0.1, "it waits with its clock set")
        before, sent_at = set(ledger.records), time.monotonic()
        ledger.send_spread(events(dice.choice([1, 7, 500]), first=10_000 * number, bad_every=7), PARTITIONS)
        offsets_s |= dict.fromkeys(set(ledger.records) - before, clock.offset_s)
        worker.until(lambda: rows_in(lake, "bronze") == len(ledger), "all that was sent is in the lake", 60)
        assert number == 0 or ON_TIME_S > time.monotonic() - sent_at
    assert 0 == worker.stop()
    recover(workers, ledger, lake)
    the_promise_holds(lake, broker, ledger)

    columns = ["kafka_partition", "kafka_offset", "broker_timestamp", "ingest_timestamp"]
    for row in table_rows(lake, "bronze", columns).to_pylist():
        by_clock = row["ingest_timestamp"] - row["broker_timestamp"]
        offset_s = offsets_s.get((row["kafka_partition"], row["kafka_offset"]), 0.0)
        assert abs(by_clock.total_seconds() - offset_s) < 60, "the worker's clock at the time, and no other"
    ingest_dates_are_those_of_ingest_timestamps(lake)
    compacted = playlake("compact", "--lake", str(lake), timeout_s=100)
    assert 0 == compacted.returncode, compacted.stderr
    the_promise_holds(lake, broker, ledger)


def test_a_brokers_clock_that_jumps(
    workers: Workers, broker: Broker, topic: MakeTopic, lake: Path, dice: random.Random
) -> None:
    any_time = {
        "message.timestamp.after.max.ms": str(2**63 - 1),
        "message.timestamp.before.max.ms": str(2**63 - 1),
        "retention.ms": "-1",  # or the broker takes records of 1970 away whenever it happens to look
    }
    ledger = Ledger(broker, topic(PARTITIONS, any_time))
    worker = workers.start(ledger.topic, lake, "--allowed-latency", f"{LATENCY_S}s")
    worker.wait_for(" reading ")
    now_ms = time.time_ns() // 1_000_000
    jumps_ms = [now_ms + int(dice.uniform(-48, 48) * 3_600_000) for _ in range(6)]
    no_clocks_ms = [1, LAST_YEARS_MS, LAST_YEARS_MS + 1, 2**62]
    sent: dict[tuple[int, int], int] = {}
    for number, at_ms in enumerate(dice.sample(jumps_ms + no_clocks_ms, 10)):
        before = set(ledger.records)
        ledger.send(
            events(dice.randrange(1, 50), first=1000 * number, bad_every=7), number % PARTITIONS, timestamp=at_ms
        )
        sent |= dict.fromkeys(set(ledger.records) - before, at_ms)
        if dice.random() < 0.3:
            worker.until(lambda: rows_in(lake, "bronze") == len(ledger), "all that was sent is in the lake", 60)
    sent_at = time.monotonic()
    ledger.send([event_bytes(999_999)], timestamp=now_ms)
    worker.until(lambda: rows_in(lake, "bronze") == len(ledger), "all that was sent is in the lake", 60)
    assert ON_TIME_S > time.monotonic() - sent_at
    assert 0 == worker.stop()
    recover(workers, ledger, lake)
    the_promise_holds(lake, broker, ledger)

    rows = table_rows(lake, "bronze", ["kafka_partition", "kafka_offset", "broker_timestamp"]).to_pylist()
    held = {(row["kafka_partition"], row["kafka_offset"]): row["broker_timestamp"] for row in rows}
    epoch = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    for position, at_ms in sent.items():  # times that no calendar has are none
        expected = epoch + dt.timedelta(milliseconds=at_ms) if at_ms <= LAST_YEARS_MS else None
        assert expected == held[position]
    ingest_dates_are_those_of_ingest_timestamps(lake)
    for verb in ("status", "compact"):
        done = playlake(verb, "--lake", str(lake), timeout_s=100)
        assert 0 == done.returncode, done.stderr
    the_promise_holds(lake, broker, ledger)
