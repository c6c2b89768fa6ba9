"""Query: what one can ask, at which version, in which form, and what is kept out."""

import csv
import datetime as dt
import decimal
import io
import json
import os
import re
import signal
import subprocess
import sys
import time

import duckdb
import pyarrow.parquet as pq
import pytest

import playlake
from compaction import gold_files
from compaction.gold import refresh
from playlake.cli import main
from playlake.verbs.query import _EXAMPLES
from query import QueryError, ask, connect
from query.render import plain
from schemas.errors import ConfigError, LakeNotFound
from sink.lake import data_files
from tests import lakes


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    lake = lakes.make(tmp_path_factory.mktemp("query"))
    lakes.append(lake, "silver", lakes.session("2026-11-21T12:00:00", [(0, "PLAY_START"), (60, "PLAY_STOP")]))
    lakes.append(lake, "silver", [lakes.undated()])
    lakes.append(lake, "bronze", [lakes.record(value=b"\xffx", key=b"u1")])
    lakes.append(lake, "quarantine", [lakes.refused()])
    refresh(lake)
    return lake


def answer(lake, sql: str) -> list[tuple]:
    con = connect(lake.uri)
    return [row for batch in ask(con, sql).batches for row in batch]


def told(capsys, *arguments: str) -> tuple[int, str, str]:
    code = main(["query", *arguments])
    out, err = capsys.readouterr()
    return code, out, err


# ---------------------------------------------------------------- what one can ask


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("select count(*) from silver", [(3,)]),
        ("select count(*) from silver where event_date is null", [(1,)]),
        ("from bronze select kafka_offset is null, decode(key)", [(False, "u1")]),
        ("with x as (select reasons from quarantine) select unnest(reasons) from x", [("malformed_json",)]),
        ("select plays, watch_seconds from gold.title_daily", [(1, 60.0)]),
        ("-- a remark\nselect 1;", [(1,)]),
        ("values (1)", [(1,)]),
    ],
)
def test_statements_that_read_are_answered(lake, sql, expected):
    assert expected == answer(lake, sql)


@pytest.mark.parametrize(
    "sql",
    [
        "describe silver",
        "summarize gold.top_titles",
        "show tables",
        "explain from silver",
        "explain analyze from silver",
        "/* x */ EXPLAIN /* y */ (analyze, format json) from silver",
        "explain (select 1)",
    ],
)
def test_statements_about_the_lake_are_answered(lake, sql):
    assert answer(lake, sql)


@pytest.mark.parametrize(
    "sql",
    [
        "select * from read_text('/etc/passwd')",
        "select * from read_csv('/etc/passwd')",
        "select * from '/etc/passwd'",
        "select * from glob('/etc/*')",
        "select * from read_parquet('s3://bucket/x.parquet')",
        "select * from read_text('https://example.org/')",
        "copy (select 1) to '{folder}/x.csv'",
        "copy silver to '{file}' (use_tmp_file false)",
        "explain analyze copy (select 1) to '{folder}/x.csv'",
        "explain analyze/**/copy (select 1) to '{folder}/x.csv'",
        "explain/**/analyze copy (select 1) to '{folder}/x.csv'",
        "explain (analyze) copy (select 1) to '{folder}/x.csv'",
        "explain (verbose) copy (select 1) to '{folder}/x.csv'",
        "export database '{folder}/x'",
        "attach '{folder}/x.db'",
        "install httpfs",
        "load httpfs",
        "set enable_external_access = true",
        "reset lock_configuration",
        "pragma profiling_output = '{folder}/x'",
        "create table x as select 1",
        "create secret (type s3)",
        "drop view silver",
        "call duckdb_settings()",
        "select 1; copy (select 1) to '{folder}/x.csv'",
        "selec 1",
        "select nope from silver",
        "select * from nope",
        "select cast('x' as int)",
        "from settings",
        "",
        "-- nothing",
    ],
)
def test_all_else_is_refused_in_one_line_with_its_place_and_writes_nothing(lake, tmp_path, capsys, sql):
    file = data_files(lake.table("silver"))[0]
    settings = [{"secret": 1}]  # a variable of ours must not be readable as a table
    with open(file, "rb") as content:
        before = content.read()
    code, out, err = told(capsys, "--lake", lake.uri, sql.format(folder=tmp_path, file=file))
    said, _, place = err.partition("\n")
    assert (2, "", True) == (code, out, said.startswith("playlake query: ")), err
    assert place == "" or re.fullmatch(r"LINE \d+: .*\n *\^+\n", place), err
    assert [] == os.listdir(tmp_path)
    with open(file, "rb") as content:
        assert before == content.read()
    assert settings


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        (
            "select 1,\n  evnt_type\nfrom silver",
            'Candidate bindings: "event_type", "event_date", "event_ts", "event_id", "content_type"\n'
            "LINE 2:   evnt_type\n          ^^^^^^^^^\n",
        ),
        (
            "select s.contry from silver s",
            'Values list "s" does not have a column named "contry". Did you mean country or '
            "content_type?\nLINE 1: select s.contry from silver s\n               ^^^^^^^^\n",
        ),
        ("selec 1", 'syntax error at or near "selec"\nLINE 1: selec 1\n        ^^^^^\n'),
    ],
)
def test_a_mistake_is_shown_with_its_line_a_caret_and_the_nearest_columns(lake, capsys, sql, said):
    code, _, err = told(capsys, "--lake", lake.uri, sql)
    assert (2, said) == (code, err[-len(said) :])


