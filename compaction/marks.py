"""Marks of a repair in the rows it changed: columns that say what was done, and hold what undo gives back."""

from __future__ import annotations

from typing import Final

import pyarrow as pa
from deltalake import DeltaTable

from schemas.errors import ConfigError
from schemas.tables import RepairColumns
from sink.lake import Lake

EVENT_DATE_SOURCE: Final = "event_date_source"
REPAIR_ID: Final = "repair_id"
EVENT_DATE_BEFORE: Final = "event_date_before"
EVENT_TIME_BEFORE: Final = "event_time_before"
"""The marks of a repaired row: where its date came from, by which repair, and what undo gives back. Silver has the
first two; the others, and all of them in a table of somebody else's, are added by the first repair that needs them."""

HELD: Final = "held:"
"""Before the id in `repair_id` of rows whose repair was undone; `repair.sql` knows it, too."""
_EVENT_TIME_KEY: Final = "playlake.event_time"
"""Name in the metadata of the column `event_date_before` under which stands which column was the event time."""


def repair_columns(lake: Lake) -> RepairColumns:
    """Return the roles of the columns of the table of events."""
    columns = lake.events.repair
    assert columns is not None  # noqa: S101  # what makes it the table of events
    return columns


def why_not_repaired(lake: Lake) -> str | None:
    """Return why rows of the table of events must not be changed; None where they may."""
    return repair_columns(lake).refused


def require_repairable(lake: Lake) -> None:
    """Raise `ConfigError` where rows of the table of events must not be changed."""
    refused = why_not_repaired(lake)
    if refused is not None:
        raise ConfigError(f"{lake.path(lake.events.name)} can't be repaired, nothing was changed: {refused}")


def missing_marks(lake: Lake, handle: DeltaTable, *, implausible: bool) -> list[pa.Field]:
    """Return the columns that a repair needs and the table lacks.

    Args:
        lake: where.
        handle: the table of events.
        implausible: whether dates that can't be right are repaired, too, which silver must be able to give back.

    Raises:
        ConfigError: the table uses some of these names itself, or was repaired with another event time.
    """
    schema = pa.schema(handle.schema().to_arrow())
    spec, columns = lake.events, repair_columns(lake)
    marks = [pa.field(EVENT_DATE_SOURCE, pa.string()), pa.field(REPAIR_ID, pa.string())]
    if implausible or not lake.is_own:
        about = {_EVENT_TIME_KEY: columns.event_time}
        marks.append(pa.field(EVENT_DATE_BEFORE, schema.field(spec.partition_by).type, metadata=about))
        if columns.is_set:
            marks.append(pa.field(EVENT_TIME_BEFORE, schema.field(columns.event_time).type))
    missing = [field for field in marks if field.name not in schema.names]
    strange = [
        field.name
        for field in marks
        if field.name in schema.names and (schema.field(field.name).type != field.type or (missing and not lake.is_own))
    ]
    require_same_event_time(lake, schema)
    if strange:
        raise ConfigError(
            f"{lake.path(spec.name)} has a column {strange[0]} of its own, which is what a repair would call one of "
            "its marks; nothing was changed"
        )
    return missing


def require_same_event_time(lake: Lake, schema: pa.Schema) -> None:
    """Raise `ConfigError` where earlier repairs set another column than the one that is now the event time."""
    if EVENT_DATE_BEFORE not in schema.names:
        return
    known = (schema.field(EVENT_DATE_BEFORE).metadata or {}).get(_EVENT_TIME_KEY.encode(), b"").decode()
    if known not in ("", repair_columns(lake).event_time):
        raise ConfigError(
            f"{lake.path(lake.events.name)} was repaired with --event-time {known} before: name that one; "
            "nothing was changed"
        )
