"""Write an answer as table, CSV, JSON or Parquet, as its rows come: memory does not grow with them."""

from __future__ import annotations

import csv
import datetime as dt
import json
import math
from collections.abc import Iterator
from decimal import Decimal
from itertools import chain
from typing import IO, Any, Final, Literal

import pyarrow.parquet as pq

from query.ask import Answer, ArrowAnswer

Format = Literal["table", "csv", "json", "parquet"]

_MEASURED_ROWS: Final = 1_000
"""Rows that decide the widths of a table's columns; a longer value further down sticks out."""
_MOST_WIDTH: Final = 60
_INTEGERS: Final = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT")
_NUMBERS: Final = frozenset({*_INTEGERS, *(f"U{name}" for name in _INTEGERS), "FLOAT", "DOUBLE"})


def write_text(answer: Answer, format: Format, out: IO[str]) -> int:
    """Write an answer as `table`, `csv` or `json` (an array of objects); return the number of rows.

    Times are ISO 8601 in UTC; lists and maps are JSON; bytes are text, with escapes where they are no UTF-8. Null is
    `null` in a table and in JSON, empty in CSV.
    """
    if answer.columns == ("explain_key", "explain_value") and format == "table":
        return _explanation(answer, out)
    writers = {"table": _table, "csv": _csv, "json": _json}
    return writers[format](answer, out)


def write_parquet(answer: ArrowAnswer, out: IO[bytes]) -> int:
    """Write an answer as one Parquet file; return the number of rows."""
    rows = 0
    with pq.ParquetWriter(out, answer.schema, compression="zstd") as writer:
        for batch in answer.batches:
            writer.write_batch(batch)
            rows += batch.num_rows
    return rows


def plain(value: Any) -> Any:
    """Return a value as JSON takes it."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dt.datetime):
        if value.tzinfo is not None:
            return value.astimezone(dt.UTC).replace(tzinfo=None).isoformat() + "Z"
        return value.isoformat()
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).decode("utf-8", "backslashreplace")
    if isinstance(value, dict):
        return {str(plain(key)): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if value is None or isinstance(value, str | int | bool):
        return value
    return str(value)


def _cell(value: Any, null: str) -> str:
    value = plain(value)
    if value is None:
        return null
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def _table(answer: Answer, out: IO[str]) -> int:
    first: list[tuple[Any, ...]] = []
    batches = iter(answer.batches)
    for batch in batches:
        first += batch
        if len(first) >= _MEASURED_ROWS:
            break
    measured = [[_line(_cell(value, "null")) for value in row] for row in first[:_MEASURED_ROWS]]
    widths = [
        min(_MOST_WIDTH, max(len(name), *(len(row[index]) for row in measured), 0))
        for index, name in enumerate(answer.columns)
    ]
    is_number = [_is_number(kind) for kind in answer.types]

    def show(cells: list[str]) -> None:
        aligned = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(cells, widths, is_number, strict=True)
        ]
        out.write("  ".join(aligned).rstrip() + "\n")

    show(list(answer.columns))
    out.write("  ".join("-" * width for width in widths) + "\n")
    rows = 0
    for row in chain(first, _flat(batches)):
        show([_line(_cell(value, "null")) for value in row])
        rows += 1
    out.write(f"({rows:,} row{'' if rows == 1 else 's'})\n")
    return rows


def _csv(answer: Answer, out: IO[str]) -> int:
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(answer.columns)
    rows = 0
    for batch in answer.batches:
        writer.writerows([_cell(value, "") for value in row] for row in batch)
        rows += len(batch)
    return rows


def _json(answer: Answer, out: IO[str]) -> int:
    rows = 0
    for row in _flat(answer.batches):
        out.write("[\n" if rows == 0 else ",\n")
        fields = {name: plain(value) for name, value in zip(answer.columns, row, strict=True)}
        out.write(json.dumps(fields, ensure_ascii=False))
        rows += 1
    out.write("\n]\n" if rows else "[]\n")
    return rows


def _explanation(answer: Answer, out: IO[str]) -> int:
    rows = 0
    for row in _flat(answer.batches):
        out.write(f"{row[1]}\n")
        rows += 1
    return rows


def _flat(batches: Iterator[list[tuple[Any, ...]]]) -> Iterator[tuple[Any, ...]]:
    return chain.from_iterable(batches)


def _line(text: str) -> str:
    return text.replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")


def _is_number(kind: str) -> bool:
    return kind in _NUMBERS or (kind.startswith("DECIMAL(") and kind.endswith(")"))
