"""What becomes of one Avro record: the same rules as for JSON, whatever schema its client wrote it with."""

import json

import pytest

from schemas.avro_columns import AvroDecoder
from schemas.tables import SILVER
from tests.avro import avro_bytes, datum, schema_text
from tests.processing import processor
from tests.records import NOW, event, event_bytes, records

SENT = NOW.timestamp() - 60


def written_with(*fields: tuple[str, object]) -> str:
    """A client's own schema: the event's required fields as strings unless `fields` says otherwise, and `fields`."""
    named = dict(fields)
    names = ("event_id", "user_id", "profile_id", "session_id", "title_id", "event_type")
    kinds = {**{name: "string" for name in names}, **named}
    return json.dumps(
        {
            "type": "record",
            "name": "ClientEvent",
            "fields": [{"name": name, "type": kind} for name, kind in kinds.items() if kind is not ...],
        }
    )


def fate(value: bytes, schema: str | None = None) -> tuple[str, dict]:
    known = {1: AvroDecoder(schema or schema_text())}
    out = processor()(records([value]), known)
    assert 1 == out.silver.num_rows + out.quarantine.num_rows
    if out.silver.num_rows:
        return "silver", out.silver.to_pylist()[0]
    return "quarantine", out.quarantine.to_pylist()[0]


def test_avro_and_json_of_one_event_give_the_same_row():
    json_row = processor()(records([event_bytes(7, playhead_s=12.5)])).silver
    avro_row = processor()(records([avro_bytes(7, playhead_s=12.5)]), {1: AvroDecoder(schema_text())}).silver
    assert json_row.to_pylist() == avro_row.to_pylist()
    assert set(SILVER.names) == set(avro_row.column_names)


def test_records_of_both_formats_and_two_schemas_are_told_apart_in_one_batch():
    other = written_with(("playhead_s", ["null", "float"]))
    values = [
        avro_bytes(0),
        event_bytes(1),
        avro_bytes(2, schema=other, schema_id=2, playhead_s=3.0),
        b"{",
        avro_bytes(4, schema_id=9),
        event_bytes(5),
        avro_bytes(6),
    ]
    out = processor()(records(values), {1: AvroDecoder(schema_text()), 2: AvroDecoder(other)})
    undated_last = [(0, "e0"), (1, "e1"), (5, "e5"), (6, "e6"), (2, "e2")]
    assert undated_last == [(row["kafka_offset"], row["event_id"]) for row in out.silver.to_pylist()]
    assert [(3, ["malformed_json"]), (4, ["unknown_schema"])] == [
        (row["kafka_offset"], row["reasons"]) for row in out.quarantine.to_pylist()
    ]
    assert values[4] == out.quarantine.to_pylist()[1]["value"]


def test_records_of_both_versions_in_both_formats_are_read_in_one_batch():
    later = {"audio_language": "pt-BR", "bitrate_kbps": 4300, "ab_bucket": "b"}
    values = [
        event_bytes(0),
        event_bytes(1, **later),
        avro_bytes(2, schema=schema_text(1)),
        avro_bytes(3, schema=schema_text(2), schema_id=2, **later),
        avro_bytes(4, schema=schema_text(2), schema_id=2),
    ]
    out = processor()(records(values), {number: AvroDecoder(schema_text(number)) for number in (1, 2)})
    names = ("event_id", *later)
    told = [tuple(row[name] for name in names) for row in out.silver.to_pylist()]
    nothing, all_of_it = (None, None, None), tuple(later.values())
    assert [
        ("e0", *nothing),
        ("e1", *all_of_it),
        ("e2", *nothing),
        ("e3", *all_of_it),
        ("e4", *nothing),
    ] == told


@pytest.mark.parametrize(
    ("kind", "value", "kept", "warnings"),
    [
        (("bitrate_kbps", "long"), 4300, 4300, []),
        (("bitrate_kbps", "double"), 4299.6, 4300, []),
        (("bitrate_kbps", "long"), 2**40, None, ["out_of_range:bitrate_kbps"]),
        (("bitrate_kbps", "double"), float("nan"), None, ["out_of_range:bitrate_kbps"]),
        (("bitrate_kbps", "int"), -1, None, ["out_of_range:bitrate_kbps"]),
        (("bitrate_kbps", "string"), "4300", None, ["wrong_type:bitrate_kbps"]),
        (("ab_bucket", "long"), 7, None, ["wrong_type:ab_bucket"]),
        (("audio_language", "bytes"), b"de", None, ["wrong_type:audio_language"]),
    ],
)
def test_a_field_of_version_2_in_a_clients_own_type_never_refuses_a_record(kind, value, kept, warnings):
    name, _ = kind
    schema = written_with(("event_ts", "double"), ("country", "string"), ("device_type", "string"), kind)
    table, row = fate(avro_bytes(schema=schema, **{name: value}), schema)
    assert ("silver", kept, warnings) == (table, row[name], row["warnings"])


