"""The charts, as functions from an Arrow table to an Altair chart. Colours are read on light and on dark ground."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Final

import altair as alt
import pyarrow as pa

ACCENT: Final = "#3b82c4"
WARNING: Final = "#e07b39"
CATEGORIES: Final = ["#3b82c4", "#e07b39", "#3fa796", "#b05fb0", "#c9a227", "#7a8ca3", "#d1495b"]
_LABEL: Final = "#88929d"
_MOST_POINTS: Final = 60
_NO_DATA: Final = "#88888833"
_EDGE: Final = "#88888888"
_SCALES: Final = {"light": ["#e3eef8", "#3b82c4", "#12395e"], "dark": ["#1c2b3a", "#3b82c4", "#d3e7fa"]}
"""From little to much: away from the ground in both themes."""


def lines(table: pa.Table, x: str, y: str, title: str, colour: str = ACCENT) -> alt.Chart:
    """Draw one measure over dates or times, as an area under a line."""
    chart: alt.Chart = (
        alt.Chart(table)
        .mark_area(line={"color": colour}, color=colour, opacity=0.25, point={"color": colour, "size": 25})
        .encode(
            x=alt.X(x, type="temporal", title=None),
            y=alt.Y(y, type="quantitative", title=title, axis=alt.Axis(format="%") if "share" in y else alt.Axis()),
            tooltip=_tips(table, x, y),
        )
        .properties(height=240)
    )
    return chart


def bars(table: pa.Table, y: str, x: str, title: str, colour: str | None = None) -> alt.Chart:
    """Draw one horizontal bar a row, in the table's order; `colour` names a column that colours them."""
    shade = (
        alt.value(ACCENT)
        if colour is None
        else alt.Color(colour, type="nominal", title=None, scale=alt.Scale(range=CATEGORIES), legend=_legend())
    )
    chart: alt.Chart = (
        alt.Chart(table)
        .mark_bar(cornerRadiusEnd=2)
        .encode(
            x=alt.X(x, type="quantitative", title=title),
            y=alt.Y(y, type="nominal", sort=None, title=None, axis=alt.Axis(labelLimit=170, labelOverlap=False)),
            color=shade,
            tooltip=_tips(table, *table.column_names),
        )
        .properties(height=60 + 22 * table.num_rows)
    )
    return chart


def stacked(table: pa.Table, x: str, y: str, colour: str, title: str) -> alt.Chart:
    """Draw bars by date, stacked by a category."""
    chart: alt.Chart = (
        alt.Chart(table)
        .mark_bar()
        .encode(
            x=alt.X(x, type="temporal", timeUnit="yearmonthdate", title=None),
            y=alt.Y(y, type="quantitative", title=title),
            color=alt.Color(colour, type="nominal", title=None, scale=alt.Scale(range=CATEGORIES), legend=_legend()),
            tooltip=_tips(table, x, colour, y),
        )
        .properties(height=260)
    )
    return chart


def measures(table: pa.Table, x: str, columns: Mapping[str, str], title: str, *, is_share: bool = False) -> alt.Chart:
    """Draw a line for each of several columns (name → what the legend calls it) over dates or times."""
    named = table.select([x, *columns]).rename_columns([x, *columns.values()])
    value = alt.Tooltip("value", type="quantitative", format=".1%" if is_share else ",.1f")
    scale = alt.Scale(domain=list(columns.values()), range=CATEGORIES[: len(columns)])
    chart: alt.Chart = (
        alt.Chart(named)
        .transform_fold(list(columns.values()), as_=["measure", "value"])
        .transform_filter("isValid(datum.value)")
        .mark_line(point=alt.OverlayMarkDef(size=25) if table.num_rows <= _MOST_POINTS else False)
        .encode(
            x=alt.X(x, type="temporal", title=None),
            y=alt.Y("value", type="quantitative", title=title, axis=alt.Axis(format="%") if is_share else alt.Axis()),
            color=alt.Color("measure", type="nominal", title=None, scale=scale, legend=_legend()),
            tooltip=[*_tips(named, x), alt.Tooltip("measure", type="nominal", title=" "), value],
        )
        .properties(height=260)
    )
    return chart


def funnel(table: pa.Table) -> alt.LayerChart:
    """Draw the steps from the first down, with the share that got there: `name, viewings, share_of_started`."""
    base = alt.Chart(table).encode(
        y=alt.Y("name", type="nominal", sort=None, title=None),
        x=alt.X("viewings", type="quantitative", title="viewings"),
        tooltip=_tips(table, *table.column_names),
    )
    bar = base.mark_bar(color=ACCENT, cornerRadiusEnd=2)
    label = base.mark_text(align="left", dx=5, color=_LABEL).encode(
        text=alt.Text("share_of_started", type="quantitative", format=".0%")
    )
    return alt.LayerChart(layer=[bar, label]).properties(height=60 + 34 * table.num_rows)


