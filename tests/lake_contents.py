"""What a table holds, read without our own reader: pyarrow over the files that the Delta log names."""

import pyarrow.parquet as pq

from sink.lake import Lake, data_files


def positions_of(lake: Lake, name: str) -> list[tuple[int, int]]:
    """Every (Kafka partition, offset) of a table, in order, repeats included."""
    found = []
    for path in data_files(lake.table(name)):
        rows = pq.ParquetFile(path).read(columns=["kafka_partition", "kafka_offset"]).to_pylist()
        found += [(row["kafka_partition"], row["kafka_offset"]) for row in rows]
    return sorted(found)
