"""Events as Avro on their way to a sink: what the schema holds is Avro, all else stays what it was."""

import json

import pyarrow as pa
import pytest

from playlake.cli import main
from producer import AvroSink, Block, Scenario, blocks
from producer.dirt import CODES
from schemas.event import EVENT_VERSIONS
from schemas.wire import HEADER_BYTES, decode, parse, schema_ids
from tests.avro import schema_text


class Kept:
    """A sink that keeps what it is given."""

    def __init__(self):
        self.values, self.kinds, self.flushes = [], [], 0

    def write(self, block: Block) -> None:
        self.values += block.values
        self.kinds += block.kinds.tolist()

    def flush(self) -> None:
        self.flushes += 1


@pytest.mark.parametrize("version", EVENT_VERSIONS)
def test_every_event_is_the_same_event_as_avro_or_the_same_bytes_as_json(version):
    plain, avro = Kept(), Kept()
    sink = AvroSink(avro, schema_text(version), 258)
    for block in blocks(Scenario(start_ms=1_795_000_000_000, events=20_000, dirty=0.5, schema_version=version)):
        plain.write(block)
        sink.write(block)
    sink.flush()
    assert (1, plain.kinds) == (avro.flushes, avro.kinds)
    parsed, encoded = parse(schema_text(version)), set()
    for before, after, kind in zip(plain.values, avro.values, plain.kinds, strict=True):
        if not after.startswith(b"\0"):
            assert before == after
            continue
        encoded.add(kind)
        assert b"\0\0\0\1\2" == after[:HEADER_BYTES]
        event = json.loads(before)
        event["title_id"] = event.pop("content_id", None) or event["title_id"]
        told = {name: value for name, value in decode(parsed, after[HEADER_BYTES:]).items() if value is not None}
        assert {name: value for name, value in event.items() if value is not None} == told
    as_json = {CODES[name] for name in ("broken_json", "not_utf8", "empty_value", "wrong_type", "time_iso_text")}
    assert {CODES["valid"], CODES["valid_content_id"], CODES["late"], CODES["unknown_event_type"]} <= encoded
    assert not as_json & encoded


def test_ids_are_found_whatever_stands_before_the_slice():
    values = pa.array([b"{}", b"\0\0\0\1\2x", None, b"", b"\0\0", b"\0\0\0\0\7"], pa.binary())
    assert [-1, 258, -1, -1, -2, 7] == schema_ids(values).tolist()
    assert [258, -1, -1, -2] == schema_ids(values.slice(1, 4)).tolist()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--broker", "kafka://h:1", "--topic", "t"], "--format avro needs --schema-registry"),
        (["--broker", "-", "--schema-registry", "mock://"], "--format avro needs --broker kafka://"),
    ],
)
def test_what_avro_needs_is_said_in_a_line(words, says, capsys):
    assert 2 == main(["produce", "--format", "avro", *words])
    [line] = capsys.readouterr().err.splitlines()
    assert says in line
