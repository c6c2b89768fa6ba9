"""Gold: the measures, computed by hand, and refreshes that touch only what changed."""

import datetime as dt
import shutil

import pytest

from compaction import gold, gold_files
from compaction.dedupe import dedupe
from compaction.delta_log import live_files
from compaction.gold import refresh
from compaction.gold_duckdb import DuckDB
from compaction.repair import repair
from schemas.errors import LakeNotFound
from sink.lake import Lake
from tests import lakes

DAY = dt.date(2026, 11, 21)
NEXT = dt.date(2026, 11, 22)


def table(lake: Lake, name: str, columns: str = "*", order: str = "1, 2") -> list[tuple]:
    return lakes.rows(lake, f"select {columns} from {name} order by {order}", names=[f"gold/{name}"])  # noqa: S608


def everything(lake: Lake) -> dict[str, list[tuple]]:
    tables = [file for file in gold_files.load().values() if not file.is_source]
    return {
        file.name: sorted(lakes.rows(lake, f"select * from {file.name}", names=[f"gold/{file.name}"]), key=repr)  # noqa: S608
        for file in tables
    }


def watched(lake: Lake) -> dict[dt.date, float]:
    return dict(lakes.rows(lake, "select event_date, watch_seconds from title_daily", names=["gold/title_daily"]))


@pytest.mark.parametrize(
    ("steps", "expected_seconds"),
    [
        # playing 60 + 30, paused 210, playing 60, silent for 300 but at most 120 count
        (
            [
                (0, "PLAY_START"),
                (60, "HEARTBEAT"),
                (90, "PAUSE"),
                (300, "RESUME"),
                (360, "HEARTBEAT"),
                (660, "PLAY_STOP"),
            ],
            270.0,
        ),
        # the last event starts no gap
        ([(0, "PLAY_START"), (60, "HEARTBEAT")], 60.0),
        ([(0, "PLAY_START")], 0.0),
        # a seek goes on playing, or goes on pausing
        (
            [
                (0, "PLAY_START"),
                (10, "SEEK"),
                (20, "SEEK"),
                (30, "PAUSE"),
                (40, "SEEK"),
                (50, "SEEK"),
                (60, "RESUME"),
                (70, "PLAY_STOP"),
            ],
            40.0,
        ),
        # nothing is watched after a stop, nor by a seek that nothing came before
        ([(0, "PLAY_START"), (30, "PLAY_STOP"), (50, "SEEK"), (60, "PLAY_STOP")], 30.0),
        ([(0, "SEEK"), (50, "PLAY_STOP")], 0.0),
        # exactly twice the heartbeat interval, and a microsecond more
        ([(0, "PLAY_START"), (120, "PLAY_STOP")], 120.0),
        ([(0, "PLAY_START"), (120.000001, "PLAY_STOP")], 120.0),
        # a heartbeat shows that it plays, whatever was lost before
        ([(0, "PAUSE"), (30, "HEARTBEAT"), (45, "PLAY_STOP")], 15.0),
    ],
)
def test_watch_seconds_are_the_time_to_the_next_event_while_playing(tmp_path, steps, expected_seconds):
    lake = lakes.make(tmp_path)
    rows = lakes.session("2026-11-21T12:00:00", steps)
    lakes.append(lake, "silver", rows[::-1])
    refresh(lake)
    assert {DAY: expected_seconds} == watched(lake)


def test_events_of_one_instant_are_ordered_by_offset(tmp_path):
    lake = lakes.make(tmp_path)
    steps = [(0, "PLAY_START"), (10, "PAUSE"), (10, "RESUME"), (30, "PLAY_STOP")]
    lakes.append(lake, "silver", lakes.session("2026-11-21T12:00:00", steps))
    refresh(lake)
    assert {DAY: 30.0} == watched(lake)


def test_a_gap_over_midnight_counts_on_the_date_of_the_event_that_starts_it(tmp_path):
    lake = lakes.make(tmp_path)
    steps = [(0, "PLAY_START"), (50, "HEARTBEAT"), (110, "HEARTBEAT"), (140, "PLAY_STOP")]
    lakes.append(lake, "silver", lakes.session("2026-11-21T23:58:40", steps))
    refresh(lake)
    assert {DAY: 110.0, NEXT: 30.0} == watched(lake)


@pytest.mark.parametrize(("last", "expected"), [("HEARTBEAT", 20.0), ("PAUSE", 0.0)])
def test_a_seek_after_midnight_plays_if_the_session_did_before(tmp_path, last, expected):
    lake = lakes.make(tmp_path)
    steps = [(0, "PLAY_START"), (40, last), (80, "SEEK"), (100, "PLAY_STOP")]
    lakes.append(lake, "silver", lakes.session("2026-11-21T23:59:00", steps))
    refresh(lake)
    assert expected == watched(lake)[NEXT]


