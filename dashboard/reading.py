"""What the pages show: SQL files over the gold views, and how the lake is right now. No Streamlit in here."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any, Final
from urllib.parse import unquote

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from query import connect
from query.views import tables, views
from schemas.errors import QueryError
from sink.lake import Lake
from sink.scan import connect as scan_connect
from sink.scan import create_view

RECENT: Final = dt.timedelta(minutes=10)
"""How far back of the newest record `recent` looks."""

_PARAMETER: Final = re.compile(r"\$([a-z]+)")


@dataclass(frozen=True)
class Choice:
    """What the filters say. Empty countries or devices mean all; `none` stands for rows that sent none."""

    first: dt.date
    last: dt.date
    countries: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Gold:
    """The gold tables at one moment, open for questions.

    Attributes:
        con: with their views; silver is not among them.
        descriptions: name without `gold.` → what the table says of itself.
    """

    con: duckdb.DuckDBPyConnection
    descriptions: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def open(cls, lake_uri: str) -> Gold:
        """Open the gold tables at their newest versions.

        Raises:
            LakeNotFound, IncompatibleLake, StoreUnavailable, ConfigError: as `query.connect`.
        """
        lake = Lake.at(lake_uri)
        found = {
            view.name.removeprefix("gold."): view.description
            for view in views(lake, tables(lake))
            if view.name.startswith("gold.")
        }
        return cls(connect(lake_uri, mentioned_in=" ".join(found) or "quarantine"), found)

    def lacks(self, names: Iterable[str]) -> list[str]:
        """Return those of the tables that are not there."""
        return [name for name in names if name not in self.descriptions]

    def ask(self, name: str, choice: Choice | None = None) -> pa.Table:
        """Run one of the dashboard's SQL files, `sql/<name>.sql`, for a choice.

        Raises:
            QueryError: the table has not the columns it needs: another version of playlake made it.
        """
        return run(self.con, name, {} if choice is None else vars(choice))

    def table(self, name: str, choice: Choice) -> pa.Table:
        """Return a whole gold table, its dates cut down to the choice where it has dates.

        Raises:
            KeyError: the table is not there.
            QueryError: it can't be read.
        """
        if name not in self.descriptions:
            raise KeyError(name)
        has_dates = _answer(
            self.con,
            "select count(*) as n from duckdb_columns() where table_name = $name and column_name = 'event_date'",
            {"name": name},
        )["n"][0].as_py()
        if not has_dates:
            return _answer(self.con, f"from gold.{name}", {})
        sql = f"from gold.{name} where event_date between $first and $last order by event_date"
        return _answer(self.con, sql, {"first": choice.first, "last": choice.last})


def run(con: duckdb.DuckDBPyConnection, name: str, values: Mapping[str, Any]) -> pa.Table:
    """Run `sql/<name>.sql` with those of the values that it names.

    Raises:
        QueryError: DuckDB refused it.
    """
    sql = files("dashboard").joinpath("sql", f"{name}.sql").read_text(encoding="utf-8")
    wanted = {key: _listed(values[key]) for key in set(_PARAMETER.findall(sql))}
    return _answer(con, sql, wanted)


def _answer(con: duckdb.DuckDBPyConnection, sql: str, values: Mapping[str, Any]) -> pa.Table:
    # A cursor of its own: Streamlit runs each viewer's page in another thread.
    try:
        rows: pa.Table = con.cursor().sql(sql, params=dict(values)).to_arrow_table()
    except (duckdb.Error, OSError) as error:
        raise QueryError(str(error).splitlines()[0]) from error
    return rows


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def recent(lake: Lake) -> pa.Table:
    """Return records by ten seconds of broker time (`moment, records, refused`), of the last minutes before the newest.

    Only the files whose statistics reach into those minutes are read, so a large lake answers as fast as a small one.

    Raises:
        LakeNotFound, IncompatibleLake, StoreUnavailable: as `Lake.table`.
    """
    handles = {name: lake.table(name) for name in ("silver", "quarantine")}
    ends = {name: _newest_by_file(pa.table(handle.get_add_actions(flatten=True))) for name, handle in handles.items()}
    newest = max((end for by_file in ends.values() for end in by_file.values()), default=None)
    con = scan_connect(lake)
    try:
        for name, handle in handles.items():
            near = [p for p, end in ends[name].items() if newest is not None and end > newest - RECENT]
            create_view(con, f"recent_{name}", handle, [f"{lake.path(name)}/{unquote(path)}" for path in near])
        return run(con, "recent", {"newest": newest})
    finally:
        con.close()


def _newest_by_file(actions: pa.Table) -> dict[str, dt.datetime]:
    if "max.broker_timestamp" not in actions.column_names:
        return {}
    known = actions.filter(pc.is_valid(actions["max.broker_timestamp"]))
    return dict(zip(known["path"].to_pylist(), known["max.broker_timestamp"].to_pylist(), strict=True))


def repairs(lake: Lake) -> pa.Table:
    """Return the repairs that silver's rows tell of, newest first; reads two narrow columns of silver.

    Raises:
        LakeNotFound, IncompatibleLake, StoreUnavailable: as `Lake.table`.
    """
    con = connect(lake.uri, mentioned_in="silver")
    try:
        return run(con, "repairs", {})
    finally:
        con.close()
