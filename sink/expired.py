"""Which positions of bronze have expired: ranges of offsets, kept before their rows go, so that a proof knows them."""

from __future__ import annotations

from typing import Final

import duckdb
import pyarrow as pa
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import DeltaError

from schemas.errors import LakeNotFound
from schemas.tables import POSITION
from sink.lake import Lake, store_trouble
from sink.scan import create_view, duckdb_types, without_rows

TABLE: Final = "expired/bronze"
RANGES: Final = pa.schema(
    [
        *(field for field in POSITION if field.name != "kafka_offset"),
        pa.field("first_offset", pa.int64(), nullable=False),
        pa.field("last_offset", pa.int64(), nullable=False),
        pa.field("expire_id", pa.string(), nullable=False),
    ]
)
"""One row per range of offsets, both ends included, that one run of `expire` took out. Ranges may overlap."""


def remember(lake: Lake, ranges: pa.Table) -> None:
    """Add ranges, schema `RANGES`, in one commit.

    Raises:
        StoreUnavailable: the store does not take them.
    """
    path = lake.path(TABLE)
    try:
        DeltaTable.create(
            path,
            schema=RANGES,
            mode="ignore",
            configuration=lake.gold_configuration(),
            storage_options=lake.storage_options,
            raise_if_key_not_exists=False,
        )
        write_deltalake(lake.table(TABLE), ranges.cast(RANGES), mode="append")
    except (OSError, DeltaError) as error:
        raise store_trouble(path, error) from error


def create_expired_view(con: duckdb.DuckDBPyConnection, lake: Lake) -> None:
    """Create the view `expired` of the ranges, without any where nothing has expired.

    Raises:
        IncompatibleLake, StoreUnavailable: as `Lake.table`.
    """
    try:
        create_view(con, "expired", lake.table(TABLE))
    except LakeNotFound:
        con.execute(f"create or replace view expired as {without_rows(duckdb_types(con, RANGES))}")
