"""Bytes of newline JSON, or of JSON objects without anything between them, as one value a record.

A newline ends a record. So does a `}` outside of a string that only blanks part from the next `{`: nowhere within one
object can the two be neighbours, so this needs no parsing, and an object that is broken takes no more with it than what
lies between two such places. Firehose writes its records in that way where no newline is asked for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

LONGEST: Final = 16 << 20
"""Bytes of a record. What is longer is cut into records of this length, so that no file can fill the memory."""

_NEIGHBOURS: Final = re.compile(rb"\}[ \t]*\{")
_NEWLINE, _RETURN, _QUOTE, _BACKSLASH = b'\n\r"\\'
_Places: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True)
class Pieces:
    """Records in the order of their file.

    Attributes:
        values: binary; without the newline, nothing else taken away.
        places: text; the line on which each begins, counted from 1; where a line holds several, `3#2` is the second.
    """

    values: pa.Array
    places: pa.Array


class Splitter:
    """Cuts one file's bytes, given in any chunks, into records. Empty lines are no records."""

    def __init__(self, longest: int = LONGEST) -> None:
        """Begin a file; `longest` as `LONGEST`."""
        self._longest = longest
        self._rest = b""
        self._line = 1
        self._in_line = 0

    def feed(self, data: bytes, *, is_last: bool = False) -> Pieces:
        """Return the records that end in these bytes, or that end with the file."""
        buffer = self._rest + data
        content = np.frombuffer(buffer, np.uint8)
        newlines = np.flatnonzero(content == _NEWLINE)
        boundaries = _boundaries(buffer, content, newlines)
        starts = np.sort(np.concatenate([[0], newlines + 1, boundaries])).astype(np.int64)
        end = len(buffer) if is_last else int(starts[-1])
        starts = self._with_cuts(np.unique(starts), len(buffer))
        if not is_last:
            end = int(starts[-1])
        firsts = starts[starts < end]
        values = _values(content, firsts, end, newlines)
        places = self._places(firsts, end, newlines, is_last=is_last)
        self._rest = buffer[end:]
        is_record = pc.greater(pc.binary_length(values), 0)
        return Pieces(values.filter(is_record), places.filter(is_record))

    def _with_cuts(self, starts: _Places, end: int) -> _Places:
        lengths = np.diff(np.append(starts, end))
        if not len(lengths) or lengths.max() <= self._longest:
            return starts
        cuts = [
            np.arange(start, start + length, self._longest)
            for start, length in zip(starts.tolist(), lengths.tolist(), strict=True)
            if length > self._longest
        ]
        return np.unique(np.concatenate([starts, *cuts]))

    def _places(self, firsts: _Places, end: int, newlines: _Places, *, is_last: bool) -> pa.Array:
        """Return where records begin, and note where the next one will."""
        line = np.searchsorted(newlines, firsts)
        first_of_line = np.searchsorted(line, line)
        number = np.arange(len(firsts)) - first_of_line + np.where(line == 0, self._in_line, 0) + 1
        done = int(np.searchsorted(newlines, end))
        is_followed = np.append(line[1:], -1 if is_last else done) == line
        has_several = (number > 1) | is_followed
        text = pa.array(line + self._line).cast(pa.string())
        if has_several.any():
            numbered = pc.binary_join_element_wise(text, pa.array(number).cast(pa.string()), "#")
            text = pc.if_else(pa.array(has_several), numbered, text)
        self._in_line = int((line == done).sum()) + (self._in_line if done == 0 else 0)
        self._line += done
        return text


def _boundaries(buffer: bytes, content: NDArray[np.uint8], newlines: _Places) -> _Places:
    """Return where an object begins behind another one on its line."""
    found = np.array([match.end() - 1 for match in _NEIGHBOURS.finditer(buffer)], np.int64)
    if not len(found):
        return found
    quotes = _quotes(content)
    line_starts = np.append(0, newlines + 1)[np.searchsorted(newlines, found)]
    before = np.searchsorted(quotes, found) - np.searchsorted(quotes, line_starts)
    outside: _Places = found[before % 2 == 0]
    return outside


def _quotes(content: NDArray[np.uint8]) -> _Places:
    """Return where strings begin and end: quotes without an odd number of backslashes before them."""
    quotes = np.flatnonzero(content == _QUOTE)
    if not (content == _BACKSLASH).any():
        return quotes
    others = np.flatnonzero(content != _BACKSLASH)
    nearest = np.append(-1, others)[np.searchsorted(others, quotes)]
    unescaped: _Places = quotes[(quotes - 1 - nearest) % 2 == 0]
    return unescaped


def _values(content: NDArray[np.uint8], firsts: _Places, end: int, newlines: _Places) -> pa.Array:
    newlines = newlines[newlines < end]
    returns = newlines[(newlines > 0)] - 1
    dropped = np.sort(np.concatenate([newlines, returns[content[returns] == _RETURN]]))
    kept = np.ones(end, bool)
    kept[dropped] = False
    offsets = np.append(firsts, end)
    offsets = (offsets - np.searchsorted(dropped, offsets)).astype(np.int32)
    data = np.ascontiguousarray(content[:end][kept])
    return pa.Array.from_buffers(pa.binary(), len(firsts), [None, pa.py_buffer(offsets), pa.py_buffer(data)])
