"""Plain JSON records as columns, by compiled code (plain_json.c)."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from stream_app.compiled import address
from stream_app.plain import Plain, Slots


class PlainJson:
    """Reads the wanted fields of plain JSON records. Not for use from two threads at once."""

    def __init__(self, library: ctypes.CDLL, slots: Slots, aliases: Mapping[str, str]) -> None:
        """Say what to look for.

        Args:
            library: compiled plain_json.c.
            slots: the wanted fields.
            aliases: other names of fields; a record with both names is not plain.
        """
        named = {**{name: name for name in slots.names}, **aliases}
        self._slots, self._read = slots, library.plain_json_read
        self._names = np.frombuffer("".join(named).encode(), np.uint8)
        self._name_ends = np.cumsum([len(name.encode()) for name in named], dtype=np.int32)
        self._name_slots = np.array([slots.names.index(name) for name in named.values()], np.int32)

    def __call__(self, value: pa.BinaryArray) -> Plain:
        """Read records; bytes of any kind are welcome, and null."""
        names = (address(each) for each in (self._names, self._name_ends, self._name_slots))
        return self._slots.fill(value, self._read, *names, len(self._name_ends))
