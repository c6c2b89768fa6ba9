"""What becomes of one record, row by row: each line is a case that a client has sent or could send."""

import datetime as dt
import json

import pytest

from tests.processing import processor
from tests.records import NOW, event, event_bytes, records

SENT = NOW.timestamp() - 60
DATE = NOW.date()


def fate(value: bytes | None) -> tuple[str, dict]:
    out = processor()(records([value]))
    assert 1 == out.silver.num_rows + out.quarantine.num_rows
    if out.silver.num_rows:
        return "silver", out.silver.to_pylist()[0]
    return "quarantine", out.quarantine.to_pylist()[0]


def test_a_valid_event_is_typed_and_enriched():
    table, row = fate(event_bytes(7, event_ts=SENT, playhead_s=12))
    assert "silver" == table
    assert {
        "event_id": "e7",
        "user_id": "u1",
        "profile_id": "u1-p1",
        "session_id": "s1",
        "title_id": "s1",
        "event_type": "PLAY_START",
        "event_ts": SENT,
        "event_timestamp": NOW - dt.timedelta(seconds=60),
        "device_type": "mobile",
        "country": "DE",
        "playhead_s": 12.0,
        "app_version": "5.1.2",
        "audio_language": None,
        "bitrate_kbps": None,
        "ab_bucket": None,
        "rescued": None,
        "title": "The Long Tide",
        "content_type": "Movie",
        "genres": ["Dramas", "Thrillers"],
        "release_year": 2020,
        "rating": "PG-13",
        "director": "Ada Ruiz",
        "duration_s": 5400.0,
        "content_countries": ["Germany"],
        "region": "Europe",
        "quality_score": 1.0,
        "warnings": [],
        "event_date_source": "event_ts",
        "topic": "playback",
        "topic_id": "AAAAAAAAAAAAAAAAAAAAAA",
        "kafka_partition": 0,
        "kafka_offset": 0,
        "broker_timestamp": NOW,
        "ingest_timestamp": NOW,
        "raw_payload": None,
        "repair_id": None,
        "event_date": DATE,
    } == row


@pytest.mark.parametrize(
    ("changes", "kept", "warnings"),
    [
        ({"audio_language": "pt-BR", "bitrate_kbps": 4300, "ab_bucket": "b"}, ("pt-BR", 4300, "b"), []),
        ({"audio_language": None, "bitrate_kbps": None, "ab_bucket": None}, (None, None, None), []),
        ({"bitrate_kbps": 0}, (None, 0, None), []),
        ({"bitrate_kbps": 2**31 - 1}, (None, 2**31 - 1, None), []),
        ({"bitrate_kbps": 4299.6}, (None, 4300, None), []),
        ({"ab_bucket": 7, "audio_language": {"code": "de"}}, ('{"code":"de"}', None, "7"), []),
        ({"bitrate_kbps": 2**31}, (None, None, None), ["out_of_range:bitrate_kbps"]),
        ({"bitrate_kbps": -1}, (None, None, None), ["out_of_range:bitrate_kbps"]),
        ({"bitrate_kbps": 10**30}, (None, None, None), ["out_of_range:bitrate_kbps"]),
        ({"bitrate_kbps": float("nan")}, (None, None, None), ["out_of_range:bitrate_kbps"]),
        ({"bitrate_kbps": "4300"}, (None, None, None), ["wrong_type:bitrate_kbps"]),
        ({"bitrate_kbps": True}, (None, None, None), ["wrong_type:bitrate_kbps"]),
        ({"bitrate_kbps": [1], "country": "XX"}, (None, None, None), ["unknown_country", "wrong_type:bitrate_kbps"]),
    ],
)
def test_a_field_of_version_2_is_read_where_it_can_be_and_never_refuses_a_record(changes, kept, warnings):
    table, row = fate(event_bytes(**changes))
    assert "silver" == table
    assert kept == (row["audio_language"], row["bitrate_kbps"], row["ab_bucket"])
    assert warnings == row["warnings"]
    assert (1.0 if "country" not in changes else 0.85) == row["quality_score"]


