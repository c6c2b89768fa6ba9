"""`playlake athena`: the DDL and queries with which Athena reads the lake."""

from __future__ import annotations

import json
import re
import sys
from typing import ClassVar, Final

import pyarrow as pa
from pydantic import Field, field_validator, model_validator

from compaction.manifests import write_manifests
from playlake.settings import VerbSettings
from query.athena import AthenaTable, Variant, named_queries, statements
from query.glue import carry_out, client, plan
from query.views import tables
from schemas.errors import ConfigError
from sink.lake import Lake

_WOULD: Final = {"create": "would create", "update": "would update", "keep": "is as it is"}
_DONE: Final = {"create": "created", "update": "updated", "keep": "is as it is"}


class Settings(VerbSettings):
    """Print what Athena needs to read the lake: DDL for each table, then queries to start with.

    By default the tables are Delta tables, which Athena reads as they are now. --variant hive is for engines that
    can't: its tables read the symlink manifests, which --manifests writes, as the lake is then.

    --register puts the database and the tables into Glue itself instead of printing: what is missing is created, what
    differs updated, so it may be run again and again. With --dry-run it says what it would do.

    Example:
        playlake athena --lake s3://bucket/prefix --database playlake
        playlake athena --lake s3://bucket/prefix --register --dry-run
    """

    verb: ClassVar[str] = "athena"

    lake: str = Field(description="folder or s3://bucket/prefix")
    database: str = Field("playlake", description="of the Glue catalogue")
    variant: Variant = Field("delta", description="delta or hive")
    manifests: bool = Field(False, description="write the symlink manifests of every table first")
    location: str | None = Field(None, description="s3://bucket/prefix where Athena finds a lake that is a folder here")
    register_: bool = Field(False, alias="register", description="put database and tables into Glue")
    dry_run: bool = Field(False, description="with --register: say what would change, and change nothing")
    as_json: bool = Field(False, alias="json", description="print one JSON object: ddl and queries, or changes")

    @field_validator("database")
    @classmethod
    def _is_name(cls, value: str) -> str:
        if not re.fullmatch(r"[a-z_][a-z0-9_]*", value):
            raise ValueError(f"{value!r} is no name for Glue: write lower-case letters, digits and _")
        return value

    @model_validator(mode="after")
    def _is_sound(self) -> Settings:
        if self.dry_run and not self.register_:
            raise ValueError("--dry-run goes with --register; without it, nothing is changed anyway")
        return self


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
    if settings.register_:
        _register(found, settings)
        return 0
    ddl, queries = statements(found, settings.database, settings.variant), named_queries(found)
    if settings.as_json:
        json.dump({"ddl": ddl, "queries": queries}, sys.stdout)
        print()
    else:
        print("\n\n".join(f"{each};" for each in ddl))
        for name, sql in queries.items():
            print(f"\n-- {name}\n{sql};")
    return 0


def _register(found: list[AthenaTable], settings: Settings) -> None:
    glue = client()
    changes = plan(glue, found, settings.database, settings.variant)
    if not settings.dry_run:
        carry_out(glue, changes, settings.database)
    if settings.as_json:
        listed = [{"kind": c.kind, "name": c.name, "action": c.action, "differs": c.differs} for c in changes]
        print(json.dumps({"dry_run": settings.dry_run, "changes": listed}))
        return
    words = _WOULD if settings.dry_run else _DONE
    for change in changes:
        differs = f" ({', '.join(change.differs)})" if change.differs else ""
        print(f"{words[change.action]:<12}  {change.kind:<8}  {change.name}{differs}")
    if settings.variant == "hive":
        print("For their lake partitions, run in Athena the MSCK REPAIR TABLEs that are printed without --register")
