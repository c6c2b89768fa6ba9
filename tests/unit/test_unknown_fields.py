"""Fields that playlake does not know: dropped, rescued or a reason, as the lake's workers agreed."""

import json

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compaction.compact import compact
from compaction.dedupe import dedupe
from compaction.repair import repair
from playlake.cli import main
from playlake.rebuild import rebuild
from query import connect
from schemas.avro_columns import AvroDecoder
from schemas.errors import ConfigError, IncompatibleLake
from schemas.event import NUMBER_FIELDS, TEXT_FIELDS
from sink.lake import Lake
from sink.policies import agree_on_unknown_fields, unknown_fields
from sink.writer import LakeWriter
from stream_app.rules import Rule, RuleSet
from stream_app.unknown_fields import known_policy
from tests.avro import avro_bytes, schema_text
from tests.processing import processor
from tests.records import NOW, event_bytes, records, source

VALUES = [
    event_bytes(0),
    event_bytes(1, drm="widevine", client={"os": "tvOS 26"}),
    event_bytes(2, audio_language="a:b", ab_bucket=None),  # more colons than fields, none unknown
    b"{broken:",
    event_bytes(4, event_ts=None, client_ts="2026-11-21T11:59:00Z"),
    event_bytes(5, event_type="X", drm="widevine"),
    avro_bytes(6),
    event_bytes(7, content_id="s1"),
]


def judged(policy: str, values: list[bytes | None] = VALUES, rules: RuleSet | None = None):
    return processor(rules, policy)(records(values), {1: AvroDecoder(schema_text())})


def told(policy: str, values: list[bytes | None] = VALUES) -> dict[int, dict[str, str | None] | None]:
    rows = judged(policy, values).silver.to_pylist()
    return {row["kafka_offset"]: row["rescued"] and dict(row["rescued"]) for row in rows}


def test_rescued_fields_are_text_or_json_by_name():
    assert {
        0: None,
        1: {"drm": "widevine", "client": '{"os":"tvOS 26"}'},
        2: None,
        4: {"client_ts": "2026-11-21T11:59:00Z"},
        6: None,
        7: None,
    } == told("rescue")


def test_discarded_fields_change_nothing():
    assert dict.fromkeys((0, 1, 2, 4, 6, 7)) == told("discard")


def test_a_record_with_unknown_fields_is_refused_with_their_names_where_the_lake_says_so():
    out = judged("quarantine")
    assert [0, 2, 6, 7] == sorted(out.silver["kafka_offset"].to_pylist())
    assert [
        (1, ["unknown_fields"], "unknown fields: client, drm"),
        (3, ["malformed_json"], None),
        (4, ["unknown_fields"], "unknown fields: client_ts"),
        (5, ["unknown_event_type"], "event_type is X"),
    ] == [(row["kafka_offset"], row["reasons"], row["detail"]) for row in out.quarantine.to_pylist()]


def test_a_rule_that_empties_a_field_makes_no_field_unknown():
    rule = Rule(name="r", condition="true", action="null_out", message="m", columns=("device_type", "country"))
    rows = judged("rescue", [event_bytes(0), event_bytes(1, drm=1)], RuleSet((rule,), version=1)).silver.to_pylist()
    assert [None, [("drm", "1")]] == [row["rescued"] for row in rows]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
names = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=6) | st.sampled_from(
    ["drm", "a/b~c", 'q"', "$.x", "event_id ", "*", "ü"]
)
unknown = st.dictionaries(
    names.filter(lambda name: name not in (*TEXT_FIELDS, *NUMBER_FIELDS)), json_values, max_size=3
)


def is_kept(value: object, text: str | None) -> bool:
    return text == value if isinstance(value, str | None) else json.loads(text or "") == value


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(unknown, st.booleans()), max_size=6))
def test_every_unknown_field_is_found_whatever_its_name_and_whoever_is_beside_it(cases):
    values = [
        event_bytes(number, **fields, **({} if is_timed else {"event_ts": None}))
        for number, (fields, is_timed) in enumerate(cases)
    ]
    rescued = told("rescue", values)
    for number, (fields, _) in enumerate(cases):
        kept = rescued[number] or {}
        assert fields.keys() == kept.keys()
        assert all(is_kept(value, kept[name]) for name, value in fields.items())
    refused = judged("quarantine", values).quarantine["kafka_offset"].to_pylist()
    assert [number for number, (fields, _) in enumerate(cases) if fields] == refused


