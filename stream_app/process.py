"""Records in, silver and quarantine rows out: pure and total.

No clock, no network, no global: the same records, schemas, titles and countries give the same rows. Total: any bytes
get exactly one fate. The judgement itself is one SQL statement a format: `parse_json.sql` or `parse_avro.sql` make
fields of the records, `process.sql` judges them and reads on one page; `faults.sql` adds, for the few records that are
bad, every reason why.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
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
from stream_app.formats import AVRO_BATCH, JSON_BATCH, Schemas, avro_batch, json_batch
from stream_app.rules import CODE, RuleSet
from stream_app.unknown_fields import REASON, UnknownFields, rescued, suspects

_SQL: Final = {
    name: files("stream_app").joinpath(f"{name}.sql").read_text(encoding="utf-8")
    for name in ("parse_json", "parse_avro", "process", "faults", "unknown")
}

BUILT_IN: Final = "builtin-" + hashlib.sha256("".join(_SQL.values()).encode()).hexdigest()[:12]
"""Version of what process.sql checks itself, kept with every quarantined row: it changes whenever the SQL does."""

_LONGEST_DETAIL: Final = 500
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
        *,
        unknown_fields: UnknownFields = "discard",
    ) -> None:
        """Load reference data.

        Args:
            titles: schema `stream_app.catalogue.TITLES`, unique `title_id`.
            countries: columns `code` (unique) and `region`.
            rules: the lake's own; None for none.
            unknown_fields: what the lake does with fields of JSON records that playlake does not know.
        """
        self._unknown_fields = unknown_fields
        self._rules = rules or RuleSet()
        self._rule_set = "+".join(filter(None, (BUILT_IN, self._rules.label)))
        self._con = duckdb.connect()
        self._con.execute("set threads = 1")  # the worker overlaps steps instead; one thread also keeps the rows' order
        self._con.execute("set TimeZone = 'UTC'")
        # Joins as written, the batch on the probing side: the planner sees no batch yet and would take it for small.
        self._con.execute("set disabled_optimizers = 'join_order,build_side_probe_side'")
        self._con.register("given", pa.table({"code": countries["code"], "country_row": _row_numbers(countries)}))
        self._con.execute("create table countries as from given")
        self._regions = _Lookup(countries.select(["region"]))
        self.use_titles(titles)
        statements = {"process": self._rules.in_statement(_SQL["process"]), "faults": _SQL["faults"]}
        self._json = _Format(self._con, "json", JSON_BATCH, {**statements, "unknown": _SQL["unknown"]})
        self._avro = _Format(self._con, "avro", AVRO_BATCH, statements)

    def use_titles(self, titles: pa.Table) -> None:
        """Judge the next batches with this catalogue (schema as in `__init__`)."""
        self._con.register("given", pa.table({"title_id": titles["title_id"], "title_row": _row_numbers(titles)}))
        self._con.execute("create or replace table titles as from given")
        self._con.unregister("given")
        self._titles = _Lookup(titles.drop_columns(["title_id"]))

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
        judged = self._execute("process", records, ids, schemas)
        columns = {name: judged[name] for name in judged.column_names}
        columns |= self._titles(columns["title_row"]) | self._regions(columns["country_row"])
        columns |= {name: records[name] for name in _FROM_RECORD}
        is_valid = judged["is_valid"].combine_chunks()
        unknown = None if self._unknown_fields == "discard" else self._find_unknown(records, judged, ids)
        columns["rescued"] = rescued(unknown if self._unknown_fields == "rescue" else None, records.num_rows)
        if unknown is not None and self._unknown_fields == "quarantine":
            is_valid = _without(is_valid, unknown["row_number"])
        silver = pa.table([columns[name] for name in SILVER.names], SILVER.names)
        broken = judged["broken"].to_numpy()
        counts = self._count(broken, records)
        silver = _by_date(silver, is_valid)
        if silver.num_rows == records.num_rows:
            return Processed(silver, QUARANTINE.empty_table(), counts)
        is_bad = pc.invert(is_valid)
        bad, where = records.filter(is_bad), is_bad.to_numpy(zero_copy_only=False)
        faults = self._with_rules(self._execute("faults", bad, ids[where], schemas), broken[where])
        if unknown is not None and self._unknown_fields == "quarantine":
            faults = _with_unknown(faults, unknown, where)
        return Processed(silver, _quarantine(bad, faults, self._rule_set), counts)

    def _find_unknown(self, records: pa.Table, judged: pa.Table, ids: NDArray[np.int64]) -> pa.Table | None:
        """Return what unknown.sql says, numbered as the batch is; None where there are no unknown fields."""
        rows = suspects(records["value"].chunk(0), judged, ids == NOT_AVRO)
        if not len(rows):
            return None
        found = self._json("unknown", json_batch(records.take(pa.array(rows))))
        numbers = pa.array(rows[found["row_number"].to_numpy()])
        return found.set_column(found.schema.get_field_index("row_number"), "row_number", numbers)

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

    def _execute(self, statement: str, records: pa.Table, ids: NDArray[np.int64], schemas: Schemas) -> pa.Table:
        """Return what a statement says of each record, in their order."""
        is_json = ids == NOT_AVRO
        if is_json.all():
            told = self._json(statement, json_batch(records))
        elif not is_json.any():
            told = _with_payload(self._avro(statement, avro_batch(records, ids, schemas)), records, ids, schemas)
        else:
            parts = []
            for is_mine in (is_json, ~is_json):
                rows = pa.array(np.flatnonzero(is_mine))
                part = self._execute(statement, records.take(rows), ids[is_mine], schemas)
                parts.append(part.set_column(part.schema.get_field_index("row_number"), "row_number", rows))
            told = pa.concat_tables(parts).combine_chunks()
        if told.num_rows != records.num_rows:
            raise AssertionError(f"{statement}.sql made {told.num_rows} rows of {records.num_rows}")
        if not told["row_number"].equals(pa.chunked_array([np.arange(records.num_rows)])):
            told = told.take(pc.sort_indices(told["row_number"]))
        return told

    def close(self) -> None:
        """Let go of DuckDB. A connection that outlives the interpreter makes its binding print pages of leaks."""
        self._con.close()
        del self._con, self._json, self._avro


class _Feed:
    """An Arrow table that is another one each time DuckDB scans it."""

    def __init__(self, schema: pa.Schema) -> None:
        self.table = schema.empty_table()

    def __arrow_c_schema__(self) -> object:
        return self.table.schema.__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.table.__arrow_c_stream__(requested_schema)


class _Format:
    """A format's two prepared statements, over a batch.

    Planning process.sql takes 9 ms and faults.sql 13 ms, as long as judging thousands of rows; registering each batch
    under the view's name would have them planned again. So what is registered is a feed that answers with the batch of
    the moment.
    """

    def __init__(
        self, con: duckdb.DuckDBPyConnection, name: str, schema: pa.Schema, statements: Mapping[str, str]
    ) -> None:
        self._con, self._name, self._schema = con, name, schema
        self._feed = _Feed(schema)  # holds no connection, or the two would keep each other alive
        con.register(f"{name}_batch", self._feed)
        for statement, sql in statements.items():
            con.execute(f"prepare {statement}_{name} as {_SQL[f'parse_{name}']}{sql}")

    def __call__(self, statement: str, batch: pa.Table) -> pa.Table:
        self._feed.table = batch
        try:
            return self._con.sql(f"execute {statement}_{self._name}").to_arrow_table()
        finally:
            self._feed.table = self._schema.empty_table()


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


def _without(flags: pa.BooleanArray, rows: pa.ChunkedArray) -> pa.BooleanArray:
    """Return flags that are false at these rows, too."""
    left = flags.to_numpy(zero_copy_only=False).copy()
    left[rows.to_numpy()] = False
    return pa.array(left)


def _with_unknown(faults: pa.Table, unknown: pa.Table, is_bad: NDArray[np.bool_]) -> pa.Table:
    """Return the faults of bad records with the unknown fields of those that were valid but for them."""
    places = np.cumsum(is_bad) - 1
    reasons, details = faults["reasons"].to_pylist(), faults["detail"].to_pylist()
    for row, names in zip(unknown["row_number"].to_numpy().tolist(), unknown["names"].to_pylist(), strict=True):
        place = int(places[row])
        reasons[place] = [REASON]
        details[place] = f"unknown fields: {', '.join(names)}"[:_LONGEST_DETAIL]
    return pa.table({"reasons": pa.array(reasons, faults["reasons"].type), "detail": pa.array(details, pa.string())})


def _row_numbers(table: pa.Table) -> pa.Array:
    return pa.array(np.arange(table.num_rows, dtype=np.int32))


def _by_date(silver: pa.Table, is_valid: pa.BooleanArray) -> pa.Table:
    """Return the valid rows ordered by event date; the table itself if that is how they are."""
    days = silver["event_date"].combine_chunks().cast(pa.int32()).fill_null(np.iinfo(np.int32).max).to_numpy()
    rows = np.flatnonzero(is_valid.to_numpy(zero_copy_only=False))
    if len(rows) == len(days) and (days[1:] >= days[:-1]).all():
        return silver
    return silver.take(pa.array(rows[np.argsort(days[rows], kind="stable")]))


def _with_payload(told: pa.Table, records: pa.Table, ids: NDArray[np.int64], schemas: Schemas) -> pa.Table:
    """Return what was told of Avro records with `raw_payload`, as JSON, where their event time says nothing."""
    if "raw_payload" not in told.column_names:
        return told
    payloads: list[str | None] = [None] * told.num_rows
    rows = told["row_number"].to_numpy()
    for place in np.flatnonzero(told["event_timestamp"].combine_chunks().is_null().to_numpy(zero_copy_only=False)):
        row = int(rows[place])
        if isinstance(decoder := schemas.get(int(ids[row])), AvroDecoder):
            payloads[place] = decoder.as_json(records["value"][row].as_py())
    at = told.schema.get_field_index("raw_payload")
    return told.set_column(at, "raw_payload", pa.array(payloads, pa.string()))


def _quarantine(records: pa.Table, faults: pa.Table, rule_set: str) -> pa.Table:
    columns = {name: records[name] for name in RECORDS.names if name != "headers"}
    columns["reasons"] = faults["reasons"]
    columns["detail"] = faults["detail"]
    columns["rule_set"] = pa.repeat(rule_set, records.num_rows)
    columns["ingest_date"] = records["ingest_timestamp"].cast(pa.date32())
    return pa.table(columns).select(QUARANTINE.names).cast(QUARANTINE)
