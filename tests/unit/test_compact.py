"""Compaction proper: which lake partitions are worth it, and that rows and logs survive."""

import datetime as dt

import pytest

from compaction.compact import Candidate, candidates, compact, plan, vacuum
from compaction.delta_log import DataFile, live_files
from schemas.errors import LakeNotFound
from sink.lake import Lake
from tests import lakes


def file(partition: str | None, size: int) -> DataFile:
    return DataFile(f"{partition}-{size}", partition, 1, size)


def test_a_lake_partition_is_worth_it_from_two_small_files_on():
    files = [file("2026-11-20", 10), file("2026-11-21", 10), file("2026-11-21", 11), file(None, 1), file(None, 2)]
    files += [file("2026-11-22", 60), file("2026-11-22", 70), file("2026-11-22", 5)]
    assert [
        Candidate("silver", None, 2, 3),
        Candidate("silver", "2026-11-21", 2, 21),
    ] == candidates("silver", files, 100)


def test_small_files_become_one_and_rows_stay(tmp_path):
    lake = lakes.make(tmp_path)
    for number in range(4):
        lakes.append(lake, "silver", [lakes.silver(), lakes.undated(), lakes.silver(at="2026-11-20T12:00:00")])
        lakes.append(lake, "bronze", [lakes.record()])
        if number < 1:
            lakes.append(lake, "quarantine", [lakes.refused()])
    query = "select * from silver order by kafka_offset"
    before = lakes.rows(lake, query)
    assert [
        ("bronze", "2026-11-21", 4),
        ("silver", None, 4),
        ("silver", "2026-11-20", 4),
        ("silver", "2026-11-21", 4),
    ] == [(c.table, c.partition, c.files) for c in plan(lake)]
    done = compact(lake, "silver")
    assert (3, 12, 3, 0) == (done.partitions, done.files_before, done.files_after, done.left)
    assert before == lakes.rows(lake, query)
    assert 1 == compact(lake, "bronze").files_after
    assert 0 == compact(lake, "quarantine").partitions
    assert [] == plan(lake)


def test_a_second_compaction_commits_nothing(tmp_path):
    lake = lakes.make(tmp_path)
    for _ in range(3):
        lakes.append(lake, "silver", [lakes.silver()])
    compact(lake, "silver")
    version = lake.table("silver").version()
    assert 0 == compact(lake, "silver").partitions
    assert version == lake.table("silver").version()


def test_positions_kept_as_txn_survive_a_compaction_and_its_checkpoint(tmp_path):
    lake = lakes.make(tmp_path)
    for offset in range(12):
        lakes.append(lake, "silver", [lakes.silver()], txn=("playback/x/0", offset))
    compact(lake, "silver")
    assert lake.filesystem().exists(f"{lake.path('silver')}/_delta_log/_last_checkpoint")
    assert 11 == lake.table("silver").transaction_version("playback/x/0")


def test_a_compacted_file_names_no_user_in_the_log(tmp_path):
    lake = lakes.make(tmp_path)
    for _ in range(2):
        lakes.append(lake, "silver", [lakes.silver(user_id="u-secret")])
    compact(lake, "silver")
    log = f"{lake.path('silver')}/_delta_log/{lake.table('silver').version():020}.json"
    assert "u-secret" not in lake.filesystem().cat_file(log).decode()


def test_vacuum_keeps_what_readers_of_the_last_week_need(tmp_path):
    lake = lakes.make(tmp_path)
    for _ in range(2):
        lakes.append(lake, "silver", [lakes.silver()])
    version = lake.table("silver").version()
    compact(lake, "silver")
    assert 0 == vacuum(lake, ["silver", "gold/not_there"])
    assert all(lake.filesystem().exists(f.path) for f in live_files(lake.table("silver", version), lake.path("silver")))
    assert 0 == vacuum(lake, ["silver"], dt.timedelta(days=8), dry_run=True)


def test_a_lake_that_is_not_there_is_said(tmp_path):
    with pytest.raises(LakeNotFound):
        plan(Lake.at(str(tmp_path / "nowhere")))


def test_an_empty_lake_has_nothing_to_compact(tmp_path):
    lake = lakes.make(tmp_path)
    assert [] == plan(lake)
    assert 0 == compact(lake, "silver").files_after
