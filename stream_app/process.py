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

_FROM_RECORD: Final = (*(field.name for field in POSITION), "broker_timestamp", "ingest_timestamp")


@dataclass(frozen=True)
class Processed:
    """What became of a batch: every record is in exactly one of the two, each in the batch's order.

    Attributes:
        silver: schema `SILVER`.
        quarantine: schema `QUARANTINE`.
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
        self._con.register("countries_given", countries)
        self._con.execute("create table countries as select code, region from countries_given")
        self.use_titles(titles)

    def use_titles(self, titles: pa.Table) -> None:
        """Judge the next batches with this catalogue (schema as in `__init__`)."""
        self._con.register("titles_given", titles)
        self._con.execute("create or replace table titles as select * from titles_given")
        self._con.unregister("titles_given")

    def __call__(self, records: pa.Table) -> Processed:
        """Judge a batch.

        Args:
            records: schema `RECORDS`, any number of rows, from any Kafka partitions, any bytes as values.
        """
        value = records["value"].combine_chunks()
        row_number = pa.array(np.arange(records.num_rows))
        text = _decode_utf8(value)
        judged = self._ask(
            _SQL,
            "batch",
            row_number=row_number,
            text=text,
            broker_timestamp=records["broker_timestamp"],
            ingest_timestamp=records["ingest_timestamp"],
        )
        if judged.num_rows != records.num_rows:
            raise AssertionError(f"process.sql made {judged.num_rows} rows of {records.num_rows}")
        if not judged["row_number"].equals(pa.chunked_array([row_number])):  # joined from the catalogue's side
            judged = judged.take(pc.sort_indices(judged["row_number"]))
        for name in _FROM_RECORD:
            judged = judged.append_column(name, records[name])
        is_valid = judged["is_valid"].combine_chunks()
        if is_valid.false_count == 0:
            return Processed(judged.select(SILVER.names).cast(SILVER), QUARANTINE.empty_table())
        silver = judged.select(SILVER.names).filter(is_valid).cast(SILVER)
        is_bad = pc.invert(is_valid)
        faults = self._ask(
            _FAULTS_SQL,
            "bad",
            row_number=row_number.filter(is_bad),
            text=text.filter(is_bad),
            byte_count=pc.binary_length(value.filter(is_bad)),
        )
        return Processed(silver, _quarantine(records.filter(is_bad), faults))

    def close(self) -> None:
        """Let go of DuckDB. A connection that outlives the interpreter makes its binding print pages of leaks."""
        self._con.close()
        del self._con

    def _ask(self, sql: str, view: str, **columns: pa.Array) -> pa.Table:
        self._con.register(view, pa.table(columns))
        try:
            return self._con.sql(sql).to_arrow_table()
        finally:
            self._con.unregister(view)


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
