"""promtool, which comes with Prometheus: from the PATH, out of Prometheus's image, or built once by Go."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

IMAGE = "prom/prometheus:v3.5.0"
_MODULE = "github.com/prometheus/prometheus/cmd/promtool@v0.305.0"  # the module's number of Prometheus 3.5.0
_BUILD_TIMEOUT_S = 1800


def promtool(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run promtool in a folder, which is all that it needs to see.

    Raises:
        AssertionError: there is none, and none could be built; the message says what to do.
    """
    return subprocess.run(
        [*_command(folder), *arguments],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )


def _command(folder: Path) -> Sequence[str]:
    if found := shutil.which("promtool"):
        return [found]
    if _has_image():
        where = ["--volume", f"{folder}:/work:ro", "--workdir", "/work", "--network", "none"]
        return ["docker", "run", "--rm", *where, "--entrypoint", "promtool", IMAGE]
    return [str(_build())]


def _has_image() -> bool:
    try:
        return subprocess.run(["docker", "image", "inspect", IMAGE], capture_output=True, timeout=10).returncode == 0
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return False


def _build() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    path = cache / "playlake" / f"promtool-{_MODULE.rpartition('@')[2]}" / "promtool"
    if path.exists():
        return path
    go = shutil.which("go")
    assert go is not None, "alerts need promtool: install Prometheus or Go, or start Docker and pull " + IMAGE
    path.parent.mkdir(parents=True, exist_ok=True)
    with (path.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            with tempfile.TemporaryDirectory(dir=path.parent) as unfinished:
                done = subprocess.run(
                    ["nice", "-n", "10", go, "install", _MODULE],
                    env={**os.environ, "GOBIN": unfinished},
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    text=True,
                    timeout=_BUILD_TIMEOUT_S,
                )
                assert done.returncode == 0, f"promtool could not be built: {done.stderr[-2000:]}"
                Path(unfinished, "promtool").rename(path)
    return path
