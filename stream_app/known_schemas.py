"""What the worker knows of schema ids: asked of the registry before a batch is processed, kept for good."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import numpy as np
import pyarrow as pa

from schemas.avro_columns import AvroDecoder
from schemas.wire import Registry, schema_ids
from stream_app.formats import Schemas

_ASKED_AGAIN_S: Final = 30.0
"""An id that the registry didn't know may be there later, as after its restore; but not with every batch."""
_NOBODYS_ID: Final = 2**31 - 1
_NO_REGISTRY: Final = "no schema registry was given (--schema-registry)"


def require_registry(registry: Registry) -> None:
    """Ask a registry what a worker will ask of it, for an id that no schema has: that it has none is a good answer.

    Raises:
        RegistryUnavailable: it does not answer.
        ConfigError: it refuses to, or is no registry.
    """
    registry.find(_NOBODYS_ID)


class KnownSchemas:
    """Decoders of the schemas met so far. For one thread."""

    def __init__(self, registry: Registry | None, clock: Callable[[], float] = time.monotonic) -> None:
        """Ask this registry; without one every id is unknown."""
        self._registry = registry
        self._clock = clock
        self._known: dict[int, AvroDecoder | str] = {}
        self._unknown_until: dict[int, float] = {}

    def used_in(self, records: pa.Table) -> Schemas:
        """Return what is known of each schema id in a batch (schema `RECORDS`); an id that isn't in there is unknown.

        Raises:
            RegistryUnavailable: ask again; what was answered is kept.
            ConfigError: the registry refuses to answer.
        """
        ids = np.unique(schema_ids(records["value"].combine_chunks()))
        found: dict[int, AvroDecoder | str] = {}
        for schema_id in ids[ids >= 0].tolist():
            known = self._find(schema_id)
            if known is not None:
                found[schema_id] = known
        return found

    def _find(self, schema_id: int) -> AvroDecoder | str | None:
        if self._registry is None:
            return _NO_REGISTRY
        if schema_id in self._known:
            return self._known[schema_id]
        now = self._clock()
        if self._unknown_until.get(schema_id, now) > now:
            return None
        schema = self._registry.find(schema_id)
        if schema is None:
            self._unknown_until = {each: until for each, until in self._unknown_until.items() if until > now}
            self._unknown_until[schema_id] = now + _ASKED_AGAIN_S
            return None
        try:
            self._known[schema_id] = AvroDecoder(schema)
        except ValueError as error:
            self._known[schema_id] = str(error)
        return self._known[schema_id]
