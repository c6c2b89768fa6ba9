"""A Spark session that reads the lake's Delta tables: its settings, and one line where it can't be had.

Spark's own words, some hundred lines of them, go to a file that is kept when something fails.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from schemas.errors import ConfigError, SparkFailed
from sink.lake import Lake

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

DELTA: Final = "io.delta:delta-spark_2.13:4.4.0"
"""The Delta Lake that goes with the pyspark of the extra `spark`; by Maven, at the first start."""
_AWS_SDK: Final = "2.35.4"
"""Of AWS, what Spark 4.2's Hadoop was built with."""
_LEFT_OUT: Final = ",".join(
    (
        *(
            f"{group}:*"
            for group in (
                "org.slf4j",
                "org.apache.logging.log4j",
                "org.apache.httpcomponents",
                "org.scala-lang",
                "org.apache.parquet",
                "com.fasterxml.*",
                "commons-codec",
                "commons-logging",
                "io.netty",
            )
        ),
        "org.apache.hadoop:hadoop-client-*",
        "software.amazon.awssdk:bundle",
    )
)
"""Jars that Delta and s3a ask for and Spark brings: 65 MB less to fetch, and not in two versions. And AWS' SDK in one
huge jar: s3a takes S3 and STS of it, 12 MB."""
_SDKS_CREDENTIALS: Final = "software.amazon.awssdk.auth.credentials.DefaultCredentialsProvider"
_OLDEST_JAVA: Final = 17
_NEEDS_JAVA: Final = f"gold on Spark needs Java {_OLDEST_JAVA} or newer"
_KILLED = re.compile(r"Application has been killed\. Reason: (.+)")
_TELLING = re.compile(r"exception|error|unresolved|not found|unrecognized|could not|invalid", re.IGNORECASE)
_CLASS = re.compile(r'^Exception in thread "[^"]*" ([\w.]+: )?|^([a-z]\w*\.)+[A-Z]\w*: ')
_MEANING: Final = {
    # What gold's SQL means must not depend on a cluster's defaults.
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "true",
    "spark.sql.caseSensitive": "false",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.sql.parquet.writeLegacyFormat": "false",
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
}


@contextmanager
def spark_session(lake: Lake, master: str, memory_bytes: int, options: Mapping[str, str]) -> Iterator[SparkSession]:
    """Start Spark for a lake; stop it afterwards.

    Args:
        lake: whose tables are to be read; on S3 by Hadoop's s3a, with keys and endpoint from the usual AWS variables,
            which executors get from here.
        master: Spark's, such as `local[*]` or `spark://host:7077`.
        memory_bytes: heap of this machine's Java process: with a local master the executors' as well.
        options: Spark's settings; they win over ours, but not over those that say what SQL means. An empty value of
            `spark.jars.packages` keeps Maven out, where the cluster has Delta's jars already.

    Raises:
        ConfigError: pyspark or Java is missing or too old.
        SparkFailed: it did not start, or something within the block failed in Spark.
    """
    _require()
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    settings = {
        "spark.app.name": "playlake gold",
        "spark.master": master,
        "spark.driver.memory": f"{max(512, memory_bytes // 2**20)}m",
        "spark.ui.enabled": "false",  # it would listen on every network
        "spark.hadoop.mapreduce.fileoutputcommitter.marksuccessfuljobs": "false",
        **_local(master),
        **_jars(lake, options),
        **s3a_settings(lake),
        **options,
        **_MEANING,
    }
    folder = Path(tempfile.mkdtemp(prefix="playlake-spark-"))
    log = folder / "spark.log"
    settings["spark.sql.warehouse.dir"] = str(folder / "warehouse")
    has_failed = False
    try:
        session = _started({name: value for name, value in settings.items() if value}, log)
        try:
            yield session
        finally:
            session.stop()
    except (PySparkException, Py4JError) as error:
        has_failed = True
        raise SparkFailed(f"Spark failed: {_reason(error, log)}; all that it said is in {log}") from error
    finally:
        if not has_failed:
            shutil.rmtree(folder, ignore_errors=True)


def _started(settings: Mapping[str, str], log: Path) -> SparkSession:
    from pyspark import SparkConf, SparkContext
    from pyspark.java_gateway import launch_gateway
    from pyspark.sql import SparkSession

    # It says so at the first query wherever pandas is installed; nothing here asks for pandas.
    warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas", FutureWarning)
    conf = SparkConf(loadDefaults=False).setAll(list(settings.items()))
    gateway = SparkContext._gateway  # one Java process serves all sessions of this one
    if gateway is None:
        with log.open("ab") as words:
            streams = {"stdout": words, "stderr": words}
            gateway = launch_gateway(conf, popen_kwargs=streams)  # type: ignore[no-untyped-call]
    SparkContext(conf=conf, gateway=gateway)
    return SparkSession.builder.getOrCreate()


