"""`playlake repair`: the null partition alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar

from pydantic import Field, model_validator

from compaction import job
from compaction.repair import Outlook, Undone, preview, release, undo
from compaction.repair_rules import read_rules
from playlake.settings import VerbSettings
from playlake.verbs.compact import show
from sink.lake import Lake

_MOST_SAMPLES = 5


class Settings(VerbSettings):
    """Give rows of the null partition (no usable event time) an event time, and move them under its date.

    From the payload: event_ts or client_ts as seconds, milliseconds, microseconds or ISO text; else the broker's time.
    --rules names other fields. event_date_source says which, repair_id by which run. One atomic commit.

    Example:
        playlake repair --lake ./lake --dry-run
        playlake repair --lake ./lake --undo 20261121T144232Z-df99ad4a
    """

    verb: ClassVar[str] = "repair"

    lake: str = Field(description="folder or s3://bucket/prefix")
    dry_run: bool = Field(False, description="say how many rows would get which date from which source; change nothing")
    rules: Path | None = Field(None, description="TOML file of sources; compaction/repair.toml shows every key")
    undo: str | None = Field(None, description="repair_id whose rows to bring back; later repairs leave them alone")
    release: str | None = Field(None, description="undone repair_id whose rows the next repair may have again")
    as_json: bool = Field(False, alias="json", description="print one JSON object")

    @model_validator(mode="after")
    def _is_one_thing(self) -> Settings:
        if sum((self.dry_run or self.rules is not None, self.undo is not None, self.release is not None)) > 1:
            raise ValueError("--undo and --release go alone, each without the other, --dry-run and --rules")
        return self


def run(settings: Settings) -> int:
    """Repair; see `Settings`."""
    lake = Lake.at(settings.lake)
    rules = read_rules(settings.rules) if settings.rules else None
    if settings.undo is not None:
        return _said(undo(lake, settings.undo), "are back in the null partition, and held until --release", settings)
    if settings.release is not None:
        return _said(release(lake, settings.release), "are no longer held; the next repair takes them", settings)
    if not settings.dry_run:
        show([job.run_repair(lake, rules)], settings.as_json)
        return 0
    lines = preview(lake, rules)
    if settings.as_json:
        print(json.dumps({"rows": [vars(line) for line in lines]}, default=str))
    else:
        _print_preview(lines)
    return 0


def _said(done: Undone, what: str, settings: Settings) -> int:
    print(
        json.dumps(vars(done)) if settings.as_json else f"{done.rows:,} rows {what} (silver's version {done.version})"
    )
    return 0


def _print_preview(lines: list[Outlook]) -> None:
    usable = [line for line in lines if line.event_date is not None]
    stays = [line for line in lines if line.event_date is None]
    if usable:
        width = max(len(line.found_in or "") for line in usable)
        print(f"{'event_date':<10}  {'source':<7}  {'found in':<{width}}  {'rows':>11}")
        for line in usable:
            print(f"{line.event_date}  {line.event_date_source:<7}  {line.found_in:<{width}}  {line.rows:>11,}")
        print()
        for form, line in list({line.found_in: line for line in usable}.items())[:_MOST_SAMPLES]:
            sample = line.sample
            position = f"{sample['topic']}[{sample['kafka_partition']}] offset {sample['kafka_offset']}"
            print(f"{position}: {sample['event_timestamp']:%Y-%m-%d %H:%M:%S}Z by {form}, from {sample['payload']}")
        print()
    for line in stays:
        sample = line.sample
        position = f"{sample['topic']}[{sample['kafka_partition']}] offset {sample['kafka_offset']}"
        print(f"{line.rows:,} rows would stay: {line.why_not}; such as {position}: {sample['payload']}")
    lost = sum(line.rows for line in stays)
    print(f"{sum(line.rows for line in usable):,} rows would get a date; {lost:,} would stay in the null partition")
