"""Which files of a place are new: each once, also late ones, at a cost that does not grow with what was taken."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from landing.place import File, Place, is_wanted
from sink.ledger import Taken
from stream_app.arrivals import LATE_S, SWEEP_S, Arrivals, Round, in_time_order

DAY_S = 86_400.0
PAGE = 1000
HOUR_US = 3_600_000_000


class Shelf:
    """A place in memory that counts the pages of names that it was asked for, as S3 bills them."""

    uri = "s3://bucket"

    def __init__(self) -> None:
        self.kept: dict[str, File] = {}
        self.pages = 0

    def put(self, path: str, at_s: float, size: int = 1) -> File:
        self.kept[path] = File(path, size, f"{path}@{at_s}", round(at_s * 1e6))
        return self.kept[path]

    def files(self, after: str = "") -> Iterator[File]:
        names = sorted((path for path in self.kept if path > after), key=str.encode)
        for number, name in enumerate(names):
            self.pages += number % PAGE == 0
            yield self.kept[name]
        self.pages += not names


class Reader:
    """Takes what arrives, as the worker does: rounds at given times, a ledger of what was taken."""

    def __init__(self, shelf: Shelf, settle_s: float = 0.0) -> None:
        self.shelf, self.now_s = shelf, 0.0
        place: Place = shelf  # type: ignore[assignment]  # of which only the listing is asked
        self.arrivals = Arrivals(place, settle_s=settle_s, clock=lambda: self.now_s)
        self.taken: dict[str, Taken] = {}
        self.settled: str | None = None
        self.swept_s: int | None = None

    def round(self, at_s: float) -> Round:
        self.now_s = at_s
        found = self.arrivals.new_round(self.settled, self.swept_s)
        behind = "" if found.is_sweep else self.settled or ""
        known = sorted((t for t in self.taken.values() if t.path > behind), key=lambda taken: taken.path.encode())
        for file in self.arrivals.files(found, known):
            assert file.path not in self.taken
            number = len(self.taken)
            self.taken[file.path] = Taken(file.path, file.size, file.etag, file.modified_us, "json", number, number)
        self.settled = found.settled
        if found.is_sweep and found.settled is not None:
            self.swept_s = int(at_s)
        return found


def firehose_key(at_s: float) -> str:
    day, rest = divmod(int(at_s), int(DAY_S))
    return f"2026/{1 + day // 28:02}/{1 + day % 28:02}/{rest // 3600:02}/stream-1-{int(at_s):09}"


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


def test_a_round_costs_the_same_after_ten_times_the_files(shelf: Shelf) -> None:
    reader = Reader(shelf)
    pages: list[int] = []
    for hour in range(24 * 40):
        for part in range(6):
            shelf.put(firehose_key(hour * 3600 + part * 600), hour * 3600 + part * 600)
        before = shelf.pages
        found = reader.round((hour + 1) * 3600.0)
        assert 6 == found.new
        if not found.is_sweep:
            pages.append(shelf.pages - before)
    early, late = pages[24 * 4 : 24 * 8], pages[-24 * 4 :]
    assert max(late) == max(early) == 1
    assert len(shelf.kept) == len(reader.taken) == 24 * 40 * 6


def test_a_file_that_comes_late_under_an_earlier_name_is_found_in_the_next_round(shelf: Shelf) -> None:
    reader = Reader(shelf)
    for hour in range(24 * 4 + 6):
        shelf.put(firehose_key(hour * 3600), hour * 3600)
        reader.round(hour * 3600 + 60.0)
    at_s = reader.now_s + 60
    late = shelf.put(firehose_key(at_s - LATE_S + 7200), at_s)
    found = reader.round(at_s + 60)
    assert (False, 1, 0) == (found.is_sweep, found.new, found.late)
    assert late.path in reader.taken


def test_a_file_that_comes_later_than_that_is_found_by_the_sweep_and_said_to_be_late(shelf: Shelf) -> None:
    reader = Reader(shelf)
    for hour in range(24 * 5):
        shelf.put(firehose_key(hour * 3600), hour * 3600)
        reader.round(hour * 3600 + 60.0)
    swept_s = reader.swept_s or 0
    late = shelf.put(firehose_key(1800), reader.now_s)
    assert 0 == reader.round(reader.now_s + 60).new
    found = reader.round(swept_s + SWEEP_S)
    assert (True, 1, 1) == (found.is_sweep, found.new, found.late)
    assert late.path in reader.taken


def test_names_in_no_order_of_time_are_all_listed_in_each_round(shelf: Shelf) -> None:
    reader = Reader(shelf)
    for number in range(24 * 8):
        name = f"{number * 7919 % 10_007:05}.json"
        shelf.put(name, number * 3600)
        assert 1 == reader.round(number * 3600 + 60.0).new, "each is found in the round after it came"


def test_a_changed_file_is_told_and_not_taken_again(shelf: Shelf) -> None:
    reader = Reader(shelf)
    shelf.put("a.json", 0.0)
    reader.round(60.0)
    changed = shelf.put("a.json", 120.0, size=2)
    found = reader.round(180.0)
    assert (0, [changed]) == (found.new, found.changed)


def test_a_young_file_waits_and_is_not_passed_over(shelf: Shelf) -> None:
    reader = Reader(shelf, settle_s=10.0)
    shelf.put("a.json", 100.0)
    assert (0, 1) == (lambda found: (found.new, found.waiting))(reader.round(105.0))
    assert (1, 0) == (lambda found: (found.new, found.waiting))(reader.round(111.0))


def test_a_listing_that_breaks_off_settles_nothing(shelf: Shelf) -> None:
    reader = Reader(shelf)
    shelf.put("a.json", 0.0)
    shelf.put("b.json", 0.0)
    reader.now_s = 10 * DAY_S
    found = reader.arrivals.new_round(None, None)
    next(reader.arrivals.files(found, []))
    assert (False, None) == (found.is_complete, found.settled)


@pytest.mark.parametrize(
    ("hours", "is_ordered"),
    [
        ([], True),
        ([5], True),
        ([0, 1, 2, 3], True),
        ([0, 0.9, 0, 0.9], True),
        ([30, *range(400)], True),
        ([*range(9, -1, -1)], False),
    ],
    ids=["none", "one", "ascending", "within an hour", "one straggler", "descending"],
)
def test_whether_names_ascend_with_time(hours: list[float], is_ordered: bool) -> None:
    assert is_ordered == in_time_order([round(hour * HOUR_US) for hour in hours])


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("a.json", True),
        ("2026/11/21/22/stream-1.gz", True),
        ("year=2026/part.csv", True),
        (".a.json", False),
        ("_temporary/0/a.json", False),
        ("a.json.tmp", False),
        ("a.json.part", False),
        ("folder/", False),
    ],
)
def test_which_names_are_data(path: str, wanted: bool) -> None:
    assert wanted == is_wanted(path)
