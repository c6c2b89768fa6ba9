"""Avro datums of one schema as columns: all rows a field at a time.

A datum's fields follow each other without marks, so a reader of one datum after the other takes 7 CPU-s per million
(fastavro, then its dicts as columns). Here each step reads one field of every datum with numpy, and text stays where it
is, behind Arrow's string views. Schemas with arrays, maps or recursion are left to fastavro, a datum at a time.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import fastavro
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from schemas.event import NUMBER_FIELDS, TEXT_FIELDS
from schemas.wire import HEADER_BYTES, as_json, decode, parse

KINDS: Final = ("NULL", "VARCHAR", "DOUBLE", "BIGINT", "BOOLEAN", "BLOB", "OBJECT", "ARRAY")
"""What a field holds, in the words of DuckDB's json_type."""

_NULL, _VARCHAR, _DOUBLE, _BIGINT, _BOOLEAN, _BLOB, _OBJECT, _ARRAY = range(len(KINDS))
_PYTHON_KINDS: Final = {
    type(None): _NULL,
    str: _VARCHAR,
    float: _DOUBLE,
    int: _BIGINT,
    bool: _BOOLEAN,
    bytes: _BLOB,
    dict: _OBJECT,
    list: _ARRAY,
}
_PER_SECOND: Final = {"timestamp-millis": 1e3, "timestamp-micros": 1e6, "timestamp-nanos": 1e9}
_PRIMITIVES: Final = ("null", "boolean", "int", "long", "float", "double", "bytes", "string")
_INLINE_BYTES: Final = 12
_LONGEST_LONG: Final = 10
_PADDING: Final = bytes(16)

Rows = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Decoded:
    """Datums as columns.

    Attributes:
        columns: for each of `TEXT_FIELDS` and `NUMBER_FIELDS` its values (text or float64; null where missing; of
            another type: text says which, a number is null) and, as `<field>_kind`, one of `KINDS`.
        is_sound: whether the bytes are a datum of the schema, to their last one. Columns of others mean nothing.
    """

    columns: dict[str, pa.Array]
    is_sound: Flags


class AvroDecoder:
    """Decodes framed records of one writer's schema.

    Attributes:
        fields: of the schema, in their order, named types written out.
        per_second: for each of `NUMBER_FIELDS` in there, by what its values are divided to be seconds, or 1.
    """

    def __init__(self, schema: str) -> None:
        """Take an Avro schema (1.11 specification) as text.

        Raises:
            ValueError: no JSON, or no Avro schema of a record.
        """
        self._parsed = parse(schema)
        expanded: Any = fastavro.schema.expand_schema(self._parsed)
        self.fields = expanded["fields"]
        self._is_flat = all(_is_flat(field["type"]) for field in self.fields)
        self.per_second = {
            field["name"]: _per_second(field["type"])
            for field in json.loads(schema)["fields"]
            if field["name"] in NUMBER_FIELDS
        }

    def __call__(self, value: pa.BinaryArray) -> Decoded:
        """Decode records, each with its header."""
        return (self._by_column if self._is_flat else self._by_datum)(value)

    def as_json(self, value: bytes) -> str | None:
        """Return one record's datum as JSON text, every field included; None where it isn't sound."""
        event = decode(self._parsed, value[HEADER_BYTES:])
        return None if event is None else as_json(event)

    def _by_column(self, value: pa.BinaryArray) -> Decoded:
        reader = _Reader(value)
        columns = {name: _Column(len(value), name in TEXT_FIELDS) for name in (*TEXT_FIELDS, *NUMBER_FIELDS)}
        for field in self.fields:
            reader.read(field["type"], reader.every_row, columns.get(field["name"]))
        is_sound = reader.is_sound & (reader.at == reader.end)
        for name, per_second in self.per_second.items():
            columns[name].numbers /= per_second
        arrays: dict[str, pa.Array] = {}
        for name, column in columns.items():
            arrays[f"{name}_kind"] = pa.DictionaryArray.from_arrays(column.kinds, list(KINDS))
            arrays[name] = column.texts_of(reader.content, is_sound) if column.is_text else column.numbers_or_null()
        return Decoded(arrays, is_sound)

    def _by_datum(self, value: pa.BinaryArray) -> Decoded:
        events = [decode(self._parsed, each[HEADER_BYTES:]) for each in value.to_pylist()]
        is_sound = np.array([event is not None for event in events], bool)
        arrays: dict[str, pa.Array] = {}
        for name in (*TEXT_FIELDS, *NUMBER_FIELDS):
            found: list[Any] = [None if event is None else event.get(name) for event in events]
            kinds = [_PYTHON_KINDS[type(each)] for each in found]
            arrays[f"{name}_kind"] = pa.DictionaryArray.from_arrays(pa.array(kinds, pa.int8()), list(KINDS))
            if name in TEXT_FIELDS:
                texts = [
                    each if kind in (_NULL, _VARCHAR) else KINDS[kind] for each, kind in zip(found, kinds, strict=True)
                ]
                arrays[name] = pa.array(texts, pa.string_view())
            else:
                per_second = self.per_second.get(name, 1.0)
                arrays[name] = pa.array(
                    [
                        each / per_second if kind in (_DOUBLE, _BIGINT) else None
                        for each, kind in zip(found, kinds, strict=True)
                    ],
                    pa.float64(),
                )
        return Decoded(arrays, is_sound)