@pytest.mark.parametrize(("days", "expected"), [(1, 120.0), (2, 120.0), (5, 120.0), (7, 120.0), (8, 0.0)])
def test_a_stray_event_of_a_clock_days_off_ends_a_gap_like_any_other(tmp_path, days, expected):
    lake = lakes.make(tmp_path)
    steps = [(0, "PLAY_START"), (days * 86_400, "PLAY_STOP")]
    lakes.append(lake, "silver", lakes.session("2026-11-21T12:00:00", steps))
    refresh(lake)
    assert expected == watched(lake)[DAY]


def test_sessions_of_the_same_time_do_not_mix(tmp_path):
    lake = lakes.make(tmp_path)
    for number, stop in enumerate((30, 50)):
        steps = [(0, "PLAY_START"), (stop, "PLAY_STOP")]
        lakes.append(lake, "silver", lakes.session("2026-11-21T12:00:00", steps, session_id=f"s{number}"))
    refresh(lake)
    assert {DAY: 80.0} == watched(lake)


def test_title_daily_has_plays_viewers_watch_seconds_and_completion(tmp_path):
    lake = lakes.make(tmp_path)
    long = [(0, "PLAY_START"), *((60 * minute, "HEARTBEAT") for minute in range(1, 50)), (3000, "PLAY_STOP")]
    short = [(0, "PLAY_START"), (60, "PLAY_STOP"), (90, "PLAY_START"), (150, "PLAY_STOP")]
    start = "2026-11-21T12:00:00"
    lakes.append(
        lake,
        "silver",
        lakes.session(start, long, session_id="a", user_id="u1", profile_id="p1")  # 3000 s of t1's 6000
        + lakes.session(start, short, session_id="b", user_id="u1", profile_id="p2")  # 120 s
        + lakes.session(start, short, session_id="c", user_id="u2", profile_id="p1", title_id="t2")  # a series
        + lakes.session(start, short, session_id="d", user_id="u2", profile_id="p1", title_id="nobody-knows"),
    )
    refresh(lake)
    columns = "title_id, content_type, plays, viewers, sessions, watch_seconds, completion, full_views"
    assert [
        ("nobody-knows", None, 2, 1, 1, 120.0, None, None),
        ("t1", "Movie", 3, 2, 2, 3120.0, 3120 / 12000, 0.52),
        ("t2", "TV Show", 2, 1, 1, 120.0, None, None),
    ] == table(lake, "title_daily", columns)
    assert [
        (DAY, "Movie", 1, 3, 2, 2, 3120.0, 3120 / 12000),
        (DAY, "TV Show", 1, 2, 1, 1, 120.0, None),
        (DAY, None, 1, 2, 1, 1, 120.0, None),
    ] == table(lake, "content_overview")
    assert [
        (DAY, "Dramas", 2, 5, 3, 3, 3240.0, 3120 / 12000),
        (DAY, "Thrillers", 1, 3, 2, 2, 3120.0, 3120 / 12000),
    ] == table(lake, "genre_analysis")
    assert [
        ("PG-13", 1, 3, 2, 3 / 7),
        ("TV-MA", 1, 2, 1, 2 / 7),
        (None, 1, 2, 1, 2 / 7),
    ] == table(lake, "rating_distribution", "rating, titles, plays, viewers, share_of_plays")
    assert [
        (1, "t1", 3, 2, DAY),
        (2, "nobody-knows", 2, 1, DAY),
        (3, "t2", 2, 1, DAY),
    ] == table(lake, "top_titles", "rank, title_id, plays, viewer_days, first_date")
    assert [(1, "Ada Berg", 1, 3, 3120.0, 0.52)] == table(lake, "top_directors")


def test_a_viewer_is_a_profile_of_a_user(tmp_path):
    lake = lakes.make(tmp_path)
    pairs = [("u1", "p1"), ("u1", "p2"), ("u2", "p1"), ("u1", "p1"), ("u", "1p1")]
    lakes.append(lake, "silver", [lakes.silver(user_id=user, profile_id=profile) for user, profile in pairs])
    refresh(lake)
    assert [(4, 5)] == table(lake, "device_mix", "viewers, plays", "1")


