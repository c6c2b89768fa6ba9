"""Workers of a Kinesis stream, as processes of their own."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from tests.kinesis.kinesalite import REGION, Kinesalite
from tests.workers import StartedWorkers, Worker, ended_afterwards


class StreamWorkers(StartedWorkers):
    """Workers of Kinesis streams."""

    def __init__(self, kinesis: Kinesalite, folder: Path, env: Mapping[str, str] | None = None) -> None:
        """Give `env` for variables that lead to a store; kinesalite takes that one's keys, too."""
        super().__init__(folder, {**kinesis.env, **(env or {})})

    def start(
        self, topic: str, lake: Path | str, *flags: str, name: str | None = None, env: Mapping[str, str] | None = None
    ) -> Worker:
        """Start a worker of a stream; it reads nothing yet."""
        where = ["--broker", f"kinesis://{REGION}/{topic}", "--lake", str(lake)]
        return self.begin([*where, *flags], "500ms", name, env)


def stream_workers_of(
    kinesis: Kinesalite, tmp_path: Path, env: Mapping[str, str] | None = None
) -> AbstractContextManager[StreamWorkers]:
    """Give `StreamWorkers` whose logs are below `tmp_path`; all of them have ended afterwards. For fixtures."""
    return ended_afterwards(tmp_path, lambda folder: StreamWorkers(kinesis, folder, env))
