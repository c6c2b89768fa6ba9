"""Records as the batches that parse_json.sql, parse_avro.sql and process.sql read."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from schemas.avro_columns import AvroDecoder
from schemas.event import EVENT_FIELD_ALIASES, LATER_NUMBER_FIELDS, NUMBER_FIELDS, TEXT_FIELDS
from schemas.tables import RECORDS
from schemas.wire import NO_ID, NOT_AVRO
from stream_app.compiled import load
from stream_app.plain import Plain, Slots
from stream_app.plain_avro import PlainAvro
from stream_app.plain_json import PlainJson

Schemas = Mapping[int, AvroDecoder | str]
"""What is known of schema ids: how to decode their datums, or why that can't be done."""

_ROW_NUMBER: Final = pa.field("row_number", pa.int64())
_TIMES: Final = tuple(RECORDS.field(name) for name in ("broker_timestamp", "ingest_timestamp"))
_KIND: Final = pa.dictionary(pa.int8(), pa.string())

JSON_BATCH: Final = pa.schema([_ROW_NUMBER, *_TIMES, pa.field("text", pa.string()), pa.field("byte_count", pa.int32())])
_OF_DATUM: Final = (
    pa.field("fault", pa.string()),
    pa.field("fault_detail", pa.string()),
    *(pa.field(name, pa.string_view()) for name in TEXT_FIELDS),
    *(pa.field(name, pa.float64()) for name in NUMBER_FIELDS),
    *(pa.field(f"{name}_kind", _KIND) for name in (*TEXT_FIELDS, *NUMBER_FIELDS)),
)
AVRO_BATCH: Final = pa.schema([_ROW_NUMBER, *_TIMES, *_OF_DATUM])

EVENT_TEXT: Final = tuple(name for name in TEXT_FIELDS if name not in EVENT_FIELD_ALIASES)
"""Text fields under their first names."""
_JUDGED_NUMBERS: Final = tuple(name for name in NUMBER_FIELDS if name not in LATER_NUMBER_FIELDS)
FIELDS: Final = pa.schema(
    [
        _ROW_NUMBER,
        pa.field("text", pa.string()),
        *(time.with_nullable(True) for time in _TIMES),
        *(pa.field(name, pa.string()) for name in EVENT_TEXT),
        *(pa.field(name, pa.float64()) for name in _JUDGED_NUMBERS),
        pa.field("bitrate_kbps", pa.int32()),
        pa.field("odd", pa.list_(pa.string())),
        pa.field("texts_are_texts", pa.bool_()),
        *(pa.field(f"{name}_is_{what}", pa.bool_()) for name in _JUDGED_NUMBERS for what in ("missing", "number")),
    ]
)
"""What types.sql gives."""
TYPED_BATCH: Final = pa.schema([*FIELDS, pa.field("title_row", pa.int32()), pa.field("country_row", pa.int32())])


class PlainReaders:
    """The compiled readers of plain records, all with one set of slots. Not for use from two threads at once."""

    def __init__(self, json_library: ctypes.CDLL, avro_library: ctypes.CDLL) -> None:
        self._avro_library = avro_library
        self._slots = Slots(json_library, EVENT_TEXT, _JUDGED_NUMBERS, LATER_NUMBER_FIELDS)
        self._json = PlainJson(json_library, self._slots, EVENT_FIELD_ALIASES)
        self._avro: dict[AvroDecoder, PlainAvro | None] = {}

    @classmethod
    def compiled(cls) -> PlainReaders | None:
        """Return them; None where the package was built without a compiler."""
        json_library, avro_library = load("plain_json"), load("plain_avro")
        return None if json_library is None or avro_library is None else cls(json_library, avro_library)

    def of(self, schema_id: int, schemas: Schemas) -> PlainJson | PlainAvro | None:
        """Return the reader of records with this id; None where all of them take the way of SQL."""
        if schema_id == NOT_AVRO:
            return self._json
        if not isinstance(decoder := schemas.get(schema_id), AvroDecoder):
            return None
        if decoder not in self._avro:
            self._avro[decoder] = PlainAvro.of(self._avro_library, self._slots, EVENT_FIELD_ALIASES, decoder)
        return self._avro[decoder]


