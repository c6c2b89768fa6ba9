"""The compiled reader of plain Avro changes no row: the columns that numpy reads, and SQL, are the judges."""

import io
import json
import random
from pathlib import Path

import fastavro
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.avro_columns import AvroDecoder
from schemas.event import EVENT_FIELD_ALIASES
from schemas.wire import frame
from stream_app.compiled import load
from stream_app.formats import EVENT_TEXT
from stream_app.plain import Slots
from stream_app.plain_avro import PlainAvro
from tests.avro import avro_bytes, schema_text
from tests.processing import processor
from tests.property.checked_c import plain_records
from tests.records import event, event_bytes, records

OTHER = {
    "type": "record",
    "name": "other",
    "fields": [
        {"name": "ok", "type": "boolean"},
        {"name": "event_id", "type": ["string", "bytes", "null"]},
        {"name": "user_id", "type": "string"},
        {"name": "pad", "type": ["null", "bytes", "string", "float", "long"]},
        {"name": "profile_id", "type": "string"},
        {"name": "session_id", "type": {"type": "string", "avro.java.string": "String"}},
        {"name": "title_id", "type": ["null", "string"]},
        {"name": "content_id", "type": ["null", "string"]},
        {"name": "event_type", "type": "string"},
        {"name": "event_ts", "type": ["null", {"type": "long", "logicalType": "timestamp-millis"}]},
        {"name": "playhead_s", "type": ["float", "boolean", "string", "null"]},
        {"name": "bitrate_kbps", "type": ["null", "long", "double"]},
        {"name": "country", "type": ["string"]},
        {"name": "device_type", "type": "string"},
        {"name": "app_version", "type": ["null", "string"]},
    ],
}
SCHEMAS = {1: schema_text(1), 2: schema_text(2), 3: json.dumps(OTHER)}
DECODERS = {number: AvroDecoder(text) for number, text in SCHEMAS.items()}

unhurried = settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
texts = st.sampled_from(
    ["", "s1", "u1", "DE", "PAUSE", "ü", "\x00", "a" * 8, "0123456789abcdef", "ende\x7f", "x" * 300]
)
doubles = st.floats() | st.integers(-5, 10**10).map(float) | st.sampled_from([-0.0, 2.0**53, 2.0**54, 1795079316.436])
singles = st.floats(width=32)
longs = st.integers(-(2**63), 2**63 - 1) | st.integers(-1, 5000) | st.sampled_from([2**31 - 1, 2**31, 2**53, 2**53 + 1])


def tagged(kind: str, values):
    return values.map(lambda value: (kind, value))


no = st.none()
changes = {
    number: st.fixed_dictionaries(
        {},
        optional={
            **{name: texts for name in ("event_id", "user_id", "title_id", "event_type")},
            **{name: no | texts for name in ("country", "device_type", "app_version")},
            **{name: no | doubles for name in ("event_ts", "playhead_s")},
            **({"bitrate_kbps": no | st.integers(-(2**31), 2**31 - 1), "ab_bucket": no | texts} if number == 2 else {}),
        },
    )
    for number in (1, 2)
}
changes[3] = st.fixed_dictionaries(
    {
        "ok": st.booleans(),
        "pad": no | tagged("bytes", st.binary(max_size=9)) | tagged("string", texts) | tagged("float", singles),
        "event_ts": no | longs,
        "playhead_s": tagged("float", singles) | tagged("boolean", st.booleans()) | tagged("string", texts) | no,
        "bitrate_kbps": no | tagged("long", longs) | tagged("double", doubles),
        "content_id": no | texts,
        "event_id": tagged("string", texts) | tagged("bytes", st.binary(max_size=5)) | no,
    },
    optional={"title_id": no | texts, "country": texts},
)


@st.composite
def values(draw) -> bytes:
    """A record of one of the schemas, sound or cut, longer or changed by a byte, or JSON."""
    number = draw(st.sampled_from([1, 2, 3, 0]))
    if number == 0:
        return draw(
            st.sampled_from([event_bytes(), event_bytes(5, extra=1), event_bytes(country="ü"), b"", b"\x00", b"{"])
        )
    stream = io.BytesIO()
    fastavro.schemaless_writer(
        stream, fastavro.parse_schema(json.loads(SCHEMAS[number])), event() | draw(changes[number])
    )
    datum = bytearray(stream.getvalue())
    match draw(st.sampled_from(["sound"] * 6 + ["cut", "longer", "changed"])):
        case "cut":
            del datum[draw(st.integers(0, len(datum))) :]
        case "longer":
            datum += draw(st.binary(min_size=1, max_size=3))
        case "changed":
            datum[draw(st.integers(0, len(datum) - 1))] = draw(st.integers(0, 255))
    return frame(number, bytes(datum))


