"""`playlake ingest` as a process, on folders: formats, later files, changed and torn ones, its errors."""

from __future__ import annotations

import gzip
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from audit.verify import verify
from sink.faults import VARIABLE
from sink.lake import Lake
from tests.ingesting import FilesLedger, Ingests, folder_put, ingests_of, zstd
from tests.ledger import events, rows_in, table_rows
from tests.records import event, event_bytes
from tests.workers import playlake


@pytest.fixture
def place(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    return folder


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    return tmp_path / "lake"


@pytest.fixture
def files(place: Path) -> FilesLedger:
    return FilesLedger(folder_put(place))


@pytest.fixture
def ingests(place: Path, lake: Path, tmp_path: Path) -> Iterator[Ingests]:
    with ingests_of(str(place), lake, tmp_path) as started:
        yield started


def refused(lake: Path) -> dict[str, tuple[bytes, list[str]]]:
    rows = table_rows(lake, "quarantine", ["key", "value", "reasons"]).to_pylist()
    return {row["key"].decode(): (row["value"], row["reasons"]) for row in rows}


def test_every_format_each_file_once(ingests: Ingests, files: FilesLedger, lake: Path) -> None:
    files.put("a/plain.json", events(200))
    files.put("a/packed.json.gz", events(200, first=200), gzip.compress, end=b"\r\n")
    files.put("b/packed", events(200, first=400), zstd)
    files.put_side_by_side("firehose-1-2026-11-21", events(200, first=600, bad_every=1000))
    first = ingests.once().report
    assert (4, 800, 0, 0) == (first["files"], first["bronze"], first["changed"], first["unreadable"])
    files.agrees_with(lake)
    assert 0 == ingests.once().report["bronze"]
    files.put("a/later.json", events(200, first=800))
    assert (1, 200) == (lambda report: (report["files"], report["bronze"]))(ingests.once().report)
    files.agrees_with(lake)
    assert () == verify(Lake.at(str(lake))).faults


def test_a_bad_line_is_in_quarantine_under_its_file_and_line(ingests: Ingests, files: FilesLedger, lake: Path) -> None:
    files.put("a.json", [event_bytes(1), b"{broken", event_bytes(2)])
    files.put_side_by_side("b", [event_bytes(3), b'{"event_id": 7}', event_bytes(4)])
    ingests.once()
    found = refused(lake)
    assert {"a.json:2", "b:1#2"} == set(found)
    assert (b"{broken", ["malformed_json"]) == found["a.json:2"]


def test_csv_rows_become_events_typed_by_the_event_s_schema(ingests: Ingests, place: Path, lake: Path) -> None:
    names = list(event())
    rows = [[str(event(number)[name]) for name in names] for number in range(3)]
    rows[1][names.index("app_version")] = "a\nb"
    lines = [",".join(f'"{cell}"' if "\n" in cell else cell for cell in row) for row in [names, *rows]]
    folder_put(place)("events.csv.gz", gzip.compress("\r\n".join([*lines, "one,cell,more", ""]).encode()))
    ingests.once()
    silver = table_rows(lake, "silver", ["event_id", "event_ts", "app_version", "playhead_s"]).to_pylist()
    assert ["e0", "e1", "e2"] == sorted(row["event_id"] for row in silver)
    assert {event()["event_ts"]} == {row["event_ts"] for row in silver}
    assert {"5.1.2", "a\nb"} == {row["app_version"] for row in silver}
    assert {"events.csv.gz:6": (b"one,cell,more", ["malformed_json"])} == refused(lake)
    bronze = table_rows(lake, "bronze", ["key", "headers"]).to_pylist()
    as_they_came = {row["key"]: dict(row["headers"])["csv.line"] for row in bronze}
    assert [line.encode() for line in [*lines[1:], "one,cell,more"]] == [
        as_they_came[key] for key in sorted(as_they_came, key=lambda key: int(key.rpartition(b":")[2]))
    ]


def test_a_torn_archive_gives_what_can_be_read_and_one_refused_record_for_the_rest(
    ingests: Ingests, files: FilesLedger, place: Path, lake: Path
) -> None:
    whole = gzip.compress(b"\n".join(events(3000, bad_every=10_000)))
    folder_put(place)("a.json.gz", whole[: len(whole) // 2])
    folder_put(place)("b.parquet", b"PAR1 and more")
    files.put("c.json", events(10, first=5000))
    run = ingests.once()
    assert (3, 2) == (run.report["files"], run.report["unreadable"])
    assert run.lines("a.json.gz, line .*ended before the end-of-stream marker")
    assert run.lines("b.parquet, line 1: a file of Parquet")
    found = refused(lake)
    assert (b"", ["empty_value"]) == found["b.parquet:1"]
    assert [(b"", ["empty_value"])] == [row for key, row in found.items() if key.startswith("a.json.gz") and not row[0]]
    assert rows_in(lake) > 1000
    assert 0 == ingests.once().report["files"]
    assert () == verify(Lake.at(str(lake))).faults


def test_a_changed_file_is_told_and_counted_and_never_taken_again(
    ingests: Ingests, files: FilesLedger, place: Path, lake: Path
) -> None:
    files.put("a.json", events(100))
    ingests.once()
    folder_put(place)("a.json", b"\n".join(events(150)))
    run = ingests.once()
    assert (0, 1) == (run.report["files"], run.report["changed"])
    assert run.lines("a.json has changed since it was taken in: the lake keeps what it held then")
    files.agrees_with(lake)


def test_a_young_file_and_one_that_is_being_written_wait(ingests: Ingests, place: Path, lake: Path) -> None:
    (place / "young.json").write_bytes(event_bytes(1))
    folder_put(place)("other.json.tmp", event_bytes(2))
    folder_put(place)("_hidden/other.json", event_bytes(3))
    assert 0 == ingests.once("--settle", "1h").report["files"]
    now = time.time()
    os.utime(place / "young.json", (now - 7200, now - 7200))
    assert 1 == ingests.once("--settle", "1h").report["files"]
    assert 1 == rows_in(lake)


def test_every_takes_what_comes_and_ends_cleanly_on_ctrl_c(ingests: Ingests, files: FilesLedger, lake: Path) -> None:
    running = ingests.start("--every", "200ms", "--settle", "1ms")
    running.wait_for("files taken in: 0")
    files.put("a.json", events(100))
    running.wait_for("files taken in: 1")
    files.put("b.json.gz", events(100, first=100), gzip.compress)
    running.wait_for("files taken in: 1", count=2)
    files.agrees_with(lake)
    assert 0 == running.stop(signal.SIGINT)
    assert "Traceback" not in running.log
    assert (2, 200) == (running.report["files"], running.report["bronze"])


def test_a_file_that_went_while_it_was_taken_stops_until_a_person_accepts_it(
    ingests: Ingests, files: FilesLedger, place: Path, lake: Path
) -> None:
    files.put("a.json", events(30_000))
    doomed = ingests.start("--flush-bytes", "1MB", env={VARIABLE: "after silver"})
    assert -9 == doomed.exit_code()
    held = rows_in(lake, "bronze")
    (place / "a.json").unlink()
    files.put("b.json", events(10, first=40_000))
    refused_run = ingests.start()
    assert 2 == refused_run.exit_code()
    said = refused_run.log.splitlines()[-1]
    assert f"a.json is no longer there, and the lake has {held:,} of its records" in said
    assert "--accept-gone" in said
    assert held == rows_in(lake, "bronze")
    ingests.once("--accept-gone")
    assert held + 10 == rows_in(lake, "bronze")
    assert () == verify(Lake.at(str(lake))).faults
    assert 0 == ingests.once().report["files"]


def test_dry_run_says_what_would_be_taken_and_changes_nothing(ingests: Ingests, files: FilesLedger, lake: Path) -> None:
    files.put("a.json", events(5))
    told = ingests.once("--dry-run").report
    assert (1, 0) == (told["new"], told["changed"])
    assert not lake.exists()
    ingests.once()
    assert 0 == ingests.once("--dry-run").report["new"]


def test_two_places_of_one_name_into_one_lake(place: Path, lake: Path, tmp_path: Path) -> None:
    for number, folder in enumerate((tmp_path / "x" / "in", tmp_path / "y" / "in")):
        folder_put(folder)("a.json", b"\n".join(events(10, first=10 * number)))
        done = playlake("ingest", str(folder), "--lake", str(lake), "--json")
        assert (0, 10) == (done.returncode, json.loads(done.stdout)["bronze"]), done.stderr
    verdict = verify(Lake.at(str(lake)))
    assert (2, ()) == (len(verdict.sources), verdict.faults)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("no-such-folder",), "there is no folder "),
        (("s3://",), "names no bucket"),
        (("gs://bucket/x",), "neither a folder nor s3://bucket/prefix"),
        (("s3://bucket/x",), "no AWS credentials to list s3://bucket/x: set AWS_ACCESS_KEY_ID"),
        ((".", "--notifications", "sqs://eu-central-1/queue"), "is a folder: leave it out"),
        (("s3://bucket/x", "--notifications", "https://queue"), "write sqs://REGION/QUEUE"),
        ((".", "--every", "soon"), "is no duration"),
    ],
    ids=["no folder", "no bucket", "another scheme", "no credentials", "a folder's queue", "no queue", "no duration"],
)
def test_what_is_wrong_is_one_line(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    away = {
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": "/nowhere",
        "AWS_SHARED_CREDENTIALS_FILE": "/nowhere",
    }
    done = playlake("ingest", *words, "--lake", "lake", cwd=tmp_path, env=away)
    assert 2 == done.returncode
    [line] = done.stderr.splitlines()
    assert said in line
    assert not (tmp_path / "lake").exists()


def test_verify_reads_the_files_again(ingests: Ingests, files: FilesLedger, place: Path, lake: Path) -> None:
    files.put("a.json", events(100))
    files.put("b.json", [])
    files.put_side_by_side("c", events(100, first=100, bad_every=1000))
    files.put("d.json.gz", events(100, first=200), gzip.compress)
    ingests.once()
    words = ("verify", "--lake", str(lake), "--files", str(place), "--json")
    done = playlake(*words)
    assert (0, {"compared": 3, "gone": 0, "first_gone": []}) == (done.returncode, json.loads(done.stdout)["files"])
    (place / "a.json").unlink()
    folder_put(place)("d.json.gz", b"other")
    done = playlake(*words)
    told = json.loads(done.stdout)
    assert (0, {"compared": 1, "gone": 2, "first_gone": ["a.json", "d.json.gz"]}) == (done.returncode, told["files"])
    said = playlake(*words[:-1]).stdout
    assert "2 are no longer there as they were taken in, which is no loss" in " ".join(said.split())
    elsewhere = playlake("verify", "--lake", str(lake), "--files", str(place.parent))
    assert 2 == elsewhere.returncode
    assert "took in nothing from" in elsewhere.stderr
