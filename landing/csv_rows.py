"""CSV as JSON objects, a row each: the first line names the fields.

CSV knows no types: every value is text, but for the fields that are numbers in the event's own schema. An empty value
is an absent field. A row that is no row of this file stays as it came, and is refused as a bad record.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from typing import Final

import pyarrow as pa

from landing.split import LONGEST, Pieces
from schemas.event import NUMBER_FIELDS

CSV_HEADER: Final = "csv.line"
"""Header of a record made of a CSV row: its bytes as they came, without the newline."""

_ROWS: Final = 10_000
_NUMBER: Final = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?")


class BadHeader(Exception):
    """A file whose first line can't name fields."""


class _Lines:
    """Lines as text for `csv.reader`, which knows which rows have several; keeps what they were as bytes."""

    def __init__(self, content: io.RawIOBase) -> None:
        self._reader = io.BufferedReader(content, 256 << 10)
        self.number = 0
        self.taken: list[bytes] = []

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._reader.readline(LONGEST)
        if not line:
            raise StopIteration
        self.number += 1
        self.taken.append(line)
        return line.decode()

    def take(self) -> bytes:
        """Return what was read since the last time, without its newline."""
        row, self.taken = b"".join(self.taken), []
        return row.removesuffix(b"\n").removesuffix(b"\r")


def csv_rows(content: io.RawIOBase) -> Iterator[tuple[Pieces, list[bytes]]]:
    """Yield rows as JSON, and beside each its bytes as they came.

    Raises:
        BadHeader: the first line names no fields, or one twice.
    """
    lines = _Lines(content)
    rows = csv.reader(lines, strict=True)
    try:
        names = [name.strip() for name in next(rows, [])]
    except (csv.Error, UnicodeDecodeError) as error:
        raise BadHeader(f"its first line names no fields: {error}") from error
    if not lines.number:
        return
    if not all(names) or len(set(names)) != len(names):
        raise BadHeader("its first line does not name each field once")
    lines.take()
    values: list[bytes] = []
    places: list[str] = []
    originals: list[bytes] = []
    while True:
        place = str(lines.number + 1)
        try:
            row = next(rows)
        except StopIteration:
            break
        except (csv.Error, UnicodeDecodeError):
            row = None
        original = lines.take()
        if not original:
            continue
        values.append(original if row is None or len(row) != len(names) else _as_json(names, row))
        places.append(place)
        originals.append(original)
        if len(values) == _ROWS:
            yield _pieces(values, places), originals
            values, places, originals = [], [], []
    yield _pieces(values, places), originals


def _pieces(values: list[bytes], places: list[str]) -> Pieces:
    return Pieces(pa.array(values, pa.binary()), pa.array(places, pa.string()))


def _as_json(names: list[str], row: list[str]) -> bytes:
    fields = ", ".join(
        f"{json.dumps(name)}: {text if name in NUMBER_FIELDS and _NUMBER.fullmatch(text) else json.dumps(text)}"
        for name, text in zip(names, row, strict=True)
        if text
    )
    return f"{{{fields}}}".encode()
