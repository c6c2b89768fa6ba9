"""Rules in a worker on a real Kafka: counted, tried on the topic first, stopped by a budget, gone on with."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from audit.verify import verify
from sink.lake import Lake
from tests.broker import Broker
from tests.ledger import Ledger, events, rows_in
from tests.records import event_bytes
from tests.workers import Workers, playlake

pytestmark = pytest.mark.broker
MakeTopic = Callable[..., str]

RULES = """
version = 1
[[rules]]
name = "no_tablets"
condition = "device_type = 'tablet'"
action = "quarantine"
message = "tablets are not yet out"
budget = 0.05
"""


def test_a_budget_stops_the_worker_before_the_flush_and_it_goes_on_once_accepted(
    workers: Workers, broker: Broker, topic: MakeTopic, lake: Path, tmp_path: Path
) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text(RULES)
    ledger = Ledger(broker, topic())
    ledger.send(events(300))
    worker = workers.catch_up(ledger.topic, lake, "--rules", str(rules))
    assert {"no_tablets": 0} == worker.report["rules"]
    tablets = [event_bytes(1000 + n, device_type="tablet") for n in range(40)]
    ledger.send([*tablets, *events(160, first=2000)])
    tried = playlake(
        "rules", "test", "--rules", str(rules), "--sample", ledger.topic, "--broker", broker.url, "--json", cwd=tmp_path
    )
    assert (1, 500) == (tried.returncode, json.loads(tried.stdout)["records"]), tried.stderr

    stopped = workers.start(ledger.topic, lake, "--until-caught-up", "--rules", str(rules), "--allowed-latency", "60s")
    assert 2 == stopped.exit_code()
    [line] = stopped.lines("^playlake stream: ")
    assert "rule 'no_tablets': 40 of 200 records (20.0%), the budget is 5.0%" in line
    assert 300 == rows_in(lake, "bronze"), "nothing of the flush was committed"

    accepted = workers.catch_up(ledger.topic, lake, "--rules", str(rules), "--accept-over-budget")
    assert {"no_tablets": 40} == accepted.report["rules"]
    assert 500 == rows_in(lake, "bronze") == rows_in(lake) + rows_in(lake, "quarantine")
    assert () == verify(Lake.at(str(lake)), {"bootstrap.servers": broker.bootstrap}).faults
