"""A Docker engine with the images that the compose stack is made of.

Where no engine answers, or it neither has the images nor can pull them, CONTAINER_LAB names a program that starts an
engine and makes stand-ins: `$CONTAINER_LAB up`, and `$CONTAINER_LAB down` at the end.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LAB = "CONTAINER_LAB"
_CACHE_KEPT = "8GB"
"""Of what builds leave behind: a few of them, so that the next one takes a minute."""


class NoEngine(Exception):
    """There is no engine with these images; `str(error)` says why, and what to do."""


class Refused(Exception):
    """`docker` did not do what it was told; `str(error)` says why."""


@contextmanager
def engine(keep: bool = False) -> Iterator[None]:
    """An engine that has every image, for as long as the block lasts; one that ran before goes on afterwards.

    Args:
        keep: leave it running in any case.

    Raises:
        NoEngine: there is none.
    """
    ran_before = _answers()
    trouble = _missing()
    if trouble is None:
        yield
        return
    lab = _lab(trouble)
    print(f"{trouble}\nmaking stand-ins with {lab} (a quarter of an hour the first time)", flush=True)
    with tempfile.TemporaryDirectory(prefix="container-lab-") as folder:
        # A copy that is ours to write to: modes of its files end up in the images.
        program = Path(shutil.copytree(lab.parent, Path(folder) / "lab")) / lab.name
        for path in (program.parent, *program.parent.rglob("*")):
            path.chmod(path.stat().st_mode | 0o200)
        try:
            if subprocess.run([str(program), "up"], stdin=subprocess.DEVNULL).returncode != 0:
                raise NoEngine(f"{lab} up failed: its output is above")
            trouble = _missing()
            if trouble is not None:
                raise NoEngine(trouble)
            yield
        finally:
            if not (ran_before or keep):
                # an engine of the lab's own: no other project's cache is in it
                _quietly("docker", "builder", "prune", "--force", "--keep-storage", _CACHE_KEPT)
                subprocess.run([str(program), "down"], stdin=subprocess.DEVNULL)


def _quietly(*command: str) -> None:
    subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def docker(*arguments: str) -> str:
    """Run `docker …`; what it prints.

    Raises:
        Refused: it failed.
    """
    done = subprocess.run(["docker", *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        raise Refused(f"docker {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def remove_superseded_images() -> None:
    """Remove builds of playlake that a later one took the name of; nothing else."""
    docker("image", "prune", "--force", "--filter", "label=org.opencontainers.image.title=playlake")


def _answers() -> bool:
    try:
        docker("info")
    except (FileNotFoundError, Refused):
        return False
    return True


def _missing() -> str | None:
    """Return why the stack can't be started, after trying to pull what is missing; None when it can."""
    try:
        docker("info")
        for image in _base_images():
            if not docker("images", "--quiet", image).strip():
                docker("pull", "--quiet", image)
    except FileNotFoundError:
        return "there is no docker command"
    except Refused as error:
        return str(error)
    return None


def _base_images() -> list[str]:
    """The images of others that the stack is made of."""
    found = docker("compose", "--file", str(ROOT / "docker-compose.yml"), "config", "--images").split()
    base = next(
        line.removeprefix("ARG BASE=")
        for line in (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
        if line.startswith("ARG BASE=")
    )
    return [base, *(image for image in sorted(set(found)) if not image.startswith("playlake"))]


def _lab(trouble: str) -> Path:
    name = os.environ.get(LAB)
    if not name:
        raise NoEngine(f"{trouble}\nstart Docker, with a registry it can pull from, or name a lab with {LAB}")
    if not Path(name).is_file():
        raise NoEngine(f"{trouble}\nand {LAB}={name} is not there")
    return Path(name)
