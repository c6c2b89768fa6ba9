"""`gold --engine spark` where Spark can't be had: one line that says what to do, before anything is started."""

import importlib.util
import re
from pathlib import Path

import pytest

from compaction.spark_session import DELTA, _reason, packages, s3a_settings
from playlake.cli import main
from sink.lake import Lake
from tests import lakes, spark


@pytest.fixture
def told(tmp_path, capsys):
    lake = lakes.make(tmp_path)

    def run(*flags):
        assert 2 == main(["gold", "--lake", lake.uri, *flags])
        said = capsys.readouterr()
        assert "" == said.out
        [line] = said.err.splitlines()
        return line.removeprefix("playlake gold: ")

    return run


@pytest.mark.parametrize("package", ["pyspark", "sqlglot"])
def test_a_missing_package_is_named_with_what_installs_it(told, monkeypatch, package):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == package else find(name))
    expected = f"gold on Spark needs {package}: install it with `pip install 'playlake[spark]'`"
    assert expected == told("--engine", "spark")


def test_a_missing_java_is_named(told, monkeypatch, tmp_path):
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    expected = "gold on Spark needs Java 17 or newer, and none is on the PATH: install it, or set JAVA_HOME"
    assert expected == told("--engine", "spark")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    assert f"and JAVA_HOME={tmp_path} has none:" in told("--engine", "spark")


def test_an_old_java_is_named(told, monkeypatch, tmp_path):
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\" 2019-01-15' >&2\n")
    java.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    assert f"gold on Spark needs Java 17 or newer, and {java} is older: set JAVA_HOME" == told("--engine", "spark")


@pytest.mark.parametrize("flags", [["--spark-master", "local[2]"], ["--spark-option", "spark.jars=a.jar"]])
def test_flags_for_spark_alone_are_refused_without_it(told, flags):
    assert "add --engine spark, or leave them out" in told(*flags)


@pytest.mark.parametrize("option", ["spark.jars", "jars=a.jar"])
def test_an_option_that_is_none_is_refused(told, option):
    expected = f"--spark-option '{option}' is not of the form spark.name=value"
    assert expected == told("--engine", "spark", "--spark-option", option)


def test_a_jar_that_is_not_there_is_named(told):
    flag = "--spark-option=spark.jars=https://example.org/a.jar,/nowhere/b.jar"
    assert "spark.jars names /nowhere/b.jar, and there is no such file: check --spark-option" == told(
        "--engine", "spark", flag
    )


def test_no_lake_is_said_before_spark_starts(tmp_path, capsys):
    assert 2 == main(["gold", "--lake", str(tmp_path / "nowhere"), "--engine", "spark"])
    assert "there is no lake at" in capsys.readouterr().err


@pytest.fixture
def aws(monkeypatch):
    """Sets the AWS variables to these and no others."""
    names = ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "REGION", "DEFAULT_REGION", "ENDPOINT_URL", "ENDPOINT_URL_S3")

    def of_bucket(**variables):
        for name in names:
            monkeypatch.delenv(f"AWS_{name}", raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(f"AWS_{name}", value)
        return {
            name.removeprefix("spark.hadoop.fs.s3a."): value
            for name, value in s3a_settings(Lake.at("s3://bucket/lake")).items()
        }

    return of_bucket


def test_s3a_is_told_where_the_api_is_and_no_secret(aws):
    keys = {"ACCESS_KEY_ID": "id", "SECRET_ACCESS_KEY": "secret"}
    assert {"endpoint.region": "eu-west-1"} == aws(**keys, DEFAULT_REGION="eu-west-1"), "AWS itself"
    near = {"endpoint": "http://s3:7070", "path.style.access": "true", "endpoint.region": "us-east-1"}
    assert near == aws(**keys, ENDPOINT_URL="http://s3:7070")
    assert near == aws(**keys, ENDPOINT_URL="http://other", ENDPOINT_URL_S3="http://s3:7070", REGION="us-east-1")


def test_without_keys_in_variables_s3a_looks_where_aws_sdk_does(aws):
    assert {"aws.credentials.provider"} == aws().keys()
    assert aws()["aws.credentials.provider"].endswith(".DefaultCredentialsProvider")


def test_a_lake_on_a_disk_needs_no_s3a(tmp_path):
    assert {} == s3a_settings(Lake.at(str(tmp_path)))
    assert DELTA == packages(is_s3=False)["spark.jars.packages"]


def test_s3a_is_of_sparks_hadoop_and_comes_without_the_large_bundle():
    settings = packages(is_s3=True)
    delta, hadoop, *modules = settings["spark.jars.packages"].split(",")
    assert DELTA == delta
    assert re.fullmatch(r"org\.apache\.hadoop:hadoop-aws:3\.\d+\.\d+", hadoop)
    assert {"s3-transfer-manager", "sts"} == {module.split(":")[1] for module in modules}
    assert "software.amazon.awssdk:bundle" in settings["spark.jars.excludes"].split(",")


def test_tests_have_the_same_delta():
    pom = Path(spark.__file__).with_name("pom.xml").read_text(encoding="utf-8")
    ours = re.search(r"<groupId>(.*)</groupId>\s*<artifactId>(.*)</artifactId>\s*<version>(.*)</version>\s*</dep", pom)
    assert ours is not None
    assert DELTA == ":".join(ours.groups())


def test_what_ended_a_clusters_application_is_named(tmp_path):
    log = tmp_path / "spark.log"
    stopped = ValueError("Cannot call methods on a stopped SparkContext.\nThis stopped SparkContext was created at:")
    log.write_text("26/11/22 03:33:12 WARN NativeCodeLoader: Unable to load native-hadoop library\n")
    assert "Cannot call methods on a stopped SparkContext." == _reason(stopped, log)
    with log.open("a") as words:
        words.write("26/11/22 03:33:21 ERROR StandaloneSchedulerBackend: Application has been killed. Reason: ")
        words.write("All masters are unresponsive! Giving up.\n26/11/22 03:33:22 ERROR Inbox: Ignoring error\n")
    assert "All masters are unresponsive! Giving up." == _reason(stopped, log)
