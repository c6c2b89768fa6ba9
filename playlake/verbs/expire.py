"""`playlake expire`: the oldest days of bronze, silver or quarantine go."""

from __future__ import annotations

import datetime as dt
import json
import os
from typing import ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from compaction.expire import Expired, expire, preview_expire
from playlake.settings import Duration, Size, VerbSettings
from sink.faults import VARIABLE, fault_point
from sink.lake import Lake

_DAY_S = 86400
_SHORTEST_OF_SILVER_DAYS = 30


class Settings(VerbSettings):
    """Take the oldest days out of bronze, silver or quarantine, whole days of it, in one atomic commit.

    Which positions went is kept, so that verify still proves the rest; what is wrong with those that go, it can't tell
    any more: run it before. The other tables stay. Of silver's days gold keeps what it has, and never computes them
    anew; its tables that name sessions or viewers lose them. A compact of 7 days later deletes the files.

    Example:
        playlake expire --lake ./lake --older-than 400d --dry-run
    """

    verb: ClassVar[str] = "expire"

    lake: str = Field(description="folder or s3://bucket/prefix")
    older_than: Duration = Field(description="days before this long ago go, such as 400d; at least 1d, of silver 30d")
    table: Literal["bronze", "silver", "quarantine"] = Field(
        "bronze", description="by date of ingest; silver by date of event, without the null partition"
    )
    dry_run: bool = Field(False, description="say what would go, and change nothing")
    memory: Size = Field(2 * 10**9, description="work in about this much memory, then in temporary files")
    as_json: bool = Field(False, alias="json", description="print one JSON object")

    @field_validator("older_than")
    @classmethod
    def _is_days(cls, value: float) -> float:
        if value < _DAY_S:
            raise ValueError("is at least 1d: lake partitions are whole days")
        return value

    @model_validator(mode="after")
    def _leaves_silver_its_windows(self) -> Settings:
        if self.table == "silver" and self.older_than < _SHORTEST_OF_SILVER_DAYS * _DAY_S:
            raise ValueError(
                f"--older-than is at least {_SHORTEST_OF_SILVER_DAYS}d for silver: late events change younger dates"
            )
        return self


def run(settings: Settings) -> int:
    """Expire; see `Settings`."""
    lake = Lake.at(settings.lake)
    try:
        before = (dt.datetime.now(dt.UTC) - dt.timedelta(seconds=settings.older_than)).date()
    except OverflowError:
        before = dt.date.min
    if settings.dry_run:
        done = preview_expire(lake, before, table=settings.table)
    else:
        step = fault_point(os.environ.get(VARIABLE))
        done = expire(lake, before, table=settings.table, memory_limit=f"{settings.memory}B", step=step or _no_fault)
    if settings.as_json:
        print(json.dumps({**vars(done), "before": str(before), "dry_run": settings.dry_run}))
    else:
        print(_line(done, before, settings.table, settings.dry_run))
    return 0


def _no_fault(name: str) -> None: ...


def _line(done: Expired, before: dt.date, table: str, is_dry_run: bool) -> str:
    if not done.files:
        return f"{table} has no day before {before}; nothing {'would go' if is_dry_run else 'was changed'}"
    what = f"{len(done.dates):,} days of {table}, {done.dates[0]} to {done.dates[-1]}"
    size = f"{done.files:,} files, {'unknown' if done.rows is None else f'{done.rows:,}'} rows, {done.bytes:,} bytes"
    return f"{what}: {size} {'would go' if is_dry_run else f'are gone (version {done.version}); verify knows them'}"
