"""Records in, silver and quarantine rows out: pure and total.

No clock, no network, no global: the same records, titles and countries give the same rows. Total: any bytes get exactly
one fate. The judgement itself is one SQL statement, `process.sql`, which reads on one page.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from schemas.tables import POSITION, QUARANTINE, RECORDS, SILVER

_SQL: Final = files("stream_app").joinpath("process.sql").read_text(encoding="utf-8")

RULE_SET: Final = "builtin-" + hashlib.sha256(_SQL.encode()).hexdigest()[:12]
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
        batch = pa.table(
            {
                "row_number": pa.array(range(records.num_rows), pa.int64()),
                "text": self._decode_utf8(value),
                "byte_count": pc.binary_length(value),
                "broker_timestamp": records["broker_timestamp"],
                "ingest_timestamp": records["ingest_timestamp"],
            }
        )
        self._con.register("batch", batch)
        judged = self._con.sql(_SQL).to_arrow_table()
        self._con.unregister("batch")
        if not judged["row_number"].equals(
            batch["row_number"]
        ):  # a batch smaller than the catalogue: joined from there
            judged = judged.take(pc.sort_indices(judged["row_number"]))
        if judged.num_rows != records.num_rows:
            raise AssertionError(f"process.sql made {judged.num_rows} rows of {records.num_rows}")
        for name in _FROM_RECORD:
            judged = judged.append_column(name, records[name])
        is_bad = pc.is_valid(judged["reasons"])
        silver = judged.filter(pc.invert(is_bad)).select(SILVER.names).cast(SILVER)
        return Processed(silver, self._quarantine(records.filter(is_bad), judged.filter(is_bad)))

    def _decode_utf8(self, value: pa.Array) -> pa.Array:
        """Return the bytes as text, null where they are no UTF-8."""
        try:
            return value.cast(pa.string())
        except pa.ArrowInvalid:  # some row is no UTF-8: find out which, at ten times the cost
            self._con.register("bytes", pa.table({"value": value}))
            text = self._con.sql("select try(decode(value)) as text from bytes").to_arrow_table()["text"]
            self._con.unregister("bytes")
            return text.combine_chunks()

    @staticmethod
    def _quarantine(records: pa.Table, judged: pa.Table) -> pa.Table:
        columns = {name: records[name] for name in RECORDS.names if name != "headers"}
        columns["reasons"] = judged["reasons"]
        columns["detail"] = judged["detail"]
        columns["rule_set"] = pa.array([RULE_SET] * records.num_rows, pa.string())
        columns["ingest_date"] = records["ingest_timestamp"].cast(pa.date32())
        return pa.table(columns).select(QUARANTINE.names).cast(QUARANTINE)
