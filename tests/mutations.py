"""The product broken in named ways, one at a time: for each, a fault test must fail. `make mutations`, or:

    python -m tests.mutations [--check] [--jobs 2] [NAME…]

Each mutation is a small replacement in a copy of the source tree; the tree itself is never touched. Exit code 1 says
that a mutation's text is no longer in the source, that the tests fail without any mutation, or that they let a mutant
pass. `--check` only looks whether every mutation still applies.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests import broker as brokers
from tests.mutants import MUTATIONS, Mutation

ROOT = Path(__file__).parent.parent
_TIMEOUT_S = 1200


@dataclass(frozen=True)
class Outcome:
    """How the tests of one mutant ended.

    Attributes:
        name: of the mutation.
        failed: tests that failed, as pytest names them.
        seconds: how long they ran.
        trouble: why this proves nothing (they did not run, or broke before they tested); empty if it does.
        output: pytest's.
    """

    name: str
    failed: tuple[str, ...]
    seconds: float
    trouble: str
    output: str

    @property
    def is_killed(self) -> bool:
        """Whether a test failed that should."""
        return bool(self.failed) and not self.trouble


def stale(mutations: Iterable[Mutation], root: Path = ROOT) -> list[str]:
    """Say which mutations no longer apply to the source, and why."""
    found = []
    for mutation in mutations:
        try:
            for path, text in mutation.apply(root).items():
                compile(text, path, "exec")
        except (OSError, ValueError, SyntaxError) as error:
            found.append(f"{mutation.name}: {error}")
    return found


def run(mutation: Mutation | None, tests: Sequence[str], jobs: int = 0) -> Outcome:
    """Run tests, in `jobs` more processes, on a copy of the tree with one mutation, or with none."""
    name = mutation.name if mutation else "none"
    with tempfile.TemporaryDirectory(prefix="playlake-mutant-") as folder:
        copy = Path(folder) / "tree"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".*", "__pycache__", "*.egg-info"))
        for path, text in (mutation.apply(copy) if mutation else {}).items():
            (copy / path).write_text(text, encoding="utf-8")
        env = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
        _require_copy(copy, env)
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-x",
            "-p",
            "no:cacheprovider",
            "--tb=line",
            "--seed=0",
            f"-n{jobs}",
        ]
        started = time.monotonic()
        try:
            ended = subprocess.run(
                [*command, f"--basetemp={folder}/pytest", *tests],
                cwd=copy,
                env=env,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_TIMEOUT_S,
            )
        except subprocess.TimeoutExpired:
            return Outcome(name, (), time.monotonic() - started, f"no end within {_TIMEOUT_S} s", "")
        output = ended.stdout + ended.stderr
        failed = tuple(re.findall(r"^FAILED (\S+::\S+?(?:\[.*\])?)(?: - .*)?$", output, re.MULTILINE))
        trouble = "" if ended.returncode in (0, 1) and "\nERROR " not in output else _last_line(output)
        return Outcome(name, failed, time.monotonic() - started, trouble, output)


def _require_copy(copy: Path, env: dict[str, str]) -> None:
    """Stop unless Python takes the product from the copy: else every mutant would be the product as it is."""
    asked = [sys.executable, "-c", "import sink.writer, compaction.rewrite; print(sink.writer.__file__)"]
    found = subprocess.run(asked, cwd=copy.parent, env=env, capture_output=True, text=True, check=True).stdout.strip()
    if not Path(found).is_relative_to(copy):
        raise RuntimeError(f"the copy's tests would test {found}")


def _last_line(output: str) -> str:
    lines = output.strip().splitlines()
    return lines[-1] if lines else "pytest said nothing"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutations", description=__doc__)
    parser.add_argument("names", nargs="*", help="only mutations whose names contain one of these")
    parser.add_argument("--check", action="store_true", help="only look whether every mutation still applies")
    parser.add_argument("--jobs", type=int, default=2, help="mutants tested at once")
    parser.add_argument("--verbose", action="store_true", help="print pytest's output of each mutant")
    wanted = parser.parse_args()
    chosen = [m for m in MUTATIONS if not wanted.names or any(part in m.name for part in wanted.names)]
    if problems := stale(MUTATIONS):
        print("\n".join(["mutations that no longer apply to the source:", *problems]), file=sys.stderr)
        return 1
    if wanted.check:
        print(f"{len(MUTATIONS)} mutations apply")
        return 0
    broker = brokers.find(lambda line: print(line, file=sys.stderr))
    os.environ[brokers.BOOTSTRAP_VARIABLE] = broker.bootstrap
    try:
        return _run_all(chosen, wanted.jobs, wanted.verbose)
    finally:
        broker.close()


def _run_all(mutations: Sequence[Mutation], jobs: int, is_verbose: bool) -> int:
    whole = run(None, sorted({test for mutation in mutations for test in mutation.tests}), jobs)
    if whole.failed or whole.trouble:
        print(f"the tests fail without any mutation:\n{whole.output}", file=sys.stderr)
        return 1
    print(f"without any mutation: {_last_line(whole.output)}", flush=True)
    width = max(len(mutation.name) for mutation in mutations)
    is_good = True
    with ThreadPoolExecutor(jobs) as pool:
        for outcome in pool.map(lambda mutation: run(mutation, mutation.tests), mutations):
            verdict = outcome.failed[0] if outcome.is_killed else outcome.trouble or "SURVIVED"
            print(f"{outcome.name:<{width}}  {outcome.seconds:5.0f} s  {verdict}", flush=True)
            if is_verbose or not outcome.is_killed:
                print(outcome.output, flush=True)
            is_good = is_good and outcome.is_killed
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
