"""Jars through Maven into a cache: fetched once, also when several runs ask; a fetch that broke off leaves nothing.

libs = maven.dependencies("kafka-4.1.0", Path("pom.xml"), print)              # jars of a pom, for `java -cp 'libs/*'`
folder = maven.archive("apicurio-3.0.9", "group:name:version:tar.gz:all", print)   # what an archive holds
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

from tests.cache import cache, made_once

_TIMEOUT_S = 900


class NoJars(Exception):
    """There is no Java or no Maven here, or Maven failed; says which, and what to do."""


def dependencies(name: str, pom: Path, say: Callable[[str], None]) -> Path:
    """Return the folder of the jars that a pom names, and of those that these need to run.

    Args:
        name: what they are, with the version: the folder's name in the cache. A changed pom is fetched anew.
        pom: with the dependencies.
        say: is told, in one line, that it takes time.

    Raises:
        NoJars: they can't be had.
    """

    def fetch(folder: Path) -> None:
        goal = ["dependency:copy-dependencies", f"-DoutputDirectory={folder}", "-DincludeScope=runtime"]
        _maven(name, ["-f", str(pom), *goal], folder)

    return _cached(name, pom.read_bytes(), fetch, say)


def archive(name: str, artifact: str, say: Callable[[str], None]) -> Path:
    """Return the folder with what a `.tar.gz` holds (`group:name:version:tar.gz:classifier`); as `dependencies`."""

    def fetch(folder: Path) -> None:
        _maven(name, ["dependency:copy", f"-Dartifact={artifact}", f"-DoutputDirectory={folder}"], folder)
        (packed,) = folder.glob("*.tar.gz")
        with tarfile.open(packed) as found:
            found.extractall(folder, filter="data")
        packed.unlink()

    return _cached(name, artifact.encode(), fetch, say)


def _cached(name: str, wanted: bytes, fetch: Callable[[Path], None], say: Callable[[str], None]) -> Path:
    for program in ("java", "mvn"):
        if shutil.which(program) is None:
            raise NoJars(f"there is no `{program}` on the PATH: install Java 17+ and Maven")
    folder = cache(name) / hashlib.sha256(wanted).hexdigest()[:8]
    return made_once(folder, fetch, lambda: say(f"fetching {name} through Maven into {folder} (once)"))


def _maven(name: str, words: list[str], folder: Path) -> None:
    try:
        done = subprocess.run(
            ["mvn", "-q", "-B", "-ntp", *words],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        raise NoJars(f"Maven did not fetch {name} within {_TIMEOUT_S} s") from None
    if done.returncode != 0:
        lines = [line for line in done.stdout.splitlines() if line.startswith("[ERROR]")]
        raise NoJars(f"Maven could not fetch {name}: {(lines or ['no reason given'])[0][:400]}")
