"""With this folder as PYTHONPATH a process is an older playlake: one whose silver has no fields of version 2.

What makes a worker older, as far as a lake can see, is which columns it writes and that it adds none.
"""

import dataclasses

import pyarrow as pa

import schemas.tables as tables
from schemas.event import LATER_NUMBER_FIELDS, LATER_TEXT_FIELDS

_LATER = (*LATER_TEXT_FIELDS, *LATER_NUMBER_FIELDS, "rescued")
tables.SILVER = pa.schema(field for field in tables.SILVER if field.name not in _LATER)
tables.TABLES = {**tables.TABLES, "silver": dataclasses.replace(tables.TABLES["silver"], schema=tables.SILVER)}
