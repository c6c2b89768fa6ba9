"""`gold --engine spark` where Spark can't be had: one line that says what to do, before anything is started."""

import importlib.util

import pytest

from playlake.cli import main
from tests import lakes


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
