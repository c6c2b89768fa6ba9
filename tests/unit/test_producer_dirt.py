"""Dirt: each kind at its share, made as its name says, and with the fate that the worker gives it."""

import collections
import datetime as dt
import functools
import json

import pyarrow as pa
import pytest

from producer import Scenario, records
from producer.dirt import KINDS, Fate
from schemas.countries import countries
from schemas.event import EVENT_TYPES
from schemas.tables import RECORDS
from stream_app.catalogue import read_titles, shipped_catalogue
from stream_app.process import Processor

START_MS = 1_795_000_000_000
SPAN_S = 3 * 86_400
DIRTY = 0.2
FATE = {kind.name: kind.fate for kind in KINDS}


@functools.cache
def told(dirty=DIRTY, events=60_000):
    return list(records(Scenario(START_MS, events=events, dirty=dirty)))


def of_kind(name):
    found = [(value, event_id) for _, value, event_id, kind in told() if kind == name]
    assert len(found) > 50
    return found


def fields_of(name):
    return [json.loads(value) for value, _ in of_kind(name)]


def is_text_or_ms_of(event):
    sent = event.get("client_ts")
    if isinstance(sent, str):
        return dt.datetime.fromisoformat(sent).timestamp()
    return None if sent is None else sent / 1000


def test_nothing_is_dirty_unless_asked_for():
    assert {"valid", "valid_content_id"} == {kind for *_, kind in told(dirty=0.0)}


@pytest.mark.parametrize("dirty", [0.01, 0.2, 1.0])
def test_dirt_has_the_share_asked_for(dirty):
    kinds = collections.Counter(kind for *_, kind in told(dirty))
    expected = 60_000 * dirty
    bad = sum(count for name, count in kinds.items() if not name.startswith("valid"))
    assert pytest.approx(expected, abs=5 * expected**0.5) == bad


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.percent], ids=lambda kind: kind.name)
def test_kind_has_its_part_of_the_dirt(kind):
    expected = 60_000 * DIRTY * kind.percent / 100
    assert pytest.approx(expected, abs=5 * expected**0.5) == len(of_kind(kind.name))


def test_percents_of_all_kinds_are_a_hundred():
    assert 100 == sum(kind.percent for kind in KINDS)


def test_broken_json_is_text_that_does_not_parse():
    for value, _ in of_kind("broken_json"):
        with pytest.raises(json.JSONDecodeError):
            json.loads(value.decode())


def test_not_utf8_does_not_decode():
    for value, _ in of_kind("not_utf8"):
        with pytest.raises(UnicodeDecodeError):
            value.decode()


def test_empty_value_is_empty():
    assert {b""} == {value for value, _ in of_kind("empty_value")}


def test_every_required_field_is_missing_somewhere():
    lost = collections.Counter()
    for event in fields_of("missing_field"):
        lost.update({"event_id", "user_id", "profile_id", "session_id", "event_type"} - event.keys())
        lost["title_id"] += not event.keys() & {"title_id", "content_id"}
    assert {"event_id", "user_id", "profile_id", "session_id", "event_type", "title_id"} == set(+lost)


KINDS_OF = {"event_ts": float, "playhead_s": float, "bitrate_kbps": int}


def test_wrong_type_is_in_one_field():
    for event in fields_of("wrong_type"):
        wrong = [name for name, value in event.items() if not isinstance(value, KINDS_OF.get(name, str))]
        assert 1 == len(wrong)


def test_unknown_event_type_is_none_of_the_known():
    assert not set(EVENT_TYPES) & {event["event_type"] for event in fields_of("unknown_event_type")}


def test_late_event_is_hours_to_days_behind_its_neighbours():
    now_s, delays_s = START_MS / 1000, []
    for _, value, _, kind in told():
        if kind == "valid":
            now_s = json.loads(value)["event_ts"]
        elif kind == "late":
            delays_s.append(now_s - json.loads(value)["event_ts"])
    assert 3_000 < min(delays_s)
    assert max(delays_s) < 5 * 86_400 + 7_200
    assert max(delays_s) > 4 * 86_400


