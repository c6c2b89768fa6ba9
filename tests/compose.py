"""The compose stack, for real: up, verify, kill a worker, scale, verify again, down.

    python -m tests.compose            also `make compose-test`
    python -m tests.compose --keep     leaves it running, for a look around

Runs beside a stack of your own: another project name, free ports, volumes of its own that go with it. Where Docker does
not have the images and can't pull them, or no engine answers, CONTAINER_LAB names a program that makes stand-ins:
`$CONTAINER_LAB up`. Every wait polls a condition.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.broker.kafka import free_ports, fresh_name

ROOT = Path(__file__).resolve().parent.parent
SERVICES = {"kafka": 1, "s3": 1, "producer": 1, "worker": 2, "compactor": 1, "dashboard": 1, "prometheus": 1}
_POLL_S = 1.0
_PORTS = ("KAFKA_PORT", "S3_PORT", "DASHBOARD_PORT", "PROMETHEUS_PORT", "GRAFANA_PORT")


class Failed(Exception):
    """The stack does not do what it should; `str(error)` says what."""


class Stack:
    """One run of docker-compose.yml under a name of its own."""

    def __init__(self) -> None:
        self.name = fresh_name("compose-test").lower().replace("_", "-").replace(".", "-")
        ports = dict(zip(_PORTS, map(str, free_ports(len(_PORTS))), strict=True))
        self.dashboard, self.prometheus = (
            f"http://127.0.0.1:{ports[name]}" for name in ("DASHBOARD_PORT", "PROMETHEUS_PORT")
        )
        light = {"COMPACT_EVERY": "10s", "ALLOWED_LATENCY": "5s", "PRODUCER_RATE": "200"}
        self._env = {**os.environ, **ports, **light, "COMPOSE_PROJECT_NAME": self.name}

    def compose(self, *arguments: str, timeout_s: float = 600, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            ["docker", "compose", "--progress", "quiet", *arguments],
            cwd=ROOT,
            env=self._env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )
        if check and done.returncode != 0:
            raise Failed(f"docker compose {' '.join(arguments)}: exit code {done.returncode}\n{done.stderr[-3000:]}")
        return done

    def containers(self, *flags: str) -> list[dict[str, Any]]:
        """What `docker compose ps` tells of each container, running ones unless `--all`."""
        lines = self.compose("ps", "--format", "json", *flags).stdout.splitlines()
        return [json.loads(line) for line in lines]

    def ready(self, service: str) -> int:
        """How many containers of a service run and are healthy, or have no health check."""
        return sum(
            1
            for one in self.containers()
            if one["Service"] == service and one["State"] == "running" and one["Health"] in ("healthy", "")
        )

    def until(self, condition: Callable[[], bool], what: str, timeout_s: float = 240) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() >= deadline:
                raise Failed(f"not within {timeout_s:.0f} s: {what}")
            time.sleep(_POLL_S)

    def query(self, expression: str) -> list[float]:
        """The values that Prometheus answers."""
        place = f"{self.prometheus}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
        try:
            with urllib.request.urlopen(place, timeout=10) as answer:
                found = json.load(answer)
        except OSError as error:
            raise Failed(f"Prometheus does not take {expression!r}: {error}") from error
        return [float(sample["value"][1]) for sample in found["data"]["result"]]

    def verify(self) -> dict[str, Any]:
        """`docker compose run --rm verify`, which must find that the promise holds."""
        done = self.compose("run", "--rm", "verify", "verify", "--memory", "512MiB", "--json", check=False)
        if done.returncode != 0:
            raise Failed(f"verify: exit code {done.returncode}\n{done.stdout}\n{done.stderr}")
        verdict: dict[str, Any] = json.loads(done.stdout)
        return verdict


def run(stack: Stack) -> None:
    """Take the stack through it all, a line for each step with its time."""
    step("images built", lambda: stack.compose("build", timeout_s=1800))
    step("up", lambda: stack.compose("up", "--detach"))

    def all_ready() -> bool:
        return all(stack.ready(service) == count for service, count in SERVICES.items())

    step("every service healthy", lambda: stack.until(all_ready, f"healthy: {SERVICES}"))
    step("Prometheus sees two workers with fresh events", lambda: stack.until(lambda: fresh(stack, 2), "fresh events"))
    step("the dashboard answers", lambda: serves(stack.dashboard))
    step("the compaction job went through", lambda: stack.until(lambda: compacted(stack), "a compaction"))
    step("every panel of Grafana's dashboard has a query that Prometheus takes", lambda: panels(stack))
    first = step("verify", stack.verify)

    victim = next(one["Name"] for one in stack.containers() if one["Service"] == "worker")
    step(f"killed {victim}", lambda: docker("kill", "--signal", "KILL", victim))
    step("the other worker reads all Kafka partitions", lambda: stack.until(lambda: alone(stack) > 0, "one reads all"))
    taken_over = alone(stack)
    step("and writes them", lambda: stack.until(lambda: alone(stack) > taken_over, f"more than {taken_over:.0f} rows"))
    step("scaled to 4 workers", lambda: stack.compose("up", "--detach", "--scale", "worker=4", "--no-recreate"))
    step("4 workers healthy", lambda: stack.until(lambda: stack.ready("worker") == 4, "4 workers healthy"))
    step("each of the 4 reads a Kafka partition", lambda: stack.until(lambda: readers(stack) == 4, "4 readers"))
    step("Prometheus sees 4 workers with fresh events", lambda: stack.until(lambda: fresh(stack, 4), "fresh events"))
    second = step("verify", stack.verify)
    if positions(second) <= positions(first):
        raise Failed(f"nothing was written between the two verdicts: {positions(first)} and {positions(second)}")
    print(f"{positions(first):,} positions accounted for, then {positions(second):,}")


def positions(verdict: dict[str, Any]) -> int:
    return sum(source["done_positions"] for source in verdict["sources"])


def fresh(stack: Stack, workers: int) -> bool:
    """Whether Prometheus scrapes that many workers, and half of the events are queryable within 30 s."""
    up = stack.query('sum(up{job="playlake-worker"})')
    median = stack.query("histogram_quantile(0.5, sum by (le) (rate(playlake_freshness_seconds_bucket[1m])))")
    return up == [workers] and len(median) == 1 and 0 < median[0] < 30


def alone(stack: Stack) -> float:
    """Rows written to silver by the worker that reads all four Kafka partitions; 0 where none does."""
    reads_all = "count by (instance) (playlake_kafka_lag_records) == 4"
    return max(stack.query(f"playlake_silver_events_total and on (instance) ({reads_all})"), default=0.0)


def readers(stack: Stack) -> int:
    return len(stack.query("count by (instance) (playlake_kafka_lag_records and on (instance) up == 1)"))


def compacted(stack: Stack) -> bool:
    return max(stack.query("playlake_last_compaction_timestamp_seconds"), default=0.0) > 0


def panels(stack: Stack) -> None:
    """Ask Prometheus every query of the dashboard; a mistake in one is an HTTP error."""
    dashboard = json.loads((ROOT / "deploy/grafana/dashboards/playlake.json").read_text(encoding="utf-8"))
    answers = [stack.query(target["expr"]) for panel in dashboard["panels"] for target in panel["targets"]]
    if sum(map(bool, answers)) < len(answers) / 2:
        raise Failed(f"only {sum(map(bool, answers))} of {len(answers)} queries have an answer")


def serves(address: str) -> None:
    with urllib.request.urlopen(address, timeout=20) as answer:
        if answer.status != 200 or not answer.read():
            raise Failed(f"{address} answers {answer.status}")


def step(what: str, action: Callable[[], Any]) -> Any:
    started = time.monotonic()
    result = action()
    print(f"{time.monotonic() - started:6.1f} s  {what}", flush=True)
    return result


def docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        raise Failed(f"docker {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


# ---------------------------------------------------------------- the engine and its images


def base_images() -> list[str]:
    """The images of others that the stack is made of."""
    found = docker("compose", "--file", str(ROOT / "docker-compose.yml"), "config", "--images").split()
    base = next(
        line.removeprefix("ARG BASE=")
        for line in (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
        if line.startswith("ARG BASE=")
    )
    return [base, *(image for image in sorted(set(found)) if not image.startswith("playlake"))]


def missing() -> str | None:
    """Return why the stack can't be started, after trying to pull what is missing; None when it can."""
    try:
        docker("info")
        for image in base_images():
            if not docker("images", "--quiet", image).strip():
                docker("pull", "--quiet", image)
    except FileNotFoundError:
        return "there is no docker command"
    except Failed as error:
        return str(error)
    return None


