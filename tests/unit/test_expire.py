"""Bronze's oldest days go; verify knows them and still finds what is lost; crashes and other jobs are no harm."""

import datetime as dt
import json

import pyarrow as pa
import pytest

from audit.verify import Verdict, verify
from compaction.compact import compact
from compaction.expire import expire, preview_expire
from playlake.cli import main
from sink.lake import Lake
from sink.writer import LakeWriter
from tests.lake_contents import positions_of
from tests.records import processed, records, source

OLD, NEW = dt.datetime(2020, 1, 1, 12, tzinfo=dt.UTC), dt.datetime(2020, 6, 1, 12, tzinfo=dt.UTC)
BETWEEN = dt.date(2020, 3, 1)


def fill(lake: Lake, first: int, count: int, at: dt.datetime, bad: frozenset[int] = frozenset()) -> None:
    """What a worker writes at a time: positions from `first` on, those in `bad` to quarantine."""
    writer = LakeWriter(lake)
    writer.claim({source(): 0})
    bronze, silver, quarantine = processed(records([b"{}"] * count, first), bad)
    times = pa.array([at] * count, pa.timestamp("us", "UTC"))
    bronze = bronze.set_column(bronze.schema.get_field_index("ingest_timestamp"), "ingest_timestamp", times)
    writer.add(bronze.cast(records([b"{}"]).schema), silver, quarantine)
    writer.flush()


@pytest.fixture
def lake(tmp_path) -> Lake:
    """Positions 0 to 19 read on an old day, 20 to 29 on a new one; two of the old ones are in quarantine."""
    lake = Lake.at(str(tmp_path / "lake"))
    fill(lake, 0, 10, OLD, frozenset({3}))
    fill(lake, 10, 10, OLD, frozenset({14}))
    fill(lake, 20, 10, NEW)
    return lake


def faults(verdict: Verdict) -> dict[str, tuple[int, tuple[str, ...]]]:
    return {fault.kind: (fault.count, fault.first) for fault in verdict.faults}


def test_old_days_go_and_verify_still_proves_the_rest(lake):
    looked = preview_expire(lake, BETWEEN)
    assert (("2020-01-01",), 2, 20, None) == (looked.dates, looked.files, looked.rows, looked.version)
    version = lake.table("bronze").version()
    position = lake.table("bronze").transaction_version(source().app_id)
    done = expire(lake, BETWEEN)
    assert position == lake.table("bronze").transaction_version(source().app_id)
    assert (2, 20, version + 1) == (done.files, done.rows, done.version)
    assert [(0, offset) for offset in range(20, 30)] == positions_of(lake, "bronze")
    assert 28 == len(positions_of(lake, "silver"))
    verdict = verify(lake)
    assert {} == faults(verdict)
    [totals] = verdict.sources
    assert (10, 28, 2, 30, 20, 0) == (
        *(totals.bronze, totals.silver, totals.quarantine, totals.done_positions, totals.expired, totals.holes),
    )


def test_a_second_expiry_does_nothing(lake):
    expire(lake, BETWEEN)
    versions = [lake.table(name).version() for name in ("bronze", "expired/bronze")]
    again = expire(lake, BETWEEN)
    assert (0, None) == (again.files, again.version)
    assert versions == [lake.table(name).version() for name in ("bronze", "expired/bronze")]


def test_the_range_of_days_is_exact(lake):
    assert 0 == preview_expire(lake, OLD.date()).files
    assert 2 == preview_expire(lake, OLD.date() + dt.timedelta(days=1)).files
    assert 3 == preview_expire(lake, NEW.date() + dt.timedelta(days=1)).files


@pytest.mark.parametrize(
    ("table", "predicate", "kind"),
    [
        ("silver", "kafka_offset = 25", "in_neither"),
        ("bronze", "kafka_offset = 25", "silver_not_in_bronze"),
    ],
)
def test_what_is_lost_of_the_rest_is_still_found(lake, table, predicate, kind):
    expire(lake, BETWEEN)
    lake.table(table).delete(predicate)
    assert {kind: (1, ("playback[0]@25",))} == faults(verify(lake))


