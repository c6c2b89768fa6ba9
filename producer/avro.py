"""Events as Avro, in Confluent's frame, on their way to a sink."""

from __future__ import annotations

import io
import json
from typing import Any

import fastavro

from producer.dirt import CODES
from producer.send import Sink
from producer.simulate import Block
from schemas.wire import frame, parse


class AvroSink:
    """A sink that writes each event as Avro where its schema holds it, else as it came, in JSON.

    So a simulation with dirt in it has both on one topic, like a fleet of clients in which not all are new.
    """

    def __init__(self, sink: Sink, schema: str, schema_id: int) -> None:
        """Write to another sink, under this schema's id in the registry."""
        self._sink = sink
        self._schema = parse(schema)
        self._schema_id = schema_id
        self._names = frozenset(field["name"] for field in self._schema["fields"])

    def write(self, block: Block) -> None:
        """Take over a block (see `Sink`)."""
        is_valid = (block.kinds == CODES["valid"]) | (block.kinds == CODES["valid_content_id"])
        values = [
            self._encoded(value, is_checked=not valid)
            for value, valid in zip(block.values, is_valid.tolist(), strict=True)
        ]
        self._sink.write(Block(block.keys, values, block.kinds))

    def flush(self) -> None:
        """Return when everything has arrived (see `Sink`)."""
        self._sink.flush()

    def _encoded(self, value: bytes, *, is_checked: bool) -> bytes:
        try:
            event: dict[str, Any] = json.loads(value)
        except ValueError:
            return value
        if "content_id" in event and "title_id" not in event:
            event["title_id"] = event.pop("content_id")
        if is_checked and not (
            event.keys() <= self._names and fastavro.validate(event, self._schema, raise_errors=False)
        ):
            return value
        stream = io.BytesIO()
        fastavro.schemaless_writer(stream, self._schema, event)
        return frame(self._schema_id, stream.getvalue())
