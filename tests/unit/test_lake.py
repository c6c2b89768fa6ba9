"""Addresses of lakes, tables that are made once, and lakes that another playlake wrote."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from deltalake import DeltaTable, Transaction

from schemas.errors import ConfigError, IncompatibleLake, LakeNotFound
from schemas.tables import TABLES
from sink.lake import CHECKPOINT_INTERVAL, Lake, append, data_files
from sink.writer import LakeWriter
from tests.records import processed, records, source


@pytest.mark.parametrize("uri", ["", "  ", "s3://", "s3:///", "gs://bucket/x", "lake*", "la[k]e", "{lake}"])
def test_an_address_that_readers_could_not_use_is_refused(uri):
    with pytest.raises(ConfigError, match="address"):
        Lake.at(uri)


def test_addresses_are_normalised(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert str(tmp_path / "lake") == Lake.at("lake").uri == Lake.at(f"file://{tmp_path}/lake/").uri
    assert "s3://bucket/lake" == Lake.at("s3://bucket/lake/").uri


def test_an_http_endpoint_is_allowed_by_name_and_credentials_stay_out(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    lake = Lake.at("s3://bucket/lake")
    wanted = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_ALLOW_HTTP": "true", "retry_timeout": "30s"}
    assert wanted == lake.storage_options
    assert "secret" not in repr(lake)


def test_a_lake_that_is_not_there_is_named_with_what_to_do(tmp_path):
    with pytest.raises(LakeNotFound, match="check --lake"):
        Lake.at(str(tmp_path / "nowhere")).table("silver")


def test_a_lake_of_another_format_is_refused_and_not_touched(tmp_path):
    lake = Lake.at(str(tmp_path))
    spec = TABLES["silver"]
    DeltaTable.create(
        lake.path("silver"), schema=spec.schema, configuration={"playlake.format": "999"}, raise_if_key_not_exists=False
    )
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(IncompatibleLake, match="format 999"):
        LakeWriter(lake)
    assert before == sorted(tmp_path.rglob("*"))


def test_workers_that_start_at_once_make_one_lake(tmp_path):
    lake = Lake.at(str(tmp_path / "lake"))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: LakeWriter(lake), range(8)))
    for name, spec in TABLES.items():
        assert set(spec.schema.names) == {field.name for field in lake.table(name).schema().fields}


def test_files_of_a_folder_with_spaces_and_percents_are_found(tmp_path):
    lake = Lake.at(str(tmp_path / "a lake 100% full"))
    writer = LakeWriter(lake)
    writer.claim({source(): 0})
    writer.add(*processed(records([b"{}"])))
    writer.flush()
    (path,) = data_files(lake.table("bronze"))
    assert (tmp_path / path).exists()


def test_the_log_is_cleaned_up_with_a_checkpoint_and_not_with_each_commit(tmp_path: Path) -> None:
    lake = Lake.at(str(tmp_path))
    handle = lake.table_or_create("quarantine")
    log = Path(lake.path("quarantine")) / "_delta_log"

    def commit_until(version: int) -> None:
        while handle.version() < version:
            append(handle, [], [Transaction("app", handle.version())])
            handle.update_incremental()

    commit_until(2)
    handle.create_checkpoint()
    nine_days_ago = time.time() - 9 * 86_400
    for entry in log.iterdir():
        os.utime(entry, (nine_days_ago, nine_days_ago))
    commit_until(CHECKPOINT_INTERVAL - 2)
    assert (log / f"{0:020}.json").exists()
    commit_until(CHECKPOINT_INTERVAL - 1)
    assert (log / f"{CHECKPOINT_INTERVAL - 1:020}.checkpoint.parquet").exists()
    assert not (log / f"{0:020}.json").exists()
    assert CHECKPOINT_INTERVAL - 2 == lake.table("quarantine").transaction_version("app")
