"""Folders of plain Parquet become Delta tables where they are: what is taken, what is told, what is refused."""

import datetime as dt
import json
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from compaction.adopt import adopt, survey
from compaction.delta_log import live_files
from playlake.cli import main
from schemas.errors import ConfigError
from sink.lake import Lake
from sink.scan import connect, create_view
from tests.plain_folders import AT, NULL, put, table


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three files of two dates, one without a date, and what Spark leaves beside them."""
    folder = tmp_path / "an events folder"
    put(folder, "event_date=2026-11-20/part-0.snappy.parquet", table(2))
    put(folder, "event_date=2026-11-20/000001_0", table(1))
    put(folder, "event_date=2026-11-21/part 0.parquet", table(3, n=[1, 2, 3]))
    put(folder, f"{NULL}/part-0.parquet", table(4), use_deprecated_int96_timestamps=True)
    put(folder, "_SUCCESS", b"")
    put(folder, "event_date=2026-11-20/.part-0.snappy.parquet.crc", b"crc")
    put(folder, "event_date=2026-11-20_$folder$", b"")
    return folder


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(["adopt", *arguments])
    out, err = capsys.readouterr()
    return code, out, err


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def rows_of(folder: Path, query: str) -> list[tuple[object, ...]]:
    lake = Lake.at(str(folder))
    con = connect(lake)
    handle = DeltaTable(str(folder))
    create_view(con, "t", handle, [file.path for file in live_files(handle, lake.uri)])
    return con.execute(query).fetchall()


def test_a_dry_run_says_what_is_there_and_changes_nothing(folder, capsys):
    before = contents(folder)
    code, out, err = told(capsys, str(folder), "--dry-run")
    assert (0, "") == (code, err)
    assert [
        "files 4",
        "rows 10",
        f"bytes {sum(len(data) for name, data in before.items() if data[:4] == b'PAR1'):,}",
        "partitions 3 by event_date; of these the null partition: 1 files, 4 rows",
        "columns id string, ts timestamp[us, tz=UTC], n int64, event_date date32[day]",
        "against it nothing",
    ] == [" ".join(line.split()) for line in out.splitlines()]
    assert before == contents(folder)


def test_an_adopted_folder_is_a_delta_table_of_the_same_files(folder, capsys):
    before = contents(folder)
    code, out, _ = told(capsys, str(folder))
    assert (0, f"{folder} is a Delta table now, version 0; no file was changed") == (code, out.splitlines()[-1])
    after = contents(folder)
    assert before == {name: data for name, data in after.items() if not name.startswith("_delta_log")}
    assert [
        (None, 4, 0, AT),
        (dt.date(2026, 11, 20), 3, 0, AT),
        (dt.date(2026, 11, 21), 3, 3, AT),
    ] == rows_of(folder, "select event_date, count(*), count(n), min(ts) from t group by 1 order by 1 nulls first")


def test_statistics_are_true_to_the_microsecond_and_rows_are_counted(folder, capsys):
    told(capsys, str(folder))
    handle = DeltaTable(str(folder))
    assert [(None, 4), ("2026-11-20", 1), ("2026-11-20", 2), ("2026-11-21", 3)] == sorted(
        ((file.partition, file.rows) for file in live_files(handle, str(folder))),
        key=lambda pair: (pair[0] or "", pair[1]),
    )
    log = (folder / "_delta_log" / f"{0:020}.json").read_text().splitlines()
    added = {json.loads(line)["add"]["path"]: json.loads(line)["add"] for line in log if '"add"' in line}
    found = json.loads(added["event_date=2026-11-21/part%200.parquet"]["stats"])
    assert {"id": "e2", "n": 3, "ts": "2026-11-20T20:30:00.123458Z"} == found["maxValues"]
    assert {"id": 0, "n": 0, "ts": 0} == found["nullCount"]
    assert {"id": "e3"} == json.loads(added[f"{NULL}/part-0.parquet"]["stats"])["maxValues"]  # int96 has none


def test_others_can_read_and_append_to_it(folder, capsys):
    told(capsys, str(folder))
    write_deltalake(str(folder), table(1, n=[9], event_date=pa.array([dt.date(2026, 11, 22)])), mode="append")
    assert 11 == DeltaTable(str(folder)).count()
    [row] = rows_of(folder, "select count(*), count(distinct event_date) from t")
    assert (11, 3) == row


def test_a_second_adoption_says_that_it_is_one_already(folder, capsys):
    told(capsys, str(folder))
    before = contents(folder)
    code, out, err = told(capsys, str(folder))
    assert (2, "", 1) == (code, out, err.count("\n"))
    assert "is a Delta table already" in err
    assert before == contents(folder)


def test_a_folder_without_partitions_is_one_table(tmp_path, capsys):
    put(tmp_path, "a.parquet", table(2))
    put(tmp_path, "b.parquet", table(1))
    code, out, _ = told(capsys, str(tmp_path), "--json")
    found = json.loads(out)
    assert (0, True, [], 1, 3) == (
        code,
        *(found[key] for key in ("adopted", "partition_by", "partitions", "rows")),
    )
    assert [(3,)] == rows_of(tmp_path, "select count(*) from t")


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["2026-11-20", "__HIVE_DEFAULT_PARTITION__"], "date32[day]"),
        (["__HIVE_DEFAULT_PARTITION__"], "date32[day]"),
        (["20261120"], "int64"),
        (["2026-11-20", "unknown"], "string"),
        (["01", "02"], "string"),
        (["a%3Ab", "a b"], "string"),
    ],
)
def test_the_partition_columns_type_follows_from_all_its_values(tmp_path, capsys, values, kind):
    for value in values:
        put(tmp_path, f"day={value}/part.parquet", table(2))
    code, out, _ = told(capsys, str(tmp_path), "--json")
    assert (0, kind) == (code, json.loads(out)["columns"]["day"])
    assert [(2 * len(values),)] == rows_of(tmp_path, "select count(*) from t")


def test_several_partition_columns_keep_their_order(tmp_path, capsys):
    put(tmp_path, "country=DE/day=2026-11-20/part.parquet", table(2))
    put(tmp_path, "country=FR/day=2026-11-21/part.parquet", table(2))
    assert 0 == told(capsys, str(tmp_path))[0]
    assert ["country", "day"] == DeltaTable(str(tmp_path)).metadata().partition_columns
    assert [("DE", dt.date(2026, 11, 20))] == rows_of(tmp_path, "select country, day from t order by 1, 2 limit 1")


GOOD = "event_date=2026-11-20/good.parquet"
OTHER = "event_date=2026-11-21/other.parquet"


@pytest.mark.parametrize(
    ("path", "rows", "why"),
    [
        (OTHER, table(2, n=["x", "y"]), f"column n is int64 in {GOOD} and string in {OTHER}; write one of them anew"),
        (OTHER, table(2, N=[1, 2]), f"column n is called n in {GOOD} and N in {OTHER}; write one of them anew"),
        (
            OTHER,
            table(2, event_date=["2026-11-21"] * 2),
            "column event_date is in the files and in their folders' names",
        ),
        (OTHER, table(2, s=pa.array([1, 2], pa.time64("us"))), f"{OTHER}: column s is time64[us], which Delta tables"),
        (
            OTHER,
            table(2, s=pa.array([1, 2], pa.uint64())),
            f"{OTHER}: column s is uint64, which Delta tables don't have",
        ),
        (OTHER, table(2, s=pa.array([AT] * 2, pa.timestamp("ns"))), f"{OTHER}: column s is timestamp[ns], which"),
        (OTHER, b"PAR1 and no more PAR1", f"{OTHER} is no sound Parquet file ("),
        (OTHER, b"", f"{OTHER} is no sound Parquet file ("),
        ("event_date=2026-11-21/notes.csv", b"a,b", "event_date=2026-11-21/notes.csv is no Parquet file; move it away"),
        ("late.parquet", table(1), f"in different ways: {GOOD} by event_date, late.parquet by nothing"),
        ("2026/11/late.parquet", table(1), "2026/11/late.parquet: the folder 2026 is not named column=value"),
        ("_temporary/0/part.parquet", table(1), "_temporary holds files: a job is still writing, or died"),
        (".hoodie/hoodie.properties", b"", "it is a Hudi table (.hoodie)"),
    ],
)
def test_what_stands_against_it_is_said_and_nothing_is_changed(tmp_path, capsys, path, rows, why):
    put(tmp_path, GOOD, table(2, n=[1, 2]))
    put(tmp_path, path, rows)
    before = contents(tmp_path)
    code, out, err = told(capsys, str(tmp_path))
    assert (2, "", 1) == (code, out, err.count("\n"))
    assert err.startswith(f"playlake adopt: {tmp_path} can't be adopted, nothing was changed: ")
    assert why in err
    code, out, _ = told(capsys, str(tmp_path), "--dry-run", "--json")
    [objection] = json.loads(out)["objections"]
    assert (1, True) == (code, why in objection)
    assert before == contents(tmp_path)


def test_columns_of_every_kind_that_delta_has_are_taken(tmp_path, capsys):
    columns = {
        "code": pa.array(["a", "b"]).dictionary_encode(),
        "tags": [["x"], []],
        "where": [{"x": 1, "y": [1.5]}, None],
        "price": pa.array([1, 2], pa.decimal128(10, 2)),
        "more": pa.array([[("k", 1)], []], pa.map_(pa.string(), pa.int64())),
        "local": pa.array([AT.replace(tzinfo=None)] * 2, pa.timestamp("ms")),
        "is_new": [True, None],
        "ratio": pa.array([float("nan"), 1.0], pa.float32()),
        "blob": pa.array([b"x", b"y"], pa.large_binary()),
        "day": pa.array([AT.date()] * 2),
        "text": pa.array(["x" * 500, "y"], pa.large_string()),
    }
    put(tmp_path, "a.parquet", table(2, **columns))
    assert 0 == told(capsys, str(tmp_path))[0]
    assert [(2, 1, 2)] == rows_of(tmp_path, 'select count(*), count("where"), count(local) from t')
    assert 2 == DeltaTable(str(tmp_path)).to_pyarrow_dataset().count_rows()


@pytest.mark.parametrize(
    ("place", "why"),
    [
        ("nowhere", "there is no folder at"),
        ("empty", "holds no Parquet file"),
        ("marked", "holds no Parquet file"),
        ("lake", "holds a Delta table already, silver"),
        ("lake/silver/event_date=2026-11-20", "is part of the Delta table"),
        ("lone.parquet", "is a file"),
    ],
)
def test_a_wrong_place_is_one_line_and_exit_code_2(tmp_path, capsys, place, why):
    (tmp_path / "empty").mkdir()
    put(tmp_path, "marked/_SUCCESS", b"")
    put(tmp_path, "lone.parquet", table(1))
    write_deltalake(
        str(tmp_path / "lake/silver"),
        table(1, event_date=pa.array([dt.date(2026, 11, 20)])),
        partition_by=["event_date"],
    )
    before = contents(tmp_path)
    for more in ([], ["--dry-run"]):
        code, out, err = told(capsys, str(tmp_path / place), *more)
        assert (2, "", 1) == (code, out, err.count("\n"))
        assert why in err
    assert before == contents(tmp_path)


def test_of_two_that_adopt_at_once_one_is_told(folder):
    place = Lake.at(str(folder))
    first, second = survey(place), survey(place)
    adopt(place, first)
    with pytest.raises(ConfigError, match="became a Delta table meanwhile"):
        adopt(place, second)
    assert 0 == DeltaTable(str(folder)).version()
