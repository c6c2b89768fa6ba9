"""Fields that a client sends in JSON and playlake does not know: dropped, kept, or a reason to refuse the record.

To look for them in every record would cost half of the process step again. So SQL looks only into those that compiled
code (plain_json.c) says have some, or could not read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from schemas.errors import IncompatibleLake
from schemas.tables import RESCUED

UnknownFields = Literal["discard", "rescue", "evolve", "quarantine"]
"""What a lake does with them: leave them in bronze alone; keep them in `silver.rescued`; keep them and have the writer
move them to columns (`sink/evolve.py`); refuse the record."""
UNKNOWN_FIELDS: Final[tuple[UnknownFields, ...]] = get_args(UnknownFields)

REASON: Final = "unknown_fields"
"""Code of `quarantine.reasons`."""

_LONGEST_DETAIL: Final = 500


def known_policy(name: str) -> UnknownFields:
    """Return one of `UNKNOWN_FIELDS`.

    Raises:
        IncompatibleLake: none of them: a newer playlake set it.
    """
    for policy in UNKNOWN_FIELDS:
        if policy == name:
            return policy
    raise IncompatibleLake(
        f"the lake does {name!r} with unknown fields, which this playlake can't: use the one that set it"
    )


@dataclass(frozen=True)
class Unknown:
    """The unknown fields of a batch's records, of those that have some.

    Attributes:
        rows: their numbers in the batch, ascending.
        names: of each its fields' names.
        values: of each a map from name to value, as in `silver.rescued`.
    """

    rows: NDArray[np.int64]
    names: pa.Array
    values: pa.Array

    @classmethod
    def nothing(cls) -> Unknown:
        """Return that no record has any."""
        return cls(np.empty(0, np.int64), pa.array([], pa.list_(pa.string())), pa.array([], RESCUED.type))

    @classmethod
    def of(cls, rows: NDArray[np.int64], told: pa.Table) -> Unknown:
        """Return what unknown.sql says of these rows of a batch."""
        has_some = pc.greater(pc.list_value_length(told["names"]), 0).combine_chunks()
        told = told.filter(has_some)
        values = told["rescued"].combine_chunks().cast(RESCUED.type)
        return cls(rows[has_some.to_numpy(zero_copy_only=False)], told["names"].combine_chunks(), values)

    def rescued(self, rows: NDArray[np.int64]) -> pa.Array:
        """Return the column `rescued` for these rows of the batch, in their order."""
        if not len(self.rows):
            return pa.nulls(len(rows), RESCUED.type)
        places = np.minimum(np.searchsorted(self.rows, rows), len(self.rows) - 1)
        return self.values.take(pa.array(places, mask=self.rows[places] != rows))

    def added_to(self, faults: pa.Table, rows: NDArray[np.int64]) -> pa.Table:
        """Return the faults of these rows, ascending, with unknown fields as the reason of those that have some."""
        if not len(self.rows):
            return faults
        reasons, details = faults["reasons"].to_pylist(), faults["detail"].to_pylist()
        for place, names in zip(np.searchsorted(rows, self.rows).tolist(), self.names.to_pylist(), strict=True):
            reasons[place] = [REASON]
            details[place] = f"unknown fields: {', '.join(names)}"[:_LONGEST_DETAIL]
        return pa.table(
            {"reasons": pa.array(reasons, faults["reasons"].type), "detail": pa.array(details, pa.string())}
        )
