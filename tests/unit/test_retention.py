"""Replaced files and the log's commits go after the retention, never what a kept version needs."""

import datetime as dt
import json
import os
import time
from pathlib import Path

import pytest
from deltalake import DeltaTable

from compaction.compact import compact
from compaction.delta_log import live_files
from compaction.retention import Retention, clean_up
from playlake.cli import main
from schemas.errors import ConfigError
from sink.lake import Lake
from tests import lakes

DAY_S = 86400


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Silver with six appends (versions 1 to 6), merged (7), then two appends more."""
    lake = lakes.make(tmp_path)
    for number in range(6):
        lakes.append(lake, "silver", [lakes.silver()], txn=("app", number))
    compact(lake, "silver")
    for number in (6, 7):
        lakes.append(lake, "silver", [lakes.silver()], txn=("app", number))
    return lake


def log_of(lake: Lake) -> Path:
    return Path(lake.path("silver"), "_delta_log")


def age(lake: Lake, days: float, upto: int) -> None:
    """Make commits and checkpoints up to a version so many days older."""
    for file in log_of(lake).glob("0*"):
        if int(file.name[:20]) <= upto:
            os.utime(file, (time.time() - days * DAY_S,) * 2)


def backdate_removals(log: Path) -> None:
    """Make the log say that what was replaced was replaced a day earlier."""
    for path in log.glob("*.json"):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        for line in lines:
            if "remove" in line:
                line["remove"]["deletionTimestamp"] -= DAY_S * 1000
        path.write_text("\n".join(map(json.dumps, lines)))


def files_below(folder: str) -> list[Path]:
    return sorted(path for path in Path(folder).rglob("*") if path.is_file())


def test_what_readers_of_the_last_week_need_stays(lake):
    before = files_below(lake.uri)
    done = clean_up(lake, ["silver", "gold/not_there"], Retention())
    assert (0, 0) == (done.files, done.log_files)
    assert before == files_below(lake.uri)
    assert all(Path(file.path).exists() for file in live_files(lake.table("silver", 6), lake.path("silver")))


def test_commits_before_the_last_old_checkpoint_go_and_positions_stay(lake):
    DeltaTable(lake.path("silver"), version=6).create_checkpoint()
    age(lake, 8, 7)
    kept = lakes.rows(lake, "select * from silver order by kafka_offset")
    would = clean_up(lake, ["silver"], Retention(), dry_run=True)
    before = len(list(log_of(lake).glob("0*")))
    done = clean_up(lake, ["silver"], Retention())
    assert (6, would) == (done.log_files, done)
    assert before - 6 == len(list(log_of(lake).glob("0*")))
    assert kept == lakes.rows(lake, "select * from silver order by kafka_offset")
    assert 7 == lake.table("silver").transaction_version("app")
    assert 6 == lake.table("silver", 6).count()
    assert 0 == clean_up(lake, ["silver"], Retention()).log_files


def test_without_an_old_checkpoint_no_commit_goes(lake):
    age(lake, 8, 99)
    assert 0 == clean_up(lake, ["silver"], Retention(), dry_run=True).log_files
    assert 0 == clean_up(lake, ["silver"], Retention()).log_files


def test_a_table_that_says_more_keeps_more_until_told(lake):
    def said() -> str | None:
        return lake.table("silver").metadata().configuration.get("delta.logRetentionDuration")

    assert "interval 7 days" == said()
    clean_up(lake, ["silver"], Retention(dt.timedelta(days=30)))
    assert "interval 30 days" == said()
    version = lake.table("silver").version()
    clean_up(lake, ["silver"], Retention())
    clean_up(lake, ["silver"], Retention(dt.timedelta(hours=30), is_forced=True), dry_run=True)
    assert ("interval 30 days", version) == (said(), lake.table("silver").version())
    clean_up(lake, ["silver"], Retention(dt.timedelta(hours=30), is_forced=True))
    assert "interval 30 hours" == said()


def test_a_table_that_says_nothing_is_told_a_week(lake):
    first = log_of(lake) / f"{0:020}.json"
    first.write_text(first.read_text().replace("delta.logRetentionDuration", "delta.neverHeardOf"))
    clean_up(lake, ["silver"], Retention())
    assert "interval 7 days" == lake.table("silver").metadata().configuration["delta.logRetentionDuration"]


def test_less_than_a_week_needs_force(lake, capsys):
    with pytest.raises(ConfigError, match="--force"):
        Retention(dt.timedelta(days=6))
    assert 2 == main(["compact", "--lake", lake.uri, "--retain", "1h"])
    err = capsys.readouterr().err
    assert (1, True) == (err.count("\n"), "--retain below 7d takes files from readers" in err)
    assert 0 == main(["compact", "--lake", lake.uri, "--retain", "12h", "--force", "--dry-run"])
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.endswith("0 files would be deleted that no version of the last 0.5 days names")
    assert 0 == main(["compact", "--lake", lake.uri, "--retain", "1h", "--force", "--json"])
    assert {"files": 0, "log_files": 0}.items() <= json.loads(capsys.readouterr().out)["vacuum"].items()


def test_files_that_a_merge_replaced_go_by_force(lake):
    forced = Retention(dt.timedelta(hours=1), is_forced=True)
    replaced = [Path(file.path) for file in live_files(lake.table("silver", 6), lake.path("silver"))]
    backdate_removals(log_of(lake))
    for path in replaced:
        os.utime(path, (time.time() - DAY_S,) * 2)
    kept = lakes.rows(lake, "select * from silver order by kafka_offset")
    assert 0 == clean_up(lake, ["silver"], Retention()).files
    assert 6 == clean_up(lake, ["silver"], forced, dry_run=True).files
    assert 6 == clean_up(lake, ["silver"], forced).files
    assert not any(path.exists() for path in replaced)
    assert kept == lakes.rows(lake, "select * from silver order by kafka_offset")
