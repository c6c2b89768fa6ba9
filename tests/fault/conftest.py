"""The fault suite: seeded and replayable. `--seed 7` runs that seed alone, `--seeds 20` seeds 0 to 19; else seed 0."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.broker import Broker, fresh_name
from tests.compactors import Compactors
from tests.fault.viewed import PARTITIONS, Viewed, make
from tests.ledger import Ledger
from tests.workers import Workers


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test that asks for `seed` with the seeds of the command line."""
    if "seed" in metafunc.fixturenames:
        only = metafunc.config.getoption("seed")
        seeds = range(metafunc.config.getoption("seeds")) if only is None else [only]
        metafunc.parametrize("seed", seeds, ids=[f"seed{seed}" for seed in seeds])


@pytest.fixture
def dice(request: pytest.FixtureRequest, seed: int) -> random.Random:
    """Everything that a test leaves to chance: the same for the same test and seed."""
    return random.Random(f"{request.node.originalname}/{seed}")


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    """Where a test's lake goes; nothing is there yet."""
    return tmp_path / "lake"


@pytest.fixture
def workers(broker: Broker, tmp_path: Path) -> Iterator[Workers]:
    """Starts workers against the shared broker; all of them have ended after the test."""
    folder = tmp_path / "workers"
    folder.mkdir()
    started = Workers(broker, folder)
    yield started
    started.close()


@pytest.fixture(scope="session")
def viewed(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Viewed]:
    """A lake with work for every step of a compaction; tests change a copy of it."""
    folder = tmp_path_factory.mktemp("viewed")
    name = fresh_name("viewed")
    broker.create_topic(name, PARTITIONS)
    workers, compactors = Workers(broker, folder), Compactors(folder)
    try:
        yield make(Ledger(broker, name), workers, compactors, folder / "lake")
    finally:
        workers.close()
        compactors.close()
        broker.delete_topic(name)


@pytest.fixture
def compactors(tmp_path: Path) -> Iterator[Compactors]:
    """Starts compactions; all of them have ended after the test."""
    folder = tmp_path / "compactors"
    folder.mkdir()
    started = Compactors(folder)
    yield started
    started.close()