@pytest.mark.parametrize(
    ("value", "reasons", "detail"),
    [
        (None, ["empty_value"], None),
        (b"", ["empty_value"], None),
        (b"\xff\xfe{}", ["not_utf8"], None),
        (event_bytes()[:40], ["malformed_json"], None),
        (b"\xef\xbb\xbf{}", ["malformed_json"], None),
        (b'{"event_id": "\\ud800"}', ["malformed_json"], None),
        (b"[" * 100_000, ["malformed_json"], None),
        (b"null", ["not_an_object"], None),
        (b"[1]", ["not_an_object"], None),
        (b'"text"', ["not_an_object"], None),
        (event_bytes(event_id=...), ["missing:event_id"], None),
        (event_bytes(event_id=None), ["missing:event_id"], None),
        (event_bytes(user_id=""), ["missing:user_id"], None),
        (event_bytes(user_id=5), ["wrong_type:user_id"], "user_id is UBIGINT"),
        (event_bytes(session_id={"a": 1}), ["wrong_type:session_id"], "session_id is OBJECT"),
        (event_bytes(country=["DE"]), ["wrong_type:country"], "country is ARRAY"),
        (event_bytes(event_type=True), ["wrong_type:event_type"], "event_type is BOOLEAN"),
        (event_bytes(event_type="PLAY"), ["unknown_event_type"], "event_type is PLAY"),
        (event_bytes(event_type="play_start"), ["unknown_event_type"], "event_type is play_start"),
        (event_bytes(playhead_s="12"), ["wrong_type:playhead_s"], "playhead_s is VARCHAR"),
        (event_bytes(playhead_s=True), ["wrong_type:playhead_s"], "playhead_s is BOOLEAN"),
        (event_bytes(playhead_s=-1), ["out_of_range:playhead_s"], "playhead_s is -1.0"),
        (event_bytes(playhead_s=float("nan")), ["out_of_range:playhead_s"], "playhead_s is nan"),
        (event_bytes(playhead_s=1e300), ["out_of_range:playhead_s"], "playhead_s is 1e+300"),
        (
            event_bytes(title_id=..., user_id=7, event_type="X"),
            ["missing:title_id", "wrong_type:user_id", "unknown_event_type"],
            "user_id is UBIGINT; event_type is X",
        ),
        (event_bytes(title_id=9, content_id="s1"), ["wrong_type:title_id"], "title_id is UBIGINT"),
    ],
)
def test_a_faulty_record_is_quarantined_with_every_reason_and_its_bytes(value, reasons, detail):
    table, row = fate(value)
    assert "quarantine" == table
    assert reasons == row["reasons"]
    assert detail == row["detail"]
    assert value == row["value"]


@pytest.mark.parametrize(
    ("event_ts", "kept", "warning"),
    [
        (..., None, "event_time_missing"),
        (None, None, "event_time_missing"),
        ("2026-11-21T11:59:00Z", None, "event_time_wrong_type"),
        (str(SENT), None, "event_time_wrong_type"),
        (True, None, "event_time_wrong_type"),
        ([SENT], None, "event_time_wrong_type"),
        (0, 0.0, "event_time_implausible"),
        (-5.5, -5.5, "event_time_implausible"),
        (946684800, 946684800.0, "event_time_implausible"),
        (SENT * 1000, SENT * 1000, "event_time_implausible"),
        (int(SENT * 1_000_000), SENT * 1_000_000, "event_time_implausible"),
        (SENT + 2 * 86400, SENT + 2 * 86400, "event_time_implausible"),
        (1e300, 1e300, "event_time_implausible"),
        (float("nan"), None, "event_time_implausible"),
        (float("inf"), None, "event_time_implausible"),
        (10**30, 1e30, "event_time_implausible"),
    ],
)
def test_a_record_whose_only_fault_is_its_time_goes_to_the_null_partition_with_its_payload(event_ts, kept, warning):
    value = event_bytes(event_ts=event_ts)
    table, row = fate(value)
    assert "silver" == table
    assert kept == row["event_ts"]
    assert row["event_timestamp"] is None
    assert row["event_date"] is None
    assert "null" == row["event_date_source"]
    assert [warning] == row["warnings"]
    assert value.decode() == row["raw_payload"]
    assert 0.7 == row["quality_score"]


@pytest.mark.parametrize("event_ts", [978307200, NOW.timestamp() + 86400, int(SENT), SENT])
def test_a_plausible_time_dates_the_row(event_ts):
    _, row = fate(event_bytes(event_ts=event_ts))
    assert dt.datetime.fromtimestamp(event_ts, dt.UTC).date() == row["event_date"]
    assert row["raw_payload"] is None


@pytest.mark.parametrize(
    ("changes", "warnings", "quality_score"),
    [
        ({"title_id": "s999"}, ["unknown_title"], 0.70),
        ({"country": "ZZ"}, ["unknown_country"], 0.85),
        ({"country": ...}, ["unknown_country"], 0.85),
        ({"device_type": "fridge"}, ["unknown_device_type"], 0.85),
        ({"device_type": None}, ["unknown_device_type"], 0.85),
        ({"playhead_s": ..., "app_version": ...}, [], 0.90),
        (
            {"title_id": "x", "country": "x", "device_type": "x", "event_ts": None, "playhead_s": None},
            ["event_time_missing", "unknown_title", "unknown_country", "unknown_device_type"],
            0.05,
        ),
    ],
)
def test_what_is_unknown_costs_quality_and_leaves_a_warning(changes, warnings, quality_score):
    table, row = fate(event_bytes(**changes))
    assert "silver" == table
    assert warnings == row["warnings"]
    assert quality_score == pytest.approx(row["quality_score"])


def test_content_id_is_another_name_of_title_id():
    assert "s2" == fate(event_bytes(title_id=..., content_id="s2"))[1]["title_id"]
    assert "s1" == fate(event_bytes(title_id="s1", content_id="s2"))[1]["title_id"]
    assert "s2" == fate(event_bytes(title_id=None, content_id="s2"))[1]["title_id"]


def test_a_series_has_no_duration():
    assert fate(event_bytes(title_id="s2"))[1]["duration_s"] is None


def test_unknown_fields_and_white_space_do_no_harm():
    spread = json.dumps({**event(), "new_field": {"deep": [1, 2]}}, indent=4).encode()
    assert "silver" == fate(spread)[0]
