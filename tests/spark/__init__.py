"""Spark for tests: pyspark from the environment, Delta's jars through Maven; small and as quick to start as it gets.

In a test, ask for the fixture `spark_options` (tests/conftest.py).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests import maven

MASTER = "local[2]"
MEMORY_BYTES = 2**30
_HERE = Path(__file__).parent


def prepare(say: Callable[[str], None]) -> Path:
    """Return the folder of Delta's jars, fetching them the first time (raises `maven.NoJars`)."""
    return maven.dependencies("delta-spark-4.4.0", _HERE / "pom.xml", say)


def options(libs: Path) -> dict[str, str]:
    """Settings for lakes of some thousand rows, where compiling and scheduling would be most of the time."""
    return {
        "spark.jars": ",".join(map(str, sorted(libs.glob("*.jar")))),
        "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
        "spark.sql.adaptive.enabled": "false",  # a job for each stage
        "spark.sql.shuffle.partitions": "1",
        "spark.sql.codegen.wholeStage": "false",
        "spark.sql.codegen.factoryMode": "NO_CODEGEN",
        "spark.databricks.delta.snapshotPartitions": "1",
        "spark.default.parallelism": "2",
    }
