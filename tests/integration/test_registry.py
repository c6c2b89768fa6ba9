"""Avro with a real registry (Apicurio, Confluent's API): produced, read, refused, waited for."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient

from audit.verify import verify
from playlake.registry import open_registry
from schemas.errors import ConfigError, SchemaRefused
from sink.lake import Lake
from stream_app.known_schemas import require_registry
from tests.avro import avro_bytes, schema_text
from tests.broker import Broker
from tests.ledger import Ledger, table_rows
from tests.records import event_bytes
from tests.registry import Apicurio
from tests.schema_changes import CHANGES
from tests.workers import PLAYLAKE, Workers, playlake

pytestmark = pytest.mark.broker
MakeTopic = Callable[..., str]


def test_a_produced_topic_of_avro_and_dirty_json_is_read_and_the_promise_holds(
    workers: Workers, broker: Broker, topic: MakeTopic, lake: Path, registry: Apicurio
) -> None:
    name = topic(partitions=2)
    flags = ["--broker", broker.url, "--topic", name, "--events", "3000", "--dirty", "0.2", "--json"]
    made = subprocess.run(
        [*PLAYLAKE, "produce", *flags, "--format", "avro", "--schema-registry", registry.url],
        capture_output=True,
        text=True,
        timeout=90,
        check=True,
    )
    sent = json.loads(made.stdout)["by_kind"]
    worker = workers.catch_up(name, lake, "--format", "avro", "--schema-registry", registry.url)
    assert 3000 == worker.report["bronze"]
    values = table_rows(lake, "bronze", ["value"])["value"].to_pylist()
    is_avro = [value[:1] == b"\0" for value in values]
    assert sent["valid"] <= sum(is_avro) < 3000
    refused = Counter(
        code for codes in table_rows(lake, "quarantine", ["reasons"])["reasons"].to_pylist() for code in codes
    )
    assert not {"unknown_schema", "malformed_avro"} & refused.keys()
    assert () == verify(Lake.at(str(lake)), {"bootstrap.servers": broker.bootstrap}).faults


def test_a_worker_waits_for_its_registry_and_an_id_it_lacks_is_quarantined(
    workers: Workers, broker: Broker, topic: MakeTopic, lake: Path, registry_to_start: Apicurio
) -> None:
    ledger = Ledger(broker, topic())
    ledger.send([event_bytes(0), avro_bytes(1), avro_bytes(2, schema_id=4711)])
    worker = workers.start(
        ledger.topic, lake, "--wait", "--until-caught-up", "--schema-registry", registry_to_start.url
    )
    worker.wait_for("waiting: the schema registry .* does not answer")
    worker.send(signal.SIGSTOP)  # or it may ask a registry that is up and has no schema yet
    registry_to_start.start()
    with closing(open_registry(registry_to_start.url)) as registry:
        schema_id = registry.register("playback-value", schema_text())
    worker.send(signal.SIGCONT)
    assert 1 == schema_id, "the id that the records were sent with"
    assert 0 == worker.exit_code(100), worker.log
    assert {"bronze": 3, "silver": 2, "quarantine": 1}.items() <= worker.report.items()
    [row] = table_rows(lake, "quarantine", ["reasons", "kafka_offset"]).to_pylist()
    assert {"reasons": ["unknown_schema"], "kafka_offset": 2} == row


def test_a_worker_without_patience_says_at_its_start_that_its_registry_is_away(
    broker: Broker, topic: MakeTopic, lake: Path
) -> None:
    ledger = Ledger(broker, topic())
    ledger.send([event_bytes(0)])  # no record of Avro, which would ask for a schema
    where = ["--broker", broker.url, "--topic", ledger.topic, "--lake", str(lake), "--until-caught-up"]
    done = playlake("stream", *where, "--schema-registry", "http://ada:secret@127.0.0.1:1")
    assert 2 == done.returncode, done.stderr
    assert re.search(
        r"playlake stream: the schema registry http://127\.0\.0\.1:1 does not answer", done.stderr.splitlines()[-1]
    )
    assert "Traceback" not in done.stderr and "secret" not in done.stderr
    assert not lake.exists(), "nothing was begun"


def test_a_worker_waits_for_a_registry_that_goes_away_while_it_reads(
    workers: Workers, broker: Broker, topic: MakeTopic, lake: Path, tmp_path: Path
) -> None:
    folder, away = tmp_path / "schemas", tmp_path / "away"
    folder.mkdir()
    (folder / "1.avsc").write_text(schema_text())
    ledger = Ledger(broker, topic())
    ledger.send([event_bytes(0)])
    worker = workers.start(ledger.topic, lake, "--schema-registry", str(folder))
    worker.wait_for("flushed")
    folder.rename(away)
    ledger.send([avro_bytes(1)])
    worker.wait_for("waiting: the folder of schemas .* is gone")
    away.rename(folder)
    worker.until(lambda: worker.rows("silver") == 2, "the record of Avro is in silver")
    assert 0 == worker.stop()


def test_what_the_registry_answers_is_told_apart(registry: Apicurio) -> None:
    with closing(open_registry(registry.url)) as ours:
        require_registry(ours)
        assert ours.find(4711) is None
        schema_id = ours.register("playback-value", schema_text())
        assert schema_id == ours.register("playback-value", schema_text())
        assert json.loads(schema_text()) == json.loads(ours.find(schema_id) or "")
        with pytest.raises(SchemaRefused):
            ours.register("playback-value", "no schema")
    with (
        closing(open_registry(registry.url + "/nowhere")) as nowhere,
        pytest.raises(ConfigError, match="check the path"),
    ):
        require_registry(nowhere)


def test_the_registry_judges_a_change_of_schema_as_we_do(registry: Apicurio) -> None:
    told, ours = {}, {}
    with SchemaRegistryClient({"url": registry.url}) as client:
        for number, (name, (old, new, backward, forward)) in enumerate(CHANGES.items()):
            for mode, expected in (("BACKWARD", backward), ("FORWARD", forward), ("FULL", backward and forward)):
                subject = f"{mode}-{number}"
                client.register_schema(subject, Schema(json.dumps(old), "AVRO"))
                client.set_compatibility(subject, mode)
                told[name, mode] = client.test_compatibility(subject, Schema(json.dumps(new), "AVRO"))
                ours[name, mode] = expected
    assert told == ours
