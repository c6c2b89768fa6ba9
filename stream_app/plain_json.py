"""Plain JSON records as columns, by compiled code (plain_json.c), where the package was built with a C compiler.

Without it every record takes the way of parse_json.sql, with the same rows in the end and about twice the CPU time for
the process step.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stream_app.compiled import address

_MOST_SLOTS: Final = 32
_NOT_PLAIN, _WITH_OTHERS = 0, 2


@dataclass(frozen=True)
class Plain:
    """Records as columns.

    Attributes:
        columns: a column a field, as long as the batch; null where the field is absent or null and where a record is
            not plain.
        is_plain: whether a record's columns hold all that is wanted of it. One that isn't plain may be sound or not.
        has_others: whether it is plain and has other fields.
    """

    columns: dict[str, pa.Array]
    is_plain: NDArray[np.bool_]
    has_others: NDArray[np.bool_]


class PlainJson:
    """Reads the wanted fields of plain JSON records. Not for use from two threads at once."""

    def __init__(
        self,
        library: ctypes.CDLL,
        text: Sequence[str],
        numbers: Sequence[str],
        integers: Sequence[str],
        aliases: Mapping[str, str],
    ) -> None:
        """Say what to look for.

        Args:
            library: from `compiled`.
            text: names of fields that hold text.
            numbers: names of fields that hold numbers.
            integers: names of fields that hold whole numbers of 32 bits; a record with another there is not plain.
            aliases: other names of fields; a record with both names is not plain.
        """
        slots = [*text, *numbers, *integers]
        if len(slots) > _MOST_SLOTS:
            raise ValueError(f"plain_json.c has bits for {_MOST_SLOTS} fields, not {len(slots)}")
        self._text, self._numbers, self._integers = tuple(text), (*numbers, *integers), frozenset(integers)
        named = {**{name: name for name in slots}, **aliases}
        self._names = np.frombuffer("".join(named).encode(), np.uint8)
        self._name_ends = np.cumsum([len(name.encode()) for name in named], dtype=np.int32)
        self._name_slots = np.array([slots.index(name) for name in named.values()], np.int32)
        self._read, self._gather = library.plain_json_read, library.plain_json_gather
        self._gather.restype = ctypes.c_int64

    def __call__(self, value: pa.BinaryArray) -> Plain:
        """Read records; bytes of any kind are welcome, and null."""
        rows, texts, slots = len(value), len(self._text), len(self._text) + len(self._numbers)
        _, offset_bytes, data = value.buffers()
        if rows == 0 or data is None:
            nothing = {name: pa.nulls(rows, pa.string()) for name in self._text}
            for name in self._numbers:
                nothing[name] = pa.nulls(rows, pa.int32() if name in self._integers else pa.float64())
            return Plain(nothing, np.zeros(rows, np.bool_), np.zeros(rows, np.bool_))
        offsets = ctypes.c_void_p(offset_bytes.address + 4 * value.offset)
        begins, lengths = np.empty((texts, rows), np.int32), np.empty((slots, rows), np.int32)
        numbers, sizes = np.empty((len(self._numbers), rows)), np.empty(texts, np.int64)
        kinds = np.empty(rows, np.uint8)
        self._read(
            address(data),
            offsets,
            ctypes.c_int64(rows),
            *(address(each) for each in (self._names, self._name_ends, self._name_slots)),
            len(self._name_ends),
            texts,
            slots - len(self._integers),
            slots,
            *(address(each) for each in (begins, lengths, numbers, sizes, kinds)),
        )
        columns: dict[str, pa.Array] = {}
        for slot, name in enumerate(self._text):
            valid, ends = pa.allocate_buffer((rows + 7) // 8), pa.allocate_buffer(4 * (rows + 1))
            text = pa.allocate_buffer(int(sizes[slot]))
            where = (address(data), address(begins[slot]), address(lengths[slot]), ctypes.c_int64(rows))
            nulls = self._gather(*where, address(valid), address(ends), address(text))
            columns[name] = pa.Array.from_buffers(pa.string(), rows, [valid, ends, text], nulls)
        for place, name in enumerate(self._numbers):
            valid = pa.allocate_buffer((rows + 7) // 8)
            nulls = self._gather(
                None, None, address(lengths[texts + place]), ctypes.c_int64(rows), address(valid), None, None
            )
            column = pa.Array.from_buffers(pa.float64(), rows, [valid, pa.py_buffer(numbers[place])], nulls)
            columns[name] = column.cast(pa.int32()) if name in self._integers else column
        return Plain(columns, kinds != _NOT_PLAIN, kinds == _WITH_OTHERS)