@settings(deadline=None, max_examples=25)
@given(st.lists(st.binary(max_size=40) | st.sampled_from([None, b'{"a":1}', *VALUES]), max_size=8))
def test_any_bytes_get_one_fate(values):
    for policy in ("rescue", "quarantine"):
        out = judged(policy, values)
        assert len(values) == out.silver.num_rows + out.quarantine.num_rows
        assert all(out.quarantine["reasons"].to_pylist())


@pytest.fixture
def lake(tmp_path) -> Lake:
    lake = Lake.at(str(tmp_path / "lake"))
    LakeWriter(lake)
    return lake


def test_what_the_first_worker_is_told_holds_for_all_until_it_is_changed(lake):
    assert "discard" == agree_on_unknown_fields(lake, None)
    assert "rescue" == agree_on_unknown_fields(lake, "rescue")
    version = lake.table("silver").version()
    assert ["rescue", "rescue"] == [agree_on_unknown_fields(lake, wanted) for wanted in (None, "rescue")]
    assert version == lake.table("silver").version()
    with pytest.raises(ConfigError, match=r"do rescue with them.*--change-unknown-fields"):
        agree_on_unknown_fields(lake, "quarantine")
    assert "quarantine" == agree_on_unknown_fields(lake, "quarantine", change=True)
    assert "quarantine" == unknown_fields(lake.table("silver"))
    with pytest.raises(IncompatibleLake, match="'evolved'"):
        known_policy("evolved")


def test_a_worker_that_runs_goes_on_over_the_change(lake):
    writer = LakeWriter(lake)
    writer.claim({source(): 0})
    agree_on_unknown_fields(lake, "rescue")
    flush(lake, writer, "discard")
    assert {0, 1, 2, 4, 6, 7} == set(seen(lake))


def flush(lake: Lake, writer: LakeWriter, policy: str) -> None:
    batch = records(VALUES)
    out = processor(None, policy)(batch, {1: AvroDecoder(schema_text())})
    writer.add(batch, out.silver, out.quarantine)
    writer.flush()


def seen(lake: Lake) -> dict[int, dict[str, str] | None]:
    with connect(lake.uri) as con:
        return dict(con.execute("select kafka_offset, rescued from silver").fetchall())


def test_repair_dedupe_compaction_and_a_rebuild_keep_what_was_rescued(lake):
    writer = LakeWriter(lake)
    writer.claim({source(): 0})
    flush(lake, writer, "rescue")
    expected = told("rescue")
    again = [event_bytes(1), event_bytes(8, drm="x")]
    batch = records(again, len(VALUES))
    out = judged("rescue", again)
    at = out.silver.schema.get_field_index("kafka_offset")
    writer.add(batch, out.silver.set_column(at, "kafka_offset", pa.array([8, 9])), out.quarantine)
    writer.flush()
    assert 1 == sum(repair(lake).rows.values())
    assert 1 == dedupe(lake).rows
    compact(lake, "silver")
    assert {**expected, 9: {"drm": "x"}} == seen(lake)
    schemas = {1: AvroDecoder(schema_text())}
    done = rebuild(lake, lambda rows: processor(None, "discard")(rows, schemas), NOW.date())
    assert 3 == done.changed["rescued"]
    done = rebuild(lake, lambda rows: processor(None, "rescue")(rows, schemas), NOW.date())
    assert {**expected, 8: None, 9: {"drm": "x"}} == seen(lake)
    assert 3 == done.changed["rescued"]


def test_a_replay_goes_by_what_the_lake_does(lake, capsys):
    writer = LakeWriter(lake)
    writer.claim({source(): 0})
    agree_on_unknown_fields(lake, "quarantine")
    flush(lake, writer, "quarantine")
    replay = ["quarantine", "replay", "--lake", lake.uri, "--where", "'unknown_fields' in reasons"]
    assert 0 == main(replay)
    assert "2 records judged again: 0 went to silver" in capsys.readouterr().out
    agree_on_unknown_fields(lake, "rescue", change=True)
    assert 0 == main(replay)
    assert "2 records judged again: 2 went to silver" in capsys.readouterr().out
    assert {"drm": "widevine", "client": '{"os":"tvOS 26"}'} == seen(lake)[1]


def test_a_change_without_what_to_change_to_is_one_line(capsys):
    flags = ["--broker", "kafka://nowhere:1", "--topic", "t", "--lake", "./none", "--change-unknown-fields"]
    assert 2 == main(["stream", *flags])
    assert "--change-unknown-fields needs --unknown-fields" in capsys.readouterr().err
