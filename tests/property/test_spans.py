"""Rows by where they came from, against plain Python: names as text or coded, in any order, in any chunks."""

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from sink.positions import Source
from sink.spans import after, offset_spans, without

CODED = pa.dictionary(pa.int8(), pa.string())
sources = st.builds(Source, st.sampled_from(["a", "b"]), st.sampled_from(["x", "y"]), st.integers(0, 2))
positions = st.lists(st.tuples(sources, st.integers(0, 50)), max_size=12)
chunked = st.lists(positions, min_size=1, max_size=4)


def table(chunks: list[list[tuple[Source, int]]], *, is_coded: bool) -> pa.Table:
    text = CODED if is_coded else pa.string()
    return pa.concat_tables(
        pa.table(
            {
                "topic": pa.array([each.topic for each, _ in chunk], text),
                "topic_id": pa.array([each.topic_id for each, _ in chunk], text),
                "kafka_partition": pa.array([each.kafka_partition for each, _ in chunk], pa.int32()),
                "kafka_offset": pa.array([offset for _, offset in chunk], pa.int64()),
            }
        )
        for chunk in chunks
    )


def told(rows: pa.Table) -> list[tuple[Source, int]]:
    return [(Source(*names), offset) for *names, offset in (row.values() for row in rows.to_pylist())]


@settings(deadline=None)
@given(chunked, st.booleans())
def test_each_source_has_its_first_and_last_offset(chunks, is_coded):
    offsets: dict[Source, list[int]] = {}
    for each, offset in (row for chunk in chunks for row in chunk):
        offsets.setdefault(each, []).append(offset)
    expected = {each: (min(found), max(found)) for each, found in offsets.items()}
    assert expected == offset_spans(table(chunks, is_coded=is_coded))


@settings(deadline=None)
@given(chunked, st.booleans(), st.sets(sources), st.dictionaries(sources, st.integers(0, 50)))
def test_rows_go_by_source_and_offset(chunks, is_coded, unwanted, done):
    rows = table(chunks, is_coded=is_coded)
    everything = [row for chunk in chunks for row in chunk]
    assert [row for row in everything if row[0] not in unwanted] == told(without(rows, unwanted))
    assert [row for row in everything if row[1] > done.get(row[0], -1)] == told(after(rows, done))
