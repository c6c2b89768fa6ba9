"""Rows by where they came from: which offsets a table of rows spans, and its rows without some of them.

Tables are any of bronze, silver, quarantine or `RECORDS`: what has the columns of a position.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import reduce

import pyarrow as pa
import pyarrow.compute as pc

from sink.positions import Source


def offset_spans(records: pa.Table) -> dict[Source, tuple[int, int]]:
    """Return each source's first and last offset."""
    spans = records.group_by(["topic", "topic_id", "kafka_partition"], use_threads=False).aggregate(
        [("kafka_offset", "min"), ("kafka_offset", "max")]
    )
    return {
        Source(row["topic"], row["topic_id"], row["kafka_partition"]): (
            row["kafka_offset_min"],
            row["kafka_offset_max"],
        )
        for row in spans.to_pylist()
    }


def _is_source(rows: pa.Table, source: Source) -> pa.ChunkedArray:
    return reduce(
        pc.and_,
        (
            pc.equal(rows["topic"], source.topic),
            pc.equal(rows["topic_id"], source.topic_id),
            pc.equal(rows["kafka_partition"], source.kafka_partition),
        ),
    )


def without(rows: pa.Table, sources: Collection[Source]) -> pa.Table:
    """Drop the rows of these sources."""
    for source in sources:
        rows = rows.filter(pc.invert(_is_source(rows, source)))
    return rows


def after(rows: pa.Table, offsets: Mapping[Source, int]) -> pa.Table:
    """Drop each source's rows at or before its offset."""
    for source, offset in offsets.items():
        old = pc.and_(_is_source(rows, source), pc.less_equal(rows["kafka_offset"], offset))
        rows = rows.filter(pc.invert(old))
    return rows
