"""Tables that no worker wrote, on an S3 API."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from s3fs import S3FileSystem

from audit.verify import verify
from compaction.expire import expire, preview_expire
from compaction.forget import forget
from compaction.gold import refresh
from compaction.purge import purge
from compaction.retention import Retention, clean_up
from sink import s3_files
from sink.lake import Lake, data_files
from sink.scan import connect, create_view
from tests import s3 as s3_servers
from tests.bytes_below import files_with
from tests.plain_folders import NULL, put, table
from tests.records import event_bytes
from tests.s3 import S3
from tests.unit.test_expire import BETWEEN, NEW, OLD, fill
from tests.unit.test_forget import DAY_S, NAME, PERSON, SENT, batch, flush, theirs
from tests.workers import playlake


def _uploaded(s3: S3, folder: Path, prefix: str) -> str:
    s3_servers.filesystem(s3).put(f"{folder}/", f"{s3.bucket}/{prefix}/", recursive=True)
    return f"s3://{s3.bucket}/{prefix}"


def test_a_folder_on_s3_is_adopted_where_it_is(s3: S3, tmp_path: Path) -> None:
    put(tmp_path, "event_date=2026-11-20/part-0.parquet", table(3))
    put(tmp_path, f"{NULL}/part-0.parquet", table(2))
    put(tmp_path, "_SUCCESS", b"")
    place = _uploaded(s3, tmp_path, "plain/events")

    looked = playlake("adopt", place, "--dry-run", "--json", env=s3.env)
    assert (0, "") == (looked.returncode, looked.stderr)
    assert {"rows": 5, "null_partition": {"files": 1, "rows": 2}, "objections": []}.items() <= json.loads(
        looked.stdout
    ).items()
    adopted = playlake("adopt", place, env=s3.env)
    assert (0, "") == (adopted.returncode, adopted.stderr)
    again = playlake("adopt", place, env=s3.env)
    assert (2, "", True) == (again.returncode, again.stdout, "is a Delta table already" in again.stderr)
    missing = playlake("adopt", f"s3://{s3.bucket}/plain/nowhere", env=s3.env)
    assert (2, "", True) == (missing.returncode, missing.stdout, "there is no folder at" in missing.stderr)


def test_an_adopted_table_on_s3_is_repaired_merged_and_undone(s3: S3, tmp_path: Path) -> None:
    put(tmp_path, "event_date=2026-11-20/part-0.parquet", table(3))
    put(tmp_path, f"{NULL}/part 0.parquet", table(2))
    place = _uploaded(s3, tmp_path, "plain/repaired")
    columns = ("--table", place, "--event-time", "ts", "--date-column", "event_date")
    assert 0 == playlake("adopt", place, env=s3.env).returncode

    done = playlake("compact", *columns, "--json", env=s3.env)
    assert (0, "") == (done.returncode, done.stderr)
    steps = json.loads(done.stdout)
    assert (2, 0) == (steps["repair"]["total"], steps["repair"]["left"])
    assert {"files_before": 2, "files_after": 1}.items() <= steps["compact"]["repaired"].items()
    undone = playlake("repair", *columns, "--undo", steps["repair"]["repair_id"], "--json", env=s3.env)
    assert (0, 2) == (undone.returncode, json.loads(undone.stdout)["rows"])
    held = playlake("repair", *columns, "--dry-run", "--json", env=s3.env)
    assert [("held", 2)] == [(line["why_not"], line["rows"]) for line in json.loads(held.stdout)["rows"]]


def test_a_lake_on_s3_expires_and_its_log_is_cleaned_up(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in s3.env.items():
        monkeypatch.setenv(name, value)
    lake = Lake.at(f"s3://{s3.bucket}/lakes/expiring")
    fill(lake, 0, 10, OLD)
    fill(lake, 10, 10, NEW)
    looked = preview_expire(lake, BETWEEN)
    assert (1, 10) == (looked.files, looked.rows)
    assert 10 == expire(lake, BETWEEN).rows
    verdict = verify(lake)
    assert (True, 10, 10) == (verdict.holds, verdict.sources[0].bronze, verdict.sources[0].expired)
    lake.table("bronze").create_checkpoint()
    assert 0 == clean_up(lake, ["bronze"], Retention(), dry_run=True).log_files
    assert 0 == clean_up(lake, ["bronze"], Retention()).log_files  # nothing of it is a week old
    assert verify(lake).holds


@pytest.mark.parametrize("are_small", [True, False])
def test_s3_is_asked_for_a_size_and_a_small_file_once_a_connection(
    s3: S3, monkeypatch: pytest.MonkeyPatch, are_small: bool
) -> None:
    for name, value in s3.env.items():
        monkeypatch.setenv(name, value)
    if not are_small:
        monkeypatch.setattr(s3_files, "_SMALL", 0)
    lake = Lake.at(f"s3://{s3.bucket}/asked-once-{are_small}/lake")
    fill(lake, 0, 10, OLD)
    asked: Counter[tuple[str, str]] = Counter()
    call = S3FileSystem._call_s3

    async def counted(self: S3FileSystem, method: str, *args: Any, **kwargs: Any) -> Any:
        asked[method, kwargs["Key"]] += 1
        return await call(self, method, *args, **kwargs)

    monkeypatch.setattr(S3FileSystem, "_call_s3", counted)
    handle = lake.table("silver")
    for times in (1, 2):
        with connect(lake) as con:
            create_view(con, "silver", handle)
            for _ in range(3):
                assert 0 < con.execute("select count(*) from silver where event_id is not null").fetchall()[0][0]
        files = [file.removeprefix(f"s3://{s3.bucket}/") for file in data_files(handle)]
        assert dict.fromkeys(files, times) == {file: asked["head_object", file] for file in files}
        assert are_small == (asked["get_object", files[0]] == times)
    assert {"head_object", "get_object"} == {method for method, _ in asked}


def test_a_person_is_forgotten_on_s3_to_the_last_byte(s3: S3, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in s3.env.items():
        monkeypatch.setenv(name, value)
    lake = Lake.at(f"s3://{s3.bucket}/lakes/forgetting")
    flush(lake, batch([event_bytes(0), theirs(1), theirs(2)[:-1], event_bytes(3, event_ts=SENT - DAY_S)]))
    for name in ("silver", "bronze"):
        lake.table(name).create_checkpoint()
    refresh(lake)

    def held(place: Path) -> list[str]:
        s3_servers.filesystem(s3).get(f"{lake.uri}/", f"{place}/", recursive=True)
        return files_with(place, NAME)

    assert len(held(tmp_path / "before")) > 5
    forget(lake, PERSON)
    done = purge(lake, PERSON)
    assert (0, 2, True) == (done.young, done.checkpoints, done.files > 5)
    assert [] == held(tmp_path / "after")
    verdict = verify(lake)
    assert (True, 2, 2) == (verdict.holds, verdict.sources[0].silver, verdict.sources[0].forgotten)
