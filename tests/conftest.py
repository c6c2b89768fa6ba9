"""Fixtures for every test: a real broker, a fresh topic, an S3 API."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from tests import broker as brokers
from tests import kinesis as kinesis_apis
from tests import maven, spark, trino
from tests import registry as registries
from tests import s3 as s3_servers

MakeTopic = Callable[..., str]


def _say(config: pytest.Config) -> Callable[[str], None]:
    """Return a print that is seen at once, also where pytest captures output."""
    capture: Any = config.pluginmanager.getplugin("capturemanager")

    def say(line: str) -> None:
        with capture.global_and_fixture_disabled() if capture else contextlib.nullcontext():
            print(f"\n[playlake] {line}", flush=True)

    return say


def pytest_addoption(parser: pytest.Parser) -> None:
    """Which seeds the fault suite runs (tests/fault), and whether what takes minutes runs at all."""
    parser.addoption("--seeds", type=int, default=1, help="fault suite: run seeds 0 to this less 1")
    parser.addoption("--seed", type=int, default=None, help="fault suite: run this seed alone")
    parser.addoption("--rotate", action="store_true", help="fault suite: of each fault one variant a seed, in turn")
    parser.addoption("--long", action="store_true", help="run tests of the mark long_run, too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without `--long`, leave out what takes minutes (mark `long_run`)."""
    if not config.getoption("long"):
        leave_out(config, items, lambda item: item.get_closest_marker("long_run") is not None)


