"""Put the lake's tables into the Glue catalogue, where Athena and others find them.

`plan` compares what Glue has with what it should have, and `carry_out` makes the difference good: so a dry run shows
exactly what a run would do, and a second run does nothing.

Source: AWS Glue API reference, "Database" and "Table" (TableInput); Amazon Athena user guide, "Query Linux Foundation
Delta Lake tables"; the parameters by which Athena, Trino and Spark know a Delta table are `table_type` and
`spark.sql.sources.provider`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal

from query.athena import MANIFESTS, AthenaTable, Variant, athena_type
from schemas.errors import ConfigError, StoreUnavailable

_PARQUET_SERDE: Final = "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe"
_OF_A_VARIANT: Final = ("table_type", "classification", "spark.sql.sources.provider")
_DELTA_FORMATS: Final = {
    "InputFormat": "org.apache.hadoop.mapred.SequenceFileInputFormat",
    "OutputFormat": "org.apache.hadoop.hive.ql.io.HiveSequenceFileOutputFormat",
    "SerdeInfo": {"SerializationLibrary": "org.apache.hadoop.hive.serde2.lazy.LazySimpleSerDe"},
}
_MANIFEST_FORMATS: Final = {
    "InputFormat": "org.apache.hadoop.hive.ql.io.SymlinkTextInputFormat",
    "OutputFormat": "org.apache.hadoop.hive.ql.io.HiveIgnoreKeyTextOutputFormat",
    "SerdeInfo": {"SerializationLibrary": _PARQUET_SERDE},
}


@dataclass(frozen=True)
class Change:
    """What is to be done for one database or table.

    Attributes:
        kind: `database` or `table`.
        name: of it, in Glue.
        action: `create`, `update` or `keep`.
        differs: what an update changes: names of the TableInput's parts, `columns` for short.
        entry: the DatabaseInput or TableInput that Glue is given.
    """

    kind: Literal["database", "table"]
    name: str
    action: Literal["create", "update", "keep"]
    differs: tuple[str, ...]
    entry: Mapping[str, Any]


def client() -> Any:
    """Return boto3's client of Glue; region, keys and `AWS_ENDPOINT_URL_GLUE` come from the usual AWS variables.

    Raises:
        ConfigError: no region is set.
    """
    import boto3

    with _our_errors("the catalogue"):
        return boto3.client("glue")


def plan(glue: Any, tables: Sequence[AthenaTable], database: str, variant: Variant) -> list[Change]:
    """Return what it takes for Glue to have the database and these tables; reads only.

    What others added to an entry (descriptions, further parameters) is kept. Tables that are no longer in the lake stay
    in Glue.

    Raises:
        ConfigError: Glue refused, or a table of that name is something else than ours.
        StoreUnavailable: Glue did not answer.
    """
    with _our_errors(database):
        there = _found(glue, glue.get_database, Name=database)
        entry = {"Name": database, "Description": "playlake"}
        changes = [Change("database", database, "keep" if there else "create", (), entry)]
        for table in tables:
            wanted = _table_input(table, variant)
            answer = _found(glue, glue.get_table, DatabaseName=database, Name=table.name) if there else None
            changes.append(_compared(wanted, answer["Table"] if answer else None, database))
    return changes


def carry_out(glue: Any, changes: Sequence[Change], database: str) -> None:
    """Do what `plan` returned; idempotent. Raises as `plan`."""
    for change in changes:
        with _our_errors(f"{database}.{change.name}" if change.kind == "table" else database):
            if change.action == "create" and change.kind == "database":
                glue.create_database(DatabaseInput=dict(change.entry))
            elif change.action == "create":
                glue.create_table(DatabaseName=database, TableInput=dict(change.entry))
            elif change.action == "update":
                glue.update_table(DatabaseName=database, TableInput=dict(change.entry))


def _table_input(table: AthenaTable, variant: Variant) -> dict[str, Any]:
    fields = [{"Name": field.name, "Type": athena_type(field.type)} for field in table.schema]
    is_delta = variant == "delta"
    place = f"{table.location}/" if is_delta else f"{table.location}/{MANIFESTS}/"
    formats = _DELTA_FORMATS if is_delta else _MANIFEST_FORMATS
    parameters = {"EXTERNAL": "TRUE", "playlake": variant}
    if is_delta:  # Delta's log says the lake partitions; Glue is told no keys
        parameters |= {"table_type": "DELTA", "classification": "delta", "spark.sql.sources.provider": "delta"}
    keys = [] if is_delta else [field for field in fields if field["Name"] in table.partition_by]
    return {
        "Name": table.name,
        "TableType": "EXTERNAL_TABLE",
        "Parameters": parameters,
        "StorageDescriptor": {
            "Columns": [field for field in fields if field not in keys],
            "Location": place,
            **formats,
        },
        "PartitionKeys": keys,
    }


def _compared(wanted: dict[str, Any], there: Mapping[str, Any] | None, database: str) -> Change:
    if there is None:
        return Change("table", wanted["Name"], "create", (), wanted)
    had, old = there.get("Parameters", {}), there.get("StorageDescriptor", {})
    if "playlake" not in had and old.get("Location") != wanted["StorageDescriptor"]["Location"]:
        raise ConfigError(
            f"{database}.{wanted['Name']} is in Glue already and shows {old.get('Location') or 'no place'}: "
            "it is not playlake's; choose another --database"
        )
    storage = {**old, **wanted["StorageDescriptor"]}
    differs = [part for part in wanted["StorageDescriptor"] if not _same(old.get(part), storage[part])]
    differs += ["PartitionKeys"] if _typed(there.get("PartitionKeys", [])) != _typed(wanted["PartitionKeys"]) else []
    parameters = {**{k: v for k, v in had.items() if k not in _OF_A_VARIANT}, **wanted["Parameters"]}
    differs += ["Parameters"] if parameters != had else []
    if not differs:
        return Change("table", wanted["Name"], "keep", (), wanted)
    kept = {name: there[name] for name in ("Description", "Owner", "Retention") if name in there}
    entry = {**wanted, **kept, "StorageDescriptor": storage, "Parameters": parameters}
    return Change("table", wanted["Name"], "update", tuple(differs), entry)


def _same(old: Any, new: Any) -> bool:
    """Whether a part is as wanted; of columns, names and types count, comments are others' own."""
    if isinstance(new, list):
        return _typed(old or []) == _typed(new)
    if isinstance(new, dict):
        return all((old or {}).get(key) == value for key, value in new.items())
    return bool(old == new)


def _typed(fields: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    return [(field["Name"], field.get("Type", "")) for field in fields]


def _found(glue: Any, get: Any, **which: str) -> Any:
    try:
        return get(**which)
    except glue.exceptions.EntityNotFoundException:
        return None


@contextmanager
def _our_errors(what: str) -> Iterator[None]:
    from botocore.exceptions import (
        BotoCoreError,
        ClientError,
        EndpointConnectionError,
        NoRegionError,
    )

    try:
        yield
    except NoRegionError:
        raise ConfigError("Glue is in some AWS region: say which with AWS_DEFAULT_REGION") from None
    except EndpointConnectionError as error:
        raise StoreUnavailable(f"Glue did not answer for {what}: {error}") from error
    except ClientError as error:
        said = error.response.get("Error", {})
        raise ConfigError(f"Glue refused {what}: {said.get('Code')}: {said.get('Message')}") from error
    except BotoCoreError as error:
        raise ConfigError(f"Glue can't be asked for {what}: {' '.join(str(error).split())}") from error
