"""Which sources (Kafka partitions) a lake knows. The Delta log can be asked for a source's position, not for a list."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pyarrow as pa
from deltalake import DeltaTable

from sink.positions import Source, position, start


def sources_in_log(handles: Mapping[str, DeltaTable]) -> list[Source] | None:
    """Return the sources with rows in any of the tables, from the log's statistics: no data file is read.

    Returns:
        Sorted; it may name a Kafka partition without rows when a file holds rows of both its neighbours. None where
        the statistics can't tell: a file mixes topics, or has none.
    """
    found: set[Source] = set()
    for handle in handles.values():
        statistics = pa.table(handle.get_add_actions(flatten=True))
        if statistics.num_rows == 0:
            continue
        names = ["topic", "topic_id", "kafka_partition"]
        if not {f"{edge}.{name}" for edge in ("min", "max") for name in names} <= set(statistics.column_names):
            return None
        lows, highs = (
            statistics.select([f"{edge}.{name}" for name in names]).to_pydict().values() for edge in ("min", "max")
        )
        for low, high in set(zip(zip(*lows, strict=True), zip(*highs, strict=True), strict=True)):
            if None in (*low, *high) or low[:2] != high[:2]:
                return None
            found.update(Source(low[0], low[1], number) for number in range(low[2], high[2] + 1))
    return sorted(found)


def with_rowless(found: Iterable[Source], silver: DeltaTable) -> list[Source]:
    """Add the Kafka partitions of the same topics that were claimed but have no row.

    A topic's Kafka partitions are numbered from 0: asks for those missing between, then upwards to the first unknown.
    """
    known = set(found)
    for topic, topic_id in {(source.topic, source.topic_id) for source in known}:
        numbers = {source.kafka_partition for source in known if (source.topic, source.topic_id) == (topic, topic_id)}
        number = 0
        while True:
            source = Source(topic, topic_id, number)
            if number not in numbers:
                if start(silver, source) is not None or position(silver, source) is not None:
                    known.add(source)
                elif number > max(numbers):
                    break
            number += 1
    return sorted(known)
