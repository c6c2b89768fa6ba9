"""What all workers of a lake have to agree on: properties of its silver table, each set once."""

from __future__ import annotations

from collections.abc import Callable

from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError, DeltaError

from schemas.errors import CommitConflict
from sink.lake import Lake, store_trouble


def property_of(silver: DeltaTable, name: str) -> str | None:
    """Return a property at the handle's version; None where nobody has set it."""
    found: str | None = silver.metadata().configuration.get(name)
    return found


def settle(lake: Lake, name: str, choose: Callable[[DeltaTable], str | None], *, tries: int) -> str | None:
    """Set a property of silver, whoever else changes the table; return what it is then.

    Args:
        lake: its tables are there.
        name: of the property.
        choose: what it is to be, seen silver's newest version; None: what it is. It may refuse by an error.
        tries: how often to go on after somebody else's commit.

    Raises:
        CommitConflict: others changed the table at each try; nothing was set.
        StoreUnavailable: the store does not answer.
    """
    for _ in range(tries):
        silver = lake.table("silver")
        chosen = choose(silver)
        if chosen is None:
            return property_of(silver, name)
        try:
            silver.alter.set_table_properties({name: chosen}, raise_if_not_exists=False)
        except CommitFailedError:
            continue
        except (OSError, DeltaError) as error:
            raise store_trouble(lake.path("silver"), error) from error
        return chosen
    raise CommitConflict(f"{lake.path('silver')} was changed by others at each of {tries} tries: start again")
