"""What the worker tells Prometheus: counted from committed rows, bounded in its labels, and cheap."""

import datetime as dt

import pyarrow as pa
import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from sink.lake import Lake
from sink.writer import Flushed, LakeWriter
from stream_app.metrics import MAX_CODES, WorkerMetrics, WorkerState, lag_records
from stream_app.web import not_ready
from tests.processing import processor
from tests.records import event_bytes, records, source

NOW_S = 1_800_000_000.0


def read(metrics: WorkerMetrics) -> dict[tuple, float]:
    """(name, *label values in the order of the labels' names) → value, by way of the text that Prometheus reads."""
    families = text_string_to_metric_families(generate_latest(metrics.registry).decode())
    return {
        (s.name, *(s.labels[label] for label in sorted(s.labels))): s.value
        for family in families
        for s in family.samples
    }


def flushed(ages_s=(), reasons=(), warnings=(), undated=0) -> Flushed:
    """A flush with silver rows of these ages and quarantine rows with these reasons."""
    times = [dt.datetime.fromtimestamp(NOW_S - age, dt.UTC) for age in ages_s]
    days = [None if n < undated else dt.date(2026, 11, 21) for n in range(len(times))]
    silver = pa.table(
        {
            "broker_timestamp": pa.array(times, pa.timestamp("us", "UTC")),
            "warnings": pa.array([list(warnings)] * len(times), pa.list_(pa.string())),
            "event_date": pa.array(days, pa.date32()),
        }
    )
    quarantine = pa.table({"reasons": pa.array([list(each) for each in reasons], pa.list_(pa.string()))})
    return Flushed({}, frozenset(), {}, {"silver": 0.2}, {"silver": silver, "quarantine": quarantine})


@pytest.fixture
def metrics() -> WorkerMetrics:
    return WorkerMetrics(WorkerState)


def test_a_flush_is_counted_by_its_rows(metrics):
    metrics.received(5)
    metrics.flushed(flushed([1, 1, 1], [["missing:user_id"]], ["unknown_title"], undated=2), now_s=NOW_S)
    found = read(metrics)
    assert 5 == found["playlake_received_events_total",]
    assert 3 == found["playlake_silver_events_total",]
    assert 2 == found["playlake_undated_events_total",]
    assert 3 == found["playlake_warnings_total", "unknown_title"]
    assert 1 == found["playlake_flush_seconds_count", "silver"]
    assert pytest.approx(0.2) == found["playlake_flush_seconds_sum", "silver"]


def test_a_quarantined_row_counts_once_and_each_of_its_reasons_too(metrics):
    metrics.flushed(flushed(reasons=[["missing:user_id", "wrong_type:country"], ["wrong_type:country"]]))
    found = read(metrics)
    assert 1 == found["playlake_quarantined_events_total", "missing:user_id"]
    assert 1 == found["playlake_quarantined_events_total", "wrong_type:country"]
    assert 1 == found["playlake_rule_violations_total", "missing:user_id"]
    assert 2 == found["playlake_rule_violations_total", "wrong_type:country"]


def test_freshness_is_a_histogram_of_every_row(metrics):
    metrics.flushed(flushed([0.2, 1, 3, 100_000]), now_s=NOW_S)
    metrics.flushed(flushed([-5, 12]), now_s=NOW_S)  # the broker's clock is ahead: as fresh as can be
    found = read(metrics)
    assert [2, 3, 3, 4, 4, 5, 6] == [
        found["playlake_freshness_seconds_bucket", bound]
        for bound in ("0.5", "1.0", "2.0", "5.0", "10.0", "86400.0", "+Inf")
    ]
    assert 6 == found["playlake_freshness_seconds_count",]
    assert pytest.approx(100_016.2) == found["playlake_freshness_seconds_sum",]


def test_reasons_without_number_end_as_other(metrics):
    metrics.flushed(flushed(reasons=[[f"made_up:{n}"] for n in range(MAX_CODES + 36)]))
    metrics.flushed(flushed(reasons=[["made_up:0"]]))
    found = {name: value for name, value in read(metrics).items() if name[0] == "playlake_rule_violations_total"}
    assert MAX_CODES + 1 == len(found)
    assert 36 == found["playlake_rule_violations_total", "other"]
    assert 2 == found["playlake_rule_violations_total", "made_up:0"]


