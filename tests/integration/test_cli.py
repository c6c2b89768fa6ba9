"""Bad input: one line within ten seconds that names the thing and the remedy, exit code 2, nothing touched."""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from deltalake import DeltaTable

from playlake.cli import main
from sink.lake import Lake
from sink.writer import LakeWriter
from tests.broker import Broker, fresh_name
from tests.ledger import Ledger, events, rows_in
from tests.workers import Workers, playlake

MakeTopic = Callable[..., str]

NOBODY = "kafka://127.0.0.1:1"


def told(*arguments: str, cwd: Path) -> str:
    """Run a command that must be refused, in 7 s alone, 30 s beside other tests; return the one line that it says."""
    started = time.monotonic()
    done = playlake(*arguments, cwd=cwd)
    took = time.monotonic() - started
    assert (2, "") == (done.returncode, done.stdout), done.stderr
    assert took < 30, f"took {took:.1f} s: {done.stderr}"
    return the_line(arguments[0], done.stderr)


def the_line(verb: str, stderr: str) -> str:
    [line] = stderr.splitlines()
    assert line.startswith(f"playlake {verb}: "), line
    return line


ToldHere = Callable[..., str]


@pytest.fixture
def told_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[ToldHere]:
    """As `told`, in this process: a second faster, for what is refused before anything is opened."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("PLAYLAKE_")]:
        monkeypatch.delenv(name)
    root = logging.getLogger()
    handlers, root.handlers = root.handlers, []

    def run(*arguments: str, env: Mapping[str, str] | None = None) -> str:
        with monkeypatch.context() as variables:
            for name, value in (env or {}).items():
                variables.setenv(name, value)
            code = main(list(arguments))
        said = capsys.readouterr()
        assert (2, "") == (code, said.out), said.err
        return the_line(arguments[0], said.err)

    yield run
    root.handlers = handlers


def stream(lake: Path, *flags: str, broker: str = NOBODY, topic: str = "playback") -> tuple[str, ...]:
    return "stream", "--broker", broker, "--topic", topic, "--lake", str(lake), *flags


def listing(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file below a folder with its size and time."""
    found = {str(path.relative_to(folder)): path.stat() for path in sorted(folder.rglob("*"))}
    return {name: (stat.st_size, stat.st_mtime_ns) for name, stat in found.items()}


# ---------------------------------------------------------------- the world


@pytest.mark.parametrize(
    ("servers", "why"),
    [("127.0.0.1:1", "Connection refused"), ("no-such-host.invalid:9092", "Failed to resolve")],
    ids=["nobody listens", "no such host"],
)
def test_a_broker_that_does_not_answer(tmp_path: Path, lake: Path, servers: str, why: str) -> None:
    said = told(*stream(lake, broker=f"kafka://{servers}"), cwd=tmp_path)
    assert f"no answer from the broker {servers} (" in said
    assert why in said
    assert "is --broker right?" in said
    assert not lake.exists()


@pytest.mark.broker
def test_a_topic_that_is_not_there(broker: Broker, tmp_path: Path, lake: Path) -> None:
    name = fresh_name("never-made")
    said = told(*stream(lake, broker=broker.url, topic=name), cwd=tmp_path)
    assert f"has no topic '{name}'" in said
    assert f"kafka-topics.sh --create --topic {name} --partitions 4 --bootstrap-server {broker.bootstrap}" in said
    assert not lake.exists()
    assert name not in broker.admin().list_topics(timeout=10).topics


@pytest.mark.broker
def test_a_topic_that_is_not_there_yet_is_waited_for(broker: Broker, workers: Workers, lake: Path) -> None:
    name = fresh_name("made-later")
    worker = workers.start(name, lake, "--wait", "--until-caught-up")
    worker.wait_for(f"WARNING waiting: the broker .* has no topic '{name}'")
    broker.create_topic(name)
    try:
        assert 0 == worker.exit_code()
        assert 1 == len(worker.lines("waiting: ")), "said once"
    finally:
        broker.delete_topic(name)


