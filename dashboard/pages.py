"""The pages: each puts a few figures and charts of one theme on the screen."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from typing import Any

import altair as alt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt
import streamlit as st

from audit.status import Status
from dashboard import charts
from dashboard.reading import Choice, Gold
from sink.positions import names_apart


def now(status: Status, recent: pa.Table, at: dt.datetime) -> None:
    """Show what happens right now: rate, freshness, share of bad records, lag."""
    st.title("Now")
    records, refused = (int(pc.sum(recent[name]).as_py() or 0) for name in ("records", "refused"))
    seconds = 10 * (_ten_second_steps(recent["moment"]) if recent.num_rows else 1)
    newest = status.newest_broker_time
    lags = [source.lag for source in status.sources if source.lag is not None]
    first, second, third, fourth = st.columns(4)
    first.metric("Events a second", f"{records / seconds:,.0f}", help="over the last ten minutes that have records")
    second.metric("Freshness", "-" if newest is None else _span(at - newest), help="since the newest record in silver")
    third.metric("Bad share", f"{refused / records:.2%}" if records else "-", help="refused ÷ all, same ten minutes")
    fourth.metric("Lag", f"{sum(lags):,}" if lags else "-", help="offsets behind; needs `playlake dashboard --broker`")
    if recent.num_rows == 0:
        st.info("No record has come yet. `playlake stream` fills the lake.")
        return
    st.subheader("Records in the last minutes", help="by broker time, in steps of ten seconds")
    _draw(charts.lines(recent, "moment", "records", "records in 10 s"))
    if refused:
        st.subheader("Refused of these")
        _draw(charts.lines(recent, "moment", "refused", "refused in 10 s", charts.WARNING))


def titles(gold: Gold, choice: Choice) -> None:
    """Show what is played: totals, titles, genres."""
    st.title("Titles and genres")
    totals = gold.ask("totals", choice).to_pylist()[0]
    first, second, third, fourth = st.columns(4)
    first.metric("Plays", f"{totals['plays']:,}")
    second.metric("Watch hours", f"{totals['watch_hours']:,.1f}")
    third.metric("Titles played", f"{totals['titles']:,}")
    fourth.metric("Countries", f"{totals['countries']:,}")
    if not totals["plays"]:
        _nothing()
        return
    st.subheader("Plays by date")
    _draw(charts.lines(gold.ask("daily", choice), "event_date", "plays", "plays"))
    left, right = st.columns(2)
    with left:
        st.subheader("Top titles")
        _draw(charts.bars(gold.ask("titles", choice), "title", "plays", "plays", "content_type"))
    with right:
        st.subheader("Genres", help="a title counts in each of its genres")
        _draw(charts.bars(gold.ask("genres", choice), "genre", "plays", "plays"))


def places(gold: Gold, choice: Choice) -> None:
    """Show where it is played: a map, and every country."""
    st.title("Countries")
    countries = gold.ask("countries", choice)
    if not _any(countries, "plays"):
        _nothing()
        return
    _draw(charts.world(countries, _theme()))
    left, right = st.columns(2)
    with left:
        st.subheader("Most plays")
        _draw(charts.bars(countries.slice(0, 20), "country", "plays", "plays", "region"))
    with right:
        st.subheader("All countries")
        _table(countries)


def times(gold: Gold, choice: Choice) -> None:
    """Show when, and on what, it is played: hours × days, devices."""
    st.title("Hours and devices")
    hours = gold.ask("hours", choice)
    if not _any(hours, "plays"):
        _nothing()
        return
    st.subheader("Plays by hour and date", help="UTC; at most 28 dates")
    _draw(charts.heat_map(hours, _theme()))
    st.subheader("Devices")
    _draw(charts.stacked(gold.ask("devices", choice), "event_date", "plays", "device_type", "plays"))


def quality(gold: Gold, choice: Choice) -> None:
    """Show how good the data of each date is."""
    st.title("Quality")
    scorecard = gold.ask("scorecard", choice)
    if scorecard.num_rows == 0:
        _nothing()
        return
    rows, refused, waiting, repeated = (
        pc.sum(scorecard[name]).as_py()
        for name in ("silver_rows", "quarantined_rows", "null_partition_rows", "repeated_rows")
    )
    first, second, third, fourth = st.columns(4)
    first.metric("Rows", f"{rows:,}")
    second.metric("Quarantined", f"{refused:,}", help="records ingested on the chosen dates that were refused")
    third.metric("In the null partition", f"{waiting:,}", help="rows that wait for a date")
    fourth.metric("Repeats waiting", f"{repeated:,}", help="rows that dedupe will drop; gold leaves them out")
    shares = {"bad_share": "Bad share", "warned_share": "Warned share", "late_share": "Late share"}
    for column, (name, title) in zip(st.columns(len(shares)), shares.items(), strict=True):
        with column:
            st.subheader(title)
            _draw(charts.lines(scorecard, "event_date", name, "share", charts.WARNING))
    st.subheader("Scorecard")
    _table(scorecard)


def ledger(status: Status) -> None:
    """Show the accounts: every record of bronze is in silver or quarantine, or repeats one of silver's."""
    st.title("Ledger")
    rows = {table.name: table.rows or 0 for table in status.tables}
    rest = rows["bronze"] - rows["silver"] - rows["quarantine"]
    first, second, third, fourth = st.columns(4)
    first.metric("Bronze", f"{rows['bronze']:,}", help="records as they came")
    second.metric("Silver", f"{rows['silver']:,}", help="valid rows, each event once after dedupe")
    third.metric("Quarantine", f"{rows['quarantine']:,}", help="refused records")
    fourth.metric("Repeats dropped", f"{rest:,}", help="bronze less silver less quarantine")
    st.caption("`playlake verify` proves it position by position; these sums only suggest it.")
    st.subheader("Positions")
    names = names_apart([entry.source for entry in status.sources])
    _rows(
        [
            {"source": names[s.source], "done": s.done, "bronze ahead": s.bronze_ahead, "lag": s.lag}
            for s in status.sources
        ]
    )
    if status.reasons:
        st.subheader("Why records were refused")
        reasons = pa.table(dict(zip(("reason", "rows"), zip(*status.reasons, strict=True), strict=True)))
        _draw(charts.bars(reasons, "reason", "rows", "records"))
    st.subheader("Tables")
    _rows(
        [
            {
                "table": table.name,
                "rows": table.rows,
                "files": table.files,
                "MB": table.size_bytes / 1e6,
                "version": table.version,
                "committed": table.committed_at,
                "by": table.operation,
            }
            for table in status.tables
        ]
    )


