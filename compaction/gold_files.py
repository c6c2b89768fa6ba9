"""What the SQL files of gold declare: their tables, columns and windows. Pure; `compaction.gold` carries it out.

A file's header is comment lines of `key: value`:

    -- table:     its name (`source:` for one that is only read by other files; their names start with `_`)
    -- grain:     what one row is
    -- purpose:   one or more lines
    -- partition: event_date, for a table that is refreshed by date; without it, it is replaced as a whole
    -- reads:     what the SQL reads, with the dates that one date needs: `silver -1d..1d, playback 0d..0d`
    -- columns:   one line each: name, DuckDB type, meaning

Readable are `silver`, `null_partition` (silver's, with its `ingest_date`) and `quarantine`, each only as far as the
window says; other `source` files; `gold/<name>` as the view `<name>`, whole; `wanted`, the dates to compute; and
`constants`.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final, TypeAlias

from schemas.event import HEARTBEAT_INTERVAL_S

BASES: Final = ("silver", "null_partition", "quarantine")
"""What is read from the lake's own tables."""

CONSTANTS: Final = {"watch_gap_cap_us": int(2 * HEARTBEAT_INTERVAL_S * 1_000_000)}
"""Columns of the one-row view `constants`."""

_OF_PEOPLE: Final = ("user_id", "profile_id", "session_id", "viewer_key")

_HEADER = re.compile(r"--\s(?P<key>[a-z]+):\s*(?P<value>.*)")
_READ = re.compile(
    r"(?P<source>[a-z_/0-9]+)(?:\s+(?P<before>-?\d+)d\.\.(?P<after>-?\d+)d)?"
    r"(?:\s+linked by (?P<link>event_id|session_id))?"
)


@dataclass(frozen=True)
class Read:
    """One thing that a file reads: for date d, its dates from d + before to d + after.

    `link`: an id; other dates of the window only matter to d where rows of theirs share it with rows of d. Of a changed
    date, `linked_dates.sql` finds those to which it matters. None: every date of the window does.
    """

    source: str
    before: int
    after: int
    link: str | None


Near: TypeAlias = Callable[[Read, frozenset[dt.date]], frozenset[dt.date]]
"""Tells which dates of what is read matter to some dates."""


@dataclass(frozen=True)
class Column:
    """One column of a gold table."""

    name: str
    type: str
    meaning: str


@dataclass(frozen=True)
class GoldFile:
    """One SQL file.

    Attributes:
        name: of the table, or of the source.
        is_source: read by other files only, never a table of the lake.
        grain, purpose: prose of the header.
        is_dated: refreshed by `event_date`.
        reads: what it needs.
        columns: of the table, in the order of the SQL; empty for sources.
        sql: the whole file.
    """

    name: str
    is_source: bool
    grain: str
    purpose: str
    is_dated: bool
    reads: tuple[Read, ...]
    columns: tuple[Column, ...]
    sql: str

    @property
    def names_people(self) -> bool:
        """Whether its rows tell sessions or viewers apart."""
        return any(column.name in _OF_PEOPLE for column in self.columns)


def parse(sql: str, origin: str) -> GoldFile:
    """Read one file's header.

    Raises:
        ValueError: the header lacks something or has a line that can't be read; the message names `origin`.
    """
    fields: dict[str, list[str]] = {}
    key = ""
    for line in sql.splitlines():
        if not line.startswith("--"):
            break
        if match := _HEADER.match(line):
            key = match["key"]
            fields[key] = [match["value"]]
        elif line.rstrip() == "--":
            key = ""
        elif key:
            fields[key].append(line.removeprefix("--").strip())
    is_source = "source" in fields
    for needed in ("source" if is_source else "table", "grain", "purpose", "reads", "columns"):
        if needed not in fields:
            raise ValueError(f"{origin}: the header has no `-- {needed}:`")
    text = {key: " ".join(lines).strip() for key, lines in fields.items()}
    return GoldFile(
        name=text["source" if is_source else "table"],
        is_source=is_source,
        grain=text["grain"],
        purpose=text["purpose"],
        is_dated=text.get("partition") == "event_date",
        reads=tuple(_read(item.strip(), origin) for item in text["reads"].split(",")),
        columns=() if is_source else tuple(_columns(fields["columns"], origin)),
        sql=sql,
    )