def test_unsafe_may_write_a_file(lake, tmp_path, capsys):
    code, _, _ = told(capsys, "--lake", lake.uri, "--unsafe", f"copy (from silver) to '{tmp_path}/x.parquet'")
    assert (0, 3) == (code, pq.read_metadata(tmp_path / "x.parquet").num_rows)


def test_an_explanation_shows_that_only_the_files_of_the_dates_are_read(lake, capsys):
    _, out, _ = told(capsys, "--lake", lake.uri, "explain select event_type from silver where event_date is null")
    assert "Scanning Files: 1/2" in out
    assert ["event_type"] == re.findall(r"Read Parquet.*?Projections: (\S+)", out, re.DOTALL)


def test_python_asks_over_the_same_views(lake):
    with playlake.connect(lake.uri) as con:
        assert [(1,)] == con.execute("select plays from gold.title_daily").fetchall()
        with pytest.raises(duckdb.PermissionException):
            con.execute("select * from read_text('/etc/passwd')")


def test_the_connection_itself_is_closed_off(lake, tmp_path):
    con = connect(lake.uri)
    for sql in (
        "select * from read_text('/etc/passwd')",
        f"copy (select 1) to '{tmp_path}/x.csv'",
        f"attach '{tmp_path}/x.db'",
        "install httpfs",
        "load httpfs",
    ):
        with pytest.raises(duckdb.PermissionException):
            con.execute(sql)
    with pytest.raises(duckdb.InvalidInputException):
        con.execute("set enable_external_access = true")


def test_a_wrong_name_is_answered_with_those_there_are(lake, capsys):
    code, _, err = told(capsys, "--lake", lake.uri, "from gold.title_dayly")
    assert 2 == code
    assert "bronze, silver, quarantine, gold." in err


def test_gold_before_its_first_refresh_is_said(tmp_path, capsys):
    lake = lakes.make(tmp_path)
    code, _, err = told(capsys, "--lake", lake.uri, "from gold.title_daily")
    assert 2 == code
    assert f"The gold tables are made by `playlake gold --lake {lake.uri}`.\nLINE 1:" in err


def test_a_lake_that_is_not_there_is_said(tmp_path, capsys):
    code, _, err = told(capsys, "--lake", str(tmp_path / "nowhere"), "select 1")
    assert (2, True) == (code, "there is no lake at" in err)


def test_an_empty_lake_answers(tmp_path):
    lake = lakes.make(tmp_path)
    assert [(0,)] == answer(lake, "select count(*) from silver join bronze using (kafka_offset)")


# ---------------------------------------------------------------- versions


def test_a_view_stays_at_the_version_it_was_made_at(tmp_path):
    lake = lakes.make(tmp_path)
    lakes.append(lake, "silver", [lakes.silver()])
    con = connect(lake.uri)
    lakes.append(lake, "silver", [lakes.silver()])
    lake.table("silver").optimize.compact()
    assert [(1,)] == con.execute("select count(*) from silver").fetchall()
    assert [(2,)] == connect(lake.uri).execute("select count(*) from silver").fetchall()


