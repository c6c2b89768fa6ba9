"""The simulated viewers: the same bytes for the same seed, and a life that looks like one."""

import collections
import csv
import hashlib
import itertools
import json
import uuid
from importlib.resources import files

import pytest

from producer import Scenario, blocks, records
from schemas.countries import countries
from schemas.errors import ConfigError
from schemas.event import (
    DEVICE_TYPES,
    EVENT_TYPES,
    HEARTBEAT_INTERVAL_S,
    LATER_NUMBER_FIELDS,
    LATER_TEXT_FIELDS,
    avro_versions,
)

START_MS = 1_795_000_000_000
LATER = (*LATER_TEXT_FIELDS, *LATER_NUMBER_FIELDS)
WORLD = Scenario(START_MS, events=60_000)


def values_of(scenario, block_events=5_000):
    return [value for block in blocks(scenario, block_events) for value in block.values]


@pytest.fixture(scope="module")
def events():
    return [json.loads(value) for value in values_of(WORLD)]


@pytest.fixture(scope="module")
def sessions(events):
    of_session = collections.defaultdict(list)
    for event in events:
        of_session[event["session_id"]].append(event)
    return list(of_session.values())


@pytest.mark.parametrize("dirty", [0.0, 0.3])
@pytest.mark.parametrize("block_events", [1, 777, 10**6])
def test_same_scenario_gives_same_records_whatever_the_blocks(dirty, block_events):
    scenario = Scenario(START_MS, events=30_000 if block_events > 1 else 3_000, dirty=dirty)
    expected = [(key, value) for block in blocks(scenario) for key, value in zip(block.keys, block.values, strict=True)]
    cut_otherwise = blocks(scenario, block_events)
    assert expected == [pair for block in cut_otherwise for pair in zip(block.keys, block.values, strict=True)]


@pytest.mark.parametrize(
    ("scenario", "expected"),
    [
        (Scenario(START_MS, events=40_000, schema_version=1), "1076459cd4c75ab8"),
        (Scenario(START_MS, events=40_000, dirty=0.1, schema_version=1), "a17eb3b118746bcf"),
        (Scenario(START_MS, events=40_000, dirty=0.1, rate_per_s=100, schema_version=1), "f2ada0db8968a273"),
        (Scenario(START_MS, events=40_000, dirty=0.1), "e93003efc0cbbfe9"),
    ],
    ids=["past", "past, dirty", "live, dirty", "version 2"],
)
def test_bytes_are_the_same_on_every_machine(scenario, expected):
    assert expected == hashlib.sha256(b"\n".join(values_of(scenario))).hexdigest()[:16]


def test_another_seed_is_another_world():
    one, other = (set(values_of(Scenario(START_MS, seed=seed, events=1_000))) for seed in (7, 8))
    assert set() == one & other