def plain_fields(records: pa.Table, plain: Plain, *, is_avro: bool) -> pa.Table:
    """Return plain records of a batch (schema `RECORDS`, values in one chunk) as schema `FIELDS`, others as nulls."""
    text = pa.nulls(records.num_rows, pa.string()) if is_avro else _as_text(records["value"].chunk(0), plain.is_plain)
    columns = {"row_number": np.arange(len(text)), **_times(records), "text": text, **plain.columns}
    columns["odd"] = pa.nulls(len(text), FIELDS.field("odd").type)
    columns["texts_are_texts"] = plain.is_plain
    for name in _JUDGED_NUMBERS:
        columns[f"{name}_is_missing"] = plain.columns[name].is_null()
        columns[f"{name}_is_number"] = plain.columns[name].is_valid()
    return pa.table(columns, FIELDS)


def json_batch(records: pa.Table) -> pa.Table:
    """Return records as schema `JSON_BATCH`, numbered as they come."""
    value = records["value"].combine_chunks()
    columns = {"row_number": np.arange(len(value)), **_times(records)}
    return pa.table({**columns, "text": _decode_utf8(value), "byte_count": pc.binary_length(value)}, JSON_BATCH)


def avro_batch(records: pa.Table, ids: NDArray[np.int64], schemas: Schemas) -> pa.Table:
    """Return records as schema `AVRO_BATCH`, numbered as they come but in another order.

    Args:
        records: schema `RECORDS`, each with the magic byte.
        ids: their schema ids.
        schemas: an id that is not in there is unknown.
    """
    parts = []
    for schema_id in np.unique(ids).tolist():
        is_chosen = ids == schema_id
        chosen = records if is_chosen.all() else records.filter(pa.array(is_chosen))
        rows = pa.array(np.flatnonzero(is_chosen))
        columns = {"row_number": rows, **_times(chosen)}
        columns |= _columns(chosen["value"].combine_chunks(), schema_id, schemas.get(schema_id))
        parts.append(pa.table(columns, AVRO_BATCH))
    return pa.concat_tables(parts)


def _columns(value: pa.BinaryArray, schema_id: int, known: AvroDecoder | str | None) -> dict[str, pa.Array]:
    nothing = {field.name: pa.nulls(len(value), field.type) for field in _OF_DATUM}
    if isinstance(known, AvroDecoder):
        decoded = known(value)
        is_sound = pa.array(decoded.is_sound)
        if decoded.is_sound.all():
            return {**nothing, **decoded.columns}
        fault, detail = "malformed_avro", f"no datum of schema id {schema_id}"
        return {
            **nothing,
            **decoded.columns,
            "fault": pc.if_else(is_sound, None, fault),
            "fault_detail": pc.if_else(is_sound, None, detail),
        }
    if schema_id == NO_ID:
        fault, detail = "malformed_avro", "ends before its schema id does"
    else:
        fault, detail = "unknown_schema", f"schema id {schema_id}: {known or 'not in the registry'}"
    return {**nothing, "fault": pa.repeat(fault, len(value)), "fault_detail": pa.repeat(detail, len(value))}


def _times(records: pa.Table) -> dict[str, pa.ChunkedArray]:
    return {field.name: records[field.name] for field in _TIMES}


def _decode_utf8(value: pa.BinaryArray) -> pa.StringArray:
    """Return the bytes as text without a copy, null where they are no UTF-8."""
    text = value.view(pa.string())
    is_ascii = pc.string_is_ascii(text).fill_null(True)
    is_bad = np.zeros(len(value), bool)
    for row in np.flatnonzero(~is_ascii.to_numpy(zero_copy_only=False)).tolist():
        try:
            value[row].as_py().decode()
        except UnicodeDecodeError:
            is_bad[row] = True
    if not is_bad.any():
        return text
    return _as_text(value, ~is_bad & value.is_valid().to_numpy(zero_copy_only=False))


def _as_text(value: pa.BinaryArray, is_chosen: NDArray[np.bool_]) -> pa.StringArray:
    """Return the chosen bytes, which are UTF-8, as text without a copy; null for the others."""
    is_text = np.zeros(value.offset + len(value), bool)
    is_text[value.offset :] = is_chosen
    _, offsets, data = value.buffers()
    return pa.StringArray.from_buffers(len(value), offsets, data, pa.array(is_text).buffers()[1], offset=value.offset)
