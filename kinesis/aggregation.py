"""Records that the Kinesis producer library packed into one, unpacked.

The format is documented with the library (aggregation-format.md): four magic bytes, a protobuf message, the MD5 of
that message. Of protobuf it takes varints and byte strings, which is what is read here.

    AggregatedRecord  1: repeated string partition_key_table   2: repeated string explicit_hash_key_table
                      3: repeated Record records
    Record            1: uint64 partition_key_index            2: optional uint64 explicit_hash_key_index
                      3: bytes data                            4: repeated Tag tags
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Final

MAGIC: Final = b"\xf3\x89\x9a\xc2"
_DIGEST_BYTES: Final = 16
_MOST_KEY_LETTERS: Final = 256
_VARINT, _FIXED_64, _BYTES, _FIXED_32 = 0, 1, 2, 5


def unpack(value: bytes) -> list[tuple[str, bytes]] | None:
    """Return the keys and values that a record of Kinesis holds, in order; None where it is not a packed one.

    What begins with the magic bytes but isn't whole is not a packed one either: such bytes are a record as they are.
    """
    if not value.startswith(MAGIC) or len(value) < len(MAGIC) + _DIGEST_BYTES:
        return None
    message = value[len(MAGIC) : -_DIGEST_BYTES]
    if hashlib.md5(message, usedforsecurity=False).digest() != value[-_DIGEST_BYTES:]:
        return None
    try:
        return _records(message)
    except (ValueError, IndexError):
        return None


def _records(message: bytes) -> list[tuple[str, bytes]]:
    keys: list[str] = []
    records: list[bytes] = []
    for number, content in _fields(message):
        if number == 1:
            key = _bytes(content).decode()
            if len(key) > _MOST_KEY_LETTERS:  # one of a megabyte, named by each of many records, would fill the memory
                raise ValueError("a partition key longer than Kinesis takes")
            keys.append(key)
        elif number == 3:
            records.append(_bytes(content))
    return [_record(record, keys) for record in records]


def _record(message: bytes, keys: list[str]) -> tuple[str, bytes]:
    key: str | None = None
    value: bytes | None = None
    for number, content in _fields(message):
        if number == 1:
            if not isinstance(content, int):
                raise ValueError("an index that is no number")
            key = keys[content]
        elif number == 3:
            value = _bytes(content)
    if key is None or value is None:
        raise ValueError("a record without a key or data")
    return key, value


def _bytes(content: int | bytes) -> bytes:
    if isinstance(content, int):
        raise ValueError("a number where bytes belong")
    return content


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield each field's number and content; raises ValueError or IndexError where the bytes are no protobuf."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        kind = tag & 7
        if kind == _VARINT:
            content, at = _varint(message, at)
            yield tag >> 3, content
            continue
        if kind == _BYTES:
            size, at = _varint(message, at)
        elif kind in (_FIXED_64, _FIXED_32):
            size = 8 if kind == _FIXED_64 else 4
        else:
            raise ValueError(f"protobuf has no type {kind}")
        if at + size > len(message):
            raise ValueError("the message ends within a field")
        yield tag >> 3, message[at : at + size]
        at += size


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if not byte & 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a varint of more than 64 bits")
