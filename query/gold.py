"""The gold tables at one moment, open for the SQL files of what shows them: the dashboard and the report."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from typing import Any, Final

import duckdb
import pyarrow as pa

from query.views import open_views
from schemas.errors import QueryError
from sink.lake import Lake
from sink.scan import quoted

_PARAMETER: Final = re.compile(r"\$([a-z]+)")


@dataclass(frozen=True)
class Gold:
    """The gold tables at one moment.

    Attributes:
        con: with views `gold.<name>` of these; silver is not among them.
        tables: names of those that are there, without `gold.`.
        questions: folder of the SQL files that `ask` runs.
    """

    con: duckdb.DuckDBPyConnection
    tables: Collection[str]
    questions: Traversable

    @classmethod
    def open(cls, lake_uri: str, questions: Traversable, names: Iterable[str]) -> Gold:
        """Open those of the gold tables `names` that are there, at their newest versions.

        Raises:
            LakeNotFound, IncompatibleLake, StoreUnavailable, ConfigError: as `query.connect`.
        """
        lake = Lake.at(lake_uri)
        tables = [name for name in names if lake.exists(f"gold/{name}")]
        if not tables:
            lake.require()
        handles = {f"gold/{name}": lake.table(f"gold/{name}") for name in tables}
        return cls(open_views(lake, handles), tables, questions)

    def lacks(self, names: Iterable[str]) -> list[str]:
        """Return those of the tables that are not there."""
        return [name for name in names if name not in self.tables]

    def dates(self, names: Iterable[str]) -> tuple[dt.date, dt.date] | None:
        """Return the first and the last date of these tables' rows, all of which have an `event_date`; None: no row."""
        rows = " union all ".join(f"select event_date from gold.{quoted(name)}" for name in names)  # noqa: S608
        sql = f"select min(event_date), max(event_date) from ({rows})"  # noqa: S608
        first, last = self.con.cursor().execute(sql).fetchall()[0]
        return None if first is None else (first, last)

    def ask(self, name: str, values: Mapping[str, Any] | None = None) -> pa.Table:
        """Run `<name>.sql` with those of the values that it names (`$date`); lists and tuples become lists.

        Safe to call from several threads: each call has a cursor of its own.

        Raises:
            QueryError: the table has not the columns it needs: another version of playlake made it.
        """
        return run(self.con, self.questions.joinpath(f"{name}.sql"), values or {})


def run(con: duckdb.DuckDBPyConnection, file: Traversable, values: Mapping[str, Any]) -> pa.Table:
    """Run one SQL file; as `Gold.ask`, over any connection."""
    sql = file.read_text(encoding="utf-8")
    wanted = {key: _listed(values[key]) for key in set(_PARAMETER.findall(sql))}
    try:
        rows: pa.Table = con.cursor().sql(sql, params=wanted).to_arrow_table()
    except (duckdb.Error, OSError) as error:
        raise QueryError(str(error).splitlines()[0]) from error
    return rows


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
