"""A text column of silver for each field that playlake does not know, where the lake wants it so (`evolve`).

Text, whatever the field holds, as in `silver.rescued`: a client that sends another type tomorrow changes no table. The
column is added by a commit of its own before the first file that has it; files from before read as null there. What can
be no column stays in `rescued`: a name with other than letters, digits and underscores, one that begins with an
underscore (compaction's own while it works), one that silver has already (names that differ by case only are one name
to most engines), and what comes when there are `MOST_COLUMNS`.
"""

from __future__ import annotations

import re
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable

from schemas.tables import RESCUED, SILVER
from sink.columns import add_columns_until
from sink.policies import EVOLVE, unknown_fields

MOST_COLUMNS: Final = 100
"""Columns beside playlake's own: names come from clients, and a table with thousands of them can't be read any more."""
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,62}")


def evolve(silver: DeltaTable, rows: pa.Table, *, may_add: bool = True) -> pa.Table:
    """Return rows with their unknown fields in columns of the table, those that can be; as they are in other lakes.

    Args:
        silver: the lake's table; left at the version that has the columns.
        rows: schema `SILVER`, or what this gave before.
        may_add: whether the table is given the columns that it lacks; else their fields stay in `rescued`.

    Raises:
        CommitConflict: others changed the table at each try to add columns.
        StoreUnavailable: the store does not answer.
    """
    if unknown_fields(silver) != EVOLVE:
        return rows
    rescued = rows["rescued"].combine_chunks()
    if rescued.null_count == len(rescued):
        return rows
    names = pc.unique(rescued.keys).to_pylist()
    if may_add:
        add_columns_until(silver, lambda: _new_columns(names, pa.schema(silver.schema().to_arrow())))
    own = {field.name for field in pa.schema(silver.schema().to_arrow()) if _is_evolved(field)}
    return _spread(rows, rescued, sorted(own.intersection(names)))


def _is_evolved(field: pa.Field) -> bool:
    return field.name not in SILVER.names and field.type == pa.string()


def _new_columns(names: list[str], known: pa.Schema) -> list[pa.Field]:
    """Return the columns that these fields need and the table lacks, by name."""
    taken = {name.lower() for name in known.names} | {name.lower() for name in SILVER.names}
    left = MOST_COLUMNS - sum(name not in SILVER.names for name in known.names)
    wanted = {name.lower(): name for name in sorted(names, reverse=True) if _NAME.fullmatch(name)}
    return [pa.field(name, pa.string()) for key, name in sorted(wanted.items()) if key not in taken][: max(left, 0)]


def _spread(rows: pa.Table, rescued: pa.MapArray, columns: list[str]) -> pa.Table:
    """Move fields out of `rescued` into these columns; a map that is empty then is null."""
    if not columns:
        return rows
    keys = rescued.keys
    stays = pc.invert(pc.is_in(keys, pa.array(columns, keys.type)))
    places = np.concatenate([[0], np.cumsum(stays.to_numpy(zero_copy_only=False))])[rescued.offsets.to_numpy()]
    rest = pa.MapArray.from_arrays(
        pa.array(places, pa.int32()),
        keys.filter(stays),
        rescued.items.filter(stays),
        RESCUED.type,
        mask=pa.array(places[1:] == places[:-1]),
    )
    rows = rows.set_column(rows.column_names.index("rescued"), RESCUED, rest)
    for name in columns:
        rows = rows.append_column(pa.field(name, pa.string()), pc.map_lookup(rescued, pa.scalar(name), "first"))
    return rows