def _require() -> None:
    for module in ("pyspark", "sqlglot"):
        if importlib.util.find_spec(module) is None:
            raise ConfigError(f"gold on Spark needs {module}: install it with `pip install 'playlake[spark]'`")
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=f"{home}/bin" if home else None)
    if java is None:
        where = f"JAVA_HOME={home} has none" if home else "none is on the PATH"
        raise ConfigError(f"{_NEEDS_JAVA}, and {where}: install it, or set JAVA_HOME")
    said = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr  # noqa: S603
    found = re.search(r'version "(\d+)', said)
    if found is not None and int(found[1]) < _OLDEST_JAVA:
        raise ConfigError(f"{_NEEDS_JAVA}, and {java} is older: set JAVA_HOME")


def _local(master: str) -> dict[str, str]:
    """Keep all in one process off the network; a cluster has to reach it."""
    return {"spark.driver.bindAddress": "127.0.0.1", "spark.driver.host": "127.0.0.1"} if "local" in master else {}


def packages(*, is_s3: bool) -> dict[str, str]:
    """Return the settings by which Spark fetches through Maven what it lacks: Delta, and for S3 Hadoop's s3a.

    Raises:
        ConfigError: Spark's own jars are not where they should be, so that their Hadoop's version is unknown.
    """
    names = [DELTA]
    if is_s3:
        aws = ("s3-transfer-manager", "sts")
        names += [_hadoop_aws(), *(f"software.amazon.awssdk:{module}:{_AWS_SDK}" for module in aws)]
    return {"spark.jars.packages": ",".join(names), "spark.jars.excludes": _LEFT_OUT}


def _jars(lake: Lake, options: Mapping[str, str]) -> dict[str, str]:
    """Return where Delta's jars, and for S3 Hadoop's, come from, if the options don't say.

    Raises:
        ConfigError: the options name a file that isn't there, which Spark would only mention in its log.
    """
    if "spark.jars" in options:
        named = [jar.strip() for jar in options["spark.jars"].split(",")]
        absent = [jar for jar in named if "://" not in jar and not Path(jar).is_file()]
        if absent:
            raise ConfigError(f"spark.jars names {absent[0]}, and there is no such file: check --spark-option")
        return {}
    return packages(is_s3=lake.is_s3)


def _hadoop_aws() -> str:
    """Return Maven's name of Hadoop's S3 client of the same version as Spark's Hadoop."""
    import pyspark

    jars = Path(os.environ.get("SPARK_HOME") or Path(pyspark.__file__).parent) / "jars"
    for jar in jars.glob("hadoop-client-api-*.jar"):
        return f"org.apache.hadoop:hadoop-aws:{jar.stem.removeprefix('hadoop-client-api-')}"
    raise ConfigError(f"no hadoop-client-api-*.jar in {jars}: name the jars with --spark-option spark.jars.packages=…")


def s3a_settings(lake: Lake) -> dict[str, str]:
    """Return what Hadoop's s3a needs beside the keys in the AWS variables, which Spark passes on to it: no secret."""
    if not lake.is_s3:
        return {}
    settings = {}
    if not os.environ.get("AWS_ACCESS_KEY_ID"):  # a profile, a role by web identity, a container's or a machine's
        settings["spark.hadoop.fs.s3a.aws.credentials.provider"] = _SDKS_CREDENTIALS
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    endpoint = lake.storage_options.get("AWS_ENDPOINT_URL")
    if endpoint is not None:
        settings["spark.hadoop.fs.s3a.endpoint"] = endpoint
        settings["spark.hadoop.fs.s3a.path.style.access"] = "true"
        region = region or "us-east-1"
    if region:
        settings["spark.hadoop.fs.s3a.endpoint.region"] = region
    return settings


def _reason(error: Exception, log: Path) -> str:
    """Return the innermost cause in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    killed = _KILLED.search(said)
    if killed is not None:  # a cluster without a master or without executors; the error only says that it has ended
        cause = killed[1]
    elif "JAVA_GATEWAY_EXITED" in str(error) and said:
        words = said.splitlines()
        cause = next(filter(_CLASS.match, words), None) or next(filter(_TELLING.search, words), lines[0]).strip()
    else:
        causes = [line.removeprefix("Caused by: ") for line in lines if line.startswith("Caused by: ")]
        cause = causes[-1] if causes else next((line[2:] for line in lines if line.startswith(": ")), lines[0])
    return _CLASS.sub("", cause)
