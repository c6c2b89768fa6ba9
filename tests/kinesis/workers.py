"""Workers of a Kinesis stream, as processes of their own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.kinesis.kinesalite import REGION, Kinesalite
from tests.workers import Worker


class StreamWorkers:
    """Starts workers of Kinesis streams, and ends those still running when the test is over."""

    def __init__(self, kinesis: Kinesalite, folder: Path) -> None:
        self._env = kinesis.env
        self._folder = folder
        self._started: list[Worker] = []

    def start(
        self, stream: str, lake: Path | str, *flags: str, name: str | None = None, env: Mapping[str, str] | None = None
    ) -> Worker:
        """Start a worker; it reads nothing yet."""
        quick = [] if "--allowed-latency" in flags else ["--allowed-latency", "500ms"]
        where = ["--broker", f"kinesis://{REGION}/{stream}", "--lake", str(lake)]
        worker = Worker(
            name or f"worker-{len(self._started) + 1}",
            ["stream", *where, *quick, "--json", *flags],
            self._folder,
            {**self._env, **(env or {})},
        )
        self._started.append(worker)
        return worker

    def catch_up(self, stream: str, lake: Path | str, *flags: str) -> Worker:
        """Run a worker with `--until-caught-up` to its end, which must be a good one."""
        worker = self.start(stream, lake, "--until-caught-up", *flags)
        code = worker.exit_code(100)
        assert 0 == code, worker.log
        return worker

    def close(self) -> None:
        """End what still runs and print every log: pytest shows them where the test failed."""
        for worker in self._started:
            worker.kill()
            print(f"---- {worker.name}\n{worker.log}")


@contextmanager
def stream_workers_of(kinesis: Kinesalite, tmp_path: Path) -> Iterator[StreamWorkers]:
    """Give `StreamWorkers` whose logs are below `tmp_path`; all of them have ended afterwards. For fixtures."""
    folder = tmp_path / "workers"
    folder.mkdir()
    started = StreamWorkers(kinesis, folder)
    try:
        yield started
    finally:
        started.close()
