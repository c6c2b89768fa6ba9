"""Gold on a Spark cluster with the lake on S3: the same tables as DuckDB's. Part of the long run (`--long`)."""

from __future__ import annotations

import subprocess
import sys

import pytest

from bench.lakes import fill
from compaction.gold import refresh
from sink.lake import Lake
from tests import lakes, spark
from tests import s3 as s3_servers
from tests.cache import cache
from tests.integration.test_gold_on_spark import DAY, assert_tables_look_the_same, differences
from tests.spark import cluster


@pytest.mark.long_run
@pytest.mark.timeout(1_800)
def test_gold_by_a_cluster_on_s3_is_gold_by_duckdb(s3, spark_options, tmp_path, monkeypatch):
    """Jars come through Maven as they do for a user; executors get keys and endpoint from the driver alone."""
    for name, value in s3.env.items():
        monkeypatch.setenv(name, value)
    on_s3 = Lake.at(f"s3://{s3.bucket}/gold-on-spark")
    fill(on_s3, 3_000, days=2, flush_rows=1_500)
    lakes.append(on_s3, "silver", [lakes.undated(payload_fields={"event_ts": "?"})])
    on_disk = Lake.at(str(s3_servers.copy(s3, "gold-on-spark", tmp_path / "brought")))
    own = {"spark.jars.ivy": str(cache("ivy")), "spark.driver.host": "127.0.0.1", "spark.executor.memory": "1g"}
    options = {name: value for name, value in spark_options.items() if name != "spark.jars"} | own
    flags = [f"--spark-option={name}={value}" for name, value in options.items()]
    with cluster.started(tmp_path) as address:
        # A process for each run: jars are fetched when its Java starts.
        gold = [sys.executable, "-m", "playlake", "gold", "--lake", on_s3.uri, "--engine", "spark", *flags]
        gold += ["--spark-master", address, "--memory", str(spark.MEMORY_BYTES)]
        subprocess.run(gold, check=True)
        refresh(on_disk)
        assert [] == differences(on_disk, on_s3)
        assert_tables_look_the_same(on_disk, on_s3)
        late = [lakes.silver(at=f"{DAY}T12:00:00", session_id="late", event_type="HEARTBEAT")]
        for lake in (on_disk, on_s3):
            lakes.append(lake, "silver", late)
        refresh(on_disk)
        subprocess.run(gold, check=True)
        assert [] == differences(on_disk, on_s3)
    assert {"unchanged"} == {each.how for each in refresh(on_s3)}, "DuckDB knows what the cluster has seen"
