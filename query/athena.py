"""What Athena needs to read the lake: DDL for each table, and queries to start with. Pure.

Tables are `bronze`, `silver`, `quarantine` and `gold_<name>`, all in one database. Two ways to declare them:

- `delta`: Athena reads the Delta log itself (engine version 3), so every commit is seen at once.
- `hive`: the table reads `_symlink_format_manifest/` and nothing else, since the data folder also holds files that were
  removed or whose commit was refused. Athena sees the lake as it was when the manifests were written.

Source: Amazon Athena user guide, "Query Linux Foundation Delta Lake tables"; Delta Lake documentation, "Presto, Trino
and Athena to Delta Lake integration using manifests".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Final, Literal

import pyarrow as pa

Variant = Literal["delta", "hive"]

_TYPES: Final = {
    pa.string(): "string",
    pa.large_string(): "string",
    pa.binary(): "binary",
    pa.bool_(): "boolean",
    pa.int32(): "int",
    pa.int64(): "bigint",
    pa.float64(): "double",
    pa.date32(): "date",
}
MANIFESTS: Final = "_symlink_format_manifest"
"""Folder below a table's location that its symlink manifests are in."""
_SYMLINK_FORMAT: Final = (
    "ROW FORMAT SERDE 'org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe'\n"
    "STORED AS INPUTFORMAT 'org.apache.hadoop.hive.ql.io.SymlinkTextInputFormat'\n"
    "OUTPUTFORMAT 'org.apache.hadoop.hive.ql.io.HiveIgnoreKeyTextOutputFormat'"
)


@dataclass(frozen=True)
class AthenaTable:
    """One table as Athena is told of it.

    Attributes:
        name: in Athena.
        location: `s3://…` of the Delta table, without a slash at its end.
        schema: Arrow schema, partition columns included.
        partition_by: the partition columns; empty for none.
    """

    name: str
    location: str
    schema: pa.Schema
    partition_by: tuple[str, ...]


def statements(tables: Sequence[AthenaTable], database: str, variant: Variant) -> list[str]:
    """Return the DDL in the order in which to run it; Athena takes one statement at a time."""
    make = _delta if variant == "delta" else _hive
    return [f"CREATE DATABASE IF NOT EXISTS `{database}`", *(s for table in tables for s in make(table, database))]


def named_queries(tables: Sequence[AthenaTable]) -> dict[str, str]:
    """Return queries to start with, in Athena's SQL: name → one statement; after the usual ones, one a gold table.

    Those name the columns and, where a table has dates, the last seven days, since Athena charges by bytes read.
    """
    text = files("query").joinpath("athena.sql").read_text(encoding="utf-8")
    found = {}
    for part in text.split("-- name: ")[1:]:
        name, _, sql = part.partition("\n")
        found[name.strip()] = sql.strip().removesuffix(";")
    return found | {table.name: _newest_rows(table) for table in tables if table.name.startswith("gold_")}


def _newest_rows(table: AthenaTable) -> str:
    columns = ", ".join(f'"{name}"' for name in table.schema.names)
    sql = f"select {columns}\nfrom {table.name}"  # names of our own tables
    if "event_date" in table.schema.names:
        sql += "\nwhere event_date >= current_date - interval '7' day\norder by event_date desc"
    return f"{sql}\nlimit 1000"


def athena_type(kind: pa.DataType) -> str:
    """Return Athena's DDL name of an Arrow type.

    Raises:
        KeyError: none of the lake's types.
    """
    if pa.types.is_timestamp(kind):
        return "timestamp"
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return f"array<{athena_type(kind.value_type)}>"
    if pa.types.is_map(kind):
        return f"map<{athena_type(kind.key_type)},{athena_type(kind.item_type)}>"
    return _TYPES[kind]


def _delta(table: AthenaTable, database: str) -> Iterator[str]:
    yield (
        f"CREATE EXTERNAL TABLE IF NOT EXISTS `{database}`.`{table.name}`\n"
        f"LOCATION '{table.location}/'\nTBLPROPERTIES ('table_type' = 'DELTA')"
    )


def _hive(table: AthenaTable, database: str) -> Iterator[str]:
    columns: list[str] = []
    partitions: list[str] = []
    for field in table.schema:
        target = partitions if field.name in table.partition_by else columns
        target.append(f"  `{field.name}` {athena_type(field.type)}")
    declared, by = (",\n".join(lines) for lines in (columns, partitions))
    partitioned = f"PARTITIONED BY (\n{by}\n)\n" if partitions else ""
    yield (
        f"CREATE EXTERNAL TABLE IF NOT EXISTS `{database}`.`{table.name}` (\n{declared}\n)\n"
        f"{partitioned}{_SYMLINK_FORMAT}\nLOCATION '{table.location}/{MANIFESTS}/'"
    )
    if partitions:
        yield f"MSCK REPAIR TABLE `{database}`.`{table.name}`"