@pytest.fixture
def history(tmp_path):
    """A lake with rows added a minute apart, its commit times set by hand in the log: 12:00, 12:01, 12:02, 12:03."""
    lake = lakes.make(tmp_path)
    for minute in range(1, 4):
        lakes.append(lake, "silver", [lakes.silver()])
        if minute >= 2:
            lakes.append(lake, "bronze", [lakes.record()])
    for name, first in (("silver", 0), ("bronze", 1), ("quarantine", 0)):
        folder = f"{lake.path(name)}/_delta_log"
        for version in range(lake.table(name).version() + 1):
            path = f"{folder}/{version:020}.json"
            with open(path) as log:
                actions = [json.loads(line) for line in log]
            minute = version + (first if version else 0)
            time_of = lakes.time("2026-11-21T12:00:00") + dt.timedelta(minutes=minute)
            actions[0]["commitInfo"]["timestamp"] = int(time_of.timestamp() * 1000)
            with open(path, "w") as log:
                log.writelines(json.dumps(action) + "\n" for action in actions)
    return lake


COUNTS = "select (select count(*) from silver), (select count(*) from bronze)"


@pytest.mark.parametrize(
    ("as_of", "expected"),
    [
        (0, (0, 0)),
        ("1", (1, 0)),
        (2, (2, 1)),
        ("2026-11-21T12:00:00Z", (0, 0)),
        ("2026-11-21T12:01:59", (1, 0)),
        ("2026-11-21T13:02:00+01:00", (2, 1)),
        (dt.datetime(2026, 11, 21, 12, 3, tzinfo=dt.UTC), (3, 2)),
        ("2027-01-01", (3, 2)),
    ],
)
def test_as_of_shows_every_table_as_it_was(history, as_of, expected):
    assert [expected] == connect(history.uri, as_of).execute(COUNTS).fetchall()


@pytest.mark.parametrize(
    ("as_of", "message"),
    [
        ("99", "silver has no version 99 in its log: it has 0 to 3"),
        ("yesterday", "neither a time nor a version"),
        ("2026-11-21T11:59:59Z", "there is nothing as of 2026-11-21T11:59:59Z: silver was made later"),
    ],
)
def test_a_version_that_is_not_there_is_said(history, as_of, message):
    with pytest.raises(ConfigError, match=message):
        connect(history.uri, as_of)


def test_a_version_whose_log_or_files_are_gone_is_said(history):
    table = history.table("silver")
    table.create_checkpoint()
    history.filesystem().rm(f"{history.path('silver')}/_delta_log/{0:020}.json")
    with pytest.raises(ConfigError, match="the log of silver was cleaned up: it begins at 2026-11-21T12:01"):
        connect(history.uri, "2026-11-21T12:00:30")
    with pytest.raises(ConfigError, match="can't be opened any more"):
        connect(history.uri, 1)


def test_a_version_whose_files_were_deleted_is_said(tmp_path):
    lake = lakes.make(tmp_path)
    for _ in range(2):
        lakes.append(lake, "silver", [lakes.silver()])
    lake.table("silver").optimize.compact()
    lake.table("silver").vacuum(0, dry_run=False, enforce_retention_duration=False)
    with pytest.raises(ConfigError, match="names a file that is gone"):
        connect(lake.uri, 2)


def test_a_gold_table_younger_than_the_time_is_absent(lake):
    silver_only = connect(lake.uri, 1)
    with pytest.raises(QueryError, match="does not exist"):
        ask(silver_only, "from gold.title_daily")


# ---------------------------------------------------------------- forms

MIXED = (
    "select event_type as kind, genres, duration_s, event_timestamp, event_date, null as nothing, 'a\nb' as text "
    "from silver where event_type = 'PLAY_START' and event_date is not null"
)


def test_a_table_is_aligned(lake, capsys):
    code, out, _ = told(capsys, "--lake", lake.uri, "select * from (values ('a', 1), ('bcd', 1000)) t(name, rows)")
    assert 0 == code
    assert ["name  rows", "----  ----", "a        1", "bcd   1000", "(2 rows)"] == out.splitlines()


def test_csv_can_be_read_back(lake, capsys):
    _, out, _ = told(capsys, "--lake", lake.uri, MIXED, "--format", "csv")
    assert [
        {
            "kind": "PLAY_START",
            "genres": '["Dramas", "Thrillers"]',
            "duration_s": "6000.0",
            "event_timestamp": "2026-11-21T12:00:00Z",
            "event_date": "2026-11-21",
            "nothing": "",
            "text": "a\nb",
        }
    ] == list(csv.DictReader(io.StringIO(out)))


