"""A forgotten person is in no table, and after a purge in no file; verify balances; so it does beside other jobs."""

import io
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from audit.verify import verify
from compaction.compact import compact
from compaction.dedupe import dedupe
from compaction.forget import Found, find, forget
from compaction.gold import refresh
from compaction.manifests import write_manifests
from compaction.person import Person
from compaction.purge import cleared, purge
from compaction.repair import repair
from playlake.cli import main
from playlake.replay import replay
from schemas.avro_columns import AvroDecoder
from schemas.errors import CommitConflict
from sink.lake import Lake
from sink.writer import LakeWriter
from stream_app.rules import Rule, RuleSet
from tests import lakes
from tests.avro import avro_bytes, schema_text
from tests.bytes_below import files_with
from tests.lake_contents import positions_of
from tests.processing import processor
from tests.records import NOW, event_bytes, records, source

WHO = "viewer-4711"
NAME = WHO.encode()
PERSON = Person([WHO])
DAY_S = 86400.0


def theirs(number: int, **changes: Any) -> bytes:
    """An event of the person; even the session's id tells who it is."""
    return event_bytes(number, **({"user_id": WHO, "profile_id": f"{WHO}-p1", "session_id": f"{WHO}-s1"} | changes))


SENT = NOW.timestamp() - 60
THEIRS = {
    0: theirs(0),
    1: theirs(1, event_type="PLAY_STOP", event_ts=SENT + 30),
    2: theirs(2, event_ts=SENT - DAY_S),
    3: theirs(3, event_ts="when"),  # its payload is kept, without a date
    4: theirs(1, event_type="PLAY_STOP", event_ts=SENT + 30),  # repeats 1
    5: theirs(5, event_type="NO_SUCH"),
    6: theirs(6)[:-1],
    7: b'{"user_id": 4711, "profile_id": "\xff' + WHO.encode() + b'"',
    8: avro_bytes(8, user_id=WHO, profile_id=f"{WHO}-p2"),
    9: avro_bytes(9, schema_id=9, user_id=WHO, profile_id="x" * 40),  # unknown schema, next length is a letter
    10: theirs(10).replace(b"viewer-", b"view\\u0065r-"),
    11: b'{"event": {"user": "viewer-4711"}}',
}
OTHERS = {
    12: event_bytes(12),
    13: event_bytes(13, user_id=WHO[:-1], profile_id=f"{WHO[:-1]}-p1"),
    14: b'{"user_id": "' + WHO[:-1].encode(),
    15: event_bytes(15, event_ts=SENT - DAY_S),
    16: event_bytes(0, user_id="u2"),  # repeats an event_id of the person's
}
MENTION = 17
VALUES = [*THEIRS.values(), *OTHERS.values(), event_bytes(MENTION, sent_to=WHO)]
MARKED = {18: "key", 19: "headers"}


def batch(values: list[bytes], first: int = 0) -> pa.Table:
    return records([*values], first)


def flush(lake: Lake, rows: pa.Table, rules: RuleSet | None = None) -> None:
    writer = LakeWriter(lake)
    writer.claim({source(): 0})
    told = processor(rules)(rows, {1: AvroDecoder(schema_text())})
    writer.add(rows, told.silver, told.quarantine)
    writer.flush()


def marked() -> pa.Table:
    """Two records without a word of the person in their value: one has them in its key, one in a header."""
    rows = records([b"{", b"{"], len(VALUES)).to_pylist()
    rows[0]["key"] = WHO.encode()
    rows[1]["headers"] = [("user", WHO.encode())]
    return pa.Table.from_pylist(rows, schema=records([b"{"]).schema)


@pytest.fixture
def lake(tmp_path) -> Lake:
    place = Lake.at(str(tmp_path / "lake"))
    flush(place, batch(VALUES[:10]))
    flush(place, pa.concat_tables([batch(VALUES[10:], 10), marked()]))
    dedupe(place)
    return place


@pytest.fixture
def gilded(lake) -> Lake:
    refresh(lake)
    return lake


def faults(lake: Lake) -> dict[str, tuple[int, tuple[str, ...]]]:
    return {fault.kind: (fault.count, fault.first) for fault in verify(lake).faults}