def make_stand_ins(program: Path) -> None:
    """Have stand-ins made by a copy of the program's folder, which is ours to write to: modes end up in the images."""
    with tempfile.TemporaryDirectory(prefix="container-lab-") as folder:
        copy = Path(shutil.copytree(program.parent, Path(folder) / "lab"))
        for path in (copy, *copy.rglob("*")):
            path.chmod(path.stat().st_mode | 0o200)
        done = subprocess.run([str(copy / program.name), "up"], stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise Failed(f"{program} up: exit code {done.returncode}")


def provide_images() -> None:
    trouble = missing()
    if trouble is None:
        return
    program = os.environ.get("CONTAINER_LAB")
    if program is None:
        raise Failed(f"{trouble}\nstart Docker, with a registry it can pull from, or name a lab with CONTAINER_LAB")
    if not Path(program).is_file():
        raise Failed(f"{trouble}\nand CONTAINER_LAB={program} is not there")
    print(f"{trouble}\nmaking stand-ins with {program} (minutes, once)", flush=True)
    make_stand_ins(Path(program))
    trouble = missing()
    if trouble is not None:
        raise Failed(trouble)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.compose", description="The compose stack, for real.")
    parser.add_argument("--keep", action="store_true", help="leave the stack running")
    options = parser.parse_args(arguments)
    try:
        provide_images()
    except Failed as error:
        print(f"compose test: {error}", file=sys.stderr)
        return 2
    stack = Stack()
    started = time.monotonic()
    try:
        run(stack)
    except (Failed, subprocess.TimeoutExpired, OSError) as error:
        print(stack.compose("ps", "--all", check=False).stdout, file=sys.stderr)
        print(stack.compose("logs", "--tail", "30", check=False).stdout, file=sys.stderr)
        print(f"compose test: {error}", file=sys.stderr)
        return 1
    finally:
        if options.keep:
            print(f"left running: docker compose --project-name {stack.name} down --volumes; {stack.prometheus}")
        else:
            stack.compose("down", "--volumes", "--timeout", "20", check=False)
    print(f"the compose stack keeps its promise: {time.monotonic() - started:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
