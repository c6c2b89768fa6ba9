"""The ledger of files: written once, whatever answers get lost, and kept in few files of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from playlake.verbs.ingest import _tidier
from schemas.errors import StoreUnavailable
from schemas.tables import FILES
from sink.lake import Lake, data_files
from sink.ledger import Ledger, ledger_of
from sink.positions import Source

SOURCE = Source("in", "files:one", 0)
OTHER = Source("in", "files:other", 0)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake.at(str(tmp_path / "lake"))


def claimed(lake: Lake, source: Source = SOURCE, epoch: int = 1) -> Ledger:
    ledger = Ledger(lake, source)
    ledger.claim(epoch, None, 10_000)
    return ledger


def begin(ledger: Ledger, name: str, first_offset: int = 0) -> None:
    ledger.begin(name, 1, f"etag of {name}", 5_000_000, "json", first_offset)


def names(ledger: Ledger) -> list[str]:
    return [taken.path for taken in ledger.since(0)]


def test_a_commit_whose_answer_got_lost_is_not_made_twice(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = claimed(lake)
    begin(ledger, "a")
    commit = DeltaTable.create_write_transaction

    def lose_the_answer(*arguments: object, **more: object) -> None:
        commit(*arguments, **more)  # type: ignore[arg-type]
        raise DeltaError("no answer")

    with monkeypatch.context() as patched:
        patched.setattr(DeltaTable, "create_write_transaction", lose_the_answer)
        with pytest.raises(StoreUnavailable):
            ledger.write()
    begin(ledger, "b")
    ledger.write()
    ledger.write()
    assert ["a", "b"] == names(ledger)


def test_two_places_do_not_see_each_other_s_files(lake: Lake) -> None:
    one, other = claimed(lake), claimed(lake, OTHER, epoch=7)
    begin(one, "a")
    begin(other, "b")
    one.write()
    other.write()
    begin(one, "c")
    one.write()
    assert (["a", "c"], ["b"]) == (names(one), names(other))


def test_names_are_in_the_order_of_their_bytes(lake: Lake) -> None:
    ledger = claimed(lake)
    in_order = ["B", "a", "a/b", "a0", "é", "日", "\U0001f600"]
    for name in reversed(in_order):
        begin(ledger, name)
    ledger.write()
    assert in_order == [taken.path for taken in ledger.after(None)]
    assert in_order[3:] == [taken.path for taken in ledger.after("a/b")]


def test_its_own_files_are_merged_before_they_are_many(lake: Lake) -> None:
    ledger = claimed(lake)
    tidy = _tidier(lake)
    for number in range(64):
        begin(ledger, f"{number:03}", number)
        ledger.write()
        tidy()
        if number < 63:
            assert number + 1 == len(data_files(ledger_of(lake).table(FILES.name)))
    assert 1 == len(data_files(ledger_of(lake).table(FILES.name)))
    assert [f"{number:03}" for number in range(64)] == names(ledger)
    begin(ledger, "later", 64)
    ledger.write()
    assert 65 == len(names(ledger))
