"""The demo as a new user runs it: a process of its own, no broker, its own folder."""

import json
import subprocess
import sys

from sink.lake import Lake
from tests.lake_contents import positions_of


def demo(*words: str, cwd) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "playlake", "demo", *words]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=180, check=False)


def test_the_demo_proves_the_promise_and_says_where_to_look(tmp_path):
    told = demo("--events", "20000", "--lake", "my lake", cwd=tmp_path)
    assert (0, "") == (told.returncode, told.stderr)
    assert "The promise holds" in told.stdout
    assert "look further:" in told.stdout
    assert 20_000 == len(positions_of(Lake.at(str(tmp_path / "my lake")), "bronze"))


def test_its_summary_adds_up_and_a_second_run_replaces_the_first(tmp_path):
    summaries = []
    for _ in range(2):
        told = demo("--events", "5000", "--dirty", "0.2", "--json", cwd=tmp_path)
        assert (0, "") == (told.returncode, told.stderr)
        summaries.append(json.loads(told.stdout))
    for summary in summaries:
        assert summary["holds"]
        assert 5_000 == summary["sent"] == sum(summary[n] for n in ("silver", "quarantine", "duplicates_dropped"))
        assert summary["null_partition_before"] > 0 == summary["null_partition_after"]
        assert summary["silver_files_before"] >= summary["silver_files_after"] > 0  # the same after one flush


def test_a_store_is_not_taken_for_a_folder(tmp_path):
    told = demo("--lake", "s3://bucket/lake", cwd=tmp_path)
    assert 2 == told.returncode
    assert "not in a store" in told.stderr
    assert [] == list(tmp_path.iterdir())


def test_it_never_replaces_a_folder_that_no_demo_made(tmp_path):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").touch()
    told = demo("--lake", "precious", cwd=tmp_path)
    assert 2 == told.returncode
    assert 1 == len(told.stderr.strip().splitlines())
    assert "no demo made it" in told.stderr
    assert (tmp_path / "precious" / "file").exists()
