"""playlake: a streaming lake for clickstreams.

import playlake

con = playlake.connect("./lake")
con.sql("select title, plays from gold.top_titles order by rank limit 5").show()
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import datetime as dt

    import duckdb

__version__ = "0.1.0"
__all__ = ["__version__", "connect"]


def connect(
    lake: str, as_of: str | int | dt.datetime | None = None, *, unsafe: bool = False
) -> duckdb.DuckDBPyConnection:
    """Return a DuckDB connection with the lake's tables as views: bronze, silver, quarantine and `gold.<name>`.

    The views stay at the versions that were newest (or `as_of`); connect again to see newer ones. Columns that older
    files lack read as null.

    Args:
        lake: a folder or `s3://bucket/prefix`.
        as_of: an ISO 8601 time or a datetime (naive ones are UTC), or the number of a version of silver.
        unsafe: by default the connection reads the views' files and nothing else; True lets it read and write
            whatever this process may.

    Raises:
        schemas.errors.PlaylakeError: one line that says what is wrong with the lake or with `as_of`.
    """
    from query import connect as connect_views  # not at the top: the command line must start fast

    return connect_views(lake, as_of, unsafe=unsafe)