def test_hours_countries_and_devices(tmp_path):
    lake = lakes.make(tmp_path)
    first = [(0, "PLAY_START"), (60, "PLAY_STOP")]
    lakes.append(
        lake,
        "silver",
        lakes.session("2026-11-21T12:59:30", first, session_id="a", country="DE", region="Europe")
        + lakes.session("2026-11-21T14:00:00", first, session_id="b", country=None, region=None, device_type=None)
        + lakes.session("2026-11-21T14:10:00", first, session_id="c", country="BR", region="Latin America"),
    )
    refresh(lake)
    assert [
        (DAY, 12, 1, 1, 1, 1, 60.0),
        (DAY, 13, 1, 0, 1, 1, 0.0),
        (DAY, 14, 4, 2, 1, 2, 120.0),
    ] == table(lake, "temporal_trends")
    assert [
        (DAY, "BR", "Latin America", 1, 1, 1, 60.0, 1 / 3),
        (DAY, "DE", "Europe", 1, 1, 1, 60.0, 1 / 3),
        (DAY, None, None, 1, 1, 1, 60.0, 1 / 3),
    ] == table(lake, "geographic_distribution")
    assert [("mobile", 2, 2 / 3), (None, 1, 1 / 3)] == table(lake, "device_mix", "device_type, plays, share_of_plays")


def test_directors_of_one_title_each_count(tmp_path):
    lake = lakes.make(tmp_path)
    lakes.append(lake, "silver", [lakes.silver(title_id=title) for title in ("t3", "t1", "t3")])
    refresh(lake)
    assert [
        (1, "Ada Berg", 2, 3),
        (2, "Noor Diaz", 1, 2),
    ] == table(lake, "top_directors", "rank, director, titles, plays")


def test_an_event_counts_once_before_and_after_dedupe(tmp_path):
    lake = lakes.make(tmp_path)
    steps = [(0, "PLAY_START"), (60, "HEARTBEAT"), (100, "PLAY_STOP")]
    rows = lakes.session("2026-11-21T12:00:00", steps)
    again = [{**row, **lakes.position(), "broker_timestamp": row["ingest_timestamp"]} for row in rows]
    elsewhere = {**again[0], **lakes.position(), "event_date": NEXT, "event_timestamp": lakes.time(f"{NEXT}T12:00:00")}
    lakes.append(lake, "silver", rows)
    lakes.append(lake, "silver", [*again, elsewhere])
    refresh(lake)
    before = table(lake, "title_daily")
    assert [(1, 1, 1, 100.0)] == [row[7:11] for row in before]
    assert [(DAY, 6, 3), (NEXT, 1, 1)] == table(lake, "quality_scorecard", "event_date, silver_rows, repeated_rows")
    assert 4 == dedupe(lake).rows
    refresh(lake)
    assert before == table(lake, "title_daily")
    assert [(DAY, 3, 0)] == table(lake, "quality_scorecard", "event_date, silver_rows, repeated_rows")


def test_the_scorecard_counts_by_event_date_and_by_ingest_date(tmp_path):
    lake = lakes.make(tmp_path)
    lakes.append(
        lake,
        "silver",
        [
            lakes.silver(),
            lakes.silver(title_id="nobody-knows", quality_score=0.7),
            lakes.silver(country=None, warnings=["unknown_country", "unknown_device_type"], quality_score=0.7),
            lakes.silver(broker="2026-11-21T13:00:00"),
            lakes.silver(broker="2026-11-21T13:00:01"),
            lakes.silver(broker="2026-11-22T23:59:58", ingest="2026-11-23T00:00:00"),
            lakes.undated(client_ts="2026-11-21T12:00:00", broker=f"{NEXT}T09:00:00"),
            lakes.undated(broker=f"{NEXT}T09:00:00"),
            lakes.undated(broker=None, ingest=f"{NEXT}T09:00:00"),
        ],
    )
    lakes.append(lake, "quarantine", [lakes.refused(ingest=f"{NEXT}T09:00:00"), lakes.refused()])
    refresh(lake)
    assert [
        (DAY, 6, 0, 0, 0, 2, 1, 1, 1, 1, 2, 5.4 / 6, 0, 1),
        (NEXT, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, None, 3, 1),
    ] == table(lake, "quality_scorecard")
    repair(lake)
    refresh(lake)
    assert [
        (DAY, 7, 0, 1, 0, 3, 1, 1, 1, 1, 3, 6.1 / 7, 0, 1),
        (NEXT, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0.7, 1, 1),
    ] == table(lake, "quality_scorecard")


def test_an_empty_lake_gives_empty_tables(tmp_path):
    lake = lakes.make(tmp_path)
    assert {"full"} == {done.how for done in refresh(lake)}
    assert all(rows == [] for rows in everything(lake).values())
    assert {"unchanged"} == {done.how for done in refresh(lake)}


