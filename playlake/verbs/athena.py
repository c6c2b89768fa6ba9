"""`playlake athena`: the DDL and queries with which Athena reads the lake."""

from __future__ import annotations

import json
import re
import sys
from typing import ClassVar

import pyarrow as pa
from pydantic import Field, field_validator

from compaction.manifests import write_manifests
from playlake.settings import VerbSettings
from query.athena import AthenaTable, Variant, named_queries, statements
from query.views import tables
from schemas.errors import ConfigError
from sink.lake import Lake


class Settings(VerbSettings):
    """Print what Athena needs to read the lake: DDL for each table, then queries to start with.

    By default the tables are Delta tables, which Athena reads as they are now. --variant hive is for engines that
    can't: its tables read the symlink manifests, which --manifests writes, as the lake is then.

    Example:
        playlake athena --lake s3://bucket/prefix --database playlake
    """

    verb: ClassVar[str] = "athena"

    lake: str = Field(description="folder or s3://bucket/prefix")
    database: str = Field("playlake", description="of the Glue catalogue")
    variant: Variant = Field("delta", description="delta or hive")
    manifests: bool = Field(False, description="write the symlink manifests of every table first")
    location: str | None = Field(None, description="s3://bucket/prefix where Athena finds a lake that is a folder here")
    as_json: bool = Field(False, alias="json", description="print ddl and queries as one JSON object")

    @field_validator("database")
    @classmethod
    def _is_name(cls, value: str) -> str:
        if not re.fullmatch(r"[a-z_][a-z0-9_]*", value):
            raise ValueError(f"{value!r} is no name for Glue: write lower-case letters, digits and _")
        return value


def run(settings: Settings) -> int:
    """Print; see `Settings`."""
    lake = Lake.at(settings.lake)
    place = Lake.at(settings.location) if settings.location is not None else lake
    if not place.is_s3:
        raise ConfigError(f"Athena reads S3 alone, and {place.uri} is a folder: say where it will be with --location")
    handles = tables(lake)
    if settings.manifests:
        write_manifests(lake, handles)
    found = [
        AthenaTable(
            name.replace("/", "_"),
            place.path(name),
            pa.schema(handle.schema().to_arrow()),
            tuple(handle.metadata().partition_columns),
        )
        for name, handle in handles.items()
    ]
    ddl, queries = statements(found, settings.database, settings.variant), named_queries(found)
    if settings.as_json:
        json.dump({"ddl": ddl, "queries": queries}, sys.stdout)
        print()
    else:
        print("\n\n".join(f"{each};" for each in ddl))
        for name, sql in queries.items():
            print(f"\n-- {name}\n{sql};")
    return 0
