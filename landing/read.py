"""One file as batches of records: unpacked, cut, and each with the place in the file where it begins.

The same bytes give the same batches each time: what was taken of a file before a worker died is left out by its count.
A file that can't be read to its end gives what can be read of it and then one empty record, whose header `file.error`
says why: the process step quarantines it, so that the rest is missed by somebody.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, Final, Literal

import pyarrow as pa

from landing.csv_rows import CSV_HEADER, BadHeader, csv_rows
from landing.place import File, Place
from landing.split import Pieces, Splitter
from schemas.errors import BrokerUnavailable
from schemas.tables import RECORDS

Format = Literal["json", "csv"]

ERROR_HEADER: Final = "file.error"
"""Header of the empty record that stands for the unreadable rest of a file."""

_CHUNK: Final = 4 << 20
_READ: Final = 256 << 10
_AT_ONCE: Final = 64 << 10
"""What is lost of a torn file is less than this."""
_BOM: Final = b"\xef\xbb\xbf"
_PACKED: Final = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_NO_TEXT: Final = {b"PAR1": "Parquet", b"ORC": "ORC", b"Obj\x01": "Avro", b"PK\x03\x04": "zip"}
_HEADERS: Final = RECORDS.field("headers").type


@dataclass(frozen=True)
class Batch:
    """Records of one file, in its order; at least one.

    Attributes:
        values: binary.
        places: text: line, or line and number on the line (`landing.split`).
        headers: as in `RECORDS`; of a CSV row its line as it came, of an unreadable rest why.
        is_error: whether it is the one record that stands for a rest that can't be read.
    """

    values: pa.Array
    places: pa.Array
    headers: pa.Array
    is_error: bool = False


def format_of(path: str) -> Format:
    """Return what a file of this name is taken for: CSV where `.csv` is in it, else JSON."""
    return "csv" if ".csv" in path.rpartition("/")[2].lower() else "json"


def read(place: Place, file: File, file_format: Format) -> Iterator[Batch]:
    """Yield a file's records.

    Args:
        place: where it is.
        file: as it was listed.
        file_format: of its lines.

    Raises:
        FileGone: it is no longer as it was listed.
        BrokerUnavailable: the place is away; begin again later.
    """
    with place.open(file) as packed:
        start = packed.peek(8)[:8] if isinstance(packed, io.BufferedReader) else b""
        other = next((name for magic, name in _NO_TEXT.items() if start.startswith(magic)), None)
        if other is not None:
            yield _unreadable("1", f"a file of {other}: only JSON and CSV are read")
            return
        content = _Content(packed, start, f"{place.uri}/{file.path}")
        line = 1
        try:
            batches = csv_rows(content) if file_format == "csv" else _split(content)
            for pieces, originals in batches:
                if len(pieces.values):
                    line = int(pieces.places[-1].as_py().partition("#")[0]) + 1
                    yield Batch(pieces.values, pieces.places, _headers(CSV_HEADER, originals, len(pieces.values)))
        except BadHeader as error:
            yield _unreadable("1", str(error))
            return
        if content.trouble is not None:
            yield _unreadable(str(line), content.trouble)


class _Content(io.RawIOBase):
    """A file's bytes, unpacked by what they begin with, without a byte order mark.

    Attributes:
        trouble: why no more could be unpacked; then it ends there.
    """

    def __init__(self, packed: BinaryIO, start: bytes, name: str) -> None:
        self._kind = next((kind for magic, kind in _PACKED.items() if start.startswith(magic)), None)
        self._source: Any = packed
        if self._kind == "gzip":
            self._source = gzip.GzipFile(fileobj=packed)
        elif self._kind == "zstd":
            self._source = pa.CompressedInputStream(pa.PythonFile(packed, "r"), "zstd")
        self._name = name
        self._is_at_start = True
        self.trouble: str | None = None

    def readable(self) -> bool:
        """Answer yes."""
        return True

    def readinto(self, target: Any) -> int:
        """Read some bytes; 0 at the end."""
        data = self._read(len(target))
        if self._is_at_start and data.startswith(_BOM):
            data = data[len(_BOM) :]
        self._is_at_start = False
        target[: len(data)] = data
        return len(data)

    def _read(self, count: int) -> bytes:
        if self.trouble is not None:
            return b""
        try:
            data: bytes = getattr(self._source, "read1", self._source.read)(min(count, _AT_ONCE))
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            self.trouble = self._no_more(error)
        except OSError as error:
            if error.errno is None:  # Arrow's
                self.trouble = self._no_more(error)
            else:
                raise BrokerUnavailable(f"{self._name} can't be read now: {error}") from error
        else:
            return data
        return b""

    def _no_more(self, error: Exception) -> str:
        return f"no more of it can be unpacked as {self._kind}: {' '.join(str(error).split())}"


def _split(content: _Content) -> Iterator[tuple[Pieces, None]]:
    splitter = Splitter()
    reader = io.BufferedReader(content, _READ)
    while chunk := reader.read(_CHUNK):
        yield splitter.feed(chunk), None
    yield splitter.feed(b"", is_last=True), None


def _unreadable(place: str, why: str) -> Batch:
    headers = _headers(ERROR_HEADER, [why.encode()], 1)
    return Batch(pa.array([b""], pa.binary()), pa.array([place]), headers, is_error=True)


def _headers(name: str, values: list[bytes] | None, count: int) -> pa.Array:
    if values is None:
        return pa.nulls(count, _HEADERS)
    names = pa.array([name] * count)
    return pa.MapArray.from_arrays(pa.array(range(count + 1), pa.int32()), names, pa.array(values, pa.binary()))
