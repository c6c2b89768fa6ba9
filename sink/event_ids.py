"""A record's event_id, read in SQL from its bytes alone: what repeats of events are known by once their row is gone."""

from __future__ import annotations

from typing import Final

import duckdb

# Total: bytes that are neither have none. JSON is read as the worker reads it. In Avro (a zero byte, four of the
# schema's id, the record) it is the first field, a string of up to 63 bytes: its length, zig-zag, is one byte, which is
# also how many hexadecimal digits it has.
_MACRO: Final = """
create or replace temp macro event_id_of(value) as
    case
        when json_valid(try(decode(value)))
            then try(json_transform(try(decode(value)), '{"event_id":"VARCHAR"}').event_id)
        when substr(hex(value), 1, 2) = '00' and try(cast('0x' || substr(hex(value), 11, 2) as int)) < 128
            then try(decode(unhex(substr(hex(value), 13, cast('0x' || substr(hex(value), 11, 2) as int)))))
    end
"""


def create_event_id_of(con: duckdb.DuckDBPyConnection) -> None:
    """Create the macro `event_id_of(value)`: text, or null where the bytes tell none."""
    con.execute(_MACRO)
