"""What a worker logs: one line a flush with positions and counts, and nothing of what the records hold."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.broker import Broker
from tests.ledger import Ledger, events, rows_in
from tests.records import event_bytes
from tests.workers import Workers

pytestmark = pytest.mark.broker
MakeTopic = Callable[..., str]


def test_json_lines_tell_each_flush_and_no_payload(
    workers: Workers, broker: Broker, topic: MakeTopic, lake: Path
) -> None:
    ledger = Ledger(broker, topic())
    ledger.send([*events(200), event_bytes(999, user_id="marlene@example.org"), b'{"user_id": "marlene@example.org"}'])
    worker = workers.catch_up(ledger.topic, lake, "--log-format", "json", "--verbose")
    lines = [json.loads(line) for line in worker.log.splitlines()]
    assert all({"time", "level", "logger", "message"} <= line.keys() for line in lines)
    flushes = [line for line in lines if "positions" in line]
    assert rows_in(lake, "bronze") == sum(line["rows"]["bronze"] for line in flushes) == 202
    assert rows_in(lake) == sum(line["rows"]["silver"] for line in flushes)
    assert [201] == list(flushes[-1]["positions"].values())
    assert {"bronze", "quarantine", "silver"} == set(flushes[-1]["seconds"])
    assert "marlene" not in worker.log
