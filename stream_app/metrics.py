"""The worker's metrics in Prometheus's text format.

What flows is counted once a batch or once a flush, never once a record, and from committed rows: a restart counts
nothing twice. What is a state (lag, buffers) is asked for when somebody looks. Labels are bounded: a topic's Kafka
partitions, three tables, and at most `MAX_CODES` reasons or warnings, after which a new one counts as `other`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from sink.writer import Flushed

MAX_CODES: Final = 64
FRESHNESS_BOUNDS_S: Final = (0.5, 1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 900, 3600, 21600, 86400)
_FLUSH_BOUNDS_S: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


@dataclass(frozen=True)
class WorkerState:
    """How a worker is at one moment.

    Attributes:
        is_joined: whether the group has told which Kafka partitions are its own (perhaps none).
        store_trouble: why the store is being waited for; None while it answers.
        broker_trouble: why the broker is being waited for; None while it answers.
        registry_trouble: why the schema registry is being waited for; None while it answers.
        oldest_waiting_s: since the broker's time of the oldest record fetched and not yet in the lake; 0 without one.
        buffer_bytes: of records fetched and not yet in the lake.
        refused: per table, commits refused so far because others changed it.
        lag: per topic and Kafka partition of its own, records between the lake and the end last heard.
        behind_s: per stream and shard of its own, how far what was fetched is behind now.
    """

    is_joined: bool = False
    store_trouble: str | None = None
    broker_trouble: str | None = None
    registry_trouble: str | None = None
    oldest_waiting_s: float = 0.0
    buffer_bytes: int = 0
    refused: Mapping[str, int] = field(default_factory=dict)
    lag: Mapping[tuple[str, int], int] = field(default_factory=dict)
    behind_s: Mapping[tuple[str, int], float] = field(default_factory=dict)


def lag_records(end: int, done: int, end_reached: int, last_fetched: int) -> int:
    """Return the records between the lake and the end of a Kafka partition.

    Args:
        end: the offset that a next record would get.
        done: the last offset in the lake.
        end_reached: the end as it was when everything up to it had been fetched, -1 before.
        last_fetched: the last record's offset at that time: what lies behind it is transaction markers, no records.
    """
    return 0 if end_reached >= end and done >= last_fetched else max(0, end - done - 1)


class WorkerMetrics:
    """One worker's metrics, in a registry of their own."""

    def __init__(self, state: Callable[[], WorkerState]) -> None:
        """Set up.

        Args:
            state: asked at each look, in the thread that looks; must not block.
        """
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._received = self._counter("received_events", "Records fetched from Kafka and passed on to be processed.")
        self._silver = self._counter("silver_events", "Rows committed to silver.")
        self._undated = self._counter("undated_events", "Rows committed to silver's null partition.")
        self._fence_losses = self._counter("fence_losses", "Kafka partitions that another writer claimed from us.")
        self._quarantined = _Codes(
            self._counter("quarantined_events", "Rows committed to quarantine, each by its first reason.", "reason")
        )
        self._violations = _Codes(
            self._counter("rule_violations", "Reasons of quarantined rows; a row has one or more.", "rule")
        )
        self._warnings = _Codes(self._counter("warnings", "Warnings of silver's rows; most rows have none.", "warning"))
        self._flush_seconds = Histogram(
            "playlake_flush_seconds",
            "Time to write and commit one table's part of a flush.",
            ["table"],
            buckets=_FLUSH_BOUNDS_S,
            registry=self.registry,
        )
        self._freshness = _Freshness()
        self.registry.register(self._freshness)
        self.registry.register(_States(state))

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"playlake_{name}", text, labels, registry=self.registry)

    def received(self, records: int) -> None:
        """Count a batch that was fetched."""
        self._received.inc(records)

    def fence_lost(self, sources: int) -> None:
        """Count Kafka partitions that another writer claimed."""
        self._fence_losses.inc(sources)

    def flushed(self, flushed: Flushed, *, now_s: float | None = None) -> None:
        """Count a flush, right after its last commit: about 3 ms for 300,000 rows.

        Args:
            flushed: with its tables.
            now_s: when silver became queryable, as Unix time; None is now.
        """
        for table, seconds in flushed.seconds.items():
            self._flush_seconds.labels(table).observe(seconds)
        silver, quarantine = flushed.tables["silver"], flushed.tables["quarantine"]
        self._silver.inc(silver.num_rows)
        self._undated.inc(silver["event_date"].null_count)
        self._warnings.count(pc.list_flatten(silver["warnings"]))
        self._violations.count(pc.list_flatten(quarantine["reasons"]))
        self._quarantined.count(pc.list_element(quarantine["reasons"], 0))
        self._freshness.observe(silver["broker_timestamp"], time.time() if now_s is None else now_s)


