"""`status`: what it says of a lake, and that it says it on narrow terminals and for programs."""

from __future__ import annotations

import datetime as dt
import io
import json
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake
from rich.console import Console

from audit.status import Progress, Status, read_progress, read_status
from playlake.cli import main
from playlake.verbs.status import print_report
from schemas.tables import BRONZE
from sink.lake import Lake
from sink.positions import Source
from sink.writer import LakeWriter
from tests import lakes
from tests.records import NOW, TOPIC, processed, records, source


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake.at(str(tmp_path / "a lake"))


class Killed(BaseException):
    """Stands for a SIGKILL at a step."""


def fill(lake: Lake, count: int = 20, bad: frozenset[int] = frozenset({3, 4})) -> None:
    """Kafka partitions 0 and 2 with rows, 1 claimed without any."""
    writer = LakeWriter(lake)
    writer.claim({source(0): 0, source(1): 0, source(2): 0})
    for number in (0, 2):
        writer.add(*processed(records([b"{}"] * count, 0, number), bad))
    writer.flush()


def test_rows_files_and_sizes_are_those_of_the_tables(lake: Lake) -> None:
    fill(lake)
    status = read_status(lake)
    assert [("bronze", 40, 1), ("silver", 36, 1), ("quarantine", 4, 1)] == [
        (table.name, table.rows, table.files) for table in status.tables
    ]
    sizes = [sum(path.stat().st_size for path in Path(lake.path(t.name)).rglob("*.parquet")) for t in status.tables]
    assert sizes == [table.size_bytes for table in status.tables]


def test_the_newest_commit_of_each_table_is_told(lake: Lake) -> None:
    fill(lake)
    lake.table("silver").delete("kafka_partition = 0")
    silver = next(table for table in read_status(lake).tables if table.name == "silver")
    assert ("DELETE", lake.table("silver").version()) == (silver.operation, silver.version)
    assert silver.committed_at is not None
    assert dt.timedelta(0) <= dt.datetime.now(dt.UTC) - silver.committed_at < dt.timedelta(minutes=5)


def test_freshness_goes_by_the_newest_record_in_silver(lake: Lake) -> None:
    fill(lake)
    status = read_status(lake)
    assert (NOW, NOW) == (status.newest_broker_time, status.newest_event_time)
    assert Progress(NOW, None) == read_progress(lake)


def test_quarantine_is_counted_by_reason(lake: Lake) -> None:
    fill(lake)
    status = read_status(lake)
    assert (0.1, (("malformed_json", 4),)) == (status.quarantine_share, status.reasons)


def test_rows_of_the_null_partition_are_counted(lake: Lake) -> None:
    writer = LakeWriter(lake)
    writer.claim({source(0): 0})
    bronze, silver, quarantine = processed(records([b"{}"] * 3))
    without_date = silver.set_column(
        silver.schema.get_field_index("event_date"), silver.schema.field("event_date"), pa.nulls(3, pa.date32())
    )
    writer.add(bronze, without_date, quarantine)
    writer.flush()
    assert 3 == read_status(lake).null_partition_rows


def test_every_source_has_its_position_also_without_rows(lake: Lake) -> None:
    fill(lake)
    expected = [(source(0), 19, 0, None), (source(1), None, 0, None), (source(2), 19, 0, None)]
    assert expected == [(each.source, each.done, each.bronze_ahead, each.lag) for each in read_status(lake).sources]


def test_a_torn_flush_shows_as_bronze_ahead(lake: Lake) -> None:
    def die(step: str) -> None:
        if step == "before silver":
            raise Killed

    fill(lake)
    writer = LakeWriter(lake, step=die)
    writer.claim({source(0): 0})
    writer.add(*processed(records([b"{}"] * 5, 20)))
    with pytest.raises(Killed):
        writer.flush()
    assert [5, 0, 0] == [each.bronze_ahead for each in read_status(lake).sources]


