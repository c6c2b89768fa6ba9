"""`playlake repair`: the null partition alone."""

from __future__ import annotations

import json
from typing import ClassVar

from pydantic import Field

from compaction import job
from compaction.repair import Outlook, preview
from playlake.settings import VerbSettings
from playlake.verbs.compact import show
from sink.lake import Lake

_MOST_SAMPLES = 5


class Settings(VerbSettings):
    """Give rows of the null partition (no usable event time) an event time, and move them under its date.

    From the payload: client_ts (ISO text, seconds, milliseconds), or event_ts as ISO text, in milliseconds or
    microseconds; else the broker's time. event_date_source says which, repair_id by which run. One atomic commit.

    Example:
        playlake repair --lake ./lake --dry-run
    """

    verb: ClassVar[str] = "repair"

    lake: str = Field(description="folder or s3://bucket/prefix")
    dry_run: bool = Field(False, description="say how many rows would get which date from which source; change nothing")
    as_json: bool = Field(False, alias="json", description="print one JSON object")


def run(settings: Settings) -> int:
    """Repair; see `Settings`."""
    lake = Lake.at(settings.lake)
    if not settings.dry_run:
        show([job.run_repair(lake)], settings.as_json)
        return 0
    lines = preview(lake)
    if settings.as_json:
        print(json.dumps({"rows": [vars(line) for line in lines]}, default=str))
    else:
        _print_preview(lines)
    return 0


def _print_preview(lines: list[Outlook]) -> None:
    usable = [line for line in lines if line.event_date is not None]
    lost = sum(line.rows for line in lines if line.event_date is None)
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
    print(f"{sum(line.rows for line in usable):,} rows would get a date; {lost:,} have no usable time and would stay")
