"""The table of what the fault suite has shown."""

import subprocess
import sys
from pathlib import Path

TOOL = Path(__file__).parents[2] / "tools" / "fault_table.py"


def case(name: str, inside: str = "") -> str:
    return f'<testcase classname="tests.fault.test_kill" name="{name}">{inside}</testcase>'


def written(path: Path, *cases: str) -> Path:
    path.write_text(f"<testsuites><testsuite>{''.join(cases)}</testsuite></testsuites>")
    return path


def table(*files: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, TOOL, *files], capture_output=True, text=True)


def test_seeds_are_told_as_ranges_and_failures_are_counted(tmp_path: Path) -> None:
    whole = [case(f"test_a_kill[seed{seed}-{store}]") for seed in range(3) for store in ("disk", "s3")]
    first = written(tmp_path / "1.xml", *whole, case("test_memory"), case("test_left_out[seed0]", "<skipped/>"))
    second = written(tmp_path / "2.xml", case("test_a_kill[seed7-s3]", "<failure/>"), case("test_a_kill[seed8-s3]"))
    told = table(first, second)
    assert [
        "| a kill | 2 | 0–2, 7–8 | 8 | 1 |",
        "| memory | 1 | no seed | 1 | 0 |",
    ] == told.stdout.splitlines()[2:]
    assert (1, "") == (told.returncode, told.stderr)
    assert 0 == table(first).returncode


def test_a_run_that_failed_once_is_no_success(tmp_path: Path) -> None:
    failed = written(tmp_path / "1.xml", case("test_a_kill[seed1]", "<error/>"))
    passed = written(tmp_path / "2.xml", case("test_a_kill[seed1]"))
    assert 1 == table(failed, passed).returncode == table(passed, failed).returncode


def test_a_file_that_is_none_is_told_in_a_line(tmp_path: Path) -> None:
    for path in (tmp_path / "not there.xml", written(tmp_path / "other.xml", case("other"))):
        told = table(path)
        assert 1 == told.returncode
        assert 1 == len(told.stderr.splitlines())
        assert str(path) in told.stderr
