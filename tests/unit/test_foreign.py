"""Delta tables that no worker of ours wrote: repaired, merged, undone, or refused in a line."""

import datetime as dt
import json
import os
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, Field, Schema, convert_to_deltalake, write_deltalake
from deltalake.schema import PrimitiveType
from deltalake.table import TableFeatures

from compaction import job, merge
from compaction.compact import compact
from compaction.delta_log import live_files
from compaction.foreign import open_table
from compaction.repair import columns_to_add, preview, repair
from compaction.retention import Retention, clean_up
from compaction.undo import release, undo
from playlake.cli import main
from playlake.compactor_metrics import CompactorMetrics
from schemas.errors import ConfigError
from sink.lake import Lake
from sink.scan import connect, create_view, quoted
from tests.plain_folders import NULL, put, table
from tests.unit.test_retention import backdate_removals

EVENING = dt.datetime(2026, 11, 20, 20, 30, 0, 123456, tzinfo=dt.UTC)
MARKS = ["event_date_source", "repair_id", "event_date_before", "event_time_before"]
FORMS = {
    "timestamps": (pa.timestamp("us", "UTC"), EVENING),
    "local timestamps": (pa.timestamp("us"), EVENING.replace(tzinfo=None)),
    "text": (pa.string(), "2026-11-20T20:30:00.123456Z"),
    "text of seconds": (pa.string(), str(EVENING.timestamp())),
    "seconds": (pa.float64(), EVENING.timestamp()),
    "milliseconds": (pa.int64(), int(EVENING.timestamp() * 1000)),
}


def raw(**fields: object) -> str:
    return json.dumps({"id": 1, **fields})


CLIENT_TS = raw(client_ts="2026-11-19T08:00:00Z")
TIMESTAMP, DATE = pa.timestamp("us", "UTC"), pa.date32()


def append(place: Path, rows: list[dict[str, object]], *, time_type=TIMESTAMP, date_type=DATE):
    """Append rows of `id, ts, payload, tags, day` to a table at `place`, partitioned by `day`."""
    schema = pa.schema(
        [
            ("id", pa.int64()),
            ("ts", time_type),
            ("payload", pa.string()),
            ("tags", pa.list_(pa.string())),
            ("file", pa.string()),
            ("day", date_type),
        ]
    )
    full = [{"ts": None, "payload": None, "tags": ["a", "b"], "file": "x", "day": None} | row for row in rows]
    write_deltalake(str(place), pa.Table.from_pylist(full, schema=schema), mode="append", partition_by=["day"])


def opened(place: Path) -> Lake:
    return open_table(str(place), "ts", "day", "payload")


def rows_of(lake: Lake, query: str) -> list[tuple[object, ...]]:
    con = connect(lake)
    handle = lake.table(lake.events.name)
    create_view(con, "t", handle, [file.path for file in live_files(handle, lake.path(lake.events.name))])
    return con.execute(query).fetchall()


