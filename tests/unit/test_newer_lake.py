"""A lake that a newer playlake gave one more column, under an older one that still runs: see docs/upgrade.md."""

from __future__ import annotations

from pathlib import Path

import pytest
from deltalake import Field
from deltalake.schema import PrimitiveType

from compaction.compact import compact
from compaction.dedupe import dedupe
from compaction.repair import repair
from schemas.errors import IncompatibleLake
from sink.lake import FORMAT_KEY, Lake
from sink.writer import LakeWriter
from tests import lakes
from tests.records import processed, records, source


def newer_column(lake: Lake) -> None:
    lake.table("silver").alter.add_columns([Field("chapter", PrimitiveType("string"))])


def newer_row(lake: Lake, **changes: object) -> None:
    """One row that a newer worker writes, with a value in its own column."""
    lakes.append(lake, "silver", [lakes.silver(**changes)])
    handle = lake.table("silver")
    handle.update(predicate="chapter IS NULL AND kafka_partition = 7", updates={"chapter": "'two'"})


def test_a_worker_that_runs_goes_on_and_leaves_the_new_column_empty(tmp_path: Path) -> None:
    lake = Lake.at(str(tmp_path / "lake"))
    writer = LakeWriter(lake)
    writer.claim({source(): 0})
    writer.add(*processed(records([b"{}"] * 10), frozenset()))
    writer.flush()
    newer_column(lake)
    writer.add(*processed(records([b"{}"] * 10, 10), frozenset()))
    assert {source(): 19} == writer.flush().done
    assert [(20, 0)] == lakes.rows(lake, "select count(*), count(chapter) from silver")


def test_an_older_worker_that_starts_claims_and_writes(tmp_path: Path) -> None:
    lake = lakes.make(tmp_path)
    newer_column(lake)
    writer = LakeWriter(lake)
    writer.claim({source(): 0})
    writer.add(*processed(records([b"{}"] * 10), frozenset()))
    assert {source(): 9} == writer.flush().done


def test_an_older_compaction_keeps_the_new_column_s_values(tmp_path: Path) -> None:
    lake = lakes.make(tmp_path)
    newer_column(lake)
    newer_row(lake, kafka_partition=7, event_id="kept")
    newer_row(lake, kafka_partition=7, event_id="twice")
    lakes.append(
        lake,
        "silver",
        [lakes.silver(event_id="twice", broker="2026-11-21T14:00:00"), lakes.undated(client_ts="2026-11-21T11:00:00Z")],
    )
    assert {"payload": 1} == repair(lake).rows
    dedupe(lake)
    assert compact(lake, "silver")
    found = lakes.rows(lake, "select event_id, chapter from silver where event_id in ('kept', 'twice') order by 1")
    assert [("kept", "two"), ("twice", "two")] == found


def test_another_format_is_refused_by_a_worker_that_starts(tmp_path: Path) -> None:
    lake = lakes.make(tmp_path)
    lake.table("silver").alter.set_table_properties({FORMAT_KEY: "99"}, raise_if_not_exists=False)
    with pytest.raises(IncompatibleLake, match="nothing was touched"):
        LakeWriter(lake)
