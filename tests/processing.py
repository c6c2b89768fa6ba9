"""A processor with two titles and two countries, shared by tests of the process step."""

import atexit
import functools

import pyarrow as pa

from stream_app.catalogue import TITLES
from stream_app.process import Processor
from stream_app.rules import RuleSet
from stream_app.unknown_fields import UnknownFields

FILM = {
    "title_id": "s1",
    "title": "The Long Tide",
    "content_type": "Movie",
    "genres": ["Dramas", "Thrillers"],
    "release_year": 2020,
    "rating": "PG-13",
    "director": "Ada Ruiz",
    "duration_s": 5400.0,
    "content_countries": ["Germany"],
}
SERIES = {**FILM, "title_id": "s2", "title": "Night Ferry", "content_type": "TV Show", "duration_s": None}


@functools.cache
def processor(
    rules: RuleSet | None = None, unknown_fields: UnknownFields = "discard", *, compiled: bool = True
) -> Processor:
    return Processor(
        pa.Table.from_pylist([FILM, SERIES], schema=TITLES),
        pa.table({"code": ["DE", "BR"], "region": ["Europe", "Latin America"]}),
        rules,
        unknown_fields=unknown_fields,
        compiled=compiled,
    )


# A connection that outlives the interpreter makes DuckDB's binding print pages of leaks.
atexit.register(processor.cache_clear)
