"""Athena: the DDL and queries parse in its dialect, and the queries mean in DuckDB what they say."""

import datetime as dt
import json
from pathlib import Path

import pytest
import sqlglot
from sqlglot import exp

from compaction import gold_files, job
from compaction.gold import refresh
from compaction.manifests import refresh_manifests
from compaction.repair import repair
from playlake.cli import main
from query import connect
from sink.lake import data_files
from tests import lakes


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    lake = lakes.make(tmp_path_factory.mktemp("athena"))
    lakes.append(lake, "silver", [lakes.silver(), lakes.silver(title_id="t2"), lakes.silver(country=None)])
    yesterday = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
    lakes.append(lake, "silver", [lakes.silver(at="2020-02-20T12:00:00", event_type="PAUSE"), lakes.undated()])
    lakes.append(lake, "silver", [lakes.silver(at="2020-02-20T11:00:00")])
    lakes.append(lake, "silver", [lakes.silver(at=yesterday, event_type="SEEK"), lakes.silver(at=yesterday)])
    old, new = "2020-02-20T12:00:00", f"{yesterday:%Y-%m-%dT%H:%M:%S}"
    lakes.append(lake, "quarantine", [lakes.refused(ingest=old), lakes.refused(ingest=new)])
    refresh(lake)
    return lake


def printed(lake, capsys, *arguments: str) -> dict:
    where = ("--lake", lake.uri, "--location", "s3://bucket/lake", "--json")
    assert 0 == main(["athena", *where, *arguments])
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("variant", ["delta", "hive"])
def test_every_statement_parses_as_athenas(lake, capsys, variant):
    found = printed(lake, capsys, "--variant", variant)
    for sql in (*found["ddl"], *found["queries"].values()):
        if not sql.startswith("MSCK"):
            parsed = sqlglot.parse_one(sql, dialect="athena")
            assert isinstance(parsed, exp.Create | exp.Select), sql


def test_hive_tables_read_the_manifests_alone(lake, capsys):
    tables = [sql for sql in printed(lake, capsys, "--variant", "hive")["ddl"] if "EXTERNAL TABLE" in sql]
    assert 3 + len(gold_files.table_names()) == len(tables)
    for sql in tables:
        assert sql.endswith("/_symlink_format_manifest/'")
    silver = next(sql for sql in tables if "`playlake`.`silver`" in sql)
    assert "PARTITIONED BY (\n  `event_date` date\n)" in silver
    assert "  `genres` array<string>" in silver


def test_trino_s_own_parser_takes_every_query(lake, capsys, trino_parser):
    queries = printed(lake, capsys)["queries"]
    said = trino_parser([*queries.values(), "select from silver"])
    assert dict.fromkeys(queries, "ok") == dict(zip(queries, said, strict=False))
    assert "mismatched input 'from'" in said[-1]


USUAL = {
    "rows_per_date": "select event_date, count(*) from silver where event_date is not null group by all order by all",
    "event_types": "select event_type, count(*) as n from silver group by all order by n desc, event_type",
    "top_titles_by_play_start": "select title_id, any_value(title), count(*) as n from silver "
    "where event_type = 'PLAY_START' group by title_id order by n desc, title_id limit 10",
    "plays_by_country": "select country, count(*) as n, len(list(distinct user_id)) from silver "
    "where event_type = 'PLAY_START' group by country order by n desc, country",
    "null_partition_rows": "select warnings, count(*) as n from silver where event_date is null group by all",
}
"""The same questions, asked of DuckDB in its own words."""


@pytest.mark.parametrize("name", [*USUAL, *(f"gold_{table}" for table in gold_files.table_names())])
def test_queries_answer_in_duckdb_once_transpiled_as_the_original_does(lake, capsys, name):
    def in_schema(node):
        is_gold = isinstance(node, exp.Table) and node.name.startswith("gold_")
        return exp.to_table(f"gold.{node.name.removeprefix('gold_')}") if is_gold else node

    found = sqlglot.parse_one(printed(lake, capsys)["queries"][name], read="athena").transform(in_schema)
    con = connect(lake.uri)
    answered = con.execute(found.sql("duckdb")).fetchall()
    if name in USUAL:
        assert con.execute(USUAL[name]).fetchall() == answered
        return
    table = name.removeprefix("gold_")
    dated = "event_date" in [column[0] for column in con.execute(f"from gold.{table} limit 0").description]
    condition = "where event_date >= today() - 7" if dated else ""
    expected = con.execute(f"from gold.{table} {condition}").fetchall()
    assert sorted(expected, key=repr) == sorted(answered, key=repr)
    is_cut = dated and len(expected) < con.execute(f"select count(*) from gold.{table}").fetchall()[0][0]  # noqa: S608
    assert is_cut or not dated or table == "volume_anomalies", "the old date is there to be left out"


def test_a_folder_needs_its_place_on_s3(lake, capsys):
    assert 2 == main(["athena", "--lake", lake.uri])
    assert "say where it will be with --location" in capsys.readouterr().err


def listed(lake) -> dict[str, list[str]]:
    root = Path(lake.path("silver"), "_symlink_format_manifest")
    return {path.parent.name: path.read_text().split() for path in root.rglob("manifest")}


def test_manifests_name_the_live_files_and_those_alone(tmp_path, capsys):
    lake = lakes.make(tmp_path)
    lakes.append(lake, "silver", [lakes.silver(), lakes.undated()])
    assert [] == refresh_manifests(lake, ["silver"])
    printed(lake, capsys, "--variant", "hive", "--manifests")
    assert {"event_date=2026-11-21", "event_date=__HIVE_DEFAULT_PARTITION__"} == set(listed(lake))
    repair(lake)
    assert ["silver"] == refresh_manifests(lake, ["silver"])
    assert ["event_date=2026-11-21"] == list(listed(lake))
    files = {path.rsplit("/", 1)[-1] for path in data_files(lake.table("silver"))}
    assert files == {path.rsplit("/", 1)[-1] for path in listed(lake)["event_date=2026-11-21"]}


def test_the_compaction_job_leaves_manifests_that_name_what_it_left(tmp_path, capsys):
    lake = lakes.make(tmp_path)
    for _ in range(3):
        lakes.append(lake, "silver", [lakes.silver(), lakes.undated()])
    printed(lake, capsys, "--variant", "hive", "--manifests")
    assert {"event_date=2026-11-21", "event_date=__HIVE_DEFAULT_PARTITION__"} == set(listed(lake))
    list(job.run(lake))
    ((partition, paths),) = listed(lake).items()
    assert "event_date=2026-11-21" == partition
    assert [path.rsplit("/", 1)[-1] for path in data_files(lake.table("silver"))] == [
        path.rsplit("/", 1)[-1] for path in paths
    ]