def offsets(lake: Lake, name: str) -> set[int]:
    return {offset for _, offset in positions_of(lake, name)}


def test_the_lake_is_sound_before_and_holds_the_person_in_every_table(gilded):
    lake = gilded
    assert {} == faults(lake)
    assert {0, 1, 2, 3, 8, 10} | {12, 13, 15, 17} == offsets(lake, "silver")
    found = files_with(lake.uri, NAME)
    for folder in ("bronze/", "silver/", "quarantine/", "gold/session_facts/", "gold/fact_playback/"):
        assert [path for path in found if path.startswith(folder)], folder
    assert [path for path in found if path.startswith("gold/session_facts/_delta_log/")]


def test_every_record_of_the_person_goes_and_no_other(lake):
    found = forget(lake, PERSON)
    gone = {*THEIRS, *MARKED}
    assert {*OTHERS, MENTION} == offsets(lake, "bronze")
    assert {12, 13, 15, 17} == offsets(lake, "silver")
    assert {14} == offsets(lake, "quarantine")
    assert (14, 6, 7) == tuple(found.rows[name] for name in ("bronze", "silver", "quarantine"))
    assert (1, 0, 0) == (found.mentions, found.not_done, found.unfinished)
    assert gone == {row["kafka_offset"] for row in found.going.to_pylist()}


def test_verify_balances_with_positions_alone(lake):
    forget(lake, PERSON)
    verdict = verify(lake)
    assert () == verdict.faults
    [totals] = verdict.sources
    assert (20, 14, 1, 0) == (totals.done_positions, totals.forgotten, totals.settled, totals.holes)


def test_what_is_lost_beside_them_is_still_found(lake):
    forget(lake, PERSON)
    for name in ("bronze", "silver"):
        lake.table(name).delete("kafka_offset = 12")
    lake.table("silver").delete("kafka_offset = 15")
    assert {"in_neither": (1, ("playback[0]@15",)), "unexplained_hole": (1, ("playback[0]@12",))} == faults(lake)


def test_a_dry_run_says_the_same_and_changes_nothing(lake):
    before = {name: lake.table(name).version() for name in ("bronze", "silver", "quarantine")}
    looked = find(lake, PERSON)
    assert before == {name: lake.table(name).version() for name in before}
    assert same(forget(lake, PERSON), looked)
    again = find(lake, PERSON)
    assert (0, 0) == (sum(again.rows.values()), len(again.going))


def same(one: Found, other: Found) -> bool:
    empty = one.going.slice(0, 0)
    return replace(one, going=empty, repeats=empty) == replace(other, going=empty, repeats=empty)


def test_a_second_run_changes_nothing(lake):
    forget(lake, PERSON)
    names = ("bronze", "silver", "quarantine", "forgotten/positions")
    before = [lake.table(name).version() for name in names]
    forget(lake, PERSON)
    assert before == [lake.table(name).version() for name in names]


def test_gold_is_what_a_lake_that_never_saw_them_has(gilded, tmp_path):
    lake = gilded
    forget(lake, PERSON)
    refreshed = {
        name: gold_rows(lake, name) for name in ("session_facts", "fact_playback", "viewer_days", "title_daily")
    }
    refresh(lake, full=True)
    assert refreshed == {name: gold_rows(lake, name) for name in refreshed}
    sessions = {
        row[0] for row in lakes.rows(lake, "select session_id from session_facts", names=["gold/session_facts"])
    }
    assert {"s1"} == sessions


def gold_rows(lake: Lake, name: str) -> list[Any]:
    return lakes.rows(lake, f"from {name} order by all", names=[f"gold/{name}"])


def test_after_a_purge_no_byte_of_the_lake_names_them(gilded):
    lake = gilded
    compact(lake, "silver")
    compact(lake, "bronze")
    write_manifests(lake, ["silver"])
    lake.table("silver").create_checkpoint()
    forget(lake, PERSON, mentions=True)
    assert [] != files_with(lake.uri, NAME)  # old versions
    done = purge(lake, PERSON)
    assert [] == files_with(lake.uri, NAME)
    assert (0, True, True, 1) == (done.young, done.files > 10, done.commits > 0, done.checkpoints)
    assert {*OTHERS} == offsets(lake, "bronze")
    assert {*OTHERS} - {16} == offsets(lake, "silver") | offsets(lake, "quarantine")
    assert {} == faults(lake)
    again = purge(lake, PERSON)
    assert (0, 0) == (again.files, again.commits)


