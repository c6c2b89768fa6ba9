"""A person's ids, and whether bytes name them: in text, or as a string of an Avro record."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Final

_WIRE_MAGIC: Final = b"\x00"
"""First byte of an Avro record in Confluent's wire format."""
_WORD: Final = rb"[0-9A-Za-z_]"


class Person:
    """The ids that one person goes by.

    Attributes:
        ids: `user_id` as rows have it; not empty.
        pattern: regular expression (RE2) that finds every form of the ids in bytes as DuckDB shows them
            (`cast(value as varchar)`). Finds more than `is_named_in` does, and nothing less.
    """

    def __init__(self, ids: Sequence[str]) -> None:
        """Take ids, each at least one character."""
        self.ids = tuple(ids)
        forms = sorted({form for each in ids for form in _forms(each)})
        self.pattern = "|".join(re.escape(_as_shown(form)) for form in forms)
        self._words = re.compile(rb"(?<!%b)(?:%b)(?!%b)" % (_WORD, b"|".join(map(re.escape, forms)), _WORD))
        self._avro_strings = [_avro_string(each) for each in ids]

    def is_named_in(self, data: bytes) -> bool:
        """Return whether an id stands in there: as a whole word, as it is or escaped as JSON does, or as Avro string.

        Whole word: no ASCII letter, digit or underscore next to it. In Avro other fields' bytes may be next to it, and
        its length is in front.
        """
        if self._words.search(data) is not None:
            return True
        return data.startswith(_WIRE_MAGIC) and any(each in data for each in self._avro_strings)


def _forms(text: str) -> set[bytes]:
    """Return text as it is, in a JSON string, and in a JSON string within one (statistics in a Delta log)."""
    found = {text}
    for ascii_only in (True, False):
        once = json.dumps(text, ensure_ascii=ascii_only)[1:-1]
        found |= {once, json.dumps(once, ensure_ascii=ascii_only)[1:-1]}
    return {each.encode() for each in found}


def _as_shown(data: bytes) -> str:
    """Return bytes as DuckDB casts a blob to text."""
    return "".join(chr(byte) if 0x20 <= byte < 0x7F and byte not in b"\\'\"" else f"\\x{byte:02X}" for byte in data)


def _avro_string(text: str) -> bytes:
    """Return text as Avro's binary encoding writes a string: its length (zig-zag, base 128), then its UTF-8."""
    data = text.encode()
    left, prefix = len(data) << 1, bytearray()
    while left > 0x7F:
        prefix.append(left & 0x7F | 0x80)
        left >>= 7
    prefix.append(left)
    return bytes(prefix) + data
