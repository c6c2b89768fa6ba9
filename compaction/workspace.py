"""A DuckDB connection for large work: bounded memory, spilling to a folder of its own."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import duckdb

from sink.lake import Lake
from sink.scan import connect

MEMORY_LIMIT: Final = "2GB"


@contextmanager
def workspace(lake: Lake, memory_limit: str = MEMORY_LIMIT) -> Iterator[duckdb.DuckDBPyConnection]:
    """Give a connection that reads the lake's files and spills beyond `memory_limit` to a folder, gone afterwards.

    DuckDB would spill to `.tmp` in the working directory otherwise, and leave it there after a kill.
    """
    folder = tempfile.mkdtemp(prefix="playlake-")
    con = connect(lake, memory_limit=memory_limit)
    try:
        con.execute("set temp_directory = $1", [folder])
        con.execute("set preserve_insertion_order = false")
        yield con
    finally:
        con.close()
        shutil.rmtree(folder, ignore_errors=True)
