"""Trino's own parser, which knows the SQL of Athena's engine: Java, through Maven."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from tests import maven

_HERE = Path(__file__).parent
_TIMEOUT_S = 120


def prepare(say: Callable[[str], None]) -> Path:
    """Return the folder of the parser's jars, fetching them the first time (raises `maven.NoJars`)."""
    return maven.dependencies("trino-parser-435", _HERE / "pom.xml", say)


def parse(libs: Path, statements: Sequence[str]) -> list[str]:
    """What the parser says of each statement: `ok`, or what is wrong and where."""
    done = subprocess.run(
        ["java", "-XX:TieredStopAtLevel=1", "-cp", f"{libs}/*", str(_HERE / "Parse.java")],
        input="\0".join(statements),
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=True,
    )
    said = done.stdout.splitlines()
    assert len(statements) == len(said), done.stdout
    return said
