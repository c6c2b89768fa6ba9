"""What was taken, in memory: as the ledger has it, whichever way the settled name moves."""

from __future__ import annotations

from pathlib import Path

import pytest

from sink.lake import Lake
from sink.ledger import Ledger
from sink.positions import Source
from stream_app.remembered import Remembered


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    ledger = Ledger(Lake.at(str(tmp_path / "lake")), Source("in", "files:one", 0))
    ledger.claim(1, None, -1)
    for name in "abcde":
        begin(ledger, name)
    ledger.write()
    return ledger


def begin(ledger: Ledger, name: str) -> None:
    ledger.begin(name, 1, name, 0, "json", 0)


def behind(remembered: Remembered, settled: str) -> str:
    return "".join(taken.path for taken in remembered.behind(settled))


def test_a_settled_name_that_goes_back_brings_back_what_lies_between(ledger: Ledger) -> None:
    remembered = Remembered(ledger)
    assert ["cde", "e", "bcde", "abcde", ""] == [behind(remembered, name) for name in ("b", "d", "a", "", "e")]


def test_a_file_of_this_round_is_known_before_the_ledger_has_it(ledger: Ledger) -> None:
    remembered = Remembered(ledger)
    assert "de" == behind(remembered, "c")
    remembered.add(ledger.begin("f", 1, "f", 0, "json", 0))
    remembered.add(ledger.begin("A", 1, "A", 0, "json", 0))
    for settled in (None, "", "c", "f"):
        assert {"A", "f", "a", "e"} == set(remembered.named(["A", "f", "a", "e", "x"], settled))
    ledger.write()
    remembered.written()
    assert "def" == behind(remembered, "c")
    assert {"A", "f"} == set(remembered.named(["A", "f", "x"], "c"))
