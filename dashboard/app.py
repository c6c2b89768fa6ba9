"""The Streamlit script: filters at the side, the page that was chosen, and something kind where there is no lake.

`playlake dashboard` runs it, with what it was told in the variable `PLAYLAKE_DASHBOARD`: JSON of `lake` and
`client_options` (librdkafka's, or null).
"""

from __future__ import annotations

import datetime as dt
import json
import os
from collections.abc import Callable
from importlib.resources import files
from typing import Any, Final

import pyarrow as pa
import streamlit as st

from audit.status import Progress, Status, read_progress, read_status
from dashboard import pages, reading
from dashboard.reading import Choice
from query.gold import Gold
from schemas.errors import LakeNotFound, PlaylakeError
from sink.lake import Lake

VARIABLE: Final = "PLAYLAKE_DASHBOARD"
_ICON: Final = str(files("dashboard").joinpath("icon.svg"))
_FRESH_S: Final = 10
_AUDIENCE: Final = ("audience_titles", "audience_hours")
# Which filters a page has besides dates, by the tables that it reads. (No bare text here: Streamlit would show it.)
_FILTERS: Final = {_AUDIENCE: ("countries", "devices"), ("volume_anomalies",): ("countries",)}


@st.cache_resource(ttl=_FRESH_S, show_spinner=False)
def _gold(lake_uri: str) -> Gold:
    return reading.open_gold(lake_uri)


@st.cache_data(ttl=_FRESH_S, show_spinner=False)
def _choices(lake_uri: str) -> dict[str, Any]:
    found: dict[str, Any] = _gold(lake_uri).ask("choices").to_pylist()[0]
    return found


@st.cache_data(ttl=_FRESH_S, show_spinner=False)
def _dates(lake_uri: str, names: tuple[str, ...]) -> tuple[dt.date, dt.date] | None:
    return _gold(lake_uri).dates(names)


@st.cache_data(ttl=_FRESH_S, show_spinner="reading the log …")
def _status(lake_uri: str) -> Status:
    return read_status(Lake.at(lake_uri), _told()["client_options"])


@st.cache_data(ttl=_FRESH_S, show_spinner=False)
def _progress(lake_uri: str) -> Progress:
    return read_progress(Lake.at(lake_uri), _told()["client_options"])


@st.cache_data(ttl=_FRESH_S, show_spinner=False)
def _recent(lake_uri: str) -> pa.Table:
    return reading.recent(Lake.at(lake_uri))


@st.cache_data(ttl=60, show_spinner="reading silver …")
def _repairs(lake_uri: str) -> pa.Table:
    return reading.repairs(Lake.at(lake_uri))


def _told() -> dict[str, Any]:
    told: dict[str, Any] = json.loads(os.environ[VARIABLE])
    return told


def main() -> None:
    """Show the page that was chosen."""
    st.set_page_config(page_title="playlake", page_icon=_ICON, layout="wide")
    lake_uri = _told()["lake"]
    audience = [
        _gold_page(lake_uri, pages.titles, "Titles and genres", ":material/movie:", _AUDIENCE),
        _gold_page(lake_uri, pages.places, "Countries", ":material/public:", _AUDIENCE),
        _gold_page(lake_uri, pages.times, "Hours and devices", ":material/schedule:", _AUDIENCE),
        _gold_page(lake_uri, pages.retention, "Retention", ":material/repeat:", ("viewer_retention",)),
        _gold_page(lake_uri, pages.funnel, "Funnel", ":material/filter_alt:", ("funnel",)),
    ]
    operation = [
        _gold_page(lake_uri, pages.quality, "Quality", ":material/fact_check:", ("quality_scorecard",)),
        _gold_page(lake_uri, pages.anomalies, "Volume anomalies", ":material/monitoring:", ("volume_anomalies",)),
        _gold_page(lake_uri, pages.health, "Pipeline health", ":material/vital_signs:", ("pipeline_health",)),
        _lake_page(lambda: pages.ledger(_status(lake_uri)), "Ledger", ":material/account_balance:"),
        _lake_page(
            lambda: pages.repairs(_status(lake_uri), _repairs(lake_uri)), "Null partition", ":material/healing:"
        ),
    ]
    now = _lake_page(lambda: _now(lake_uri), "Now", ":material/bolt:", is_first=True)
    chosen = st.navigation({"": [now], "Audience": audience, "Data": operation})
    with st.sidebar:
        st.caption(lake_uri)
    try:
        chosen.run()
    except PlaylakeError as error:
        _say_kindly(error, lake_uri)


