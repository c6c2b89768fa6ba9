"""A worker with a key, on a real Kafka; one without it, or with another, is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from audit.verify import verify
from sink.lake import Lake
from sink.pseudonyms import Pseudonyms
from tests import lakes
from tests.broker import Broker
from tests.ledger import Ledger, events
from tests.workers import Workers

pytestmark = pytest.mark.broker
MakeTopic = Callable[..., str]

KEY = b"a key of some length"


def test_a_worker_writes_pseudonyms_and_none_without_the_key_may_follow(
    workers: Workers, broker: Broker, topic: MakeTopic, lake: Path, tmp_path: Path
) -> None:
    key, other = tmp_path / "key", tmp_path / "other"
    key.write_bytes(KEY)
    other.write_bytes(KEY[::-1])
    ledger = Ledger(broker, topic())
    ledger.send(events(300))
    workers.catch_up(ledger.topic, lake, "--pseudonym-key-file", str(key))
    users = lakes.rows(Lake.at(str(lake)), "select distinct user_id from silver")
    assert [(Pseudonyms(KEY).of("user_id", "u1"),)] == users

    ledger.send(events(10, first=1000))
    for flags, why in (((), "holds pseudonyms"), (("--pseudonym-key-file", str(other)), "find the right one")):
        refused = workers.start(ledger.topic, lake, "--until-caught-up", *flags)
        assert 2 == refused.exit_code()
        assert 1 == len(refused.lines(f"^playlake stream: .*{why}"))
    workers.catch_up(ledger.topic, lake, "--pseudonym-key-file", str(key))
    assert () == verify(Lake.at(str(lake)), {"bootstrap.servers": broker.bootstrap}).faults
    assert users == lakes.rows(Lake.at(str(lake)), "select distinct user_id from silver")
