"""What all workers of a lake have to do alike."""

from __future__ import annotations

from typing import Final

from deltalake import DeltaTable

from schemas.errors import ConfigError
from sink.lake import Lake
from sink.properties import property_of, settle

UNKNOWN_FIELDS_KEY: Final = "playlake.unknownFields"
"""Name of what the lake does with fields that playlake does not know."""
DISCARD: Final = "discard"
"""Where nothing was said."""
EVOLVE: Final = "evolve"
"""Each gets a column (`sink/evolve.py`)."""
_MAX_ATTEMPTS: Final = 20


def unknown_fields(silver: DeltaTable) -> str:
    """Return what this lake does with unknown fields at the handle's version."""
    return property_of(silver, UNKNOWN_FIELDS_KEY) or DISCARD


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

    def choose(silver: DeltaTable) -> str | None:
        said = property_of(silver, UNKNOWN_FIELDS_KEY)
        if wanted is None or wanted == said:
            return None
        if said is not None and not change:
            raise ConfigError(
                f"--unknown-fields {wanted}: the workers of {lake.uri} do {said} with them; leave the flag out, or "
                "stop them all and add --change-unknown-fields"
            )
        return wanted

    return settle(lake, UNKNOWN_FIELDS_KEY, choose, tries=_MAX_ATTEMPTS) or DISCARD