def test_no_lake_is_said(tmp_path):
    with pytest.raises(LakeNotFound, match="no lake at"):
        refresh(Lake.at(str(tmp_path / "nowhere")))


# ---------------------------------------------------------------- refreshes


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Twenty dates with a session each, gold built."""
    lake = lakes.make(tmp_path_factory.mktemp("built"))
    for number in range(1, 21):
        steps = [(0, "PLAY_START"), (60, "PLAY_STOP")]
        lakes.append(lake, "silver", lakes.session(f"2026-11-{number:02}T12:00:00", steps, session_id=f"on-{number}"))
    refresh(lake)
    return lake


@pytest.fixture
def lake(built, tmp_path):
    """A copy of that lake."""
    shutil.copytree(built.uri, tmp_path / "lake")
    return Lake.at(str(tmp_path / "lake"))


def versions(lake: Lake) -> dict[str, int]:
    return {file.name: lake.table(f"gold/{file.name}").version() for file in declared()}


def declared() -> list[gold_files.GoldFile]:
    return [file for file in gold_files.load().values() if not file.is_source]


def how(done: list[gold.Refreshed]) -> dict[str, tuple[str, int]]:
    return {table.name: (table.how, table.dates) for table in done}


def test_nothing_changed_means_nothing_committed(lake):
    before = versions(lake)
    assert {"unchanged"} == {done.how for done in refresh(lake)}
    assert before == versions(lake)


def test_only_the_changed_date_is_computed(lake):
    untouched = {f.path for f in live_files(lake.table("gold/title_daily"), lake.path("gold/title_daily"))}
    late = lakes.session("2026-11-10T15:00:00", [(0, "PLAY_START"), (30, "PLAY_STOP")], session_id="late")
    lakes.append(lake, "silver", late)
    done = how(refresh(lake))
    assert ("incremental", 1) == done["title_daily"]
    assert ("incremental", 1) == done["quality_scorecard"]
    assert ("full", 0) == done["top_titles"]
    assert 90.0 == watched(lake)[dt.date(2026, 11, 10)]
    now = {f.path for f in live_files(lake.table("gold/title_daily"), lake.path("gold/title_daily"))}
    assert 19 == len(untouched & now)


def test_a_late_event_brings_in_the_other_dates_of_its_session(lake):
    lakes.append(lake, "silver", [lakes.silver(at="2026-11-12T12:00:00", event_type="PLAY_STOP", session_id="on-7")])
    lakes.append(lake, "silver", [lakes.silver(at="2026-11-07T12:02:00", event_type="HEARTBEAT", session_id="on-7")])
    assert ("incremental", 2) == how(refresh(lake))["title_daily"]
    assert 180.0 == watched(lake)[dt.date(2026, 11, 7)]  # 60, stopped for 60, then 120 of five days
    lakes.append(lake, "silver", [lakes.silver(at="2026-11-08T11:59:00", event_type="HEARTBEAT", session_id="on-8")])
    assert ("incremental", 1) == how(refresh(lake))["title_daily"]
    incremental = everything(lake)
    refresh(lake, full=True)
    assert everything(lake) == incremental


def test_a_repeat_on_another_date_brings_that_date_in(lake):
    day_8 = lakes.rows(lake, "select event_id from silver where event_date = date '2026-11-08'")
    early = lakes.silver(at="2026-11-05T12:00:00", event_id=day_8[0][0])
    lakes.append(lake, "silver", [early])
    assert ("incremental", 2) == how(refresh(lake))["quality_scorecard"]
    incremental = everything(lake)
    refresh(lake, full=True)
    assert everything(lake) == incremental
    assert 0.0 == watched(lake)[dt.date(2026, 11, 8)]


def test_a_repeat_far_away_in_a_session_of_the_changed_date_is_left_out(lake):
    elsewhere = lakes.silver(at="2026-11-11T13:00:00", session_id="on-11")
    playing = lakes.silver(at="2026-11-07T12:02:00", event_type="HEARTBEAT", session_id="on-7")
    again = lakes.silver(at="2026-11-12T12:00:00", event_id=elsewhere["event_id"], session_id="on-7")
    before = lakes.silver(at="2026-11-04T12:00:00", event_type="PAUSE", session_id="on-7")
    lakes.append(lake, "silver", [elsewhere, before, playing, again])
    refresh(lake)
    assert 60.0 == watched(lake)[dt.date(2026, 11, 7)], "the event of five days later, which would end a gap, is none"
    late = lakes.session("2026-11-07T15:00:00", [(0, "PLAY_START"), (30, "PLAY_STOP")], session_id="late")
    lakes.append(lake, "silver", late)
    assert ("incremental", 1) == how(refresh(lake))["title_daily"]
    assert 90.0 == watched(lake)[dt.date(2026, 11, 7)]
    incremental = everything(lake)
    refresh(lake, full=True)
    assert everything(lake) == incremental


def test_a_compaction_of_files_is_no_change(lake):
    lake.table("silver").optimize.compact()
    assert {"unchanged"} == {done.how for done in refresh(lake)}


def test_dates_whose_rows_vanish_leave_gold(lake):
    lake.table("silver").delete("event_date = date '2026-11-10'")
    refresh(lake)
    assert dt.date(2026, 11, 10) not in watched(lake)
    assert 19 == len(watched(lake))
    incremental = everything(lake)
    refresh(lake, full=True)
    assert everything(lake) == incremental


def test_each_table_is_refreshed_by_one_commit(lake):
    before = versions(lake)
    lakes.append(lake, "silver", [lakes.silver(at="2026-11-10T15:00:00"), lakes.silver(at="2026-11-01T15:00:00")])
    refresh(lake)
    assert {name: version + 1 for name, version in before.items()} == versions(lake)


def test_a_changed_sql_file_builds_its_table_anew(lake, monkeypatch):
    files = dict(gold_files.load())
    changed = files["device_mix"]
    files["device_mix"] = gold_files.parse(
        changed.sql.replace("count(distinct viewer)", "count(distinct viewer) + 1000"), "device_mix.sql"
    )
    monkeypatch.setattr(gold_files, "load", lambda: files)
    assert ("full", 20) == how(refresh(lake))["device_mix"]
    assert ("unchanged", 0) == how(refresh(lake))["title_daily"]
    assert [(1001,)] == table(lake, "device_mix", "min(viewers)", "1")


def test_a_new_column_is_added_by_the_rebuild(lake, monkeypatch):
    files = dict(gold_files.load())
    sql = files["device_mix"].sql.replace("--   plays ", "--   extra text new\n--   plays ")
    files["device_mix"] = gold_files.parse(sql.replace("sum(plays) as plays", "'x' as extra, sum(plays) as plays"), "x")
    monkeypatch.setattr(gold_files, "load", lambda: files)
    refresh(lake)
    assert [("x",)] == table(lake, "device_mix", "distinct extra", "1")


def test_a_log_that_was_cleaned_up_makes_a_full_rebuild(lake):
    handle = lake.table("silver")
    gone = handle.version() + 1
    lakes.append(lake, "silver", [lakes.silver(at="2026-11-10T15:00:00")])
    lake.table("silver").create_checkpoint()
    lake.filesystem().rm(f"{lake.path('silver')}/_delta_log/{gone:020}.json")
    assert ("full", 20) == how(refresh(lake))["title_daily"]


def test_a_vacuumed_file_makes_a_full_rebuild(lake):
    lake.table("silver").delete("event_date = date '2026-11-10'")
    lake.table("silver").vacuum(0, dry_run=False, enforce_retention_duration=False)
    assert "full" == how(refresh(lake))["title_daily"][0]
    assert dt.date(2026, 11, 10) not in watched(lake)


def test_a_silver_made_anew_makes_a_full_rebuild(lake):
    lake.filesystem().rm(lake.path("silver"), recursive=True)
    for _ in range(30):
        lakes.append(lake, "silver", [lakes.silver()])
    refresh(lake)
    assert [DAY] == list(watched(lake))


def test_chunks_of_dates_give_the_same(lake):
    steps = [(0, "PLAY_START"), (50, "HEARTBEAT"), (110, "SEEK"), (140, "PLAY_STOP")]
    for number in range(1, 20):
        lakes.append(
            lake, "silver", lakes.session(f"2026-11-{number:02}T23:58:40", steps, session_id=f"night-{number}")
        )
    refresh(lake, full=True)
    expected = everything(lake)
    refresh(lake, full=True, chunk_rows=5)
    assert expected == everything(lake)


@pytest.mark.parametrize("method", ["compute", "compute_whole"])
def test_a_refresh_that_another_overtook_computes_again(lake, monkeypatch, method):
    compute = getattr(DuckDB, method)
    others = iter([1])

    def interrupted(*arguments):
        for _ in others:
            lakes.append(lake, "silver", [lakes.silver(at="2026-11-11T15:00:00")])
            refresh(lake)
        return compute(*arguments)

    lakes.append(lake, "silver", [lakes.silver(at="2026-11-10T15:00:00")])
    monkeypatch.setattr(DuckDB, method, interrupted)
    refresh(lake)
    assert [] == list(others)
    incremental = everything(lake)
    refresh(lake, full=True)
    assert everything(lake) == incremental
