"""Whether a changed schema fits the ones before it: by the specification, in every mode, and not at data's cost."""

import io
import json
from pathlib import Path

import fastavro
import pytest

from playlake.cli import main
from schemas.compatibility import MODES, compare, load_schema
from schemas.event import EVENT_VERSIONS, LATER_TEXT_FIELDS, avro_versions
from tests.schema_changes import CHANGES, LOSSY, of, record

ROOT = Path(__file__).parents[2]


def loaded(schema: dict) -> object:
    return load_schema(json.dumps(schema), "a schema")


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_compatible_in_the_modes_that_the_specification_says(name):
    old, new, backward, forward = CHANGES[name]
    modes = compare([loaded(old)], loaded(new)).modes
    assert {
        "BACKWARD": backward,
        "BACKWARD_TRANSITIVE": backward,
        "FORWARD": forward,
        "FORWARD_TRANSITIVE": forward,
        "FULL": backward and forward,
        "FULL_TRANSITIVE": backward and forward,
        "NONE": True,
    } == modes
    assert set(MODES) == modes.keys()


@pytest.mark.parametrize("name", LOSSY)
def test_a_change_that_loses_data_is_taken_by_avro_and_told_as_a_loss(name):
    old, new, message = LOSSY[name]
    found = compare([loaded(old)], loaded(new))
    assert found.modes["BACKWARD"]
    assert [message] == [loss.message for loss in found.losses("BACKWARD")]
    assert ["x"] == [loss.path for loss in found.losses("BACKWARD")]


def test_a_renamed_field_is_read_by_its_alias_and_named_once():
    old, new = of("string"), record({"name": "y", "type": "string", "aliases": ["x"]})
    found = compare([loaded(old)], loaded(new))
    assert (True, False) == (found.modes["BACKWARD"], found.modes["FORWARD"])
    assert [("id", "same"), ("y", "renamed from x")] == [(field.name, field.change) for field in found.fields]
    assert ["is not written, and has no default"] == [each.message for each in found.fields[1].forward]


def test_the_transitive_modes_ask_every_version_before():
    first, second, third = of("int"), record(), of("string", default="")
    found = compare([loaded(first), loaded(second)], loaded(third))
    assert (True, False) == (found.modes["BACKWARD"], found.modes["BACKWARD_TRANSITIVE"])


def test_another_record_name_is_a_trouble_of_the_whole():
    old, new = record(), {**record(), "name": "other"}
    found = compare([loaded(old)], loaded(new))
    assert not found.modes["BACKWARD"]
    assert {"record event can't be read as other", "record other can't be read as event"} == {
        trouble.message for trouble in found.general
    }


def test_a_schema_that_holds_itself_is_compared():
    schema = record({"name": "parent", "type": ["null", "event"], "default": None})
    assert compare([loaded(schema)], loaded(schema)).modes["FULL"]


@pytest.mark.parametrize("name", [name for name, change in CHANGES.items() if change[2]])
def test_fastavro_reads_what_is_said_to_be_readable(name):
    old, new, *_ = CHANGES[name]
    kind = old["fields"][-1]["type"] if len(old["fields"]) > 1 else None
    if isinstance(kind, list):
        kind = kind[-1]
    if isinstance(kind, dict):
        kind = kind["type"]
    samples = {"string": "s", "int": 1, "long": 2, "bytes": b"b", "enum": "A", "array": [1], "record": {"os": "o"}}
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, old, {"id": "i", "x": samples.get(kind)})
    stream.seek(0)
    assert "i" == fastavro.schemaless_reader(stream, old, new)["id"]


def test_each_version_of_the_event_fits_all_before_it():
    versions = [loaded(schema) for schema in avro_versions().values()]
    for number, version in enumerate(versions):
        found = compare(versions[: number + 1], version)  # itself included
        assert (True, ()) == (found.modes["FULL_TRANSITIVE"], found.losses("FULL_TRANSITIVE"))


@pytest.mark.parametrize("mode", MODES)
def test_the_verb_takes_the_events_own_versions_in_every_mode(mode, capsys):
    files = [str(ROOT / "schemas" / f"playback_event.v{number}.avsc") for number in EVENT_VERSIONS]
    assert len(list((ROOT / "schemas").glob("playback_event.v*.avsc"))) == len(files)
    assert 0 == main(["schema", "check", *files[-2:], "--mode", mode])
    told = capsys.readouterr().out
    assert all(f"{name} " in told and "added, default null" in told for name in LATER_TEXT_FIELDS)


def test_the_verb_answers_yes_no_and_what_is_wrong_with_a_file(tmp_path, capsys):
    old, good, bad = (tmp_path / name for name in ("old.avsc", "good.avsc", "bad.avsc"))
    for path, schema in zip(
        (old, good, bad), (record(), of(["null", "long"], default=None), of("string")), strict=True
    ):
        path.write_text(json.dumps(schema))
    assert 0 == main(["schema", "check", str(old), str(good)])
    assert "added, default null" in capsys.readouterr().out
    assert 1 == main(["schema", "check", str(old), str(bad), "--json"])
    told = json.loads(capsys.readouterr().out)
    assert (False, True) == (told["compatible"], told["modes"]["FORWARD"])
    assert 0 == main(["schema", "check", str(old), str(bad), "--mode", "FORWARD"])
    (tmp_path / "none.avsc").write_text('{"type": "record"}')
    capsys.readouterr()
    for wrong in ("none.avsc", "nowhere.avsc"):
        assert 2 == main(["schema", "check", str(old), str(tmp_path / wrong)])
        assert wrong in capsys.readouterr().err


def test_a_loss_in_a_direction_that_a_mode_is_not_about_is_not_held_against_it():
    old, new, _ = LOSSY["a symbol taken away"]
    reverse = compare([loaded(new)], loaded(old))
    assert () == reverse.losses("BACKWARD")
    assert ("symbols C become A",) == tuple(loss.message for loss in reverse.losses("FULL"))
