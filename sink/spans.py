"""Rows by where they came from: which offsets a table of rows spans, and its rows without some of them.

Tables are any of bronze, silver, quarantine or `RECORDS`: what has the columns of a position.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import reduce
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sink.positions import Source


def offset_spans(records: pa.Table) -> dict[Source, tuple[int, int]]:
    """Return each source's first and last offset, of its rows in any order."""
    spans: dict[Source, tuple[int, int]] = {}
    for batch in records.to_batches():
        if not batch.num_rows:
            continue
        names = [_coded(batch["topic"]), _coded(batch["topic_id"])]
        numbers, offsets = batch["kafka_partition"].to_numpy(), batch["kafka_offset"].to_numpy()
        codes = [each.indices.to_numpy() for each in names]
        changes = reduce(np.logical_or, (each[1:] != each[:-1] for each in (*codes, numbers)))
        for start, end in pairwise([0, *(np.flatnonzero(changes) + 1).tolist(), batch.num_rows]):
            topic, topic_id = (each[start].as_py() for each in names)
            source, part = Source(topic, topic_id, int(numbers[start])), offsets[start:end]
            first, last = spans.get(source, (part[0], part[0]))
            spans[source] = min(first, int(part.min())), max(last, int(part.max()))
    return {source: (int(first), int(last)) for source, (first, last) in spans.items()}


def _coded(names: pa.Array) -> pa.DictionaryArray:
    return names if isinstance(names, pa.DictionaryArray) else names.dictionary_encode()


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
