"""Columns that a newer playlake brings: added to a table by a commit of their own, without touching a file.

Files from before lack them, and so do files of an older worker that writes beside: readers see null there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pyarrow as pa
from deltalake import DeltaTable, Schema
from deltalake.exceptions import CommitFailedError, DeltaError

from schemas.errors import CommitConflict, IncompatibleLake
from sink.lake import store_trouble

_MAX_ATTEMPTS = 20


def add_columns(handle: DeltaTable, fields: Sequence[pa.Field]) -> None:
    """Add columns to a table; rows that are there have null in them.

    Raises:
        CommitConflict: others changed the table meanwhile; nothing was changed.
        StoreUnavailable: the store does not answer.
    """
    try:
        handle.alter.add_columns(Schema.from_arrow(pa.schema(fields)).fields)
    except CommitFailedError as error:
        raise CommitConflict(
            f"{handle.table_uri} was changed by others meanwhile; nothing was changed: run it again"
        ) from error
    except (OSError, DeltaError) as error:
        raise store_trouble(handle.table_uri, error) from error


def add_missing_columns(handle: DeltaTable, wanted: pa.Schema) -> None:
    """Add the columns that a table lacks, whoever else writes or adds them; leave the handle where it has them all.

    Args:
        handle: one of the lake's own tables.
        wanted: as this playlake writes it.

    Raises:
        IncompatibleLake: the table has a column of that name and another type.
        CommitConflict, StoreUnavailable: as `add_columns`; the next start tries again.
    """
    add_columns_until(handle, lambda: _missing(handle, wanted))


def add_columns_until(handle: DeltaTable, missing: Callable[[], Sequence[pa.Field]]) -> None:
    """Add the columns that a table is said to lack until it lacks none, whoever else writes or adds some.

    Args:
        handle: left at a version that lacks none.
        missing: asked again after each refusal, with the handle at the newest version.

    Raises:
        CommitConflict, StoreUnavailable: as `add_columns`.
    """
    for _ in range(_MAX_ATTEMPTS):
        fields = missing()
        if not fields:
            return
        try:
            add_columns(handle, fields)
        except CommitConflict:
            _reload(handle)
    if missing():
        raise CommitConflict(f"{handle.table_uri} was changed by others at each of {_MAX_ATTEMPTS} tries: start again")


def _missing(handle: DeltaTable, wanted: pa.Schema) -> list[pa.Field]:
    known = pa.schema(handle.schema().to_arrow())
    for field in wanted:
        if field.name in known.names and known.field(field.name).type != field.type:
            raise IncompatibleLake(
                f"{handle.table_uri} has a column {field.name} of type {known.field(field.name).type}, this playlake "
                f"writes {field.type}: rename that column, or use the playlake that wrote it; nothing was touched"
            )
    return [field for field in wanted if field.name not in known.names]


def _reload(handle: DeltaTable) -> None:
    try:
        handle.update_incremental()
    except (OSError, DeltaError) as error:
        raise store_trouble(handle.table_uri, error) from error
