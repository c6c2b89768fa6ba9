"""The report as HTML: how the numbers of a `Day` are said, put into page.html.j2.

The page stands alone: no script, no font, no picture from elsewhere; its content security policy forbids them.
Everything that came from events is escaped.
"""

from __future__ import annotations

import datetime as dt
import importlib.metadata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined, Template, select_autoescape

from report.day import Day, Row

_TILES: Final = (
    ("plays", "Plays", ",.0f"),
    ("watch_hours", "Watch hours", ",.1f"),
    ("viewers", "Viewers", ",.0f"),
    ("new_viewers", "New viewers", ",.0f"),
    ("titles", "Titles played", ",.0f"),
    ("events", "Events", ",.0f"),
)
_MEASURES: Final = (
    ("quarantined_rows", "Refused ¹"),
    ("null_partition_rows", "Without a date yet ¹"),
    ("warned_rows", "With any warning"),
    ("late_rows", "Late by more than an hour"),
    ("reopened_rows", "More than a day after the date's end"),
    ("unknown_title_rows", "Title not in the catalogue"),
    ("unknown_country_rows", "Country missing or unknown"),
    ("unknown_device_rows", "Device missing or unknown"),
    ("repeated_rows", "Repeats not dropped yet"),
)
_OF_ALL_RECORDS: Final = ("quarantined_rows", "null_partition_rows")
_FULL: Final = 98.0
_WORSE_FACTOR: Final = 2.0
_WORSE_ROWS: Final = 10


@dataclass(frozen=True)
class Bar:
    """One bar or column; lengths are percents of the drawing, which ends a little beyond the longest.

    Attributes:
        label: what a reader is told who points at it.
        percent, before_percent: of the value, and of the week's average (None: not drawn).
        is_muted: it stands behind the others.
    """

    label: str
    percent: float
    before_percent: float | None = None
    is_muted: bool = False


def render(day: Day, lake_uri: str) -> str:
    """Return the whole HTML document; `lake_uri` is told at its end."""
    return _template().render(
        day=day,
        lake_uri=lake_uri,
        version=importlib.metadata.version("playlake"),
        tiles=list(_tiles(day)),
        good_share=_share(day.scorecard["silver_rows"], _records(day.scorecard)),
        hours=_hours(day.hours),
        most_plays_an_hour=max(row["plays"] for row in day.hours),
        rankings=[
            ("Titles", "Title", _ranked(day.titles)),
            ("Countries", "Country", _ranked(day.countries)),
            ("Devices", "Device", _ranked(day.devices)),
        ],
        measures=list(_measures(day)),
        repairs=_repair_columns(day),
        worse_factor=_WORSE_FACTOR,
        worse_rows=_WORSE_ROWS,
    )


def change(now: float | None, before: float | None) -> str:
    """Say how a number differs from the one before: `+4 %`, `−12 %`, `×3.4`, `new`, `±0 %`; nothing to compare: ``."""
    if now is None or before is None:
        return ""
    if before == 0:
        return "new" if now else "±0 %"
    ratio = now / before
    if ratio >= 3:
        return f"×{ratio:,.1f}"
    percent = round(100 * (ratio - 1))
    return f"{'+' if percent > 0 else '−' if percent < 0 else '±'}{abs(percent)} %"


def _tiles(day: Day) -> Iterator[dict[str, Any]]:
    by_date = {row["event_date"]: row for row in day.week}
    dates = [day.date - dt.timedelta(days=back) for back in range(day.days, 0, -1)]
    for name, title, spec in _TILES:
        week = [float(by_date.get(date, {}).get(name) or 0) for date in dates]
        now = day.numbers[name]
        most = max([*week, now or 0, 1])
        yield {
            "title": title,
            "value": "–" if now is None else format(now, spec),
            "change": change(now, sum(week) / day.days if day.days else None),
            "columns": [
                *(
                    Bar(f"{date:%a %d %b}: {format(value, spec)}", _FULL * value / most, is_muted=True)
                    for date, value in zip(dates, week, strict=True)
                ),
                Bar(f"{day.date:%a %d %b}: {format(now or 0, spec)}", _FULL * (now or 0) / most),
            ],
        }


def _hours(rows: Sequence[Row]) -> list[Bar]:
    most = max(1.0, *(max(row["plays"], row["before"] or 0) for row in rows))
    return [
        Bar(
            f"{row['event_hour']:02}–{row['event_hour'] + 1:02} h: {_plays(row)}",
            _FULL * row["plays"] / most,
            None if row["before"] is None else _FULL * row["before"] / most,
        )
        for row in rows
    ]


def _ranked(rows: Sequence[Row]) -> list[dict[str, Any]]:
    most = max((max(row["plays"], row["before"] or 0) for row in rows), default=1)
    return [
        {
            **row,
            "change": change(row["plays"], row["before"]),
            "bar": Bar(
                _plays(row),
                _FULL * row["plays"] / most,
                None if row["before"] is None else _FULL * row["before"] / most,
            ),
        }
        for row in rows
    ]


def _plays(row: Row) -> str:
    before = "" if row["before"] is None else f", week before {row['before']:,.1f} on average"
    return f"{row['plays']:,} plays{before}"


def _measures(day: Day) -> Iterator[dict[str, Any]]:
    for name, title in _MEASURES:
        share, before = (
            None
            if card is None
            else _share(card[name], _records(card) if name in _OF_ALL_RECORDS else card["silver_rows"])
            for card in (day.scorecard, day.scorecard_before)
        )
        rows = day.scorecard[name]
        is_worse = bool(share and before is not None and rows >= _WORSE_ROWS and share > _WORSE_FACTOR * before)
        yield {"title": title, "rows": rows, "share": share, "before": before, "is_worse": is_worse}


def _records(card: Row) -> int:
    return int(card["silver_rows"] + card["quarantined_rows"])


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _repair_columns(day: Day) -> list[dict[str, Any]]:
    return [
        {
            "date": row["event_date"],
            "payload": row["from_payload_rows"],
            "broker": row["from_broker_rows"],
            "waiting": row["null_partition_rows"],
            "is_date": row["event_date"] == day.date,
        }
        for row in day.repairs
    ]


def _percent(value: float | None) -> str:
    """Two digits that tell: 12 %, 1.2 %, 0.12 %, 0 %; next to nothing is < 0.01 %."""
    if value is None:
        return "–"
    if 0 < value < 0.0001:
        return "< 0.01 %"
    digits = 2 if 0 < value < 0.01 or 0.99 < value < 1 else 1 if value < 0.1 and value else 0
    return f"{100 * value:.{digits}f} %"


def _count(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"


def _any_of(rows: Iterable[Row], *names: str) -> bool:
    return any(row[name] for row in rows for name in names)


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("report", "."),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"count": _count, "percent": _percent}
    environment.globals |= {"change": change, "any_of": _any_of}
    return environment.get_template("page.html.j2")