@pytest.mark.parametrize(
    ("kind", "is_wrong"),
    [
        ("time_null", lambda event: event.get("event_ts") is None),
        (
            "time_unparsable",
            lambda event: not any(part.isdigit() and int(part) for part in event["event_ts"].split("-")),
        ),
        ("time_iso_text", lambda event: dt.datetime.fromisoformat(event["event_ts"]).timestamp() >= START_MS / 1000),
        ("time_milliseconds", lambda event: START_MS <= event["event_ts"] <= START_MS + SPAN_S * 1000),
        ("time_1970", lambda event: 0 <= event["event_ts"] <= 86_400),
        ("time_far_future", lambda event: event["event_ts"] > dt.datetime(2099, 12, 31, tzinfo=dt.UTC).timestamp()),
    ],
)
def test_event_time_is_wrong_as_the_kind_says(kind, is_wrong):
    for event in fields_of(kind):
        assert is_wrong(event), event


@pytest.mark.parametrize("kind", ["time_null", "time_unparsable", "time_milliseconds", "time_1970", "time_far_future"])
def test_half_of_the_wrong_times_leave_the_right_one_in_client_ts(kind):
    times = [is_text_or_ms_of(event) for event in fields_of(kind)]
    right = [time_s for time_s in times if time_s is not None]
    assert 0.35 < len(right) / len(times) < 0.65
    assert all(START_MS / 1000 <= time_s <= START_MS / 1000 + SPAN_S for time_s in right)
    forms = {type(event.get("client_ts")) for event in fields_of(kind)}
    assert {str, int, type(None)} == forms


def test_duplicate_repeats_an_earlier_record_whole():
    first_at, distances = {}, []
    for number, (key, value, event_id, kind) in enumerate(told()):
        if kind == "duplicate":
            assert (key, value) in first_at
            assert event_id == json.loads(value)["event_id"]
            distances.append(number - first_at[key, value])
        elif event_id is not None:
            first_at[key, value] = number
    assert min(distances) < 100
    assert max(distances) > 10_000


def test_event_id_of_a_record_is_the_one_in_its_bytes():
    for _, value, event_id, _ in told():
        if event_id is not None:
            assert event_id == json.loads(value)["event_id"]


@pytest.mark.parametrize("dirty", [DIRTY, 1.0])
def test_worker_gives_every_record_the_fate_of_its_kind(dirty):
    sent = told(dirty, 20_000)
    now = dt.datetime.fromtimestamp(START_MS / 1000 + SPAN_S, dt.UTC)
    batch = pa.table(
        {
            "topic": ["t"] * len(sent),
            "topic_id": ["-"] * len(sent),
            "kafka_partition": pa.array([0] * len(sent), pa.int32()),
            "kafka_offset": pa.array(range(len(sent)), pa.int64()),
            "broker_timestamp": pa.array([now] * len(sent), pa.timestamp("us", "UTC")),
            "key": pa.array([key for key, *_ in sent], pa.binary()),
            "value": pa.array([value for _, value, *_ in sent], pa.binary()),
            "headers": pa.nulls(len(sent), RECORDS.field("headers").type),
            "ingest_timestamp": pa.array([now] * len(sent), pa.timestamp("us", "UTC")),
        },
        schema=RECORDS,
    )
    lands = pa.table({name: [getattr(land, name) for land in countries()] for name in ("code", "region")})
    processed = Processor(read_titles(shipped_catalogue()), lands)(batch)
    fates = dict.fromkeys(processed.quarantine["kafka_offset"].to_pylist(), Fate.QUARANTINE)
    for row in processed.silver.select(["kafka_offset", "event_date", "event_id", "warnings"]).to_pylist():
        _, _, event_id, kind = sent[row["kafka_offset"]]
        assert event_id == row["event_id"]
        fates[row["kafka_offset"]] = Fate.NULL_PARTITION if row["event_date"] is None else Fate.SILVER
        if kind.startswith("valid"):
            assert [] == row["warnings"]
    for number, (*_, kind) in enumerate(sent):
        if kind != "duplicate":  # its fate is for the lake to tell, not for the rules
            assert FATE[kind] == fates[number], sent[number]
        else:
            assert Fate.QUARANTINE != fates[number]
