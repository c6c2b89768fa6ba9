"""Which positions are gone on purpose: ranges of offsets, kept before their rows go, so that a proof knows them.

Positions only, never what was at them: who was forgotten can't be told from here.
"""

from __future__ import annotations

import datetime as dt
from typing import Final

import duckdb
import pyarrow as pa
from deltalake import DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import DeltaError

from schemas.errors import LakeNotFound
from schemas.tables import POSITION
from sink.lake import Lake, store_trouble
from sink.positions import version_of
from sink.scan import create_view, duckdb_types, without_rows

TABLES: Final = {
    "expired": "expired/bronze",
    "settled": "expired/silver",
    "forgotten": "forgotten/positions",
}
"""View → the table behind it. `expired`: bronze held them until they expired. `settled`: neither silver nor quarantine
has to hold them, since their row expired, or the row went whose event they repeat. `forgotten`: no table may hold
them, since a person was forgotten."""
RANGES: Final = pa.schema(
    [
        *(field for field in POSITION if field.name != "kafka_offset"),
        pa.field("first_offset", pa.int64(), nullable=False),
        pa.field("last_offset", pa.int64(), nullable=False),
        pa.field("expire_id", pa.string(), nullable=False),
    ]
)
"""One row per range of offsets, both ends included, that one run of `expire` or `forget` took. Ranges may overlap."""
_EXPIRED_BEFORE: Final = "playlake.expired_before"
_EPOCH: Final = dt.date(1970, 1, 1)


def expired_before(handle: DeltaTable) -> dt.date | None:
    """Return the date before which silver's or quarantine's rows have expired, its low watermark; None: none have.

    Raises:
        StoreUnavailable: the log can't be read now.
    """
    days = version_of(handle, _EXPIRED_BEFORE)
    return None if days is None else _EPOCH + dt.timedelta(days=days)


def expired_before_entry(handle: DeltaTable, before: dt.date) -> Transaction:
    """Return the `txn` entry for the commit that takes rows before a date; a watermark never goes back."""
    known = expired_before(handle)
    latest = before if known is None else max(before, known)
    return Transaction(_EXPIRED_BEFORE, (latest - _EPOCH).days)


def remember(lake: Lake, view: str, ranges: pa.Table) -> None:
    """Add ranges, schema `RANGES`, to the table behind one of the views, in one commit; none without ranges.

    Raises:
        StoreUnavailable: the store does not take them.
    """
    if not len(ranges):
        return
    path = lake.path(TABLES[view])
    try:
        DeltaTable.create(
            path,
            schema=RANGES,
            mode="ignore",
            configuration=lake.gold_configuration(),
            storage_options=lake.storage_options,
            raise_if_key_not_exists=False,
        )
        write_deltalake(lake.table(TABLES[view]), ranges.cast(RANGES), mode="append")
    except (OSError, DeltaError) as error:
        raise store_trouble(path, error) from error


def create_views(con: duckdb.DuckDBPyConnection, lake: Lake) -> None:
    """Create the views `expired`, `settled` and `forgotten` of ranges, without any where nothing has gone.

    Raises:
        IncompatibleLake, StoreUnavailable: as `Lake.table`.
    """
    for view, table in TABLES.items():
        try:
            create_view(con, view, lake.table(table))
        except LakeNotFound:
            con.execute(f"create or replace view {view} as {without_rows(duckdb_types(con, RANGES))}")