def test_a_file_that_a_row_left_before_tells_nothing_of_it(tmp_path):
    lake = Lake.at(str(tmp_path / "lake"))
    flush(lake, batch([event_bytes(0, event_ts="when"), theirs(1, event_ts=..., client_ts=SENT)]))
    assert {"payload": 1, "broker": 1} == repair(lake).rows
    undated = event_bytes(2, event_ts=...)
    flush(lake, batch([undated, theirs(3, event_ts=SENT - DAY_S)], 2))
    forget(lake, PERSON)
    purge(lake, PERSON)
    assert [] == files_with(lake.uri, NAME)
    assert {0, 2} == offsets(lake, "silver")


def test_a_purge_keeps_what_a_flush_has_written_and_not_committed(lake):
    files = []

    def look(name: str) -> None:
        if name == "after files silver":
            forget(lake, PERSON)
            files.append(purge(lake, PERSON).young)

    writer = LakeWriter(lake, step=look)
    writer.claim({source(): 0})
    rows = batch([event_bytes(50)], 20)
    told = processor()(rows)
    writer.add(rows, told.silver, told.quarantine)
    writer.flush()
    assert [1] == files
    assert 20 in offsets(lake, "silver")
    assert {} == faults(lake)


def test_a_writer_that_opened_the_lake_before_a_purge_goes_on(lake):
    writer = LakeWriter(lake)
    writer.claim({source(): 0})
    forget(lake, PERSON)
    purge(lake, PERSON)
    rows = batch([event_bytes(50)], 20)
    told = processor()(rows)
    writer.add(rows, told.silver, told.quarantine)
    writer.flush()
    assert 20 in offsets(lake, "silver")
    assert {} == faults(lake)


def test_a_record_beyond_what_is_done_waits_for_its_worker(lake):
    class Torn(Exception):
        pass

    def tear(name: str) -> None:
        if name == "before silver":
            raise Torn

    def write(step: Callable[[str], None]) -> None:
        writer = LakeWriter(lake, step=step)
        first = writer.claim({source(): 0})[source()]
        rows = batch([theirs(20), event_bytes(21), theirs(22)[:-1]], first)
        told = processor()(rows)
        writer.add(rows, told.silver, told.quarantine)
        writer.flush()

    with pytest.raises(Torn):
        write(tear)
    assert 2 == forget(lake, PERSON).not_done
    assert {20, 22} <= offsets(lake, "bronze")
    write(lambda name: None)
    assert {} == faults(lake)
    assert 0 == forget(lake, PERSON).not_done
    assert not {20, 22} & (offsets(lake, "bronze") | offsets(lake, "silver") | offsets(lake, "quarantine"))
    assert {} == faults(lake)


class Killed(BaseException):
    """Stands for a SIGKILL at a step."""


MOMENTS = [
    f"{when} forget {what}" for what in ("positions", "quarantine", "silver", "bronze") for when in ("before", "after")
]


@pytest.mark.parametrize("moment", [*MOMENTS, "before purge", "after purge"])
def test_a_crash_at_any_point_is_no_loss_and_the_next_run_finishes(lake, moment):
    def kill(name: str) -> None:
        if name == moment:
            raise Killed

    def run(step: Callable[[str], None]) -> None:
        forget(lake, PERSON, mentions=True, step=step)
        purge(lake, PERSON, step=step)

    with pytest.raises(Killed):
        run(kill)
    is_between = MOMENTS.index("after forget positions") <= (MOMENTS.index(moment) if moment in MOMENTS else 99) < 7
    assert ({"forget_in_flight"} if is_between else set()) == set(faults(lake))
    run(lambda name: None)
    assert {} == faults(lake)
    assert [] == files_with(lake.uri, NAME)