@pytest.mark.parametrize("events", [1, 2, 3, 4_999, 5_000, 5_001, 123_456])
@pytest.mark.parametrize("dirty", [0.0, 0.02, 1.0])
def test_as_many_records_as_asked_for(events, dirty):
    sizes = [len(block) for block in blocks(Scenario(START_MS, events=events, dirty=dirty))]
    assert [5_000] * (events // 5_000) + [events % 5_000] * (events % 5_000 > 0) == sizes


@pytest.mark.parametrize(("number", "schema"), avro_versions().items())
def test_fields_are_those_of_the_event_schema(number, schema):
    expected = {field["name"] for field in schema["fields"]}
    for value in values_of(Scenario(START_MS, events=5_000, schema_version=number)):
        assert expected == {"title_id" if name == "content_id" else name for name in json.loads(value)}


def test_versions_differ_in_the_fields_that_one_lacks_alone():
    old, new = (values_of(Scenario(START_MS, events=5_000, schema_version=number)) for number in (1, 2))
    assert [json.loads(value) for value in old] == [
        {name: each for name, each in json.loads(value).items() if name not in LATER} for value in new
    ]


def test_viewers_hear_several_languages_at_a_bitrate_that_fits_the_device_in_one_bucket_each(events):
    assert {"en", "de", "pt-BR"} <= {event["audio_language"] for event in events}
    kbps = {
        device: {event["bitrate_kbps"] for event in events if event["device_type"] == device} for device in DEVICE_TYPES
    }
    assert 16_000 == max(kbps["smart_tv"]) > max(kbps["mobile"]) > 0
    buckets = collections.defaultdict(set)
    for event in events:
        buckets[event["user_id"]].add(event["ab_bucket"])
    assert {("control",), ("treatment",)} == {tuple(each) for each in buckets.values()}


def test_values_are_among_the_known_ones(events):
    with files("schemas").joinpath("titles.csv").open(encoding="utf-8") as lines:
        titles = {row["show_id"] for row in csv.DictReader(lines)}
    assert set(EVENT_TYPES) == {event["event_type"] for event in events}
    assert set(DEVICE_TYPES) == {event["device_type"] for event in events}
    assert {country.code for country in countries()} == {event["country"] for event in events}
    assert titles >= {event.get("title_id", event.get("content_id")) for event in events}


def test_event_ids_are_unique_uuids(events):
    ids = {uuid.UUID(event["event_id"]) for event in events}
    assert len(events) == len(ids)
    assert {4} == {event_id.version for event_id in ids}


def test_record_is_keyed_by_its_user():
    for key, value, _, _ in records(Scenario(START_MS, events=2_000)):
        assert json.loads(value)["user_id"].encode() == key


def test_record_has_the_size_of_a_real_one():
    sizes = [len(value) for value in values_of(Scenario(START_MS, events=5_000))]
    assert 315 <= sum(sizes) / len(sizes) <= 350


def test_events_come_in_order_of_time_within_the_span(events):
    times = [event["event_ts"] for event in events]
    assert sorted(times) == times
    assert START_MS / 1000 <= times[0]
    assert times[-1] <= START_MS / 1000 + WORLD.days * 86_400
    assert times[-1] - times[0] > 0.9 * WORLD.days * 86_400


def test_sessions_of_many_viewers_are_interleaved(events):
    changes = sum(one["session_id"] != other["session_id"] for one, other in itertools.pairwise(events))
    assert changes > 0.8 * len(events)


def test_session_goes_from_start_to_stop(sessions):
    for session in sessions:
        types = [event["event_type"] for event in session]
        assert ("PLAY_START", "PLAY_STOP") == (types[0], types[-1])
        assert not {"PLAY_START", "PLAY_STOP"} & set(types[1:-1])
        for one, other in itertools.pairwise(types):
            assert (one == "PAUSE") == (other == "RESUME") or (one, other) == ("PAUSE", "PLAY_STOP")


def test_session_is_of_one_viewer_one_title_one_device(sessions):
    for session in sessions:
        rest = [{**event, "event_id": 0, "event_type": 0, "event_ts": 0, "playhead_s": 0} for event in session]
        assert all(rest[0] == other for other in rest)


def test_viewer_who_plays_is_heard_at_least_every_heartbeat(sessions):
    for session in sessions:
        for one, other in itertools.pairwise(session):
            gap_s = other["event_ts"] - one["event_ts"]
            if one["event_type"] != "PAUSE":
                assert 0 < gap_s <= HEARTBEAT_INTERVAL_S + 0.1
            if other["event_type"] == "HEARTBEAT":
                assert pytest.approx(HEARTBEAT_INTERVAL_S, abs=0.1) == gap_s


def test_playhead_moves_while_playing_and_jumps_only_on_seek(sessions):
    for session in sessions:
        for one, other in itertools.pairwise(session):
            if other["event_type"] == "SEEK":
                continue
            played_s = 0 if one["event_type"] == "PAUSE" else other["event_ts"] - one["event_ts"]
            assert pytest.approx(played_s, abs=0.11) == other["playhead_s"] - one["playhead_s"]


def test_seeks_go_both_ways(sessions):
    jumps = [
        other["playhead_s"] - one["playhead_s"]
        for session in sessions
        for one, other in itertools.pairwise(session)
        if other["event_type"] == "SEEK"
    ]
    assert any(jump < -5 for jump in jumps)
    assert any(jump > 65 for jump in jumps)


def test_playhead_stays_within_the_film(events):
    with files("schemas").joinpath("titles.csv").open(encoding="utf-8") as lines:
        films = {row["show_id"]: row["duration"] for row in csv.DictReader(lines) if row["type"] == "Movie"}
    for event in events:
        assert event["playhead_s"] >= 0
        duration = films.get(event.get("title_id", event.get("content_id")))
        if duration is not None:
            assert event["playhead_s"] <= 60 * int(duration.removesuffix(" min"))


def test_few_titles_have_most_of_the_plays(sessions):
    plays = collections.Counter(session[0].get("title_id", session[0].get("content_id")) for session in sessions)
    ranked = [count for _, count in plays.most_common()]
    assert 5 * ranked[19] <= ranked[0]  # a Zipf law has the 20th at a 17th of the first
    assert sum(ranked[:30]) > sum(ranked) / 2
    assert len(ranked) > 200


@pytest.mark.parametrize("region", sorted({country.region for country in countries()}))
def test_evening_is_busy_by_the_viewers_own_clock(events, region):
    offsets_h = {country.code: country.utc_offset_h for country in countries() if country.region == region}
    by_hour = collections.Counter(
        int((event["event_ts"] / 3600 + offsets_h[event["country"]]) % 24)
        for event in events
        if event["country"] in offsets_h
    )
    assert sum(by_hour[hour] for hour in (19, 20, 21, 22)) > 4 * sum(by_hour[hour] for hour in (3, 4, 5, 6))


def test_some_clients_say_content_id(events):
    share = sum("content_id" in event for event in events) / len(events)
    assert 0.003 <= share <= 0.03


def test_users_live_in_one_country_with_several_profiles_and_devices(events):
    of_user = collections.defaultdict(lambda: collections.defaultdict(set))
    for event in events:
        for name in ("country", "profile_id", "device_type", "app_version"):
            of_user[event["user_id"]][name].add(event[name])
    assert all(len(user["country"]) == 1 for user in of_user.values())
    for name in ("profile_id", "device_type", "app_version"):
        assert max(len(user[name]) for user in of_user.values()) > 1


def test_world_without_end_covers_the_span_again_with_other_viewers():
    first_blocks = itertools.islice(blocks(Scenario(START_MS, events_per_span=2_000), 1_000), 4)
    endless = [json.loads(value) for block in first_blocks for value in block.values]
    times = [event["event_ts"] for event in endless]
    assert sorted(times[:2_000]) == times[:2_000]
    assert times[2_000] < times[1_999]
    assert 4_000 == len({event["event_id"] for event in endless})


@pytest.mark.parametrize("dirty", [0.0, 0.5])
def test_live_records_happen_at_the_rate(dirty):
    scenario = Scenario(START_MS, events=20_000, rate_per_s=400, dirty=dirty)
    for number, (_, value, _, kind) in enumerate(records(scenario)):
        if kind == "valid":
            assert pytest.approx(START_MS / 1000 + number / 400, abs=0.02 + 3 * dirty) == json.loads(value)["event_ts"]


def test_live_world_is_under_way_when_it_begins():
    first = [json.loads(value) for value in values_of(Scenario(START_MS, events=5_000, rate_per_s=1_000))]
    types = collections.Counter(event["event_type"] for event in first)
    assert types["HEARTBEAT"] > 0.7 * len(first)
    assert 0 < types["PLAY_START"] < 0.1 * len(first)


def test_live_playheads_keep_up_with_the_clock():
    of_session = collections.defaultdict(list)
    for value in values_of(Scenario(START_MS, events=30_000, rate_per_s=100)):
        event = json.loads(value)
        of_session[event["session_id"]].append(event)
    beats = [
        (other["event_ts"] - one["event_ts"], other["playhead_s"] - one["playhead_s"])
        for session in of_session.values()
        for one, other in itertools.pairwise(session)
        if other["event_type"] == "HEARTBEAT"
    ]
    assert len(beats) > 10_000
    for gap_s, played_s in beats:
        assert pytest.approx(played_s, rel=0.3) == gap_s


@pytest.mark.parametrize(
    "wrong",
    [
        {"seed": -1},
        {"events": 0},
        {"days": 0},
        {"dirty": 1.1},
        {"rate_per_s": 0},
        {"start_ms": 0},
        {"days": 365 * 300},
    ],
)
def test_impossible_scenario_is_refused(wrong):
    with pytest.raises(ConfigError):
        Scenario(**{"start_ms": START_MS, **wrong})
