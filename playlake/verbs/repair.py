"""`playlake repair`: the null partition alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar

from pydantic import Field, model_validator

from compaction import job
from compaction.marks import require_repairable
from compaction.repair import Outlook, columns_to_add, preview
from compaction.repair_rules import read_rules
from compaction.undo import Undone, release, undo
from playlake.lake_or_table import LakeOrTableSettings
from playlake.verbs.compact import show

_MOST_SAMPLES = 5


class Settings(LakeOrTableSettings):
    """Give rows of the null partition (no usable event time) an event time, and move them under its date.

    From the payload: event_ts or client_ts as seconds, milliseconds, microseconds or ISO text; else the broker's time.
    --rules names other fields. event_date_source says which, repair_id by which run. One atomic commit. Of a Delta
    table that somebody else writes: from its event time column, then the payload. Its first repair adds these columns.

    Example:
        playlake repair --lake ./lake --dry-run
        playlake repair --table ./events --event-time ts --date-column event_date --raw payload --dry-run
        playlake repair --lake ./lake --undo 20261121T144232Z-df99ad4a
    """

    verb: ClassVar[str] = "repair"

    dry_run: bool = Field(False, description="say how many rows would get which date from which source; change nothing")
    rules: Path | None = Field(None, description="TOML file of sources; compaction/repair.toml shows every key")
    implausible: bool = Field(False, description="also rows whose date can't be right: 1970, far in the future")
    undo: str | None = Field(None, description="repair_id whose rows to bring back; later repairs leave them alone")
    release: str | None = Field(None, description="undone repair_id whose rows the next repair may have again")
    as_json: bool = Field(False, alias="json", description="print one JSON object")

    @model_validator(mode="after")
    def _is_one_thing(self) -> Settings:
        is_repair = self.dry_run or self.implausible or self.rules is not None
        if sum((is_repair, self.undo is not None, self.release is not None)) > 1:
            raise ValueError("--undo and --release go alone, without each other, --dry-run, --rules and --implausible")
        return self


def run(settings: Settings) -> int:
    """Repair; see `Settings`."""
    lake = settings.opened()
    rules = read_rules(settings.rules) if settings.rules else None
    if settings.undo is not None:
        return _said(undo(lake, settings.undo), "are back where they were, and held until --release", settings)
    if settings.release is not None:
        return _said(release(lake, settings.release), "are no longer held; the next repair takes them", settings)
    if not settings.dry_run:
        show([job.run_repair(lake, rules, implausible=settings.implausible)], settings.as_json)
        return 0
    require_repairable(lake)
    lines = preview(lake, rules, implausible=settings.implausible)
    added = columns_to_add(lake, implausible=settings.implausible)
    if settings.as_json:
        print(json.dumps({"rows": [vars(line) for line in lines], "columns_added": added}, default=str))
    else:
        _print_preview(lines, added)
    return 0


def _said(done: Undone, what: str, settings: Settings) -> int:
    print(json.dumps(vars(done)) if settings.as_json else f"{done.rows:,} rows {what} (version {done.version})")
    return 0


def _print_preview(lines: list[Outlook], added: list[str]) -> None:
    usable = [line for line in lines if line.event_date is not None]
    stays = [line for line in lines if line.event_date is None]
    if usable:
        width = max(len(line.found_in or "") for line in usable)
        print(f"{'now':<10}  {'event_date':<10}  {'source':<10}  {'found in':<{width}}  {'rows':>11}")
        for line in usable:
            now = str(line.event_date_before or "null")
            source = f"{line.event_date_source:<10}  {line.found_in:<{width}}"
            print(f"{now:<10}  {line.event_date}  {source}  {line.rows:>11,}")
        print()
        for form, line in list({line.found_in: line for line in usable}.items())[:_MOST_SAMPLES]:
            sample = line.sample
            print(f"{sample['place']}: {sample['event_time']:%Y-%m-%d %H:%M:%S}Z by {form}{_payload(line, ', from ')}")
        print()
    for line in stays:
        where = line.event_date_before or "the null partition"
        place = f"{line.sample['place']}{_payload(line, ': ')}"
        print(f"{line.rows:,} rows would stay in {where}: {line.why_not}; such as {place}")
    if usable and added:
        print(f"the table would get the columns {', '.join(added)}, by a commit before that of the rows")
    lost = sum(line.rows for line in stays)
    print(f"{sum(line.rows for line in usable):,} rows would get a date; {lost:,} would stay where they are")


def _payload(line: Outlook, before: str) -> str:
    return "" if line.sample["payload"] is None else f"{before}{line.sample['payload']}"
