"""What all workers of a lake have to do alike, kept in the configuration of its silver table."""

from __future__ import annotations

from typing import Final

from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError, DeltaError

from schemas.errors import CommitConflict, ConfigError
from sink.lake import Lake, store_trouble

UNKNOWN_FIELDS_KEY: Final = "playlake.unknownFields"
"""Name of what the lake does with fields that playlake does not know."""
DISCARD: Final = "discard"
"""Where nothing was said."""
_MAX_ATTEMPTS: Final = 20


def unknown_fields(silver: DeltaTable) -> str:
    """Return what this lake does with unknown fields at the handle's version."""
    return str(silver.metadata().configuration.get(UNKNOWN_FIELDS_KEY, DISCARD))


def agree_on_unknown_fields(lake: Lake, wanted: str | None, *, change: bool = False) -> str:
    """Return what the lake does with unknown fields, setting it where nobody has yet.

    Args:
        lake: its tables are there.
        wanted: what this worker was told; None: whatever the lake does.
        change: set it also where the lake does something else. Workers take it up when they start.

    Raises:
        ConfigError: the lake does something else.
        CommitConflict, StoreUnavailable: as elsewhere; nothing was set.
    """
    for _ in range(_MAX_ATTEMPTS):
        silver = lake.table("silver")
        said = silver.metadata().configuration.get(UNKNOWN_FIELDS_KEY)
        if wanted is None or wanted == said:
            return unknown_fields(silver)
        if said is not None and not change:
            raise ConfigError(
                f"--unknown-fields {wanted}: the workers of {lake.uri} do {said} with them; leave the flag out, or "
                "stop them all and add --change-unknown-fields"
            )
        try:
            silver.alter.set_table_properties({UNKNOWN_FIELDS_KEY: wanted}, raise_if_not_exists=False)
        except CommitFailedError:
            continue
        except (OSError, DeltaError) as error:
            raise store_trouble(lake.path("silver"), error) from error
        return wanted
    raise CommitConflict(f"{lake.path('silver')} was changed by others at each of {_MAX_ATTEMPTS} tries: start again")
