"""`playlake forget`: a person leaves all tables."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field, field_validator

from compaction.forget import Found, find, forget
from compaction.person import Person
from compaction.purge import Purged, purge
from playlake.pseudonym_key import read_key
from playlake.settings import Size, VerbSettings
from schemas.errors import ConfigError
from sink.faults import VARIABLE, fault_point
from sink.lake import Lake
from sink.pseudonyms import Pseudonyms, require_key


class Settings(VerbSettings):
    """Remove a person from bronze, silver, quarantine and gold. What stays are positions, so that verify balances.

    Old versions of the tables hold the rows for 7 days, unless --purge deletes them now: then as-of queries of before
    end, and running readers fail. The topic itself, exports and backups are not touched: docs/privacy.md.
    Exit code 1: something is left for another run, and it is said what.

    Example:
        playlake forget --user-id u-4711 --lake ./lake --dry-run
    """

    verb: ClassVar[str] = "forget"

    user_id: str = Field(description="the person; - reads it from standard input, so that no shell keeps it")
    lake: str = Field(description="folder or s3://bucket/prefix")
    dry_run: bool = Field(False, description="say how many rows of which table would go, and change nothing")
    purge: bool = Field(False, description="delete the old files now and clear the logs; ends reads of old versions")
    mentions: bool = Field(False, description="take other people's records, too, in which the id stands")
    pseudonym_key_file: Path | None = Field(None, description="the key's file, where the lake holds pseudonyms")
    memory: Size = Field(2 * 10**9, description="work in about this much memory, then in temporary files")
    as_json: bool = Field(False, alias="json", description="print one JSON object")

    @field_validator("user_id")
    @classmethod
    def _is_an_id(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("is empty")
        return value


def run(settings: Settings) -> int:
    """Forget; see `Settings`."""
    lake = Lake.at(settings.lake)
    person = _person(lake, _user_id(settings.user_id), read_key(settings.pseudonym_key_file))
    step = fault_point(os.environ.get(VARIABLE)) or _no_fault
    memory_limit = f"{settings.memory}B"
    purged = None
    if settings.dry_run:
        found = find(lake, person, mentions=settings.mentions, memory_limit=memory_limit)
    else:
        if settings.purge:
            print("playlake forget: --purge ends --as-of of before, and queries of old versions fail", file=sys.stderr)
        found = forget(lake, person, mentions=settings.mentions, memory_limit=memory_limit, step=step)
        purged = purge(lake, person, step=step) if settings.purge else None
    if settings.as_json:
        print(json.dumps(_as_json(found, purged) | {"dry_run": settings.dry_run}))
    else:
        print("\n".join(_lines(found, purged, settings)))
    return 1 if found.not_done or (purged is not None and purged.young) else 0


def _user_id(given: str) -> str:
    if given != "-":
        return given
    line = sys.stdin.readline().rstrip("\r\n")
    if not line.strip():
        raise ConfigError("--user-id - found no line on standard input")
    return line


def _person(lake: Lake, user_id: str, pseudonyms: Pseudonyms | None) -> Person:
    require_key(lake, pseudonyms)
    return Person([user_id] if pseudonyms is None else [user_id, pseudonyms.of("user_id", user_id)])


def _no_fault(name: str) -> None: ...


def _as_json(found: Found, purged: Purged | None) -> dict[str, Any]:
    told = {key: value for key, value in vars(found).items() if key not in ("going", "repeats")}
    return told | {"purged": None if purged is None else asdict(purged)}


def _lines(found: Found, purged: Purged | None, settings: Settings) -> list[str]:
    has_any = any(found.rows.values())
    verb = "would go" if settings.dry_run else "gone"
    width = max(map(len, found.rows))
    lines = [f"{name.replace('/', '.'):<{width}}  {rows:>9,} rows {verb}" for name, rows in found.rows.items()]
    if found.dates:
        lines.append(f"gold: {found.dates:,} dates {'would be' if settings.dry_run else 'were'} computed without them")
    if found.unfinished:
        lines.append(f"{found.unfinished:,} positions of these an earlier run had left")
    if found.mentions:
        lines.append(f"{found.mentions:,} records of others hold the id, too, and stay: --mentions takes them")
    if found.not_done:
        lines.append(
            f"{found.not_done:,} records are not in silver yet and stay: run this again once a worker has gone on"
        )
    if purged is not None:
        lines.append(
            f"purged: {purged.files:,} files and {purged.checkpoints:,} old checkpoints deleted, "
            f"{purged.commits:,} commits of logs cleared"
        )
        if purged.young:
            lines.append(
                f"{purged.young:,} files that no commit names are less than an hour old, perhaps of a flush under way: "
                "run this again in an hour"
            )
    elif has_any and not settings.dry_run:
        lines.append("old versions hold the rows until a compact of 7 days later: --purge deletes them now")
    return lines
