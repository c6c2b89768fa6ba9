"""The job and its verbs: order, what is said, dry runs that change nothing, and running again and again."""

import json
import re
import time
from itertools import islice

import pytest

from compaction import gold_files, job
from compaction.dedupe import dedupe
from playlake.cli import main
from playlake.verbs import compact as verb
from schemas.errors import StoreUnavailable
from sink.lake import Lake
from tests import lakes


@pytest.fixture
def lake(tmp_path):
    """Something to do for every step: two rows without a date, a repeat, small files."""
    lake = lakes.make(tmp_path)
    lakes.append(lake, "silver", [lakes.silver(event_id="a"), lakes.silver(event_id="a"), lakes.silver(event_id="b")])
    lakes.append(lake, "silver", [lakes.undated(client_ts="2026-11-21T10:00:00Z"), lakes.undated()])
    lakes.append(lake, "silver", [lakes.silver(event_id="c")])
    for _ in range(2):
        lakes.append(lake, "bronze", [lakes.record()])
    lakes.append(lake, "quarantine", [lakes.refused()])
    return lake


def told(capsys, *arguments: str) -> tuple[int, list[str], str]:
    code = main(list(arguments))
    out, err = capsys.readouterr()
    return code, out.splitlines(), err


def everything(lake: Lake) -> dict[str, int]:
    tables = ["bronze", "silver", "quarantine"]
    if lake.exists("gold/title_daily"):
        tables.append("gold/title_daily")
    return {name: lake.table(name).version() for name in tables}


MOMENTS = ("before", "after")


def test_the_job_does_its_steps_in_order_and_says_each_in_a_line(lake, capsys):
    code, lines, _ = told(capsys, "compact", "--lake", lake.uri)
    assert 0 == code
    assert [
        "repair: 2 rows got a date (1 from the broker, 1 from the payload) as repair ID; 0 rows in the null partition",
        "dedupe: 1 repeated event dropped; 1 date looked at",
        "compact: 6 files became 3, in 2 lake partitions",
        "gold: 27 tables of 27 brought up to date; 1 date computed",
        "vacuum: 0 files deleted that no version of the last 7 days names",
    ] == [f"{line.split()[0]}: {_without_id(line.split(' s  ', 1)[1])}" for line in lines]


def _without_id(line: str) -> str:
    return re.sub(r"repair \d{8}T\d{6}Z-\w{8}", "repair ID", line)


def test_every_commit_of_the_job_is_between_two_steps_that_faults_can_name(lake):
    seen: list[str] = []
    list(job.run(lake, step=seen.append))
    one_by_one = [f"{moment} {name}" for name in ("repair", "dedupe", "compact", "compact") for moment in MOMENTS]
    assert one_by_one == seen[:8]
    tables = [file for file in gold_files.load().values() if not file.is_source]
    at_once = [sum(file.is_dated for file in tables), sum(not file.is_dated for file in tables)]
    gold = iter(seen[8:])
    for number in at_once:  # several tables at a time
        for name in ("create gold", "gold"):
            steps = [f"{moment} {name}" for moment in MOMENTS]
            assert sorted(steps * number) == sorted(islice(gold, 2 * number))
    assert [] == list(gold)


def test_gold_can_be_left_to_another_job(lake, capsys):
    for flags in (["--dry-run"], []):
        code, out, err = told(capsys, "compact", "--lake", lake.uri, "--no-gold", *flags)
        assert (0, "") == (code, err)
        assert ["repair", "dedupe", "compact", "vacuum"] == [line.split()[0] for line in out]
    assert not lake.exists("gold/title_daily")


def test_a_second_run_has_nothing_to_do(lake, capsys):
    main(["compact", "--lake", lake.uri])
    before = everything(lake)
    capsys.readouterr()
    code, lines, _ = told(capsys, "compact", "--lake", lake.uri, "--json")
    assert 0 == code
    assert {"repair": False, "dedupe": False, "compact": False, "gold": False, "vacuum": False} == {
        name: step["changed"] for name, step in json.loads(lines[0]).items()
    }
    assert before == everything(lake)


def test_a_dry_run_says_what_would_be_done_and_changes_nothing(lake, capsys):
    before = everything(lake)
    code, lines, _ = told(capsys, "compact", "--lake", lake.uri, "--dry-run")
    assert 0 == code
    assert [
        "2 rows would get a date (1 from the broker, 1 from the payload); 0 would stay without",
        "1 repeated event would be dropped",
        "4 small files of 2 lake partitions would be merged",
        "19 tables would be brought up to date",
        "0 files would be deleted that no version of the last 7 days names",
    ] == [line.split(" s  ", 1)[1] for line in lines]
    assert before == everything(lake)


