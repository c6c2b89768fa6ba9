"""A disk that is full, read-only, or refuses a write in its middle: workers wait and go on, nothing lost or doubled."""

from __future__ import annotations

import random
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.broker import Broker
from tests.conftest import MakeTopic
from tests.fault.promise import PARTITIONS, the_promise_holds
from tests.ledger import Ledger, events
from tests.records import event_bytes
from tests.small_disk import NoSmallDisk, SmallDisk
from tests.workers import Worker, Workers, workers_of

QUICK = ("--allowed-latency", "200ms")
WAITS = "WARNING waiting: the store does not serve"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """A small disk, empty."""
    try:
        mounted = SmallDisk(tmp_path / "disk")
    except NoSmallDisk as error:
        pytest.skip(f"a full disk needs one that may be mounted: be root, or allow user namespaces ({error})")
    yield mounted
    mounted.close()


@pytest.fixture
def workers_on_it(broker: Broker, disk: SmallDisk, tmp_path: Path) -> Iterator[Workers]:
    """Starts workers for whom the small disk is mounted; their logs are elsewhere."""
    with workers_of(broker, tmp_path, through=disk.through) as started:
        yield started


def all_arrive(ledger: Ledger, worker: Worker) -> None:
    """Fresh events flow again, and all that was sent arrives; then the worker ends well."""
    ledger.send_spread(events(300, first=7_000_000 + len(ledger)), PARTITIONS)
    worker.until(lambda: worker.flushed == len(ledger), "all that was sent is in the lake")
    assert 0 == worker.stop()


def test_a_disk_that_fills_up_at_any_moment_of_a_flush(
    workers_on_it: Workers, broker: Broker, topic: MakeTopic, disk: SmallDisk, tmp_path: Path, dice: random.Random
) -> None:
    ledger = Ledger(broker, topic(PARTITIONS))
    ledger.send_spread(events(dice.randrange(200, 2000), bad_every=dice.choice([2, 20])), PARTITIONS)
    worker = workers_on_it.start(ledger.topic, disk.folder / "lake", *QUICK)
    with ledger.trickle(PARTITIONS):
        worker.wait_for(" flushed ")
        for full in range(1, 4):
            disk.fill(leaving=dice.choice([0, dice.randrange(50_000)]))
            worker.wait_for(f"{WAITS}.*No space left", count=full)
            disk.free()
            worker.wait_for("the store answers again", count=full)
    all_arrive(ledger, worker)
    the_promise_holds(disk.copy("lake", tmp_path / "copy"), broker, ledger)


def test_a_disk_that_becomes_read_only(
    workers_on_it: Workers, broker: Broker, topic: MakeTopic, disk: SmallDisk, tmp_path: Path, dice: random.Random
) -> None:
    ledger = Ledger(broker, topic(PARTITIONS))
    ledger.send_spread(events(dice.randrange(200, 2000), bad_every=2), PARTITIONS)
    worker = workers_on_it.start(ledger.topic, disk.folder / "lake", *QUICK)
    with ledger.trickle(PARTITIONS):
        worker.wait_for(" flushed ", count=dice.randrange(1, 4))
        disk.make_read_only()
        worker.wait_for(f"{WAITS}.*Read-only file system")
        disk.make_writable()
    all_arrive(ledger, worker)
    the_promise_holds(disk.copy("lake", tmp_path / "copy"), broker, ledger)


@pytest.mark.parametrize("trouble", ["No space left", "Read-only file system"])
def test_a_worker_that_finds_no_place_for_its_lake_says_so_and_ends(
    workers_on_it: Workers, topic: MakeTopic, disk: SmallDisk, trouble: str
) -> None:
    if trouble == "No space left":
        disk.fill(leaving=0)
    else:
        disk.make_read_only()
    worker = workers_on_it.start(topic(), disk.folder / "lake")
    assert 2 == worker.exit_code()
    [said] = worker.lines("playlake stream: the store does not serve")
    assert trouble in said
    assert "Traceback" not in worker.log


def test_a_write_that_is_refused_in_the_middle_of_a_file(
    workers: Workers, broker: Broker, topic: MakeTopic, lake: Path, dice: random.Random
) -> None:
    ledger = Ledger(broker, topic(PARTITIONS))
    ledger.send_spread(events(300), PARTITIONS)
    worker = workers.start(ledger.topic, lake, *QUICK)
    worker.until(lambda: worker.flushed == len(ledger), "the first records are in the lake")
    _, most = resource.prlimit(worker.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (dice.randrange(20_000, 60_000), most))
    ledger.send_spread((event_bytes(n, user_id=dice.randbytes(64).hex()) for n in range(5000)), PARTITIONS)
    worker.wait_for(f"{WAITS}.*File too large")
    resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (most, most))
    all_arrive(ledger, worker)
    the_promise_holds(lake, broker, ledger)
