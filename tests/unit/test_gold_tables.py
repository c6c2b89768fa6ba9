"""Gold tables that look at sessions, viewers, content and volume: their measures, computed by hand."""

import datetime as dt
import json

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from compaction import gold_files
from compaction.gold import refresh
from producer import Scenario, blocks
from sink.lake import Lake
from tests import lakes

NOON = dt.datetime(2026, 11, 21, 12, tzinfo=dt.UTC)
DAY = NOON.date()


def table(lake: Lake, name: str, columns: str = "*", order: str = "1, 2") -> list[tuple]:
    return lakes.rows(lake, f"select {columns} from {name} order by {order}", names=[f"gold/{name}"])  # noqa: S608


def test_session_facts_has_one_row_a_session_also_over_midnight(tmp_path):
    lake = lakes.make(tmp_path)
    steps = [(0, "PLAY_START"), (60, "PAUSE"), (100, "RESUME"), (160, "SEEK"), (200, "HEARTBEAT"), (230, "PLAY_STOP")]
    lakes.append(lake, "silver", lakes.session("2026-11-21T23:58:00", steps, session_id="over-midnight", country="FR"))
    lakes.append(lake, "silver", lakes.session("2026-11-21T12:00:00", [(0, "PLAY_START")], session_id="short"))
    two = lakes.session("2026-11-22T12:00:00", [(0, "PLAY_START"), (30, "PLAY_STOP")], session_id="two titles")
    two += lakes.session("2026-11-22T12:01:00", [(0, "PLAY_START"), (30, "PLAY_STOP")], session_id="two titles",
                         title_id="t3", device_type=None)  # fmt: skip
    lakes.append(lake, "silver", two)
    refresh(lake)
    columns = "event_date, session_id, titles, device_type, country, events, plays, pauses, seeks, watch_seconds"
    assert [
        (DAY, "over-midnight", 1, "mobile", "FR", 6, 1, 1, 1, 190.0),
        (DAY, "short", 1, "mobile", "DE", 1, 1, 0, 0, 0.0),
        (DAY + dt.timedelta(days=1), "two titles", 2, "mobile", "DE", 4, 2, 0, 0, 60.0),
    ] == table(lake, "session_facts", columns)
    assert [(pytest.approx(190 / 6000),), (0.0,), (None,)] == table(lake, "session_facts", "completion", "session_id")
    start = dt.datetime(2026, 11, 21, 23, 58, tzinfo=dt.UTC)
    times = [(start, start + dt.timedelta(seconds=230), "t1")]
    assert times == table(lake, "session_facts", "started_at, ended_at, title_id")[-2:-1]


def test_a_session_begins_anew_after_more_than_seven_days(tmp_path):
    lake = lakes.make(tmp_path)
    for days in (0, 7, 15):
        at = f"{NOON + dt.timedelta(days=days):%Y-%m-%dT%H:%M:%S}"
        lakes.append(lake, "silver", lakes.session(at, [(0, "PLAY_START"), (9, "PLAY_STOP")], session_id="again"))
        refresh(lake)
    expected = [(DAY, 4, 18.0), (DAY + dt.timedelta(days=15), 2, 9.0)]
    for full in (False, True):
        refresh(lake, full=full)
        watched = table(lake, "session_facts", "event_date, events, watch_seconds")
        # the stop of the first part starts no gap, the seven days up to the next play count for nothing
        assert expected == watched


def test_the_funnel_counts_viewings_by_how_much_of_the_title_they_watched(tmp_path):
    lake = lakes.make(tmp_path)
    watched_s = {"a": 30, "b": 800, "c": 1600, "d": 2700}  # of t3's 3000; each heartbeat counts up to 120
    for name, seconds in watched_s.items():
        beats = [(at, "HEARTBEAT") for at in range(60, seconds, 60)]
        steps = [(0, "PLAY_START"), *beats, (seconds, "PLAY_STOP")]
        lakes.append(lake, "silver", lakes.session("2026-11-21T12:00:00", steps, session_id=name, title_id="t3"))
    lakes.append(lake, "silver", [lakes.silver(title_id="t2", session_id="no duration")])
    refresh(lake)
    assert [
        ("started", 4, 1.0, None),
        ("one minute", 3, 0.75, 0.75),
        ("quarter", 3, 0.75, 1.0),
        ("half", 2, 0.5, pytest.approx(2 / 3)),
        ("three quarters", 1, 0.25, 0.5),
        ("nearly all", 1, 0.25, 1.0),
    ] == table(lake, "funnel", "name, viewings, share_of_started, share_of_previous", "step")


