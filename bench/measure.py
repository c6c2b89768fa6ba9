"""Run commands beside each other and say what they took: wall time, CPU, peak memory, children included."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

PLAYLAKE = [sys.executable, "-m", "playlake"]
_ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Run:
    """One process that ended well.

    Attributes:
        seconds: from its start to its end.
        cpu_s: user and system, of it and the children it waited for.
        peak_bytes: most resident memory of the process.
        said: its standard output.
    """

    seconds: float
    cpu_s: float
    peak_bytes: int
    said: str


def run_all(commands: list[list[str]]) -> list[Run]:
    """Start commands at once, wait for all of them.

    Raises:
        SystemExit: one failed; its last words are in the message.
    """
    started = time.monotonic()
    with contextlib.ExitStack() as files:
        running = []
        for command in commands:
            out = files.enter_context(tempfile.TemporaryFile("w+"))
            log = files.enter_context(tempfile.TemporaryFile("w+"))
            running.append((command, subprocess.Popen(command, stdout=out, stderr=log, cwd=_ROOT), out, log))
        runs = []
        for command, process, out, log in running:
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            out.seek(0)
            log.seek(0)
            if process.returncode:
                raise SystemExit(f"{' '.join(command)} failed with {process.returncode}: {log.read()[-2000:]}")
            cpu_s = usage.ru_utime + usage.ru_stime
            runs.append(Run(time.monotonic() - started, cpu_s, usage.ru_maxrss * 1024, out.read()))
    return runs


def run(*command: str) -> Run:
    """Run one command to its end; see `run_all`."""
    [only] = run_all([list(command)])
    return only
