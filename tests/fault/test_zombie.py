"""A worker stopped (SIGSTOP) at a step, its Kafka partitions taken over, then woken: its commits are refused."""

from __future__ import annotations

import random
import signal
from pathlib import Path

import pytest

from sink.faults import VARIABLE
from tests.broker import Broker, fresh_name
from tests.conftest import MakeTopic
from tests.fault.promise import PARTITIONS, recover, the_promise_holds
from tests.fault.test_kill import FLUSH_STEPS, SHORT_STEPS
from tests.ledger import Ledger, events
from tests.workers import Workers


@pytest.mark.short_run(*SHORT_STEPS)
@pytest.mark.also_on_s3("before quarantine")
@pytest.mark.parametrize("step", FLUSH_STEPS)
def test_a_zombie_stopped_at_a_step_of_a_flush_does_no_harm(
    workers: Workers, broker: Broker, topic: MakeTopic, lake: Path | str, dice: random.Random, step: str
) -> None:
    ledger = Ledger(broker, topic(PARTITIONS))
    ledger.send_spread(events(dice.randrange(500, 2000), bad_every=dice.choice([2, 20])), PARTITIONS)
    zombie = workers.start(ledger.topic, lake, env={VARIABLE: f"{step}=stop"})
    zombie.until(lambda: zombie.is_stopped, "it stopped")
    owner = recover(
        workers, ledger, lake
    )  # claims without waiting for the session to expire: earlier than the group would
    assert owner.report["silver"] > 0 or step == "after silver"
    ledger.send_spread(events(200, first=9_000_000), PARTITIONS)
    zombie.send(signal.SIGCONT)
    zombie.wait_for("another writer claimed|the broker|reading", timeout_s=60)
    zombie.stop()
    recover(workers, ledger, lake)
    the_promise_holds(lake, broker, ledger)


@pytest.mark.also_on_s3("quarantine")
@pytest.mark.parametrize("claimed", ["silver", "quarantine", "bronze"])
def test_a_zombie_woken_while_the_new_owner_is_half_way_through_its_claim(
    workers: Workers, broker: Broker, topic: MakeTopic, lake: Path | str, dice: random.Random, claimed: str
) -> None:
    ledger = Ledger(broker, topic(PARTITIONS))
    ledger.send_spread(events(dice.randrange(500, 2000), bad_every=2), PARTITIONS)
    step = dice.choice(["before quarantine", "before silver"])
    zombie = workers.start(ledger.topic, lake, env={VARIABLE: f"{step}=stop"})
    zombie.until(lambda: zombie.is_stopped, "it stopped")
    owner = workers.start(ledger.topic, lake, group=fresh_name("group"), env={VARIABLE: f"after claim {claimed}=stop"})
    owner.until(lambda: owner.is_stopped, "it stopped half-way through its claim")
    zombie.send(signal.SIGCONT)
    zombie.wait_for("another writer claimed", timeout_s=60)
    zombie.kill()
    owner.send(signal.SIGCONT)
    owner.wait_for(" flushed ", timeout_s=60)
    owner.kill()
    recover(workers, ledger, lake)
    the_promise_holds(lake, broker, ledger)
