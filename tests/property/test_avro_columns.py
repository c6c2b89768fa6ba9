"""Avro by columns says what fastavro says of each datum alone, for any schema without arrays and maps."""

import io
import json

import fastavro
import numpy as np
import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.avro_columns import AvroDecoder
from schemas.event import NUMBER_FIELDS, TEXT_FIELDS
from schemas.wire import frame

PRIMITIVES = {
    "null": st.none(),
    "boolean": st.booleans(),
    "int": st.integers(-(2**31), 2**31 - 1),
    "long": st.integers(-(2**63), 2**63 - 1),
    "float": st.floats(width=32),
    "double": st.floats(),
    "bytes": st.binary(max_size=30),
    "string": st.text(max_size=30),
}
names = st.sampled_from([*TEXT_FIELDS, *NUMBER_FIELDS, "extra", "more"])
primitives = st.sampled_from(list(PRIMITIVES))
SYMBOLS = ["A", "PLAY_START", "SOMETHING_LONGER_THAN_TWELVE"]


def named(kind, name):
    """A type for a field of this name: named types must differ in their names."""
    if kind == "enum":
        return {"type": "enum", "name": f"enum_{name}", "symbols": SYMBOLS}
    if kind == "fixed":
        return {"type": "fixed", "name": f"fixed_{name}", "size": 5}
    if kind == "record":
        fields = [{"name": "a", "type": "string"}, {"name": "b", "type": ["null", "long"]}]
        return {"type": "record", "name": f"record_{name}", "fields": fields}
    return kind


def of(kind):
    """Values of a type, in unions with the type's name, as fastavro's writer wants to be told."""
    if isinstance(kind, list):
        return st.one_of([of(each).map(lambda value, each=each: (name_of(each), value)) for each in kind])
    if isinstance(kind, str):
        return PRIMITIVES[kind]
    if kind["type"] == "enum":
        return st.sampled_from(SYMBOLS)
    if kind["type"] == "fixed":
        return st.binary(min_size=5, max_size=5)
    return st.fixed_dictionaries({field["name"]: of(field["type"]) for field in kind["fields"]})


def name_of(kind):
    return kind if isinstance(kind, str) else kind["name"]


@st.composite
def written(draw):
    """A schema and datums of it, each as bytes."""
    fields = []
    for name in draw(st.lists(names, unique=True, max_size=8)):
        choices = primitives | st.sampled_from(["enum", "fixed", "record"])
        if draw(st.booleans()):
            kind = [named(each, name) for each in draw(st.lists(choices, unique=True, min_size=1, max_size=4))]
        else:
            kind = named(draw(choices), name)
        fields.append({"name": name, "type": kind})
    schema = {"type": "record", "name": "event", "fields": fields}
    parsed = fastavro.parse_schema(schema)
    datums = []
    for event in draw(st.lists(of(schema), max_size=6)):
        stream = io.BytesIO()
        fastavro.schemaless_writer(stream, parsed, event)
        datums.append(stream.getvalue())
    return json.dumps(schema), datums


def compare(schema, datums):
    decoder = AvroDecoder(schema)
    value = pa.array([frame(1, datum) for datum in datums], pa.binary())
    fast, slow = decoder._by_column(value), decoder._by_datum(value)
    return fast, slow


def told(decoded, rows):
    return {name: repr([column[row].as_py() for row in rows]) for name, column in decoded.columns.items()}


unhurried = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])


@unhurried
@given(written())
def test_sound_datums_give_the_same_columns(case):
    schema, datums = case
    fast, slow = compare(schema, datums)
    assert [True] * len(datums) == slow.is_sound.tolist() == fast.is_sound.tolist()
    rows = range(len(datums))
    assert told(slow, rows) == told(fast, rows)


@unhurried
@given(written(), st.data())
def test_spoiled_datums_are_never_taken_for_more_than_fastavro_takes_them(case, data):
    """Columns may be stricter (a boolean of 7, a branch below 0), never laxer, and neighbours stay what they are."""
    schema, datums = case
    spoil = st.tuples(st.integers(0, 40), st.binary(max_size=3), st.integers(0, 2))
    spoiled = []
    for datum in datums:
        at, put, cut = data.draw(spoil)
        spoiled.append(datum[:at] + put + datum[at + cut :])
    fast, slow = compare(schema, spoiled)
    assert not (fast.is_sound & ~slow.is_sound).any()
    rows = np.flatnonzero(fast.is_sound).tolist()
    assert told(slow, rows) == told(fast, rows)
