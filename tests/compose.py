"""The compose stacks, for real: up, verify, look at the dashboard, kill a worker, scale, verify again, down.

    python -m tests.compose                        also `make compose-test`
    python -m tests.compose --keep                 leaves the full stack running, for a look around
    python -m tests.compose --screenshots FOLDER   keeps pictures of dashboard and Prometheus

Runs beside a stack of your own: another project name, free ports, volumes of its own that go with it. Every wait polls
a condition. The engine and its images: `tests/engine.py`.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from playwright.sync_api import Error as PlaywrightError
from playwright.sync_api import TimeoutError as PlaywrightTimeout

from tests.broker.kafka import free_ports, fresh_name
from tests.browser import chromium, metrics_now, open_page
from tests.engine import ROOT, NoEngine, Refused, docker, engine, remove_superseded_images
from tests.shell_blocks import commands

FULL = {"kafka": 1, "s3": 1, "producer": 1, "worker": 2, "compactor": 1, "dashboard": 1, "prometheus": 1}
KINESIS = ("kinesis", "kinesis-stream", "kinesis-producer", "kinesis-worker")
MINIMAL = {"kafka": 1, "producer": 1, "worker": 1, "compactor": 1}
_POLL_S = 1.0
_PORTS = ("KAFKA_PORT", "S3_PORT", "DASHBOARD_PORT", "PROMETHEUS_PORT", "GRAFANA_PORT")


class Failed(Exception):
    """The stack does not do what it should; `str(error)` says what."""


class Stack:
    """One run of a compose file under a name of its own."""

    def __init__(self, file: str, services: dict[str, int]) -> None:
        """Start nothing yet.

        Args:
            file: the compose file, from the repository's root.
            services: how many containers of each service there are to be.
        """
        self.file = file
        self.services = services
        self.name = fresh_name("compose-test").lower().replace("_", "-").replace(".", "-")
        ports = dict(zip(_PORTS, map(str, free_ports(len(_PORTS))), strict=True))
        self.dashboard, self.prometheus = (
            f"http://127.0.0.1:{ports[name]}" for name in ("DASHBOARD_PORT", "PROMETHEUS_PORT")
        )
        light = {"COMPACT_EVERY": "10s", "ALLOWED_LATENCY": "5s", "PRODUCER_RATE": "200"}
        self._env = {**os.environ, **ports, **light, "COMPOSE_PROJECT_NAME": self.name}

    def compose(self, *arguments: str, timeout_s: float = 600, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            ["docker", "compose", "--file", self.file, "--progress", "quiet", *arguments],
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

    def come_up(self) -> None:
        """Start it all, and tell for each service when it was first seen healthy."""
        self.compose("up", "--detach")
        started, waiting = time.monotonic(), dict(self.services)

        def all_ready() -> bool:
            for service in [name for name, count in waiting.items() if self.ready(name) == count]:
                print(f"{'':8}{service} healthy {time.monotonic() - started:.0f} s after `up`", flush=True)
                del waiting[service]
            return not waiting

        self.until(all_ready, f"healthy: {self.services}")

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

    def verify(self, service: str = "verify") -> dict[str, Any]:
        """`docker compose run --rm verify`, which must find that the promise holds."""
        done = self.compose("run", "--rm", "--no-deps", service, "verify", "--memory", "512MiB", "--json", check=False)
        if done.returncode != 0:
            raise Failed(f"{service}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}")
        verdict: dict[str, Any] = json.loads(done.stdout)
        return verdict


def run(stack: Stack, pictures: Path | None) -> None:
    """Take the full stack through it all, a line for each step with its time."""
    step("images built", lambda: stack.compose("--profile", "kinesis", "build", timeout_s=1800))
    for image in ("playlake:dev", "playlake-dashboard:dev"):
        size = docker("image", "inspect", "--format", "{{.Size}}", image)
        print(f"{'':8}{image}: {int(size) / 1e6:.0f} MB", flush=True)
    step("the image reads JSON by compiled code", has_compiled_parts)
    step("up, every service healthy", stack.come_up)
    step("Prometheus sees two workers with fresh events", lambda: stack.until(lambda: fresh(stack, 2), "fresh events"))
    step("the compaction job went through", lambda: stack.until(lambda: compacted(stack), "a compaction"))
    step("the dashboard shows events and plays", lambda: looked_at(stack, pictures))
    step("what docs/setup.md asks the stack is answered", lambda: asked_as_documented(stack))
    step("every panel of Grafana's dashboard has a query that Prometheus takes", lambda: panels(stack))
    first = step("verify", stack.verify)
    step("profile kinesis up, its worker healthy", lambda: kinesis_up(stack))
    step("its lake has events, and verify", lambda: stack.until(lambda: written(stack, "kinesis-verify"), "positions"))
    step("and down", lambda: stack.compose("rm", "--force", "--stop", *KINESIS))

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
    if pictures is not None:
        plotted(stack, pictures)
    if positions(second) <= positions(first):
        raise Failed(f"nothing was written between the two verdicts: {positions(first)} and {positions(second)}")
    print(f"{positions(first):,} positions accounted for, then {positions(second):,}")


def has_compiled_parts() -> None:
    """Where the image was built without a C compiler, it works, slower, and says nothing."""
    asked = "from stream_app.compiled import load; raise SystemExit(not (load('plain_json') and load('kafka_records')))"
    docker("run", "--rm", "--network", "none", "--entrypoint", "python", "playlake:dev", "-c", asked)


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


def asked_as_documented(stack: Stack) -> None:
    """Run the commands of docs/setup.md that are to be run in a container."""
    inside = [command.text for command in commands(ROOT / "docs/setup.md") if " exec " in command.text]
    for text in inside:
        stack.compose(*shlex.split(text.replace(" exec ", " exec -T "))[2:])
    if not inside:
        raise Failed("docs/setup.md asks the stack nothing")


def looked_at(stack: Stack, pictures: Path | None) -> None:
    """Open the dashboard as a person would, until it shows what comes in now, and what gold has made of it."""
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        for place, figure in (("", "Events a second"), ("titles-and-genres", "Plays")):

            def shows(place: str = place, figure: str = figure) -> bool:
                try:
                    open_page(page, f"{stack.dashboard}/{place}")
                except PlaywrightTimeout:  # a machine with much else to do
                    return False
                return any(digit in "123456789" for digit in metrics_now(page).get(figure, ""))

            stack.until(shows, f"{figure} on the dashboard's page /{place}", 600)
            if pictures is not None:
                page.screenshot(path=pictures / f"stack-dashboard-{place or 'now'}.png")


def plotted(stack: Stack, pictures: Path) -> None:
    """A picture of Prometheus' plot of each worker's rows."""
    expression = "sum by (instance) (rate(playlake_silver_events_total[1m]))"
    place = urllib.parse.urlencode({"g0.expr": expression, "g0.tab": "0", "g0.range_input": "10m"})
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(f"{stack.prometheus}/graph?{place}", wait_until="networkidle")
        page.screenshot(path=pictures / "stack-prometheus.png")


def kinesis_up(stack: Stack) -> None:
    """Start what the profile adds, beside the stack that runs."""
    stack.compose("--profile", "kinesis", "up", "--detach", "--no-recreate", *KINESIS)
    stack.until(lambda: stack.ready("kinesis-worker") == 1, "kinesis-worker healthy")


def written(stack: Stack, service: str = "verify") -> bool:
    """Whether a verdict is about something."""
    return positions(stack.verify(service)) > 0


def run_minimal(stack: Stack) -> None:
    """Take the minimal stack, whose lake is on a volume, to a verdict that is about something."""
    step("up, every service healthy", stack.come_up)
    step("verify", lambda: stack.until(lambda: written(stack), "positions in the lake"))


def step(what: str, action: Callable[[], Any]) -> Any:
    started = time.monotonic()
    result = action()
    print(f"{time.monotonic() - started:6.1f} s  {what}", flush=True)
    return result


def taken_through(stack: Stack, script: Callable[[], None], keep: bool = False) -> bool:
    """Run a script upon a stack, tell what went wrong, and take the stack down; whether it went through."""
    print(f"==> {stack.file}", flush=True)
    started = time.monotonic()
    try:
        script()
    except (Failed, Refused, subprocess.SubprocessError, PlaywrightError, OSError) as error:
        print(stack.compose("ps", "--all", check=False).stdout, file=sys.stderr)
        print(stack.compose("logs", "--tail", "30", check=False).stdout, file=sys.stderr)
        print(f"compose test: {error}", file=sys.stderr)
        return False
    finally:
        if keep:
            print(f"left running: docker compose --project-name {stack.name} down --volumes; {stack.prometheus}")
        else:
            stack.compose("--profile", "*", "down", "--volumes", "--timeout", "20", check=False)
    print(f"{stack.file} keeps its promise: {time.monotonic() - started:.0f} s", flush=True)
    return True


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.compose", description="The compose stacks, for real.")
    parser.add_argument("--keep", action="store_true", help="leave the full stack running")
    parser.add_argument("--screenshots", type=Path, metavar="FOLDER", help="where pictures of its pages are kept")
    options = parser.parse_args(arguments)
    if options.screenshots is not None:
        options.screenshots.mkdir(parents=True, exist_ok=True)
    full = Stack("docker-compose.yml", FULL)
    minimal = Stack("docker-compose.minimal.yml", MINIMAL)
    try:
        with engine(options.keep):
            done = taken_through(full, lambda: run(full, options.screenshots), options.keep)
            done = done and taken_through(minimal, lambda: run_minimal(minimal))
            remove_superseded_images()
    except NoEngine as error:
        print(f"compose test: {error}", file=sys.stderr)
        return 2
    return 0 if done else 1


if __name__ == "__main__":
    sys.exit(main())
