"""promtool, which comes with Prometheus: from the PATH or out of Prometheus's image."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

IMAGE = "prom/prometheus:v3.5.0"


def promtool(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run promtool in a folder, which is all that it needs to see.

    Raises:
        AssertionError: there is none; the message says what to do.
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
    assert _has_image(), "alerts need promtool: tools/promtool installs it, or start Docker and pull " + IMAGE
    where = ["--volume", f"{folder}:/work:ro", "--workdir", "/work", "--network", "none"]
    return ["docker", "run", "--rm", *where, "--entrypoint", "promtool", IMAGE]


def _has_image() -> bool:
    try:
        return subprocess.run(["docker", "image", "inspect", IMAGE], capture_output=True, timeout=10).returncode == 0
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return False