def test_json_is_an_array_of_objects(lake, capsys):
    _, out, _ = told(capsys, "--lake", lake.uri, MIXED, "--format", "json")
    assert ["Dramas", "Thrillers"] == json.loads(out)[0]["genres"]
    assert json.loads(out)[0]["nothing"] is None
    assert [] == json.loads(told(capsys, "--lake", lake.uri, "from silver limit 0", "--format", "json")[1])


def test_json_takes_any_value():
    assert [None, 3, 1.5, "\\xffx", {"a": [1]}, "2026-11-21"] == plain(
        [float("nan"), decimal.Decimal("3.00"), 1.5, b"\xffx", {"a": (1,)}, dt.date(2026, 11, 21)]
    )


def test_an_explanation_is_printed_as_it_is(lake, capsys):
    _, out, _ = told(capsys, "--lake", lake.uri, "explain select count(*) from silver")
    assert out.startswith("╭─")


def test_parquet_goes_to_a_file(lake, tmp_path, capsys):
    path = tmp_path / "x.parquet"
    code, out, _ = told(capsys, "--lake", lake.uri, "from silver", "--format", "parquet", "--output", str(path))
    assert (0, "") == (code, out)
    assert 3 == pq.read_metadata(path).num_rows


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_query_that_fails_half_way_leaves_no_file(lake, tmp_path, capsys, form):
    sql = "select cast(case when range = 500000 then 'x' else '1' end as int) from range(1000000)"
    code, _, err = told(capsys, "--lake", lake.uri, sql, "--output", str(tmp_path / "x"), "--format", form)
    assert (2, "playlake query: Conversion Error: Could not convert string 'x' to INT32") == (code, err.splitlines()[0])
    assert [] == os.listdir(tmp_path)


def test_an_output_that_can_not_be_written_is_said(lake, capsys):
    code, _, err = told(capsys, "--lake", lake.uri, "select 1", "--output", "/nowhere/x.txt")
    assert (2, "playlake query: --output /nowhere/x.txt can't be written: No such file or directory\n") == (code, err)


def test_large_results_stream(lake):
    con = connect(lake.uri)
    batches = ask(con, "select range, md5(cast(range as text)) from range(1000000000)").batches
    assert 10_000 == len(next(batches))


def test_without_sql_the_views_are_listed_with_examples_that_run(lake, capsys):
    code, out, _ = told(capsys, "--lake", lake.uri)
    assert 0 == code
    examples = [line.strip().removeprefix("e.g. ") for line in out.splitlines() if line.startswith("    e.g. ")]
    assert 3 + len(gold_files.table_names()) == len(examples)
    assert set(_EXAMPLES.values()) <= set(examples)
    for example in examples:
        answer(lake, example)


def test_sql_can_come_from_standard_input(lake, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("select 42 as n"))
    assert "42" in told(capsys, "--lake", lake.uri, "-")[1]


def test_interrupting_a_query_is_quiet(lake):
    sql = "select count(*) from range(1000000) a, range(1000000) b where hash(a.range + b.range) % 7 = 1"
    process = subprocess.Popen(
        [sys.executable, "-m", "playlake", "query", "--lake", lake.uri, sql],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    give_up_at = time.monotonic() + 60
    while time.monotonic() < give_up_at and _cpu_s(process.pid) < 2.0:  # started, and at it
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (130, "", "playlake query: stopped\n") == (process.returncode, out, err)


def test_an_interrupt_that_duckdb_makes_its_own_error_of_is_one(lake, capsys, monkeypatch):
    class Interrupting:
        def __arrow_c_stream__(self, requested_schema=None):
            signal.raise_signal(signal.SIGINT)

    def run(settings):
        duckdb.connect().register("rows", Interrupting())

    monkeypatch.setattr("playlake.verbs.query.run", run)
    assert (130, "", "playlake query: stopped\n") == told(capsys, "--lake", lake.uri, "select 1")


def _cpu_s(pid: int) -> float:
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_no_lake_from_python_raises(tmp_path):
    with pytest.raises(LakeNotFound):
        connect(str(tmp_path / "nowhere"))
