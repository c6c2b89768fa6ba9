"""The promise on files: an `ingest` killed at any step, one that sleeps while another takes over, a file cut in two."""

from __future__ import annotations

import gzip
import random
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from audit.verify import verify
from sink.faults import VARIABLE
from sink.lake import Lake
from tests.ingesting import FilesLedger, Ingests, folder_put, ingests_of, zstd
from tests.ledger import events

STEPS = [
    f"{moment} {table}" for table in ("ledger", "bronze", "quarantine", "silver") for moment in ("before", "after")
]
SMALL_FLUSHES = ("--flush-bytes", "1MB", "--allowed-latency", "100ms")


@pytest.fixture
def files(tmp_path: Path) -> FilesLedger:
    return FilesLedger(folder_put(tmp_path / "in"))


@pytest.fixture
def ingests(tmp_path: Path) -> Iterator[Ingests]:
    (tmp_path / "in").mkdir()
    with ingests_of(str(tmp_path / "in"), tmp_path / "lake", tmp_path) as started:
        yield started


def some_files(files: FilesLedger, dice: random.Random) -> None:
    """A file of several batches, small ones, one without a record, and one without newlines."""
    files.put("2026/11/20/b.json", events(30_000, bad_every=dice.choice([7, 50, 2000])))
    files.put("2026/11/20/c.json.gz", events(300, first=40_000), gzip.compress)
    files.put("2026/11/20/d.json", [])
    files.put("2026/11/20/e.json.zst", events(dice.randrange(1, 500), first=50_000), zstd)
    files.put_side_by_side("2026/11/21/f", (value for value in events(400, first=60_000, bad_every=500)))


def fault(step: str, dice: random.Random) -> dict[str, str]:
    """One of the first flushes; of the ledger the first, since it may say at once which files are begun."""
    return {VARIABLE: f"{step}@{1 if 'ledger' in step else dice.randrange(1, 3)}"}


def more_files(files: FilesLedger) -> None:
    """One behind the others, and one before them."""
    files.put("2026/11/21/g.json", events(200, first=70_000), end=b"\r\n")
    files.put("2026/11/19/late.json", events(200, first=80_000))


def the_promise_holds(lake: Path, files: FilesLedger) -> None:
    files.agrees_with(lake)
    assert () == verify(Lake.at(str(lake))).faults


@pytest.mark.short_run("after ledger", "after bronze", "before silver")
@pytest.mark.parametrize("step", STEPS)
def test_an_ingest_killed_at_a_step(
    ingests: Ingests, files: FilesLedger, tmp_path: Path, dice: random.Random, step: str
) -> None:
    files.put("2026/11/20/a.json", events(10, first=90_000))
    ingests.once()
    some_files(files, dice)
    doomed = ingests.start(*SMALL_FLUSHES, env=fault(step, dice))
    assert -9 == doomed.exit_code()
    more_files(files)
    ingests.once(*SMALL_FLUSHES)
    the_promise_holds(tmp_path / "lake", files)
    assert 0 == ingests.once().report["files"], "a second run has nothing left to do"


@pytest.mark.short_run("before ledger", "after bronze")
@pytest.mark.parametrize("step", ["before ledger", "after ledger", "after bronze"])
def test_a_zombie_that_wakes_after_another_took_over(
    ingests: Ingests, files: FilesLedger, tmp_path: Path, dice: random.Random, step: str
) -> None:
    some_files(files, dice)
    zombie = ingests.start(*SMALL_FLUSHES, env={name: f"{point}=stop" for name, point in fault(step, dice).items()})
    zombie.until(lambda: zombie.is_stopped, "it stands still")
    more_files(files)
    ingests.once(*SMALL_FLUSHES)
    zombie.send(signal.SIGCONT)
    assert 2 == zombie.exit_code()
    assert "took over" in zombie.log.splitlines()[-1]
    the_promise_holds(tmp_path / "lake", files)
    assert 0 == ingests.once().report["files"]
