"""Schemas by id: from a folder, from the mock, kept by the worker; what a registry answers, and that it is away."""

import json

import pytest

from playlake.registry import open_registry
from schemas.avro_columns import AvroDecoder
from schemas.errors import ConfigError, RegistryUnavailable
from schemas.event import avro_versions
from stream_app.known_schemas import KnownSchemas, require_registry
from tests.avro import avro_bytes, schema_text
from tests.records import event_bytes, records


def test_a_folder_gives_each_schema_an_id_and_finds_it_again(tmp_path):
    registry = open_registry(str(tmp_path))
    other = json.dumps({"type": "record", "name": "other", "fields": []})
    assert [1, 2, 1] == [registry.register("any", text) for text in (schema_text(), other, schema_text())]
    assert other == open_registry(str(tmp_path)).find(2)
    assert registry.find(3) is None
    assert {"1.avsc", "2.avsc"} == {file.name for file in tmp_path.iterdir()}


def test_a_folder_with_an_id_taken_meanwhile_goes_on_to_the_next(tmp_path):
    registry = open_registry(str(tmp_path))
    (tmp_path / "7.avsc").write_text("{}")
    assert 8 == registry.register("any", schema_text())


def test_a_registry_that_answers_is_one_even_without_a_schema(tmp_path):
    for location in (str(tmp_path), "mock://"):
        require_registry(open_registry(location))


def test_a_folder_that_goes_away_is_waited_for_not_taken_for_empty(tmp_path):
    folder = tmp_path / "schemas"
    folder.mkdir()
    registry = open_registry(str(folder))
    folder.rmdir()
    with pytest.raises(RegistryUnavailable, match="is gone"):
        registry.find(1)


def test_the_mock_knows_each_version_of_the_event_under_its_number():
    registry = open_registry("mock://")
    for number, schema in avro_versions().items():
        assert schema == json.loads(registry.find(number) or "")
        assert number == registry.register("topic-value", json.dumps(schema))
    assert registry.find(99) is None


@pytest.mark.parametrize(
    "location", ["no/such/folder", "ftp://host", "localhost:8081", "mock://other", "http://host:port"]
)
def test_what_is_no_registry_is_said_so(location):
    with pytest.raises(ConfigError, match="--schema-registry"):
        open_registry(location)


def test_a_wrong_setting_of_the_client_is_said_so():
    with pytest.raises(ConfigError, match=r"no\.such"):
        open_registry("http://localhost:1", ["no.such=1"])
    with pytest.raises(ConfigError, match="name=value"):
        open_registry("http://localhost:1", ["ssl.ca.location"])


@pytest.mark.parametrize("password", ["secret", "se@secret", "a%2Fsecret"])
def test_a_registry_that_does_not_answer_is_away_and_its_password_stays_secret(password):
    registry = open_registry(f"http://ada:{password}@127.0.0.1:1/path")
    with pytest.raises(RegistryUnavailable, match=r"http://127\.0\.0\.1:1/path does not answer") as told:
        registry.find(1)
    assert "secret" not in str(told.value)


class Asked:
    """A registry that notes what it is asked and answers from a dict."""

    def __init__(self, **schemas: str) -> None:
        self.schemas = {int(name[1:]): text for name, text in schemas.items()}
        self.questions: list[int] = []

    def find(self, schema_id: int) -> str | None:
        self.questions.append(schema_id)
        return self.schemas.get(schema_id)

    def register(self, subject: str, schema: str) -> int:
        raise AssertionError("a worker registers nothing")


def test_each_schema_is_asked_for_once_and_an_unknown_id_again_after_a_while():
    now = [0.0]
    registry = Asked(_1=schema_text(), _2="no schema")
    known = KnownSchemas(registry, lambda: now[0])
    batch = records([avro_bytes(0), event_bytes(1), avro_bytes(2, schema_id=2), avro_bytes(3, schema_id=5)])
    for _ in range(3):
        found = known.used_in(batch)
        assert {1, 2} == found.keys()
        assert isinstance(found[1], AvroDecoder)
        assert "no Avro schema" in str(found[2])
    assert [1, 2, 5] == registry.questions
    registry.schemas[5] = schema_text()
    now[0] = 31.0
    assert {1, 2, 5} == known.used_in(batch).keys()
    assert [1, 2, 5, 5] == registry.questions


def test_a_batch_of_json_asks_nothing():
    registry = Asked()
    assert {} == KnownSchemas(registry).used_in(records([event_bytes(0), None, b""]))
    assert [] == registry.questions