class _Column:
    """A wanted field's values, filled in by `_Reader`: Arrow's string views (16 bytes a row) or numbers."""

    def __init__(self, count: int, is_text: bool) -> None:
        self.is_text = is_text
        self.kinds = np.zeros(count, np.int8)
        self.views = np.zeros((count if is_text else 0, 16), np.uint8)
        self.numbers = np.zeros(0 if is_text else count)

    def mark(self, rows: Rows, kind: int) -> None:
        self.kinds[rows] = kind
        if self.is_text and kind not in (_NULL, _VARCHAR):
            name = KINDS[kind].encode()
            self.views[rows] = np.frombuffer(len(name).to_bytes(4, "little") + name.ljust(12, b"\0"), np.uint8)

    def numbers_or_null(self) -> pa.Array:
        return pa.array(self.numbers, mask=(self.kinds != _DOUBLE) & (self.kinds != _BIGINT))

    def texts_of(self, content: NDArray[np.uint8], is_sound: Flags) -> pa.Array:
        """Return the texts; text that is no UTF-8 makes its row unsound."""
        is_text = (self.kinds != _NULL) & is_sound
        self.views[~is_text] = 0
        is_utf8 = _is_utf8(content, self.views)
        is_sound &= is_utf8
        is_text &= is_utf8
        self.views[~is_text] = 0
        validity = None if is_text.all() else pa.array(is_text).buffers()[1]
        return pa.Array.from_buffers(
            pa.string_view(), len(is_text), [validity, pa.py_buffer(self.views), pa.py_buffer(content)]
        )


class _Reader:
    """Where the next field of each datum begins. A row that ran past its end stays there, unsound."""

    def __init__(self, value: pa.BinaryArray) -> None:
        _, offset_bytes, data = value.buffers()
        offsets = np.frombuffer(offset_bytes, np.int32)[value.offset : value.offset + len(value) + 1].astype(np.int64)
        window = data[int(offsets[0]) : int(offsets[-1])] if data is not None else b""
        self.content = np.frombuffer(b"".join((window, _PADDING)), np.uint8)  # a look past the end finds something
        offsets -= offsets[0]
        self.at, self.end = offsets[:-1] + HEADER_BYTES, offsets[1:]
        self.every_row = np.arange(len(value))
        self.is_sound = np.ones(len(value), bool)
        self._readers: dict[str, Callable[[Rows, _Column | None], None]] = {
            "null": lambda rows, column: column.mark(rows, _NULL) if column else None,
            "boolean": self._boolean,
            "int": self._long,
            "long": self._long,
            "float": lambda rows, column: self._real(rows, column, "<f4"),
            "double": lambda rows, column: self._real(rows, column, "<f8"),
            "bytes": lambda rows, column: self._run(rows, column, _BLOB),
            "string": lambda rows, column: self._run(rows, column, _VARCHAR),
        }

    def read(self, kind: Any, rows: Rows, column: _Column | None) -> None:
        """Read one value of a type for these rows, into the column if it is wanted."""
        if isinstance(kind, list):
            branch = self._number(rows)
            self._require(rows, (branch >= 0) & (branch < len(kind)))
            for index, each in enumerate(kind):
                chosen = branch == index
                if chosen.all():
                    self.read(each, rows, column)
                elif chosen.any():
                    self.read(each, rows[chosen], column)
        elif isinstance(kind, str):
            self._readers[kind](rows, column)
        elif kind["type"] == "record":
            if column:
                column.mark(rows, _OBJECT)
            for field in kind["fields"]:
                self.read(field["type"], rows, None)
        elif kind["type"] == "enum":
            self._enum(rows, column, kind["symbols"])
        elif kind["type"] == "fixed":
            if column:
                column.mark(rows, _BLOB)
            self._advance(rows, self.at[rows] + kind["size"])
        else:
            self.read(kind["type"], rows, column)

    def _require(self, rows: Rows, is_met: Flags) -> None:
        if not is_met.all():
            self.is_sound[rows[~is_met]] = False

    def _advance(self, rows: Rows, to: Rows) -> None:
        end = self.end[rows]
        self._require(rows, to <= end)
        self.at[rows] = np.minimum(to, end)

    def _number(self, rows: Rows) -> Rows:
        """Read a zigzag varint (int, long, lengths, branches)."""
        at = self.at[rows]
        byte = self.content[at]
        number = (byte & 0x7F).astype(np.uint64)
        at += 1
        going_on = np.flatnonzero(byte >= 0x80)
        for shift in range(7, 7 * _LONGEST_LONG, 7):
            if not len(going_on):
                break
            byte = self.content[at[going_on]]
            number[going_on] |= (byte & 0x7F).astype(np.uint64) << np.uint64(shift)
            at[going_on] += 1
            going_on = going_on[byte >= 0x80]
        self.is_sound[rows[going_on]] = False
        self._advance(rows, at)
        return (number >> np.uint64(1)).astype(np.int64) ^ -(number & np.uint64(1)).astype(np.int64)

    def _fixed(self, rows: Rows, kind: str) -> NDArray[Any]:
        width = np.dtype(kind).itemsize
        at = self.at[rows]
        found = _windows(self.content, width)[at].view(kind)
        self._advance(rows, at + width)
        return found

    def _long(self, rows: Rows, column: _Column | None) -> None:
        self._put_numbers(rows, column, self._number(rows), _BIGINT)

    def _real(self, rows: Rows, column: _Column | None, kind: str) -> None:
        self._put_numbers(rows, column, self._fixed(rows, kind), _DOUBLE)

    def _put_numbers(self, rows: Rows, column: _Column | None, numbers: NDArray[Any], kind: int) -> None:
        if column:
            column.mark(rows, kind)
            if not column.is_text:
                column.numbers[rows] = numbers

    def _boolean(self, rows: Rows, column: _Column | None) -> None:
        self._require(rows, self._fixed(rows, "u1") <= 1)
        if column:
            column.mark(rows, _BOOLEAN)

    def _run(self, rows: Rows, column: _Column | None, kind: int) -> None:
        """Read a length and as many bytes."""
        length, start = self._number(rows), self.at[rows]
        fits = (length >= 0) & (length <= self.end[rows] - start)
        self._require(rows, fits)
        length = np.where(fits, length, 0)
        self._advance(rows, start + length)
        if column:
            column.mark(rows, kind)
        if kind == _VARCHAR:
            views = _views(self.content, start, length)
            if column and column.is_text:
                column.views[rows] = views  # checked with the rest of the column
            else:
                self._require(rows, _is_utf8(self.content, views))

    def _enum(self, rows: Rows, column: _Column | None, symbols: list[str]) -> None:
        index = self._number(rows)
        is_known = (index >= 0) & (index < len(symbols))
        self._require(rows, is_known)
        if column:
            column.mark(rows, _VARCHAR)
            if column.is_text:
                texts = [symbol.encode() for symbol in symbols]
                length = np.array([len(text) for text in texts])
                begin = len(self.content) + np.cumsum(length) - length
                self.content = np.concatenate([self.content, np.frombuffer(b"".join((*texts, _PADDING)), np.uint8)])
                which = np.where(is_known, index, 0)
                column.views[rows] = _views(self.content, begin[which], length[which])


