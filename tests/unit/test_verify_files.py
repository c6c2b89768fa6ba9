"""`verify` on records of files: what lake, ledger and the files themselves tell against the promise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from audit.verify import verify
from compaction.forget import forget
from compaction.person import Person
from landing.place import Folder, id_of, topic_of
from schemas.errors import ConfigError, FenceLost
from sink.lake import Lake
from sink.ledger import Ledger
from sink.positions import Source
from sink.writer import LakeWriter
from tests.lake_contents import positions_of
from tests.records import processed, records

LINES = {"a.json": [b"a1", b"a2", b"a3"], "b.json": [], "c.json": [b"c1", b"c2"]}
KEYS = [b"a.json:1", b"a.json:2", b"a.json:3", b"c.json:1", b"c.json:2"]
VALUES = [value for lines in LINES.values() for value in lines]

Fill = Callable[..., None]


@pytest.fixture
def place(tmp_path: Path) -> Folder:
    for name, lines in LINES.items():
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_bytes(b"\n".join(lines))
    return Folder(tmp_path / "in")


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake.at(str(tmp_path / "lake"))


@pytest.fixture
def source(place: Folder) -> Source:
    return Source(topic_of(place), id_of(place), 0)


@pytest.fixture
def fill(lake: Lake, place: Folder, source: Source) -> Fill:
    """Fill the lake as an ingest of the place would, but for the keys and values given."""

    def make(keys: list[bytes] = KEYS, values: list[bytes] = VALUES) -> None:
        writer, ledger = LakeWriter(lake), Ledger(lake, source)
        writer.claim({source: 0})
        ledger.claim(writer.epoch_of(source), None, -1)
        first = 0
        for file in place.files():
            ledger.begin(file.path, file.size, file.etag, file.modified_us, "json", first)
            first += len(LINES[file.path])
        ledger.write()
        batch = records(list(values), topic_id=source.topic_id)
        batch = batch.set_column(0, batch.schema.field(0), pa.array([source.topic] * len(values)))
        batch = batch.set_column(5, batch.schema.field(5), pa.array(keys, pa.binary()))
        writer.add(*processed(batch))
        writer.flush()

    return make


def found(lake: Lake, place: Folder | None = None) -> list[tuple[str, int, tuple[str, ...]]]:
    return [(fault.kind, fault.count, fault.first) for fault in verify(lake, place=place).faults]


def test_all_is_well(lake: Lake, place: Folder, source: Source, fill: Fill) -> None:
    fill()
    verdict = verify(lake, place=place)
    assert () == verdict.faults
    assert verdict.files is not None
    assert (2, 0) == (verdict.files.compared, verdict.files.gone_count)


def test_a_line_taken_twice(lake: Lake, source: Source, fill: Fill) -> None:
    fill([b"a.json:1", b"a.json:1", *KEYS[2:]])
    assert [("line_repeated", 2, (f"{source}@0", f"{source}@1"))] == found(lake)


def test_a_record_under_another_file_than_the_ledger_has_there(lake: Lake, source: Source, fill: Fill) -> None:
    fill([*KEYS[:3], b"b.json:1", KEYS[4]])
    assert [("in_another_file", 1, (f"{source}@3",))] == found(lake)


def test_a_record_that_a_file_has_and_bronze_has_otherwise(
    lake: Lake, place: Folder, source: Source, fill: Fill
) -> None:
    fill(values=[*VALUES[:4], b"other"])
    assert [] == found(lake)
    assert [("not_as_in_file", 1, (f"{source}@c.json:2",))] == found(lake, place)


def test_a_forgotten_record_that_its_file_still_has_is_no_fault(lake: Lake, place: Folder, fill: Fill) -> None:
    fill()
    assert 1 == forget(lake, Person(["c1"]), mentions=True).rows["bronze"]
    assert [] == found(lake, place)


def test_a_record_that_is_missing_at_the_end(lake: Lake, place: Folder, source: Source, fill: Fill) -> None:
    (Path(place.uri) / "a.json").write_bytes(b"\n".join([*LINES["a.json"], b"a4"]))
    fill()
    assert "not_as_in_file" in [kind for kind, *_ in found(lake, place)]


def test_a_file_that_is_gone_is_no_fault(lake: Lake, place: Folder, source: Source, fill: Fill) -> None:
    fill(values=[b"other", *VALUES[1:]])
    (Path(place.uri) / "a.json").unlink()
    verdict = verify(lake, place=place)
    assert () == verdict.faults
    assert verdict.files is not None
    assert (1, ["a.json"]) == (verdict.files.compared, verdict.files.gone)


def test_a_place_that_was_never_taken_in(lake: Lake, place: Folder, fill: Fill) -> None:
    fill()
    with pytest.raises(ConfigError, match="took in nothing from"):
        verify(lake, place=Folder(Path(place.uri).parent))


def test_the_ledger_refuses_an_earlier_claimant_and_forgets_what_bronze_has_not(
    lake: Lake, place: Folder, source: Source, fill: Fill
) -> None:
    fill()
    [a, _, c] = list(place.files())
    early, late = Ledger(lake, source), Ledger(lake, source)
    early.claim(2, 4, -1)
    early.begin("d.json", 1, "d", 0, "json", 5)
    early.write()
    early.begin("e.json", 1, "e", 0, "json", 6)
    late.claim(3, 4, -1)
    assert ["a.json", "b.json", "c.json"] == [taken.path for taken in late.since(0)]
    with pytest.raises(FenceLost):
        early.write()
    with pytest.raises(FenceLost):
        early.claim(2, 4, -1)
    late.begin("f.json", 1, "f", 0, "json", 5)
    late.write()
    late.write()
    assert [("c.json", c.size, 2), ("f.json", 1, 4)] == [(t.path, t.size, t.number) for t in late.after("b.json")]
    assert (a.path, None) == (late.name_of(0), late.name_of(3))
    assert {"f.json"} == set(late.named(["f.json", "d.json"]))


def test_what_a_file_has_of_a_forgotten_person_is_no_loss(
    lake: Lake, place: Folder, source: Source, fill: Fill
) -> None:
    fill()
    forget(lake, Person(["u1"]))
    assert [] == positions_of(lake, "bronze"), "all of them are u1's"
    assert [] == found(lake, place)
