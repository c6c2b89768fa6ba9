"""Files as batches: unpacked by what they begin with, read on where the place was away, and never handed over twice."""

from __future__ import annotations

import gzip
import io
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pytest

from landing.place import File, FileGone, Folder, open_place, topic_of
from landing.read import format_of, read
from schemas.errors import BrokerUnavailable, ConfigError, OffsetsGone
from sink.lake import Lake
from sink.ledger import Ledger, Taken
from sink.positions import Source
from stream_app.intake import FileReader, Intake
from tests.ingesting import zstd

LINES = [b'{"line": %d}' % number for number in range(60_000)]  # several batches
PACKS = pytest.mark.parametrize("pack", [bytes, gzip.compress, zstd], ids=["plain", "gzip", "zstd"])
SOURCE = Source("in", "files:test", 0)


class Shaky(Folder):
    """A folder whose files break off after some bytes, so many times."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.breaks_left = 0
        self.opened = 0

    def open(self, file: File) -> BinaryIO:
        self.opened += 1
        whole = super().open(file)
        if not self.breaks_left:
            return whole
        self.breaks_left -= 1
        return io.BufferedReader(_BreaksOff(whole.read(file.size * 2 // 3)))


class _BreaksOff(io.RawIOBase):
    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, target: bytearray) -> int:  # type: ignore[override]
        count = self._data.readinto(target)
        if not count:
            raise BrokerUnavailable("the place went away")
        return count


class Handed:
    """What was handed over, and a reader that does it."""

    def __init__(self, place: Folder, lake: Path) -> None:
        self.batches: list[pa.Table] = []
        self.ledger = Ledger(Lake.at(str(lake)), SOURCE)
        self.ledger.claim(1, None, -1)
        self.reader = FileReader(
            place,
            SOURCE,
            self.ledger,
            file_format=None,
            stopping=threading.Event(),
            hand_over=self.batches.append,
            counts=Intake(),
        )

    @property
    def values(self) -> list[bytes]:
        return [value for batch in self.batches for value in batch["value"].to_pylist()]

    @property
    def offsets(self) -> list[int]:
        return [offset for batch in self.batches for offset in batch["kafka_offset"].to_pylist()]


@pytest.fixture
def place(tmp_path: Path) -> Shaky:
    (tmp_path / "in").mkdir()
    return Shaky(tmp_path / "in")


@pytest.fixture
def handed(place: Shaky, tmp_path: Path) -> Handed:
    return Handed(place, tmp_path / "lake")


@pytest.fixture
def put(place: Shaky) -> Callable[[str, bytes], File]:
    def make(name: str, data: bytes) -> File:
        (Path(place.uri) / name).write_bytes(data)
        found = place.file(name)
        assert found is not None
        return found

    return make


Put = Callable[[str, bytes], File]


def values_of(place: Folder, file: File) -> Iterator[bytes]:
    for batch in read(place, file, format_of(file.path)):
        yield from batch.values.to_pylist()


@PACKS
def test_a_file_that_breaks_off_is_read_again_and_handed_over_once(
    handed: Handed, place: Shaky, put: Put, pack: Callable[[bytes], bytes]
) -> None:
    place.breaks_left = 1
    taken = handed.reader.take(put("a", pack(b"\n".join(LINES))))
    assert taken is not None
    assert 2 == place.opened
    assert LINES == handed.values
    assert list(range(len(LINES))) == handed.offsets
    assert (1, 0) == (handed.reader.counts.files, handed.reader.counts.unreadable)


@PACKS
def test_a_byte_order_mark_is_no_part_of_the_first_record(
    place: Shaky, put: Put, pack: Callable[[bytes], bytes]
) -> None:
    assert [b"{}", b"{}"] == list(values_of(place, put("a", pack(b"\xef\xbb\xbf{}\n{}\n"))))


def test_archives_behind_each_other_are_one_file(place: Shaky, put: Put) -> None:
    assert [b"1", b"2"] == list(values_of(place, put("a", gzip.compress(b"1\n") + gzip.compress(b"2\n"))))
    assert [b"1", b"2"] == list(values_of(place, put("b", zstd(b"1\n") + zstd(b"2\n"))))


@pytest.mark.parametrize("pack", [gzip.compress, zstd], ids=["gzip", "zstd"])
def test_the_same_torn_archive_gives_the_same_records_each_time(
    place: Shaky, put: Put, pack: Callable[[bytes], bytes]
) -> None:
    packed = pack(b"\n".join(LINES))
    torn = put("a", packed[: len(packed) // 2])
    first = list(values_of(place, torn))
    assert first == list(values_of(place, torn))
    assert b"" == first[-1]
    assert LINES[: len(first) - 2] == first[:-2]
    assert len(first) > 1000


def test_a_file_that_grows_while_it_is_read_is_read_as_long_as_it_was(place: Shaky, put: Put) -> None:
    listed = put("a", b"1\n2\n")
    with place.open(listed) as opened, (Path(place.uri) / "a").open("ab") as more:
        more.write(b"3\n")
        more.flush()
        assert b"1\n2\n" == opened.read()
    with pytest.raises(FileGone, match="has changed since it was listed"):
        place.open(listed)


def test_a_file_that_went_before_it_was_begun_is_left_to_the_next_round(handed: Handed, place: Shaky, put: Put) -> None:
    listed = put("a", b"1\n")
    (Path(place.uri) / "a").unlink()
    assert handed.reader.take(listed) is None
    handed.ledger.write()
    assert [] == handed.ledger.since(0)


def test_what_an_earlier_worker_had_taken_is_left_out(handed: Handed, put: Put) -> None:
    file = put("a", b"\n".join(LINES))
    taken = Taken(file.path, file.size, file.etag, file.modified_us, "json", 0, 100)
    handed.reader.take_again(taken, 100 + len(LINES), next_offset=100 + 40_000, bronze=-1)
    assert list(range(40_100, 100 + len(LINES))) == handed.offsets
    assert LINES[40_000:] == handed.values


@pytest.mark.parametrize(("until", "bronze"), [(4, -1), (2, -1), (None, 3)])
def test_a_file_that_gives_other_records_than_before_stops(
    handed: Handed, put: Put, until: int | None, bronze: int
) -> None:
    file = put("a", b"1\n2\n3\n")
    taken = Taken(file.path, file.size, file.etag, file.modified_us, "json", 0, 0)
    with pytest.raises(OffsetsGone, match="a gives 3 records now"):
        handed.reader.take_again(taken, until, next_offset=0, bronze=bronze)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"a,,c\n1,2,3\n", "does not name each field once"),
        (b"a,b,a\n1,2,3\n", "does not name each field once"),
        (b"\xff,b\n", "names no fields"),
    ],
)
def test_a_csv_file_whose_first_line_names_no_fields(place: Shaky, put: Put, data: bytes, why: str) -> None:
    [batch] = list(read(place, put("a.csv", data), "csv"))
    assert [b""] == batch.values.to_pylist()
    assert why in batch.headers.to_pylist()[0][0][1].decode()


def test_csv_rows_that_are_none_stay_as_they_came(place: Shaky, put: Put) -> None:
    file = put("a.csv", b'event_id,event_ts\r\ne1,1.5\r\n\r\nshort\r\n\xff,1\r\n"e\n2",x\r\n,\r\n"open,1\r\n')
    [batch] = list(read(place, file, "csv"))
    assert [
        ("2", b'{"event_id": "e1", "event_ts": 1.5}'),
        ("4", b"short"),
        ("5", b"\xff,1"),
        ("6", b'{"event_id": "e\\n2", "event_ts": "x"}'),
        ("8", b"{}"),
        ("9", b'"open,1'),
    ] == list(zip(batch.places.to_pylist(), batch.values.to_pylist(), strict=True))
    assert b'"e\n2",x' == dict(batch.headers.to_pylist()[3])["csv.line"]


def test_a_folder_is_listed_as_s3_lists_names(tmp_path: Path) -> None:
    names = ["a.json", "a/b.json", "a/c/d.json", "a-b.json", "b/a.json", "ä.json", "z"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    place = Folder(tmp_path)
    in_order = sorted(names, key=str.encode)
    assert in_order == [file.path for file in place.files()]
    for name in in_order:
        assert [each for each in in_order if each.encode() > name.encode()] == [f.path for f in place.files(name)]


def test_subfolders_before_a_name_are_not_entered(tmp_path: Path) -> None:
    for name in ("2026/11/20/a", "2026/11/21/b", "2026/11/22/c"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "2026" / "11" / "20" / "a").unlink()
    (tmp_path / "2026" / "11" / "20").rmdir()
    (tmp_path / "2026" / "11" / "20").symlink_to(tmp_path / "2026")  # a way without an end, if it were entered
    assert ["2026/11/22/c"] == [file.path for file in Folder(tmp_path).files("2026/11/21/b")]


def test_a_name_that_is_no_utf8_is_told(tmp_path: Path) -> None:
    (tmp_path / "a\udcff.json").touch()
    with pytest.raises(ConfigError, match="is no UTF-8: rename it"):
        list(Folder(tmp_path).files())


@pytest.mark.parametrize(
    ("address", "topic"),
    [
        ("s3://bucket/a/b/", "bucket-a-b"),
        ("s3://bucket", "bucket"),
        ("/data/in coming", "data-in-coming"),
        ("/", "files"),
    ],
)
def test_what_a_place_is_called(monkeypatch: pytest.MonkeyPatch, address: str, topic: str) -> None:
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    assert topic == topic_of(open_place(address))