def leave_out(config: pytest.Config, items: list[pytest.Item], is_left_out: Callable[[pytest.Item], bool]) -> None:
    """Take tests out of those collected, and have pytest count them."""
    config.hook.pytest_deselected(items=[item for item in items if is_left_out(item)])
    items[:] = [item for item in items if not is_left_out(item)]


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """With `-n 4` (pytest-xdist), start one broker and build the S3 API before the processes that share them."""
    is_shared = bool(getattr(session.config.option, "tx", None)) and not hasattr(session.config, "workerinput")
    if not is_shared or session.config.option.collectonly:
        return
    found = _find(session.config)
    if isinstance(found, brokers.Broker):
        os.environ[brokers.BOOTSTRAP_VARIABLE] = found.bootstrap
    os.environ[s3_servers.KIND_VARIABLE] = s3_servers.prepare(_say(session.config))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Fetch what the tests need before the first of them, so that it is not on any test's clock."""
    if session.config.option.collectonly:
        return
    needed = {name for item in session.items for name in getattr(item, "fixturenames", ())}
    if "broker" in needed:
        _find(session.config)
    if {"registry", "registry_to_start"} & needed:
        with contextlib.suppress(maven.NoJars):  # the fixture tells why
            registries.prepare(_say(session.config))
    if "trino_parser" in needed:
        with contextlib.suppress(maven.NoJars):
            trino.prepare(_say(session.config))
    if "spark_options" in needed:
        with contextlib.suppress(maven.NoJars):
            spark.prepare(_say(session.config))
    if "kinesis" in needed:
        with contextlib.suppress(kinesis_apis.NoKinesis):  # the fixture tells why
            kinesis_apis.prepare(_say(session.config))
    if {"s3", "store"} & needed:
        os.environ[s3_servers.KIND_VARIABLE] = s3_servers.prepare(_say(session.config))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run in which something was skipped, where nothing may be (the project's own CI)."""
    reporter: Any = session.config.pluginmanager.getplugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []
    if skipped and os.environ.get("PLAYLAKE_NO_SKIPS") == "1" and session.exitstatus == pytest.ExitCode.OK:
        _say(session.config)(f"{len(skipped)} tests were skipped, and PLAYLAKE_NO_SKIPS=1 allows none")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_unconfigure(config: pytest.Config) -> None:
    """End the session's broker, if there is one and it is ours."""
    found = config.stash.get(_BROKER, None)
    if isinstance(found, brokers.Broker):
        found.close()


_BROKER = pytest.StashKey[brokers.Broker | brokers.NoBroker]()


def _find(config: pytest.Config) -> brokers.Broker | brokers.NoBroker:
    if _BROKER not in config.stash:
        try:
            config.stash[_BROKER] = brokers.find(_say(config))
        except brokers.NoBroker as error:
            config.stash[_BROKER] = error
    return config.stash[_BROKER]


@pytest.fixture(scope="session")
def broker(pytestconfig: pytest.Config) -> brokers.Broker:
    """A real Apache Kafka (`.bootstrap`, `.url`). Without one the test fails and says what to do; it never skips."""
    found = _find(pytestconfig)
    if isinstance(found, brokers.NoBroker):
        pytest.fail(str(found), pytrace=False)
    return found


@pytest.fixture
def registry_to_start(pytestconfig: pytest.Config) -> Iterator[registries.Apicurio]:
    """A schema registry that has an address (`.url`) but does not run before `start`."""
    try:
        own = registries.Apicurio(registries.prepare(_say(pytestconfig)))
    except maven.NoJars as error:
        pytest.fail(str(error), pytrace=False)
    yield own
    own.close()


@pytest.fixture
def registry(registry_to_start: registries.Apicurio) -> registries.Apicurio:
    """A real schema registry, empty. About 10 s to start."""
    registry_to_start.start()
    return registry_to_start


@pytest.fixture(scope="session")
def trino_parser(pytestconfig: pytest.Config) -> Callable[[Sequence[str]], list[str]]:
    """Trino's own parser: what it says of each statement, `ok` or what is wrong."""
    try:
        libs = trino.prepare(_say(pytestconfig))
    except maven.NoJars as error:
        pytest.fail(str(error), pytrace=False)
    return functools.partial(trino.parse, libs)


@pytest.fixture(scope="session")
def spark_options(pytestconfig: pytest.Config) -> dict[str, str]:
    """Settings of a small Spark that reads Delta tables."""
    try:
        libs = spark.prepare(_say(pytestconfig))
    except maven.NoJars as error:
        pytest.fail(str(error), pytrace=False)
    return spark.options(libs)


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[s3_servers.S3]:
    """An S3 API with one bucket, for all tests of a process: each writes below a prefix of its own."""
    server = s3_servers.start(tmp_path_factory.mktemp("s3"), os.environ[s3_servers.KIND_VARIABLE])
    yield server
    server.close()


@pytest.fixture(scope="session")
def kinesis(pytestconfig: pytest.Config) -> Iterator[kinesis_apis.Kinesalite]:
    """A Kinesis API for all tests of a process: each makes streams of its own. Without Node and npm the test fails."""
    try:
        own = kinesis_apis.Kinesalite(kinesis_apis.prepare(_say(pytestconfig)))
    except kinesis_apis.NoKinesis as error:
        pytest.fail(str(error), pytrace=False)
    yield own
    own.close()


@pytest.fixture
def topic(request: pytest.FixtureRequest, broker: brokers.Broker) -> Iterator[MakeTopic]:
    """`topic(partitions=1, config=None)` creates a topic under a name of its own and returns the name."""
    created: list[str] = []

    def make(partitions: int = 1, config: dict[str, str] | None = None) -> str:
        name = brokers.fresh_name(request.node.name)
        broker.create_topic(name, partitions, config)
        created.append(name)
        return name

    yield make
    for name in created:
        broker.delete_topic(name)


@pytest.fixture
def stoppable_broker(request: pytest.FixtureRequest) -> Iterator[brokers.Broker]:
    """A broker of this test's own, for `stop(kill=…)` and `start()`. About 4 s to start."""
    try:
        own = brokers.start(_say(request.config))
    except brokers.NoBroker as error:
        pytest.fail(str(error), pytrace=False)
    yield own
    own.close()
