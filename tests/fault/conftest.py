"""The fault suite: seeded and replayable.

`--seed 7` runs that seed alone, `--seeds 20` seeds 0 to 19; else seed 0. With `--rotate` a seed runs one variant of
each fault, the next seed the next one: 20 seeds of every fault in a third of the time. What has no seed is left out.
"""

from __future__ import annotations

import random
import uuid
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.broker import Broker, fresh_name
from tests.compactors import Compactors
from tests.conftest import leave_out
from tests.fault.promise import SHARDS
from tests.fault.viewed import PARTITIONS, Place, Viewed, make, on_disk, on_s3
from tests.kinesis import Kinesalite
from tests.kinesis.ledger import StreamLedger
from tests.ledger import Ledger
from tests.s3 import S3
from tests.s3.flaky import FlakyS3
from tests.workers import Workers, workers_of


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test that asks for `seed` with the seeds of the command line."""
    if "seed" in metafunc.fixturenames:
        only = metafunc.config.getoption("seed")
        seeds = range(metafunc.config.getoption("seeds")) if only is None else [only]
        metafunc.parametrize("seed", seeds, ids=[f"seed{seed}" for seed in seeds])
    if metafunc.definition.get_closest_marker("also_on_s3"):
        metafunc.parametrize("store", ["disk", "s3"], indirect=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without `--seed` or `--seeds`, leave out what marks keep for the long run (pyproject.toml explains them)."""
    if config.getoption("rotate"):
        turn = set(map(id, _in_turn(items)))
        leave_out(config, items, lambda item: id(item) not in turn)
    if config.getoption("seed") is not None or config.getoption("seeds") > 1:
        return
    leave_out(config, items, _is_of_the_long_run)


def _in_turn(items: list[pytest.Item]) -> Iterator[pytest.Item]:
    """Yield, for each fault and seed, the variant whose turn it is."""
    variants: dict[tuple[str, int], list[pytest.Item]] = defaultdict(list)
    for item in items:
        if "seed" in (parameters := _parameters(item)):
            variants[item.nodeid.partition("[")[0], parameters["seed"]].append(item)
    for (_, seed), alike in variants.items():
        yield alike[seed % len(alike)]


def _parameters(item: pytest.Item) -> dict[str, Any]:
    return getattr(getattr(item, "callspec", None), "params", {})


def _is_of_the_long_run(item: pytest.Item) -> bool:
    parameters = _parameters(item)
    marks = [item.get_closest_marker("short_run")]
    if parameters.get("store") == "s3":
        marks.append(item.get_closest_marker("also_on_s3"))
    return any(mark is not None and mark.args and not {*mark.args} & {*parameters.values()} for mark in marks)


@pytest.fixture
def dice(request: pytest.FixtureRequest, seed: int) -> random.Random:
    """Everything that a test leaves to chance: the same for the same test and seed."""
    return random.Random(f"{request.node.originalname}/{seed}")


@pytest.fixture
def store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> S3 | None:
    """The S3 API that this test's lake is on; None for a disk."""
    if getattr(request, "param", "disk") == "disk":
        return None
    s3: S3 = request.getfixturevalue("s3")
    for name, value in s3.env.items():
        monkeypatch.setenv(name, value)
    return s3


@pytest.fixture
def flaky(s3: S3, dice: random.Random) -> Iterator[FlakyS3]:
    """A network before that store for workers that a test sends through it, calm at first."""
    started = FlakyS3(s3, random.Random(dice.random()))
    yield started
    started.close()


@pytest.fixture
def lake(store: S3 | None, tmp_path: Path) -> Path | str:
    """Where a test's lake goes, as a folder or an S3 address; nothing is there yet."""
    return tmp_path / "lake" if store is None else f"s3://{store.bucket}/{uuid.uuid4().hex}/lake"


@pytest.fixture
def workers(broker: Broker, store: S3 | None, tmp_path: Path) -> Iterator[Workers]:
    """Starts workers against the shared broker; all of them have ended after the test."""
    with workers_of(broker, tmp_path, store.env if store else None) as started:
        yield started


@pytest.fixture
def stream_ledger(kinesis: Kinesalite) -> StreamLedger:
    """A Kinesis stream of four shards, and what it acknowledged."""
    return StreamLedger(kinesis, kinesis.create("fault", SHARDS))


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
def place(viewed: Viewed, store: S3 | None, tmp_path: Path) -> Place:
    """A copy of that lake."""
    return on_disk(viewed, tmp_path / "lake") if store is None else on_s3(viewed, store, tmp_path / "brought")


@pytest.fixture
def compactors(store: S3 | None, tmp_path: Path) -> Iterator[Compactors]:
    """Starts compactions; all of them have ended after the test."""
    folder = tmp_path / "compactors"
    folder.mkdir()
    started = Compactors(folder, store.env if store else None)
    yield started
    started.close()
