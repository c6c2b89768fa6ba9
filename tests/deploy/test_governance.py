"""Grants and views for analysts: what is opened exists, and nothing of it tells who someone is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest
from cfnlint.decode import cfn_yaml

from compaction import gold_files
from schemas.tables import TABLES
from tests import lakes
from tests.bytes_below import files_with

FOLDER = Path(__file__).parents[2] / "deploy/governance"
TEMPLATE = FOLDER / "lake-formation.yaml"
OF_PEOPLE = {"user_id", "profile_id", "session_id", "event_id", "raw_payload", "key", "value", "headers", "detail"}


@pytest.fixture(scope="module")
def grants() -> dict[str, Any]:
    found: dict[str, Any] = cfn_yaml.load(str(TEMPLATE))["Resources"]
    return found


def test_the_template_of_grants_passes_the_linter_of_cloudformation() -> None:
    linter = Path(sys.executable).with_name("cfn-lint")
    done = subprocess.run([linter, "--template", TEMPLATE], capture_output=True, text=True, timeout=120)
    assert (0, "") == (done.returncode, done.stdout), done.stderr


@pytest.mark.parametrize("name", ["silver", "quarantine"])
def test_analysts_get_columns_that_are_there_and_none_that_names_people(grants: dict[str, Any], name: str) -> None:
    resource = grants[f"Analyst{name.title()}"]["Properties"]["Resource"]["TableWithColumns"]
    assert name == resource["Name"]
    columns = set(resource["ColumnNames"])
    assert columns <= set(TABLES[name].schema.names)
    assert not columns & OF_PEOPLE
    assert TABLES[name].partition_by in columns


def test_analysts_get_the_gold_tables_that_hold_sums_and_no_other(grants: dict[str, Any]) -> None:
    _, names, _ = grants["Fn::ForEach::AnalystGold"]
    tables = [file for file in gold_files.load().values() if not file.is_source]
    assert {file.name for file in tables if not file.names_people} == set(names)
    assert {"session_facts", "fact_playback", "viewer_days"} == {file.name for file in tables if file.names_people}


def test_nothing_else_is_granted_to_analysts(grants: dict[str, Any]) -> None:
    to_analysts = {str(name) for name, grant in grants.items() if "{'Ref': 'Analyst'}" in str(grant)}
    assert {"AnalystSilver", "AnalystQuarantine", "Fn::ForEach::AnalystGold"} == to_analysts


def test_published_views_hold_what_analysts_may_see_and_not_a_byte_more(tmp_path: Path) -> None:
    lake = lakes.make(tmp_path)
    viewers = [
        lakes.silver(user_id=f"viewer-{n}", profile_id=f"viewer-{n}-p1", session_id="viewer-s") for n in range(5)
    ]
    alone = [lakes.silver(user_id="viewer-9", country="BR")]
    payload = lakes.undated(client_ts="2026-11-21T20:00:00Z", user_id="viewer-8")
    lakes.append(lake, "silver", [*viewers, *alone, payload])
    lakes.append(lake, "quarantine", [lakes.refused(value=b"viewer-7", key=b"viewer-7", detail="viewer-7")])
    target = tmp_path / "out" / "analysts' copy.duckdb"
    target.parent.mkdir()
    for _ in range(2):  # the second takes the first one's place
        command = [sys.executable, str(FOLDER / "publish.py"), lake.uri, str(target)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=FOLDER.parents[1])
        assert (0, "") == (done.returncode, done.stderr)
    assert [target] == list(target.parent.iterdir())
    assert [] == files_with(target.parent, b"viewer-")
    assert files_with(lake.uri, b"viewer-")
    con = duckdb.connect(str(target), read_only=True)
    assert [(7,)] == con.execute("select count(*) from events").fetchall()
    assert [("DE", 5, 5)] == con.execute("select country, viewers, plays from title_countries").fetchall()
    assert [(["malformed_json"],)] == con.execute("select reasons from refused").fetchall()
    columns = {row[0] for row in con.execute("select column_name from duckdb_columns()").fetchall()}
    assert not columns & OF_PEOPLE
    con.close()
