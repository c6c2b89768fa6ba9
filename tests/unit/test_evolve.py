"""A column of silver for each unknown field, where the lake says so: which, when, and what every job makes of them."""

import re
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable
from deltalake.transaction import AddAction
from hypothesis import given, settings
from hypothesis import strategies as st

import compaction
import query
import sink.writer
from bench.lakes import fill
from compaction.compact import compact
from compaction.dedupe import dedupe
from compaction.gold import refresh
from compaction.repair import repair
from playlake.cli import main
from playlake.rebuild import rebuild
from query import connect
from schemas.errors import StoreUnavailable
from schemas.tables import RESCUED, SILVER
from sink.columns import add_columns
from sink.evolve import MOST_COLUMNS, evolve
from sink.lake import Lake
from sink.policies import agree_on_unknown_fields
from sink.writer import LakeWriter
from tests.processing import processor
from tests.records import NOW, event_bytes, records, source

VALUES = [
    event_bytes(0),
    event_bytes(1, drm="widevine", client={"os": "tvOS 26"}),
    event_bytes(2, drm=None, title="mine", Country="DE", _row="1", **{"a b": 1}),
    event_bytes(3, event_ts=None, client_ts="2026-11-21T11:59:00Z", drm="fairplay"),
]
KEPT = [
    (0, None, None, None),
    (1, "widevine", '{"os":"tvOS 26"}', None),
    (2, None, None, {"Country": "DE", "_row": "1", "a b": "1", "title": "mine"}),
    (3, "fairplay", None, None),
]


@pytest.fixture
def lake(tmp_path) -> Lake:
    lake = Lake.at(str(tmp_path / "lake"))
    LakeWriter(lake)
    agree_on_unknown_fields(lake, "evolve")
    return lake


def writer_of(lake: Lake, partition: int = 0) -> LakeWriter:
    writer = LakeWriter(lake)
    writer.claim({source(partition): 0})
    return writer


def flush(writer: LakeWriter, values: list[bytes | None], first: int = 0, partition: int = 0) -> None:
    batch = records(values, first, partition)
    out = processor(None, "evolve")(batch)
    writer.add(batch, out.silver, out.quarantine)
    writer.flush()


def seen(lake: Lake, columns: str = "kafka_offset, drm, client, rescued") -> list[tuple]:
    with connect(lake.uri) as con:
        return con.execute(f"select {columns} from silver order by all").fetchall()  # noqa: S608  # our own names


def added(lake: Lake) -> list[str]:
    return [field.name for field in lake.table("silver").schema().fields if field.name not in SILVER.names]


def test_each_field_that_can_be_a_column_is_one_and_the_others_stay_in_the_map(lake):
    flush(writer_of(lake), VALUES)
    assert ["client", "client_ts", "drm"] == added(lake)
    assert KEPT == seen(lake)
    assert [("2026-11-21T11:59:00Z",)] == seen(lake, "client_ts")[:1]


def test_a_lake_that_does_not_evolve_gains_no_column(lake):
    agree_on_unknown_fields(lake, "rescue", change=True)
    flush(writer_of(lake), VALUES)
    assert [] == added(lake)
    assert (1, {"drm": "widevine", "client": '{"os":"tvOS 26"}'}) == seen(lake, "kafka_offset, rescued")[1]


def test_two_workers_that_meet_the_same_field_at_once_share_its_column(lake):
    one, other = writer_of(lake, 0), writer_of(lake, 1)
    flush(one, [event_bytes(0, drm="a")], partition=0)
    flush(other, [event_bytes(1, drm="b", DRM="c")], partition=1)
    flush(one, [event_bytes(2, DRM="d", other="e")], first=1, partition=0)
    assert ["drm", "other"] == added(lake)
    assert [(0, 0, "a", None), (0, 1, None, {"DRM": "d"}), (1, 0, "b", {"DRM": "c"})] == seen(
        lake, "kafka_partition, kafka_offset, drm, rescued"
    )


def test_a_worker_that_dies_after_it_added_a_column_leaves_nothing_to_mend(lake, monkeypatch):
    write = sink.writer.write_files

    def write_but_silver(lake: Lake, name: str, rows: pa.Table) -> list[AddAction]:
        if name == "silver":
            raise StoreUnavailable("gone")
        return write(lake, name, rows)

    dying = writer_of(lake)
    with monkeypatch.context() as patch:
        patch.setattr(sink.writer, "write_files", write_but_silver)
        with pytest.raises(StoreUnavailable):
            flush(dying, VALUES)
    assert ["client", "client_ts", "drm"] == added(lake)
    assert [] == seen(lake)
    dying.flush()
    assert KEPT == seen(lake)


def test_names_of_clients_make_no_more_columns_than_a_table_can_bear(lake):
    writer = writer_of(lake)
    flush(writer, [event_bytes(0, **{f"f{number:03}": str(number) for number in range(MOST_COLUMNS + 5)})])
    assert [f"f{number:03}" for number in range(MOST_COLUMNS)] == added(lake)
    assert [({f"f{number}": str(number) for number in range(MOST_COLUMNS, MOST_COLUMNS + 5)},)] == seen(lake, "rescued")
    flush(writer, [event_bytes(1, f000="again", late="x")], first=1)
    assert MOST_COLUMNS == len(added(lake))
    assert ("again", {"late": "x"}) in seen(lake, "f000, rescued")


