"""What the pages show: SQL files over the gold views, and how the lake is right now. No Streamlit in here."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc

from query import connect
from query.gold import Gold, run
from sink.lake import Lake
from sink.scan import connect as scan_connect
from sink.scan import create_view

RECENT: Final = dt.timedelta(minutes=10)
"""How far back of the newest record `recent` looks."""

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
    """Open the gold tables at their newest versions, with the macro that the filters are.

    Raises:
        LakeNotFound, IncompatibleLake, StoreUnavailable, ConfigError: as `query.connect`.
    """
    gold = Gold.open(lake_uri, _SQL)
    gold.con.execute(_SQL.joinpath("_macros.sql").read_text(encoding="utf-8"))
    return gold


def recent(lake: Lake) -> pa.Table:
    """Return records by ten seconds of broker time (`moment, records, refused`), of the last minutes before the newest.

    Only the files whose statistics reach into those minutes are read, so a large lake answers as fast as a small one.

    Raises:
        LakeNotFound, IncompatibleLake, StoreUnavailable: as `Lake.table`.
    """
    handles = {name: lake.table(name) for name in ("silver", "quarantine")}
    ends = {name: _newest_by_file(pa.table(handle.get_add_actions(flatten=True))) for name, handle in handles.items()}
    newest = max((end for by_file in ends.values() for end in by_file.values()), default=None)
    con = scan_connect(lake)
    try:
        for name, handle in handles.items():
            near = [p for p, end in ends[name].items() if newest is not None and end > newest - RECENT]
            create_view(con, f"recent_{name}", handle, [f"{lake.path(name)}/{unquote(path)}" for path in near])
        return run(con, _SQL.joinpath("recent.sql"), {"newest": newest})
    finally:
        con.close()


def _newest_by_file(actions: pa.Table) -> dict[str, dt.datetime]:
    if "max.broker_timestamp" not in actions.column_names:
        return {}
    known = actions.filter(pc.is_valid(actions["max.broker_timestamp"]))
    return dict(zip(known["path"].to_pylist(), known["max.broker_timestamp"].to_pylist(), strict=True))


def repairs(lake: Lake) -> pa.Table:
    """Return the repairs that silver's rows tell of, newest first; reads two narrow columns of silver.

    Raises:
        LakeNotFound, IncompatibleLake, StoreUnavailable: as `Lake.table`.
    """
    con = connect(lake.uri, mentioned_in="silver")
    try:
        return run(con, _SQL.joinpath("repairs.sql"), {})
    finally:
        con.close()
