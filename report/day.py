"""What one date's report says, read from gold: `Day` holds numbers and nothing of how they look."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final

from query.gold import Gold
from schemas.errors import ConfigError

TABLES: Final = (
    "audience_hours",
    "audience_titles",
    "viewer_retention",
    "quality_scorecard",
    "quality_codes",
    "volume_anomalies",
)
"""The gold tables that a report reads."""

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Day:
    """One date, beside the week before it.

    Attributes:
        date: whose report it is (UTC).
        days: dates of the week before that the lake reaches back over, 0 to 7; averages are over these, and a date
            without events counts as zero. With 0, every `before` is None.
        is_newest: no later date has events, so this one may still be coming in.
        numbers: of the date: `events, plays, watch_hours, viewers, new_viewers, titles`.
        week: the same by date, oldest first, for the dates of the week that have events.
        hours: 24 rows `event_hour, plays, before`.
        titles, countries, devices: rows `name, detail, plays, watch_hours, before`, most plays first, at most ten.
        scorecard: the counts of `gold.quality_scorecard`, and `quality_score` (0–1; None without rows).
        scorecard_before: the same added up over the week; None where it has none.
        repairs: rows `event_date, from_payload_rows, from_broker_rows, null_partition_rows`, oldest first.
        codes: rows `code, outcome, found, before`.
        anomalies: rows `country, event_hour, events, expected, deviation, score`.
    """

    date: dt.date
    days: int
    is_newest: bool
    numbers: Row
    week: Sequence[Row]
    hours: Sequence[Row]
    titles: Sequence[Row]
    countries: Sequence[Row]
    devices: Sequence[Row]
    scorecard: Row
    scorecard_before: Row | None
    repairs: Sequence[Row]
    codes: Sequence[Row]
    anomalies: Sequence[Row]

    @property
    def counted_once(self) -> int:
        """Rows of silver less the repeats that dedupe has not dropped yet: what gold must have counted."""
        return int(self.scorecard["silver_rows"] - self.scorecard["repeated_rows"])

    @property
    def is_balanced(self) -> bool:
        """Whether gold counted exactly the rows of silver that it must have."""
        return bool(self.counted_once == self.numbers["events"])


def read_day(lake_uri: str, date: dt.date) -> Day:
    """Read one date's report from the gold tables and nothing else.

    Raises:
        ConfigError: a gold table is missing, or there is no event on the date; says what to do.
        LakeNotFound, IncompatibleLake, StoreUnavailable: as `query.connect`.
        QueryError: another version of playlake made a table.
    """
    gold = Gold.open(lake_uri, files("report").joinpath("sql"), TABLES)
    try:
        return _read(gold, lake_uri, date)
    finally:
        gold.con.close()


def _read(gold: Gold, lake_uri: str, date: dt.date) -> Day:
    lacking = gold.lacks(TABLES)
    if lacking:
        names = ", ".join(f"gold.{name}" for name in lacking)
        raise ConfigError(f"the report needs {names}, which is not there: run `playlake gold --lake {lake_uri}`")
    known = gold.ask("dates", {"date": date}).to_pylist()[0]
    if known["first"] is None:
        raise ConfigError(f"no event with a date has come to {lake_uri} yet: its gold tables are empty")
    if not known["has_events"]:
        reach = f"they reach from {known['first']} to {known['last']}"
        raise ConfigError(f"the gold tables of {lake_uri} have no event on {date}; {reach}: choose another --date")
    values = {"date": date, "days": known["days"]}

    def rows(name: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = gold.ask(name, values).to_pylist()
        return found

    daily = rows("daily")
    scorecards = {row["is_date"]: row for row in rows("scorecard")}
    if True not in scorecards:
        raise ConfigError(f"gold.quality_scorecard knows nothing of {date}: run `playlake gold --lake {lake_uri}`")
    return Day(
        date=date,
        days=known["days"],
        is_newest=date == known["last"],
        numbers=daily[-1],
        week=daily[:-1],
        hours=rows("hours"),
        titles=rows("titles"),
        countries=rows("countries"),
        devices=rows("devices"),
        scorecard=scorecards[True],
        scorecard_before=scorecards.get(False),
        repairs=rows("repairs"),
        codes=rows("codes"),
        anomalies=rows("anomalies"),
    )
