"""A running S3 API, and plain access to what it holds."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import s3fs

from tests.broker import guard
from tests.broker.kafka import free_ports, wait_until
from tests.s3 import versitygw

_REGION = "us-east-1"


@dataclass
class S3:
    """A running S3 API with one bucket.

    Attributes:
        kind: `versitygw` or `moto`.
        port: on 127.0.0.1.
        env: the AWS variables that lead there, keys included.
        bucket: made, and empty at first.
    """

    kind: str
    port: int
    env: dict[str, str]
    bucket: str
    _process: subprocess.Popen[bytes] = field(repr=False)

    @property
    def secrets(self) -> list[str]:
        """What must not be seen in any log."""
        return [self.env["AWS_ACCESS_KEY_ID"], self.env["AWS_SECRET_ACCESS_KEY"]]

    def close(self) -> None:
        """End it and remove its data."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait(20)


def start(folder: Path, kind: str) -> S3:
    """Start one (`versitygw`, built before, or `moto`) that ends with this process at the latest, killed or not.

    Its data and its log are in `folder`, which goes with it.
    """
    folder.mkdir(exist_ok=True)
    [port] = free_ports(1)
    env = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": f"key-{secrets.token_hex(8)}",
        "AWS_SECRET_ACCESS_KEY": f"secret-{secrets.token_hex(16)}",
        "AWS_REGION": _REGION,
        "AWS_DEFAULT_REGION": _REGION,
    }
    if kind == "versitygw":
        data, sidecar = folder / "data", folder / "sidecar"
        data.mkdir()
        sidecar.mkdir()
        command = [str(versitygw.binary()), "--port", f"127.0.0.1:{port}", "--keep-alive", "--quiet"]
        command += ["posix", "--sidecar", str(sidecar), str(data)]
        own = {"ROOT_ACCESS_KEY": env["AWS_ACCESS_KEY_ID"], "ROOT_SECRET_KEY": env["AWS_SECRET_ACCESS_KEY"]}
    else:
        command = [sys.executable, "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        own = {}
    with (folder / "s3.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-ES", guard.__file__, str(folder), *command],
            env={**os.environ, **own},
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    found = S3(kind, port, env, "playlake-test", process)
    try:
        wait_until(lambda: _listens(port) or process.poll() is not None, f"{kind} listens", 60)
        assert process.poll() is None, (folder / "s3.log").read_text(errors="replace")
        filesystem(found).mkdir(found.bucket)
    except BaseException:
        found.close()
        raise
    return found


def filesystem(s3: S3) -> s3fs.S3FileSystem:
    """A client of the tests' own."""
    return filesystem_of(s3.env)


def filesystem_of(env: Mapping[str, str]) -> s3fs.S3FileSystem:
    """A client of the tests' own for the S3 API to which these AWS variables lead."""
    return s3fs.S3FileSystem(
        key=env["AWS_ACCESS_KEY_ID"],
        secret=env["AWS_SECRET_ACCESS_KEY"],
        endpoint_url=env["AWS_ENDPOINT_URL"],
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
