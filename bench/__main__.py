"""Time the producer and the worker against the tuned loop: interleaved, in one run, as ratios.

usage: python -m bench [--events 1000000] [--rounds 3] [--output FILE]

A broker is found as the tests find one. Every figure is of a whole process, start-up included, except `stream`'s own
events/s, which counts from its first batch to its last flush.
"""

import argparse
import contextlib
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

from tests import broker as brokers


def run(name: str, command: list[str], events: int) -> dict[str, float | str]:
    """Run a command to its end and return what it took, its children included."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    output, errors = process.communicate()
    seconds = time.monotonic() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if process.returncode:
        raise SystemExit(f"{name} failed: {errors[-2000:]}")
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "name": name,
        "events_per_s": round(events / seconds),
        "cpu_s_per_million": round(cpu_s * 1e6 / events, 2),
        "seconds": round(seconds, 2),
        "said": output.strip().splitlines()[-1] if output.strip() else "",
    }


def measure(bootstrap: str, events: int, rounds: int, folder: Path) -> list[dict]:
    """Produce once a round into a fresh topic, then let each subject read it, in turn."""
    results = []
    url = f"kafka://{bootstrap}"
    playlake = [sys.executable, "-m", "playlake"]
    for number in range(rounds):
        topic, name = f"bench-{uuid.uuid4().hex[:8]}", uuid.uuid4().hex[:8]
        produce = [*playlake, "produce", "--broker", url, "--topic", topic, "--events", str(events), "--dirty", "0.01"]
        lake, loop = str(folder / f"lake-{number}"), str(folder / f"loop-{number}")
        stream = [*playlake, "stream", "--broker", url, "--topic", topic, "--lake", lake, "--group", name]
        subjects = {
            "produce": produce,
            "loop": [sys.executable, "-m", "bench.afternoon_loop", bootstrap, topic, str(events), loop],
            "stream": [*stream, "--until-caught-up", "--json"],
        }
        for subject, command in subjects.items():
            result = {**run(subject, command, events), "round": number}
            if subject == "stream":
                result["worker_events_per_s"] = round(events / json.loads(str(result["said"]))["seconds"])
            print(f"  {subject:<8} {result['events_per_s']:>9,} events/s  {result['cpu_s_per_million']:>6} CPU-s/M")
            results.append(result)
        for done in (lake, loop):
            shutil.rmtree(done, ignore_errors=True)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    with contextlib.closing(brokers.find()) as broker, tempfile.TemporaryDirectory() as folder:
        results = measure(broker.bootstrap, arguments.events, arguments.rounds, Path(folder))
    rates = {name: [r["events_per_s"] for r in results if r["name"] == name] for name in ("produce", "loop", "stream")}
    cpu = {name: [r["cpu_s_per_million"] for r in results if r["name"] == name] for name in rates}
    ratio = statistics.median(s / b for s, b in zip(rates["stream"], rates["loop"], strict=True))
    cost = statistics.median(s / b for s, b in zip(cpu["stream"], cpu["loop"], strict=True))
    print(f"stream against the loop, median of {arguments.rounds}: {ratio:.2f} x its rate, {cost:.2f} x its CPU")
    if arguments.output is not None:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        report = {"commit": commit, "cores": os.cpu_count(), "rate_ratio": ratio, "cpu_ratio": cost, "runs": results}
        arguments.output.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