def test_files_that_mix_topics_are_told_apart_by_their_rows(lake: Lake) -> None:
    fill(lake)
    other = records([b"{}"] * 4).to_pylist()
    for number, row in enumerate(other):
        row |= {"topic": f"topic-{number}", "ingest_date": NOW.date()}
    write_deltalake(lake.table("bronze"), pa.Table.from_pylist(other, schema=BRONZE), mode="append")
    topics = {each.source.topic for each in read_status(lake).sources}
    assert {TOPIC, "topic-0", "topic-1", "topic-2", "topic-3"} == topics


def test_gold_tables_that_are_there_are_told(lake: Lake) -> None:
    fill(lake)
    write_deltalake(lake.path("gold/title_daily"), pa.table({"title_id": ["s1", "s2"]}))
    (Path(lake.uri) / "gold" / "left_over").mkdir()
    assert [("gold/title_daily", 2)] == [(table.name, table.rows) for table in read_status(lake).tables[3:]]


def test_an_empty_lake_has_a_status(lake: Lake, capsys: pytest.CaptureFixture[str]) -> None:
    LakeWriter(lake)
    assert Status(read_status(lake).tables, None, None, 0, (), None, (), ()) == read_status(lake)
    assert 0 == main(["status", "--lake", lake.uri])
    assert "quarantined" in capsys.readouterr().out


def test_dates_that_got_rows_long_after_their_end_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lake = lakes.make(tmp_path)
    in_time = lakes.silver(at="2026-11-20T23:59:00", ingest="2026-11-21T23:59:59")
    too_late = lakes.silver(at="2026-11-19T12:00:00", ingest="2026-11-21T00:00:00")
    lakes.append(lake, "silver", [in_time, too_late, lakes.undated(ingest="2026-12-01T00:00:00")])
    assert (dt.date(2026, 11, 19),) == read_status(lake).reopened_dates
    assert 0 == main(["status", "--lake", lake.uri])
    assert "1 dates got rows a day or more after their end, last 2026-11-19" in capsys.readouterr().out


def test_the_answer_for_programs_has_the_same_numbers(lake: Lake, capsys: pytest.CaptureFixture[str]) -> None:
    fill(lake)
    assert 0 == main(["status", "--lake", lake.uri, "--json"])
    answer = json.loads(capsys.readouterr().out)
    assert [40, 36, 4] == [table["rows"] for table in answer["tables"]]
    assert [19, None, 19] == [entry["done"] for entry in answer["sources"]]
    assert {"malformed_json": 4} == answer["quarantine_reasons"]
    assert answer["freshness_s"] == pytest.approx((dt.datetime.now(dt.UTC) - NOW).total_seconds(), abs=300)


def test_a_narrow_terminal_keeps_every_number_whole(lake: Lake) -> None:
    fill(lake)
    status = read_status(lake)
    large = Status(
        tuple(type(table)(table.name, 123456, 1234567890, 123456, 10**13, NOW, "OPTIMIZE") for table in status.tables),
        NOW,
        NOW,
        1234567,
        (NOW.date(),) * 123,
        0.0123,
        (("out_of_range:playhead_s", 1234567),),
        tuple(type(each)(Source("t", "-", 3), 1234567890, 123456, 1234567890) for each in status.sources),
    )
    console = Console(width=60, record=True, file=io.StringIO())
    print_report(large, lake, NOW, console)
    lines = console.export_text().splitlines()
    assert 60 >= max(len(line.rstrip()) for line in lines[1:])
    assert ["quarantine", "1,234,567,890", "123,456", "10.0", "TB", "81.0", "MB"] in [line.split() for line in lines]


def test_a_lake_that_is_not_there_is_said_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert 2 == main(["status", "--lake", "/nowhere/at/all"])
    assert ["playlake status: there is no lake at /nowhere/at/all"] == [
        line.split(" (")[0] for line in capsys.readouterr().err.splitlines()
    ]
