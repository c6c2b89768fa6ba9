"""Compaction proper: which lake partitions are worth it, and that rows and logs survive."""

import pytest

from compaction.compact import TARGET_FILE_BYTES, Candidate, candidates, compact, plan
from compaction.dedupe import dedupe
from compaction.delta_log import DataFile, live_files
from compaction.repair import repair
from schemas.errors import CommitConflict, LakeNotFound
from sink.lake import Lake
from tests import lakes


def file(partition: str | None, size: int) -> DataFile:
    return DataFile(f"{partition}-{size}", partition, 1, size)


def test_a_lake_partition_is_worth_it_from_two_small_files_on():
    files = [file("2026-11-20", 10), file("2026-11-21", 10), file("2026-11-21", 11), file(None, 1), file(None, 2)]
    files += [file("2026-11-22", 60), file("2026-11-22", 70), file("2026-11-22", 5)]
    assert [
        Candidate("silver", None, ((file(None, 1), file(None, 2)),)),
        Candidate("silver", "2026-11-21", ((file("2026-11-21", 10), file("2026-11-21", 11)),)),
    ] == candidates("silver", files, 100)


def test_bins_are_filled_up_to_the_target_in_the_order_of_writing():
    files = [DataFile(str(number), "2026-11-21", 1, 40, 10 - number) for number in range(6)]
    (found,) = candidates("silver", files, 100)
    assert [["5", "4"], ["3", "2"], ["1", "0"]] == [[each.path for each in group] for group in found.bins]
    assert (6, 240) == (found.files, found.bytes)
    (found,) = candidates("silver", files[:3], 100)
    assert [["2", "1"]] == [[each.path for each in group] for group in found.bins]


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


@pytest.mark.parametrize("target_file_bytes", [TARGET_FILE_BYTES, 30_000])
def test_what_another_compaction_took_between_check_and_commit_is_left(tmp_path, target_file_bytes):
    lake = lakes.make(tmp_path)
    for _ in range(6):
        lakes.append(lake, "silver", [lakes.silver(), lakes.undated()])
    others = []

    def another(name: str) -> None:
        if not others:
            others.append(compact(lake, "silver", target_file_bytes))

    done = compact(lake, "silver", target_file_bytes, step=another)
    assert ((2, 0), (0, 2)) == ((others[0].partitions, others[0].left), (done.partitions, done.left))
    assert [(12, 12)] == lakes.rows(lake, "select count(*), count(distinct kafka_offset) from silver")


@pytest.mark.parametrize("job", [repair, dedupe], ids=["repair", "dedupe"])
def test_rows_that_a_rewrite_changed_between_check_and_commit_stay_as_it_left_them(tmp_path, job):
    lake = lakes.make(tmp_path)
    for _ in range(3):
        lakes.append(lake, "silver", [lakes.silver(event_id="one"), lakes.undated(client_ts="2026-11-21T20:00:00Z")])
    rewrites = []

    def rewrite(name: str) -> None:
        if name == "before compact" and not rewrites:
            rewrites.append(job(lake))

    done = compact(lake, "silver", step=rewrite)
    assert (1, 1) == (done.partitions, done.left)
    assert rewrites[0].version is not None
    assert 0 == compact(lake, "silver").left
    query = "select count(*), count(distinct kafka_offset), count(*) filter (event_date is null) from silver"
    assert [{repair: (6, 6, 0), dedupe: (4, 4, 3)}[job]] == lakes.rows(lake, query)


def test_appends_between_check_and_commit_do_not_stop_it(tmp_path):
    lake = lakes.make(tmp_path)
    for _ in range(3):
        lakes.append(lake, "silver", [lakes.silver()])
    tries = []

    def append(name: str) -> None:
        if name == "before compact":
            tries.append(name)
            if len(tries) < 4:
                lakes.append(lake, "silver", [lakes.silver()])

    assert (1, 0) == ((done := compact(lake, "silver", step=append)).partitions, done.left)
    assert 4 == len(tries)
    assert [(6, 6)] == lakes.rows(lake, "select count(*), count(distinct kafka_offset) from silver")


def test_it_gives_up_with_nothing_changed_when_others_always_come_first(tmp_path):
    lake = lakes.make(tmp_path)
    for _ in range(2):
        lakes.append(lake, "silver", [lakes.silver()])
    with pytest.raises(CommitConflict, match="nothing was changed: run it again"):
        compact(lake, "silver", step=lambda name: lakes.append(lake, "silver", [lakes.silver()]))
    handle = lake.table("silver")
    assert handle.version() == len(live_files(handle, lake.path("silver"))), "an append each, and no more"


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


def test_a_lake_that_is_not_there_is_said(tmp_path):
    with pytest.raises(LakeNotFound):
        plan(Lake.at(str(tmp_path / "nowhere")))


def test_an_empty_lake_has_nothing_to_compact(tmp_path):
    lake = lakes.make(tmp_path)
    assert [] == plan(lake)
    assert 0 == compact(lake, "silver").files_after
