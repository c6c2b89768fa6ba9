"""`playlake expire`: bronze's oldest days go."""

from __future__ import annotations

import datetime as dt
import json
import os
from typing import ClassVar

from pydantic import Field, field_validator

from compaction.expire import Expired, expire, preview_expire
from playlake.settings import Duration, Size, VerbSettings
from sink.faults import VARIABLE, fault_point
from sink.lake import Lake

_DAY_S = 86400


class Settings(VerbSettings):
    """Take records that were read long ago out of bronze, whole days of it, in one atomic commit.

    Which positions went is kept, so that verify still proves the rest; what is wrong with those that go, it can't tell
    any more: run it before. Silver, quarantine and gold stay. A compact of 7 days later deletes the files.

    Example:
        playlake expire --lake ./lake --older-than 400d --dry-run
    """

    verb: ClassVar[str] = "expire"

    lake: str = Field(description="folder or s3://bucket/prefix")
    older_than: Duration = Field(description="days of ingest before this long ago go, such as 400d; at least 1d")
    table: str = Field("bronze", description="the only table that can expire so far")
    dry_run: bool = Field(False, description="say what would go, and change nothing")
    memory: Size = Field(2 * 10**9, description="work in about this much memory, then in temporary files")
    as_json: bool = Field(False, alias="json", description="print one JSON object")

    @field_validator("older_than")
    @classmethod
    def _is_days(cls, value: float) -> float:
        if value < _DAY_S:
            raise ValueError("is at least 1d: lake partitions are whole days")
        return value

    @field_validator("table")
    @classmethod
    def _can_expire(cls, value: str) -> str:
        if value != "bronze":
            raise ValueError(f"{value} can't expire, only bronze: gold and the proof of repeats are made of the others")
        return value


def run(settings: Settings) -> int:
    """Expire; see `Settings`."""
    lake = Lake.at(settings.lake)
    try:
        before = (dt.datetime.now(dt.UTC) - dt.timedelta(seconds=settings.older_than)).date()
    except OverflowError:
        before = dt.date.min
    if settings.dry_run:
        done = preview_expire(lake, before)
    else:
        step = fault_point(os.environ.get(VARIABLE))
        done = expire(lake, before, memory_limit=f"{settings.memory}B", step=step or _no_fault)
    if settings.as_json:
        print(json.dumps({**vars(done), "before": str(before), "dry_run": settings.dry_run}))
    else:
        print(_line(done, before, settings.dry_run))
    return 0


def _no_fault(name: str) -> None: ...


def _line(done: Expired, before: dt.date, is_dry_run: bool) -> str:
    if not done.files:
        return f"bronze has no day before {before}; nothing {'would go' if is_dry_run else 'was changed'}"
    what = f"{len(done.dates):,} days of bronze, {done.dates[0]} to {done.dates[-1]}"
    size = f"{done.files:,} files, {'unknown' if done.rows is None else f'{done.rows:,}'} rows, {done.bytes:,} bytes"
    return f"{what}: {size} {'would go' if is_dry_run else f'are gone (version {done.version}); verify knows them'}"
