"""The pages: each puts a few figures and charts of one theme on the screen."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

import altair as alt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt
import streamlit as st

from audit.status import Progress, Status
from dashboard import charts
from dashboard.reading import Choice
from query.gold import Gold
from sink.positions import names_apart


def now(progress: Progress, recent: pa.Table, at: dt.datetime) -> None:
    """Show what happens right now: rate, freshness, share of bad records, lag."""
    st.title("Now")
    records, refused = (int(pc.sum(recent[name]).as_py() or 0) for name in ("records", "refused"))
    seconds = 10 * (_ten_second_steps(recent["moment"]) if recent.num_rows else 1)
    newest, lag = progress.newest_broker_time, progress.lag
    first, second, third, fourth = st.columns(4)
    first.metric("Events a second", f"{records / seconds:,.0f}", help="over the last ten minutes that have records")
    second.metric("Freshness", "-" if newest is None else _span(at - newest), help="since the newest record in silver")
    third.metric("Bad share", f"{refused / records:.2%}" if records else "-", help="refused ÷ all, same ten minutes")
    fourth.metric("Lag", "-" if lag is None else f"{lag:,}", help="offsets behind; needs `playlake dashboard --broker`")
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
    totals = gold.ask("totals", choice.values).to_pylist()[0]
    first, second, third, fourth = st.columns(4)
    first.metric("Plays", f"{totals['plays']:,}")
    second.metric("Watch hours", f"{totals['watch_hours']:,.1f}")
    third.metric("Titles played", f"{totals['titles']:,}")
    fourth.metric("Countries", f"{totals['countries']:,}")
    if not totals["plays"]:
        _nothing()
        return
    st.subheader("Plays by date")
    _draw(charts.lines(gold.ask("daily", choice.values), "event_date", "plays", "plays"))
    left, right = st.columns(2)
    with left:
        st.subheader("Top titles")
        _draw(charts.bars(gold.ask("titles", choice.values), "title", "plays", "plays", "content_type"))
    with right:
        st.subheader("Genres", help="a title counts in each of its genres")
        _draw(charts.bars(gold.ask("genres", choice.values), "genre", "plays", "plays"))


def places(gold: Gold, choice: Choice) -> None:
    """Show where it is played: a map, and every country."""
    st.title("Countries")
    countries = gold.ask("countries", choice.values)
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
    hours = gold.ask("hours", choice.values)
    if not _any(hours, "plays"):
        _nothing()
        return
    st.subheader("Plays by hour and date", help="UTC; at most 28 dates")
    _draw(charts.heat_map(hours, _theme()))
    st.subheader("Devices")
    _draw(charts.stacked(gold.ask("devices", choice.values), "event_date", "plays", "device_type", "plays"))


def quality(gold: Gold, choice: Choice) -> None:
    """Show how good the data of each date is."""
    st.title("Quality")
    scorecard = gold.ask("scorecard", choice.values)
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


def retention(gold: Gold, choice: Choice) -> None:
    """Show who comes back: viewers of a date, week and month, new and returning ones, shares retained."""
    st.title("Retention")
    rows = gold.ask("retention", choice.values)
    if rows.num_rows == 0:
        _nothing()
        return
    last = rows.slice(rows.num_rows - 1).to_pylist()[0]
    first, second, third, fourth = st.columns(4)
    first.metric("Viewers", f"{last['daily_viewers']:,}", help=f"distinct profiles on {last['event_date']}")
    second.metric("Viewers in 28 days", f"{last['monthly_viewers']:,}", help="on that date or one of the 27 before")
    third.metric("Stickiness", _share(last["stickiness"]), help="viewers of the date ÷ those of its 28 days")
    fourth.metric("Back the next day", _share(_mean(rows, "retained_day_1")), help="mean of the chosen dates")
    spans = {"daily_viewers": "date", "weekly_viewers": "7 days", "monthly_viewers": "28 days"}
    st.subheader("Viewers", help="distinct profiles on a date, and on it or the 6 or 27 dates before")
    _draw(charts.measures(rows, "event_date", spans, "viewers"))
    left, right = st.columns(2)
    with left:
        st.subheader("New and returning", help="returning: seen on one of the 27 dates before")
        kinds = {"returning_viewers": "returning", "new_viewers": "new"}
        _draw(charts.measures(rows, "event_date", kinds, "viewers"))
    with right:
        st.subheader("Came back", help="share of the viewers of the date before, and of a week before, there again")
        spans = {"retained_day_1": "after a day", "retained_day_7": "after a week"}
        _draw(charts.measures(rows, "event_date", spans, "share", is_share=True))
    st.subheader("By date")
    _table(rows)


def funnel(gold: Gold, choice: Choice) -> None:
    """Show how far viewings get, over the choice and by date."""
    st.title("Funnel")
    steps = gold.ask("funnel", choice.values)
    if not _any(steps, "viewings"):
        _nothing()
        return
    rows = steps.to_pylist()
    lost = min((row for row in rows if row["share_of_previous"] is not None), key=lambda row: row["share_of_previous"])
    first, second, third = st.columns(3)
    first.metric("Viewings started", f"{rows[0]['viewings']:,}", help="a session's viewings of a title with a duration")
    second.metric("Nearly all watched", _share(rows[-1]["share_of_started"]), help="90 % of the title or more")
    third.metric(
        "Most are lost before", lost["name"], help=f"{lost['share_of_previous']:.0%} of the step before get there"
    )
    st.subheader("How far viewings get", help="share of those that started")
    _draw(charts.funnel(steps))
    st.subheader("By date")
    shares = {"half": "half", "nearly_all": "nearly all"}
    _draw(charts.measures(gold.ask("funnel_daily", choice.values), "event_date", shares, "share", is_share=True))
    _table(steps)


def anomalies(gold: Gold, choice: Choice) -> None:
    """Show the dates and hours whose volume is out of line."""
    st.title("Volume anomalies")
    rows = gold.ask("anomalies", choice.values)
    st.caption(
        "A country's dates and hours with far more or fewer events than those of the last four weeks had, by weekday. "
        "It takes two former weeks; the newest date is still coming in and is left out."
    )
    whole = [row for row in rows.to_pylist() if row["event_hour"] is None]
    first, second, third, fourth = st.columns(4)
    first.metric("Anomalies", f"{rows.num_rows:,}")
    second.metric("Whole dates", f"{len(whole):,}", help="a country's date as a whole")
    third.metric("Countries", f"{len(rows['country'].unique()):,}")
    fourth.metric("Fewer than expected", f"{rows['direction'].to_pylist().count('fewer'):,}")
    if rows.num_rows == 0:
        st.success("Nothing is out of line in this choice.", icon=":material/check:")
        return
    _draw(charts.deviations(rows))
    _table(rows)


def health(gold: Gold, choice: Choice) -> None:
    """Show how the pipeline did, hour by hour: rows, refused ones, late ones, lag."""
    st.title("Pipeline health")
    rows = gold.ask("health", choice.values)
    if rows.num_rows == 0:
        _nothing()
        return
    came, refused, late = (
        int(pc.sum(rows[name]).as_py() or 0) for name in ("silver_rows", "quarantined_rows", "late_rows")
    )
    first, second, third, fourth = st.columns(4)
    first.metric("Rows", f"{came:,}", help="rows of silver, by the hour of their event; at most 14 dates")
    second.metric("Bad share", _share(refused / (came + refused) if came + refused else None), help="refused ÷ all")
    third.metric("Late share", _share(late / came if came else None), help="at the broker an hour after the event")
    worst = pc.max(rows["ingest_lag_p99_s"]).as_py()
    lag = "-" if worst is None else _span(dt.timedelta(seconds=worst))
    fourth.metric("Worst lag", lag, help="from broker to worker: 99 % of the worst hour's rows came within this")
    st.subheader("Rows by hour", help="UTC; silver by the hour of the event, refused by the hour in which they came in")
    kinds = {"silver_rows": "silver", "quarantined_rows": "refused"}
    _draw(charts.measures(rows, "hour", kinds, "rows"))
    left, right = st.columns(2)
    with left:
        st.subheader("Lag from broker to worker")
        lags = {"ingest_lag_s": "median", "ingest_lag_p99_s": "99 %"}
        _draw(charts.measures(rows, "hour", lags, "seconds"))
    with right:
        st.subheader("Late share")
        _draw(charts.measures(rows, "hour", {"late_share": "late"}, "share", is_share=True))
    _table(rows)


def _draw(chart: alt.Chart | alt.LayerChart) -> None:
    st.altair_chart(chart, width="stretch")


def _table(rows: pa.Table) -> None:
    st.dataframe(rows, width="stretch", hide_index=True, column_config={f.name: _column(f) for f in rows.schema})


def _column(field: pa.Field) -> Any:
    title = field.name.replace("_", " ")
    if pt.is_floating(field.type):
        return st.column_config.NumberColumn(title, format="percent" if _is_share(field.name) else "%.2f")
    return st.column_config.NumberColumn(title, format="localized") if _is_count(field.type) else title


def _is_share(name: str) -> bool:
    return "share" in name or name in ("deviation", "stickiness", "retained_day_1", "retained_day_7")


def _is_count(kind: pa.DataType) -> bool:
    return bool(pt.is_integer(kind) or pt.is_decimal(kind))


def _rows(rows: list[Mapping[str, Any]]) -> None:
    _table(pa.Table.from_pylist(rows)) if rows else st.caption("none")


def _nothing() -> None:
    st.info("Nothing in this choice: widen the dates, or take filters away.")


def _any(rows: pa.Table, name: str) -> bool:
    return bool(pc.sum(rows[name]).as_py())


def _mean(rows: pa.Table, name: str) -> float | None:
    mean: float | None = pc.mean(rows[name]).as_py()
    return mean


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


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
