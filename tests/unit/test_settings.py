"""Settings from flags, variables and the file: which wins, and what each source may hold."""

from typing import ClassVar

import pytest
from pydantic import Field

from playlake.settings import Duration, Size, VerbSettings, load
from schemas.errors import ConfigError


class Settings(VerbSettings):
    """A verb for tests."""

    verb: ClassVar[str] = "trial"

    lake: str = Field("default", description="where")
    every: Duration | None = Field(None, description="how often")
    size: Size = Field(1, description="how large")
    as_json: bool = Field(False, alias="json", description="as JSON")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("JSON", "PLAYLAKE_JSON", "PLAYLAKE_LAKE", "PLAYLAKE_CONFIG"):
        monkeypatch.delenv(name, raising=False)


def test_flags_win_over_variables_over_the_verbs_table_over_the_files_top(tmp_path, monkeypatch):
    sources = ["default"]
    assert sources == [load(Settings, []).lake]
    (tmp_path / "playlake.toml").write_text('lake = "top"\n')
    assert "top" == load(Settings, []).lake
    (tmp_path / "playlake.toml").write_text('lake = "top"\n[trial]\nlake = "table"\n')
    assert "table" == load(Settings, []).lake
    monkeypatch.setenv("PLAYLAKE_LAKE", "variable")
    assert "variable" == load(Settings, []).lake
    assert "flag" == load(Settings, ["--lake", "flag"]).lake


def test_json_is_set_by_its_flag_its_variable_and_the_file_and_by_no_other_variable(tmp_path, monkeypatch):
    monkeypatch.setenv("JSON", "1")
    assert not load(Settings, []).as_json
    assert load(Settings, ["--json"]).as_json
    (tmp_path / "playlake.toml").write_text("[trial]\njson = true\n")
    assert load(Settings, []).as_json
    (tmp_path / "playlake.toml").unlink()
    monkeypatch.setenv("PLAYLAKE_JSON", "1")
    assert load(Settings, []).as_json


@pytest.mark.parametrize(
    ("text", "seconds"), [("500ms", 0.5), ("10s", 10.0), ("5m", 300.0), ("2d", 172800.0), ("3", 3.0)]
)
def test_durations(text, seconds):
    assert seconds == load(Settings, ["--every", text]).every


@pytest.mark.parametrize(("text", "count"), [("128MB", 128_000_000), ("64MiB", 64 << 20), ("7", 7), ("1.5kb", 1500)])
def test_sizes(text, count):
    assert count == load(Settings, ["--size", text]).size


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--every", "5x"], "--every: '5x' is no duration"),
        (["--every", "0s"], "--every: must be more than 0"),
        (["--size", "big"], "--size: 'big' is no size"),
    ],
)
def test_a_value_that_does_not_fit_names_its_flag(words, message):
    with pytest.raises(ConfigError, match=message):
        load(Settings, words)


@pytest.mark.parametrize("words", [["--lak", "x"], ["--nonsense"], ["word"]])
def test_what_is_no_flag_is_wrong_use(words, capsys):
    with pytest.raises(SystemExit) as caught:
        load(Settings, words)
    assert 2 == caught.value.code
    assert "usage: playlake trial" in capsys.readouterr().err


def test_an_unknown_setting_in_the_verbs_table_is_named(tmp_path):
    (tmp_path / "playlake.toml").write_text("[trial]\nlaek = 1\n")
    with pytest.raises(ConfigError, match="'laek'"):
        load(Settings, [])


def test_a_file_that_is_named_but_not_there_or_broken_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("PLAYLAKE_CONFIG", "other.toml")
    with pytest.raises(ConfigError, match="is not there"):
        load(Settings, [])
    (tmp_path / "other.toml").write_text("= broken")
    with pytest.raises(ConfigError, match="can't be read"):
        load(Settings, [])


class Listing(VerbSettings):
    """A verb with a list."""

    verb: ClassVar[str] = "listing"
    kafka_option: list[str] = Field([], description="name=value")


def test_a_variable_that_is_no_list_is_told_without_its_value(monkeypatch):
    monkeypatch.setenv("PLAYLAKE_KAFKA_OPTION", "sasl.password=hidden")
    with pytest.raises(ConfigError, match="PLAYLAKE_KAFKA_OPTION is no JSON list") as caught:
        load(Listing, [])
    assert "hidden" not in str(caught.value)
    monkeypatch.setenv("PLAYLAKE_KAFKA_OPTION", '["a=b"]')
    assert ["a=b"] == load(Listing, []).kafka_option


@pytest.mark.parametrize("port", ["0", "65536", "eighty"])
def test_a_port_that_is_none_names_its_flag(port):
    from playlake.verbs.stream import Settings as Stream

    with pytest.raises(ConfigError, match="--web-port: "):
        load(Stream, ["--broker", "kafka://b:1", "--topic", "t", "--lake", "l", "--web-port", port])


@pytest.mark.parametrize("value", ["spark.jars=a.jar,b.jar", "x=[1]", "x={a", "x=a\\b", "x="])
def test_a_value_of_a_list_is_taken_as_it_is(value):
    words = ["--kafka-option", value, "--kafka-option", "acks=1"]
    assert [value, "acks=1"] == load(Listing, words).kafka_option
