"""What README and docs/setup.md tell a reader to type, typed: each command in its order, in a folder of its own.

A command runs as it is written, but for what `_Folder.here` changes: addresses, sizes, and what would never end.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from tests import plain_folders
from tests.broker import Broker
from tests.deploy.test_stack import compose
from tests.registry import Apicurio
from tests.shell_blocks import Command, commands
from tests.workers import clean_environment, playlake

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
DOCUMENTS = [README, ROOT / "docs/setup.md"]
FOREIGN = {"aws", "systemctl", "kubectl", "terraform", "docker", "useradd"}
"""Programs that a command may call only under a **Needs …**."""


class _Folder:
    """A reader's folder: playlake on the path, as in a clone after `make demo`, and what they have of their own."""

    def __init__(self, place: Path, addresses: dict[str, str]) -> None:
        self._place = place
        self._addresses = addresses
        environment = Path(sys.executable).parent.parent
        (place / ".venv").symlink_to(environment)
        (place / "rules.toml").write_bytes((ROOT / "stream_app/rules.toml").read_bytes())
        rows = plain_folders.table(payload=pa.array(["{}", "{}"]))
        plain_folders.put(place, "events/event_date=2026-11-20/part-0.parquet", rows)
        path = f"{environment / 'bin'}{os.pathsep}{os.environ['PATH']}"
        self._environment = clean_environment({"PATH": path})

    def here(self, text: str) -> str:
        """A command with this machine's addresses, small numbers, and an end."""
        for told, real in self._addresses.items():
            text = text.replace(told, real)
        text = text.replace("make demo", "playlake demo --events 3000 --lake demo-lake")
        text = re.sub(r"\bmake (\w+)", rf"make --dry-run --directory '{ROOT}' \1", text)
        text = re.sub(r"^\.ci/run\b.*", f"test -x '{ROOT}/.ci/run'", text)
        text = re.sub(r"--events \d+", "--events 3000", text)
        text = re.sub(r" --every \w+", "", text)
        text = re.sub(r"--undo [\w-]+", lambda _: f"--undo {self._asked('max(repair_id) from silver')}", text)
        if "--from bronze" in text:
            text = re.sub(r"--date [\d-]+", lambda _: f"--date {self._asked('max(ingest_date) from bronze')}", text)
        if re.match(r"\S*playlake stream ", text) and "--until-caught-up" not in text:
            text += " --until-caught-up"
        return text

    def run(self, script: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-euc", script],
            cwd=self._place,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )

    def _asked(self, what: str) -> str:
        """One value of the reader's lake."""
        done = playlake("query", "--lake", "lake", f"select {what}", "--format", "csv", cwd=self._place)
        return done.stdout.split()[1]


@pytest.mark.broker
@pytest.mark.timeout(600)
@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_of_a_document_does_what_it_is_there_for(
    document: Path, tmp_path: Path, stoppable_broker: Broker, registry: Apicurio
) -> None:
    folder = _Folder(
        tmp_path,
        {
            "kafka://localhost:9092": stoppable_broker.url,
            "http://localhost:8081": registry.url,
            "s3://bucket/events": "./events",
        },
    )
    typed = [command for command in commands(document) if command.needs is None]
    assert len(typed) >= 8
    variables = ""
    for command in typed:
        if re.match(r"\w+=", command.text):
            variables += f"{folder.here(command.text)}\n"
            continue
        script = folder.here(command.text)
        done = folder.run(variables + script)
        assert 0 == done.returncode, f"{command.where}: {command.text}\nrun as: {script}\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize(
    "command",
    [command for document in DOCUMENTS for command in commands(document)],
    ids=lambda command: command.where,
)
def test_a_reader_is_told_what_a_command_needs(command: Command) -> None:
    program = Path(command.text.split()[0]).name
    assert command.needs or program not in FOREIGN
    if command.text.startswith("docker compose"):
        assert command.needs == "Docker"
        services = compose("docker-compose.yml")["services"].keys()
        named = re.findall(r" (?:run --rm|exec|logs|stop) ([a-z]+)", command.text)
        assert set(named) <= services
