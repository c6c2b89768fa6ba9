"""Records in, silver and quarantine rows out: pure and total.

No clock, no network, no global: the same records, schemas, titles and countries give the same rows. Total: any bytes
get exactly one fate. On its way a batch becomes

1. fields: by compiled code for plain records (`stream_app.plain`), which are nearly all; the others by SQL statements,
   `parse_json.sql` or `parse_avro.sql` with `types.sql`;
2. judged: `process.sql`, the same for all of them, reads on one page; the catalogue is looked up before it, by row;
3. for the few records that are bad, refused: `faults.sql` adds every reason why.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.resources import files
from types import MappingProxyType
from typing import Final

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from schemas.avro_columns import AvroDecoder
from schemas.errors import RuleBroken
from schemas.tables import POSITION, QUARANTINE, RECORDS, SILVER
from schemas.wire import NOT_AVRO, schema_ids
from stream_app.formats import (
    AVRO_BATCH,
    EVENT_TEXT,
    FIELDS,
    JSON_BATCH,
    TYPED_BATCH,
    PlainReaders,
    Schemas,
    avro_batch,
    json_batch,
    plain_fields,
)
from stream_app.rules import CODE, RuleSet
from stream_app.unknown_fields import Unknown, UnknownFields

_SQL: Final = {
    name: files("stream_app").joinpath(f"{name}.sql").read_text(encoding="utf-8")
    for name in ("parse_json", "parse_avro", "types", "process", "faults", "unknown")
}

BUILT_IN: Final = "builtin-" + hashlib.sha256("".join(_SQL.values()).encode()).hexdigest()[:12]
"""Version of what process.sql checks itself, kept with every quarantined row: it changes whenever the SQL does."""

_PLACEHOLDER: Final = -1
"""In place of a row number: a row of fields that stands for no record."""
_FROM_RECORD: Final = (*(field.name for field in POSITION), "broker_timestamp", "ingest_timestamp")


@dataclass(frozen=True)
class Processed:
    """What became of a batch: every record is in exactly one of the two.

    Attributes:
        silver: columns of `SILVER`, ordered by event date (nulls last), then as in the batch: so each lake partition is
            one slice. Text and lists of text from the catalogue are dictionary-encoded.
        quarantine: schema `QUARANTINE`, ordered as in the batch.
        broken: for each of the lake's rules, how many records broke it.
    """

    silver: pa.Table
    quarantine: pa.Table
    broken: tuple[int, ...] = ()


class Processor:
    """The process step with its reference data loaded. Not for use from two threads at once."""

    def __init__(
        self,
        titles: pa.Table,
        countries: pa.Table,
        rules: RuleSet | None = None,
        unknown_fields: UnknownFields = "discard",
        *,
        compiled: bool = True,
    ) -> None:
        """Load reference data.

        Args:
            titles: schema `stream_app.catalogue.TITLES`, unique `title_id`.
            countries: columns `code` (unique) and `region`.
            rules: the lake's own; None for none.
            unknown_fields: what the lake does with fields of JSON records that playlake does not know.
            compiled: use the compiled readers of plain records, where they were built; the rows are the same without.
        """
        self._unknown_fields = unknown_fields
        self._rules = rules or RuleSet()
        self._rule_set = "+".join(filter(None, (BUILT_IN, self._rules.label)))
        self._con = duckdb.connect()
        self._con.execute("set threads = 1")  # the worker overlaps steps instead; one thread also keeps the rows' order
        self._con.execute("set TimeZone = 'UTC'")
        self._country_rows, self._regions = _Keys(countries["code"]), _Lookup(countries.select(["region"]))
        self.use_titles(titles)
        self._plain = PlainReaders.compiled() if compiled else None
        self._json, self._avro = (
            {end: _Statement(feed, f"{name}_{end}", _SQL[f"parse_{name}"] + _SQL[end]) for end in ends}
            for name, feed, ends in (
                ("json", _Feed(self._con, "json_batch", JSON_BATCH), ("types", "faults", "unknown")),
                ("avro", _Feed(self._con, "avro_batch", AVRO_BATCH), ("types", "faults")),
            )
        )
        # Text that no rule empties comes out as it went in: it need not go through DuckDB.
        self._kept = [name for name in EVENT_TEXT if name not in self._rules.emptied]
        process = self._rules.in_statement(_SQL["process"])
        told = f"select * exclude ({', '.join(self._kept)}) from ({process})"  # noqa: S608  # names and SQL of ours
        self._judge = _Statement(_Feed(self._con, "typed_batch", TYPED_BATCH), "process", told)

    @property
    def is_compiled(self) -> bool:
        """Whether compiled code reads plain records."""
        return self._plain is not None

    def use_titles(self, titles: pa.Table) -> None:
        """Judge the next batches with this catalogue (schema as in `__init__`)."""
        self._title_rows, self._titles = _Keys(titles["title_id"]), _Lookup(titles.drop_columns(["title_id"]))

    def __call__(self, records: pa.Table, schemas: Schemas = MappingProxyType({})) -> Processed:
        """Judge a batch.

        Args:
            records: schema `RECORDS`, any number of rows, from any Kafka partitions, any bytes as values.
            schemas: what is known of the schema ids in there; an id that isn't is unknown.

        Raises:
            RuleBroken: a record broke a rule whose action is `fail`.
        """
        value = records["value"].combine_chunks()
        records = records.set_column(records.schema.get_field_index("value"), "value", value)
        ids = schema_ids(value)
        typed, rows, is_suspect = self._typed(records, ids, schemas)
        told = self._judge(typed)
        is_meant, is_valid = rows != _PLACEHOLDER, told["is_valid"].to_numpy()
        broken = np.zeros(records.num_rows, np.uint64)
        broken[rows[is_meant]] = told["broken"].to_numpy()[is_meant]
        counts = self._count(broken, records)
        judged = pa.table(
            {**{name: told[name] for name in told.column_names}, **{name: typed[name] for name in self._kept}}
        )
        unknown = self._find_unknown(records, rows[is_meant & is_valid & is_suspect])
        if self._unknown_fields == "quarantine":
            is_valid = is_valid & ~np.isin(rows, unknown.rows)
        places = _by_date(told["event_date"], is_meant & is_valid, rows)
        of_records = _take(records.select(_FROM_RECORD), rows[places])
        silver = self._enriched(_take(judged, places), of_records, unknown.rescued(rows[places]))
        silver = _with_payloads(silver, records, rows[places], ids, schemas)
        bad = np.sort(rows[is_meant & ~is_valid])
        if not len(bad):
            return Processed(silver, QUARANTINE.empty_table(), counts)
        refused = _take(records, bad)
        faults = self._with_rules(self._parsed("faults", refused, ids[bad], schemas), broken[bad])
        if self._unknown_fields == "quarantine":
            faults = unknown.added_to(faults, bad)
        return Processed(silver, _quarantine(refused, faults, self._rule_set), counts)

    def _typed(
        self, records: pa.Table, ids: NDArray[np.int64], schemas: Schemas
    ) -> tuple[pa.Table, NDArray[np.int64], NDArray[np.bool_]]:
        """Return the records' fields as schema `TYPED_BATCH`.

        With it, of each row: which record it is of, or `_PLACEHOLDER`; whether that may have fields that are unknown.
        """
        parts: list[pa.Table] = []
        numbers: list[NDArray[np.int64]] = []
        suspects: list[NDArray[np.bool_]] = []
        is_left = np.ones(records.num_rows, np.bool_)
        for schema_id in np.unique(ids).tolist():
            reader = self._plain.of(schema_id, schemas) if self._plain is not None else None
            if reader is None:
                continue
            is_mine = ids == schema_id
            if schema_id == NOT_AVRO and np.count_nonzero(is_mine) > records.num_rows // 2:
                is_mine[:] = True  # Avro is no plain JSON, and to be looked at costs less than to be copied
            mine = np.flatnonzero(is_mine)
            chosen = _take(records, mine)
            plain = reader(chosen["value"].chunk(0))
            parts.append(plain_fields(chosen, plain, is_avro=schema_id != NOT_AVRO))
            numbers.append(np.where(plain.is_plain, mine, _PLACEHOLDER))
            suspects.append(plain.has_others)
            is_left[mine[plain.is_plain]] = False
        rest = np.flatnonzero(is_left)
        if len(rest) or not parts:
            parts.append(
                self._parsed("types", _take(records, rest), ids[rest], schemas).select(FIELDS.names).cast(FIELDS)
            )
            numbers.append(rest)
            suspects.append(ids[rest] == NOT_AVRO)
        fields, rows = pa.concat_tables(parts), np.concatenate(numbers)
        found = {
            "title_row": self._title_rows(fields["title_id"]),
            "country_row": self._country_rows(fields["country"]),
            "row_number": np.arange(len(rows)),
        }
        columns = {name: fields[name] for name in fields.column_names if name != "row_number"}
        typed = pa.table({**columns, **found}).select(TYPED_BATCH.names).cast(TYPED_BATCH)
        return typed, rows, np.concatenate(suspects)

    def _find_unknown(self, records: pa.Table, suspects: NDArray[np.int64]) -> Unknown:
        """Return the unknown fields of these records where the lake wants to know of them."""
        if self._unknown_fields == "discard" or not len(suspects):
            return Unknown.nothing()
        suspects = np.sort(suspects)
        return Unknown.of(suspects, self._json["unknown"](json_batch(_take(records, suspects))))

    def _enriched(self, judged: pa.Table, of_records: pa.Table, rescued: pa.Array) -> pa.Table:
        """Return schema `SILVER` of judged rows, what their records say themselves and their unknown fields."""
        columns = {name: judged[name] for name in judged.column_names}
        columns |= {name: of_records[name] for name in of_records.column_names}
        columns |= self._titles(columns["title_row"]) | self._regions(columns["country_row"]) | {"rescued": rescued}
        return pa.table([columns[name] for name in SILVER.names], SILVER.names)

    def _parsed(self, end: str, records: pa.Table, ids: NDArray[np.int64], schemas: Schemas) -> pa.Table:
        """Return what the parsing statement with this end (`types`, `faults`) says of each record, in their order."""
        is_json = ids == NOT_AVRO
        if is_json.all():
            return self._json[end](json_batch(records))
        if not is_json.any():
            return self._avro[end](avro_batch(records, ids, schemas))
        parts = []
        for is_mine in (is_json, ~is_json):
            rows = pa.array(np.flatnonzero(is_mine))
            part = self._parsed(end, records.take(rows), ids[is_mine], schemas)
            parts.append(part.set_column(part.schema.get_field_index("row_number"), "row_number", rows))
        return _in_order(pa.concat_tables(parts).combine_chunks(), records.num_rows)

    def _count(self, broken: NDArray[np.uint64], records: pa.Table) -> tuple[int, ...]:
        if not broken.any():
            return (0,) * len(self._rules.rules)
        counts = []
        for place, rule in enumerate(self._rules.rules):
            rows = np.flatnonzero(broken & np.uint64(1 << place))
            if rule.action == "fail" and len(rows):
                topic, _, kafka_partition, offset = (records[field.name][int(rows[0])].as_py() for field in POSITION)
                raise RuleBroken(
                    f"{topic}[{kafka_partition}]@{offset} breaks the rule {rule.name!r}, which stops the worker: "
                    f"{rule.message}. Nothing of its batch was written: mend the record's source, or the rule's action"
                )
            counts.append(len(rows))
        return tuple(counts)

    def _with_rules(self, faults: pa.Table, broken: NDArray[np.uint64]) -> pa.Table:
        """Return faults with the reasons and messages of broken rules."""
        refusing = np.uint64(self._rules.bits("quarantine"))
        rows = np.flatnonzero(broken & refusing)
        if not len(rows):
            return faults
        reasons, details = faults["reasons"].to_pylist(), faults["detail"].to_pylist()
        for row in rows.tolist():
            hit = [rule for place, rule in enumerate(self._rules.rules) if int(broken[row] & refusing) >> place & 1]
            reasons[row] = [f"{CODE}{rule.name}" for rule in hit]
            details[row] = "; ".join(rule.message for rule in hit)
        return pa.table(
            {"reasons": pa.array(reasons, faults["reasons"].type), "detail": pa.array(details, pa.string())}
        )

    def close(self) -> None:
        """Let go of DuckDB. A connection that outlives the interpreter makes its binding print pages of leaks."""
        self._con.close()
        del self._con, self._json, self._avro, self._judge


class _Feed:
    """A view that is another Arrow table each time DuckDB scans it."""

    def __init__(self, con: duckdb.DuckDBPyConnection, name: str, schema: pa.Schema) -> None:
        self.con, self.batch = con, _Batch(schema)
        con.register(name, self.batch)


class _Batch:
    """What DuckDB scans. It holds no connection, or the two would keep each other alive."""

    def __init__(self, schema: pa.Schema) -> None:
        self.table = self.nothing = schema.empty_table()

    def __arrow_c_schema__(self) -> object:
        return self.table.schema.__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.table.__arrow_c_stream__(requested_schema)


class _Statement:
    """A prepared statement over a feed.

    Planning takes milliseconds, as long as judging thousands of rows. A view registered anew, or a table of DuckDB's
    own in it, has a statement planned at each execution: so reference data is looked up outside.
    """

    def __init__(self, feed: _Feed, name: str, sql: str) -> None:
        self._feed, self._name = feed, name
        feed.con.execute(f"prepare {name} as {sql}")

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Return what it says of each row of a batch, in their order."""
        self._feed.batch.table = batch
        try:
            told = self._feed.con.sql(f"execute {self._name}").to_arrow_table()
        finally:
            self._feed.batch.table = self._feed.batch.nothing
        return _in_order(told, batch.num_rows)