def test_repair_dedupe_compaction_and_a_rebuild_keep_the_columns(lake):
    writer = writer_of(lake)
    flush(writer, VALUES)
    flush(writer, [event_bytes(1, drm="a repeat"), event_bytes(9, drm="new", later="l")], first=4)
    assert 1 == sum(repair(lake).rows.values())
    assert 1 == dedupe(lake).rows
    compact(lake, "silver")
    expected = [*KEPT, (5, "new", None, None)]
    assert expected == seen(lake)
    done = rebuild(lake, processor(None, "evolve"), NOW.date())
    assert {"event_date_source": 1, "event_date": 1, "event_timestamp": 1, "repair_id": 1} == done.changed
    assert 1 == done.repeats
    assert [*KEPT, (4, "a repeat", None, None), (5, "new", None, None)] == seen(lake)
    agree_on_unknown_fields(lake, "discard", change=True)
    done = rebuild(lake, processor(None, "discard"), NOW.date(), dry_run=True)
    assert {"drm": 4, "client": 1, "client_ts": 1, "later": 1, "rescued": 1} == done.changed


def test_a_dry_run_adds_no_column_and_the_run_after_it_does(lake):
    agree_on_unknown_fields(lake, "discard", change=True)
    flush(writer_of(lake), VALUES)
    agree_on_unknown_fields(lake, "evolve", change=True)
    version = lake.table("silver").version()
    rebuild(lake, processor(None, "evolve"), NOW.date(), dry_run=True)
    assert version == lake.table("silver").version()
    rebuild(lake, processor(None, "evolve"), NOW.date())
    assert KEPT == seen(lake)


def test_a_replay_fills_the_columns(lake, capsys):
    agree_on_unknown_fields(lake, "quarantine", change=True)
    batch = records(VALUES)
    out = processor(None, "quarantine")(batch)
    writer = writer_of(lake)
    writer.add(batch, out.silver, out.quarantine)
    writer.flush()
    agree_on_unknown_fields(lake, "evolve", change=True)
    assert 0 == main(["quarantine", "replay", "--lake", lake.uri, "--where", "'unknown_fields' in reasons"])
    assert "3 records judged again: 3 went to silver" in capsys.readouterr().out
    assert KEPT == seen(lake)


def names_in_our_sql() -> set[str]:
    """Everything in our SQL that could be a column's name."""
    files = [path for module in (compaction, query) for path in Path(module.__path__[0]).rglob("*.sql")]
    texts = [re.sub(r"--.*|'[^']*'", "", path.read_text()) for path in files]
    return {name for text in texts for name in re.findall(r"\b[a-z][a-z0-9_]*\b", text)} - {*SILVER.names}


def test_columns_named_like_anything_in_our_sql_disturb_no_job(tmp_path):
    lake = Lake.at(str(tmp_path / "lake"))
    fill(lake, 2_000, days=1, flush_rows=1_000)
    names = names_in_our_sql()
    assert len(names) > 200
    add_columns(lake.table("silver"), [pa.field(name, pa.string()) for name in sorted(names)])
    assert sum(repair(lake).rows.values())
    assert dedupe(lake).rows
    compact(lake, "silver")
    assert {"full"} == {each.how for each in refresh(lake)}
    assert 0 == main(["status", "--lake", lake.uri])


maps = st.none() | st.dictionaries(st.sampled_from("abcdefg"), st.none() | st.text(max_size=3), min_size=1, max_size=4)


@pytest.fixture(scope="module")
def some_columns(tmp_path_factory) -> DeltaTable:
    """Silver with columns for a, b and c."""
    lake = Lake.at(str(tmp_path_factory.mktemp("evolve") / "lake"))
    LakeWriter(lake)
    agree_on_unknown_fields(lake, "evolve")
    flush(writer_of(lake), [event_bytes(0, a="", b="", c="")])
    return lake.table("silver")


@settings(deadline=None)
@given(st.lists(st.lists(maps, max_size=4), min_size=1, max_size=3), st.integers(0, 3))
def test_every_value_is_in_its_column_or_in_the_map(some_columns, chunks, start):
    told = [each for chunk in chunks for each in chunk][start:]
    arrays = [pa.array([each and list(each.items()) for each in chunk], RESCUED.type) for chunk in chunks]
    rows = pa.table({"rescued": pa.chunked_array(arrays, RESCUED.type)}).slice(start)
    found = evolve(some_columns, rows, may_add=False).to_pylist()
    for was, row in zip(told, found, strict=True):
        rest = dict(row["rescued"] or [])
        assert {name: text for name, text in (was or {}).items() if name not in "abc"} == rest
        assert row["rescued"] is None or rest
        for name in "abc":
            assert (was or {}).get(name) == row.get(name)
