"""Apache Kafka in Docker, through testcontainers."""

from __future__ import annotations

import atexit
import contextlib
import gc
import os
import warnings
from collections.abc import Callable
from typing import Any

from tests.broker.kafka import Broker, NoBroker, free_ports

IMAGE = "apache/kafka:4.1.0"
_ENGINE_TIMEOUT_S = 5
_REGISTRY_TIMEOUT_S = 30
"""For each answer on the way, not for the whole pull."""


def start(say: Callable[[str], None]) -> Broker:
    """Start a broker in a container.

    Raises:
        NoBroker: no engine answers, or it has no image and can't pull one, or the container did not come up.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # foreign deprecations must not fail our tests
        trouble = _fetch_image(say)
        gc.collect()  # docker's client leaves its socket open when nothing answers; let it warn now, unheard
        if trouble is not None:
            raise NoBroker(trouble)
        return _run()


def _fetch_image(say: Callable[[str], None]) -> str | None:
    """Return why there is no image to run; None once there is one."""
    import docker
    import requests

    foreign = (docker.errors.DockerException, requests.RequestException)
    try:
        with contextlib.closing(docker.from_env(timeout=_ENGINE_TIMEOUT_S)) as engine:
            engine.images.get(IMAGE)
            return None
    except docker.errors.ImageNotFound:
        pass
    except foreign:
        return "no Docker engine answers"
    say(f"pulling {IMAGE}")
    try:
        with contextlib.closing(docker.from_env(timeout=_REGISTRY_TIMEOUT_S)) as engine:
            engine.api.inspect_distribution(IMAGE)  # fails at once where no registry can be reached
            for answer in engine.api.pull(IMAGE, stream=True, decode=True):
                if "error" in answer:
                    return f"the Docker engine can't pull {IMAGE}: {answer['error']}"
            engine.images.get(IMAGE)
            return None
    except foreign as error:
        return f"the Docker engine has no {IMAGE} and can't pull it: {str(error)[:300]}"


def _run() -> Broker:
    # Its clean-up container would be one more image to pull; what we start we end ourselves.
    os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")
    import docker
    from testcontainers.core.container import DockerContainer

    (port,) = free_ports(1)
    container: Any = DockerContainer(IMAGE).with_bind_ports(9092, port)
    host = container.get_docker_client().host()
    settings = {
        "NODE_ID": "1",
        "PROCESS_ROLES": "broker,controller",
        "CONTROLLER_QUORUM_VOTERS": "1@localhost:9094",
        "CONTROLLER_LISTENER_NAMES": "CONTROLLER",
        "INTER_BROKER_LISTENER_NAME": "BROKER",
        "LISTENERS": "PLAINTEXT://:9092,BROKER://:9093,CONTROLLER://:9094",
        "ADVERTISED_LISTENERS": f"PLAINTEXT://{host}:{port},BROKER://localhost:9093",
        "LISTENER_SECURITY_PROTOCOL_MAP": "PLAINTEXT:PLAINTEXT,BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "AUTO_CREATE_TOPICS_ENABLE": "false",
        "OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
        "OFFSETS_TOPIC_NUM_PARTITIONS": "4",
        "TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
        "TRANSACTION_STATE_LOG_MIN_ISR": "1",
        "TRANSACTION_STATE_LOG_NUM_PARTITIONS": "4",
        "GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
        "GROUP_MIN_SESSION_TIMEOUT_MS": "1000",
        "LOG_SEGMENT_DELETE_DELAY_MS": "1000",
        "LOG_CLEANER_BACKOFF_MS": "200",
        "LOG_RETENTION_CHECK_INTERVAL_MS": "1000",
    }
    for name, value in settings.items():
        container.with_env(f"KAFKA_{name}", value)

    def close() -> None:
        atexit.unregister(close)
        container.stop(force=True)

    def stop(kill: bool) -> None:
        running = container.get_wrapped_container()
        running.kill() if kill else running.stop(timeout=20)
        running.wait(timeout=30)

    def start_again() -> None:
        container.get_wrapped_container().start()

    try:
        container.start()
    except docker.errors.DockerException as error:
        raise NoBroker(f"the container {IMAGE} did not start: {error}") from None
    atexit.register(close)
    broker = Broker(f"{host}:{port}", "docker", start_again, stop, close)
    try:
        broker.wait_until_it_answers()
    except NoBroker:
        close()
        raise
    return broker