@cache
def load() -> Mapping[str, GoldFile]:
    """Return all files of the package by name; sources first, each after what it reads, tables by name after them.

    Raises:
        ValueError: a header that can't be read, or a `reads` that names nothing.
    """
    folder = files("compaction").joinpath("gold")
    found = [
        parse(entry.read_text(encoding="utf-8"), entry.name)
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name)
        if entry.name.endswith(".sql")
    ]
    by_name = {file.name: file for file in found}
    for file in found:
        for read in file.reads:
            if read.source not in BASES and read.source.removeprefix("gold/") not in by_name:
                raise ValueError(f"{file.name}: reads {read.source}, which is nothing")
    ordered: dict[str, GoldFile] = {}

    def place(file: GoldFile) -> None:
        for read in file.reads:
            if read.source in by_name:
                place(by_name[read.source])
        ordered.setdefault(file.name, file)

    for file in sorted(found, key=lambda file: (not file.is_source, not file.is_dated, file.name)):
        place(file)
    return ordered


def table_names() -> list[str]:
    """Return the names of the gold tables, without `gold/`, in the order in which they are written."""
    return [name for name, file in load().items() if not file.is_source]


def window(read: Read, dates: frozenset[dt.date]) -> frozenset[dt.date]:
    """Return the dates of what is read that may matter to `dates`."""
    return shift(dates, read.before, read.after)


def needed_dates(
    targets: Mapping[str, frozenset[dt.date]], declared: Mapping[str, GoldFile], near: Near = window
) -> dict[str, frozenset[dt.date]]:
    """Return, for each source that the tables need directly or through others, the dates of it that must be computed.

    Args:
        targets: per table, the dates to compute.
        declared: `load()`.
        near: which dates of what is read matter to some dates.
    """
    needed = dict(targets)
    for name in reversed(list(declared)):  # a source comes before its readers, so readers first
        for read in declared[name].reads if name in needed else ():
            needed[read.source] = needed.get(read.source, frozenset()) | near(read, needed[name])
    return {name: dates for name, dates in needed.items() if name not in targets}


def fingerprint(name: str, declared: Mapping[str, GoldFile]) -> str:
    """Return a short hash of all that a table's content follows from besides data: its SQL, its sources', constants."""
    digest = hashlib.sha256(repr(sorted(CONSTANTS.items())).encode())

    def feed(file: GoldFile) -> None:
        digest.update(file.sql.encode())
        for read in file.reads:
            if read.source in declared:
                feed(declared[read.source])

    feed(declared[name])
    return digest.hexdigest()[:12]


def shift(dates: Iterable[dt.date], before: int, after: int) -> frozenset[dt.date]:
    """Return the dates from d + before to d + after days, for each d."""
    return frozenset(date + dt.timedelta(days=days) for date in dates for days in range(before, after + 1))


def _read(text: str, origin: str) -> Read:
    match = _READ.fullmatch(text)
    if match is None:
        raise ValueError(f"{origin}: `-- reads:` has {text!r}; write `silver -1d..1d`")
    before, after = int(match["before"] or 0), int(match["after"] or 0)
    return Read(match["source"], before, after, match["link"])


def _columns(lines: list[str], origin: str) -> Iterator[Column]:
    for line in lines:
        if not line:
            continue
        parts = line.split(None, 2)
        if len(parts) < 3:
            raise ValueError(f"{origin}: column line {line!r} lacks a name, type or meaning")
        yield Column(*parts)