def version(place: Path) -> int:
    return DeltaTable(str(place)).version()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Two dated rows, and four without a date: by their payload, by their own time, held by nothing, unusable."""
    place = tmp_path / "some events"
    append(
        place,
        [{"id": 1, "ts": EVENING, "day": EVENING.date()}, {"id": 2, "payload": CLIENT_TS}],
    )
    append(place, [{"id": 3, "ts": EVENING, "day": EVENING.date()}, {"id": 4, "ts": EVENING}])
    append(place, [{"id": 5, "payload": "no json"}, {"id": 6, "payload": raw(event_ts=1_795_205_000_000)}])
    return place


UNTOUCHED = "select id, payload, tags, file from t order by id"


def test_a_repair_reads_the_tables_own_time_then_the_payload(place):
    lake = opened(place)
    before = rows_of(lake, UNTOUCHED)
    assert [
        (dt.date(2026, 11, 19), "payload", "client_ts as ISO text", None, 1),
        (dt.date(2026, 11, 20), "event_time", "ts as ISO text", None, 1),
        (dt.date(2026, 11, 20), "payload", "event_ts in milliseconds", None, 1),
        (None, None, None, "no usable time", 1),
    ] == [(o.event_date, o.event_date_source, o.found_in, o.why_not, o.rows) for o in preview(lake)]
    assert MARKS == columns_to_add(lake)
    was = version(place)
    done = repair(lake)
    assert ({"event_time": 1, "payload": 2}, 1, was + 2) == (done.rows, done.left, done.version)
    assert before == rows_of(lake, UNTOUCHED)
    assert [
        (2, dt.datetime(2026, 11, 19, 8, tzinfo=dt.UTC), dt.date(2026, 11, 19), "payload", done.repair_id),
        (4, EVENING, dt.date(2026, 11, 20), "event_time", done.repair_id),
        (6, dt.datetime.fromtimestamp(1_795_205_000, dt.UTC), dt.date(2026, 11, 20), "payload", done.repair_id),
    ] == rows_of(
        lake, "select id, ts, day, event_date_source, repair_id from t where repair_id is not null order by id"
    )
    assert [] == columns_to_add(lake)
    again = repair(lake)
    assert (0, 1, was + 2) == (again.total, again.left, version(place))


def test_an_undo_gives_back_every_column_also_after_appends_and_compactions(place):
    lake = opened(place)
    everything = "select id, ts, day, payload, tags from t where id < 10 order by id"
    before = rows_of(lake, everything)
    first = repair(lake)
    append_marked(lake, [{"id": 10, "ts": EVENING}])
    second = repair(lake)
    compact(lake, lake.events.name)
    assert 3 == undo(lake, first.repair_id).rows
    assert before == rows_of(lake, everything)
    held = repair(lake)
    assert (0, 4) == (held.total, held.left)
    assert [(10, second.repair_id)] == rows_of(lake, "select id, repair_id from t where repair_id not like 'held:%'")
    assert 3 == release(lake, first.repair_id).rows
    assert 3 == repair(lake).total


def append_marked(lake: Lake, rows: list[dict[str, object]]) -> None:
    schema = pa.schema(lake.table(lake.events.name).schema().to_arrow())
    write_deltalake(lake.path(lake.events.name), pa.Table.from_pylist(rows, schema=schema), mode="append")


@pytest.mark.parametrize("date_type", [pa.date32(), pa.string()], ids=["dates", "ISO text"])
@pytest.mark.parametrize(("time_type", "at"), FORMS.values(), ids=FORMS)
def test_event_times_of_every_form_give_dates_of_either_type(tmp_path, time_type, at, date_type):
    place = tmp_path / "t"
    append(place, [{"id": 1, "ts": at}, {"id": 2, "ts": at}], time_type=time_type, date_type=date_type)
    append(place, [{"id": 3}], time_type=time_type, date_type=date_type)
    lake = opened(place)
    before = rows_of(lake, "select * from t order by id")
    done = repair(lake)
    assert ({"event_time": 2}, 1) == (done.rows, done.left)
    query = "select id, ts, cast(day as varchar), event_date_source from t order by id"
    [(_, one, *rest), (_, two, *_), (_, none, *_)] = rows_of(lake, query)
    assert (at, at, None, ["2026-11-20", "event_time"]) == (one, two, none, rest)
    undo(lake, done.repair_id)
    assert before == [row[:6] for row in rows_of(lake, "select * from t order by id")]


def test_small_files_become_one_sorted_by_event_time(tmp_path):
    place = tmp_path / "t"
    for minute in (3, 1, 2):
        append(place, [{"id": minute, "ts": EVENING + dt.timedelta(minutes=minute), "day": EVENING.date()}])
    lake = opened(place)
    done = compact(lake, "t")
    assert (1, 3, 1) == (done.partitions, done.files_before, done.files_after)
    [file] = live_files(lake.table("t"), lake.path("t"))
    assert [1, 2, 3] == pq.read_table(file.path)["id"].to_pylist()
    actions = pa.table(lake.table("t").get_add_actions(flatten=True)).to_pylist()
    assert [(1, 3, 3)] == [(row["min.id"], row["max.id"], row["num_records"]) for row in actions]
    assert 0 == compact(lake, "t").partitions


def test_only_small_files_without_text_are_put_together(tmp_path, monkeypatch):
    monkeypatch.setattr(merge, "_FEW_ROWS", 3)
    place = tmp_path / "t"
    for count in (1, 2, 4, 4, 1):
        rows = {"id": range(count), "ts": [EVENING] * count, "day": [EVENING.date()] * count}
        write_deltalake(str(place), pa.table(rows), mode="append", partition_by=["day"])
    sizes = []
    conformed = merge._conformed
    monkeypatch.setattr(merge, "_conformed", lambda rows, *more: sizes.append(len(rows)) or conformed(rows, *more))
    compact(open_table(str(place), "ts", "day", None), "t")
    assert [3, 4, 4, 1] == sizes


def test_columns_of_every_kind_survive(tmp_path):
    place = tmp_path / "t"
    rows = pa.table(
        {
            "ts": pa.array([EVENING, None, EVENING], TIMESTAMP),
            "where": [{"x": 1, "at": {"y": ["a", None]}}, None, {"x": None, "at": {"y": []}}],
            "more": pa.array([[("k", 1.5)], [], None], pa.map_(pa.string(), pa.float64())),
            "steps": [[{"name": "a", "tags": [["x"]]}], [], None],
            "price": pa.array([None, "1.10", "99999999.99"], pa.string()).cast(pa.decimal128(10, 2)),
            "ratio": pa.array([float("nan"), None, 1.5], pa.float32()),
            "blob": pa.array([b"\xff", None, b""]),
            "is_new": [True, None, False],
            "text": ["", None, "x" * 300],
            'odd name, "quoted"': pa.array([1, 2, None], pa.int16()),
            "born": pa.array([None, EVENING.date(), None]),
            "day": pa.array([None, EVENING.date(), None]),
        }
    )
    for _ in range(2):
        write_deltalake(str(place), rows, mode="append", partition_by=["day"])
    lake = open_table(str(place), "ts", "day")
    names = ", ".join(quoted(name) for name in rows.column_names if name != "day")
    query = f"select {names} from t order by all"  # noqa: S608
    before = rows_of(lake, query)
    done = repair(lake)
    assert ({"event_time": 4}, 0) == (done.rows, done.left)
    compact(lake, "t")
    assert repr(before) == repr(rows_of(lake, query))  # nan is not equal to itself
    assert 1 == lake.table("t").get_add_actions().num_rows
    undo(lake, done.repair_id)
    assert repr(before) == repr(rows_of(lake, query))


def test_a_value_finer_than_the_tables_type_is_refused(tmp_path, capsys):
    fine = pa.table({"ts": pa.array([1_795_205_000_000_000_001], pa.timestamp("ns", "UTC"))})
    for name in ("a", "b"):
        put(tmp_path, f"day=2026-11-20/{name}.parquet", fine)
    convert_to_deltalake(
        str(tmp_path), partition_by=Schema([Field("day", PrimitiveType("date"))]), partition_strategy="hive"
    )
    code, _, err = told(capsys, "compact", tmp_path)
    assert (2, 1) == (code, err.count("\n"))
    assert "holds values of ts that timestamp[us, tz=UTC] can't keep" in err
    assert 0 == version(tmp_path)


def test_a_table_of_more_partition_columns_keeps_them(tmp_path):
    place = tmp_path / "t"
    countries = ["DE", "a b/c", "x:y%", None, "DE", "DE"]
    rows = pa.table(
        {
            "id": range(6),
            "ts": pa.array([EVENING, EVENING, EVENING, EVENING, None, EVENING], TIMESTAMP),
            "country": countries,
            "hour": pa.array([20, 20, 20, 20, None, 21], pa.int32()),
            "day": pa.array([None, None, None, None, None, EVENING.date()]),
        }
    )
    for _ in range(3):
        write_deltalake(str(place), rows, mode="append", partition_by=["day", "country", "hour"])
    lake = open_table(str(place), "ts", "day")
    before = rows_of(lake, "select id, ts, country, hour from t order by all")
    query = "select id, ts, country, hour, day from t order by all"
    everything = rows_of(lake, query)
    done = repair(lake)
    assert ({"event_time": 12}, 3) == (done.rows, done.left)
    assert before == rows_of(lake, "select id, ts, country, hour from t order by all")
    assert 2 == compact(lake, "t").partitions
    files = live_files(lake.table("t"), str(place))
    found = sorted((file.partition or "", dict(file.then)["country"] or "", file.rows) for file in files)
    day = "2026-11-20"
    assert [("", "DE", 3), (day, "", 3), (day, "DE", 3), (day, "DE", 3), (day, "a b/c", 3), (day, "x:y%", 3)] == found
    undo(lake, done.repair_id)
    assert everything == rows_of(lake, query)
    assert DeltaTable(str(place)).to_pyarrow_dataset().count_rows() == 18


def test_an_adopted_folder_is_repaired_and_merged(tmp_path):
    put(tmp_path, f"{NULL}/a 1.parquet", table(3), use_deprecated_int96_timestamps=True)
    put(tmp_path, f"{NULL}/b%20.parquet", table(2))
    put(tmp_path, "event_date=2026-11-20/000000_0", table(2))
    assert 0 == main(["adopt", str(tmp_path)])
    lake = open_table(str(tmp_path), "ts", "event_date")
    done = repair(lake)
    assert (5, 0) == (done.total, done.left)
    compact(lake, tmp_path.name)
    assert [(7, dt.date(2026, 11, 20), 3)] == rows_of(
        lake, "select count(*), min(event_date), count(distinct ts) from t"
    )
    undo(lake, done.repair_id)
    assert [(5, 3)] == rows_of(lake, "select count(*), count(distinct ts) from t where event_date is null")


def test_a_vacuum_leaves_files_alone_that_the_log_never_named(place):
    lake = opened(place)
    stranger = put(place, "day=2026-11-20/of-another-job.parquet", table(1))
    compact(lake, lake.events.name)
    live = {file.path for file in live_files(lake.table(lake.events.name), str(place))}
    backdate_removals(place / "_delta_log")
    for path in place.rglob("*.parquet"):
        os.utime(path, (time.time() - 86400,) * 2)
    forced = Retention(dt.timedelta(hours=1), is_forced=True)
    assert 5 == clean_up(lake, [lake.events.name], forced).files
    assert stranger.exists()
    assert live == {str(path) for path in place.rglob("*.parquet")} - {str(stranger)}


def test_a_table_that_keeps_replaced_files_longer_is_obeyed(place, capsys):
    DeltaTable(str(place)).alter.set_table_properties({"delta.deletedFileRetentionDuration": "interval 30 days"})
    assert 0 == told(capsys, "compact", place)[0]
    code, _, err = told(capsys, "compact", place, "--retain", "8d")
    assert (2, 1) == (code, err.count("\n"))
    assert "itself keeps replaced files longer (delta.deletedFileRetentionDuration): --retain as long" in err
    assert 0 == told(capsys, "compact", place, "--retain", "8d", "--force")[0]


def told(capsys, verb: str, place: Path, *more: str) -> tuple[int, list[str], str]:
    code = main([verb, "--table", str(place), "--event-time", "ts", "--date-column", "day", *more])
    out, err = capsys.readouterr()
    return code, out.splitlines(), err


def test_the_job_repairs_merges_and_deletes_old_files_of_a_table(place, capsys):
    was = version(place)
    code, lines, _ = told(capsys, "compact", place, "--raw", "payload", "--dry-run")
    assert 0 == code
    assert [
        "repair 3 rows would get a date (1 from the event_time, 2 from the payload); 1 would stay without; "
        f"the table would get the columns {', '.join(MARKS)}",
        "compact 5 small files of 2 lake partitions would be merged",
        "vacuum 0 files would be deleted that no version of the last 7 days names",
    ] == [f"{line.split()[0]} {line.split(' s  ', 1)[1]}" for line in lines]
    assert was == version(place)
    code, lines, _ = told(capsys, "compact", place, "--raw", "payload", "--json")
    done = json.loads(lines[0])
    assert (0, ["repair", "compact", "vacuum"], 3) == (code, list(done), done["repair"]["total"])
    code, lines, _ = told(capsys, "compact", place, "--raw", "payload", "--json")
    assert [False] * 3 == [step["changed"] for step in json.loads(lines[0]).values()]


def test_a_dry_run_of_a_repair_says_which_columns_come_and_where_rows_are(place, capsys):
    was = version(place)
    code, lines, err = told(capsys, "repair", place, "--raw", "payload", "--dry-run")
    assert (0, "") == (code, err)
    assert "null 2026-11-19 payload client_ts as ISO text 1" == " ".join(lines[1].split())
    assert any(" row 0: 2026-11-20 20:30:00Z by ts as ISO text" in line for line in lines)
    assert any(
        line.startswith("1 rows would stay in the null partition: no usable time; such as day=") for line in lines
    )
    assert f"the table would get the columns {', '.join(MARKS)}, by a commit before that of the rows" == lines[-2]
    assert "3 rows would get a date; 1 would stay where they are" == lines[-1]
    assert was == version(place)


def test_undo_and_release_by_the_verb(place, capsys):
    _, lines, _ = told(capsys, "repair", place, "--raw", "payload", "--json")
    repair_id = json.loads(lines[0])["repair"]["repair_id"]
    code, lines, _ = told(capsys, "repair", place, "--undo", repair_id)
    assert (0, True) == (code, lines[0].startswith("3 rows are back where they were"))
    assert 0 == told(capsys, "repair", place, "--release", repair_id)[0]
    code, lines, err = told(capsys, "repair", place, "--undo", repair_id)
    assert (2, []) == (code, lines)
    assert f"has repair_id '{repair_id}'" in err


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (
            ["--event-time", "when", "--date-column", "day"],
            "has no column 'when' (--event-time); it has id, ts, payload",
        ),
        (["--event-time", "ts", "--date-column", "event_date"], "has no column 'event_date' (--date-column)"),
        (["--event-time", "ts", "--date-column", "day", "--raw", "body"], "has no column 'body' (--raw)"),
        (["--event-time", "ts", "--date-column", "id"], "is partitioned by day; --date-column has to be its first"),
        (["--event-time", "tags", "--date-column", "day"], "column tags is list<"),
        (["--event-time", "ts", "--date-column", "day", "--raw", "id"], "column id is int64; --raw needs JSON text"),
        (["--event-time", "day", "--date-column", "day"], "--event-time and --date-column name the same column"),
        (["--event-time", "ts"], "--table needs --event-time and --date-column"),
    ],
)
@pytest.mark.parametrize("verb", ["compact", "repair"])
def test_a_table_without_the_named_columns_is_one_line_and_nothing_changes(place, capsys, verb, arguments, why):
    was = version(place)
    code = main([verb, "--table", str(place), *arguments])
    out, err = capsys.readouterr()
    assert (2, "", 1) == (code, out, err.count("\n"))
    assert why in err
    assert was == version(place)


def test_a_table_that_is_not_there_and_one_of_ours_are_said(tmp_path, capsys):
    code, _, err = told(capsys, "compact", tmp_path / "nowhere")
    assert (2, 1) == (code, err.count("\n"))
    assert f"there is no Delta table at {tmp_path}/nowhere: check --table" in err
    Lake.at(str(tmp_path)).table_or_create("silver")
    code, _, err = told(capsys, "repair", tmp_path / "silver/playback_events")
    assert (2, 1) == (code, err.count("\n"))
    assert "is a table of a playlake lake: name the lake with --lake" in err
    assert 2 == main(["compact"])
    assert "--lake is needed" in capsys.readouterr().err
    assert 2 == main(["compact", "--lake", str(tmp_path), "--raw", "x"])
    assert "are for --table, which is missing" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("configuration", "why"),
    [
        ({"delta.appendOnly": "true"}, "it is append-only"),
        ({"delta.enableChangeDataFeed": "true"}, "it keeps a change data feed"),
        ({"delta.constraints.positive": "id > 0"}, "it has check constraints"),
    ],
)
def test_a_table_whose_rows_must_stay_is_merged_but_not_repaired(place, capsys, configuration, why):
    DeltaTable(str(place)).alter.set_table_properties(configuration, raise_if_not_exists=False)
    was = version(place)
    for more in ([], ["--dry-run"], ["--undo", "x"]):
        code, lines, err = told(capsys, "repair", place, "--raw", "payload", *more)
        assert (2, [], 1) == (code, lines, err.count("\n"))
        assert "can't be repaired, nothing was changed" in err and why in err
    assert was == version(place)
    code, lines, _ = told(capsys, "compact", place, "--raw", "payload")
    assert (0, True, True) == (code, why in lines[0], "lake partitions" in lines[1])


def test_deletion_vectors_are_refused(place, capsys):
    DeltaTable(str(place)).alter.add_feature(TableFeatures.DeletionVectors, allow_protocol_versions_increase=True)
    was = version(place)
    for verb in ("compact", "repair"):
        code, lines, err = told(capsys, verb, place)
        assert (2, [], 1) == (code, lines, err.count("\n"))
        assert "uses deletionVectors of Delta, which replacing files here would break; nothing was changed" in err
    assert was == version(place)


def test_a_table_with_marks_of_its_own_is_refused(tmp_path):
    place = tmp_path / "t"
    write_deltalake(
        str(place),
        pa.table({"ts": [EVENING], "repair_id": ["mine"], "day": pa.array([None], pa.date32())}),
        partition_by=["day"],
    )
    lake = open_table(str(place), "ts", "day")
    with pytest.raises(ConfigError, match="has a column repair_id of its own"):
        repair(lake)
    assert 0 == version(place)


def test_a_repair_by_another_event_time_is_refused(place):
    done = repair(opened(place))
    other = open_table(str(place), "event_time_before", "day", "payload")
    for attempt in (lambda: repair(other), lambda: undo(other, done.repair_id)):
        with pytest.raises(ConfigError, match="was repaired with --event-time ts before: name that one"):
            attempt()


def test_files_out_of_their_folders_are_refused(tmp_path, capsys):
    place = tmp_path / "t"
    append(place, [{"id": 1, "ts": EVENING, "day": EVENING.date()}])
    log = place / "_delta_log" / f"{0:020}.json"
    [file] = place.rglob("*.parquet")
    (place / "ab").mkdir()
    file.rename(place / "ab" / file.name)
    log.write_text(log.read_text().replace("day=2026-11-20/", "ab/"))
    code, _, err = told(capsys, "compact", place)
    assert (2, 1) == (code, err.count("\n"))
    assert f"the file ab/{file.name} is not in a folder day=2026-11-20" in err


def test_rows_appended_while_a_repair_runs_are_the_next_ones(place):
    lake = opened(place)
    waiting = [[{"id": 11, "ts": EVENING}]]

    def append_one(name: str) -> None:
        if name == "before repair" and waiting:
            append_marked(lake, waiting.pop())

    assert 3 == repair(lake, step=append_one).total
    assert 1 == repair(lake).total
    assert [(7, 7)] == rows_of(lake, "select count(*), count(distinct id) from t")


def test_the_jobs_metrics_are_of_the_table(place):
    lake = opened(place)
    metrics = CompactorMetrics(lake, 300)
    assert 3 == len(list(metrics.counted(job.run(lake))))
    metrics.done()
    assert 1 == metrics.registry.get_sample_value("playlake_null_partition_rows")
    assert 6 == metrics.registry.get_sample_value("playlake_table_rows", {"table": place.name})


class Killed(BaseException):
    """Stands for a SIGKILL at a step."""


@pytest.mark.parametrize("moment", ["before repair", "after repair", "before undo", "after undo"])
def test_a_crash_at_any_point_leaves_the_old_or_the_new_version(place, moment):
    lake = opened(place)
    state = "select id, day, repair_id is null, repair_id like 'held:%' from t order by id"

    def kill(name: str) -> None:
        if name == moment:
            raise Killed

    if moment.endswith("undo"):
        repair_id = repair(lake).repair_id
        before = rows_of(lake, state)
        with pytest.raises(Killed):
            undo(lake, repair_id, step=kill)
        assert (before == rows_of(lake, state)) == moment.startswith("before")
        assert 3 == rows_of(lake, f"select count(*) from t where ends_with(repair_id, '{repair_id}')")[0][0]  # noqa: S608
        return
    with pytest.raises(Killed):
        repair(lake, step=kill)
    assert [(1 if moment.startswith("after") else 4,)] == rows_of(lake, "select count(*) from t where day is null")
    repair(lake)
    assert [(6, 6, 3, 1)] == rows_of(
        lake, "select count(*), count(distinct id), count(repair_id), count(*) filter (day is null) from t"
    )


@pytest.mark.parametrize("other", ["optimize", "delete", "update"])
def test_another_job_in_between_makes_a_repair_plan_anew(place, other):
    lake = opened(place)
    jobs = {
        "optimize": lambda table: table.optimize.compact(),
        "delete": lambda table: table.delete("id = 6"),
        "update": lambda table: table.update(updates={"file": "'changed'"}, predicate="id = 2"),
    }
    waiting = [jobs[other]]

    def overtake(name: str) -> None:
        if name == "before repair" and waiting:
            waiting.pop()(DeltaTable(str(place)))

    done = repair(lake, step=overtake)
    rows = 5 if other == "delete" else 6
    assert (2, rows - 3) == (done.attempts, done.total)
    assert [(rows, rows)] == rows_of(lake, "select count(*), count(distinct id) from t")
    assert [("changed" if other == "update" else "x",)] == rows_of(lake, "select file from t where id = 2")


def test_two_compactions_at_once_double_nothing(place):
    lake = opened(place)
    for number in range(20, 26):
        append(place, [{"id": number, "ts": EVENING, "day": EVENING.date()}])
    others = [1]

    def another(name: str) -> None:
        if name == "before compact" and others:
            others.pop()
            compact(lake, lake.events.name)

    compact(lake, lake.events.name, step=another)
    assert [(12, 12)] == rows_of(lake, "select count(*), count(distinct id) from t")


def test_others_change_rows_of_a_table_that_was_repaired(place):
    lake = opened(place)
    repair(lake)
    compact(lake, lake.events.name)
    table = DeltaTable(str(place))
    table.update(updates={"file": "'later'"}, predicate="id in (1, 3, 4, 6)")
    table.delete("id = 2")
    assert [("later", 4), ("x", 1)] == rows_of(lake, "select file, count(*) from t group by 1 order by 1")
