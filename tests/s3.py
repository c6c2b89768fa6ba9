"""An S3 API for tests, with conditional puts: versitygw where its binary is at hand, else moto's server.

versitygw is the nearer to a real store; to have it used:

    GOBIN="${XDG_CACHE_HOME:-$HOME/.cache}/playlake" go install github.com/versity/versitygw/cmd/versitygw@latest
"""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import s3fs

from tests.broker.kafka import free_ports, wait_until

_REGION = "us-east-1"


@dataclass
class S3:
    """A running S3 API with one bucket.

    Attributes:
        kind: `versitygw` or `moto`.
        env: the AWS variables that lead there, keys included.
        bucket: made, and empty at first.
    """

    kind: str
    env: dict[str, str]
    bucket: str
    _process: subprocess.Popen[bytes]

    @property
    def secrets(self) -> list[str]:
        """What must not be seen in any log."""
        return [self.env["AWS_ACCESS_KEY_ID"], self.env["AWS_SECRET_ACCESS_KEY"]]

    def close(self) -> None:
        self._process.kill()
        self._process.wait(10)


def cached_versitygw() -> Path | None:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "playlake" / "versitygw"
    return cache if os.access(cache, os.X_OK) else None


def start(folder: Path, say: Callable[[str], None] = print) -> S3:
    """Start one; its data and its log are in `folder`."""
    [port] = free_ports(1)
    env = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": f"key-{secrets.token_hex(8)}",
        "AWS_SECRET_ACCESS_KEY": f"secret-{secrets.token_hex(16)}",
        "AWS_REGION": _REGION,
        "AWS_DEFAULT_REGION": _REGION,
    }
    gateway = cached_versitygw()
    if gateway is not None:
        kind, data = "versitygw", folder / "data"
        data.mkdir()
        command = [
            str(gateway),
            "--port",
            f"127.0.0.1:{port}",
            "posix",
            "--sidecar",
            str(folder / "sidecar"),
            str(data),
        ]
        (folder / "sidecar").mkdir()
        own = {"ROOT_ACCESS_KEY": env["AWS_ACCESS_KEY_ID"], "ROOT_SECRET_KEY": env["AWS_SECRET_ACCESS_KEY"]}
    else:
        say("S3 tests use moto's server (tests/s3.py says how to have versitygw)")
        kind, own = "moto", {}
        command = [sys.executable, "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with (folder / "s3.log").open("wb") as log:
        process = subprocess.Popen(
            command, env={**os.environ, **own}, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    found = S3(kind, env, "playlake-test", process)
    try:
        wait_until(lambda: _listens(port), f"{kind} listens", 60)
        filesystem(found).mkdir(found.bucket)
    except BaseException:
        found.close()
        raise
    return found


def filesystem(s3: S3) -> s3fs.S3FileSystem:
    """A client of the tests' own."""
    return s3fs.S3FileSystem(
        key=s3.env["AWS_ACCESS_KEY_ID"],
        secret=s3.env["AWS_SECRET_ACCESS_KEY"],
        endpoint_url=s3.env["AWS_ENDPOINT_URL"],
        skip_instance_cache=True,
        use_listings_cache=False,
    )


def copy(s3: S3, prefix: str, folder: Path) -> Path:
    """Bring everything below a prefix to a folder: what reads lakes on a disk reads it there."""
    filesystem(s3).get(f"{s3.bucket}/{prefix}/", f"{folder}/", recursive=True)
    return folder


def _listens(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False
