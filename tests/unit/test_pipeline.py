"""The pipeline's order of things, its limits and its patience, with the real processor and the real writer."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future

import pyarrow as pa
import pytest

from schemas.errors import OverBudget, RegistryUnavailable, RuleBroken, StoreUnavailable, TopicRecreated
from schemas.wire import Registry
from sink.lake import Lake
from sink.writer import Flushed, LakeWriter
from stream_app.budgets import Budgets
from stream_app.catalogue import WatchedCatalogue, shipped_catalogue
from stream_app.known_schemas import KnownSchemas
from stream_app.pipeline import Limits, Pipeline
from stream_app.process import Processor
from stream_app.rules import Budget, Rule, RuleSet
from tests.avro import avro_bytes, schema_text
from tests.lake_contents import positions_of
from tests.records import event_bytes, records, source

WAIT_S = 20.0
NEVER_S = 3600.0
NO_RULES = RuleSet()


class Harness:
    """A pipeline over a fresh lake, and what it reported."""

    def __init__(
        self,
        lake: Lake,
        limits: Limits,
        writer: LakeWriter | None = None,
        before_flush: Callable[[Callable[[], bool]], None] | None = None,
        registry: Registry | None = None,
        rules: RuleSet = NO_RULES,
        accept_over_budget: bool = False,
    ) -> None:
        catalogue = WatchedCatalogue(shipped_catalogue())
        self.lake = lake
        self.flushes: list[Flushed] = []
        self.failure: Future[BaseException] = Future()
        self.flushed = threading.Semaphore(0)
        self.pipeline = Pipeline(
            writer or LakeWriter(lake),
            Processor(catalogue.titles, pa.table({"code": ["DE"], "region": ["Europe"]}), rules),
            catalogue,
            limits,
            schemas=KnownSchemas(registry),
            budgets=Budgets(rules, accept=accept_over_budget),
            on_flushed=self._on_flushed,
            on_room=lambda: None,
            on_failure=self.failure.set_result,
            before_flush=before_flush,
        )
        self.pipeline.start()

    def _on_flushed(self, flushed: Flushed) -> None:
        self.flushes.append(flushed)
        self.flushed.release()

    def claim(self, kafka_partition: int = 0) -> dict:
        return self.pipeline.claim({source(kafka_partition): 0}).result(WAIT_S)

    def submit(self, first: int, count: int, kafka_partition: int = 0) -> None:
        values = [event_bytes(first + n) for n in range(count)]
        self.pipeline.submit(records(values, first, kafka_partition))


@pytest.fixture
def harness(tmp_path):
    made: list[Harness] = []

    def make(limits: Limits, **options) -> Harness:
        made.append(Harness(Lake.at(str(tmp_path / "lake")), limits, **options))
        return made[-1]

    yield make
    for each in made:
        each.pipeline.stop(flush=False, timeout_s=WAIT_S)


def test_a_row_is_flushed_once_it_is_as_old_as_the_allowed_latency(harness):
    h = harness(Limits(allowed_latency_s=0.05))
    h.claim()
    h.submit(0, 3)
    assert h.flushed.acquire(timeout=WAIT_S)
    assert {source(): 2} == h.flushes[0].done


def test_a_full_buffer_is_flushed_at_once(harness):
    h = harness(Limits(allowed_latency_s=NEVER_S, flush_bytes=1))
    h.claim()
    h.submit(0, 3)
    assert h.flushed.acquire(timeout=WAIT_S)
    assert [(0, 0), (0, 1), (0, 2)] == positions_of(h.lake, "silver")


def test_what_was_submitted_before_a_flush_is_in_it(harness):
    h = harness(Limits(allowed_latency_s=NEVER_S))
    h.claim()
    for first in range(0, 50, 5):
        h.submit(first, 5)
    h.pipeline.flush().result(WAIT_S)
    assert {source(): 49} == h.flushes[0].done


def test_a_release_flushes_first_and_drops_what_comes_later(harness):
    h = harness(Limits(allowed_latency_s=NEVER_S))
    h.claim()
    h.submit(0, 5)
    h.pipeline.release([source()], flush=True).result(WAIT_S)
    h.submit(5, 5)
    h.pipeline.flush().result(WAIT_S)
    assert [(0, n) for n in range(5)] == positions_of(h.lake, "bronze")


def test_a_release_of_what_is_lost_does_not_flush(harness):
    h = harness(Limits(allowed_latency_s=NEVER_S))
    h.claim()
    h.submit(0, 5)
    h.pipeline.release([source()], flush=False).result(WAIT_S)
    h.pipeline.flush().result(WAIT_S)
    assert [] == positions_of(h.lake, "bronze")


def test_stop_flushes_what_was_taken(harness):
    h = harness(Limits(allowed_latency_s=NEVER_S))
    h.claim()
    h.submit(0, 5)
    assert h.pipeline.stop(flush=True, timeout_s=WAIT_S)
    assert [(0, n) for n in range(5)] == positions_of(h.lake, "silver")


def test_room_ends_at_the_limit_and_comes_back_with_the_flush(harness):
    h = harness(Limits(allowed_latency_s=NEVER_S, max_in_flight_bytes=1 << 10))
    h.claim()
    assert h.pipeline.has_room
    h.submit(0, 50)
    h.pipeline.flush().result(WAIT_S)
    assert h.pipeline.has_room
    assert 0 == h.pipeline.in_flight_bytes


class AwayStore(LakeWriter):
    """A writer whose store is away for the first calls of `flush`."""

    def __init__(self, lake: Lake, failures: int) -> None:
        super().__init__(lake)
        self.failures = failures

    def flush(self) -> Flushed:
        if self.failures and not self.is_empty:
            self.failures -= 1
            raise StoreUnavailable("the store does not serve the lake: no answer")
        return super().flush()


def test_a_store_that_is_away_is_waited_for(harness, tmp_path):
    h = harness(Limits(allowed_latency_s=NEVER_S), writer=AwayStore(Lake.at(str(tmp_path / "lake")), failures=2))
    h.claim()
    h.submit(0, 5)
    h.pipeline.flush().result(WAIT_S)
    assert h.pipeline.store_trouble is None
    assert [(0, n) for n in range(5)] == positions_of(h.lake, "silver")


def test_a_store_that_stays_away_is_not_waited_for_longer_than_stop_allows(harness, tmp_path):
    h = harness(Limits(allowed_latency_s=NEVER_S), writer=AwayStore(Lake.at(str(tmp_path / "lake")), failures=10_000))
    h.claim()
    h.submit(0, 5)
    assert not h.pipeline.stop(flush=True, timeout_s=0.5)
    assert [] == positions_of(h.lake, "bronze")


def test_a_bug_stops_the_pipeline_and_is_reported_once(harness, tmp_path):
    class Broken(LakeWriter):
        def flush(self) -> Flushed:
            if not self.is_empty:
                raise ZeroDivisionError("a bug")
            return super().flush()

    h = harness(Limits(allowed_latency_s=NEVER_S), writer=Broken(Lake.at(str(tmp_path / "lake"))))
    h.claim()
    h.submit(0, 5)
    with pytest.raises(ZeroDivisionError):
        h.pipeline.flush().result(WAIT_S)
    assert isinstance(h.failure.result(WAIT_S), ZeroDivisionError)
    with pytest.raises(ZeroDivisionError):
        h.pipeline.flush().result(WAIT_S)
    assert [] == h.flushes


def test_the_check_before_a_flush_is_made_when_there_is_something_to_flush(harness):
    checks: list[bool] = []
    h = harness(Limits(allowed_latency_s=NEVER_S), before_flush=lambda should_give_up: checks.append(should_give_up()))
    h.claim()
    h.pipeline.flush().result(WAIT_S)
    for number in range(2):
        h.submit(5 * number, 5)
        h.pipeline.flush().result(WAIT_S)
    h.pipeline.flush().result(WAIT_S)
    assert [False, False] == checks


def test_what_became_due_during_a_slow_flush_is_flushed_together(harness, monkeypatch):
    monkeypatch.setattr("stream_app.pipeline._CHUNK_ROWS", 1)
    is_flushing, is_over = threading.Event(), threading.Event()

    def be_slow(should_give_up: Callable[[], bool]) -> None:
        is_flushing.set()
        is_over.wait(WAIT_S)

    h = harness(Limits(allowed_latency_s=0.001), before_flush=be_slow)
    h.claim()
    h.submit(0, 5)
    assert is_flushing.wait(WAIT_S)
    for first in (5, 10, 15):
        h.submit(first, 5)
    until = time.monotonic() + WAIT_S
    while h.pipeline._outbox.qsize() < 3:
        assert time.monotonic() < until
        time.sleep(0.01)
    is_over.set()
    assert all(h.flushed.acquire(timeout=WAIT_S) for _ in range(2))
    assert [{source(): 4}, {source(): 19}] == [flushed.done for flushed in h.flushes]


def test_nothing_is_written_when_the_check_before_a_flush_fails(harness):
    def refuse(should_give_up: Callable[[], bool]) -> None:
        raise TopicRecreated("another topic")

    h = harness(Limits(allowed_latency_s=NEVER_S), before_flush=refuse)
    h.claim()
    h.submit(0, 5)
    with pytest.raises(TopicRecreated):
        h.pipeline.flush().result(WAIT_S)
    assert isinstance(h.failure.result(WAIT_S), TopicRecreated)
    assert not h.pipeline.stop(flush=True, timeout_s=WAIT_S)
    assert [] == positions_of(h.lake, "bronze")


class AwayRegistry:
    """A registry that is away for the first questions."""

    def __init__(self, failures: int) -> None:
        self.failures = failures

    def find(self, schema_id: int) -> str | None:
        if self.failures:
            self.failures -= 1
            raise RegistryUnavailable("the schema registry does not answer")
        return schema_text()

    def register(self, subject: str, schema: str) -> int:
        raise AssertionError("a worker registers nothing")


def test_a_registry_that_is_away_is_waited_for_before_the_batch_is_processed(harness):
    h = harness(Limits(allowed_latency_s=NEVER_S), registry=AwayRegistry(2))
    h.claim()
    h.pipeline.submit(records([avro_bytes(0), event_bytes(1)]))
    h.pipeline.flush().result(WAIT_S)
    assert [(0, 0), (0, 1)] == positions_of(h.lake, "silver")
    assert h.pipeline.registry_trouble is None


def test_a_worker_told_to_stop_does_not_wait_for_the_registry(harness):
    h = harness(Limits(allowed_latency_s=NEVER_S), registry=AwayRegistry(10**9))
    h.claim()
    h.pipeline.submit(records([avro_bytes(0)]))
    assert not h.pipeline.stop(flush=True, timeout_s=0.3)
    assert isinstance(h.failure.result(WAIT_S), RegistryUnavailable)
    assert [] == positions_of(h.lake, "bronze")


FORBIDDEN = {"name": "no_tablets", "condition": "device_type = 'tablet'", "message": "tablets are not yet out"}


def mixed(tablets: int, others: int) -> pa.Table:
    return records([event_bytes(n, device_type="tablet" if n < tablets else "web") for n in range(tablets + others)])


def test_a_flush_over_a_rules_budget_is_not_committed_and_the_error_says_which_rule(harness):
    rules = RuleSet((Rule(**FORBIDDEN, action="warn", budget=0.1),), Budget(at_least=10))
    h = harness(Limits(allowed_latency_s=NEVER_S), rules=rules)
    h.claim()
    h.pipeline.submit(mixed(tablets=2, others=8))
    with pytest.raises(OverBudget, match=r"rule 'no_tablets': 2 of 10 records \(20\.0%\), the budget is 10\.0%"):
        h.pipeline.flush().result(WAIT_S)
    assert [] == positions_of(h.lake, "bronze")


@pytest.mark.parametrize(("tablets", "others"), [(1, 9), (9, 0)])
def test_a_flush_within_its_budget_or_too_small_to_judge_is_committed(harness, tablets, others):
    rules = RuleSet((Rule(**FORBIDDEN, action="warn", budget=0.1),), Budget(at_least=10))
    h = harness(Limits(allowed_latency_s=NEVER_S), rules=rules)
    h.claim()
    h.pipeline.submit(mixed(tablets, others))
    h.pipeline.flush().result(WAIT_S)
    assert tablets + others == len(positions_of(h.lake, "silver"))


def test_the_budget_in_all_counts_what_is_quarantined_for_whatever_reason_and_can_be_accepted(harness):
    rules = RuleSet((Rule(**FORBIDDEN, action="quarantine"),), Budget(quarantined=0.25, at_least=4))
    bad = records([event_bytes(0, device_type="tablet"), b"{", event_bytes(2), event_bytes(3)])
    strict = harness(Limits(allowed_latency_s=NEVER_S), rules=rules)
    strict.claim()
    strict.pipeline.submit(bad)
    with pytest.raises(OverBudget, match="quarantined in all: 2 of 4"):
        strict.pipeline.flush().result(WAIT_S)
    lenient = harness(Limits(allowed_latency_s=NEVER_S), rules=rules, accept_over_budget=True)
    lenient.claim()
    lenient.pipeline.submit(bad)
    lenient.pipeline.flush().result(WAIT_S)
    assert [(0, 0), (0, 1)] == positions_of(lenient.lake, "quarantine")


def test_a_rule_that_stops_the_worker_lets_nothing_of_its_batch_through(harness):
    h = harness(Limits(allowed_latency_s=NEVER_S), rules=RuleSet((Rule(**FORBIDDEN, action="fail"),)))
    h.claim()
    h.pipeline.submit(mixed(tablets=1, others=3))
    error = h.failure.result(WAIT_S)
    assert isinstance(error, RuleBroken)
    assert "playback[0]@0 breaks the rule 'no_tablets'" in str(error)
    assert [] == positions_of(h.lake, "bronze")
