"""Plain Avro records as columns, by compiled code (plain_avro.c)."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import pyarrow as pa

from schemas.avro_columns import AvroDecoder
from stream_app.compiled import address
from stream_app.plain import Plain, Slots

_KINDS: Final = {"null": 0, "boolean": 1, "int": 2, "long": 2, "float": 3, "double": 4, "string": 5, "bytes": 6}
"""As in plain_avro.c."""


class PlainAvro:
    """Reads the wanted fields of plain datums of one schema. Not for use from two threads at once."""

    def __init__(
        self, library: ctypes.CDLL, slots: Slots, aliases: Mapping[str, str], kinds: list[Any], decoder: AvroDecoder
    ) -> None:
        self._slots, self._read = slots, library.plain_avro_read
        names = [aliases.get(field["name"], field["name"]) for field in decoder.fields]
        self._field_slots = np.array(
            [slots.names.index(name) if name in slots.names else -1 for name in names], np.int32
        )
        self._is_union = np.array([isinstance(field["type"], list) for field in decoder.fields], np.uint8)
        self._kinds = np.array([kind for each in kinds for kind in each], np.uint8)
        self._kind_ends = np.cumsum([len(each) for each in kinds], dtype=np.int32)
        self._per_second = np.array([decoder.per_second.get(field["name"], 1.0) for field in decoder.fields])

    @classmethod
    def of(
        cls, library: ctypes.CDLL, slots: Slots, aliases: Mapping[str, str], decoder: AvroDecoder
    ) -> PlainAvro | None:
        """Return a reader of a schema; None where one of its fields is more than a primitive or a union of such.

        Args:
            library: compiled plain_avro.c.
            slots: the wanted fields.
            aliases: other names of fields; a datum that has values under both is not plain.
            decoder: knows the schema.
        """
        if sys.byteorder != "little":
            return None
        types = [field["type"] if isinstance(field["type"], list) else [field["type"]] for field in decoder.fields]
        names = [[_primitive(each) for each in branches] for branches in types]
        if any(name is None for branches in names for name in branches):
            return None
        return cls(
            library, slots, aliases, [[_KINDS[name] for name in branches if name] for branches in names], decoder
        )

    def __call__(self, value: pa.BinaryArray) -> Plain:
        """Read records of this schema, each with its header."""
        schema = (self._field_slots, self._kind_ends, self._is_union, self._kinds, self._per_second)
        return self._slots.fill(value, self._read, *map(address, schema), len(self._field_slots))


def _primitive(kind: Any) -> str | None:
    """Return a primitive type's name, without its logical type."""
    name = kind.get("type") if isinstance(kind, dict) else kind
    return name if isinstance(name, str) and name in _KINDS else None
