"""kinesalite: fetched once by npm into the tests' cache, started for a session, with streams for each test."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3

from tests import broker
from tests.broker.kafka import free_ports, fresh_name, wait_until
from tests.cache import cache, made_once

VERSION = "3.3.3"
REGION = "us-east-1"
_NPM_TIMEOUT_S = 300
_GUARD = Path(broker.__file__).parent / "guard.py"
_ABORTED_REQUESTS = Path(__file__).parent / "aborted_requests.js"


class NoKinesis(Exception):
    """There is no Node, no npm, or npm failed; the message says what to do."""


def prepare(say: Callable[[str], None]) -> Path:
    """Return kinesalite's script, fetching it through npm the first time; two runs at once are safe."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            raise NoKinesis(f"tests of Kinesis need `{program}` on the PATH: install Node 18+ with npm")
    folder = cache(f"kinesalite-{VERSION}") / "node"
    made_once(folder, _install, lambda: say(f"fetching kinesalite {VERSION} through npm into {folder} (once, seconds)"))
    return folder / "node_modules" / "kinesalite" / "cli.js"


def _install(folder: Path) -> None:
    command = ["npm", "install", "--prefix", str(folder), "--no-audit", "--no-fund", "--no-save"]
    try:
        done = subprocess.run(
            [*command, f"kinesalite@{VERSION}"],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_NPM_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        raise NoKinesis(f"npm did not fetch kinesalite within {_NPM_TIMEOUT_S} s") from None
    if done.returncode != 0:
        raise NoKinesis(f"npm could not fetch kinesalite: {done.stderr.strip()[:400]}")


class Kinesalite:
    """A running kinesalite, its streams in memory; it ends with this process at the latest."""

    def __init__(self, script: Path) -> None:
        [self._port] = free_ports(1)
        self._folder = Path(tempfile.mkdtemp(prefix="playlake-kinesis-"))
        log_path = self._folder / "kinesalite.log"
        quick = [f"--{what}StreamMs" for what in ("create", "delete", "update")]
        command = ["node", "--require", str(_ABORTED_REQUESTS), str(script)]
        command += ["--port", str(self._port), "--shardLimit", "1000"]
        command += [word for flag in quick for word in (flag, "20")]
        with log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-ES", str(_GUARD), str(self._folder), *command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_until(lambda: self._listens() or self._process.poll() is not None, "kinesalite listens", 30)
        assert self._process.poll() is None, log_path.read_text(errors="replace")
        self.client: Any = boto3.client(
            "kinesis",
            region_name=REGION,
            endpoint_url=self.env["AWS_ENDPOINT_URL_KINESIS"],
            aws_access_key_id="key",
            aws_secret_access_key="secret",  # noqa: S106  # it takes any
        )

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        return "127.0.0.1", self._port

    @property
    def env(self) -> dict[str, str]:
        """The AWS variables that lead there."""
        return {
            "AWS_ENDPOINT_URL_KINESIS": f"http://127.0.0.1:{self._port}",
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
        }

    def create(self, name: str, shards: int = 1) -> str:
        """Make a stream under a name of its own; return the name."""
        stream = fresh_name(name)
        self.client.create_stream(StreamName=stream, ShardCount=shards)
        self.wait_until_active(stream)
        return stream

    def wait_until_active(self, stream: str) -> None:
        """Wait until no split or merge is under way."""
        wait_until(lambda: self._status(stream) == "ACTIVE", f"{stream} is active", 10)

    def split(self, stream: str, number: int) -> None:
        """Split a shard in the middle of its keys, to the end of it."""
        shard = self.client.list_shards(StreamName=stream)["Shards"][number]
        low, high = (int(shard["HashKeyRange"][f"{end}HashKey"]) for end in ("Starting", "Ending"))
        self.client.split_shard(
            StreamName=stream, ShardToSplit=shard["ShardId"], NewStartingHashKey=str((low + high) // 2)
        )
        self.wait_until_active(stream)

    def merge(self, stream: str, number: int, other: int) -> None:
        """Merge two neighbours, to the end of it."""
        shards = self.client.list_shards(StreamName=stream)["Shards"]
        self.client.merge_shards(
            StreamName=stream,
            ShardToMerge=shards[number]["ShardId"],
            AdjacentShardToMerge=shards[other]["ShardId"],
        )
        self.wait_until_active(stream)

    def _status(self, stream: str) -> str:
        status: str = self.client.describe_stream_summary(StreamName=stream)["StreamDescriptionSummary"]["StreamStatus"]
        return status

    def _listens(self) -> bool:
        try:
            with socket.create_connection(self.address, timeout=1):
                return True
        except OSError:
            return False

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait(20)
        shutil.rmtree(self._folder, ignore_errors=True)
