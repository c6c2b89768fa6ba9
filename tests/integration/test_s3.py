"""The same worker, with its lake on an S3 API."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import s3 as s3_servers
from tests.broker import Broker
from tests.ledger import Ledger, events, rows_in
from tests.s3 import S3
from tests.workers import Workers, playlake

pytestmark = pytest.mark.broker
MakeTopic = Callable[..., str]


def test_a_lake_on_s3_is_filled_proved_and_nothing_is_read_twice(
    workers: Workers, broker: Broker, topic: MakeTopic, s3: S3, tmp_path: Path
) -> None:
    ledger = Ledger(broker, topic(partitions=2))
    lake = f"s3://{s3.bucket}/lakes/first"
    ledger.send_spread(events(4000), 2)
    first = workers.catch_up(ledger.topic, lake, "--verbose", env=s3.env)
    assert 4000 == first.report["bronze"]

    ledger.send_spread(events(1000, first=10_000), 2)
    second = workers.catch_up(ledger.topic, lake, env=s3.env)
    assert [[2000], [2000]] == [second.claims(0), second.claims(1)]
    assert 1000 == second.report["bronze"]

    proved = playlake("verify", "--lake", lake, "--broker", broker.url, "--json", env=s3.env)
    assert (0, True) == (proved.returncode, json.loads(proved.stdout)["holds"]), proved.stderr
    status = playlake("status", "--lake", lake, "--broker", broker.url, "--json", env=s3.env)
    assert [0, 0] == [source["lag"] for source in json.loads(status.stdout)["sources"]], status.stderr

    ledger.agrees_with(s3_servers.copy(s3, "lakes/first", tmp_path / "copy"))
    said = first.log + second.log + proved.stdout + proved.stderr + status.stdout + status.stderr
    assert [] == [secret for secret in s3.secrets if secret in said]


def test_a_killed_worker_s_lake_on_s3_is_taken_up_by_the_next(
    workers: Workers, broker: Broker, topic: MakeTopic, s3: S3, tmp_path: Path
) -> None:
    ledger = Ledger(broker, topic())
    lake = f"s3://{s3.bucket}/lakes/killed"
    ledger.send(events(3000))
    victim = workers.start(ledger.topic, lake, "--allowed-latency", "200ms", env=s3.env)
    with ledger.trickle():
        victim.wait_for(" flushed ", count=3)
        victim.kill()
    workers.catch_up(ledger.topic, lake, env=s3.env)
    copied = s3_servers.copy(s3, "lakes/killed", tmp_path / "copy")
    assert len(ledger) == rows_in(copied, "bronze")
    ledger.agrees_with(copied)


@pytest.mark.parametrize(
    ("bucket", "endpoint", "why"),
    [("no-such-bucket", None, "NoSuchBucket"), (None, "http://127.0.0.1:1", "Connection refused")],
    ids=["no bucket", "nobody listens"],
)
def test_a_store_that_does_not_serve_is_told_with_the_cause_and_without_the_key(
    s3: S3, bucket: str | None, endpoint: str | None, why: str
) -> None:
    lake = f"s3://{bucket or s3.bucket}/lake"
    env = {**s3.env, "AWS_ENDPOINT_URL": endpoint or s3.env["AWS_ENDPOINT_URL"]}
    done = playlake("status", "--lake", lake, env=env)
    assert (2, "") == (done.returncode, done.stdout)
    [said] = done.stderr.splitlines()
    assert said.startswith(f"playlake status: the store does not serve {lake}/silver/playback_events: ")
    assert why in said
    assert [] == [secret for secret in s3.secrets if secret in said]
