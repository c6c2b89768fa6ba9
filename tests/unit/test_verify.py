"""`verify` from the lake alone: each way to break the promise by hand is found and named."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from deltalake import DeltaTable, write_deltalake
from rich.console import Console

from audit.verify import FAULTS, Verdict, verify
from compaction.dedupe import dedupe
from playlake.cli import main
from playlake.verbs.verify import print_report
from schemas.avro_columns import AvroDecoder
from sink.lake import Lake
from sink.scan import connect, create_view
from sink.writer import LakeWriter
from tests.avro import avro_bytes, schema_text
from tests.processing import processor
from tests.records import event_bytes, processed, records, source


def fill(lake: Lake, count: int = 20, bad: frozenset[int] = frozenset({3, 4}), first: int = 0) -> None:
    """One flush of `count` records in each of two Kafka partitions, the `bad` offsets quarantined."""
    writer = LakeWriter(lake)
    writer.claim({source(0): first, source(1): first})
    for number in (0, 1):
        values = [b"{" if offset in bad else event_bytes(offset) for offset in range(first, first + count)]
        writer.add(*processed(records(values, first, number), bad))
    writer.flush()


def cut(lake: Lake, name: str, predicate: str) -> None:
    """Take rows out of a table by hand."""
    removed = lake.table(name).delete(predicate)["num_deleted_rows"]
    assert removed > 0, "the test meant to delete something"


def copy(lake: Lake, name: str, select: str) -> None:
    """Append to a table what a query over `bronze`, `silver`, `quarantine` (the table itself is `this`) gives."""
    con = connect(lake)
    for table in ("bronze", "silver", "quarantine"):
        create_view(con, table, lake.table(table))
    create_view(con, "this", lake.table(name))
    handle: DeltaTable = lake.table(name)
    rows = con.sql(select).to_arrow_table()
    write_deltalake(handle, rows, mode="append")


def found(verdict: Verdict) -> dict[str, tuple[int, tuple[str, ...]]]:
    return {fault.kind: (fault.count, fault.first) for fault in verdict.faults}


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake.at(str(tmp_path / "a lake"))


def test_a_lake_as_the_writer_leaves_it_holds(lake: Lake) -> None:
    fill(lake)
    verdict = verify(lake)
    assert {} == found(verdict)
    assert [(0, 19, 20, 18, 2, 20), (0, 19, 20, 18, 2, 20)] == [
        (each.first, each.done, each.bronze, each.silver, each.quarantine, each.done_positions)
        for each in verdict.sources
    ]


def test_an_empty_lake_holds(lake: Lake) -> None:
    LakeWriter(lake)
    assert verify(lake).holds


@pytest.mark.parametrize(
    ("table", "offset", "kind"),
    [("silver", 7, "in_neither"), ("quarantine", 4, "in_neither"), ("bronze", 7, "silver_not_in_bronze")],
)
def test_one_row_taken_out_of_a_table_is_named(
    lake: Lake, capsys: pytest.CaptureFixture[str], table: str, offset: int, kind: str
) -> None:
    fill(lake)
    cut(lake, table, f"kafka_partition = 1 and kafka_offset = {offset}")
    assert {kind: (1, (f"playback[1]@{offset}",))} == found(verify(lake))
    assert 1 == main(["verify", "--lake", lake.uri])
    assert f"playback[1]@{offset}" in capsys.readouterr().out


def test_a_quarantine_row_without_its_bronze_row_is_named(lake: Lake) -> None:
    fill(lake)
    cut(lake, "bronze", "kafka_partition = 0 and kafka_offset = 3")
    assert {"quarantine_not_in_bronze": (1, ("playback[0]@3",))} == found(verify(lake))


def test_a_position_gone_from_every_table_is_a_hole(lake: Lake) -> None:
    fill(lake)
    for table in ("bronze", "silver"):
        cut(lake, table, "kafka_partition = 0 and kafka_offset in (0, 10, 11, 12, 19)")
    holes = ("playback[0]@0", "playback[0]@10-12", "playback[0]@19")
    assert {"unexplained_hole": (5, holes)} == found(verify(lake))


def test_a_kafka_partition_gone_from_every_table_is_a_hole(lake: Lake) -> None:
    fill(lake)
    for table in ("bronze", "silver", "quarantine"):
        cut(lake, table, "kafka_partition = 1")
    assert {"unexplained_hole": (20, ("playback[1]@0-19",))} == found(verify(lake))


def test_the_first_offset_need_not_be_zero(lake: Lake) -> None:
    fill(lake, first=1000, bad=frozenset())
    assert {} == found(verify(lake))


@pytest.mark.parametrize("table", ["bronze", "silver", "quarantine"])
def test_a_row_there_twice_is_named(lake: Lake, table: str) -> None:
    fill(lake)
    copy(lake, table, "select * from this where kafka_partition = 0 and kafka_offset in (4, 5)")
    offset = 4 if table == "quarantine" else 5
    named = ("playback[0]@4", "playback[0]@5") if table == "bronze" else (f"playback[0]@{offset}",)
    assert {f"repeated_in_{table}": (len(named), named)} == found(verify(lake))


def test_a_position_in_both_silver_and_quarantine_is_named(lake: Lake) -> None:
    fill(lake)
    copy(
        lake,
        "quarantine",
        """select topic, topic_id, kafka_partition, kafka_offset, broker_timestamp, key, value,
                  ['malformed_json'] as reasons, null::varchar as detail, 'test' as rule_set,
                  ingest_timestamp, ingest_date
           from bronze where kafka_partition = 0 and kafka_offset = 5""",
    )
    assert {"in_silver_and_quarantine": (1, ("playback[0]@5",))} == found(verify(lake))


def test_quarantine_with_other_bytes_than_bronze_is_named(lake: Lake) -> None:
    fill(lake)
    lake.table("quarantine").update(
        predicate="kafka_partition = 1 and kafka_offset = 4", updates={"value": "arrow_cast('x', 'Binary')"}
    )
    assert {"changed_value": (1, ("playback[1]@4",))} == found(verify(lake))


def test_silver_rows_beyond_its_position_are_named(lake: Lake) -> None:
    fill(lake)
    for table in ("bronze", "silver"):
        moved = "select * replace (kafka_offset + 100 as kafka_offset) from this"
        copy(lake, table, f"{moved} where kafka_partition = 0 and kafka_offset = 5")
    assert {"silver_not_done": (1, ("playback[0]@105",))} == found(verify(lake))


class Killed(BaseException):
    """Stands for a SIGKILL at a step."""


def test_rows_of_a_torn_flush_are_in_flight_and_no_fault(lake: Lake) -> None:
    def die(step: str) -> None:
        if step == "before silver":
            raise Killed

    fill(lake)
    writer = LakeWriter(lake, step=die)
    writer.claim({source(0): 0})
    writer.add(*processed(records([b"{}"] * 5, 20), frozenset({21})))
    with pytest.raises(Killed):
        writer.flush()
    verdict = verify(lake)
    assert {} == found(verdict)
    assert [(5, 1), (0, 0)] == [(each.bronze_in_flight, each.quarantine_in_flight) for each in verdict.sources]


class TestDuplicates:
    """A done bronze row in neither table is a dropped duplicate if silver holds its event_id; else it is lost."""

    def drop(self, lake: Lake, value: bytes | None) -> Verdict:
        """A lake whose offset 5 holds `value` and was dropped; silver holds the event_id `0-2`, among others."""
        writer = LakeWriter(lake)
        writer.claim({source(0): 0})
        values: list[bytes | None] = [event_bytes(offset, event_id=f"0-{offset}") for offset in range(9)]
        values[5] = value
        writer.add(*processed(records(values)))
        writer.flush()
        cut(lake, "silver", "kafka_offset = 5")
        return verify(lake)

    @pytest.mark.parametrize(
        "value",
        [
            event_bytes(event_id="0-2"),
            b'{"event_id": "0-2", "caf\xc3\xa9": "\\u0000"}',
            b'{"event_id": "0-2", "event_id": "other"}',
        ],
    )
    def test_a_dropped_duplicate_is_counted_and_no_fault(self, lake: Lake, value: bytes) -> None:
        verdict = self.drop(lake, value)
        assert {} == found(verdict)
        assert 1 == verdict.sources[0].duplicates

    @pytest.mark.parametrize(
        "value",
        [
            event_bytes(event_id="nowhere-else"),
            event_bytes(event_id="0-5"),  # its own id, which only the row taken out had
            None,
            b"",
            b"\xff\xfe{}",
            b'{"event_id": "0-2"',
            b'{"event_id": "\\ud800"}',
            b'{"event_id": null}',
            b'["0-2"]',
            b"NaN",
            b"\x00",
        ],
    )
    def test_any_other_bytes_are_a_loss_and_break_nothing(self, lake: Lake, value: bytes | None) -> None:
        assert {"in_neither": (1, ("playback[0]@5",))} == found(self.drop(lake, value))


def test_the_answer_for_programs_has_every_fault(lake: Lake, capsys: pytest.CaptureFixture[str]) -> None:
    fill(lake)
    cut(lake, "silver", "kafka_partition = 0 and kafka_offset in (7, 8)")
    assert 1 == main(["verify", "--lake", lake.uri, "--json"])
    answer = json.loads(capsys.readouterr().out)
    assert (False, [("in_neither", 0, 2, ["playback[0]@7", "playback[0]@8"])]) == (
        answer["holds"],
        [(each["kind"], each["kafka_partition"], each["count"], each["first"]) for each in answer["faults"]],
    )


def test_a_healthy_lake_exits_0_and_says_that_it_holds(lake: Lake, capsys: pytest.CaptureFixture[str]) -> None:
    fill(lake)
    assert 0 == main(["verify", "--lake", lake.uri])
    assert "The promise holds" in capsys.readouterr().out


def test_holes_without_a_broker_come_with_the_advice_to_give_one(
    lake: Lake, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(lake)
    for table in ("bronze", "silver"):
        cut(lake, table, "kafka_partition = 0 and kafka_offset = 10")
    assert 1 == main(["verify", "--lake", lake.uri])
    assert "--broker kafka://host:port" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ["--lake", "/nowhere/at/all"],
        ["--lake", "{lake}", "--broker", "localhost"],
        ["--lake", "{lake}", "--memory", "x"],
    ],
)
def test_a_broken_world_exits_2_with_one_line(
    lake: Lake, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    fill(lake)
    assert 2 == main(["verify", *(word.format(lake=lake.uri) for word in arguments)])
    assert 1 == capsys.readouterr().err.count("\n")


def test_a_data_file_that_vanished_is_a_broken_world(lake: Lake, capsys: pytest.CaptureFixture[str]) -> None:
    fill(lake)
    next(Path(lake.path("silver")).glob("event_date=*/*.parquet")).unlink()
    assert 2 == main(["verify", "--lake", lake.uri])
    assert "the store does not serve" in capsys.readouterr().err


def test_every_kind_of_fault_is_explained_in_the_report_at_60_columns(lake: Lake) -> None:
    fill(lake)
    cut(lake, "silver", "kafka_offset in (7, 8)")
    console = Console(width=60, record=True, file=io.StringIO())
    print_report(verify(lake), lake, console)
    text = console.export_text()
    assert FAULTS["in_neither"].split()[0] in text
    assert 60 >= max(len(line.rstrip()) for line in text.splitlines()[1:])


def test_versions_read_are_told(lake: Lake) -> None:
    fill(lake)
    assert lake.table("silver").version() == verify(lake).versions["silver"]


@pytest.mark.parametrize("event_id", ["first", "x" * 63, "zoë"])
def test_a_dropped_repeat_in_avro_is_one_and_a_lost_record_is_not(tmp_path, event_id):
    lake = Lake.at(str(tmp_path / "lake"))
    values = [avro_bytes(0, event_id=event_id), avro_bytes(1), avro_bytes(0, event_id=event_id)]
    batch = records(values)
    told = processor()(batch, {1: AvroDecoder(schema_text())})
    writer = LakeWriter(lake)
    writer.claim({source(): 0})
    writer.add(batch, told.silver, told.quarantine)
    writer.flush()
    assert 1 == dedupe(lake).rows
    verdict = verify(lake)
    assert ((), 1) == (verdict.faults, verdict.sources[0].duplicates)
    cut(lake, "silver", "kafka_offset = 1")
    assert ["in_neither"] == [fault.kind for fault in verify(lake).faults]
