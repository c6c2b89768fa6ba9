"""Positions that go, as the ranges of offsets that `sink.gone` keeps."""

from __future__ import annotations

from importlib.resources import files

import duckdb
import pyarrow as pa


def ranges_of(con: duckdb.DuckDBPyConnection, gone_id: str) -> pa.Table:
    """Return the positions in the view `going` as ranges without a gap, schema `sink.gone.RANGES`.

    Args:
        con: with a view or table `going` that has the columns of a position; they may repeat.
        gone_id: of the run that takes them.
    """
    query = files("compaction").joinpath("ranges.sql").read_text(encoding="utf-8")
    ranges: pa.Table = con.sql(query, params={"gone_id": gone_id}).to_arrow_table()
    return ranges
