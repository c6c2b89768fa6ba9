"""Athena: the DDL and queries parse in its dialect, and the queries mean in DuckDB what they say."""

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
    lakes.append(lake, "silver", [lakes.silver(event_type="PAUSE", at="2026-11-20T12:00:00"), lakes.undated()])
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


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("rows_per_date", "[('2026-11-20', 1), ('2026-11-21', 3)]"),
        ("event_types", "[('PLAY_START', 4), ('PAUSE', 1)]"),
        ("top_titles_by_play_start", "[('t1', 'The Long Evening', 3), ('t2', 'Harbour Lights', 1)]"),
        ("plays_by_country", "[('DE', 3, 1), ('None', 1, 1)]"),
        ("null_partition_rows", "[(\"['event_time_missing']\", 1)]"),
    ],
)
def test_queries_answer_in_duckdb_once_transpiled(lake, capsys, name, expected):
    sql = sqlglot.transpile(printed(lake, capsys)["queries"][name], read="athena", write="duckdb")[0]
    rows = connect(lake.uri).execute(sql).fetchall()
    assert expected == str([tuple(v if isinstance(v, int) else str(v) for v in row) for row in rows])


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
