"""A DuckDB connection with the lake's tables as views, which can read those and nothing else.

Views: `bronze`, `silver`, `quarantine`, and `gold.<name>` for each gold table that is there.
"""

from __future__ import annotations

import datetime as dt
import os
import tempfile
import uuid
from collections.abc import Mapping
from dataclasses import dataclass

import duckdb
from deltalake import DeltaTable

from query.versions import moment, table_at
from schemas.errors import ConfigError, LakeNotFound
from schemas.tables import POSITION, TABLES
from sink.lake import Lake, data_files, store_trouble
from sink.replays import is_in_flight
from sink.scan import connect as scan_connect
from sink.scan import create_view


@dataclass(frozen=True)
class View:
    """One view: its name, what it holds, the table's version and how many files that has."""

    name: str
    description: str
    version: int
    files: int


_DESCRIPTIONS = {
    "bronze": "every record as it came, byte for byte",
    "silver": "valid events, typed and enriched",
    "quarantine": "refused records with their reasons",
}


def connect(
    lake_uri: str,
    as_of: str | int | dt.datetime | None = None,
    *,
    mentioned_in: str | None = None,
    unsafe: bool = False,
) -> duckdb.DuckDBPyConnection:
    """Return an in-memory DuckDB connection with the lake's tables as views, at their newest commits.

    The views stay at those versions; connect again to see newer ones. The connection is closed off: it reads the
    views' files and no others, loads no extension, and its settings are locked. What it creates (tables, views) lives
    in memory. `query.ask` also refuses statements that could write to a file; use it for SQL that others wrote.

    Args:
        lake_uri: a folder or `s3://bucket/prefix`.
        as_of: ISO 8601 text or a datetime for each table as it was then, or the number of a version of silver.
        mentioned_in: make only the views whose names occur in this text, which saves opening the others' files;
            all when none does.
        unsafe: leave the connection open: it may read and write whatever this process may, the lake's files included.

    Raises:
        LakeNotFound: there is no lake.
        IncompatibleLake: another version of playlake wrote it.
        ConfigError: `as_of` is no time, or the lake does not reach back that far.
        StoreUnavailable: the store did not answer.
    """
    lake = Lake.at(lake_uri)
    handles = tables(lake, as_of)
    if mentioned_in is not None:
        text = mentioned_in.lower()
        wanted = {name for name in handles if name.removeprefix("gold/") in text}
        if "quarantine" in wanted and is_in_flight(handles["silver"], handles["quarantine"]):
            wanted.add("silver")
        handles = {name: handles[name] for name in wanted} or handles
    return open_views(lake, handles, unsafe=unsafe)


def open_views(lake: Lake, handles: Mapping[str, DeltaTable], *, unsafe: bool = False) -> duckdb.DuckDBPyConnection:
    """Return a connection with views over these tables of the lake, at the handles' versions; else as `connect`."""
    con = scan_connect(lake)
    con.execute("create schema gold")
    paths: list[str] = []
    for name, handle in handles.items():
        files = data_files(handle)
        try:
            create_view(con, view_name(name), handle, files)
        except (duckdb.IOException, FileNotFoundError) as error:
            raise _gone(lake, name, handle, error) from error
        paths += files
    if {"silver", "quarantine"} <= handles.keys() and is_in_flight(handles["silver"], handles["quarantine"]):
        # Of a record in both, silver's row is the one that stays.
        position = ", ".join(field.name for field in POSITION)
        con.execute("alter view quarantine rename to __quarantine")
        con.execute(f"create view quarantine as from __quarantine anti join silver using ({position})")
    if not unsafe:
        _close_off(con, paths)
    return con


def tables(lake: Lake, as_of: str | int | dt.datetime | None = None) -> dict[str, DeltaTable]:
    """Return the lake's tables by name (`silver`, `gold/title_daily`), at their newest versions or as of a time.

    Raises:
        As `connect`.
    """
    lake.require()
    names = [*TABLES, *gold_names(lake)]
    if as_of is None:
        return {name: lake.table(name) for name in names}
    at = moment(lake, as_of)
    handles = {}
    for name in names:
        try:
            handles[name] = table_at(lake, name, at)
        except LakeNotFound as error:
            if name == "silver":
                raise ConfigError(f"there is nothing as of {at:%Y-%m-%dT%H:%M:%SZ}: {error}") from None
    return handles


def views(lake: Lake, handles: dict[str, DeltaTable]) -> list[View]:
    """Describe the views over these tables, in order."""
    return [
        View(
            view_name(name),
            _DESCRIPTIONS.get(name) or handle.metadata().description or "",
            handle.version(),
            len(handle.file_uris()),
        )
        for name, handle in handles.items()
    ]


def view_name(table: str) -> str:
    """Return the view over a table: `gold.title_daily` for `gold/title_daily`."""
    return table.replace("/", ".")


def gold_names(lake: Lake) -> list[str]:
    """Return the names of the gold tables that are there, as `gold/title_daily`."""
    folder = f"{lake.uri}/gold"
    try:
        found = [str(path).rstrip("/").rsplit("/", 1)[-1] for path in lake.filesystem().ls(folder, detail=False)]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise store_trouble(folder, error) from error
    return [f"gold/{name}" for name in sorted(found) if name.isidentifier() and lake.exists(f"gold/{name}")]


def _close_off(con: duckdb.DuckDBPyConnection, paths: list[str]) -> None:
    # Made by DuckDB when a query first needs it, and taken away with the connection.
    spill = os.path.join(tempfile.gettempdir(), f"playlake-query-{uuid.uuid4().hex}")
    con.execute("set temp_directory = $1", [spill])
    con.execute("set python_enable_replacements = false")  # else `from settings` would read our own variables
    con.execute("set allowed_paths = $1", [paths])
    con.execute("set enable_external_access = false")
    con.execute("set lock_configuration = true")


def _gone(lake: Lake, name: str, handle: DeltaTable, error: Exception) -> ConfigError:
    return ConfigError(
        f"version {handle.version()} of {lake.path(name)} names a file that is gone (files that were replaced are "
        f"deleted after 7 days): {str(error).splitlines()[0]}"
    )