def _views(content: NDArray[np.uint8], start: Rows, length: Rows) -> NDArray[np.uint8]:
    """Return Arrow's views (columnar format, "Variable-size Binary View Layout") of these spans of one buffer."""
    views = np.empty((len(start), 16), np.uint8)
    views[:, 4:] = _windows(content, _INLINE_BYTES)[start].view(np.uint8).reshape(-1, _INLINE_BYTES)
    words = views.view("<i4")
    words[:, 0] = length
    is_inline = length <= _INLINE_BYTES
    views[is_inline, 4:] &= _KEEP[length[is_inline]]
    if not is_inline.all():
        words[~is_inline, 2] = 0
        words[~is_inline, 3] = start[~is_inline]
    return views


def _is_utf8(content: NDArray[np.uint8], views: NDArray[np.uint8]) -> Flags:
    """Return for each view whether it is UTF-8."""
    is_utf8 = np.ones(len(views), bool)
    buffers = [None, pa.py_buffer(views), pa.py_buffer(content)]
    try:
        pa.Array.from_buffers(pa.string_view(), len(views), buffers).validate(full=True)
    except pa.ArrowInvalid:
        for row, text in enumerate(pa.Array.from_buffers(pa.binary_view(), len(views), buffers)):
            try:
                text.as_py().decode()
            except UnicodeDecodeError:
                is_utf8[row] = False
    return is_utf8


def _windows(content: NDArray[np.uint8], width: int) -> NDArray[Any]:
    """Return what stands at each place of a buffer, `width` bytes of it."""
    return np.ndarray((len(content) - width + 1,), f"V{width}", content, strides=(1,))


_KEEP: Final = np.where(np.arange(_INLINE_BYTES) < np.arange(_INLINE_BYTES + 1)[:, None], 0xFF, 0).astype(np.uint8)


def _is_flat(kind: Any) -> bool:
    """Return whether no array, map or reference to a type around it is in there."""
    if isinstance(kind, list):
        return all(map(_is_flat, kind))
    if isinstance(kind, str):
        return kind in _PRIMITIVES
    if kind["type"] == "record":
        return all(_is_flat(field["type"]) for field in kind["fields"])
    return kind["type"] in ("enum", "fixed") or _is_flat(kind["type"])


def _per_second(kind: Any) -> float:
    """Return by what a time is divided to be seconds: the logical type says in which unit it is."""
    if isinstance(kind, list):
        return max(map(_per_second, kind), default=1.0)
    return _PER_SECOND.get(kind.get("logicalType", ""), 1.0) if isinstance(kind, dict) else 1.0
