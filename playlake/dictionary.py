"""The data dictionary, from the tables' schemas and gold's SQL files: `python -m playlake.dictionary`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Final

import pyarrow as pa

from compaction import gold_files
from schemas.dictionary import MEANINGS, PURPOSES
from schemas.tables import TABLES

_PREFACE: Final = """\
# Tables

Every table and column of a lake. This file is printed by `python -m playlake.dictionary`; a test holds it to that.
`playlake query` calls the tables `bronze`, `silver`, `quarantine` and `gold.<name>`; Athena says `gold_<name>`.
All times are UTC, timestamps in microseconds.
"""


def markdown() -> str:
    """Return the whole dictionary as Markdown."""
    parts = [_PREFACE]
    for spec in TABLES.values():
        rows = (
            (
                field.name,
                _type(field.type) + ("" if field.nullable else ", never null"),
                MEANINGS[spec.name][field.name],
            )
            for field in spec.schema
        )
        parts.append(_section(spec.name, f"{PURPOSES[spec.name]} In `{spec.path}`, by `{spec.partition_by}`.", rows))
    declared = gold_files.load()
    for name in sorted(gold_files.table_names()):
        file = declared[name]
        place = "by `event_date`" if file.is_dated else "replaced as a whole"
        about = f"{_sentence(file.purpose)} One row: {file.grain}. In `gold/{name}`, {place}."
        parts.append(_section(f"gold.{name}", about, ((c.name, c.type, c.meaning) for c in file.columns)))
    return "\n".join(parts)


def _section(title: str, about: str, rows: Iterable[tuple[str, str, str]]) -> str:
    return "\n".join([f"## {title}", "", about, "", *_table(rows), ""])


def _table(rows: Iterable[tuple[str, str, str]]) -> Iterator[str]:
    yield "| column | type | meaning |"
    yield "|---|---|---|"
    for name, kind, meaning in rows:
        yield f"| `{name}` | {kind} | {meaning.replace('|', chr(92) + '|')} |"


def _type(kind: pa.DataType) -> str:
    """Say an Arrow type as DuckDB users know it."""
    if pa.types.is_timestamp(kind):
        return "timestamptz"
    if pa.types.is_list(kind):
        return f"{_type(kind.value_type)}[]"
    if pa.types.is_map(kind):
        return f"map({_type(kind.key_type)}, {_type(kind.item_type)})"
    return _NAMES[kind]


_NAMES: Final = {
    pa.string(): "text",
    pa.binary(): "blob",
    pa.int32(): "integer",
    pa.int64(): "bigint",
    pa.float64(): "double",
    pa.date32(): "date",
}


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


if __name__ == "__main__":
    sys.stdout.write(markdown())
