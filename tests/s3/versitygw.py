"""versitygw's binary: built once by Go into the tests' cache, whatever runs at the same time."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.cache import cache

VERSION = "1.8.0"
KIND_VARIABLE = "PLAYLAKE_TEST_S3"
"""`moto` has the tests use that one. pytest sets it for the processes that it starts: they need not try again."""

_MODULE = f"github.com/versity/versitygw/cmd/versitygw@v{VERSION}"
_BUILD_TIMEOUT_S = 900


def prepare(say: Callable[[str], None]) -> str:
    """Return which S3 API tests shall use, `versitygw` or `moto`, building the first where it can be.

    Two runs at once are safe: one builds, the other waits; a build that broke off leaves nothing that looks whole.

    Args:
        say: is told what takes time, and why moto stands in.
    """
    if os.environ.get(KIND_VARIABLE) == "moto":
        return "moto"
    path = binary()
    if path.exists():
        return "versitygw"
    go = shutil.which("go")
    if go is None:
        say(f"S3 tests use moto's server; for versitygw install Go 1.25+, or put its binary at {path}")
        return "moto"
    path.parent.mkdir(parents=True, exist_ok=True)
    with (path.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            say(f"building versitygw {VERSION}, an S3 API for tests, into {path.parent} (once, minutes)")
            trouble = _build(go, path)
            if trouble is not None:
                say(f"S3 tests use moto's server: versitygw could not be built: {trouble}")
                return "moto"
    return "versitygw"


def binary() -> Path:
    """Return where its binary is, or would be."""
    return cache(f"versitygw-{VERSION}") / "versitygw"


def _build(go: str, path: Path) -> str | None:
    """Build it; return why that failed, None when it didn't."""
    unfinished = Path(tempfile.mkdtemp(prefix="unfinished-", dir=path.parent))
    try:
        done = subprocess.run(
            ["nice", "-n", "10", go, "install", _MODULE],
            env={**os.environ, "GOBIN": str(unfinished)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_BUILD_TIMEOUT_S,
        )
        if done.returncode != 0:
            return (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        (unfinished / path.name).rename(path)
    except subprocess.TimeoutExpired:
        return f"not done within {_BUILD_TIMEOUT_S} s"
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return None
