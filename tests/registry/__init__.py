"""A real schema registry for tests: Apicurio, which speaks Confluent's API, as a local Java process through Maven.

In a test, ask for the fixture `registry` (tests/conftest.py).
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from tests import broker, maven
from tests.broker.kafka import free_ports, wait_until

VERSION = "3.0.9"
_ARTIFACT = f"io.apicurio:apicurio-registry-app:{VERSION}:tar.gz:all"
_UP_WITHIN_S = 120
_GUARD = Path(broker.__file__).parent / "guard.py"


class Apicurio:
    """A registry at an address of its own; starts empty, and is empty again after a stop."""

    def __init__(self, app: Path) -> None:
        (self._port,) = free_ports(1)
        self._app = app
        self._folder = Path(tempfile.mkdtemp(prefix="playlake-registry-"))
        self._log = self._folder / "registry.log"
        self._process: subprocess.Popen[bytes] | None = None
        atexit.register(self.close)

    @property
    def url(self) -> str:
        """The address as playlake's `--schema-registry` takes it."""
        return f"http://127.0.0.1:{self._port}/apis/ccompat/v7"

    def start(self) -> None:
        """Start and return once it answers."""
        java = ["java", "-Xmx400m", "-XX:TieredStopAtLevel=1", "-jar", str(self._app)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-ES", str(_GUARD), str(self._folder), *java],
                env={**os.environ, "QUARKUS_HTTP_HOST": "127.0.0.1", "QUARKUS_HTTP_PORT": str(self._port)},
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_until(self._answers, "the schema registry answers", _UP_WITHIN_S)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self._log.read_text(errors="replace")[-2000:]
        try:
            with urllib.request.urlopen(f"{self.url}/subjects", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def close(self) -> None:
        """End it and remove what it wrote."""
        process, self._process = self._process, None
        if process is not None and process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()  # the guard kills it and removes the folder
            process.wait(20)
        shutil.rmtree(self._folder, ignore_errors=True)
        atexit.unregister(self.close)


def prepare(say: Callable[[str], None]) -> Path:
    """Return Apicurio's jar, fetching it (110 MB) the first time (raises `maven.NoJars`)."""
    return maven.archive(f"apicurio-{VERSION}", _ARTIFACT, say) / f"apicurio-registry-app-{VERSION}-runner.jar"