@unhurried
@given(st.lists(values() | st.none(), max_size=12))
def test_the_same_rows_with_it_and_without(batch):
    with_it, without = (
        processor(None, "rescue", compiled=is_used)(records(batch), DECODERS) for is_used in (True, False)
    )
    assert repr(without.silver.to_pylist()) == repr(with_it.silver.to_pylist())
    assert without.quarantine.to_pylist() == with_it.quarantine.to_pylist()
    assert without.silver.schema == with_it.silver.schema


def reader(schema: str) -> PlainAvro | None:
    json_library, avro_library = load("plain_json"), load("plain_avro")
    assert json_library is not None, "the package was built without a C compiler"
    assert avro_library is not None
    slots = Slots(json_library, EVENT_TEXT, ("event_ts", "playhead_s"), ("bitrate_kbps",))
    return PlainAvro.of(avro_library, slots, EVENT_FIELD_ALIASES, AvroDecoder(schema))


@pytest.mark.parametrize(
    ("change", "is_plain"),
    [
        ({}, True),
        ({"country": None, "playhead_s": None, "event_ts": None}, True),
        ({"bitrate_kbps": 2**31 - 1, "ab_bucket": "b", "audio_language": "de"}, True),
        ({"bitrate_kbps": -1}, False),
        ({"country": "ü"}, False),
        ({"playhead_s": -0.5}, False),
        ({"playhead_s": float("nan")}, False),
        ({"event_ts": float("inf")}, False),
        ({"playhead_s": 2.0**54}, False),
    ],
)
def test_what_is_plain(change, is_plain):
    read = reader(schema_text(2))
    assert read is not None
    wanted = event() | change
    framed = [avro_bytes(0, schema=schema_text(2), schema_id=2, **change), avro_bytes(7, schema=schema_text(2))]
    found = read(pa.array([None, *framed, framed[1][:-1], framed[1] + b"\x00"], pa.binary()).slice(1))
    assert [is_plain, True, False, False] == found.is_plain.tolist()
    for name, column in found.columns.items():
        column.validate(full=True)
        assert (wanted.get(name) if is_plain else None) == column[0].as_py()


def test_a_schema_with_more_than_primitives_has_no_reader():
    deep = {"type": "record", "name": "r", "fields": [{"name": "a", "type": {"type": "array", "items": "string"}}]}
    assert reader(json.dumps(deep)) is None


def test_it_reads_no_byte_beside_a_record(tmp_path: Path):
    """With the compiler's own checks of memory and of undefined behaviour, on broken records of every length."""
    dice = random.Random(6)
    schema = {
        "type": "record",
        "name": "small",
        "fields": [
            {"name": "event_id", "type": "string"},
            {"name": "event_ts", "type": ["null", "double"]},
            {"name": "pad", "type": ["null", "bytes", "boolean", "float", "long"]},
            {"name": "title_id", "type": ["null", "string"]},
        ],
    }
    parsed, whole = fastavro.parse_schema(schema), []
    for number in range(40):
        stream = io.BytesIO()
        pad = dice.choice([None, b"x" * number, True, ("float", 0.5), ("long", dice.randrange(2**60))])
        row = {
            "event_id": "e" * number,
            "event_ts": dice.choice([None, 1.5]),
            "pad": pad,
            "title_id": "t" * (number % 20),
        }
        fastavro.schemaless_writer(stream, parsed, row)
        whole.append(frame(1, stream.getvalue()))
    broken = whole + [value[:length] for value in whole[:9] for length in range(len(value))]
    for value in whole * 100:
        changed = bytearray(value)
        for _ in range(dice.randrange(1, 4)):
            changed[dice.randrange(len(changed))] = dice.choice([0, 1, 2, 8, 0x7F, 0x80, 0xFF, dice.randrange(256)])
        broken.append(bytes(changed))
    assert len(whole) <= plain_records("plain_avro_driver.c", broken, tmp_path) < len(broken)