class _Codes:
    """A counter by a code that comes from the rows: a bounded number of them, the rest as `other`."""

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self._known: set[str] = set()

    def count(self, codes: pa.ChunkedArray) -> None:
        for entry in pc.value_counts(codes).to_pylist():
            code = str(entry["values"])
            if code not in self._known and len(self._known) < MAX_CODES:
                self._known.add(code)
            self._counter.labels(code if code in self._known else "other").inc(entry["counts"])


class _Freshness(Collector):
    """From the broker's time of a record to its being queryable: a histogram filled by whole columns."""

    def __init__(self) -> None:
        self._counts = np.zeros(len(FRESHNESS_BOUNDS_S) + 1, np.int64)  # cumulative, the last of them without a bound
        self._sum_s = 0.0

    def observe(self, broker_timestamps: pa.ChunkedArray, now_s: float) -> None:
        for chunk in broker_timestamps.drop_null().chunks:
            # Not below 0: the broker's clock may be ahead of ours.
            ages_us = np.maximum(int(now_s * 1e6) - chunk.cast(pa.int64()).to_numpy(), 0)
            for number, bound_s in enumerate(FRESHNESS_BOUNDS_S):
                self._counts[number] += np.count_nonzero(ages_us <= bound_s * 1e6)
            self._counts[-1] += len(ages_us)
            self._sum_s += float(ages_us.sum()) / 1e6

    def collect(self) -> Iterator[Metric]:
        bounds = [*map(str, map(float, FRESHNESS_BOUNDS_S)), "+Inf"]
        yield HistogramMetricFamily(
            "playlake_freshness_seconds",
            "From the broker's time of a record to its commit to silver.",
            buckets=list(zip(bounds, self._counts.tolist(), strict=True)),
            sum_value=self._sum_s,
        )


class _States(Collector):
    """What is asked for at each look."""

    def __init__(self, state: Callable[[], WorkerState]) -> None:
        self._state = state

    def describe(self) -> Iterator[Metric]:
        """Name nothing beforehand: the worker is not up yet when this is registered."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        state = self._state()
        yield _gauge("buffer_bytes", "Records fetched and not yet in the lake.", state.buffer_bytes)
        waiting = "Age, by the broker's time, of the oldest record fetched and not yet in the lake."
        yield _gauge("oldest_waiting_seconds", waiting, state.oldest_waiting_s)
        yield _gauge("store_up", "Whether the lake's store answers.", state.store_trouble is None)
        yield _gauge("broker_up", "Whether the broker answers.", state.broker_trouble is None)
        yield _gauge("registry_up", "Whether the schema registry answers.", state.registry_trouble is None)
        refused = CounterMetricFamily(
            "playlake_commit_conflicts",
            "Commits refused because others changed the table, and tried again.",
            labels=["table"],
        )
        for table, count in state.refused.items():
            refused.add_metric([table], count)
        yield refused
        lag = GaugeMetricFamily(
            "playlake_kafka_lag_records",
            "Records between the lake and the end of a Kafka partition that this worker reads.",
            labels=["topic", "kafka_partition"],
        )
        for (topic, kafka_partition), records in state.lag.items():
            lag.add_metric([topic, str(kafka_partition)], records)
        yield lag
        behind = GaugeMetricFamily(
            "playlake_kinesis_behind_seconds",
            "Time between now and that up to which a shard of this worker's was fetched.",
            labels=["stream", "shard"],
        )
        for (stream, shard), seconds in state.behind_s.items():
            behind.add_metric([stream, str(shard)], seconds)
        yield behind


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"playlake_{name}", text, value=float(value))