def test_repair_alone_and_its_dry_run(lake, capsys):
    before = everything(lake)
    _, lines, _ = told(capsys, "repair", "--lake", lake.uri, "--dry-run")
    assert [
        "now event_date source found in rows",
        "null 2026-11-21 broker broker's time 1",
        "null 2026-11-21 payload client_ts as ISO text 1",
    ] == [" ".join(line.split()) for line in lines[:3]]
    assert "offset" in lines[4]
    assert "2 rows would get a date; 0 would stay where they are" == lines[-1]
    assert before == everything(lake)
    _, lines, _ = told(capsys, "repair", "--lake", lake.uri, "--dry-run", "--json")
    assert 2 == len(json.loads(lines[0])["rows"])
    assert 0 == told(capsys, "repair", "--lake", lake.uri)[0]
    _, lines, _ = told(capsys, "repair", "--lake", lake.uri, "--json")
    assert 0 == json.loads(lines[0])["repair"]["total"]


def test_a_dry_run_of_a_clean_lake_says_so(tmp_path, capsys):
    lake = lakes.make(tmp_path)
    _, lines, _ = told(capsys, "repair", "--lake", lake.uri, "--dry-run")
    assert ["0 rows would get a date; 0 would stay where they are"] == lines


def test_gold_alone_says_each_table(lake, capsys):
    code, lines, _ = told(capsys, "gold", "--lake", lake.uri)
    assert (0, 1 + len(gold_files.table_names())) == (code, len(lines))
    assert lines[0].split() == ["audience_hours", "full", "1", "dates", "1", "rows"]
    _, lines, _ = told(capsys, "gold", "--lake", lake.uri, "--json")
    assert "unchanged" == json.loads(lines[0])["gold"]["title_daily"]["how"]
    _, lines, _ = told(capsys, "gold", "--lake", lake.uri, "--full", "--json")
    assert "full" == json.loads(lines[0])["gold"]["title_daily"]["how"]


@pytest.mark.parametrize("arguments", [["compact"], ["compact", "--every", "5m"], ["repair"], ["gold"]])
def test_a_lake_that_is_not_there_is_one_line_and_exit_code_2(tmp_path, capsys, arguments):
    code, lines, err = told(capsys, *arguments, "--lake", str(tmp_path / "nowhere"))
    assert (2, [], 1) == (code, lines, err.count("\n"))
    assert f"there is no lake at {tmp_path}/nowhere" in err


def test_every_so_often_it_skips_when_nothing_changed_until_interrupted(lake, capsys, monkeypatch):
    naps = []

    def nap(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 4:
            lakes.append(lake, "silver", [lakes.silver()])
        if len(naps) == 6:
            raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", nap)
    code, lines, err = told(capsys, "compact", "--lake", lake.uri, "--every", "5m")
    assert (130, "playlake compact: stopped\n", [300.0] * 6) == (code, err, naps)
    rounds = ["skip" if "nothing changed" in line else "run" for line in lines if line.startswith("--")]
    # its own commits are looked at once, then it rests until a row comes in
    assert ["run", "run", "skip", "skip", "run", "run"] == rounds
    assert 1 == sum(line.startswith("vacuum") for line in lines)


def test_a_store_that_is_away_is_said_and_tried_again(lake, capsys, monkeypatch):
    runs = []

    def run(*arguments, **options):
        runs.append(1)
        if len(runs) == 1:
            raise StoreUnavailable("the store does not serve s3://x")
        return iter(())

    def nap(seconds: float) -> None:
        if len(runs) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(job, "run", run)
    monkeypatch.setattr(verb.time, "sleep", nap)
    code, _, err = told(capsys, "compact", "--lake", lake.uri, "--every", "30s")
    assert (130, 2) == (code, len(runs))
    assert "playlake compact: the store does not serve s3://x; next try in 30 s\n" in err


def test_a_repeat_in_the_null_partition_is_dropped_by_the_job(tmp_path):
    lake = lakes.make(tmp_path)
    lakes.append(lake, "silver", [lakes.undated(event_id="x"), lakes.undated(event_id="x"), lakes.silver(event_id="x")])
    list(job.run(lake))
    assert [(1,)] == lakes.rows(lake, "select count(*) from silver")
    assert 0 == dedupe(lake).rows
