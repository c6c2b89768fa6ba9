"""What a worker at its defaults may take: a large backlog to read, and a store away while input never ends."""

from __future__ import annotations

import contextlib
import random
import time
from pathlib import Path

import pytest

from audit.verify import verify
from sink.lake import Lake
from tests.broker import Broker
from tests.conftest import MakeTopic
from tests.fault.test_odd_input import DEFAULTS
from tests.ledger import rows_in
from tests.s3 import S3
from tests.s3.flaky import AWAY, CALM, FlakyS3
from tests.tables import on_a_disk
from tests.workers import Workers, playlake, workers_of

KAFKA_PARTITIONS = 4
GIB = 2**30


def fill(broker: Broker, topic: str, events: int) -> None:
    """Let the producer send that many events, a hundredth of them bad."""
    where = ("--broker", f"kafka://{broker.bootstrap}", "--topic", topic)
    done = playlake("produce", *where, "--events", str(events), "--dirty", "0.01", "--seed", "7", timeout_s=180)
    assert 0 == done.returncode, done.stderr


def assert_complete(broker: Broker, lake: Path | str) -> None:
    with on_a_disk(lake) as folder:  # `verify` opens each file many times
        assert () == verify(Lake.at(str(folder)), {"bootstrap.servers": broker.bootstrap}).faults


@pytest.mark.timeout(900)
@pytest.mark.short_run(250_000)
@pytest.mark.parametrize("events", [250_000, 5_000_000])
def test_a_backlog(workers: Workers, broker: Broker, topic: MakeTopic, lake: Path, events: int) -> None:
    name = topic(KAFKA_PARTITIONS)
    fill(broker, name, events)
    worker = workers.start(name, lake, *DEFAULTS)
    worker.until(lambda: rows_in(lake, "silver") > 0.98 * events, "nearly all is in silver", 180)
    worker.until(lambda: rows_in(lake, "bronze") == events, "all is in bronze", 60)
    peak_bytes = worker.peak_memory_bytes
    print(f"peak: {peak_bytes / 1e6:,.0f} MB with a backlog of {events:,}")
    assert peak_bytes < GIB
    assert 0 == worker.stop()
    assert_complete(broker, lake)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("store", ["s3"], indirect=True)
@pytest.mark.short_run(10)
@pytest.mark.parametrize("away_s", [10, 120])
def test_a_store_away_at_full_input(
    broker: Broker, topic: MakeTopic, store: S3, lake: str, tmp_path: Path, away_s: float
) -> None:
    name, events = topic(KAFKA_PARTITIONS), 5_000_000 if away_s > 60 else 500_000
    fill(broker, name, events)
    with (
        contextlib.closing(FlakyS3(store, random.Random(0))) as flaky,
        workers_of(broker, tmp_path, flaky.env) as workers,
    ):
        worker = workers.start(name, lake, "--allowed-latency", "1s")
        worker.wait_for(" flushed ")
        flaky.shares = AWAY
        until = time.monotonic() + away_s
        worker.until(lambda: time.monotonic() > until, "the outage is over", away_s + 10)
        flaky.shares = CALM
        assert rows_in(lake, "bronze") < 0.9 * events, "there was more to read all the time"
        worker.until(lambda: rows_in(lake, "bronze") == events, "all is in bronze", 180)
        peak_bytes = worker.peak_memory_bytes
        print(f"peak: {peak_bytes / 1e6:,.0f} MB with the store away for {away_s} s")
        assert peak_bytes < 1.5 * GIB
        assert 0 == worker.stop()
    assert_complete(broker, lake)