def deviations(table: pa.Table) -> alt.LayerChart:
    """Draw a point an anomaly, by date and by how far it is from what was expected; whole dates are squares."""
    scale = alt.Scale(domain=["more", "fewer"], range=[ACCENT, WARNING])
    points = (
        alt.Chart(table)
        .transform_calculate(extent="datum.event_hour === null ? 'date' : 'hour'")
        .mark_point(filled=True, opacity=0.75, size=70)
        .encode(
            x=alt.X("event_date", type="temporal", title=None),
            y=alt.Y("deviation", type="quantitative", title="against expected", axis=alt.Axis(format="+%")),
            color=alt.Color("direction", type="nominal", title=None, scale=scale, legend=_legend()),
            shape=alt.Shape(
                "extent",
                type="nominal",
                title=None,
                scale=alt.Scale(domain=["date", "hour"], range=["square", "circle"]),
                legend=alt.Legend(orient="bottom", columns=2, symbolFillColor=_LABEL, symbolStrokeColor=_LABEL),
            ),
            tooltip=_tips(table, "event_date", "country", "event_hour", "events", "expected", "deviation", "score"),
        )
    )
    zero = alt.Chart().mark_rule(color=_EDGE).encode(y=alt.datum(0))
    return alt.LayerChart(layer=[zero, points], data=table).properties(height=300)


def heat_map(table: pa.Table, theme: str) -> alt.Chart:
    """Draw plays by hour (across) and date (down): `event_date, event_hour, plays`."""
    chart: alt.Chart = (
        alt.Chart(table)
        .mark_rect()
        .encode(
            x=alt.X("event_hour", type="ordinal", title="hour (UTC)", axis=alt.Axis(labelAngle=0)),
            y=alt.Y("event_date", type="ordinal", timeUnit="yearmonthdate", title=None),
            color=alt.Color("plays", type="quantitative", title="plays", scale=alt.Scale(range=_SCALES[theme])),
            tooltip=_tips(table, "event_date", "event_hour", "plays"),
        )
        .properties(height=max(160, 22 * len(set(table["event_date"].to_pylist()))))
    )
    return chart


def world(table: pa.Table, theme: str) -> alt.LayerChart:
    """Draw plays on a map of the countries: `country` (ISO 3166-1 alpha-2), `plays`. Drawn without any network.

    Countries too small for the map (1:110 million) are in the bars beside it only.
    """
    shapes = alt.InlineData(values=_shapes(), format=alt.TopoDataFormat(type="topojson", feature="countries"))
    ground = alt.Chart(shapes).mark_geoshape(fill=_NO_DATA, stroke=_EDGE, strokeWidth=0.4)
    played = (
        alt.Chart(shapes)
        .mark_geoshape(stroke=_EDGE, strokeWidth=0.4)
        .transform_lookup(lookup="id", from_=alt.LookupData(table, "country", ["plays", "watch_hours"]))
        .transform_filter("isValid(datum.plays)")
        .encode(
            color=alt.Color(
                "plays",
                type="quantitative",
                title="plays",
                scale=alt.Scale(type="sqrt", range=_SCALES[theme]),
                legend=alt.Legend(orient="bottom"),
            ),
            tooltip=[
                alt.Tooltip("properties.name", type="nominal", title="country"),
                alt.Tooltip("plays", type="quantitative", format=","),
                alt.Tooltip("watch_hours", type="quantitative", format=",.1f", title="watch hours"),
            ],
        )
    )
    return alt.LayerChart(layer=[ground, played]).project("equalEarth").properties(height=400)


@cache
def _shapes() -> Any:
    return json.loads(files("dashboard").joinpath("world.json").read_text(encoding="utf-8"))


def _legend() -> alt.Legend:
    return alt.Legend(orient="bottom", columns=3)


def _tips(table: pa.Table, *columns: str) -> list[alt.Tooltip]:
    """Return tooltips that print dates, times and numbers as people read them."""
    tips = []
    for name in columns:
        kind = table.schema.field(name).type
        title = name.replace("_", " ")
        if pa.types.is_timestamp(kind):
            tips.append(alt.Tooltip(name, type="temporal", format="%Y-%m-%d %H:%M:%S", title=title))
        elif pa.types.is_date(kind):
            tips.append(alt.Tooltip(name, type="temporal", format="%Y-%m-%d", title=title))
        elif "share" in name or name == "deviation":
            tips.append(alt.Tooltip(name, type="quantitative", format=".1%", title=title))
        elif pa.types.is_floating(kind) or pa.types.is_decimal(kind):
            tips.append(alt.Tooltip(name, type="quantitative", format=",.2f", title=title))
        elif pa.types.is_integer(kind):
            tips.append(alt.Tooltip(name, type="quantitative", format=",", title=title))
        else:
            tips.append(alt.Tooltip(name, type="nominal", title=title))
    return tips
