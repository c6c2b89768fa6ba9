"""Examples that run the compaction on a schedule: their own parsers take them, and their commands are playlake's."""

from __future__ import annotations

import ast
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from croniter import croniter

from playlake.cli import main
from playlake.verbs.stream import Settings

SCHEDULE = Path(__file__).resolve().parents[2] / "deploy/schedule"
UNITS = ("playlake-compact.service", "playlake-compact.timer", "playlake-stream@1.service")
FILES = ("crontab", "playlake-compact.service", "airflow_dag.py")


def cron_jobs() -> list[list[str]]:
    """Lines of `/etc/cron.d`: five fields of time, user, command."""
    lines = (SCHEDULE / "crontab").read_text().splitlines()
    return [line.split(None, 6) for line in lines if line and not re.match(r"#|\w+=", line)]


def commands(name: str) -> list[list[str]]:
    """The playlake commands that a file runs, without the program's own name."""
    if name == "crontab":
        texts = [job[6].split(">>")[0] for job in cron_jobs()]
    elif name.endswith(".service"):
        texts = re.findall(r"^ExecStart=(.*)$", (SCHEDULE / name).read_text(), re.M)
    else:
        calls = [node for node in ast.walk(ast.parse((SCHEDULE / name).read_text())) if isinstance(node, ast.keyword)]
        texts = [ast.literal_eval(node.value) for node in calls if node.arg == "bash_command"]
    return [re.split(r"(?:^|.*[ /])playlake ", text, maxsplit=1)[1].split() for text in texts]


def test_cron_takes_the_times() -> None:
    assert [True, True] == [croniter.is_valid(" ".join(job[:5])) for job in cron_jobs()]
    assert {"playlake"} == {job[5] for job in cron_jobs()}


def test_systemd_takes_the_units(tmp_path: Path) -> None:
    program = tmp_path / "playlake"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    for unit in UNITS:
        text = (SCHEDULE / unit.replace("@1", "@")).read_text().replace("/usr/local/bin/playlake", str(program))
        (tmp_path / unit).write_text(text)
    analyze = shutil.which("systemd-analyze")
    assert analyze, "this needs systemd-analyze, which comes with systemd"
    units = [str(tmp_path / unit) for unit in UNITS]
    done = subprocess.run([analyze, "verify", "--man=no", *units], capture_output=True, text=True, check=False)
    ours = [line for line in done.stderr.splitlines() if "playlake-" in line]
    assert (0, []) == (done.returncode, ours), done.stderr


def test_a_worker_s_unit_calls_stream_with_flags_that_it_knows() -> None:
    text = (SCHEDULE / "playlake-stream@.service").read_text()
    [words] = re.findall(r"^ExecStart=/usr/local/bin/playlake stream (.*)$", text, re.M)
    flags = {word.removeprefix("--").replace("-", "_") for word in words.split() if word.startswith("--")}
    assert flags <= Settings.model_fields.keys()
    variables = set(re.findall(r"PLAYLAKE_([A-Z_]+)", text))
    assert {name.lower() for name in variables} <= Settings.model_fields.keys()
    assert flags and variables


def test_airflow_s_file_is_python_with_one_dag_and_a_chain() -> None:
    tree = ast.parse((SCHEDULE / "airflow_dag.py").read_text())
    names = [node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    assert (1, 2) == (names.count("DAG"), names.count("BashOperator"))
    assert any(isinstance(node, ast.BinOp) and isinstance(node.op, ast.RShift) for node in ast.walk(tree))


@pytest.mark.parametrize("name", FILES)
def test_commands_are_taken_by_the_verbs(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = commands(name)
    assert found
    for command in found:
        text = " ".join(command)
        text = re.sub(r"s3://\S+|\"?\$PLAYLAKE_LAKE\"?|'\{\{.*?\}\}'", str(tmp_path / "nowhere"), text)
        arguments = shlex.split(text)
        if "--lake" not in arguments:
            arguments += ["--lake", str(tmp_path / "nowhere")]
        assert 2 == main([part for part in arguments if part != "--broker" and not part.startswith("kafka://")])
        assert "there is no lake at" in capsys.readouterr().err, "a flag that is wrong would be said instead"