@pytest.mark.parametrize("moment", ["before gold", "after gold"])
def test_a_crash_while_gold_is_computed_leaves_it_to_the_next_run(gilded, moment):
    def kill(name: str) -> None:
        if name == moment:
            raise Killed

    with pytest.raises(Killed):
        forget(gilded, PERSON, mentions=True, step=kill)
    forget(gilded, PERSON, mentions=True)
    purge(gilded, PERSON)
    assert [] == files_with(gilded.uri, NAME)


def test_what_one_run_left_is_told_and_taken_by_the_next_for_whomever(lake, capsys):
    def kill(name: str) -> None:
        if name == "after forget silver":
            raise Killed

    with pytest.raises(Killed):
        forget(lake, PERSON, step=kill)
    assert 1 == main(["verify", "--lake", lake.uri])
    assert "nothing is lost, run it again" in " ".join(capsys.readouterr().out.split())
    found = forget(lake, Person(["somebody-else"]))
    assert 14 == found.unfinished
    assert {*OTHERS, MENTION} == offsets(lake, "bronze")
    assert {} == faults(lake)


def test_a_replay_that_looked_before_gives_up(tmp_path):
    lake = Lake.at(str(tmp_path / "lake"))
    refusing = RuleSet(
        rules=(Rule(name="no_web", condition="device_type = 'web'", action="quarantine", message="no", since=1),),
        version=1,
    )
    flush(lake, batch([event_bytes(0), theirs(1, device_type="web"), event_bytes(2, device_type="web")]), refusing)

    def step(name: str) -> None:
        if name == "before replay silver":
            forget(lake, PERSON)

    with pytest.raises(CommitConflict, match="another replay"):
        replay(lake, processor(), step=step)
    assert {} == faults(lake)
    replay(lake, processor())
    assert {0, 2} == offsets(lake, "silver")
    assert {} == faults(lake)


def test_compaction_and_appends_in_between_do_no_harm(lake):
    waiting: list[Callable[[], object]] = [
        lambda: compact(lake, "bronze"),
        lambda: flush(lake, batch([event_bytes(50)], 20)),
        lambda: compact(lake, "silver"),
    ]

    def overtake(name: str) -> None:
        if name in ("before forget silver", "before forget bronze") and waiting:
            waiting.pop()()

    forget(lake, PERSON, step=overtake)
    assert {*OTHERS, MENTION, 20} == offsets(lake, "bronze")
    assert {} == faults(lake)


@pytest.mark.parametrize(
    ("data", "is_named"),
    [
        (b'"viewer-4711"', True),
        (b"viewer-4711", True),
        (b"viewer-4711-p1", True),
        (b"xviewer-4711", False),
        (b"viewer-47110", False),
        (b"\xffviewer-4711\xff", True),
        (b"\x00\x00\x00\x00\x01\x16viewer-4711H", True),
        (b"\x00\x00\x00\x00\x01\x18viewer-4711H", False),
        (b"", False),
    ],
)
def test_bytes_name_a_person_by_a_whole_word_or_an_avro_string(data, is_named):
    assert is_named == PERSON.is_named_in(data)


@pytest.mark.parametrize("user_id", ["zoë", 'a"b\\c', "o'hara", "x.y|z", " spaced ", "x" * 200])
def test_odd_ids_are_found_however_they_are_written(tmp_path, user_id):
    lake = Lake.at(str(tmp_path / "lake"))
    values = [
        event_bytes(0, user_id=user_id),
        json.dumps({"user_id": user_id}, ensure_ascii=False).encode(),
        json.dumps({"id": user_id}).encode()[:-1],
        avro_bytes(3, user_id=user_id),
        avro_bytes(4, schema_id=9, user_id=user_id),
        event_bytes(5),
    ]
    flush(lake, batch(values))
    found = forget(lake, Person([user_id]))
    assert (5, 2, 3) == tuple(found.rows[name] for name in ("bronze", "silver", "quarantine"))
    assert {5} == offsets(lake, "bronze") == offsets(lake, "silver")
    assert {} == faults(lake)


