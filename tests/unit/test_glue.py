"""`athena --register`: Glue gets database and tables, a second run changes nothing, a dry run only says."""

from __future__ import annotations

import json

import boto3
import pytest
from moto import mock_aws

from compaction import gold_files
from compaction.gold import refresh
from playlake.cli import main
from tests import lakes

TABLES = 3 + len(gold_files.table_names())


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    lake = lakes.make(tmp_path_factory.mktemp("glue"))
    lakes.append(lake, "silver", [lakes.silver()])
    refresh(lake)
    return lake


@pytest.fixture
def glue(monkeypatch):
    """boto3's client of a Glue that is moto's."""
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
    for name in names:
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        yield boto3.client("glue")


def register(lake, capsys, *arguments: str) -> dict[str, tuple]:
    words = ["athena", "--lake", lake.uri, "--location", "s3://bucket/lake", "--register", "--json", *arguments]
    assert 0 == main(words)
    changes = json.loads(capsys.readouterr().out)["changes"]
    return {change["name"]: (change["action"], *change["differs"]) for change in changes}


def tables(glue) -> dict:
    return {table["Name"]: table for table in glue.get_tables(DatabaseName="playlake", MaxResults=100)["TableList"]}


def test_a_dry_run_changes_nothing_and_a_run_does_what_it_said(lake, glue, capsys):
    said = register(lake, capsys, "--dry-run")
    assert [] == glue.get_databases()["DatabaseList"]
    assert said == register(lake, capsys)
    assert {("create",)} == set(said.values())
    assert TABLES == len(tables(glue))
    assert {("keep",)} == set(register(lake, capsys).values())


def test_delta_tables_are_known_as_such_with_their_columns(lake, glue, capsys):
    register(lake, capsys)
    silver = tables(glue)["silver"]
    assert "EXTERNAL_TABLE" == silver["TableType"]
    assert {"table_type": "DELTA", "spark.sql.sources.provider": "delta"}.items() <= silver["Parameters"].items()
    assert "s3://bucket/lake/silver/playback_events/" == silver["StorageDescriptor"]["Location"]
    types = {column["Name"]: column["Type"] for column in silver["StorageDescriptor"]["Columns"]}
    assert ("timestamp", "array<string>", "date") == tuple(
        types[name] for name in ("event_timestamp", "genres", "event_date")
    )


def test_hive_tables_read_the_manifests_and_have_keys(lake, glue, capsys):
    register(lake, capsys, "--variant", "hive")
    silver = tables(glue)["silver"]
    storage = silver["StorageDescriptor"]
    assert storage["Location"].endswith("/_symlink_format_manifest/")
    assert storage["InputFormat"].endswith("SymlinkTextInputFormat")
    assert [{"Name": "event_date", "Type": "date"}] == silver["PartitionKeys"]
    assert "event_date" not in [column["Name"] for column in storage["Columns"]]
    assert "table_type" not in silver["Parameters"]


def test_another_variant_or_place_updates_and_keeps_what_others_added(lake, glue, capsys):
    register(lake, capsys)
    silver = tables(glue)["silver"]
    described = {name: silver[name] for name in ("Name", "TableType", "StorageDescriptor", "PartitionKeys")}
    own = {"Description": "ours", "Parameters": {**silver["Parameters"], "team": "media"}}
    glue.update_table(DatabaseName="playlake", TableInput={**described, **own})
    assert {("keep",)} == set(register(lake, capsys).values())
    changed = register(lake, capsys, "--location", "s3://bucket/elsewhere")
    assert ("update", "Location") == changed["silver"]
    silver = tables(glue)["silver"]
    assert ("ours", "media") == (silver["Description"], silver["Parameters"]["team"])
    assert "s3://bucket/elsewhere/silver/playback_events/" == silver["StorageDescriptor"]["Location"]
    changed = register(lake, capsys, "--location", "s3://bucket/elsewhere", "--variant", "hive")
    assert {"update", "Columns", "PartitionKeys", "Parameters"} <= set(changed["silver"])
    assert "table_type" not in tables(glue)["silver"]["Parameters"]
    assert "media" == tables(glue)["silver"]["Parameters"]["team"]


def test_a_table_of_others_is_left_alone(lake, glue, capsys):
    glue.create_database(DatabaseInput={"Name": "playlake"})
    theirs = {"Name": "silver", "StorageDescriptor": {"Location": "s3://theirs/"}, "Parameters": {}}
    glue.create_table(DatabaseName="playlake", TableInput=theirs)
    words = ["athena", "--lake", lake.uri, "--location", "s3://bucket/lake", "--register"]
    assert 2 == main(words)
    assert "playlake.silver is in Glue already and shows s3://theirs/" in capsys.readouterr().err
    assert ["silver"] == list(tables(glue))


def test_what_is_wrong_is_one_line(lake, glue, capsys, monkeypatch):
    where = ["athena", "--lake", lake.uri, "--location", "s3://bucket/lake"]
    assert 2 == main([*where, "--dry-run"])
    assert "--dry-run goes with --register" in capsys.readouterr().err
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.delenv("AWS_REGION", raising=False)
    assert 2 == main([*where, "--register"])
    told = capsys.readouterr().err
    assert "AWS_DEFAULT_REGION" in told
    assert 1 == told.count("\n")


def test_people_are_told_each_table(lake, glue, capsys):
    assert 0 == main(["athena", "--lake", lake.uri, "--location", "s3://bucket/lake", "--register", "--dry-run"])
    lines = capsys.readouterr().out.splitlines()
    assert 1 + TABLES == len(lines)
    assert {"would create  database  playlake", "would create  table     gold_top_titles"} <= set(lines)
