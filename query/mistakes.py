"""Say what is wrong with a statement: one line, then the line of the SQL with a caret under the place."""

from __future__ import annotations

import difflib
import re
from typing import Final

import duckdb

from schemas.errors import QueryError

_EXCERPT: Final = "\nLINE "
_NO_COLUMN: Final = re.compile(r'does not have a column named "(?P<name>[^"]+)"')


def mistake(message: str, con: duckdb.DuckDBPyConnection | None = None) -> QueryError:
    """Return DuckDB's message as ours: `what is wrong`, and below it, where DuckDB knows the place, line and caret.

    DuckDB names the nearest columns where a bare name is wrong; with a connection, this also does for `alias.name`.
    """
    said, found, excerpt = message.partition(_EXCERPT)
    text = " ".join(said.split())
    missing = _NO_COLUMN.search(text)
    if missing and con is not None:
        nearest = difflib.get_close_matches(missing["name"].lower(), _columns(con), n=3, cutoff=0.5)
        text += f". Did you mean {' or '.join(nearest)}?" if nearest else ""
    return QueryError(f"{text}{_EXCERPT}{excerpt.rstrip()}" if found else text)


def _columns(con: duckdb.DuckDBPyConnection) -> list[str]:
    try:
        rows = con.execute("select distinct column_name from duckdb_columns() where not internal").fetchall()
    except duckdb.Error:  # the connection is in no state to be asked: the message will do without
        return []
    return [row[0] for row in rows]
