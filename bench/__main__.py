"""Measure: two things side by side in one run, as ratios, with the absolute figures for the record.

usage: python -m bench [throughput | freshness | growth | compaction | formats | startup | pages …] [--events N]

A broker is found as the tests find one.
"""

import argparse
import contextlib
import importlib
import json
import os
import subprocess
import tempfile
from pathlib import Path

from tests import broker as brokers

SUITES = ("throughput", "freshness", "startup", "growth", "compaction", "formats", "pages")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__.splitlines()[0])
    parser.add_argument("suite", nargs="*", choices=SUITES, default=["throughput"], help="default: throughput")
    parser.add_argument("--events", type=int, default=2_000_000, help="events a topic (default: 2,000,000)")
    parser.add_argument("--rounds", type=int, default=3, help="how often (default: 3)")
    parser.add_argument("--output", type=Path, help="JSON with every figure and the commit")
    arguments = parser.parse_args()
    report: dict[str, object] = {"commit": _commit(), "cores": os.cpu_count()}
    with contextlib.closing(brokers.find()) as broker, tempfile.TemporaryDirectory(prefix="playlake-bench-") as folder:
        for name in arguments.suite:
            print(f"{name}:", flush=True)
            suite = importlib.import_module(f"bench.{name}")
            report[name] = suite.measure(broker.bootstrap, arguments.events, arguments.rounds, Path(folder))
    if arguments.output is not None:
        arguments.output.write_text(json.dumps(report, indent=2) + "\n")


def _commit() -> str:
    return subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    main()