@pytest.mark.parametrize("verb", ["verify", "status"])
def test_a_lake_that_is_not_there(tmp_path: Path, lake: Path, verb: str) -> None:
    said = told(verb, "--lake", str(lake), cwd=tmp_path)
    assert f"there is no lake at {lake}" in said
    assert "check --lake" in said
    assert not lake.exists()


@pytest.mark.broker
@pytest.mark.parametrize("table", ["bronze", "silver", "quarantine"])
def test_a_lake_of_another_format_is_not_touched(
    broker: Broker, topic: MakeTopic, told_here: ToldHere, tmp_path: Path, lake: Path, table: str
) -> None:
    LakeWriter(Lake.at(str(lake)))
    DeltaTable(f"{lake}/{table}/playback_events").alter.set_table_properties({"playlake.format": "99"}, False)
    before = listing(lake)
    said = told(*stream(lake, broker=broker.url, topic=topic()), cwd=tmp_path)
    assert f"{lake}/{table}/playback_events has lake format 99" in said
    assert before == listing(lake)
    for verb in ("verify", "status"):
        assert "has lake format 99" in told_here(verb, "--lake", str(lake))
    assert before == listing(lake)


@pytest.mark.broker
def test_a_lake_that_is_a_file(broker: Broker, topic: MakeTopic, tmp_path: Path, lake: Path) -> None:
    lake.write_text("not a folder")
    assert str(lake) in told(*stream(lake, broker=broker.url, topic=topic()), cwd=tmp_path)
    assert "not a folder" == lake.read_text()


# ---------------------------------------------------------------- files and flags


def test_a_catalogue_that_is_not_there(told_here: ToldHere, lake: Path) -> None:
    said = told_here(*stream(lake, "--catalogue", "nowhere.csv"))
    assert "the title catalogue nowhere.csv is not there: give a CSV with --catalogue" in said
    assert not lake.exists()