class _Keys:
    """Row numbers of a table by its key."""

    def __init__(self, keys: pa.ChunkedArray) -> None:
        self._rows = {key: row for row, key in enumerate(keys.to_pylist())}

    def __call__(self, values: pa.ChunkedArray) -> pa.Int32Array:
        """Return the row number of each value, null where there is none."""
        found = values.combine_chunks().dictionary_encode()
        return pa.array([self._rows.get(key) for key in found.dictionary.to_pylist()], pa.int32()).take(found.indices)


class _Lookup:
    """Columns of a small table by row number; text as dictionaries, so that its rows are never copied."""

    def __init__(self, table: pa.Table) -> None:
        self._columns = {name: _encoded(table[name].combine_chunks()) for name in table.column_names}

    def __call__(self, rows: pa.ChunkedArray) -> dict[str, pa.Array]:
        """Return each column's values at these row numbers, null at null."""
        numbers = rows.combine_chunks()
        return {name: column.take(numbers) for name, column in self._columns.items()}


def _encoded(values: pa.Array) -> pa.Array:
    if pa.types.is_string(values.type):
        return values.dictionary_encode()
    if pa.types.is_list(values.type):
        is_null = values.is_null() if values.null_count else None
        return pa.ListArray.from_arrays(values.offsets, values.values.dictionary_encode(), mask=is_null)
    return values


