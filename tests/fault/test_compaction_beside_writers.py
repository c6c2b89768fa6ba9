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
from tests.broker import Broker
from tests.compactors import Compactors
from tests.conftest import MakeTopic
from tests.fault.viewed import CLOSED, PARTITIONS, Viewed, all_is_right, nobody_saw_less_or_double
from tests.ledger import Ledger, positions, rows_in
from tests.reading import Reader
from tests.viewing import viewing
from tests.workers import Worker, Workers

QUICK = ("--allowed-latency", "100ms")


def has_a_fate(lake: Path, ledger: Ledger) -> bool:
    """Whether every record is in silver or quarantine: no dedupe may have run since."""
    fates = positions(lake, "silver", ledger.topic) + positions(lake, "quarantine", ledger.topic)
    return len(fates) == len(ledger)


def is_healthy(worker: Worker) -> None:
    """It never took a refusal for the loss of its Kafka partitions."""
    assert [] == worker.lines("another writer claimed")
    assert [1] * PARTITIONS == [len(worker.claims(number)) for number in range(PARTITIONS)]


@pytest.mark.parametrize(
    ("until_then", "rewrite", "is_refused"),
    [
        (None, "after repair", True),
        ("after repair", "after dedupe", True),
        ("after dedupe", "before gold", False),
    ],
    ids=["repair", "dedupe", "compact"],
)
def test_an_append_that_a_rewrite_overtook_is_committed_again(
    viewed: Viewed,
    workers: Workers,
    compactors: Compactors,
    broker: Broker,
    topic: MakeTopic,
    lake: Path,
    dice: random.Random,
    until_then: str | None,
    rewrite: str,
    is_refused: bool,
) -> None:
    viewed.copy_to(lake)
    if until_then:
        assert -signal.SIGKILL == compactors.start(lake, fault=until_then).exit_code()
    ledger = Ledger(broker, topic(PARTITIONS))
    ledger.send_spread(viewing(dice, dice.randrange(20, 200), "more"), PARTITIONS)
    worker = workers.start(ledger.topic, lake, env={VARIABLE: "before silver=stop"})
    worker.until(lambda: worker.is_stopped, "it stopped between its check and its commit")
    assert -signal.SIGKILL == compactors.start(lake, fault=rewrite).exit_code()
    worker.send(signal.SIGCONT)
    worker.until(lambda: has_a_fate(lake, ledger), "what it held is in the lake")
    assert is_refused == bool(worker.lines("commit to silver refused"))
    ledger.send_spread(viewing(dice, 50, "fresh"), PARTITIONS)
    worker.until(lambda: has_a_fate(lake, ledger), "fresh events follow")
    is_healthy(worker)
    assert 0 == worker.stop()
    compactors.run(lake)
    all_is_right(lake, viewed.ledger, ledger)


def append(lake: Path, ledger: Ledger, worker: Worker, values: list[bytes]) -> None:
    """Have a worker write rows, some of them for the null partition, in several flushes."""
    for start in range(0, len(values), 40):
        ledger.send_spread(values[start : start + 40], PARTITIONS)
        worker.until(lambda: has_a_fate(lake, ledger), "they are in the lake")


@pytest.mark.parametrize("job", ["repair", "dedupe"])
def test_a_rewrite_planned_before_appends_goes_through_at_its_first_try(
    viewed: Viewed,
    workers: Workers,
    compactors: Compactors,
    broker: Broker,
    topic: MakeTopic,
    lake: Path,
    dice: random.Random,
    job: str,
) -> None:
    viewed.copy_to(lake)
    ledger = Ledger(broker, topic(PARTITIONS))
    worker = workers.start(ledger.topic, lake, *QUICK)
    worker.wait_for(" reading ")
    planned = compactors.start(lake, fault=f"before {job}=stop")
    planned.until(lambda: planned.is_stopped, "it planned")
    append(lake, ledger, worker, list(viewing(dice, 120, "more", undated=0.3, repeats=0.3)))
    planned.send(signal.SIGCONT)
    planned.succeeds()
    assert 1 == planned.report[job]["attempts"]
    assert 0 == worker.stop()
    compactors.run(lake)
    all_is_right(lake, viewed.ledger, ledger)


