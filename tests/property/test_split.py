"""Any bytes, in any chunks: no byte is lost, and objects that stand side by side are told apart."""

from __future__ import annotations

import json

from hypothesis import example, given, settings
from hypothesis import strategies as st

from landing.split import Splitter

TEXTS = st.text(st.sampled_from('{}[]"\\,: \tab\u00e4\u2028')) | st.text()
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
OBJECTS = st.dictionaries(TEXTS, VALUES, max_size=3).map(json.dumps) | st.dictionaries(TEXTS, VALUES, max_size=3).map(
    lambda fields: json.dumps(fields, ensure_ascii=False)
)
CHUNKS = st.integers(1, 64)


def split(data: bytes, chunk: int, longest: int = 1 << 20) -> list[tuple[bytes, str]]:
    splitter = Splitter(longest)
    pieces = [splitter.feed(data[start : start + chunk]) for start in range(0, len(data), chunk)]
    pieces.append(splitter.feed(b"", is_last=True))
    return [pair for piece in pieces for pair in zip(piece.values.to_pylist(), piece.places.to_pylist(), strict=True)]


@settings(deadline=None)
@given(st.lists(OBJECTS, min_size=1), st.sampled_from(["", " ", "\t ", "\n", "\r\n", "\n\n"]), CHUNKS)
def test_objects_side_by_side_or_on_lines_are_told_apart(objects: list[str], between: str, chunk: int) -> None:
    data = between.join(objects).encode()
    assert [json.loads(each) for each in objects] == [json.loads(value) for value, _ in split(data, chunk)]


@settings(deadline=None)
@given(st.lists(OBJECTS | st.sampled_from(["", "\n", "\r\n", "\\", '"', "{", "}", "x"])), CHUNKS, CHUNKS)
@example(["{", "}", '"', "{"], 1, 64)
def test_no_byte_is_lost_and_chunks_make_no_difference(parts: list[str], chunk: int, other: int) -> None:
    data = "".join(parts).encode()
    records = split(data, chunk)
    assert records == split(data, other)
    without_newlines = b"".join(line.removesuffix(b"\r") for line in data.split(b"\n")[:-1])
    assert without_newlines + data.rpartition(b"\n")[2] == b"".join(value for value, _ in records)
    assert all(value for value, _ in records)


@settings(deadline=None)
@given(st.lists(OBJECTS, min_size=1, max_size=5), st.binary().filter(lambda tail: b"\n" not in tail), CHUNKS)
def test_a_broken_line_takes_no_other_line_with_it(objects: list[str], broken: bytes, chunk: int) -> None:
    lines = [each.encode() for each in objects]
    records = split(b"\n".join([*lines, b"{" + broken, *lines]), chunk)
    values = [value for value, _ in records]
    assert lines == values[: len(lines)]
    assert lines == values[-len(lines) :]


@settings(deadline=None)
@given(st.lists(st.lists(OBJECTS, max_size=3), min_size=1), CHUNKS)
def test_places_are_lines_and_numbers_on_them(lines: list[list[str]], chunk: int) -> None:
    data = "\n".join("".join(line) for line in lines).encode()
    expected = [
        str(number) if len(line) == 1 else f"{number}#{place}"
        for number, line in enumerate(lines, 1)
        for place in range(1, len(line) + 1)
    ]
    assert expected == [place for _, place in split(data, chunk)]


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=60).filter(lambda data: b"\n" not in data and b"}" not in data), CHUNKS)
def test_a_record_too_long_is_cut_and_kept(data: bytes, chunk: int) -> None:
    records = split(data + b"\n{}", chunk, longest=10)
    assert data.removesuffix(b"\r") == b"".join(value for value, _ in records[:-1])
    assert (b"{}", "2") == records[-1]
    assert all(len(value) <= 10 for value, _ in records)
