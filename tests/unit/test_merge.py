"""Merged files hold the rows of those they came from, whoever wrote them, in order."""

import datetime as dt
import json
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake

from compaction import merge
from compaction.delta_log import live_files
from compaction.merge import bins, merge_files
from schemas.errors import StoreUnavailable
from schemas.tables import TABLES
from sink.files import write_files
from sink.lake import Lake
from tests import lakes

NOON = dt.datetime(2026, 11, 21, 12, tzinfo=dt.UTC)


def merged(lake: Lake, name: str) -> tuple[pa.Table, dict, pq.FileMetaData]:
    """The one file that all files of a table become: its rows, its statistics, its footer."""
    handle = lake.table(name)
    (files,) = bins(live_files(handle, lake.path(name)), 10**9)
    action = merge_files(lake, name, pa.schema(handle.schema().to_arrow()), files)
    path = f"{lake.path(name)}/{action.path}"
    assert Path(path).stat().st_size == action.size
    assert not action.data_change
    return pq.read_table(path, partitioning=None), json.loads(action.stats), pq.read_metadata(path)


def test_rows_are_in_order_run_by_run(tmp_path, monkeypatch):
    monkeypatch.setattr(merge, "SORTED_ROWS", 8)
    monkeypatch.setattr(merge, "ROW_GROUP_ROWS", 4)
    monkeypatch.setattr(merge, "_FEW_FILES", 1)
    lake = lakes.make(tmp_path)
    for seconds in ([3, 1, 2, 0], [7, 9, -5, 8], [6, 4]):
        lakes.append(lake, "silver", [lakes.silver(at=NOON + dt.timedelta(seconds=second)) for second in seconds])
    found, _, footer = merged(lake, "silver")
    in_order = [int((time - NOON).total_seconds()) for time in found["event_timestamp"].to_pylist()]
    assert [-5, 0, 1, 2, 3, 7, 8, 9, 4, 6] == in_order
    assert [4, 4, 2] == [footer.row_group(number).num_rows for number in range(footer.num_row_groups)]


def test_rows_of_workers_and_of_delta_rs_come_together_sorted_by_event_time(tmp_path, monkeypatch):
    monkeypatch.setattr(merge, "ROW_GROUP_ROWS", 7)
    lake = lakes.make(tmp_path)
    dice = random.Random(1)
    rows = [
        lakes.silver(
            at=NOON + dt.timedelta(microseconds=dice.randrange(10**9)),
            title_id=dice.choice(list(lakes.CATALOGUE)),
            warnings=dice.choice([[], ["late"], ["late", "clock_ahead"]]),
            country=dice.choice(["DE", None]),
        )
        for _ in range(30)
    ]
    schema = TABLES["silver"].schema
    handle = lake.table("silver")
    for start in range(0, 30, 10):
        table = pa.Table.from_pylist(rows[start : start + 10], schema)
        if start:
            handle.create_write_transaction(write_files(lake, "silver", table), "append", handle.schema())
        else:
            write_deltalake(handle, table, mode="append")
    found, statistics, footer = merged(lake, "silver")
    rows.sort(key=lambda row: row["event_timestamp"])
    expected = pa.Table.from_pylist(rows, schema).drop_columns(["event_date"])
    assert expected.to_pylist() == found.to_pylist()
    assert [8, 8, 8, 6] == [footer.row_group(number).num_rows for number in range(footer.num_row_groups)]
    assert 30 == statistics["numRecords"]
    for edge, row in (("minValues", rows[0]), ("maxValues", rows[-1])):
        assert f"{row['event_timestamp']:%Y-%m-%dT%H:%M:%S.%fZ}" == statistics[edge]["event_timestamp"]
    offsets = [row["kafka_offset"] for row in rows]
    assert [min(offsets), max(offsets)] == [statistics[edge]["kafka_offset"] for edge in ("minValues", "maxValues")]
    assert 30 == statistics["nullCount"]["repair_id"]
    assert "repair_id" not in statistics["minValues"]


def test_bronze_keeps_the_order_of_its_files_and_every_byte(tmp_path, monkeypatch):
    monkeypatch.setattr(merge, "ROW_GROUP_ROWS", 5)
    lake = lakes.make(tmp_path)
    values = [b"\xff\x00", None, b"", *(bytes([number]) * 50 for number in range(9))]
    for start in range(0, 12, 3):
        headers = [[("a", b"1"), ("a", None)], [], None]
        records = [
            lakes.record(value=value, headers=header)
            for value, header in zip(values[start : start + 3], headers, strict=True)
        ]
        lakes.append(lake, "bronze", records)
    found, statistics, footer = merged(lake, "bronze")
    assert values == found["value"].to_pylist()
    assert [[("a", b"1"), ("a", None)], [], None] * 4 == found["headers"].to_pylist()
    assert 2 == footer.num_row_groups
    assert 12 == statistics["numRecords"]


def test_columns_that_older_files_lack_become_null(tmp_path):
    lake = lakes.make(tmp_path)
    lakes.append(lake, "silver", [lakes.silver()])
    older = TABLES["silver"].schema
    newer = older.append(pa.field("frame_rate", pa.int32())).append(pa.field("tags", pa.list_(pa.string())))
    row = lakes.silver() | {"frame_rate": 800, "tags": ["a", "b"]}
    write_deltalake(lake.table("silver"), pa.Table.from_pylist([row], newer), mode="append", schema_mode="merge")
    found, _, _ = merged(lake, "silver")
    assert [(None, None), (800, ["a", "b"])] == list(
        zip(found["frame_rate"].to_pylist(), found["tags"].to_pylist(), strict=True)
    )


def test_a_file_that_is_gone_is_named(tmp_path):
    lake = lakes.make(tmp_path)
    for _ in range(2):
        lakes.append(lake, "silver", [lakes.silver()])
    lost = Path(live_files(lake.table("silver"), lake.path("silver"))[0].path)
    lost.unlink()
    with pytest.raises(StoreUnavailable, match=lost.name):
        merged(lake, "silver")
    assert 2 == DeltaTable(lake.path("silver")).version()
