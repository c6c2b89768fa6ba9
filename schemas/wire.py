"""Avro on the wire: Confluent's frame around a datum, and a datum as a dict or as JSON.

The frame (Confluent Schema Registry, "Wire format"): a byte 0, the schema's id as four bytes big-endian, the datum in
Avro's binary encoding. JSON never begins with a byte 0, so records of both kinds can share a topic.
"""

from __future__ import annotations

import io
import json
from typing import Any, Final, Protocol

import fastavro
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

MAGIC: Final = b"\x00"
HEADER_BYTES: Final = 5
NOT_AVRO: Final = -1
"""In place of a schema's id: a record without the magic byte."""
NO_ID: Final = -2
"""In place of a schema's id: a record that ends within its header."""


class Registry(Protocol):
    """Who knows which schema an id means."""

    def find(self, schema_id: int) -> str | None:
        """Return the text of a schema, None if there is none of this id.

        Raises:
            RegistryUnavailable: no answer; ask again later.
        """

    def register(self, subject: str, schema: str) -> int:
        """Return the id of a schema of this subject, which is added if it isn't there.

        Raises:
            RegistryUnavailable: no answer.
            SchemaRefused: the registry does not take it.
        """

    def close(self) -> None:
        """Let go of connections; nothing is asked after it."""


def frame(schema_id: int, datum: bytes) -> bytes:
    """Return a datum with its header."""
    return MAGIC + schema_id.to_bytes(4, "big") + datum


def schema_ids(value: pa.BinaryArray) -> NDArray[np.int64]:
    """Return each record's schema id, from 0 on; `NOT_AVRO` or `NO_ID` where there is none."""
    ids = np.full(len(value), NOT_AVRO, np.int64)
    _, offset_bytes, data = value.buffers()
    if data is None:
        return ids
    offsets = np.frombuffer(offset_bytes, np.int32)[value.offset : value.offset + len(value) + 1].astype(np.int64)
    content, starts = np.frombuffer(data, np.uint8), offsets[:-1]
    rows = np.flatnonzero(offsets[1:] > starts)
    rows = rows[content[starts[rows]] == MAGIC[0]]
    ids[rows] = NO_ID
    rows = rows[offsets[rows + 1] - starts[rows] >= HEADER_BYTES]
    if len(rows):
        four = content[starts[rows][:, None] + np.arange(1, HEADER_BYTES)]
        ids[rows] = np.ascontiguousarray(four).view(">u4").ravel()
    return ids


def parse(schema: str) -> Any:
    """Return an Avro schema as fastavro wants it; logical types are left out, so that any datum has a value.

    Raises:
        ValueError: no JSON, or no Avro schema of a record.
    """
    try:
        parsed = fastavro.parse_schema(_without_logical_types(json.loads(schema)))
    except (ValueError, TypeError, AttributeError, LookupError, fastavro.schema.SchemaParseException) as error:
        raise ValueError(f"no Avro schema: {error or type(error).__name__}") from None
    if not isinstance(parsed, dict) or parsed["type"] != "record":
        raise ValueError("an Avro schema, but not of a record")
    return parsed


def _without_logical_types(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_without_logical_types(each) for each in schema]
    if isinstance(schema, dict):
        return {key: _without_logical_types(value) for key, value in schema.items() if key != "logicalType"}
    return schema


def decode(parsed_schema: Any, datum: bytes) -> dict[str, Any] | None:
    """Return a datum's fields; None where the bytes are no datum of this schema, or more than one."""
    stream = io.BytesIO(datum)
    try:
        event: Any = fastavro.schemaless_reader(stream, parsed_schema, None)
    except (ValueError, EOFError, LookupError, TypeError, ArithmeticError, MemoryError, StopIteration, RecursionError):
        return None  # what fastavro raises for odd bytes; UnicodeDecodeError is a ValueError
    return dict(event) if stream.tell() == len(datum) else None


def as_json(event: dict[str, Any]) -> str:
    """Return a decoded datum as JSON text, bytes as hexadecimal digits."""
    return json.dumps(event, default=bytes.hex, ensure_ascii=False, separators=(",", ":"))
