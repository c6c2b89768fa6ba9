"""Rewrites against writers: both get through, and a healthy append that a rewrite refused is committed again."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from compaction.compact import compact
from sink.faults import VARIABLE
from sink.lake import Lake
from tests.broker import Broker, fresh_name
from tests.compactors import Compactors
from tests.conftest import MakeTopic
from tests.fault.viewed import CLOSED, PARTITIONS, Place, Viewed, all_is_right
from tests.ledger import Ledger
from tests.reading import Reader
from tests.viewing import viewing
from tests.workers import Worker, Workers

REWRITES = {"repair": (None, "after repair"), "dedupe": ("after repair", "after dedupe")}
"""Rewrite → (what to compact before, so that it alone is left to do; where to kill the compaction that does it)."""


def holds_all_of(ledger: Ledger, *workers: Worker) -> Callable[[], bool]:
    """Whether they flushed as many rows to silver and quarantine as records were sent by now."""
    sent = len(ledger)
    return lambda: sum(worker.rows("silver") + worker.rows("quarantine") for worker in workers) >= sent


def was_never_fenced(worker: Worker) -> None:
    """It never took a refusal for the loss of its Kafka partitions, nor read anything a second time.

    The group may have taken them from it: it stood still for as long as a compaction runs.
    """
    assert [] == worker.lines("another writer claimed")
    assert [1] * PARTITIONS == [worker.claims(number).count(0) for number in range(PARTITIONS)]


@pytest.mark.also_on_s3("in the long run")
@pytest.mark.parametrize("job", REWRITES)
def test_a_healthy_append_that_a_rewrite_refused_is_committed_again(
    viewed: Viewed,
    place: Place,
    workers: Workers,
    compactors: Compactors,
    broker: Broker,
    topic: MakeTopic,
    dice: random.Random,
    job: str,
) -> None:
    before, rewritten = REWRITES[job]
    if before:
        compactors.run_into(before, place.uri)
    ledger = Ledger(broker, topic(PARTITIONS))
    ledger.send_spread(viewing(dice, dice.randrange(20, 200), "more"), PARTITIONS)
    worker = workers.start(ledger.topic, place.uri, env={VARIABLE: "before silver=stop"})
    worker.until(lambda: worker.is_stopped, "it stopped between its check and its commit")
    compactors.run_into(rewritten, place.uri)
    worker.send(signal.SIGCONT)
    worker.until(holds_all_of(ledger, worker), "what it held is in the lake")
    assert [] != worker.lines("commit to silver refused")
    ledger.send_spread(viewing(dice, 50, "fresh"), PARTITIONS)
    worker.until(holds_all_of(ledger, worker), "fresh events follow")
    was_never_fenced(worker)
    assert 0 == worker.stop()
    compactors.run(place.uri)
    all_is_right(place, viewed, ledger)


def test_an_append_passes_a_compaction_and_gold(
    viewed: Viewed,
    place: Place,
    workers: Workers,
    compactors: Compactors,
    broker: Broker,
    topic: MakeTopic,
    dice: random.Random,
) -> None:
    compactors.run_into("before compact", place.uri)
    ledger = Ledger(broker, topic(PARTITIONS))
    ledger.send_spread(viewing(dice, dice.randrange(20, 200), "more"), PARTITIONS)
    worker = workers.start(ledger.topic, place.uri, env={VARIABLE: "before silver=stop"})
    worker.until(lambda: worker.is_stopped, "it stopped between its check and its commit")
    assert 0 < compactors.run(place.uri).report["compact"]["silver"]["partitions"]
    worker.send(signal.SIGCONT)
    worker.until(holds_all_of(ledger, worker), "what it held is in the lake")
    assert [] == worker.lines("refused")
    assert 0 == worker.stop()
    compactors.run(place.uri)
    all_is_right(place, viewed, ledger)


@pytest.mark.also_on_s3("in the long run")
@pytest.mark.parametrize("job", REWRITES)
def test_a_rewrite_planned_before_appends_goes_through_at_its_first_try(
    viewed: Viewed,
    place: Place,
    workers: Workers,
    compactors: Compactors,
    broker: Broker,
    topic: MakeTopic,
    dice: random.Random,
    job: str,
) -> None:
    ledger = Ledger(broker, topic(PARTITIONS))
    worker = workers.start(ledger.topic, place.uri, "--allowed-latency", "100ms")
    worker.wait_for(" reading ")
    planned = compactors.run_to_stop(f"before {job}", place.uri)
    for wave in range(3):
        ledger.send_spread(viewing(dice, 40, f"more{wave}", undated=0.3, repeats=0.3), PARTITIONS)
        worker.until(holds_all_of(ledger, worker), "they are in the lake")
    planned.go_on()
    planned.succeeds()
    assert 1 == planned.report[job]["attempts"]
    assert 0 == worker.stop()
    compactors.run(place.uri)
    all_is_right(place, viewed, ledger)


@pytest.mark.parametrize("job", REWRITES)
def test_a_rewrite_planned_before_a_compaction_is_planned_anew(
    viewed: Viewed, place: Place, compactors: Compactors, job: str, seed: int
) -> None:
    planned = compactors.run_to_stop(f"before {job}", place.uri)
    assert 0 < compact(Lake.at(place.uri), "silver").partitions
    planned.go_on()
    planned.succeeds()
    assert 2 == planned.report[job]["attempts"]
    all_is_right(place, viewed)


def test_a_claimant_s_trim_that_a_compaction_overtook_is_made_again(
    viewed: Viewed,
    place: Place,
    workers: Workers,
    compactors: Compactors,
    broker: Broker,
    topic: MakeTopic,
    dice: random.Random,
) -> None:
    ledger = Ledger(broker, topic(PARTITIONS))
    ledger.send_spread(viewing(dice, dice.randrange(50, 200), "more", bad=0.5), PARTITIONS)
    torn = workers.start(ledger.topic, place.uri, env={VARIABLE: "before silver"})
    assert -signal.SIGKILL == torn.exit_code()
    env = {VARIABLE: "before trim quarantine=stop"}
    claimant = workers.start(ledger.topic, place.uri, group=fresh_name("group"), env=env)
    claimant.until(lambda: claimant.is_stopped, "it is about to trim")
    assert 0 < compact(Lake.at(place.uri), "quarantine").partitions
    claimant.send(signal.SIGCONT)
    claimant.until(holds_all_of(ledger, claimant), "all is in the lake")
    assert 0 == claimant.stop()
    compactors.run(place.uri)
    all_is_right(place, viewed, ledger)


@pytest.mark.also_on_s3("in the long run")
def test_compactions_get_through_beside_two_writing_workers_and_starve_neither(
    viewed: Viewed,
    place: Place,
    workers: Workers,
    compactors: Compactors,
    broker: Broker,
    topic: MakeTopic,
    tmp_path: Path,
    dice: random.Random,
) -> None:
    ledger = Ledger(broker, topic(PARTITIONS))
    ledger.send_spread(viewing(dice, 2000, "more", days=1), PARTITIONS)
    both = [workers.start(ledger.topic, place.uri, "--allowed-latency", "2s") for _ in range(PARTITIONS)]
    endless = viewing(random.Random(dice.random()), 1_000_000, "fresh", days=1, undated=0.3)
    trickle = ledger.trickle(PARTITIONS, per_s=50, values=endless)
    with Reader(place.uri, tmp_path, CLOSED) as reader, trickle:
        for worker in both:
            worker.until(reads_its_share(worker), "each reads one Kafka partition, and flushed some of it")
        for _ in range(2):
            flushed = [worker.rows("bronze") for worker in both]
            sent = holds_all_of(ledger, *both)
            compactors.run(place.uri)
            for worker, before in zip(both, flushed, strict=True):
                worker.until(has_flushed_more(worker, before), "it goes on")
                worker.until(sent, "what was sent before the compaction is in the lake")
    for worker in both:
        worker.until(holds_all_of(ledger, *both), "the rest follows")
    for worker in both:
        assert 0 == worker.stop()
    compactors.run(place.uri)
    all_is_right(place, viewed, ledger, reader=reader)


def reads_its_share(worker: Worker) -> Callable[[], bool]:
    return lambda: len(worker.assigned) == 1 and worker.rows("bronze") > 0


def has_flushed_more(worker: Worker, rows: int) -> Callable[[], bool]:
    return lambda: worker.rows("bronze") > rows
