"""Make a DuckDB database for analysts, which holds what `views.sql` shows of a lake and nothing else.

    python deploy/governance/publish.py ./lake ./analysts.duckdb

Made beside the old one and put in its place at the end, so that readers have the old or the new. Run it by a timer
after `compact`; what was forgotten is gone with the next run.
"""

from __future__ import annotations

import sys
from pathlib import Path

import playlake

VIEWS = Path(__file__).with_name("views.sql")


def publish(lake: str, target: Path) -> None:
    """Copy the views' rows into a new database at `target`."""
    new = target.with_name(f".{target.name}.new")
    new.unlink(missing_ok=True)
    con = playlake.connect(lake, unsafe=True)  # else it could not write the database
    try:
        con.execute(VIEWS.read_text(encoding="utf-8"))
        con.execute(f"attach '{str(new).replace(chr(39), chr(39) * 2)}' as published")
        views = con.execute("select view_name from duckdb_views() where schema_name = 'analyst'").fetchall()
        for (name,) in views:
            con.execute(f'create table published."{name}" as from analyst."{name}"')
        con.execute("detach published")
    finally:
        con.close()
    new.replace(target)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python publish.py LAKE DATABASE")
    publish(sys.argv[1], Path(sys.argv[2]))