def test_retention_counts_who_came_back(tmp_path):
    lake = lakes.make(tmp_path)
    seen = {"u1": [0, 1, 7], "u2": [0, 7], "u3": [1, 35], "u4": [7]}
    for user, days in seen.items():
        rows = [
            lakes.silver(at=NOON + dt.timedelta(days=day), user_id=user, session_id=f"{user}-{day}") for day in days
        ]
        lakes.append(lake, "silver", rows)
    refresh(lake)
    columns = (
        "date_diff('day', date '2026-11-21', event_date), daily_viewers, weekly_viewers, monthly_viewers, "
        "returning_viewers, new_viewers, "
        "retained_day_1, retained_day_7"
    )
    assert [
        (0, 2, 2, 2, 0, 2, None, None),
        (1, 2, 3, 3, 1, 1, 0.5, None),
        (7, 3, 4, 4, 2, 1, None, 1.0),
        (35, 1, 1, 1, 0, 1, None, None),
    ] == table(lake, "viewer_retention", columns, "event_date")
    stored = json.dumps(table(lake, "viewer_days"), default=str)
    assert not any(user in stored for user in seen), "who, as a hash only"


def test_content_by_year_and_by_country(tmp_path):
    lake = lakes.make(tmp_path)
    rows = [
        lakes.silver(title_id="t1", country="DE", session_id="a"),
        lakes.silver(title_id="t1", country="FR", session_id="b"),
    ]
    rows += [
        lakes.silver(title_id="t2", country="US", session_id="c"),
        lakes.silver(title_id="t2", country=None, session_id="d"),
    ]
    lakes.append(lake, "silver", rows)
    refresh(lake)
    assert [(2019, "Movie", 1, 2, 0.5), (2021, "TV Show", 1, 2, 0.5)] == table(
        lake, "content_years", "release_year, content_type, titles, plays, share_of_plays"
    )
    columns = "content_country, titles, plays, plays_at_home, viewer_countries, share_abroad"
    assert [("DE", 1, 2, 1, 2, 0.5), ("GB", 1, 2, 0, 1, 1.0), ("US", 1, 2, 1, 1, 0.5)] == table(
        lake, "content_countries", columns
    )


def test_the_star_joins_without_loss(tmp_path):
    lake = lakes.make(tmp_path)
    rows = [lakes.silver(country=None, session_id="a"), lakes.silver(device_type=None, title_id="t9", session_id="b")]
    lakes.append(lake, "silver", [*rows, lakes.silver(at="2026-11-22T08:00:00", session_id="c")])
    refresh(lake)
    names = [f"gold/{name}" for name in ("fact_playback", "dim_title", "dim_date", "dim_device", "dim_country")]
    query = (
        "select sum(plays), count(*), sum(is_weekend::int) from fact_playback join dim_title using (title_id) "
        "join dim_date using (event_date) join dim_device using (device_type) join dim_country using (country)"
    )
    assert [(3, 3, 3)] == lakes.rows(lake, query, names=names)
    assert [("DE",), ("unknown",)] == table(lake, "dim_country", "country", "1")


def test_pipeline_health_by_hour(tmp_path):
    lake = lakes.make(tmp_path)
    late = lakes.silver(at="2026-11-21T09:00:00", broker="2026-11-21T12:00:00", ingest="2026-11-21T12:00:04")
    twice = [lakes.silver(at="2026-11-21T09:10:00", event_id="x") for _ in range(2)]
    lakes.append(lake, "silver", [late, *twice])
    lakes.append(
        lake, "quarantine", [lakes.refused(ingest="2026-11-21T09:30:00"), lakes.refused(ingest="2026-11-21T13:00:00")]
    )
    refresh(lake)
    assert [
        (9, 3, 1, 1, 1, 0.25, pytest.approx(1 / 3), 1.0, 4.0),
        (13, 0, 0, 0, 1, 1.0, None, None, None),
    ] == table(lake, "pipeline_health", "* exclude (event_date)", "event_hour")