def test_an_expired_position_that_no_table_holds_is_no_hole_but_its_neighbour_is(lake):
    for name in ("bronze", "silver"):
        lake.table(name).delete("kafka_offset = 7")
    expire(lake, BETWEEN)
    lake.table("silver").delete("kafka_offset = 8")
    assert {"unexplained_hole": (1, ("playback[0]@7",))} == faults(verify(lake))


def test_all_of_bronze_can_go(lake):
    expire(lake, NEW.date() + dt.timedelta(days=1))
    assert [] == positions_of(lake, "bronze")
    verdict = verify(lake)
    assert ({}, 30) == (faults(verdict), verdict.sources[0].expired)
    fill(lake, 30, 5, NEW)
    assert {} == faults(verify(lake))


class Killed(BaseException):
    """Stands for a SIGKILL at a step."""


@pytest.mark.parametrize("moment", ["before expire", "after expire"])
def test_a_crash_at_any_point_is_no_harm(lake, moment):
    def kill(name: str) -> None:
        if name == moment:
            raise Killed

    with pytest.raises(Killed):
        expire(lake, BETWEEN, step=kill)
    assert (30 if moment.startswith("before") else 10) == len(positions_of(lake, "bronze"))
    assert {} == faults(verify(lake))
    expire(lake, BETWEEN)
    assert {} == faults(verify(lake))
    assert 10 == len(positions_of(lake, "bronze"))


def test_a_compaction_and_an_append_in_between_lose_nothing(lake):
    waiting = [lambda: fill(lake, 30, 5, OLD), lambda: compact(lake, "bronze")]

    def overtake(name: str) -> None:
        if name == "before expire" and waiting:
            waiting.pop()()

    assert 20 <= (expire(lake, BETWEEN, step=overtake).rows or 0)
    assert {} == faults(verify(lake))
    expire(lake, BETWEEN)
    assert [(0, offset) for offset in range(20, 30)] == positions_of(lake, "bronze")
    assert {} == faults(verify(lake))


def told(capsys, *arguments: str) -> tuple[int, str, str]:
    code = main(["expire", *arguments])
    out, err = capsys.readouterr()
    return code, out, err


def test_the_verb_says_what_would_go_and_what_is_gone(lake, capsys):
    version = lake.table("bronze").version()
    code, out, _ = told(capsys, "--lake", lake.uri, "--older-than", "400d", "--dry-run")
    assert 0 == code
    assert out.startswith("2 days of bronze, 2020-01-01 to 2020-06-01: 3 files, 30 rows, ")
    assert out.endswith(" bytes would go\n")
    assert version == lake.table("bronze").version()
    code, out, _ = told(capsys, "--lake", lake.uri, "--older-than", "400d", "--json")
    assert (0, 30, version + 1) == (code, json.loads(out)["rows"], json.loads(out)["version"])
    code, out, _ = told(capsys, "--lake", lake.uri, "--older-than", "400d")
    assert (0, True) == (code, out.startswith("bronze has no day before 2"))
    assert 0 == main(["verify", "--lake", lake.uri])
    report = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["expired", "30", "bronze", "held", "them", "once"] in report


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--older-than", "12h"], "--older-than: is at least 1d"),
        (["--older-than", "soon"], "'soon' is no duration"),
        ([], "--older-than is needed"),
        (["--older-than", "29d", "--table", "silver"], "--older-than is at least 30d for silver"),
        (["--older-than", "400d", "--table", "gold"], "--table: Input should be 'bronze', 'silver' or 'quarantine'"),
    ],
)
def test_wrong_use_is_one_line(lake, capsys, arguments, why):
    version = lake.table("bronze").version()
    code, out, err = told(capsys, "--lake", lake.uri, *arguments)
    assert (2, "", 1) == (code, out, err.count("\n"))
    assert why in err
    assert version == lake.table("bronze").version()


def test_a_lake_that_is_not_there_is_said_and_an_age_beyond_time_takes_nothing(lake, tmp_path, capsys):
    assert 2 == told(capsys, "--lake", str(tmp_path / "nowhere"), "--older-than", "400d")[0]
    code, out, _ = told(capsys, "--lake", lake.uri, "--older-than", "99999999d")
    assert (0, True) == (code, "nothing was changed" in out)
