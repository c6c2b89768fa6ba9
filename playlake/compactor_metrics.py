"""What the compaction job tells Prometheus, and whether it is ready: when it last went through, and what it found."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    ProcessCollector,
    Summary,
    generate_latest,
)

from audit.status import read_sizes
from compaction.job import Step
from playlake.web import Page
from sink.lake import Lake

_LATE_AFTER_S: Final = 3600.0
_LATE_AFTER_RUNS: Final = 3


class CompactorMetrics:
    """One compactor's metrics, in a registry of their own. Set by the job, read by the web server's threads."""

    def __init__(self, lake: Lake, every_s: float, *, clock: Callable[[], float] = time.time) -> None:
        """Set up.

        Args:
            lake: what is compacted.
            every_s: the pause between two runs; not ready once none went through for three of it and for an hour, which
                a run on a large lake may take.
            clock: Unix time.
        """
        self._lake, self._every_s, self._clock = lake, every_s, clock
        self._trouble: str | None = None
        self._begun_at, self._done_at = clock(), 0.0
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._last = self._gauge("last_compaction_timestamp_seconds", "When the job last went through, as Unix time.")
        self._null_rows = self._gauge("null_partition_rows", "Silver's rows without a usable event time.")
        self._files = self._gauge("table_files", "Live data files.", "table")
        self._bytes = self._gauge("table_bytes", "Bytes of the live data files.", "table")
        self._rows = self._gauge("table_rows", "Rows.", "table")
        self._failures = self._counter("compaction_failures", "Runs that did not go through.")
        self._duplicates = self._counter("duplicate_events", "Repeated events that dedupe dropped from silver.")
        self._repaired = self._counter("repaired_events", "Rows that repair moved out of the null partition.")
        self._seconds = Summary(
            "playlake_compaction_step_seconds", "Time that the job's steps took.", ["step"], registry=self.registry
        )
        if not lake.is_s3:
            self._disk_free = self._gauge("disk_free_bytes", "Free bytes of the disk that the lake is on.")
            self._disk_size = self._gauge("disk_size_bytes", "Bytes of the disk that the lake is on.")

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"playlake_{name}", text, labels, registry=self.registry)

    def _counter(self, name: str, text: str) -> Counter:
        return Counter(f"playlake_{name}", text, registry=self.registry)

    def counted(self, steps: Iterable[Step]) -> Iterator[Step]:
        """Pass steps on, each counted."""
        for step in steps:
            self._seconds.labels(step.name).observe(step.seconds)
            if step.name == "dedupe":
                self._duplicates.inc(step.detail["rows"])
            elif step.name == "repair":
                self._repaired.inc(step.detail["total"])
            yield step

    def done(self) -> None:
        """Note a run that went through, also one that found nothing to do, and how large the lake is now.

        Raises:
            StoreUnavailable: the store went away meanwhile.
        """
        sizes = read_sizes(self._lake)
        self._null_rows.set(sizes.null_partition_rows)
        for table in sizes.tables:
            self._files.labels(table.name).set(table.files)
            self._bytes.labels(table.name).set(table.size_bytes)
            if table.rows is not None:
                self._rows.labels(table.name).set(table.rows)
        if not self._lake.is_s3:
            disk = shutil.disk_usage(self._lake.uri)
            self._disk_free.set(disk.free)
            self._disk_size.set(disk.total)
        self._done_at, self._trouble = self._clock(), None
        self._last.set(self._done_at)

    def failed(self, error: Exception) -> None:
        """Note a run that did not go through."""
        self._failures.inc()
        self._trouble = str(error)

    def not_ready(self) -> str | None:
        """Return why the compactor is not ready; None when it is, which it also is while the first run goes on."""
        if self._trouble is not None:
            return self._trouble
        late_s = self._clock() - max(self._done_at, self._begun_at)
        if late_s > max(_LATE_AFTER_S, _LATE_AFTER_RUNS * self._every_s):
            return f"no run went through for {late_s:.0f} s; the pause between two is {self._every_s:g} s"
        return None

    def pages(self) -> dict[str, Callable[[], Page]]:
        """Return `/metrics`, `/healthz` and `/readyz` for `playlake.web.serve`."""

        def readyz() -> Page:
            reason = self.not_ready()
            return Page("ready\n") if reason is None else Page(f"{reason}\n", 503)

        return {
            "/metrics": lambda: Page(generate_latest(self.registry), content_type=CONTENT_TYPE_LATEST),
            "/healthz": lambda: Page("alive\n"),
            "/readyz": readyz,
        }
