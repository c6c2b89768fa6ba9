"""The compiled reader of plain JSON changes no row: SQL, which reads all of JSON, is the judge."""

import json
import random
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.event import EVENT_FIELD_ALIASES, LATER_NUMBER_FIELDS, LATER_TEXT_FIELDS
from stream_app.compiled import load
from stream_app.formats import EVENT_TEXT
from stream_app.plain import Slots
from stream_app.plain_json import PlainJson
from tests.processing import processor
from tests.property.checked_c import plain_records
from tests.records import event, event_bytes, records

unhurried = settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])
spaces = st.text(" \t\r\n", max_size=2)
odd_texts = st.sampled_from(
    [
        '""',
        '"s1"',
        '"DE"',
        '"\\u0041"',
        '"a\\"b"',
        '"\\\\"',
        '"ü"',
        '"\x7f"',
        '"\t"',
        '"',
        '"x',
        "'s1'",
        '"0123456789abcdef"',
    ]
)
odd_numbers = st.sampled_from(
    [
        *("0", "-0", "00", "01", "1.", ".5", "1.5.2", "1e3", "1E-2", "+1", "NaN", "Infinity", "1e400", "0.1", "4836.6"),
        *("1795079316", "1795079316.436", "1795079316.4361234", "0.30000000000000004", "604800.0000000001"),
        *("9007199254740993", "99999999999999999", "12345678901234567890", "0.00000000000000001"),
    ]
)
numbers = st.integers(0, 10**19).map(str) | st.floats(0, 1e16, allow_nan=False).map(repr) | odd_numbers
values = st.sampled_from(["null", "true", "false", "nul", "{}", "[]", '{"a":1}']) | odd_texts | numbers
names = st.sampled_from(
    [*event(), *EVENT_FIELD_ALIASES, *LATER_TEXT_FIELDS, *LATER_NUMBER_FIELDS, "extra", "event_i", "event_idd", ""]
)


@st.composite
def objects(draw):
    """An event's fields, some changed, doubled or added, in any order and with any space: JSON, or nearly."""
    fields = [(name, json.dumps(value)) for name, value in event().items()]
    for name, value in draw(st.lists(st.tuples(names, values), max_size=3)):
        known = [place for place, (other, _) in enumerate(fields) if other == name]
        if known and draw(st.booleans()):
            fields[known[0]] = (name, value)
        else:
            fields.insert(draw(st.integers(0, len(fields))), (name, value))
    if draw(st.booleans()):
        fields = draw(st.permutations(fields))
    gap = draw(spaces)
    body = f"{gap},{gap}".join(f'"{name}"{gap}:{gap}{value}' for name, value in fields)
    return f"{gap}{{{gap}{body}{gap}}}{draw(st.sampled_from(['', '', '', gap, ',', '}', '{}', 'x']))}".encode()


cut = st.tuples(objects(), st.integers(0, 300)).map(lambda pair: pair[0][: pair[1]])
changed = st.tuples(objects(), st.integers(0, 299), st.binary(min_size=1, max_size=2)).map(
    lambda triple: triple[0][: triple[1]] + triple[2] + triple[0][triple[1] + len(triple[2]) :]
)


@unhurried
@given(st.lists(objects() | cut | changed | st.none() | st.binary(max_size=8), max_size=12))
def test_the_same_rows_with_it_and_without(batch):
    with_it, without = (processor(None, "rescue", compiled=is_used)(records(batch)) for is_used in (True, False))
    assert without.silver.to_pylist() == with_it.silver.to_pylist()
    assert without.quarantine.to_pylist() == with_it.quarantine.to_pylist()
    assert without.silver.schema == with_it.silver.schema


@unhurried
@given(numbers)
def test_a_plain_number_is_the_double_nearest_to_what_is_written(written):
    read = reader()(pa.array([b'{"event_ts":' + written.encode() + b"}"]))
    if read.is_plain[0]:
        assert float(json.loads(written)) == read.columns["event_ts"][0].as_py()


def reader() -> PlainJson:
    library = load("plain_json")
    assert library is not None, "the package was built without a C compiler"
    slots = Slots(library, EVENT_TEXT, ("event_ts", "playhead_s"), ("bitrate_kbps",))
    return PlainJson(library, slots, EVENT_FIELD_ALIASES)


@pytest.mark.parametrize(
    ("value", "is_plain"),
    [
        (event_bytes(), True),
        (event_bytes(title_id=..., content_id="s1"), True),
        (event_bytes(country=None, playhead_s=None), True),
        (event_bytes(other="x", another=1.5, third=None, fourth=True), True),
        (event_bytes(audio_language="de", bitrate_kbps=4500, ab_bucket="b"), True),
        (event_bytes(bitrate_kbps=2**31 - 1), True),
        (event_bytes(bitrate_kbps=2**31), False),
        (event_bytes(bitrate_kbps=4500.0), False),
        (b"{}", True),
        (event_bytes(content_id="s1"), False),
        (event_bytes(country="DE\n"), False),
        (event_bytes(nested={}), False),
        (event_bytes(playhead_s=-1), False),
        (event_bytes(user_id=5), False),
        (b"", False),
        (None, False),
    ],
)
def test_what_is_plain(value, is_plain):
    read = reader()(pa.array([None, value, event_bytes(7)], pa.binary()).slice(1))
    assert [is_plain, True] == read.is_plain.tolist()
    assert ["e0" if is_plain and value != b"{}" else None, "e7"] == read.columns["event_id"].to_pylist()
    named = {EVENT_FIELD_ALIASES.get(name, name): told for name, told in json.loads(value or b"{}").items()}
    for name, column in read.columns.items():
        column.validate(full=True)
        assert (named.get(name) if is_plain else None) == column[0].as_py()


def test_it_reads_no_byte_beside_a_record(tmp_path: Path):
    """With the compiler's own checks of memory and of undefined behaviour, on broken records of every length."""
    dice = random.Random(5)
    whole = [event_bytes(number, pad="x" * number) for number in range(40)]
    values = whole + [value[:length] for value in whole[:3] for length in range(len(value))]
    for value in whole * 100:
        broken = bytearray(value)
        for _ in range(dice.randrange(1, 4)):
            broken[dice.randrange(len(broken))] = dice.choice(b'"\\{}[]:,. 0e-x\x00\x7f\xff')
        values.append(bytes(broken))
    assert len(whole) <= plain_records("plain_json_driver.c", values, tmp_path) < len(values)
