"""Lakes for measuring, filled without a broker: simulated events through the worker's own process step and writer."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from producer import Scenario, blocks
from schemas.countries import countries
from schemas.tables import RECORDS
from sink.lake import Lake
from sink.positions import Source
from sink.writer import LakeWriter
from stream_app.catalogue import read_titles, shipped_catalogue
from stream_app.process import Processor

_START = dt.datetime(2026, 10, 1, tzinfo=dt.UTC)
_SOURCE = Source("bench", "AAAAAAAAAAAAAAAAAAAAAA", 0)


def fill(lake: Lake, events: int, days: float, flush_rows: int) -> None:
    """Write simulated events, 1 % of them bad; each flush makes a file in silver for each date that it holds."""
    titles = read_titles(shipped_catalogue())
    regions = pa.Table.from_pylist([{"code": each.code, "region": each.region} for each in countries()])
    processor = Processor(titles, regions)
    writer = LakeWriter(lake)
    writer.claim({_SOURCE: 0})
    try:
        for records in _records(events, days, flush_rows):
            processed = processor(records)
            writer.add(records, processed.silver, processed.quarantine)
            writer.flush()
    finally:
        processor.close()


def _records(events: int, days: float, batch_rows: int) -> Iterator[pa.Table]:
    start_ms = int(_START.timestamp() * 1000)
    end_us = int((_START + dt.timedelta(days=days)).timestamp() * 1_000_000)
    scenario = Scenario(start_ms=start_ms, seed=7, events=events, days=days, dirty=0.01)
    offset = 0
    for block in blocks(scenario, batch_rows):
        count = len(block)
        times = pa.array(np.full(count, end_us), pa.int64()).cast(pa.timestamp("us", "UTC"))
        yield pa.table(
            [
                pa.repeat(_SOURCE.topic, count),
                pa.repeat(_SOURCE.topic_id, count),
                pa.repeat(pa.scalar(0, pa.int32()), count),
                pa.array(np.arange(offset, offset + count)),
                times,
                pa.array(block.keys, pa.binary()),
                pa.array(block.values, pa.binary()),
                pa.nulls(count, RECORDS.field("headers").type),
                times,
            ],
            schema=RECORDS,
        )
        offset += count