def test_a_commit_is_cleared_of_statistics_and_predicates_that_name_a_person_and_of_nothing_else():
    stats = json.dumps({"numRecords": 1, "maxValues": {"user_id": WHO}})
    lines: list[dict[str, Any]] = [
        {
            "commitInfo": {
                "timestamp": 1,
                "operation": "DELETE",
                "operationParameters": {"predicate": f"user_id = '{WHO}'"},
            }
        },
        {"add": {"path": "gone%201.parquet", "size": 1, "stats": stats}},
        {"add": {"path": "gone2.parquet", "size": 1, "stats": "{}"}},
        {"remove": {"path": "gone3.parquet", "stats": stats}},
        {"add": {"path": "live.parquet", "size": 1, "stats": "{}"}},
        {"txn": {"appId": "x", "version": 3}},
    ]
    commit = "\n".join(map(json.dumps, lines)).encode() + b"\n"
    told = [json.loads(line) for line in cleared(commit, {"live.parquet"}, PERSON, everywhere=False).splitlines()]
    expected = [
        {"commitInfo": {"timestamp": 1, "operation": "DELETE"}},
        {"add": {"path": "gone%201.parquet", "size": 1}},
        lines[2],
        {"remove": {"path": "gone3.parquet"}},
        *lines[4:],
    ]
    assert expected == told
    all_cleared = cleared(commit, {"live.parquet"}, PERSON, everywhere=True).splitlines()
    assert [{"add": {"path": "gone2.parquet", "size": 1}}, *lines[3:][1:]] == [
        json.loads(line) for line in [all_cleared[2], *all_cleared[4:]]
    ]


def told(capsys, *arguments: str) -> tuple[int, str, str]:
    code = main(["forget", *arguments])
    out, err = capsys.readouterr()
    return code, out, err


def test_the_verb_says_what_would_go_and_what_is_gone(gilded, capsys):
    lake = gilded
    version = lake.table("bronze").version()
    code, out, err = told(capsys, "--user-id", WHO, "--lake", lake.uri, "--dry-run")
    assert (0, "") == (code, err)
    lines = [line.split() for line in out.splitlines()]
    assert [["bronze", "14", "rows", "would", "go"], ["silver", "6", "rows", "would", "go"]] == lines[:2]
    assert "gold.session_facts" in out
    assert "1 records of others hold the id, too, and stay: --mentions takes them" in out
    assert version == lake.table("bronze").version()
    code, out, err = told(capsys, "--user-id", WHO, "--lake", lake.uri, "--purge", "--json")
    assert (0, 14, 0) == (code, json.loads(out)["rows"]["bronze"], json.loads(out)["purged"]["young"])
    assert "--purge ends" in err
    assert WHO not in out + err


def test_who_has_a_longer_id_stays(tmp_path):
    lake = Lake.at(str(tmp_path / "lake"))
    flush(lake, batch([event_bytes(0, user_id=f"{WHO}0"), event_bytes(1, user_id=f"{WHO}0")[:-1], theirs(2)]))
    assert 0 == forget(lake, PERSON).mentions
    assert {0, 1} == offsets(lake, "bronze") == offsets(lake, "silver") | offsets(lake, "quarantine")


def test_an_id_from_standard_input_is_taken(lake, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{WHO}\n"))
    assert 0 == told(capsys, "--user-id", "-", "--lake", lake.uri)[0]
    assert {12, 13, 15, 17} == offsets(lake, "silver")
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    code, out, err = told(capsys, "--user-id", "-", "--lake", lake.uri)
    assert (2, "", 1) == (code, out, err.count("\n"))


@pytest.mark.parametrize(
    ("arguments", "why"),
    [([], "--user-id is needed"), (["--user-id", " "], "--user-id: is empty")],
)
def test_wrong_use_is_one_line(lake, capsys, arguments, why):
    code, out, err = told(capsys, "--lake", lake.uri, *arguments)
    assert (2, "", 1) == (code, out, err.count("\n"))
    assert why in err


def test_a_lake_that_is_not_there_is_said(tmp_path, capsys):
    code, _, err = told(capsys, "--user-id", WHO, "--lake", str(tmp_path / "nowhere"))
    assert (2, 1) == (code, err.count("\n"))
