"""Apache Kafka as a local Java process: jars through Maven into a cache, KRaft mode, ephemeral ports and log folder."""

from __future__ import annotations

import atexit
import contextlib
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path

from tests import maven
from tests.broker.kafka import Broker, NoBroker, free_ports

KAFKA_VERSION = "4.1.0"
_HERE = Path(__file__).parent
_PROPERTIES = """\
process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
controller.quorum.bootstrap.servers=127.0.0.1:{controller_port}
log.dirs={folder}/log
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
broker.session.timeout.ms=4000
broker.heartbeat.interval.ms=1000
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
log.segment.delete.delay.ms=1000
log.cleaner.backoff.ms=200
log.retention.check.interval.ms=1000
"""


def jars(say: Callable[[str], None]) -> Path:
    """Return the folder of Kafka's jars, fetching them through Maven the first time.

    Raises:
        NoBroker: no Java, no Maven, or Maven failed.
    """
    try:
        return maven.dependencies(f"kafka-{KAFKA_VERSION}", _HERE / "pom.xml", say)
    except maven.NoJars as error:
        raise NoBroker(str(error)) from error


def start(say: Callable[[str], None], more: str = "") -> Broker:
    """Start a broker that ends with this process at the latest, killed or not.

    Args:
        say: is told what takes time.
        more: further lines of server.properties, which win; `{port}` and `{controller_port}` are filled in.

    Raises:
        NoBroker: no jars, or the broker did not come up; the message ends with its last words.
    """
    server = _Server(jars(say), more)
    atexit.register(server.close)
    try:
        server.format()
        server.start()
        broker = Broker(f"127.0.0.1:{server.port}", "java", server.start, server.stop, server.close)
        broker.wait_until_it_answers(is_alive=server.is_alive)
    except NoBroker as error:
        last_words = server.last_words()
        server.close()
        raise NoBroker(f"{error}; {last_words}") from error
    return broker


class _Server:
    """The Java process behind a guard, and its folder."""

    def __init__(self, libs: Path, more: str) -> None:
        self.port, controller_port = free_ports(2)
        self._folder = Path(tempfile.mkdtemp(prefix="playlake-kafka-"))
        self._properties = self._folder / "server.properties"
        self._properties.write_text(
            (_PROPERTIES + more).format(port=self.port, controller_port=controller_port, folder=self._folder)
        )
        self._log = self._folder / "server.log"
        self._java = [
            "java",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            "-Dorg.slf4j.simpleLogger.showDateTime=true",
            "-Djava.awt.headless=true",
            "-cp",
            f"{libs}/*",
        ]
        self._process: subprocess.Popen[bytes] | None = None

    def format(self) -> None:
        tool = ["-XX:TieredStopAtLevel=1", "kafka.tools.StorageTool", "format", "--standalone", "--cluster-id"]
        command = [*self._java, *tool, uuid.uuid4().hex[:22], "--config", str(self._properties)]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
        if done.returncode != 0:
            raise NoBroker(f"Kafka's StorageTool failed: {(done.stderr or done.stdout).strip()[-500:]}")

    def start(self) -> None:
        assert self._process is None, "the broker runs already"
        command = [*self._java, "-Xms256m", "-Xmx1g", "-XX:+UseG1GC", "kafka.Kafka", str(self._properties)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-ES", str(_HERE / "guard.py"), str(self._folder), *command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C on the terminal is for the tests; the guard ends the broker
            )

    def stop(self, kill: bool) -> None:
        process = self._process
        assert process is not None and process.stdin is not None, "the broker does not run"
        try:
            self._order(9 if kill else 15)
            process.wait(20)
        except subprocess.TimeoutExpired:
            self._order(9)
            process.wait(20)
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        self._process = None

    def close(self) -> None:
        process, self._process = self._process, None
        if process is not None and process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()  # the guard kills the broker and removes the folder
            process.wait(20)
        shutil.rmtree(self._folder, ignore_errors=True)
        atexit.unregister(self.close)

    def is_alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def last_words(self) -> str:
        try:
            return f"its log ends: {self._log.read_text(errors='replace').strip()[-1000:]}"
        except FileNotFoundError:
            return "it left no log"

    def _order(self, signal_number: int) -> None:
        assert self._process is not None and self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # the command ended by itself
            self._process.stdin.write(f"{signal_number}\n".encode())
            self._process.stdin.flush()