def repairs(status: Status, history: pa.Table) -> None:
    """Show the null partition: what waits there, and what repairs moved out of it."""
    st.title("Null partition")
    moved = pc.sum(history["rows"]).as_py() or 0
    first, second, third = st.columns(3)
    first.metric("Rows waiting", f"{status.null_partition_rows:,}", help="rows without a usable event time")
    second.metric("Rows repaired", f"{moved:,}", help="by the repairs below")
    third.metric("Repairs", f"{history.num_rows:,}")
    if history.num_rows == 0:
        st.info("No repair has moved a row yet. `playlake compact` does it, or `playlake repair` alone.")
        return
    _draw(charts.lines(history, "repaired_at", "rows", "rows repaired"))
    _table(history)


def of_table(name: str, title: str) -> Callable[[Gold, Choice], None]:
    """Return a page for one gold table: its purpose, a chart of a measure by date, its rows."""

    def page(gold: Gold, choice: Choice) -> None:
        st.title(title)
        st.caption(gold.descriptions[name])
        rows = gold.table(name, choice)
        if rows.num_rows == 0:
            _nothing()
            return
        numbers, words = _numbers(rows), _words(rows)
        if numbers:
            measure = st.selectbox("Measure", numbers, key=f"measure-{name}")
            if "event_date" in rows.column_names:
                _draw(charts.by_date(rows, measure, words[0] if words else None))
            elif words:
                _draw(charts.bars(rows.slice(0, 30), words[0], measure, measure))
        _table(rows)

    page.__name__ = name
    return page


def _numbers(rows: pa.Table) -> list[str]:
    return [f.name for f in rows.schema if pt.is_integer(f.type) or pt.is_floating(f.type) or pt.is_decimal(f.type)]


def _words(rows: pa.Table) -> list[str]:
    return [f.name for f in rows.schema if pt.is_string(f.type) or pt.is_large_string(f.type)]


def _draw(chart: alt.Chart | alt.LayerChart) -> None:
    st.altair_chart(chart, width="stretch")


def _table(rows: pa.Table) -> None:
    st.dataframe(rows, width="stretch", hide_index=True, column_config={f.name: _column(f) for f in rows.schema})


def _column(field: pa.Field) -> Any:
    title = field.name.replace("_", " ")
    if pt.is_floating(field.type):
        return st.column_config.NumberColumn(title, format="percent" if "share" in field.name else "%.2f")
    return st.column_config.NumberColumn(title, format="localized") if _is_count(field.type) else title


def _is_count(kind: pa.DataType) -> bool:
    return bool(pt.is_integer(kind) or pt.is_decimal(kind))


def _rows(rows: list[Mapping[str, Any]]) -> None:
    _table(pa.Table.from_pylist(rows)) if rows else st.caption("none")


def _nothing() -> None:
    st.info("Nothing in this choice: widen the dates, or take filters away.")


def _any(rows: pa.Table, name: str) -> bool:
    return bool(pc.sum(rows[name]).as_py())


def _theme() -> str:
    return "dark" if st.context.theme.type == "dark" else "light"


def _ten_second_steps(at: pa.ChunkedArray) -> int:
    newest, oldest = pc.max(at).as_py(), pc.min(at).as_py()
    return int((newest - oldest).total_seconds() // 10) + 1


def _span(span: dt.timedelta) -> str:
    seconds = span.total_seconds()
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if abs(seconds) >= 2 * length:
            return f"{seconds / length:,.0f} {unit}"
    return f"{seconds:.1f} s"
