"""Columns of a later version: added without touching a file, null where a file lacks them, kept by every job."""

import pyarrow as pa
import pytest
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError

from compaction.compact import compact
from compaction.dedupe import dedupe
from compaction.gold import refresh
from compaction.repair import repair
from schemas.errors import IncompatibleLake
from schemas.event import LATER_NUMBER_FIELDS, LATER_TEXT_FIELDS
from schemas.tables import SILVER
from sink.columns import add_missing_columns
from sink.lake import Lake
from sink.writer import LakeWriter
from tests.lakes import append, rows, silver, undated
from tests.records import processed, records, source

LATER = (*LATER_TEXT_FIELDS, *LATER_NUMBER_FIELDS)
OLDER = pa.schema(field for field in SILVER if field.name not in LATER)
SENT = {"audio_language": "de", "bitrate_kbps": 4300, "ab_bucket": "control"}
ASKED = "select event_id, audio_language, bitrate_kbps, ab_bucket from silver order by event_id"


@pytest.fixture
def lake(tmp_path) -> Lake:
    """A lake as a playlake before version 2 made it, with rows on two dates and in the null partition."""
    lake = Lake.at(str(tmp_path / "lake"))
    for name in ("bronze", "quarantine"):
        lake.table_or_create(name)
    older = [silver(event_id="a"), undated(event_id="b", client_ts="2026-11-20T10:00:00Z")]
    write_deltalake(
        lake.path("silver"),
        pa.Table.from_pylist(older, schema=OLDER),
        partition_by=["event_date"],
    )
    return lake


def test_a_worker_adds_the_columns_that_it_writes_and_old_rows_read_null(lake):
    files = set(lake.table("silver").file_uris())
    writer = LakeWriter(lake)
    assert files == set(lake.table("silver").file_uris())
    writer.claim({source(): 0})
    records_, new, refused = processed(records([b"{}"]))
    for name, value in SENT.items():
        new = new.set_column(
            new.schema.get_field_index(name), new.schema.field(name), pa.array([value], new[name].type)
        )
    writer.add(records_, new, refused)
    writer.flush()
    assert [("0-0", "de", 4300, "control"), ("a", None, None, None), ("b", None, None, None)] == rows(lake, ASKED)
    version = lake.table("silver").version()
    LakeWriter(lake)
    assert version == lake.table("silver").version(), "a second start found nothing to add"


def test_repair_dedupe_compaction_and_gold_keep_what_mixed_files_hold(lake):
    LakeWriter(lake)
    append(lake, "silver", [silver(event_id="c", **SENT), silver(event_id="a", **SENT), undated(event_id="d", **SENT)])
    assert 2 == sum(repair(lake).rows.values())
    assert 1 == dedupe(lake).rows
    compact(lake, "silver")
    refresh(lake)
    values = tuple(SENT.values())
    expected = [("a", None, None, None), ("b", None, None, None), ("c", *values), ("d", *values)]
    assert expected == rows(lake, ASKED)
    assert [(4,)] == rows(lake, "select sum(plays)::int from title_daily", names=["gold/title_daily"])


def test_an_older_writer_goes_on_beside_and_its_files_lack_the_columns(lake):
    older = lake.table("silver")
    LakeWriter(lake)
    schema = lake.table("silver").schema()
    with pytest.raises(CommitFailedError):  # what the writer answers by looking again
        _commit(older)
    older.update_incremental()
    _commit(older)
    assert schema == lake.table("silver").schema()


def _commit(handle: DeltaTable) -> None:
    entries = CommitProperties(app_transactions=[Transaction("x", 1)])
    handle.create_write_transaction([], "append", handle.schema(), commit_properties=entries)


def test_two_workers_that_start_at_once_add_the_columns_once(lake):
    one, other = lake.table("silver"), lake.table("silver")
    add_missing_columns(one, SILVER)
    add_missing_columns(other, SILVER)
    names = [field.name for field in lake.table("silver").schema().fields]
    assert set(SILVER.names) == set(names)
    assert len(SILVER.names) == len(names)
    assert one.version() == other.version()


def test_a_column_of_that_name_and_another_type_is_refused_and_nothing_is_touched(lake):
    write_deltalake(
        lake.path("silver"),
        pa.Table.from_pylist([silver(event_id="x")], schema=OLDER.append(pa.field("bitrate_kbps", pa.string()))),
        mode="append",
        schema_mode="merge",
    )
    version = lake.table("silver").version()
    with pytest.raises(IncompatibleLake, match="bitrate_kbps of type string, this playlake writes int32"):
        LakeWriter(lake)
    assert version == lake.table("silver").version()


def test_columns_of_later_versions_may_be_null():
    assert [True] * len(LATER) == [SILVER.field(name).nullable for name in LATER]
