"""`playlake compact`: the compaction job, once or every so often."""

from __future__ import annotations

import datetime as dt
import json
import os
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, TypedDict

from pydantic import Field

from compaction import job
from compaction.compact import TARGET_FILE_BYTES
from compaction.repair_rules import RepairRules, read_rules
from compaction.retention import Retention
from playlake.lake_or_table import LakeOrTableSettings
from playlake.lean import lean
from playlake.settings import Duration, Port, Size
from schemas.errors import CommitConflict, ConfigError, TransientError
from sink.faults import VARIABLE, fault_point
from sink.lake import Lake

if TYPE_CHECKING:
    from playlake.compactor_metrics import CompactorMetrics

_VACUUM_EVERY_S = 86400.0


class _Options(TypedDict):
    target_file_bytes: int
    memory_limit: str
    should_refresh_gold: bool
    repair_rules: RepairRules | None
    implausible: bool
    retention: Retention


class Settings(LakeOrTableSettings):
    """Repair the null partition, drop repeated events, merge small files, refresh gold, delete old files.

    In that order. Each is one atomic commit a table (merging: a lake partition); workers may go on writing. Files that
    were replaced, and commits that nobody needs, are deleted after 7 days, or after --retain. Of a Delta table that
    somebody else writes: repair, merge, delete old files.

    Example:
        playlake compact --lake ./lake --every 5m
        playlake compact --table ./events --event-time ts --date-column event_date --raw payload --dry-run
    """

    verb: ClassVar[str] = "compact"

    every: Duration | None = Field(None, description="again and again, this long after the last time, such as 5m")
    dry_run: bool = Field(False, description="say what would be done now, and change nothing")
    target_file_bytes: Size = Field(TARGET_FILE_BYTES, description="how large compacted files should become")
    repair_rules: Path | None = Field(None, description="TOML file of sources for repair; see playlake repair")
    implausible: bool = Field(False, description="repair also rows whose date can't be right; see playlake repair")
    retain: Duration | None = Field(
        None, description="keep replaced files and the logs so long; default: 7d, and not less without --force"
    )
    force: bool = Field(False, description="let --retain be less than 7d, or than a table itself says")
    gold: bool = Field(True, description="leave gold to another job, such as `playlake gold --engine spark`")
    memory: Size = Field(
        2 * 10**9, description="dedupe and gold work in about this much memory, then in temporary files"
    )
    web_port: Port | None = Field(
        None, description="with --every: serve /metrics, /healthz and /readyz on this port; default: none"
    )
    web_bind: str = Field("127.0.0.1", description="address for them; 0.0.0.0 is every network, without a password")
    as_json: bool = Field(False, alias="json", description="print one JSON object each time, on one line")


@lean()
def run(settings: Settings) -> int:
    """Compact; see `Settings`."""
    if settings.web_port is not None and settings.every is None:
        raise ConfigError("--web-port serves a job that runs again and again: add --every 5m, or leave it out")
    lake = settings.opened()
    options = _Options(
        target_file_bytes=settings.target_file_bytes,
        memory_limit=f"{settings.memory}B",
        should_refresh_gold=settings.gold,
        repair_rules=read_rules(settings.repair_rules) if settings.repair_rules else None,
        implausible=settings.implausible,
        retention=Retention(dt.timedelta(seconds=settings.retain) if settings.retain else None, settings.force),
    )
    if settings.dry_run:
        show(job.outlook(lake, **options), settings.as_json)
        return 0
    step = fault_point(os.environ.get(VARIABLE))
    if settings.every is None:
        show(job.run(lake, **options, step=step), settings.as_json)
        return 0
    if settings.web_port is None:
        _loop(lake, settings, settings.every, options, step)
        return 0
    from playlake.compactor_metrics import CompactorMetrics
    from playlake.web import serve

    metrics = CompactorMetrics(lake, settings.every)
    with serve(settings.web_bind, settings.web_port, metrics.pages()):
        _loop(lake, settings, settings.every, options, step, metrics)
    return 0


def show(steps: Iterable[job.Step], as_json: bool) -> None:
    """Print steps as they are done: one aligned line each, or all as one JSON object."""
    done = {}
    for step in steps:
        done[step.name] = {**step.detail, "changed": step.changed, "seconds": round(step.seconds, 3)}
        if not as_json:
            print(f"{step.name:<8}  {step.seconds:6.1f} s  {step.line}", flush=True)
    if as_json:
        print(json.dumps(done, default=str), flush=True)


def _loop(
    lake: Lake,
    settings: Settings,
    every_s: float,
    options: _Options,
    step: Callable[[str], None] | None,
    metrics: CompactorMetrics | None = None,
) -> None:
    """Compact until interrupted. What is away or in the way for now is said, and tried again next time."""
    seen: dict[str, int] | None = None
    vacuumed_at: float | None = None
    while True:
        started = f"{dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M:%SZ}"
        is_vacuum_due = vacuumed_at is None or time.monotonic() - vacuumed_at >= _VACUUM_EVERY_S
        try:
            found = job.versions(lake)
            if found == seen:
                _say(settings, started, "nothing changed since the last time")
            else:
                if not settings.as_json:
                    print(f"-- {started}", flush=True)
                steps = job.run(lake, **options, should_vacuum=is_vacuum_due, step=step)
                show(steps if metrics is None else metrics.counted(steps), settings.as_json)
                vacuumed_at = time.monotonic() if is_vacuum_due else vacuumed_at
                # As found before: what workers appended meanwhile, and our own commits, are looked at once more.
                seen = found
            if metrics is not None:
                metrics.done()
        except (TransientError, CommitConflict) as error:
            if metrics is not None:
                metrics.failed(error)
            print(f"playlake compact: {error}; next try in {every_s:g} s", file=sys.stderr, flush=True)
        time.sleep(every_s)


def _say(settings: Settings, started: str, line: str) -> None:
    print(json.dumps({"skipped": line, "at": started}) if settings.as_json else f"-- {started}  {line}", flush=True)