def test_states_are_asked_for_at_each_look():
    states = [
        WorkerState(),
        WorkerState(
            store_trouble="away",
            registry_trouble="away",
            buffer_bytes=7,
            lag={("t", 3): 9},
            behind_s={("s", 4): 1.5},
            refused={"silver": 2},
            oldest_waiting_s=4,
        ),
    ]
    metrics = WorkerMetrics(lambda: states.pop(0))
    assert 1 == read(metrics)["playlake_store_up",]
    found = read(metrics)
    assert (0, 1) == (found["playlake_store_up",], found["playlake_broker_up",])
    assert 0 == found["playlake_registry_up",]
    assert (7, 4) == (found["playlake_buffer_bytes",], found["playlake_oldest_waiting_seconds",])
    assert 9 == found["playlake_kafka_lag_records", "3", "t"]
    assert 1.5 == found["playlake_kinesis_behind_seconds", "4", "s"]
    assert 2 == found["playlake_commit_conflicts_total", "silver"]


def test_every_name_that_dashboards_use_is_there_before_the_first_event(metrics):
    names = {name for name, *_ in read(metrics)}
    assert {
        "playlake_received_events_total",
        "playlake_silver_events_total",
        "playlake_undated_events_total",
        "playlake_fence_losses_total",
        "playlake_freshness_seconds_bucket",
        "playlake_buffer_bytes",
        "playlake_oldest_waiting_seconds",
        "playlake_store_up",
        "playlake_broker_up",
    } <= names


def test_what_a_real_flush_hands_over_can_be_counted(metrics, tmp_path):
    writer = LakeWriter(Lake.at(str(tmp_path)))
    writer.claim({source(): 0})
    batch = records([event_bytes(0), b"{", event_bytes(1)])
    done = processor()(batch)
    writer.add(batch, done.silver, done.quarantine)
    metrics.flushed(writer.flush())
    found = read(metrics)
    assert (2, 2) == (found["playlake_silver_events_total",], found["playlake_freshness_seconds_count",])
    assert 1 == found["playlake_quarantined_events_total", "malformed_json"]
    assert {1} == {found["playlake_flush_seconds_count", table] for table in ("bronze", "quarantine", "silver")}


@pytest.mark.parametrize(
    ("end", "done", "end_reached", "last_fetched", "lag"),
    [
        (10, 9, 10, 9, 0),
        (10, 3, 10, 9, 6),
        (10, 9, -1, -1, 0),
        (10, 7, 10, 7, 0),  # two transaction markers behind the last record
        (12, 7, 10, 7, 4),  # and then more came
    ],
)
def test_lag_counts_records_and_no_transaction_markers_at_the_end(end, done, end_reached, last_fetched, lag):
    assert lag == lag_records(end, done, end_reached, last_fetched)


@pytest.mark.parametrize(
    ("state", "why"),
    [
        (WorkerState(is_joined=True), []),
        (WorkerState(is_joined=True, oldest_waiting_s=60), []),
        (WorkerState(), ["has not assigned"]),
        (WorkerState(is_joined=True, store_trouble="no answer"), ["the store is away: no answer"]),
        (WorkerState(is_joined=True, broker_trouble="no answer"), ["the broker is away: no answer"]),
        (WorkerState(is_joined=True, registry_trouble="no answer"), ["the schema registry is away: no answer"]),
        (WorkerState(is_joined=True, oldest_waiting_s=61), ["waited 61 s for the lake; the limit is 60 s"]),
        (WorkerState(store_trouble="x", broker_trouble="y", oldest_waiting_s=99), ["group", "store", "broker", "99 s"]),
    ],
)
def test_readiness_names_every_reason(state, why):
    reasons = not_ready(state, freshness_limit_s=60)
    assert len(why) == len(reasons)
    assert all(part in reason for part, reason in zip(why, reasons, strict=True))
