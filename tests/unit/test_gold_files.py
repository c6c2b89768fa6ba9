"""Headers of gold's SQL files: they can be read, say everything, and stay within portable SQL."""

import datetime as dt
import re

import duckdb
import pytest

from compaction import gold_files
from compaction.dedupe import DEDUPE_WINDOW_DAYS
from compaction.gold_files import CONSTANTS, Column, Read, load, needed_dates, parse, shift
from schemas.tables import TABLES as BASES

TABLES = {
    "content_overview",
    "title_daily",
    "genre_analysis",
    "geographic_distribution",
    "temporal_trends",
    "rating_distribution",
    "device_mix",
    "top_titles",
    "top_directors",
    "quality_scorecard",
    "session_facts",
    "viewer_retention",
    "funnel",
    "dim_title",
    "dim_date",
    "dim_device",
    "dim_country",
    "fact_playback",
    "pipeline_health",
    "content_years",
    "content_countries",
    "volume_anomalies",
}
SMALL = """-- table:   plays
-- grain:   event_date, title
-- purpose: how often
--          it was played
-- partition: event_date
-- reads:   playback 0d..1d, quarantine
-- columns:
--   event_date  date    the date
--   plays       bigint  PLAY_START events, all of them
--
-- A remark.
select 1
"""


def day(number: int) -> dt.date:
    return dt.date(2026, 11, number)


def test_a_header_is_read():
    file = parse(SMALL, "plays.sql")
    assert ("plays", "event_date, title", "how often it was played") == (file.name, file.grain, file.purpose)
    assert (True, False) == (file.is_dated, file.is_source)
    assert (Read("playback", 0, 1, None), Read("quarantine", 0, 0, None)) == file.reads
    assert (
        Column("event_date", "date", "the date"),
        Column("plays", "bigint", "PLAY_START events, all of them"),
    ) == file.columns


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("-- grain:", "-- grein:", "no `-- grain:`"),
        ("playback 0d..1d", "playback yesterday", "write `silver -1d..1d`"),
        ("bigint  PLAY_START events, all of them", "bigint", "lacks a name, type or meaning"),
    ],
)
def test_a_bad_header_is_named(old, new, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        parse(SMALL.replace(old, new), "plays.sql")


def test_all_gold_tables_are_declared_and_say_what_they_hold():
    tables = {name: file for name, file in load().items() if not file.is_source}
    assert TABLES <= tables.keys()
    for file in tables.values():
        assert file.grain and file.purpose and file.columns
        assert not file.is_dated or file.columns[0].name == "event_date"
        assert len(file.columns) == len({column.name for column in file.columns})


def test_sources_come_before_their_readers():
    names = list(load())
    assert names.index("repeats") < names.index("playback") < names.index("title_daily") < names.index("top_titles")


def test_gold_and_dedupe_call_the_same_rows_repeats():
    repeats = load()["repeats"]
    assert (Read("silver", -DEDUPE_WINDOW_DAYS, DEDUPE_WINDOW_DAYS, "event_id"),) == repeats.reads
    assert f"<= {DEDUPE_WINDOW_DAYS}\n" in repeats.sql


def test_sql_keeps_to_what_other_engines_have():
    for file in load().values():
        assert not re.search(r"quantile_cont|group by all|qualify", file.sql, re.IGNORECASE), file.name


def test_each_sql_gives_the_columns_that_its_header_declares():
    with duckdb.connect() as con:
        con.execute("create table wanted (event_date date)")
        con.execute(f"create table constants as select {', '.join(f'0 as {name}' for name in CONSTANTS)}")
        for name, spec in {"null_partition": BASES["silver"], **BASES}.items():
            con.register("none", spec.schema.empty_table())
            con.execute(f"create table {name} as from none")
        con.execute("alter table null_partition add ingest_date date")
        for name, file in load().items():
            con.execute(f"create table {name} as {file.sql}")
            told = [row[0] for row in con.execute(f"describe {name}").fetchall()]
            assert file.is_source or [column.name for column in file.columns] == told


def test_windows_add_up_through_sources():
    needed = needed_dates({"title_daily": frozenset({day(20)})}, load())
    assert {day(20)} == needed["playback"]
    assert shift({day(20)}, -7, 7) == needed["repeats"]
    assert shift({day(20)}, -10, 10) == needed["silver"]


def test_a_changed_source_changes_the_fingerprint_of_its_readers(monkeypatch):
    before = {name: gold_files.fingerprint(name, load()) for name in ("title_daily", "top_titles", "quality_scorecard")}
    changed = {
        name: parse(file.sql + "-- changed\n", name) if name == "playback" else file for name, file in load().items()
    }
    after = {name: gold_files.fingerprint(name, changed) for name in before}
    assert after["title_daily"] != before["title_daily"]
    assert before["quality_scorecard"] == after["quality_scorecard"]
