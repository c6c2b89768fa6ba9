"""`playlake produce` to a Kinesis API: every event is there, under its user, and the counts are right."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from kinesis import open_stream
from tests.kinesis import Kinesalite
from tests.workers import playlake


def test_the_same_events_arrive_as_in_a_file_in_order_for_each_user(
    kinesis: Kinesalite, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    name = kinesis.create("produce", shards=3)
    world = ("--events", "3000", "--dirty", "0.05", "--start", "2026-11-01T00:00:00Z", "--json")
    done = playlake("produce", "--broker", f"kinesis://us-east-1/{name}", *world, env=kinesis.env)
    assert 0 == done.returncode, done.stderr
    report = json.loads(done.stdout)
    assert (3000, True) == (report["events"], report["is_complete"])
    assert 0 == playlake("produce", "--broker", f"file:{tmp_path / 'events'}", *world).returncode
    sent = (tmp_path / "events").read_bytes()[:-1].split(b"\n")

    for variable, value in kinesis.env.items():
        monkeypatch.setenv(variable, value)
    stream = open_stream("us-east-1", name)
    by_shard = [stream.get(stream.iterator(shard.shard_id)).records for shard in stream.shards()]
    assert 3 == sum(bool(records) for records in by_shard)
    values = [record.value for records in by_shard for record in records]
    assert 3000 == len(values) == len(sent)
    assert report["value_bytes"] == sum(map(len, values))
    assert Counter(sent) == Counter(values)
    place = {value: number for number, value in enumerate(sent)}
    of_key: dict[str, list[int]] = defaultdict(list)
    for records in by_shard:
        for record in records:
            of_key[record.key].append(place[record.value])
    repeated = {value for value, times in Counter(sent).items() if times > 1}
    assert len(of_key) > 30
    for key, places in of_key.items():
        once = [number for number in places if sent[number] not in repeated]
        assert once == sorted(once), key


def test_wrong_use_is_one_line(kinesis: Kinesalite) -> None:
    name = kinesis.create("wrong")
    for arguments, said in (
        (["--broker", "kinesis://us-east-1/nobody"], "there is no kinesis://us-east-1/nobody (ResourceNotFound"),
        (["--broker", "kinesis://us-east-1"], "write kinesis://REGION/STREAM"),
        (["--broker", f"kinesis://us-east-1/{name}", "--topic", "other"], "leave --topic out"),
        (["--broker", f"kinesis://us-east-1/{name}", "--kafka-option", "acks=1"], "--kafka-option is for kafka://"),
    ):
        done = playlake("produce", *arguments, "--events", "10", env=kinesis.env)
        assert 2 == done.returncode
        assert said in done.stderr
        assert 1 == len(done.stderr.splitlines()), done.stderr
    endpoint = "AWS_ENDPOINT_URL_KINESIS"
    no_keys = {"AWS_EC2_METADATA_DISABLED": "true", endpoint: kinesis.env[endpoint]}
    done = playlake("produce", "--broker", f"kinesis://us-east-1/{name}", env={**no_keys, "HOME": "/nonexistent"})
    assert (2, 1) == (done.returncode, len(done.stderr.splitlines())), done.stderr
    assert "no AWS credentials for kinesis://us-east-1/" in done.stderr
    nobody = {**kinesis.env, "AWS_ENDPOINT_URL_KINESIS": "http://127.0.0.1:1"}
    done = playlake("produce", "--broker", f"kinesis://us-east-1/{name}", env=nobody)
    assert (2, 1) == (done.returncode, len(done.stderr.splitlines())), done.stderr
    assert "is AWS_ENDPOINT_URL right" in done.stderr
