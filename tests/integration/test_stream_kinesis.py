"""`playlake stream` from a Kinesis API, as a user runs it: packed records, idle shards, a stream made again."""

from __future__ import annotations

import os
import signal
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kinesis import Stream
from sink.lake import Lake
from sink.positions import Source
from sink.shards import shard_facts
from stream_app.app import WorkerSettings, run_worker
from stream_app.catalogue import shipped_catalogue
from stream_app.kinesis_origin import KinesisOrigin
from stream_app.kinesis_transport import Share
from stream_app.pipeline import Limits
from tests.broker import wait_until
from tests.broker.kafka import free_ports
from tests.kinesis import Kinesalite
from tests.kinesis.kinesalite import REGION
from tests.kinesis.ledger import StreamLedger
from tests.kinesis.workers import StreamWorkers, stream_workers_of
from tests.ledger import events, rows_in, table_rows
from tests.records import event_bytes
from tests.unit.test_aggregation import packed
from tests.web import Web
from tests.workers import playlake


@pytest.fixture
def workers(kinesis: Kinesalite, tmp_path: Path) -> Iterator[StreamWorkers]:
    with stream_workers_of(kinesis, tmp_path) as started:
        yield started


def test_packed_and_plain_records_are_rows_alike_and_verify_says_so(
    workers: StreamWorkers, kinesis: Kinesalite, tmp_path: Path
) -> None:
    name, lake = kinesis.create("packed"), tmp_path / "lake"
    client = kinesis.client
    client.put_record(StreamName=name, PartitionKey="u0", Data=event_bytes(0))
    inner = [(f"u{number}", event_bytes(number)) for number in (1, 2, 3)]
    client.put_record(StreamName=name, PartitionKey="outer", Data=packed(inner))
    client.put_record(StreamName=name, PartitionKey="u4", Data=event_bytes(4))
    assert {"bronze": 5, "silver": 5, "quarantine": 0}.items() <= workers.catch_up(name, lake).report.items()
    rows = table_rows(lake, "bronze", ["kafka_offset", "key", "value"]).to_pylist()
    expected = [(number, b"u%d" % number, event_bytes(number)) for number in range(5)]
    assert expected == sorted((row["kafka_offset"], row["key"], row["value"]) for row in rows)
    done = playlake(
        "verify", "--lake", str(lake), "--broker", f"kinesis://{REGION}/{name}", cwd=tmp_path, env=kinesis.env
    )
    assert 0 == done.returncode, done.stdout + done.stderr
    assert "The promise holds" in done.stdout
    client.put_record(StreamName=name, PartitionKey="u5", Data=event_bytes(5))
    assert 1 == workers.catch_up(name, lake).report["bronze"], "reading on after a packed record"


def test_kinesalite_outlives_a_client_killed_within_a_request(kinesis: Kinesalite) -> None:
    stream = kinesis.create("outlives")
    with socket.create_connection(kinesis.address) as killed:
        killed.sendall(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nhalf")
        time.sleep(0.2)  # until it is read
        killed.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    time.sleep(0.2)
    kinesis.wait_until_active(stream)


def test_an_idle_shard_is_noted_to_be_read(kinesis: Kinesalite, tmp_path: Path) -> None:
    ledger = StreamLedger(kinesis, kinesis.create("idle", shards=2))
    ledger.put([("u1", event_bytes(1))])  # one of the two shards
    lake = Lake.at(str(tmp_path / "lake"))
    stream = Stream(ledger.stream, REGION, kinesis.client)
    stream_id = stream.describe().stream_id
    origin = KinesisOrigin(stream, stream_id, Share(), lake, note_idle_ms=1)
    settings = WorkerSettings(origin, lake, shipped_catalogue(), "idle", Limits(allowed_latency_s=0.1))
    sources = [Source(ledger.stream, stream_id, number) for number in (0, 1)]

    def stop_once_noted() -> None:
        def is_noted() -> bool:
            if not lake.exists("silver"):
                return False
            facts = [shard_facts(lake.table("silver"), source) for source in sources]
            has_record = any(fact.position == 0 and fact.read_to_ms is not None for fact in facts)
            return has_record and all(fact.read_to_ms is not None for fact in facts)

        try:
            wait_until(is_noted, "both shards are noted to be read", 40)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    watching = threading.Thread(target=stop_once_noted)
    watching.start()
    report = run_worker(settings)
    watching.join()
    assert (1, True) == (report.rows["silver"], report.is_flushed)
    noted = [shard_facts(lake.table("silver"), source).read_to_ms or 0 for source in sources]
    arrived_ms = table_rows(lake.uri, "bronze", ["broker_timestamp"])["broker_timestamp"][0].value // 1000
    assert min(noted) >= arrived_ms


def test_a_stream_made_again_under_its_name_is_another_one(
    workers: StreamWorkers, kinesis: Kinesalite, tmp_path: Path
) -> None:
    name, lake = kinesis.create("again"), tmp_path / "lake"
    first = StreamLedger(kinesis, name)
    first.send(events(50))
    [port] = free_ports(1)
    worker = workers.start(name, lake, "--web-port", str(port))
    worker.until(lambda: rows_in(lake, "silver") > 0, "the first stream's rows")
    behind_s = Web(port).metric("playlake_kinesis_behind_seconds", stream=name, shard="0")
    assert behind_s is not None
    assert 0 <= behind_s < 30
    kinesis.client.delete_stream(StreamName=name)
    wait_until(lambda: name not in kinesis.client.list_streams()["StreamNames"], "the stream is gone", 10)
    kinesis.client.create_stream(StreamName=name, ShardCount=1)
    kinesis.wait_until_active(name)
    second = StreamLedger(kinesis, name)
    second.send(events(30, first=1000))
    assert 2 == worker.exit_code()
    assert 50 == rows_in(lake, "bronze"), "nothing of the new one"
    refused = workers.start(name, lake, "--until-caught-up")
    assert 2 == refused.exit_code()
    assert "with id kinesis:" in refused.log.splitlines()[-1]
    workers.catch_up(name, lake, "--accept-new-topic")
    held = sorted(table_rows(lake, "bronze", ["value"])["value"].to_pylist())
    assert sorted(value for *_, value in first.records + second.records) == held


def test_wrong_use_is_one_line(kinesis: Kinesalite, tmp_path: Path) -> None:
    name = kinesis.create("wrong")
    address, lake = f"kinesis://{REGION}/{name}", str(tmp_path / "lake")
    for arguments, said in (
        (["--broker", address, "--worker", "3/2"], "--worker '3/2' is no share: write 1/4 to 4/4 for four workers"),
        (["--broker", address, "--topic", "other"], "is not the stream"),
        (["--broker", "kafka://127.0.0.1:1", "--topic", "t", "--worker", "1/2"], "--worker is for kinesis://"),
        (["--broker", f"kinesis://{REGION}/nobody"], "aws kinesis create-stream"),
        (["--broker", "kinesis://nowhere"], "write kinesis://REGION/STREAM"),
    ):
        done = playlake("stream", "--lake", lake, *arguments, env=kinesis.env)
        assert (2, 1) == (done.returncode, len(done.stderr.splitlines())), done.stderr
        assert said in done.stderr
    done = playlake("status", "--lake", lake, "--broker", address, env=kinesis.env)
    assert (2, 1) == (done.returncode, len(done.stderr.splitlines()))
    assert "this verb asks Kafka only" in done.stderr
    assert not (tmp_path / "lake").exists()
