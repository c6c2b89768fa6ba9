"""Records as columns, by compiled code: what the readers of plain JSON and of plain Avro have in common.

C code takes the fields out of *plain* records, which nearly all are; the others take the way of SQL, with the same rows
in the end and about twice the CPU time for the process step.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

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
        has_others: whether it is plain and has other fields, in JSON.
    """

    columns: dict[str, pa.Array]
    is_plain: NDArray[np.bool_]
    has_others: NDArray[np.bool_]


class Slots:
    """The wanted fields, each with a slot in what C fills. Not for use from two threads at once."""

    def __init__(
        self, library: ctypes.CDLL, texts: Sequence[str], numbers: Sequence[str], integers: Sequence[str]
    ) -> None:
        """Say what is wanted.

        Args:
            library: compiled plain_json.c, which has the gathering.
            texts: names of fields that hold text.
            numbers: names of fields that hold numbers.
            integers: names of fields that hold whole numbers from 0 to 2^31 - 1; a record with another is not plain.
        """
        self.names = (*texts, *numbers, *integers)
        if len(self.names) > _MOST_SLOTS:
            raise ValueError(f"compiled code has bits for {_MOST_SLOTS} fields, not {len(self.names)}")
        self.texts, self.all_numbers = len(texts), len(texts) + len(numbers)
        self._gather = library.plain_json_gather
        self._gather.restype = ctypes.c_int64

    def fill(self, value: pa.BinaryArray, read: Callable[..., Any], *what: Any) -> Plain:
        """Have C read records into columns.

        Args:
            value: bytes of any kind, and null.
            read: the compiled function.
            what: what it is told between the records and the number of slots of each kind.
        """
        rows, texts = len(value), self.texts
        _, offset_bytes, data = value.buffers()
        if rows == 0 or data is None:
            nothing = {name: pa.nulls(rows, self._type(slot)) for slot, name in enumerate(self.names)}
            return Plain(nothing, np.zeros(rows, np.bool_), np.zeros(rows, np.bool_))
        begins, lengths = np.empty((texts, rows), np.int32), np.empty((len(self.names), rows), np.int32)
        numbers, sizes = np.empty((len(self.names) - texts, rows)), np.empty(texts, np.int64)
        kinds = np.empty(rows, np.uint8)
        offsets, count = ctypes.c_void_p(offset_bytes.address + 4 * value.offset), ctypes.c_int64(rows)
        filled = (address(each) for each in (begins, lengths, numbers, sizes, kinds))
        read(address(data), offsets, count, *what, texts, self.all_numbers, len(self.names), *filled)
        columns: dict[str, pa.Array] = {}
        for slot, name in enumerate(self.names):
            valid = pa.allocate_buffer((rows + 7) // 8)
            if slot < texts:
                ends, text = pa.allocate_buffer(4 * (rows + 1)), pa.allocate_buffer(int(sizes[slot]))
                where = (address(data), address(begins[slot]), address(lengths[slot]), count)
                nulls = self._gather(*where, address(valid), address(ends), address(text))
                columns[name] = pa.Array.from_buffers(pa.string(), rows, [valid, ends, text], nulls)
            else:
                nulls = self._gather(None, None, address(lengths[slot]), count, address(valid), None, None)
                found = pa.py_buffer(numbers[slot - texts])
                columns[name] = pa.Array.from_buffers(pa.float64(), rows, [valid, found], nulls).cast(self._type(slot))
        return Plain(columns, kinds != _NOT_PLAIN, kinds == _WITH_OTHERS)

    def _type(self, slot: int) -> pa.DataType:
        if slot < self.texts:
            return pa.string()
        return pa.float64() if slot < self.all_numbers else pa.int32()
