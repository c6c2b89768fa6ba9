"""Events as framed Avro, for tests."""

from __future__ import annotations

import io
import json
from typing import Any

import fastavro

from schemas.event import avro_versions
from schemas.wire import frame
from tests.records import event


def schema_text(version: int = 1) -> str:
    return json.dumps(avro_versions()[version])


def datum(fields: dict[str, Any], schema: str) -> bytes:
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, json.loads(schema), fields)
    return stream.getvalue()


def avro_bytes(number: int = 0, *, schema: str | None = None, schema_id: int = 1, **changes: Any) -> bytes:
    """The same valid event as `tests.records.event_bytes`, framed; a field that the schema lacks is left out."""
    return frame(schema_id, datum(event(number, **changes), schema or schema_text()))
