"""Files of a flush: read back as written, and described truly to the Delta log."""

import datetime as dt
import json
import shutil
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from schemas.errors import StoreUnavailable
from schemas.tables import TABLES
from sink.files import write_files
from sink.lake import Lake, data_files
from tests.records import NOW, processed, records

DAY = dt.timedelta(days=1)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake.at(str(tmp_path / "a lake"))


def silver_rows() -> pa.Table:
    """Five rows of two dates and the null partition, in no order."""
    _, silver, _ = processed(records([b"{}"] * 5))
    today = NOW.date()
    dates = [today, None, today - DAY, today, today - DAY]
    times = [NOW + dt.timedelta(microseconds=number) for number in range(5)]
    silver = silver.set_column(
        silver.schema.get_field_index("ingest_timestamp"),
        TABLES["silver"].schema.field("ingest_timestamp"),
        pa.array(times, pa.timestamp("us", "UTC")),
    )
    return silver.set_column(
        silver.schema.get_field_index("event_date"), "event_date", pa.array(dates, pa.date32())
    ).cast(TABLES["silver"].schema)


def commit(lake: Lake, rows: pa.Table) -> list[str]:
    handle = lake.table_or_create("silver")
    handle.create_write_transaction(write_files(lake, "silver", rows), "append", handle.schema())
    handle.update_incremental()
    return data_files(handle)


def test_what_is_written_reads_back_the_same_one_file_a_date(lake: Lake) -> None:
    rows = silver_rows()
    files = commit(lake, rows)
    assert 3 == len(files)
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        found = connection.sql(
            "from read_parquet($files, hive_partitioning = true, hive_types = {'event_date': date})"
            " order by kafka_offset",
            params={"files": files},
        ).to_arrow_table()
    assert rows.to_pylist() == found.select(rows.column_names).cast(rows.schema).to_pylist()


def test_a_file_holds_no_title_that_none_of_its_rows_has(lake: Lake) -> None:
    rows = pa.concat_tables([silver_rows()] * 100)
    today = pa.array([NOW.date()] * len(rows), pa.date32())
    rows = rows.set_column(rows.schema.get_field_index("event_date"), "event_date", today)
    catalogue = pa.array([f"title {number}" for number in range(100_000)]).dictionary_encode()
    few = pa.chunked_array([catalogue.take(pa.array([7, None, 99_999] * part)) for part in (100, 66)])
    few = pa.chunked_array([*few.chunks, catalogue.take(pa.array([7, 8]))])
    rows = rows.set_column(rows.schema.get_field_index("title"), "title", few)
    lake.table_or_create("silver")
    (action,) = write_files(lake, "silver", rows)
    told = pq.ParquetFile(Path(lake.path("silver")) / action.path, read_dictionary=["title"])
    title = told.read(columns=["title"])["title"].combine_chunks()
    assert {"title 7", "title 8", "title 99999"} == set(title.dictionary.to_pylist())
    assert few.to_pylist() == title.to_pylist()


def test_statistics_are_exact_to_the_microsecond_and_name_nobody(lake: Lake) -> None:
    rows = silver_rows()
    lake.table_or_create("silver")
    for action in write_files(lake, "silver", rows):
        date = action.partition_values["event_date"]
        mine = rows.filter(
            pc.is_null(rows["event_date"])
            if date is None
            else pc.equal(rows["event_date"], dt.date.fromisoformat(date))
        )
        told = json.loads(action.stats)
        times = mine["ingest_timestamp"].to_pylist()
        assert mine.num_rows == told["numRecords"]
        assert min(times) == dt.datetime.fromisoformat(told["minValues"]["ingest_timestamp"])
        assert max(times) == dt.datetime.fromisoformat(told["maxValues"]["ingest_timestamp"])
        assert pc.min(mine["kafka_offset"]).as_py() == told["minValues"]["kafka_offset"]
        assert pc.max(mine["kafka_offset"]).as_py() == told["maxValues"]["kafka_offset"]
        assert mine.num_rows == told["nullCount"]["repair_id"]
        assert set(TABLES["silver"].statistics) == set(told["nullCount"])
        assert {"user_id", "profile_id"}.isdisjoint(told["minValues"] | told["maxValues"] | told["nullCount"])


def test_a_delete_by_ingest_time_finds_the_rows_of_the_last_microsecond(lake: Lake) -> None:
    commit(lake, silver_rows())
    handle = lake.table("silver")
    newest = (NOW + dt.timedelta(microseconds=4)).isoformat()
    assert 1 == handle.delete(f"ingest_timestamp >= '{newest}'")["num_deleted_rows"]


def test_a_null_where_there_may_be_none_is_refused(lake: Lake) -> None:
    lake.table_or_create("silver")
    rows = silver_rows()
    rows = rows.set_column(0, rows.schema.field(0), pa.nulls(5, pa.string()))
    with pytest.raises(pa.ArrowInvalid, match="event_id"):
        write_files(lake, "silver", rows)


def test_a_table_whose_folder_is_gone_gets_no_file_and_no_folder(lake: Lake) -> None:
    lake.table_or_create("silver")
    shutil.rmtree(lake.uri)
    with pytest.raises(StoreUnavailable, match=r"a lake/silver/playback_events: .*No such file"):
        write_files(lake, "silver", silver_rows())
    assert not Path(lake.uri).exists()
