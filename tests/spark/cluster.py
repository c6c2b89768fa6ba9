"""A standalone Spark cluster of one machine, from pyspark's own jars: a master and a worker with two cores.

with cluster.started(tmp_path) as address:
    main(["gold", "--engine", "spark", "--spark-master", address, …])
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pyspark

from tests.broker import guard
from tests.broker.kafka import wait_until

_START_S = 120


@contextmanager
def started(folder: Path) -> Iterator[str]:
    """Give the master's address; both end with this process at the latest. Neither knows an AWS variable."""
    with ExitStack() as running:
        master = running.enter_context(_process(folder / "master", "master.Master", "--port", "0"))
        address = _told(master, r"Starting Spark master at (spark://\S+)")
        resources = ["--cores", "2", "--memory", "2g", "--work-dir", str(folder / "work")]
        worker = running.enter_context(_process(folder / "worker", "worker.Worker", *resources, address))
        _told(worker, r"Successfully registered with (master)")
        yield address


@contextmanager
def _process(folder: Path, name: str, *arguments: str) -> Iterator[Path]:
    """Give the log of one of the cluster's processes, which listens on loopback alone."""
    folder.mkdir()
    log = folder.with_suffix(".log")
    home = Path(pyspark.__file__).parent
    command = [str(home / "bin/spark-class"), f"org.apache.spark.deploy.{name}", "--host", "127.0.0.1"]
    own = {"SPARK_HOME": str(home), "SPARK_LOCAL_IP": "127.0.0.1", "SPARK_DAEMON_MEMORY": "256m"}
    with log.open("wb") as words:
        process = subprocess.Popen(
            [sys.executable, "-ES", guard.__file__, str(folder), *command, "--webui-port", "0", *arguments],
            env={name: value for name, value in os.environ.items() if not name.startswith("AWS_")} | own,
            stdin=subprocess.PIPE,
            stdout=words,
            stderr=words,
        )
    try:
        yield log
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait(20)


def _told(log: Path, pattern: str) -> str:
    wait_until(lambda: re.search(pattern, log.read_text()) is not None, f"{pattern} in {log}", _START_S)
    found = re.search(pattern, log.read_text())
    assert found is not None
    return found[1]
