"""Gold on a real Spark: the same tables as DuckDB's, row by row, in the same commits, refreshed for the same dates."""

from __future__ import annotations

import datetime as dt
import json
import math
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from bench.lakes import fill
from compaction import gold_files
from compaction.delta_log import live_files
from compaction.expire import expire
from compaction.gold import Refreshed, refresh
from compaction.gold_spark import Spark
from compaction.spark_session import spark_session
from playlake.cli import main
from sink.lake import Lake, data_files
from tests import lakes, spark

DAY = dt.date(2026, 10, 1)
"""First date of `bench.lakes.fill`."""
DAY_START = dt.datetime.combine(DAY, dt.time(), dt.UTC)
WEEK_S = 7 * 86_400
TOLERANCE = 1e-12
"""Relative. A float of gold is made from integers and decimals, which both engines add up exactly, by at most six
operations that each round by 1.1e-16 or less; some of them Spark does in decimals. More is a difference."""


def filled(folder: Path) -> Lake:
    """Two dates of simulated viewing with all kinds of dirt, and what is seldom in it; few dates, for Spark's sake."""
    lake = Lake.at(str(folder))
    fill(lake, 3_000, days=2, flush_rows=1_500)
    night = dt.datetime.combine(DAY + dt.timedelta(days=13), dt.time(23, 59), dt.UTC)
    steps = [(0, "PLAY_START"), (50, "HEARTBEAT"), (60, "SEEK"), (110, "SEEK"), (140, "PAUSE"), (WEEK_S, "HEARTBEAT")]
    session = lakes.session(night.isoformat(), steps, title_id="t3", profile_id="ä")
    repeats = [{**row, **lakes.position(), "broker_timestamp": row["ingest_timestamp"]} for row in session[:2]]
    crowds = [  # the second is far more than on that weekday before
        lakes.silver(
            at=DAY_START + dt.timedelta(days=days, minutes=number), session_id=f"{days}-{number}", country="US"
        )
        for days, count in ((7, 100), (14, 1_200))
        for number in range(count)
    ]
    undated = [lakes.undated(broker=night, payload_fields={"event_ts": "?"})]
    lakes.append(lake, "silver", session + repeats + crowds)
    lakes.append(lake, "silver", undated)
    lakes.append(lake, "quarantine", [lakes.refused(ingest=night.isoformat(), reasons=("malformed_json", "x"))])
    return lake


def rows(lake: Lake, name: str) -> list[tuple[Any, ...]]:
    """A table's rows, ordered by all columns but floats."""
    found = lakes.rows(lake, f"from {name}", names=[f"gold/{name}"])
    return sorted(found, key=lambda row: repr([value for value in row if not isinstance(value, float)]))


def is_same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=TOLERANCE)
    return bool(one == other)


def differences(one: Lake, other: Lake) -> list[str]:
    found = []
    for name in gold_files.table_names():
        ours, theirs = rows(one, name), rows(other, name)
        if len(ours) != len(theirs):
            found.append(f"{name}: {len(ours)} and {len(theirs)} rows")
        found += [
            f"{name}: {our} and {their}"
            for our, their in zip(ours, theirs, strict=False)
            if not all(map(is_same, our, their))
        ]
    return found


def how(done: list[Refreshed]) -> dict[str, tuple[str, int, int]]:
    return {each.name: (each.how, each.dates, each.rows) for each in done}


@pytest.mark.timeout(600)
def test_gold_by_spark_is_gold_by_duckdb(tmp_path, spark_options, monkeypatch):
    """One test, since Spark takes long to start and tests of a module may run in several processes."""
    by_duckdb = filled(tmp_path / "by duckdb")
    by_spark = Lake.at(str(shutil.copytree(by_duckdb.uri, tmp_path / "by spark")))
    refresh(by_duckdb)
    assert [] == [name for name in gold_files.table_names() if not rows(by_duckdb, name)], "compares nothing"

    flags = [f"--spark-option={name}={value}" for name, value in spark_options.items()]
    flags += ["--spark-master", spark.MASTER, "--memory", str(spark.MEMORY_BYTES)]
    assert 0 == main(["gold", "--lake", by_spark.uri, "--engine", "spark", *flags])
    assert [] == differences(by_duckdb, by_spark)
    assert_tables_look_the_same(by_duckdb, by_spark)
    assert_no_other_files(by_spark)

    with spark_session(by_spark, spark.MASTER, spark.MEMORY_BYTES, spark_options) as session:
        engine = Spark(by_spark, session)
        assert {"unchanged"} == {each.how for each in refresh(by_spark, engine=engine)}
        # From here on with a few tables: some read sources, some silver, one another table.
        names = ("repeats", "watched", "playback", "pipeline_health", "session_facts", "title_daily", "top_titles")
        declared = {name: gold_files.load()[name] for name in names}
        monkeypatch.setattr(gold_files, "load", lambda: declared)
        late_events(by_duckdb, by_spark)
        expected, done = how(refresh(by_duckdb)), how(refresh(by_spark, engine=engine))
        assert expected == done
        assert ("incremental", 3) == done["title_daily"][:2]
        assert [] == differences(by_duckdb, by_spark)
        assert {"unchanged"} == {each.how for each in refresh(by_spark)}, "DuckDB knows what Spark has seen"

        assert_an_overtaken_refresh_commits_nothing(by_spark, engine, monkeypatch)
        lakes.append(by_duckdb, "silver", [SECOND, FIRST])
        for lake in (by_duckdb, by_spark):
            expire(lake, DAY + dt.timedelta(days=7), table="silver")
        refresh(by_duckdb, full=True)
        refresh(by_spark, full=True, engine=engine)
        assert [] == differences(by_duckdb, by_spark)
        assert DAY in {row[0] for row in rows(by_spark, "title_daily")}, "what expired from silver stays in gold"


