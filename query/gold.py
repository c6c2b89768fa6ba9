"""The gold tables at one moment, open for the SQL files of what shows them: the dashboard and the report."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from typing import Any, Final

import duckdb
import pyarrow as pa

from query.views import gold_names, open_views
from schemas.errors import QueryError
from sink.lake import Lake

_PARAMETER: Final = re.compile(r"\$([a-z]+)")


@dataclass(frozen=True)
class Gold:
    """The gold tables at one moment.

    Attributes:
        con: with their views `gold.<name>`; silver is not among them.
        descriptions: name without `gold.` → what the table says of itself.
        questions: folder of the SQL files that `ask` runs.
    """

    con: duckdb.DuckDBPyConnection
    descriptions: Mapping[str, str]
    questions: Traversable

    @classmethod
    def open(cls, lake_uri: str, questions: Traversable) -> Gold:
        """Open the gold tables at their newest versions.

        Raises:
            LakeNotFound, IncompatibleLake, StoreUnavailable, ConfigError: as `query.connect`.
        """
        lake = Lake.at(lake_uri)
        lake.require()
        handles = {name: lake.table(name) for name in gold_names(lake)}
        found = {name.removeprefix("gold/"): handle.metadata().description or "" for name, handle in handles.items()}
        return cls(open_views(lake, handles), found, questions)

    def lacks(self, names: Iterable[str]) -> list[str]:
        """Return those of the tables that are not there."""
        return [name for name in names if name not in self.descriptions]

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
