"""Records in, silver and quarantine rows out: pure and total.

No clock, no network, no global: the same records, titles and countries give the same rows. Total: any bytes get exactly
one fate. The judgement itself is one SQL statement, `process.sql`, which reads on one page; `faults.sql` adds, for the
few records that are bad, every reason why.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.tables import POSITION, QUARANTINE, RECORDS, SILVER

_SQL: Final = files("stream_app").joinpath("process.sql").read_text(encoding="utf-8")

_FAULTS_SQL: Final = files("stream_app").joinpath("faults.sql").read_text(encoding="utf-8")

RULE_SET: Final = "builtin-" + hashlib.sha256((_SQL + _FAULTS_SQL).encode()).hexdigest()[:12]
"""Version of the rules, kept with every quarantined row: it changes whenever the SQL does."""

_ROW_NUMBER = pa.field("row_number", pa.int64())
_TEXT = pa.field("text", pa.string())
_BATCH: Final = pa.schema(
    [_ROW_NUMBER, _TEXT, *(RECORDS.field(name) for name in ("broker_timestamp", "ingest_timestamp"))]
)
_BAD: Final = pa.schema([_ROW_NUMBER, _TEXT, pa.field("byte_count", pa.int32())])
_FROM_RECORD: Final = (*(field.name for field in POSITION), "broker_timestamp", "ingest_timestamp")


@dataclass(frozen=True)
class Processed:
    """What became of a batch: every record is in exactly one of the two.

    Attributes:
        silver: columns of `SILVER`, ordered by event date (nulls last), then as in the batch: so each lake partition is
            one slice. Text and lists of text from the catalogue are dictionary-encoded.
        quarantine: schema `QUARANTINE`, ordered as in the batch.
    """

    silver: pa.Table
    quarantine: pa.Table


class Processor:
    """The process step with its reference data loaded. Not for use from two threads at once."""

    def __init__(self, titles: pa.Table, countries: pa.Table) -> None:
        """Load reference data.

        Args:
            titles: schema `stream_app.catalogue.TITLES`, unique `title_id`.
            countries: columns `code` (unique) and `region`.
        """
        self._con = duckdb.connect()
        self._con.execute("set threads = 1")  # the worker overlaps steps instead; one thread also keeps the rows' order
        self._con.execute("set TimeZone = 'UTC'")
        # Joins as written, the batch on the probing side: the planner sees no batch yet and would take it for small.
        self._con.execute("set disabled_optimizers = 'join_order,build_side_probe_side'")
        self._con.register("given", pa.table({"code": countries["code"], "country_row": _row_numbers(countries)}))
        self._con.execute("create table countries as from given")
        self._regions = _Lookup(countries.select(["region"]))
        self.use_titles(titles)
        self._judge = _Statement(self._con, _SQL, "batch", _BATCH)
        self._explain = _Statement(self._con, _FAULTS_SQL, "bad", _BAD)

    def use_titles(self, titles: pa.Table) -> None:
        """Judge the next batches with this catalogue (schema as in `__init__`)."""
        self._con.register("given", pa.table({"title_id": titles["title_id"], "title_row": _row_numbers(titles)}))
        self._con.execute("create or replace table titles as from given")
        self._con.unregister("given")
        self._titles = _Lookup(titles.drop_columns(["title_id"]))

    def __call__(self, records: pa.Table) -> Processed:
        """Judge a batch.

        Args:
            records: schema `RECORDS`, any number of rows, from any Kafka partitions, any bytes as values.
        """
        value = records["value"].combine_chunks()
        row_number = pa.array(np.arange(records.num_rows))
        text = _decode_utf8(value)
        judged = self._judge(row_number, text, records["broker_timestamp"], records["ingest_timestamp"])
        if judged.num_rows != records.num_rows:
            raise AssertionError(f"process.sql made {judged.num_rows} rows of {records.num_rows}")
        if not judged["row_number"].equals(pa.chunked_array([row_number])):  # joined from the catalogue's side
            judged = judged.take(pc.sort_indices(judged["row_number"]))
        columns = {name: judged[name] for name in judged.column_names}
        columns |= self._titles(columns["title_row"]) | self._regions(columns["country_row"])
        columns |= {name: records[name] for name in _FROM_RECORD}
        silver = pa.table([columns[name] for name in SILVER.names], SILVER.names)
        is_valid = judged["is_valid"].combine_chunks()
        silver = _by_date(silver, is_valid)
        if silver.num_rows == records.num_rows:
            return Processed(silver, QUARANTINE.empty_table())
        is_bad = pc.invert(is_valid)
        faults = self._explain(row_number.filter(is_bad), text.filter(is_bad), pc.binary_length(value.filter(is_bad)))
        return Processed(silver, _quarantine(records.filter(is_bad), faults))

    def close(self) -> None:
        """Let go of DuckDB. A connection that outlives the interpreter makes its binding print pages of leaks."""
        self._con.close()
        del self._con, self._judge, self._explain


class _Feed:
    """An Arrow table that is another one each time DuckDB scans it."""

    def __init__(self, schema: pa.Schema) -> None:
        self.table = schema.empty_table()

    def __arrow_c_schema__(self) -> object:
        return self.table.schema.__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.table.__arrow_c_stream__(requested_schema)


class _Statement:
    """A prepared statement over a batch.

    Planning process.sql takes 9 ms and faults.sql 13 ms, as long as judging thousands of rows; registering each batch
    under the view's name would have them planned again. So what is registered is a feed that answers with the batch of
    the moment.
    """

    def __init__(self, con: duckdb.DuckDBPyConnection, sql: str, view: str, schema: pa.Schema) -> None:
        self._con, self._view, self._schema = con, view, schema
        self._feed = _Feed(schema)  # holds no connection, or the two would keep each other alive
        con.register(view, self._feed)
        con.execute(f"prepare judge_{view} as {sql}")

    def __call__(self, *columns: pa.Array) -> pa.Table:
        self._feed.table = pa.table([*columns], schema=self._schema)
        try:
            return self._con.sql(f"execute judge_{self._view}").to_arrow_table()
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


def _row_numbers(table: pa.Table) -> pa.Array:
    return pa.array(np.arange(table.num_rows, dtype=np.int32))


def _by_date(silver: pa.Table, is_valid: pa.BooleanArray) -> pa.Table:
    """Return the valid rows ordered by event date; the table itself if that is how they are."""
    days = silver["event_date"].combine_chunks().cast(pa.int32()).fill_null(np.iinfo(np.int32).max).to_numpy()
    rows = np.flatnonzero(is_valid.to_numpy(zero_copy_only=False))
    if len(rows) == len(days) and (days[1:] >= days[:-1]).all():
        return silver
    return silver.take(pa.array(rows[np.argsort(days[rows], kind="stable")]))


def _quarantine(records: pa.Table, faults: pa.Table) -> pa.Table:
    columns = {name: records[name] for name in RECORDS.names if name != "headers"}
    columns["reasons"] = faults["reasons"]
    columns["detail"] = faults["detail"]
    columns["rule_set"] = pa.repeat(RULE_SET, records.num_rows)
    columns["ingest_date"] = records["ingest_timestamp"].cast(pa.date32())
    return pa.table(columns).select(QUARANTINE.names).cast(QUARANTINE)


def _decode_utf8(value: pa.BinaryArray) -> pa.StringArray:
    """Return the bytes as text without a copy, null where they are no UTF-8."""
    _, offset_bytes, data = value.buffers()
    text = value.view(pa.string())
    if data is None:
        return text
    offsets = np.frombuffer(offset_bytes, np.int32)[value.offset : value.offset + len(value) + 1]
    window = np.frombuffer(data, np.uint8)[offsets[0] : offsets[-1]]
    beyond_ascii = np.flatnonzero(window.view(np.int8) < 0) + offsets[0]
    rows = np.unique(np.searchsorted(offsets, beyond_ascii, side="right") - 1)
    is_bad = np.zeros(len(value), bool)
    for row in rows.tolist():
        try:
            value[row].as_py().decode()
        except UnicodeDecodeError:
            is_bad[row] = True
    return pc.if_else(pa.array(is_bad), pa.scalar(None, pa.string()), text) if is_bad.any() else text
