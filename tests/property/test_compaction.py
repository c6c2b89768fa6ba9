"""Whatever is written and in whatever order jobs run: no event is lost, none counts twice, and gold is what a rebuild
gives."""

import datetime as dt
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compaction import gold_files, job
from compaction.compact import compact
from compaction.dedupe import dedupe
from compaction.gold import refresh
from compaction.repair import repair
from schemas.event import EVENT_TYPES
from sink.lake import Lake
from tests import lakes

START = dt.datetime(2026, 11, 10, 23, 0, tzinfo=dt.UTC)

times = st.builds(
    lambda day, second: START + dt.timedelta(days=day, seconds=second), st.integers(0, 5), st.integers(0, 7200)
)
dated = st.builds(
    lambda number, at, kind, session, title: lakes.silver(
        event_id=f"e{number}", at=at, event_type=kind, session_id=session, title_id=title, ingest=at
    ),
    st.integers(0, 12),
    times,
    st.sampled_from(EVENT_TYPES),
    st.sampled_from(["s1", "s2"]),
    st.sampled_from(["t1", "t2"]),
)
undated = st.builds(
    lambda number, at, field: lakes.undated(
        event_id=f"e{number}", broker=START + dt.timedelta(days=3), **({field: at.isoformat()} if field else {})
    ),
    st.integers(0, 12),
    times,
    st.sampled_from(["client_ts", "event_ts", None]),
)
appends = st.lists(st.one_of(dated, dated, undated), min_size=1, max_size=6)
TABLES = (
    *("repeats", "watched", "playback"),
    *("title_daily", "viewer_days", "session_facts", "quality_scorecard", "pipeline_health", "content_overview"),
    *("viewer_retention", "top_titles"),
)
"""Gold's sources, and tables of each kind: all 27 take three times as long, and say the same."""


@pytest.fixture(autouse=True, scope="module")
def a_few_tables():
    declared = {name: gold_files.load()[name] for name in TABLES}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(gold_files, "load", lambda: declared)
        yield


jobs = st.sampled_from([repair, dedupe, lambda lake: compact(lake, "silver"), refresh])


def ids(lake: Lake) -> set[str]:
    return {row[0] for row in lakes.rows(lake, "select distinct event_id from silver")}


def gold_tables(lake: Lake) -> dict[str, list[tuple]]:
    names = gold_files.table_names()
    return {
        name: sorted(lakes.rows(lake, f"from {name}", names=[f"gold/{name}"]), key=repr)  # the names are our own
        for name in names
    }


def versions(lake: Lake) -> list[int]:
    names = gold_files.table_names()
    return [lake.table(name).version() for name in ("silver", *(f"gold/{name}" for name in names))]


@settings(max_examples=8, deadline=None)
@given(st.lists(st.one_of(appends, appends, jobs), min_size=1, max_size=8))
def test_jobs_in_any_order_keep_every_event_and_gold_equals_a_rebuild(steps):
    with tempfile.TemporaryDirectory() as folder:
        lake = lakes.make(Path(folder))
        written: set[str] = set()
        for step in steps:
            if callable(step):
                step(lake)
            else:
                # the same example runs more than once; positions must not repeat within a lake
                rows = [{**row, **lakes.position()} for row in step]
                lakes.append(lake, "silver", rows)
                written |= {row["event_id"] for row in rows}
        assert written == ids(lake)

        refresh(lake)
        before_dedupe = gold_tables(lake)
        refresh(lake, full=True)
        assert before_dedupe == gold_tables(lake)

        assert ["repair", "dedupe", "compact", "gold", "vacuum"] == [step.name for step in job.run(lake)]
        assert written == ids(lake)
        incremental = gold_tables(lake)
        refresh(lake, full=True)
        assert incremental == gold_tables(lake)

        done = versions(lake)
        assert not any(step.changed for step in job.run(lake))
        assert done == versions(lake)


@settings(max_examples=5, deadline=None)
@given(appends)
def test_plays_in_gold_are_the_distinct_events_once_dedupe_has_run(rows):
    with tempfile.TemporaryDirectory() as folder:
        lake = lakes.make(Path(folder))
        lakes.append(lake, "silver", [{**row, **lakes.position()} for row in rows])
        list(job.run(lake))
        plays = lakes.rows(
            lake, "select count(*) from silver where event_type = 'PLAY_START' and event_date is not null"
        )
        counted = lakes.rows(
            lake, "select coalesce(sum(plays), 0) from content_overview", names=["gold/content_overview"]
        )
        assert plays == counted
