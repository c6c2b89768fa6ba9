"""Changes of a schema, and what each means by the Avro specification: one table for us and for a registry."""

from __future__ import annotations

from typing import Any

ENUM = {"type": "enum", "name": "kind", "symbols": ["A", "B"]}
WIDER = {**ENUM, "symbols": ["A", "B", "C"]}
FIXED = {"type": "fixed", "name": "hash", "size": 4}
MILLIS = {"type": "long", "logicalType": "timestamp-millis"}
NESTED: dict[str, Any] = {"type": "record", "name": "client", "fields": [{"name": "os", "type": "string"}]}


def record(*fields: dict[str, Any]) -> dict[str, Any]:
    return {"type": "record", "name": "event", "fields": [{"name": "id", "type": "string"}, *fields]}


def of(kind: Any, **more: Any) -> dict[str, Any]:
    return record({"name": "x", "type": kind, **more})


CHANGES: dict[str, tuple[dict[str, Any], dict[str, Any], bool, bool]] = {
    "nothing": (of("string"), of("string", doc="said"), True, True),
    "a field with a default added": (record(), of(["null", "string"], default=None), True, True),
    "a field without a default added": (record(), of("string"), False, True),
    "a field with a default removed": (of("int", default=0), record(), True, True),
    "a field without a default removed": (of("int"), record(), True, False),
    "int to long": (of("int"), of("long"), True, False),
    "long to int": (of("long"), of("int"), False, True),
    "string to long": (of("string"), of("long"), False, False),
    "made nullable": (of("string"), of(["null", "string"]), True, False),
    "made not nullable": (of(["null", "string"]), of("string"), False, True),
    "a branch added": (of(["null", "string"]), of(["null", "string", "long"]), True, False),
    "branches in another order": (of(["null", "string"]), of(["string", "null"]), True, True),
    "a symbol added": (of(ENUM), of(WIDER), True, False),
    "fixed of another size": (of(FIXED), of({**FIXED, "size": 5}), False, False),
    "array items widened": (
        of({"type": "array", "items": "int"}),
        of({"type": "array", "items": "long"}),
        True,
        False,
    ),
    "map values changed": (of({"type": "map", "values": "int"}), of({"type": "map", "values": "string"}), False, False),
    "a nested field added": (
        of(NESTED),
        of({**NESTED, "fields": [*NESTED["fields"], {"name": "build", "type": "int"}]}),
        False,
        True,
    ),
}
"""Name → old, new, whether new reads old (backward), whether old reads new (forward)."""

LOSSY: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "long to double": (of("long"), of("double"), "long read as double loses data"),
    "bytes to string": (of("bytes"), of("string"), "bytes read as string loses data"),
    "nullable long to double": (of(["null", "long"]), of(["null", "double"]), "long read as double loses data"),
    "milliseconds to microseconds": (
        of(MILLIS),
        of({**MILLIS, "logicalType": "timestamp-micros"}),
        "the same bytes would mean timestamp-micros, not timestamp-millis",
    ),
    "a symbol taken away": (of(WIDER), of({**ENUM, "default": "A"}), "symbols C become A"),
}
"""Name → old, new, what is lost when new reads old, though Avro allows it."""
