"""Fields that a client sends in JSON and playlake does not know: dropped, kept, or a reason to refuse the record.

To look for them in every record would cost half of the process step again. So colons are counted first: each key of an
object is followed by one, so a record with as many colons as known fields has no other. Only one with more (an unknown
field, a colon within a text, a field sent as null) is looked into.
"""

from __future__ import annotations

from typing import Final, Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from schemas.errors import IncompatibleLake
from schemas.event import LATER_NUMBER_FIELDS, LATER_TEXT_FIELDS, OPTIONAL_TEXT_FIELDS
from schemas.tables import RESCUED

UnknownFields = Literal["discard", "rescue", "quarantine"]
"""What a lake does with them: leave them in bronze alone; keep them in `silver.rescued`; refuse the record."""
UNKNOWN_FIELDS: Final[tuple[UnknownFields, ...]] = get_args(UnknownFields)

REASON: Final = "unknown_fields"
"""Code of `quarantine.reasons`."""

_COLON: Final = ord(":")
_ALWAYS: Final = 7
"""Fields that each valid record with an event time has: six that are required, and the time."""
_MAYBE: Final = (*OPTIONAL_TEXT_FIELDS, "playhead_s", *LATER_TEXT_FIELDS, *LATER_NUMBER_FIELDS)


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


def suspects(value: pa.BinaryArray, judged: pa.Table, is_json: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the rows of valid JSON records that may have unknown fields; all others have none.

    Args:
        value: the records' values, no nulls among valid ones.
        judged: what process.sql says of them.
        is_json: which of them are no Avro.
    """
    is_valid = _flags(judged["is_valid"]) & is_json
    is_plain = is_valid & _flags(judged["event_timestamp"].is_valid())
    content, offsets = _content(value)
    is_colon = content == _COLON
    rest = np.flatnonzero(~is_plain)
    colons = np.count_nonzero(is_colon) - sum(
        np.count_nonzero(is_colon[offsets[row] : offsets[row + 1]]) for row in rest
    )
    maybe = [_flags(judged[name].is_valid()) for name in _MAYBE if judged[name].null_count < len(value)]
    known = _ALWAYS * np.count_nonzero(is_plain) + sum(np.count_nonzero(flags & is_plain) for flags in maybe)
    if colons == known:
        return np.flatnonzero(is_valid & ~is_plain)
    by_row = np.diff(np.searchsorted(np.flatnonzero(is_colon), offsets))
    known_by_row = np.full(len(value), _ALWAYS)
    for flags in maybe:
        known_by_row += flags
    return np.flatnonzero(is_valid & (~is_plain | (by_row > known_by_row)))


def rescued(found: pa.Table | None, rows: int) -> pa.Array:
    """Return the column `rescued` for so many records, from what unknown.sql gave; None: there are none."""
    if found is None or not len(found):
        return pa.nulls(rows, RESCUED.type)
    places: NDArray[np.int64] = np.full(rows, -1)
    places[found["row_number"].to_numpy()] = np.arange(len(found))
    return found["rescued"].combine_chunks().cast(RESCUED.type).take(pa.array(places, mask=places < 0))


def _content(value: pa.BinaryArray) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Return the bytes of all values, and where in there each begins and the last one ends."""
    _, offset_bytes, data = value.buffers()
    offsets = np.frombuffer(offset_bytes, np.int32)[value.offset : value.offset + len(value) + 1]
    content = np.frombuffer(data if data is not None else b"", np.uint8)[offsets[0] : offsets[-1]]
    return content, offsets - offsets[0]


def _flags(column: pa.ChunkedArray) -> NDArray[np.bool_]:
    flags: NDArray[np.bool_] = pc.fill_null(column, False).combine_chunks().to_numpy(zero_copy_only=False)
    return flags