def test_warnings_and_reasons_code_by_code(tmp_path):
    lake = lakes.make(tmp_path)
    warned = [lakes.silver(warnings=["late", "rule:own"]), lakes.silver(warnings=["late"]), lakes.silver()]
    lakes.append(lake, "silver", [*warned, lakes.undated()])
    reasons = [("malformed_json",), ("malformed_json", "rule:own")]
    lakes.append(lake, "quarantine", [lakes.refused(reasons=codes) for codes in reasons])
    refresh(lake)
    assert [
        ("late", "warned", 2, pytest.approx(2 / 3)),
        ("malformed_json", "quarantined", 2, 1.0),
        ("rule:own", "quarantined", 1, 0.5),
        ("rule:own", "warned", 1, pytest.approx(1 / 3)),
    ] == table(lake, "quality_codes", "* exclude (event_date)")


def anomalies(country_hours: pa.Table) -> list[tuple]:
    with duckdb.connect() as con:
        con.register("country_hours", country_hours)
        return con.execute(gold_files.load()["volume_anomalies"].sql).fetchall()


def volumes(missing: dict[tuple[int, str], float], seed: int = 1) -> pa.Table:
    """Five weeks of three countries with an evening peak, sessions of 1 to 23 events; `missing` by day and country."""
    random = np.random.default_rng(seed)
    rows = []
    for day in range(36):
        for country, per_day in (("US", 2500), ("FR", 1500), ("IS", 3)):
            for hour in range(24):
                sessions = random.poisson(per_day / 24 * (1 + np.sin((hour - 14) / 24 * 2 * np.pi)))
                sizes = random.integers(1, 24, sessions)
                kept = random.binomial(sizes, 1 - missing.get((day, country), 0.0))
                if kept.sum():
                    spread = int((kept * kept).sum())
                    rows.append((DAY + dt.timedelta(days=day), hour, country, int(kept.sum()), spread))
    names = ("event_date", "event_hour", "country", "events", "spread")
    return pa.table({name: [row[number] for row in rows] for number, name in enumerate(names)})


@pytest.mark.parametrize("seed", range(3))
def test_a_country_that_loses_thirty_percent_for_a_date_is_told_and_nothing_else(seed):
    found = anomalies(volumes({(34, "US"): 0.3, (34, "FR"): 0.3}, seed))
    assert {("US", None), ("FR", None)} == {(row[1], row[2]) for row in found if row[2] is None}
    assert {DAY + dt.timedelta(days=34)} == {row[0] for row in found}
    assert all(-0.6 < row[5] < -0.15 for row in found)


def test_a_country_that_falls_silent_is_told_hour_by_hour():
    found = anomalies(volumes({(30, "US"): 1.0}))
    assert {"US"} == {row[1] for row in found}
    assert (None, 0, -1.0) in {(row[2], row[3], row[5]) for row in found}
    assert len(found) > 12


def test_the_simulation_s_own_daily_curve_raises_no_alarm():
    start = dt.datetime(2026, 10, 1, tzinfo=dt.UTC)
    scenario = Scenario(start_ms=int(start.timestamp() * 1000), seed=5, events=400_000, days=33)
    values = [value for block in blocks(scenario, 50_000) for value in block.values]
    with duckdb.connect() as con:
        con.execute("set TimeZone = 'UTC'")
        con.register("sent", pa.table({"value": pa.array(values, pa.binary())}))
        con.execute(
            "create table by_session as select "
            "to_timestamp(json_extract(event, '$.event_ts')::double)::date as event_date, "
            "hour(to_timestamp(json_extract(event, '$.event_ts')::double)) as event_hour, "
            "event->>'$.country' as country, event->>'$.session_id' as session_id, count(*) as events "
            "from (select decode(value)::json as event from sent) group by all"
        )
        con.execute(
            "create table country_hours as select event_date, event_hour, country, sum(events)::bigint as events, "
            "sum(events * events)::bigint as spread from by_session group by all"
        )
        hours = con.sql("from country_hours").to_arrow_table()
    assert hours.num_rows > 5_000
    assert [] == anomalies(hours)
