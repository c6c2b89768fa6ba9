"""The process step with pseudonyms in place of ids."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import pyarrow as pa

from sink.pseudonyms import Pseudonyms
from stream_app.formats import Schemas
from stream_app.process import Processed, Processor
from stream_app.rules import RuleSet
from stream_app.unknown_fields import UnknownFields


class PseudonymousProcessor(Processor):
    """A processor whose silver rows hold pseudonyms. Rules still see ids; quarantine keeps bytes as they came."""

    def __init__(
        self,
        titles: pa.Table,
        countries: pa.Table,
        rules: RuleSet | None,
        pseudonyms: Pseudonyms,
        unknown_fields: UnknownFields = "discard",
    ) -> None:
        """Load reference data as `Processor` does."""
        super().__init__(titles, countries, rules, unknown_fields)
        self._pseudonyms = pseudonyms

    def __call__(self, records: pa.Table, schemas: Schemas = MappingProxyType({})) -> Processed:
        """Judge a batch as `Processor` does; as pure, since the key is one of its arguments."""
        processed = super().__call__(records, schemas)
        return replace(processed, silver=self._pseudonyms.applied_to(processed.silver))


def make_processor(
    titles: pa.Table,
    countries: pa.Table,
    rules: RuleSet | None,
    pseudonyms: Pseudonyms | None,
    unknown_fields: UnknownFields = "discard",
) -> Processor:
    """Return a processor, with pseudonyms where there is a key; without one it is the plain one and costs nothing."""
    if pseudonyms is None:
        return Processor(titles, countries, rules, unknown_fields)
    return PseudonymousProcessor(titles, countries, rules, pseudonyms, unknown_fields)
