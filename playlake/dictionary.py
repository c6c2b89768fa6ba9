"""The data dictionary and where each table comes from, out of the event's schemas, the tables' and gold's SQL files.

`playlake schema dictionary` prints it; docs/data_dictionary.md is its Markdown, held to it by a test.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib.resources import files
from typing import Any, Final

import pyarrow as pa

from compaction import gold_files
from compaction.gold_files import GoldFile
from schemas.dictionary import MEANINGS, PURPOSES
from schemas.event import avro_versions
from schemas.tables import TABLES

_PREFACE: Final = """\
# Tables

The event as clients send it, and every table and column of a lake. This file is printed by `playlake schema
dictionary`; a test holds it to that. `playlake query` calls the tables `bronze`, `silver`, `quarantine` and
`gold.<name>`; Athena says `gold_<name>`. All times are UTC, timestamps in microseconds.
"""
_MADE_OF: Final[Mapping[str, tuple[str, ...]]] = {
    "bronze": ("event",),
    "silver": ("bronze",),
    "quarantine": ("bronze",),
}


@dataclass(frozen=True)
class Column:
    """One column of a table, or one field of the event.

    Attributes:
        name: of it.
        type: as DuckDB users know it; of the event as Avro says it.
        is_nullable: whether it may be null or, of the event, missing.
        meaning: prose; names in backticks.
    """

    name: str
    type: str
    is_nullable: bool
    meaning: str


@dataclass(frozen=True)
class Table:
    """One table, or the event.

    Attributes:
        name: as `playlake query` calls it.
        purpose: what it is for.
        grain: what one row is; empty where the purpose says so.
        path: below the lake's root; empty for the event.
        partition_by: its lake partition; empty for none.
        reads: names of the tables that it is made of.
        columns: in their order.
    """

    name: str
    purpose: str
    grain: str
    path: str
    partition_by: str
    reads: tuple[str, ...]
    columns: tuple[Column, ...]


def tables() -> list[Table]:
    """Return the event, the lake's own tables, and gold's by name."""
    declared = gold_files.load()
    return [
        _event(),
        *map(_own, TABLES),
        *(_gold(declared[name], declared) for name in sorted(gold_files.table_names())),
    ]


def as_json() -> str:
    """Return the dictionary as a JSON list of tables (`Table`)."""
    return json.dumps([asdict(table) for table in tables()], ensure_ascii=False, indent=2) + "\n"


def markdown() -> str:
    """Return the dictionary as Markdown."""
    return "\n".join([_PREFACE, *map(_section, tables())])


def html() -> str:
    """Return the dictionary as one page that needs nothing else."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    text = files("playlake").joinpath("dictionary.html").read_text(encoding="utf-8")
    return environment.from_string(text).render(tables=tables(), pieces=lambda prose: prose.split("`"))


def _event() -> Table:
    versions = avro_versions()
    newest = versions[max(versions)]
    since = {field["name"]: number for number in sorted(versions, reverse=True) for field in versions[number]["fields"]}
    columns = []
    for field in newest["fields"]:
        kinds = field["type"] if isinstance(field["type"], list) else [field["type"]]
        meaning = field["doc"] + (f" Since version {since[field['name']]}." if since[field["name"]] > 1 else "")
        columns.append(Column(field["name"], next(kind for kind in kinds if kind != "null"), "null" in kinds, meaning))
    return Table("event", newest["doc"], "", "", "", (), tuple(columns))


def _own(name: str) -> Table:
    spec = TABLES[name]
    columns = tuple(
        Column(field.name, _type(field.type), field.nullable, MEANINGS[name][field.name]) for field in spec.schema
    )
    return Table(name, PURPOSES[name], "", spec.path, spec.partition_by, _MADE_OF[name], columns)


def _gold(file: GoldFile, declared: Mapping[str, GoldFile]) -> Table:
    return Table(
        f"gold.{file.name}",
        _sentence(file.purpose),
        file.grain,
        f"gold/{file.name}",
        "event_date" if file.is_dated else "",
        tuple(dict.fromkeys(_sources(file, declared))),
        tuple(Column(column.name, column.type, True, column.meaning) for column in file.columns),
    )


def _sources(file: GoldFile, declared: Mapping[str, GoldFile]) -> Iterator[str]:
    """Yield the tables that a file reads, those of files that only others read included."""
    for read in file.reads:
        if read.source.startswith("gold/"):
            yield read.source.replace("/", ".")
        elif read.source in declared and declared[read.source].is_source:
            yield from _sources(declared[read.source], declared)
        else:
            yield "silver" if read.source == "null_partition" else read.source


def _section(table: Table) -> str:
    about = table.purpose
    if table.grain:
        about += f" One row: {table.grain}."
    if table.path:
        place = f"by `{table.partition_by}`" if table.partition_by else "replaced as a whole"
        about += f" In `{table.path}`, {place}; made of {', '.join(f'`{name}`' for name in table.reads)}."
    return "\n".join([f"## {table.name}", "", about, "", *_rows(table.columns), ""])


def _rows(columns: Iterable[Column]) -> Iterator[str]:
    yield "| column | type | meaning |"
    yield "|---|---|---|"
    for each in columns:
        kind = each.type + ("" if each.is_nullable else ", never null")
        yield f"| `{each.name}` | {kind} | {each.meaning.replace('|', chr(92) + '|')} |"


def _type(kind: pa.DataType) -> str:
    """Say an Arrow type as DuckDB users know it."""
    if pa.types.is_timestamp(kind):
        return "timestamptz"
    if pa.types.is_list(kind):
        return f"{_type(kind.value_type)}[]"
    if pa.types.is_map(kind):
        return f"map({_type(kind.key_type)}, {_type(kind.item_type)})"
    return _NAMES[kind]


_NAMES: Final[Mapping[Any, str]] = {
    pa.string(): "text",
    pa.binary(): "blob",
    pa.int32(): "integer",
    pa.int64(): "bigint",
    pa.float64(): "double",
    pa.date32(): "date",
}


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."
