"""How many replays of refused records a table has seen, as a Delta `txn` of silver and of quarantine.

A replay adds rows to silver first and takes them from quarantine then; each commit counts it. Where silver is ahead, a
replay is under way or died between the two, and some records are in both tables.
"""

from __future__ import annotations

from typing import Final

from deltalake import DeltaTable, Transaction

from sink.positions import version_of

_REPLAYS_ID: Final = "playlake.replays"


def replays(handle: DeltaTable) -> int:
    """Return how many replays the table has seen at the handle's version.

    Raises:
        StoreUnavailable: the log can't be read now.
    """
    return version_of(handle, _REPLAYS_ID) or 0


def replays_entry(number: int) -> Transaction:
    """Return the entry for a commit after which the table has seen that many."""
    return Transaction(_REPLAYS_ID, number)


def is_in_flight(silver: DeltaTable, quarantine: DeltaTable) -> bool:
    """Return whether some records may be in both tables, since a replay has not ended."""
    return replays(silver) > replays(quarantine)
