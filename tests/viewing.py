"""Viewing as a lake meets it, and what gold must say of it, counted from the records that were sent: none of our SQL.

values = list(viewing(dice, 500, "old", days=3))
measures(ledger.values)  ==  measures_in(lake)
"""

from __future__ import annotations

import datetime as dt
import json
import random
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
from deltalake import DeltaTable

from tests.ledger import files_of
from tests.records import event

FIRST_DAY = dt.datetime(2025, 3, 1, tzinfo=dt.UTC)
_KINDS = ("PLAY_START", "HEARTBEAT", "HEARTBEAT", "PAUSE", "RESUME", "PLAY_STOP")


@dataclass(frozen=True)
class Measures:
    """A few measures of gold.

    Attributes:
        plays: (date, title) → PLAY_START events.
        viewers: (date, title) → distinct profiles.
        events: date → events.
    """

    plays: dict[tuple[str, str], int]
    viewers: dict[tuple[str, str], int]
    events: dict[str, int]


def viewing(
    dice: random.Random,
    count: int,
    prefix: str,
    *,
    day: int = 0,
    days: int = 3,
    undated: float = 0.08,
    repeats: float = 0.1,
    bad: float = 0.03,
    of: Iterable[bytes] = (),
) -> Iterator[bytes]:
    """Events of a few viewers on `days` days from FIRST_DAY + `day` on, ids `prefix-0`, `prefix-1` …

    Args:
        dice: decides everything.
        count: how many records.
        prefix: of the ids.
        day: the first day.
        days: how many days.
        undated: share of events without `event_ts`, whose time repair finds in `client_ts`.
        repeats: share of records that are one of before once more, byte for byte.
        bad: share of records that are no JSON.
        of: what may be repeated besides what was made here.
    """
    made = list(of)
    for number in range(count):
        chance = dice.random()
        if chance < bad:
            yield b"{broken"
        elif made and chance < bad + repeats:
            yield dice.choice(made)
        else:
            at = FIRST_DAY + dt.timedelta(days=day + dice.randrange(days), seconds=dice.randrange(86_400))
            user = dice.randrange(12)
            changes: dict[str, object] = {
                "event_id": f"{prefix}-{number}",
                "user_id": f"u{user}",
                "profile_id": f"u{user}-p{dice.randrange(2)}",
                "session_id": f"{user}-{at:%d%H}",
                "title_id": f"s{dice.randrange(1, 6)}",
                "event_type": dice.choice(_KINDS),
                "event_ts": at.timestamp(),
            }
            if chance > 1 - undated:
                changes |= {"event_ts": ..., "client_ts": at.isoformat()}
            value = json.dumps(event(**changes)).encode()
            made.append(value)
            yield value


def measures(values: Iterable[bytes | None]) -> Measures:
    """Count what was sent: each event_id once, on the date of its `event_ts`, else of its `client_ts`."""
    by_id: dict[str, dict[str, Any]] = {}
    for value in values:
        try:
            found = json.loads(value or b"")
        except ValueError:
            continue
        by_id.setdefault(found["event_id"], found)
    plays: Counter[tuple[str, str]] = Counter()
    viewers: dict[tuple[str, str], set[tuple[str, str]]] = {}
    events: Counter[str] = Counter()
    for found in by_id.values():
        date, title = date_of(found), found["title_id"]
        plays[date, title] += found["event_type"] == "PLAY_START"
        viewers.setdefault((date, title), set()).add((found["user_id"], found["profile_id"]))
        events[date] += 1
    return Measures(dict(plays), {key: len(those) for key, those in viewers.items()}, dict(events))


def date_of(found: dict[str, Any]) -> str:
    if "event_ts" in found:
        return str(dt.datetime.fromtimestamp(found["event_ts"], dt.UTC).date())
    return str(dt.datetime.fromisoformat(found["client_ts"]).astimezone(dt.UTC).date())


def measures_in(lake: Path) -> Measures:
    """Read the same from the gold tables of a lake on a disk, by plain DuckDB over the files that their logs name."""
    titles = _gold(lake, "title_daily", "title_id, plays, viewers")
    hours = _gold(lake, "temporal_trends", "events")
    events: Counter[str] = Counter()
    for date, count in hours:
        events[date] += count
    return Measures(
        {(date, title): plays for date, title, plays, _ in titles},
        {(date, title): viewers for date, title, _, viewers in titles},
        dict(events),
    )


def _gold(lake: Path, name: str, columns: str) -> list[tuple[Any, ...]]:
    files = files_of(DeltaTable(f"{lake}/gold/{name}"))
    query = f"select cast(event_date as text), {columns} from read_parquet($1, hive_partitioning = true)"  # noqa: S608
    return duckdb.connect().execute(query, [files]).fetchall() if files else []