def _in_order(told: pa.Table, rows: int) -> pa.Table:
    """Return what a statement says of each record in their order."""
    if told.num_rows != rows:
        raise AssertionError(f"a statement made {told.num_rows} rows of {rows}")
    if told["row_number"].equals(pa.chunked_array([np.arange(rows)])):
        return told
    return told.take(pc.sort_indices(told["row_number"]))


def _by_date(event_date: pa.ChunkedArray, is_chosen: NDArray[np.bool_], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the chosen places ordered by event date, nulls last, then by row."""
    days = event_date.combine_chunks().cast(pa.int32()).fill_null(np.iinfo(np.int32).max).to_numpy()
    places = np.flatnonzero(is_chosen)
    return places[np.lexsort((rows[places], days[places]))]


def _take(table: pa.Table, rows: NDArray[np.int64]) -> pa.Table:
    """Return these rows; the table itself if that is all of them."""
    if len(rows) == table.num_rows and (rows == np.arange(len(rows))).all():
        return table
    wanted, highest = pa.array(rows), int(rows.max(initial=0))
    # Of several chunks pyarrow makes one first. In a second one is only what isn't plain: bad records, mostly.
    columns = [
        (column.chunk(0) if column.num_chunks and highest < len(column.chunk(0)) else column).take(wanted)
        for column in table.columns
    ]
    return pa.table(columns, schema=table.schema)


def _with_payloads(
    silver: pa.Table, records: pa.Table, rows: NDArray[np.int64], ids: NDArray[np.int64], schemas: Schemas
) -> pa.Table:
    """Return silver rows, undated ones last, with the payloads of undated Avro records as JSON: they have no text."""
    dated = len(rows) - silver["event_date"].null_count
    decoders = [schemas.get(schema_id) for schema_id in ids[rows[dated:]].tolist()]
    if not any(isinstance(decoder, AvroDecoder) for decoder in decoders):
        return silver
    payloads = silver["raw_payload"].slice(dated).to_pylist()
    for place, (row, decoder) in enumerate(zip(rows[dated:].tolist(), decoders, strict=True)):
        if isinstance(decoder, AvroDecoder):
            payloads[place] = decoder.as_json(records["value"][row].as_py())
    told = pa.chunked_array([*silver["raw_payload"].slice(0, dated).chunks, pa.array(payloads, pa.string())])
    return silver.set_column(silver.schema.get_field_index("raw_payload"), "raw_payload", told)


def _quarantine(records: pa.Table, faults: pa.Table, rule_set: str) -> pa.Table:
    columns = {name: records[name] for name in RECORDS.names if name != "headers"}
    columns["reasons"] = faults["reasons"]
    columns["detail"] = faults["detail"]
    columns["rule_set"] = pa.repeat(rule_set, records.num_rows)
    columns["ingest_date"] = records["ingest_timestamp"].cast(pa.date32())
    return pa.table(columns).select(QUARANTINE.names).cast(QUARANTINE)