@pytest.mark.parametrize(
    ("value", "reasons", "detail"),
    [
        (b"\x00", ["malformed_avro"], "ends before its schema id does"),
        (b"\x00\x00\x00\x01", ["malformed_avro"], "ends before its schema id does"),
        (b"\x00\x00\x00\x00\x01", ["malformed_avro"], "no datum of schema id 1"),
        (b"\x00\x00\x00\x00\x07abc", ["unknown_schema"], "schema id 7: not in the registry"),
        (b"\x00\xff\xff\xff\xffabc", ["unknown_schema"], "schema id 4294967295: not in the registry"),
        (avro_bytes()[:-1], ["malformed_avro"], "no datum of schema id 1"),
        (avro_bytes() + b"\x00", ["malformed_avro"], "no datum of schema id 1"),
        (
            avro_bytes(user_id="Zoë, of a long name").replace(b"\xc3", b"\xff"),
            ["malformed_avro"],
            "no datum of schema id 1",
        ),
        (avro_bytes(event_id=""), ["missing:event_id"], None),
        (avro_bytes(event_type="PLAY"), ["unknown_event_type"], "event_type is PLAY"),
        (avro_bytes(playhead_s=-1.0), ["out_of_range:playhead_s"], "playhead_s is -1.0"),
        (avro_bytes(playhead_s=float("nan")), ["out_of_range:playhead_s"], "playhead_s is nan"),
    ],
)
def test_a_faulty_record_is_quarantined_with_every_reason_and_its_bytes(value, reasons, detail):
    table, row = fate(value)
    assert "quarantine" == table
    assert reasons == row["reasons"]
    assert value == row["value"]
    assert detail == row["detail"]


@pytest.mark.parametrize(
    ("kinds", "changes", "reasons", "detail"),
    [
        ([("user_id", "long")], {"user_id": 5}, ["wrong_type:user_id"], "user_id is BIGINT"),
        ([("user_id", ["null", "string"])], {"user_id": None}, ["missing:user_id"], None),
        ([("user_id", ...)], {}, ["missing:user_id"], None),
        ([("country", "bytes")], {"country": b"DE"}, ["wrong_type:country"], "country is BLOB"),
        ([("playhead_s", "string")], {"playhead_s": "12"}, ["wrong_type:playhead_s"], "playhead_s is VARCHAR"),
        ([("playhead_s", "boolean")], {"playhead_s": True}, ["wrong_type:playhead_s"], "playhead_s is BOOLEAN"),
        (
            [("country", {"type": "array", "items": "string"})],
            {"country": ["DE"]},
            ["wrong_type:country"],
            "country is ARRAY",
        ),
    ],
)
def test_a_clients_own_types_are_judged_as_in_json(kinds, changes, reasons, detail):
    schema = written_with(*kinds)
    table, row = fate(avro_bytes(schema=schema, **changes), schema)
    assert "quarantine" == table
    assert (reasons, detail) == (row["reasons"], row["detail"])


@pytest.mark.parametrize(
    ("kind", "value", "event_ts"),
    [
        ("double", SENT, SENT),
        ("float", 1.5, 1.5),
        ("long", int(SENT), SENT),
        ({"type": "long", "logicalType": "timestamp-millis"}, int(SENT * 1000), SENT),
        (["null", {"type": "long", "logicalType": "timestamp-micros"}], int(SENT * 1_000_000), SENT),
    ],
)
def test_an_event_time_is_seconds_whatever_number_it_was_sent_as(kind, value, event_ts):
    schema = written_with(("event_ts", kind))
    plain = schema.replace('"logicalType"', '"was"')  # so that fastavro writes the number as it is
    _, row = fate(avro_bytes(schema=plain, event_ts=value), schema)
    assert event_ts == row["event_ts"]


def test_an_enum_a_fixed_and_a_nested_record_are_read():
    schema = written_with(
        ("event_type", {"type": "enum", "name": "kind", "symbols": ["PAUSE", "PLAY_START", "HEARTBEAT"]}),
        ("build", {"type": "fixed", "name": "build", "size": 3}),
        ("client", ["null", {"type": "record", "name": "client", "fields": [{"name": "os", "type": "string"}]}]),
        ("app_version", "string"),
    )
    changes = {"event_type": "HEARTBEAT", "build": b"abc", "client": {"os": "tvOS"}, "app_version": "9.31.0-beta.12"}
    table, row = fate(avro_bytes(schema=schema, **changes), schema)
    assert "silver" == table
    assert ("HEARTBEAT", "9.31.0-beta.12") == (row["event_type"], row["app_version"])


def test_content_id_is_another_name_of_title_id():
    schema = written_with(("title_id", ...), ("content_id", "string"))
    assert "s2" == fate(avro_bytes(schema=schema, content_id="s2"), schema)[1]["title_id"]


def test_a_record_without_a_usable_time_keeps_its_whole_datum_as_json_for_repair():
    schema = written_with(("event_ts", ["null", "string"]), ("client_ts", "long"), ("token", "bytes"))
    value = avro_bytes(schema=schema, event_ts="n/a", client_ts=1_795_000_000_000, token=b"\xff")
    table, row = fate(value, schema)
    assert "silver" == table
    assert (None, ["event_time_wrong_type"]) == (row["event_date"], row["warnings"][:1])
    payload = json.loads(row["raw_payload"])
    assert (1_795_000_000_000, "n/a", "ff") == (payload["client_ts"], payload["event_ts"], payload["token"])


def test_without_a_registry_avro_is_quarantined_with_the_flag_to_set():
    out = processor()(records([avro_bytes()]), {1: "no schema registry was given (--schema-registry)"})
    assert "schema id 1: no schema registry was given (--schema-registry)" == out.quarantine["detail"][0].as_py()


def test_the_datum_of_a_schema_with_no_fields_is_empty():
    schema = json.dumps({"type": "record", "name": "nothing", "fields": []})
    assert b"" == datum(event(), schema)
    table, row = fate(avro_bytes(schema=schema), schema)
    assert ("quarantine", 6) == (table, len(row["reasons"]))