@pytest.mark.parametrize(
    ("content", "trouble"),
    [
        (b"show_id,title\ns1,A Title\n", "lacks the columns type, director"),
        (b"", "can't be read"),
        (b"\xff\xfe\x00", "can't be read|lacks the columns"),
        (b"show_id,type,title,director,country,release_year,rating,duration,listed_in\n", "holds no title"),
    ],
    ids=["without columns", "empty", "no text", "without a title"],
)
def test_a_catalogue_that_is_none(
    told_here: ToldHere, tmp_path: Path, lake: Path, content: bytes, trouble: str
) -> None:
    (tmp_path / "titles.csv").write_bytes(content)
    said = told_here(*stream(lake, "--catalogue", "titles.csv"))
    assert re.search(f"the title catalogue titles.csv .*({trouble})", said)
    assert not lake.exists()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--allowed-latency", "soon"], "--allowed-latency: 'soon' is no duration: write 500ms, 10s"),
        (["--allowed-latency", "0s"], "--allowed-latency: must be more than 0"),
        (["--flush-bytes", "many"], "--flush-bytes: 'many' is no size: write 128MB"),
        (["--broker", "localhost"], "--broker 'localhost' is no broker's address: write kafka://host:port"),
        (["--kafka-option", "nonsense"], "--kafka-option 'nonsense' is not of the form name=value"),
        (["--kafka-option", "no.such.option=1"], "(--kafka-option): No such configuration property"),
        (["--lake", ""], "the lake's address is empty"),
        (["--lake", "gs://bucket/lake"], "neither a folder nor s3://bucket/prefix"),
        (["--lake", "s3://"], "names no bucket"),
        (["--web-port", "eighty"], "--web-port"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_value_that_does_not_fit(told_here: ToldHere, lake: Path, flags: list[str], said: str) -> None:
    assert said in told_here(*stream(lake, *flags))
    assert not lake.exists()


def test_what_is_missing_is_named_with_all_ways_to_give_it(told_here: ToldHere) -> None:
    said = told_here("stream")
    for name in ("broker", "topic", "lake"):
        assert f"--{name} is needed (or the variable PLAYLAKE_{name.upper()}, or {name} in playlake.toml)" in said


def test_a_wrong_flag_gets_the_usage(tmp_path: Path, lake: Path) -> None:
    done = playlake(*stream(lake, "--allowed-lateness", "10s"), cwd=tmp_path)
    assert (2, "") == (done.returncode, done.stdout)
    assert "usage: playlake stream" in done.stderr
    assert "unrecognized arguments: --allowed-lateness" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_playlake_alone_lists_the_verbs(tmp_path: Path) -> None:
    done = playlake(cwd=tmp_path)
    assert 2 == done.returncode
    assert "usage: playlake VERB" in done.stdout
    assert "" == done.stderr


def test_a_verb_that_is_none(tmp_path: Path) -> None:
    done = playlake("nonsense", cwd=tmp_path)
    assert (2, "") == (done.returncode, done.stdout)
    assert ["playlake: there is no verb 'nonsense'; `playlake --help` lists them"] == done.stderr.splitlines()


# ---------------------------------------------------------------- where settings come from


def test_flags_win_over_variables_and_these_over_the_file(told_here: ToldHere, tmp_path: Path) -> None:
    (tmp_path / "playlake.toml").write_text('lake = "of-all"\n[status]\nlake = "of-the-file"\n')
    assert f"{tmp_path}/of-all " in told_here("verify")
    variable = {"PLAYLAKE_LAKE": "of-the-variable"}
    assert f"{tmp_path}/of-the-file " in told_here("status")
    assert f"{tmp_path}/of-the-variable " in told_here("status", env=variable)
    assert f"{tmp_path}/of-the-flag " in told_here("status", "--lake", "of-the-flag", env=variable)


def test_a_value_of_the_file_that_does_not_fit_is_named(told_here: ToldHere, tmp_path: Path, lake: Path) -> None:
    (tmp_path / "playlake.toml").write_text('[stream]\nallowed_latency = "soon"\n')
    assert "--allowed-latency: 'soon' is no duration" in told_here(*stream(lake))
    assert "--allowed-latency: 'later' is no duration" in told_here(
        *stream(lake), env={"PLAYLAKE_ALLOWED_LATENCY": "later"}
    )


def test_an_unknown_setting_of_the_verb_in_the_file_is_refused(told_here: ToldHere, tmp_path: Path, lake: Path) -> None:
    (tmp_path / "playlake.toml").write_text('[stream]\nallowed_lateness = "10s"\n')
    said = told_here(*stream(lake))
    assert "playlake.toml: [stream] has no setting 'allowed_lateness'; see `playlake stream --help`" in said


def test_a_file_that_is_no_toml_is_named(told_here: ToldHere, tmp_path: Path, lake: Path) -> None:
    (tmp_path / "playlake.toml").write_text("lake = \n")
    assert "the settings file playlake.toml can't be read" in told_here(*stream(lake))
    assert "the settings file gone.toml (PLAYLAKE_CONFIG) is not there" in told_here(
        *stream(lake), env={"PLAYLAKE_CONFIG": "gone.toml"}
    )


@pytest.mark.broker
def test_a_worker_is_started_by_its_file_alone(broker: Broker, topic: MakeTopic, tmp_path: Path) -> None:
    ledger = Ledger(broker, topic())
    ledger.send(events(100))
    (tmp_path / "playlake.toml").write_text(
        f'broker = "{broker.url}"\ntopic = "{ledger.topic}"\nlake = "lake"\n'
        f'[stream]\nuntil-caught-up = true\ngroup = "{fresh_name("group")}"\n'
    )
    done = playlake("stream", cwd=tmp_path)
    assert 0 == done.returncode, done.stderr
    assert done.stdout.startswith("100 events in ")
    assert 100 == rows_in(tmp_path / "lake", "bronze")
