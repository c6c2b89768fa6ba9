"""The worker's web server: metrics that agree with the lake, alive, ready, and on loopback unless told otherwise."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.broker import Broker
from tests.broker.kafka import free_ports
from tests.ledger import Ledger, events, rows_in
from tests.web import Web
from tests.workers import Workers, workers_of

pytestmark = pytest.mark.broker
MakeTopic = Callable[..., str]


@pytest.fixture
def web() -> Web:
    return Web(*free_ports(1))


def test_metrics_agree_with_the_lake(workers: Workers, broker: Broker, topic: MakeTopic, lake: Path, web: Web) -> None:
    ledger = Ledger(broker, topic(partitions=2))
    ledger.send_spread(events(2000, bad_every=20), 2)
    worker = workers.start(ledger.topic, lake, "--web-port", str(web.port))
    worker.until(lambda: rows_in(lake) + rows_in(lake, "quarantine") == 2000, "all is in the lake")
    counted_last = "playlake_freshness_seconds_count"
    worker.until(lambda: web.metric(counted_last) == rows_in(lake), "the metrics follow")
    assert 2000 == web.metric("playlake_received_events_total")
    assert rows_in(lake, "quarantine") == web.metric("playlake_quarantined_events_total")
    assert rows_in(lake) == web.metric("playlake_silver_events_total")
    worker.until(lambda: web.metric("playlake_kafka_lag_records") == 0, "no lag")
    for kafka_partition in ("0", "1"):
        assert 0 == web.metric("playlake_kafka_lag_records", topic=ledger.topic, kafka_partition=kafka_partition)
    worker.until(lambda: web.metric("playlake_buffer_bytes") == 0, "no buffer")
    assert (200, "alive\n") == web.get("/healthz")
    assert (200, "ready\n") == web.get("/readyz")
    assert 404 == web.get("/table/")[0]
    assert 0 == worker.stop()


def test_it_listens_on_loopback_unless_told_otherwise(workers: Workers, topic: MakeTopic, lake: Path, web: Web) -> None:
    worker = workers.start(topic(), lake, "--web-port", str(web.port))
    worker.until(lambda: web.get("/healthz")[0] == 200, "the server is up")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", web.port), timeout=5)  # another address of this machine
    assert 0 == worker.stop()


def test_a_port_that_is_taken_is_one_line_and_exit_code_2(workers: Workers, topic: MakeTopic, lake: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        worker = workers.start(topic(), lake, "--web-port", str(port))
        assert 2 == worker.exit_code()
    assert [f"playlake stream: can't listen on 127.0.0.1:{port} (--web-bind, --web-port): Address already in use"] == (
        worker.lines("playlake stream:")
    )
    assert "Traceback" not in worker.log
    assert not lake.exists(), "nothing was started"


def test_it_is_not_ready_while_the_store_is_away(
    workers: Workers, broker: Broker, topic: MakeTopic, lake: Path, web: Web
) -> None:
    ledger = Ledger(broker, topic())
    ledger.send(events(100))
    worker = workers.start(ledger.topic, lake, "--web-port", str(web.port), "--freshness-limit", "1s")
    worker.until(lambda: rows_in(lake, "bronze") == 100 and web.get("/readyz")[0] == 200, "it is ready")
    (lake / "silver").rename(lake / "away")
    (lake / "silver").write_text("a file where the folder was")
    ledger.send(events(100, first=1000))
    worker.until(lambda: "the store is away" in web.get("/readyz")[1], "it says that the store is away")
    worker.until(lambda: "the limit is 1 s" in web.get("/readyz")[1], "and that records wait")
    assert 503 == web.get("/readyz")[0]
    assert 0 == web.metric("playlake_store_up")
    assert 200 == web.get("/healthz")[0], "alive: a restart would not mend it"
    assert 100 == web.metric("playlake_kafka_lag_records")
    (lake / "silver").unlink()
    (lake / "away").rename(lake / "silver")
    worker.until(lambda: web.get("/readyz") == (200, "ready\n"), "it is ready again")
    assert 1 == web.metric("playlake_store_up")
    assert 0 == worker.stop()


@pytest.fixture
def workers_of_their_own_broker(stoppable_broker: Broker, tmp_path: Path) -> Iterator[Workers]:
    with workers_of(stoppable_broker, tmp_path) as started:
        yield started


def test_it_is_not_ready_while_the_broker_is_away(
    workers_of_their_own_broker: Workers, stoppable_broker: Broker, lake: Path, web: Web
) -> None:
    stoppable_broker.create_topic("events")
    worker = workers_of_their_own_broker.start("events", lake, "--web-port", str(web.port))
    worker.until(lambda: web.get("/readyz")[0] == 200, "it is ready")
    stoppable_broker.stop(kill=True)
    worker.until(lambda: "the broker is away" in web.get("/readyz")[1], "it says that the broker is away")
    assert 0 == web.metric("playlake_broker_up")
    stoppable_broker.start()
    worker.until(lambda: web.get("/readyz") == (200, "ready\n"), "it is ready again")
    assert 0 == worker.stop()
