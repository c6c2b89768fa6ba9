"""`playlake report`: one date as one HTML file."""

from __future__ import annotations

import datetime as dt
import sys
from pathlib import Path
from typing import ClassVar

from pydantic import AliasChoices, Field

from playlake.settings import Date, VerbSettings
from report import read_day, render
from schemas.errors import ConfigError
from sink.lake import Lake


class Settings(VerbSettings):
    """Write one date's report, fit to be mailed: one HTML file that needs nothing else.

    The date's numbers against the week before, hours, titles, countries, devices, volume anomalies, the quality
    scorecard, the ledger and repairs. It reads the gold tables alone; `playlake compact` keeps them up to date.

    Example:
        playlake report --lake ./lake --date 2026-11-20 -o report.html
    """

    verb: ClassVar[str] = "report"

    lake: str = Field(description="folder or s3://bucket/prefix")
    date: Date | None = Field(None, description="YYYY-MM-DD, UTC; without it, yesterday")
    output: str = Field(validation_alias=AliasChoices("output", "o"), description="file to write; - is standard output")


def run(settings: Settings) -> int:
    """Write the file; see `Settings`."""
    lake = Lake.at(settings.lake)
    date = settings.date or dt.datetime.now(dt.UTC).date() - dt.timedelta(days=1)
    html = render(read_day(lake.uri, date), lake.uri)
    if settings.output == "-":
        sys.stdout.write(html)
        return 0
    try:
        Path(settings.output).write_text(html, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"can't write {settings.output} ({error.strerror}): choose another place with -o") from None
    print(f"{settings.output}: {date} of {lake.uri}, {len(html.encode()) / 1000:,.0f} kB")
    return 0
