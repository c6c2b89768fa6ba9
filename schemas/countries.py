"""The countries that playlake knows: code, region and clock, from `countries.csv`."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files


@dataclass(frozen=True)
class Country:
    """One country.

    Attributes:
        code: ISO 3166-1 alpha-2.
        name: English short name.
        region: one of North America, Latin America, Europe, Middle East and Africa, Asia-Pacific.
        utc_offset_h: hours that its largest city's standard time is ahead of UTC; may be fractional or negative.
        viewer_share: share of the simulated viewers who live there; the shares of all countries sum to 1.
    """

    code: str
    name: str
    region: str
    utc_offset_h: float
    viewer_share: float


@cache
def countries() -> tuple[Country, ...]:
    """Return every country that playlake knows, in the order of its file."""
    text = files("schemas").joinpath("countries.csv").read_text(encoding="utf-8")
    return tuple(
        Country(
            code=row["code"],
            name=row["name"],
            region=row["region"],
            utc_offset_h=float(row["utc_offset_h"]),
            viewer_share=float(row["viewer_share"]),
        )
        for row in csv.DictReader(text.splitlines())
    )
