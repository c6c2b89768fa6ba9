"""SIGKILL before and after every step of a claim and of a flush, and at any time: nothing is lost, nothing doubled."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from sink.faults import VARIABLE
from stream_app.catalogue import shipped_catalogue
from tests.broker import Broker, fresh_name
from tests.conftest import MakeTopic
from tests.fault.promise import PARTITIONS, recover, the_promise_holds
from tests.ledger import Ledger, events
from tests.workers import Workers

TABLES = ("bronze", "quarantine", "silver")
FLUSH_STEPS = [f"{moment} {table}" for table in TABLES for moment in ("before", "after files", "after")]
SHORT_STEPS = ("after files bronze", "before quarantine", "after quarantine", "before silver", "after silver")
"""Before, between and after the commits: enough for the short run, since "after bronze" is "before quarantine"."""
CLAIM_STEPS = [
    f"{moment} claim {table}" for table in ("silver", "quarantine", "bronze") for moment in ("before", "after")
]
TRIM_STEPS = ["before trim quarantine", "after trim quarantine"]
SHORT_CLAIM_STEPS = ("before claim silver", "after claim silver", "after claim quarantine", *TRIM_STEPS)
"""The same: "after claim bronze" is "before trim quarantine"."""


@pytest.mark.short_run(*SHORT_STEPS)
@pytest.mark.also_on_s3("before silver")
@pytest.mark.parametrize("step", FLUSH_STEPS)
def test_a_worker_killed_at_a_step_of_a_flush(
    workers: Workers, broker: Broker, topic: MakeTopic, lake: Path | str, dice: random.Random, step: str
) -> None:
    ledger = Ledger(broker, topic(PARTITIONS))
    ledger.send_spread(events(dice.randrange(500, 3000), bad_every=dice.choice([2, 7, 50])), PARTITIONS)
    doomed = workers.start(
        ledger.topic, lake, "--allowed-latency", "200ms", env={VARIABLE: f"{step}@{dice.randrange(1, 4)}"}
    )
    with ledger.trickle(PARTITIONS):
        assert -9 == doomed.exit_code()
    recover(workers, ledger, lake)
    the_promise_holds(lake, broker, ledger)


@pytest.mark.short_run(*SHORT_CLAIM_STEPS)
@pytest.mark.also_on_s3("after claim silver", "before trim quarantine")
@pytest.mark.parametrize("step", [*CLAIM_STEPS, *TRIM_STEPS])
def test_a_claimant_killed_half_way_after_a_torn_flush(
    workers: Workers, broker: Broker, topic: MakeTopic, lake: Path | str, dice: random.Random, step: str
) -> None:
    ledger = Ledger(broker, topic(PARTITIONS))
    ledger.send_spread(events(dice.randrange(200, 1000), bad_every=2), PARTITIONS)
    for fault in ("before silver", step):
        doomed = workers.start(ledger.topic, lake, group=fresh_name("group"), env={VARIABLE: fault})
        assert -9 == doomed.exit_code()
    recover(workers, ledger, lake)
    the_promise_holds(lake, broker, ledger)


@pytest.mark.also_on_s3("before silver")
@pytest.mark.parametrize("step", ["before quarantine", "before silver"])
def test_a_catalogue_changed_between_a_torn_flush_and_the_restart(
    workers: Workers, broker: Broker, topic: MakeTopic, lake: Path | str, tmp_path: Path, dice: random.Random, step: str
) -> None:
    ledger = Ledger(broker, topic(PARTITIONS))
    ledger.send_spread(events(dice.randrange(200, 1000), bad_every=dice.choice([2, 10])), PARTITIONS)
    catalogue = tmp_path / "titles.csv"
    shutil.copy(shipped_catalogue(), catalogue)
    doomed = workers.start(ledger.topic, lake, "--catalogue", str(catalogue), env={VARIABLE: step})
    assert -9 == doomed.exit_code()
    header, *rows = catalogue.read_text(encoding="utf-8").splitlines(keepends=True)
    catalogue.write_text(header + "".join(rows[dice.randrange(1, 200) :]), encoding="utf-8")
    recover(workers, ledger, lake, "--catalogue", str(catalogue))
    the_promise_holds(lake, broker, ledger)


@pytest.mark.also_on_s3
def test_workers_killed_at_any_time(
    workers: Workers, broker: Broker, topic: MakeTopic, lake: Path | str, dice: random.Random
) -> None:
    ledger = Ledger(broker, topic(PARTITIONS))
    ledger.send_spread(events(20_000, bad_every=20), PARTITIONS)
    with ledger.trickle(PARTITIONS):
        for number in range(3):
            doomed = workers.start(
                ledger.topic, lake, "--allowed-latency", "200ms", "--flush-bytes", "200kB", group=fresh_name("group")
            )
            doomed.wait_for(" flushed ", count=dice.randrange(1, 5) if number else 1)
            doomed.until(lambda: dice.random() < 0.2, "a moment later")
            doomed.kill()
    recover(workers, ledger, lake)
    the_promise_holds(lake, broker, ledger)