@st.fragment(run_every=f"{_FRESH_S}s")
def _now(lake_uri: str) -> None:
    try:
        pages.now(_progress(lake_uri), _recent(lake_uri), dt.datetime.now(dt.UTC))
    except PlaylakeError as error:
        _say_kindly(error, lake_uri)


def _lake_page(body: Callable[[], None], title: str, icon: str, *, is_first: bool = False) -> Any:
    return st.Page(body, title=title, icon=icon, url_path=_slug(title), default=is_first)


def _gold_page(
    lake_uri: str, body: Callable[[Gold, Choice], None], title: str, icon: str, needs: tuple[str, ...]
) -> Any:
    """Return a page over gold tables; without one of them it says how to make it."""

    def page() -> None:
        gold = _gold(lake_uri)
        lacking = gold.lacks((*needs, *_AUDIENCE))
        if lacking:
            st.title(title)
            names = ", ".join(f"gold.{name}" for name in lacking)
            st.info(
                f"This page needs {names}, which this lake has not yet.\n\n"
                f"Make gold's tables with `playlake gold --lake {lake_uri}`; `playlake compact` keeps them up to date."
            )
            return
        # a table may have dates on which no event came: quality of those on which all were refused
        dates = _dates(lake_uri, (*needs, "audience_hours"))
        if dates is None:
            st.title(title)
            st.info("No event with a date has come yet: the gold tables are empty.")
            return
        body(gold, _filters(dates, _choices(lake_uri), _FILTERS.get(needs, ())))

    return st.Page(page, title=title, icon=icon, url_path=_slug(title))


def _filters(span: tuple[dt.date, dt.date], choices: dict[str, Any], usable: tuple[str, ...]) -> Choice:
    """Show the filters at the side and return what they say; besides dates, those that the page's tables know."""
    first, last = span
    with st.sidebar:
        dates = st.date_input("Dates (UTC)", (first, last), min_value=first, max_value=last, key="dates")
        countries, devices = (
            st.multiselect(
                label,
                choices[name],
                key=name,
                placeholder="all",
                disabled=name not in usable,
                help=None if name in usable else "this page's table does not tell them apart",
            )
            for label, name in (("Countries", "countries"), ("Devices", "devices"))
        )
    chosen = dates if isinstance(dates, tuple) else (dates,)
    begin = chosen[0] if chosen else first
    end = chosen[1] if len(chosen) > 1 else begin
    return Choice(begin, end, tuple(countries), tuple(devices))


def _say_kindly(error: PlaylakeError, lake_uri: str) -> None:
    if isinstance(error, LakeNotFound):
        st.title("There is no lake here yet")
        st.markdown(f"Nothing is at `{lake_uri}`. To make a lake with everything in it, in about a minute:")
        st.code(f"playlake demo --lake {lake_uri}", language="shell")
        st.markdown("or from your own broker:")
        st.code(f"playlake stream --broker kafka://localhost:9092 --topic T --lake {lake_uri}", language="shell")
        st.caption("This page finds it once it is there.")
    else:
        st.title("This lake can't be read now")
        st.warning(str(error))
        st.markdown("What the log says of it:")
        st.code(f"playlake status --lake {lake_uri}", language="shell")
    st.button("Try again", icon=":material/refresh:")


def _slug(title: str) -> str:
    return title.lower().replace(" ", "-")


main()
