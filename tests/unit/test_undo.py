"""A repair taken back: rows as the worker wrote them, left alone until they are released."""

import pytest

from compaction.compact import compact
from compaction.dedupe import dedupe
from compaction.repair import preview, repair
from compaction.undo import release, undo
from schemas.errors import ConfigError
from tests import lakes

EVERYTHING = "select * from silver order by kafka_offset"
BUT_THE_MARK = "select * exclude (repair_id) from silver order by kafka_offset"


@pytest.fixture
def lake(tmp_path):
    """Two repairable rows, one without a usable time, a dated one."""
    lake = lakes.make(tmp_path)
    lakes.append(lake, "silver", [lakes.undated(client_ts="2026-11-20T20:30:00Z"), lakes.undated(broker=None)])
    lakes.append(lake, "silver", [lakes.undated(), lakes.silver()])
    return lake


def test_an_undone_repair_leaves_rows_as_they_were_and_held(lake):
    before = lakes.rows(lake, BUT_THE_MARK)
    done = repair(lake)
    undone = undo(lake, done.repair_id)
    assert (2, lake.table("silver").version()) == (undone.rows, undone.version)
    assert before == lakes.rows(lake, BUT_THE_MARK)
    assert [(f"held:{done.repair_id}", 2), (None, 2)] == lakes.rows(
        lake, "select repair_id, count(*) from silver group by 1 order by 1 nulls last"
    )
    assert (0, 3) == ((again := repair(lake)).total, again.left)
    assert [("held", 2), ("no usable time", 1)] == [(line.why_not, line.rows) for line in preview(lake)]


def test_released_rows_are_as_they_were_and_the_next_repairs(lake):
    before = lakes.rows(lake, EVERYTHING)
    first = repair(lake)
    undo(lake, first.repair_id)
    assert 2 == release(lake, first.repair_id).rows
    assert before == lakes.rows(lake, EVERYTHING)
    second = repair(lake)
    assert (2, True) == (second.total, second.repair_id != first.repair_id)


def test_an_undo_brings_rows_back_also_after_appends_compactions_and_other_repairs(lake):
    first = repair(lake)
    lakes.append(lake, "silver", [lakes.undated(), lakes.silver(event_id="x"), lakes.silver(event_id="x")])
    second = repair(lake)
    dedupe(lake)
    compact(lake, "silver")
    assert 2 == undo(lake, first.repair_id).rows
    compact(lake, "silver")
    query = (
        "select repair_id, count(*), count(event_date) from silver where repair_id is not null group by 1 order by 1"
    )
    assert [(second.repair_id, 1, 1), (f"held:{first.repair_id}", 2, 0)] == lakes.rows(lake, query)
    assert [(6, 6)] == lakes.rows(lake, "select count(*), count(distinct kafka_offset) from silver")


@pytest.mark.parametrize("take_back", [undo, release])
def test_an_id_that_no_row_has_is_said_and_nothing_changes(lake, take_back):
    version = lake.table("silver").version()
    with pytest.raises(ConfigError, match=r"no row of .* has repair_id '(held:)?20261121T000000Z-0'"):
        take_back(lake, "20261121T000000Z-0")
    assert version == lake.table("silver").version()


def test_an_undo_that_a_compaction_overtook_is_planned_anew(lake):
    done = repair(lake)
    lakes.append(lake, "silver", [lakes.silver()])
    compactions = iter([1])

    def overtake(name):
        if name == "before undo":
            for _ in compactions:
                compact(lake, "silver")

    assert 2 == undo(lake, done.repair_id, step=overtake).rows
    assert [(5, 5)] == lakes.rows(lake, "select count(*), count(distinct kafka_offset) from silver")
