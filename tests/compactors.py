"""Compactions as processes of their own, as a person would start them: `playlake compact …`.

compactors.run_into("after dedupe@1", lake)
still = compactors.run_to_stop("before repair", lake)
still.go_on()
still.succeeds()
"""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

from sink.faults import VARIABLE
from tests.workers import Running


class Compactor(Running):
    """One `playlake compact`."""

    def go_on(self) -> None:
        """Wake it (SIGCONT)."""
        self.send(signal.SIGCONT)

    def runs_for(self, seconds: float) -> bool:
        """Give it some time; return whether it still runs then."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return True
        return False

    def succeeds(self) -> None:
        """Wait for its end, which must be a good one."""
        assert 0 == self.exit_code(300), self.log


class Compactors:
    """Starts compactions, and ends those still running when the test is over."""

    def __init__(self, folder: Path, env: Mapping[str, str] | None = None) -> None:
        """Give `env` for where the lakes are."""
        self._folder, self._env = folder, env or {}
        self._started: list[Compactor] = []

    def start(self, lake: Path | str, fault: str | None = None) -> Compactor:
        """Start one; `fault` as in `sink.faults`."""
        name = f"compactor-{len(self._started) + 1}"
        variables = {**self._env, **({VARIABLE: fault} if fault else {})}
        compactor = Compactor(name, ["compact", "--lake", str(lake), "--json"], self._folder, variables)
        self._started.append(compactor)
        return compactor

    def run(self, lake: Path | str) -> Compactor:
        """Run one to its end, which must be a good one."""
        compactor = self.start(lake)
        compactor.succeeds()
        return compactor

    def run_into(self, fault: str, lake: Path | str) -> None:
        """Run one that is killed at a fault point, which it must reach."""
        assert -signal.SIGKILL == self.start(lake, fault).exit_code()

    def run_to_stop(self, fault: str, lake: Path | str) -> Compactor:
        """Start one and wait until it stands still (SIGSTOP) at a fault point."""
        compactor = self.start(lake, f"{fault}=stop")
        compactor.until(lambda: compactor.is_stopped, f"it stopped at {fault}")
        return compactor

    def close(self) -> None:
        """End what still runs and print every log: pytest shows them where the test failed."""
        for compactor in self._started:
            compactor.kill()
            print(f"---- {compactor.name}\n{compactor.log}")