@pytest.mark.parametrize("job", ["repair", "dedupe"])
def test_a_rewrite_planned_before_a_compaction_is_planned_anew(
    viewed: Viewed, compactors: Compactors, lake: Path, job: str
) -> None:
    viewed.copy_to(lake)
    planned = compactors.start(lake, fault=f"before {job}=stop")
    planned.until(lambda: planned.is_stopped, "it planned")
    assert 0 < compact(Lake.at(str(lake)), "silver").partitions
    planned.send(signal.SIGCONT)
    planned.succeeds()
    assert 2 == planned.report[job]["attempts"]
    all_is_right(lake, viewed.ledger)


def test_a_claimant_s_trim_that_a_compaction_overtook_is_made_again(
    viewed: Viewed,
    workers: Workers,
    compactors: Compactors,
    broker: Broker,
    topic: MakeTopic,
    lake: Path,
    dice: random.Random,
) -> None:
    viewed.copy_to(lake)
    ledger = Ledger(broker, topic(PARTITIONS))
    ledger.send_spread(viewing(dice, dice.randrange(50, 200), "more", bad=0.5), PARTITIONS)
    torn = workers.start(ledger.topic, lake, env={VARIABLE: "before silver"})
    assert -signal.SIGKILL == torn.exit_code()
    claimant = workers.start(
        ledger.topic, lake, group=f"{workers.group}-2", env={VARIABLE: "before trim quarantine=stop"}
    )
    claimant.until(lambda: claimant.is_stopped, "it is about to trim")
    assert 0 < compact(Lake.at(str(lake)), "quarantine").partitions
    claimant.send(signal.SIGCONT)
    claimant.until(lambda: has_a_fate(lake, ledger), "all is in the lake")
    assert 0 == claimant.stop()
    compactors.run(lake)
    all_is_right(lake, viewed.ledger, ledger)


def test_compactions_get_through_beside_two_writing_workers_and_starve_neither(
    viewed: Viewed,
    workers: Workers,
    compactors: Compactors,
    broker: Broker,
    topic: MakeTopic,
    lake: Path,
    tmp_path: Path,
    dice: random.Random,
) -> None:
    viewed.copy_to(lake)
    ledger = Ledger(broker, topic(PARTITIONS))
    ledger.send_spread(viewing(dice, 4000, "more", days=2), PARTITIONS)
    both = [workers.start(ledger.topic, lake, "--allowed-latency", "1s") for _ in range(PARTITIONS)]
    endless = viewing(random.Random(dice.random()), 1_000_000, "fresh", days=2, undated=0.3)
    with Reader(lake, tmp_path, CLOSED) as reader, ledger.trickle(PARTITIONS, values=endless):
        for worker in both:
            worker.until(lambda worker=worker: len(worker.assigned) == 1, "each reads one Kafka partition")
        for _ in range(2):
            sent = len(viewed.ledger) + len(ledger)
            flushes = [len(worker.lines(" flushed ")) for worker in both]
            compactors.run(lake)
            for worker, before in zip(both, flushes, strict=True):
                worker.until(moved_on(worker, before), "it flushes on")
            both[0].until(at_least(sent, lake), "what was sent before the compaction is in the lake")
    for worker in both:
        assert 0 == worker.stop()
    workers.catch_up(ledger.topic, lake, group=f"{workers.group}-2")
    compactors.run(lake)
    upto = all_is_right(lake, viewed.ledger, ledger)
    nobody_saw_less_or_double(lake, reader, viewed, upto)


def moved_on(worker: Worker, flushes: int) -> Callable[[], bool]:
    return lambda: len(worker.lines(" flushed ")) > flushes


def at_least(records: int, lake: Path) -> Callable[[], bool]:
    return lambda: rows_in(lake, "bronze") >= records
