"""`playlake quarantine`: refused records counted, shown with the place of each fault, and exported, bytes and all."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from playlake.cli import main
from query.refused import Place, places
from sink.lake import Lake
from sink.writer import LakeWriter
from tests.processing import processor
from tests.records import event_bytes, records, source

VALUES = [
    event_bytes(0),
    event_bytes(1)[:40],
    event_bytes(2, user_id=7, app_version="1.0"),
    event_bytes(3, user_id=8, app_version="1.0"),
    event_bytes(4, event_type="X", app_version="2.0"),
    b"\xff{}",
    None,
    event_bytes(7, session_id=..., user_id=9, app_version="1.0"),
]


@pytest.fixture
def lake(tmp_path: Path) -> str:
    place = Lake.at(str(tmp_path / "lake"))
    writer = LakeWriter(place)
    writer.claim({source(): 0})
    batch = records(VALUES)
    told = processor()(batch)
    writer.add(batch, told.silver, told.quarantine)
    writer.flush()
    return place.uri


def quarantine(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    code = main(["quarantine", *arguments])
    told = capsys.readouterr()
    return code, told.out + told.err


def listed(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, tuple[int, float]]:
    code, out = quarantine(capsys, "list", "--json", *arguments)
    assert 0 == code
    return {str(next(iter(row.values()))): (row["records"], round(row["share"], 3)) for row in json.loads(out)}


def test_records_are_counted_by_every_reason_with_their_share_of_all(capsys, lake):
    counts = listed(capsys, "--lake", lake)
    assert ("wrong_type:user_id", (3, 0.429)) == next(iter(counts.items()))
    assert {
        "wrong_type:user_id": (3, 0.429),
        "empty_value": (1, 0.143),
        "malformed_json": (1, 0.143),
        "missing:session_id": (1, 0.143),
        "not_utf8": (1, 0.143),
        "unknown_event_type": (1, 0.143),
    } == counts


@pytest.mark.parametrize(
    ("by", "counts"),
    [
        ("client_version", {"None": (3, 0.429), "1.0": (3, 0.429), "2.0": (1, 0.143)}),
        ("event_type", {"None": (3, 0.429), "PLAY_START": (3, 0.429), "X": (1, 0.143)}),
        ("topic", {"playback": (7, 1.0)}),
        ("day", {"2026-11-21": (7, 1.0)}),
        ("hour", {"2026-11-21T12:00:00Z": (7, 1.0)}),
    ],
)
def test_records_are_counted_by_what_is_asked(capsys, lake, by, counts):
    assert counts == listed(capsys, "--lake", lake, "--by", by)


def test_a_condition_chooses_and_nothing_chosen_is_a_no(capsys, lake):
    where = "list_contains(reasons, 'wrong_type:user_id') and client_version = '1.0'"
    assert (3, 1.0) == listed(capsys, "--lake", lake, "--where", where)["wrong_type:user_id"]
    for action in ("list", "show"):
        assert 1 == quarantine(capsys, action, "--lake", lake, "--where", "kafka_offset = 99")[0]


def test_a_condition_that_is_none_is_one_line(capsys, lake):
    for where in ("nope = 1", "true) ; delete from quarantine; --", "event_type >"):
        code, out = quarantine(capsys, "list", "--lake", lake, "--where", where)
        assert (2, 1) == (code, out.count("\n"))


def test_a_record_is_shown_with_its_bytes_and_where_its_faults_are(capsys, lake):
    code, out = quarantine(capsys, "show", "--lake", lake, "--at", "playback[0]@2")
    assert 0 == code
    at = VALUES[2].index(b"7, ")
    assert f"wrong_type:user_id at $.user_id, byte {at}" in out
    assert "user_id is UBIGINT" in out
    assert repr(VALUES[2]) in out


def test_as_many_as_wanted_are_shown_oldest_first_as_objects(capsys, lake):
    code, out = quarantine(capsys, "show", "--lake", lake, "--limit", "2", "--json")
    told = json.loads(out)
    assert (0, ["playback[0]@1", "playback[0]@2"]) == (code, [row["position"] for row in told])
    assert [{"reason": "malformed_json", "json_path": None, "offset": VALUES[1].rindex(b'"')}] == told[0]["places"]


@pytest.mark.parametrize("suffix", ["parquet", "csv", "json"])
def test_an_export_holds_every_chosen_record(capsys, lake, tmp_path, suffix):
    path = tmp_path / f"out.{suffix}"
    code, out = quarantine(capsys, "export", "--lake", lake, "--output", str(path), "--where", "kafka_offset > 2")
    assert (0, f"5 records to {path}\n") == (code, out)
    if suffix == "parquet":
        assert [VALUES[n] for n in (3, 4, 5, 6, 7)] == pq.read_table(path)["value"].to_pylist()
    else:
        assert 5 == (len(json.loads(path.read_text())) if suffix == "json" else path.read_text().count("\n") - 1)
    assert [path] == list(tmp_path.glob("*out*"))


@pytest.mark.parametrize(
    "arguments",
    [("export",), ("list", "--output", "x.csv"), ("export", "--output", "x.txt"), ("show", "--at", "here"), ("empty",)],
)
def test_flags_that_do_not_fit_are_refused(capsys, lake, arguments):
    assert 2 == quarantine(capsys, *arguments, "--lake", lake)[0]


@pytest.mark.parametrize(
    ("value", "reason", "place"),
    [
        (b'{"a": [1, {"user_id": 1}], "user_id": 5}', "wrong_type:user_id", ("$.user_id", 38)),
        ('{"é": 1, "user_id":5}'.encode(), "wrong_type:user_id", ("$.user_id", 20)),
        (b'{"user_id": 5}', "missing:event_id", ("$.event_id", None)),
        (b'{"content_id": 5}', "wrong_type:title_id", ("$.content_id", 15)),
        (b'{"a": "\xc3\x28"}', "not_utf8", (None, 7)),
        ('{"é": }'.encode(), "malformed_json", (None, 7)),
        (b'\x00\x00\x00\x00\x01{"user_id": 5}', "wrong_type:user_id", ("$.user_id", None)),
        (b"[" * 100_000, "malformed_json", (None, None)),
        (b"[1]", "not_an_object", (None, None)),
        (None, "empty_value", (None, None)),
        (b'{"a": 1}', "rule:no_tablets", (None, None)),
    ],
)
def test_the_place_of_a_fault(value, reason, place):
    assert [Place(reason, *place)] == places(value, [reason])
