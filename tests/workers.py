"""Workers as processes of their own, as a person would start them: `playlake stream …`, its log in a file.

worker = workers.start(topic, lake, "--allowed-latency", "1s")
worker.wait_for("flushed")
assert worker.stop() == 0

Every wait polls a condition, and a worker that ended meanwhile fails it at once, with its log.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from tests.broker import Broker, fresh_name

PLAYLAKE = (sys.executable, "-m", "playlake")
DIES_WITH_US = ("setpriv", "--pdeathsig", "KILL", "--") if shutil.which("setpriv") else ()
"""Before a command: it ends when the process that started it is killed, which then has no time to clean up."""
_POLL_S = 0.1


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's variables without playlake's and AWS's own, and with `extra`.

    Processes may keep what they compile: where that is forbidden, it is half of the CPU time of their start.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PLAYLAKE_", "AWS_"))}
    kept.pop("PYTHONDONTWRITEBYTECODE", None)
    return {**kept, **(extra or {})}


def playlake(
    *arguments: str, cwd: Path | None = None, env: Mapping[str, str] | None = None, timeout_s: float = 60
) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    return subprocess.run(
        [*PLAYLAKE, *arguments],
        cwd=cwd,
        env=clean_environment(env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_s,
    )


class Running:
    """One `playlake` command as a process, running or ended."""

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        folder: Path,
        env: Mapping[str, str] | None,
        through: Sequence[str] = (),
    ) -> None:
        """Start it, by way of a command that becomes it (`through`), if one is given."""
        self.name = name
        self._log_path, self._out_path = folder / f"{name}.log", folder / f"{name}.out"
        with self._log_path.open("wb") as log, self._out_path.open("wb") as out:
            self._process = subprocess.Popen(
                [*DIES_WITH_US, *through, *PLAYLAKE, *arguments],
                cwd=folder,
                env=clean_environment(env),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=log,
                start_new_session=True,
            )

    # ---------------------------------------------------------------- what it says

    @property
    def log(self) -> str:
        return self._log_path.read_text(encoding="utf-8", errors="replace")

    @property
    def report(self) -> dict[str, Any]:
        """What it printed at its end (`--json`)."""
        answer: dict[str, Any] = json.loads(self._out_path.read_text())
        return answer

    def lines(self, pattern: str) -> list[str]:
        """Log lines in which a regular expression is found."""
        return [line for line in self.log.splitlines() if re.search(pattern, line)]

    @property
    def peak_memory_bytes(self) -> int:
        """Most resident memory so far; it must be running still."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return 1024 * int(status.split("VmHWM:")[1].split()[0])

    # ---------------------------------------------------------------- waiting

    def until(self, condition: Callable[[], bool], what: str, timeout_s: float = 40.0) -> None:
        """Wait for a condition while this worker runs."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            ended = self._process.poll()
            assert ended is None, f"{self.name} ended with {ended} before: {what}"
            assert time.monotonic() < deadline, f"not within {timeout_s:.0f} s: {what}"
            time.sleep(_POLL_S)

    def wait_for(self, pattern: str, timeout_s: float = 40.0, count: int = 1) -> None:
        """Wait until that many log lines match."""
        self.until(lambda: len(self.lines(pattern)) >= count, f"{count} log lines with {pattern!r}", timeout_s)

    def exit_code(self, timeout_s: float = 60.0) -> int:
        """Wait for its end."""
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} did not end within {timeout_s:.0f} s") from None

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    @property
    def is_stopped(self) -> bool:
        """Whether it stands still (SIGSTOP)."""
        return Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "T"

    # ---------------------------------------------------------------- what is done to it

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def stop(self, number: signal.Signals = signal.SIGTERM, timeout_s: float = 40.0) -> int:
        """Ask it to end; return its exit code."""
        self.send(number)
        return self.exit_code(timeout_s)

    def kill(self) -> None:
        """End it at once, stopped (SIGSTOP) or not."""
        if self.is_running:
            self._process.kill()
        self._process.wait(10)


class Worker(Running):
    """One `playlake stream`."""

    @property
    def assigned(self) -> set[int]:
        """Kafka partitions that it reads by its own account."""
        numbers: set[int] = set()
        for line in self.lines(r" (reading|giving up) "):
            found = {int(number) for number in re.findall(r"\[(\d+)\]", line)}
            numbers = numbers | found if " reading " in line else numbers - found
        return numbers

    @property
    def flushed(self) -> int:
        """Rows that it put into bronze, by its own account."""
        counts = [re.search(r" flushed ([\d,]+) bronze", line) for line in self.lines(" flushed ")]
        return sum(int(match[1].replace(",", "")) for match in counts if match)

    def claims(self, kafka_partition: int) -> list[int]:
        """Offsets from which it began to read a Kafka partition, one for each of its claims."""
        found = [re.search(rf"\[{kafka_partition}\] from (\d+)", line) for line in self.lines(" reading ")]
        return [int(match[1]) for match in found if match]

    def rows(self, table: str) -> int:
        """Rows that it flushed to a table by its own account."""
        found = [re.search(rf"([\d,]+) {table}\b", line) for line in self.lines(" flushed ")]
        return sum(int(match[1].replace(",", "")) for match in found if match)


class StartedWorkers:
    """Starts workers, and ends those still running when the test is over."""

    def __init__(self, folder: Path, env: Mapping[str, str], through: Sequence[str] = ()) -> None:
        """Give `env` for variables that all workers get, `through` for a command that becomes each of them."""
        self._folder = folder
        self._env, self._through = env, through
        self._started: list[Worker] = []

    def begin(
        self, flags: Sequence[str], latency: str, name: str | None = None, env: Mapping[str, str] | None = None
    ) -> Worker:
        """Start a worker with this allowed latency, unless the flags say another."""
        quick = [] if "--allowed-latency" in flags else ["--allowed-latency", latency]
        worker = Worker(
            name or f"worker-{len(self._started) + 1}",
            ["stream", *quick, "--json", *flags],
            self._folder,
            {**self._env, **(env or {})},
            self._through,
        )
        self._started.append(worker)
        return worker

    def start(self, topic: str, lake: Path | str, *flags: str, **options: Any) -> Worker:
        """Start a worker; it reads nothing yet. Flags given here win over the ones that tests share."""
        raise NotImplementedError

    def catch_up(self, topic: str, lake: Path | str, *flags: str, **options: Any) -> Worker:
        """Run a worker with `--until-caught-up` to its end, which must be a good one."""
        worker = self.start(topic, lake, "--until-caught-up", *flags, **options)
        code = worker.exit_code(100)
        assert 0 == code, worker.log
        return worker

    def close(self) -> None:
        """End what still runs and print every log: pytest shows them where the test failed."""
        for worker in self._started:
            worker.kill()
            print(f"---- {worker.name}\n{worker.log}")


AnyWorkers = TypeVar("AnyWorkers", bound=StartedWorkers)


class Workers(StartedWorkers):
    """Workers of one group."""

    def __init__(
        self, broker: Broker, folder: Path, env: Mapping[str, str] | None = None, through: Sequence[str] = ()
    ) -> None:
        """Give `env` for variables that all workers get, `through` for a command that becomes each of them."""
        super().__init__(folder, env or {}, through)
        self._broker = broker
        self.group = fresh_name("group")

    def start(
        self,
        topic: str,
        lake: Path | str,
        *flags: str,
        name: str | None = None,
        group: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Worker:
        """Start a worker; it has not joined its group yet. Flags given here win over the ones that tests share."""
        where = ["--broker", self._broker.url, "--topic", topic, "--lake", str(lake), "--group", group or self.group]
        return self.begin([*where, *flags], "1s", name, env)


@contextmanager
def ended_afterwards(tmp_path: Path, make: Callable[[Path], AnyWorkers]) -> Iterator[AnyWorkers]:
    """Give what `make` makes of a new folder for logs; all of its workers have ended afterwards. For fixtures."""
    folder = tmp_path / "workers"
    folder.mkdir()
    started = make(folder)
    try:
        yield started
    finally:
        started.close()


def workers_of(
    broker: Broker, tmp_path: Path, env: Mapping[str, str] | None = None, through: Sequence[str] = ()
) -> AbstractContextManager[Workers]:
    """Give `Workers` whose logs are below `tmp_path`; all of them have ended afterwards. For fixtures."""
    return ended_afterwards(tmp_path, lambda folder: Workers(broker, folder, env, through))
