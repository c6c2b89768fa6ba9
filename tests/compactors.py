"""Compactions as processes of their own, as a person would start them: `playlake compact …`.

compactor = compactors.start(lake, fault="before repair=stop")
compactor.until(lambda: compactor.is_stopped, "it stopped")
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

from sink.faults import VARIABLE
from tests.workers import Running


class Compactor(Running):
    """One `playlake compact`."""

    def runs_for(self, seconds: float) -> bool:
        """Give it some time; return whether it still runs then."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return True
        return False

    def succeeds(self) -> None:
        """Wait for its end, which must be a good one."""
        assert 0 == self.exit_code(), self.log


class Compactors:
    """Starts compactions, and ends those still running when the test is over."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._started: list[Compactor] = []

    def start(
        self, lake: Path | str, *flags: str, fault: str | None = None, env: Mapping[str, str] | None = None
    ) -> Compactor:
        """Start one; `fault` as in `sink.faults`."""
        name = f"compactor-{len(self._started) + 1}"
        variables = {**(env or {}), **({VARIABLE: fault} if fault else {})}
        compactor = Compactor(name, ["compact", "--lake", str(lake), "--json", *flags], self._folder, variables)
        self._started.append(compactor)
        return compactor

    def run(self, lake: Path | str, env: Mapping[str, str] | None = None) -> Compactor:
        """Run one to its end, which must be a good one."""
        compactor = self.start(lake, env=env)
        compactor.succeeds()
        return compactor

    def close(self) -> None:
        """End what still runs and print every log: pytest shows them where the test failed."""
        for compactor in self._started:
            compactor.kill()
            print(f"---- {compactor.name}\n{compactor.log}")