def assert_tables_look_the_same(one: Lake, other: Lake) -> None:
    """Columns, lake partitions, versions, settings, `txn` entries, and row counts for who prunes by them."""
    for name in gold_files.table_names():
        ours, theirs = (lake.table(f"gold/{name}") for lake in (one, other))
        assert ours.schema() == theirs.schema()
        assert 1 == ours.version() == theirs.version(), name
        assert ours.metadata().partition_columns == theirs.metadata().partition_columns
        assert ours.metadata().configuration == theirs.metadata().configuration
        assert sum(file.rows or 0 for file in live_files(theirs, other.path(f"gold/{name}"))) == len(rows(other, name))
        assert transactions(one, name) == transactions(other, name) != {}


def transactions(lake: Lake, name: str) -> dict[str, int]:
    """A table's newest `txn` entries; without the ids of gold tables, of which each lake has its own."""
    path = f"{lake.path(f'gold/{name}')}/_delta_log/{lake.table(f'gold/{name}').version():020}.json"
    actions = [json.loads(line) for line in lake.filesystem().cat_file(path).splitlines()]
    found = {each["txn"]["appId"]: each["txn"]["version"] for each in actions if "txn" in each}
    return {re.sub(r"(\.gold/gold/\w+)/[0-9a-f-]{36}@", r"\1@", app_id): version for app_id, version in found.items()}


def assert_no_other_files(lake: Lake) -> None:
    """Spark leaves nothing beside what it wrote: no checksums, no marks, no folders for work in progress."""
    named = {path for name in gold_files.table_names() for path in data_files(lake.table(f"gold/{name}"))}
    found = {path for path in Path(lake.uri, "gold").rglob("*") if path.is_file() and "_delta_log" not in path.parts}
    assert {str(path) for path in found} == named


def late_events(*those: Lake) -> None:
    """Two late events: one of a session that is four dates older, one that another event repeats two dates later."""
    late = DAY + dt.timedelta(days=1)
    query = f"select min(event_id), min(session_id) from silver where event_date = date '{late}'"  # noqa: S608
    ((event_id, session_id),) = lakes.rows(those[0], query)
    added = [
        lakes.silver(at=f"{late + dt.timedelta(days=4)}T12:00:00", session_id=session_id, event_type="HEARTBEAT"),
        lakes.silver(at=f"{late - dt.timedelta(days=2)}T12:00:00", event_id=event_id, session_id="early"),
    ]
    for lake in those:
        lakes.append(lake, "silver", added)


FIRST, SECOND = (
    lakes.silver(at=f"{DAY + dt.timedelta(days=14)}T13:00:00", session_id=name) for name in ("first", "second")
)


def assert_an_overtaken_refresh_commits_nothing(lake: Lake, engine: Spark, monkeypatch: pytest.MonkeyPatch) -> None:
    """DuckDB commits newer tables between Spark's computing and committing."""
    compute, others = Spark.compute, iter([1])

    def interrupted(*arguments: Any) -> Any:
        computed = compute(*arguments)
        for _ in others:
            lakes.append(lake, "silver", [SECOND])
            refresh(lake)
        return computed

    lakes.append(lake, "silver", [FIRST])
    before = lake.table("gold/title_daily").version()
    with monkeypatch.context() as patched:
        patched.setattr(Spark, "compute", interrupted)
        done = how(refresh(lake, engine=engine))
    assert "unchanged" == done["title_daily"][0]
    assert before + 1 == lake.table("gold/title_daily").version()
