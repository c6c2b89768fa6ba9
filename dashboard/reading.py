"""What the pages show: SQL files over the gold views, and how the lake is right now. No Streamlit in here."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final
from urllib.parse import unquote

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable

from query.gold import Gold, run
from sink.lake import Lake, store_trouble
from sink.scan import connect as scan_connect
from sink.scan import create_view

TABLES: Final = (
    "audience_titles",
    "audience_hours",
    "viewer_retention",
    "funnel",
    "quality_scorecard",
    "volume_anomalies",
    "pipeline_health",
)
"""The gold tables that the pages are about."""
RECENT: Final = dt.timedelta(minutes=10)
"""How far back of the newest record `recent` looks."""

_SPANS: Final = pa.schema(
    {
        "path": pa.string(),
        "first": pa.timestamp("us", "UTC"),
        "last": pa.timestamp("us", "UTC"),
        "records": pa.int64(),
    }
)
_SQL: Final = files("dashboard").joinpath("sql")


@dataclass(frozen=True)
class Choice:
    """What the filters say. Empty countries or devices mean all; `none` stands for rows that sent none."""

    first: dt.date
    last: dt.date
    countries: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()

    @property
    def values(self) -> Mapping[str, Any]:
        """The parameters of the SQL files."""
        return vars(self)


def open_gold(lake_uri: str) -> Gold:
    """Open the pages' gold tables at their newest versions, with the macro that the filters are.

    Raises:
        LakeNotFound, IncompatibleLake, StoreUnavailable, ConfigError: as `query.connect`.
    """
    gold = Gold.open(lake_uri, _SQL, TABLES)
    gold.con.execute(_SQL.joinpath("_macros.sql").read_text(encoding="utf-8"))
    return gold


def recent(lake: Lake) -> pa.Table:
    """Return records by ten seconds of broker time (`moment, records, refused`), of the last minutes before the newest.

    A file whose statistics say that all its records are of the same ten seconds is counted without being opened, one
    that ends before these minutes not at all: a large lake answers as fast as a small one.

    Raises:
        LakeNotFound, IncompatibleLake, StoreUnavailable: as `Lake.table`.
    """
    handles = {name: lake.table(name) for name in ("bronze", "quarantine")}
    spans = {name: _broker_times(handle) for name, handle in handles.items()}
    newest = max((last for span in spans.values() for last in span["last"].to_pylist()), default=None)
    con = scan_connect(lake)
    try:
        for name, handle in handles.items():
            near = spans[name] if newest is None else spans[name].filter(pc.field("last") > newest - RECENT)
            first, last = (pc.floor_temporal(near[end], 10, unit="second") for end in ("first", "last"))
            is_one_step = pc.and_(pc.equal(first, last), pc.is_valid(near["records"]))
            con.register("spans", near.filter(is_one_step))
            con.execute(f"create table {name}_files as from spans")
            rest = near.filter(pc.invert(is_one_step))["path"].to_pylist()
            paths = [f"{lake.path(name)}/{unquote(path)}" for path in rest]
            create_view(con, f"{name}_rows", handle, paths, columns=("broker_timestamp",))
        return run(con, _SQL.joinpath("recent.sql"), {"newest": newest})
    except (duckdb.IOException, OSError) as error:
        raise store_trouble(lake.uri, error) from error
    finally:
        con.close()


def _broker_times(handle: DeltaTable) -> pa.Table:
    """Return when each live file's records came to the broker: `path, first, last, records`, by its statistics."""
    actions = pa.table(handle.get_add_actions(flatten=True))
    if "max.broker_timestamp" not in actions.column_names:  # of a table without files
        return _SPANS.empty_table()
    columns = {
        "path": actions["path"],
        "first": actions["min.broker_timestamp"],
        "last": actions["max.broker_timestamp"],
        "records": pc.subtract(actions["num_records"], actions["null_count.broker_timestamp"]),
    }
    return pa.table(columns).cast(_SPANS).filter(pc.field("last").is_valid())


def repairs(lake: Lake) -> pa.Table:
    """Return the repairs that silver's rows tell of, newest first; reads the files that hold any, by their statistics.

    Raises:
        LakeNotFound, IncompatibleLake, StoreUnavailable: as `Lake.table`.
    """
    silver = lake.table("silver")
    files = pa.table(silver.get_add_actions(flatten=True))
    con = scan_connect(lake)
    try:
        if "null_count.repair_id" in files.column_names:
            nulls = pc.field("null_count.repair_id")
            files = files.filter(nulls.is_null() | (nulls < pc.field("num_records")))
        paths = [f"{lake.path('silver')}/{unquote(path)}" for path in files["path"].to_pylist()]
        create_view(con, "silver", silver, paths, columns=("repair_id", "event_date_source", "event_date"))
        return run(con, _SQL.joinpath("repairs.sql"), {})
    except (duckdb.IOException, OSError) as error:
        raise store_trouble(lake.uri, error) from error
    finally:
        con.close()
