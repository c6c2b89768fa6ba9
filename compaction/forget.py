"""Forget a person: their records leave bronze, silver, quarantine and gold; only positions stay, so that proofs hold.

The positions are kept first (`sink.gone`), then the rows leave one table after the other, each in one atomic commit. A
run that dies leaves positions of which some rows are still there: `verify` says so, and the next run, for whomever,
takes those as well (`docs/decisions/035-forget.md`).
"""

from __future__ import annotations

import datetime as dt
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from itertools import chain
from typing import Final

import duckdb
import pyarrow as pa
from deltalake import DeltaTable

from compaction import gold, gold_files
from compaction.manifests import refresh_manifests
from compaction.person import Person
from compaction.ranges import ranges_of
from compaction.replace import commit_upon
from compaction.rewrite import Plan, rewrite
from compaction.workspace import MEMORY_LIMIT, workspace
from schemas.tables import POSITION
from sink import gone, positions
from sink.event_ids import create_event_id_of
from sink.lake import Lake
from sink.positions import Source
from sink.replays import replays, replays_entry
from sink.scan import create_view

FORGET_KEY: Final = "playlake.forget"
"""Name in `commitInfo` under which a forgetting keeps its id, which says nothing about the person."""

_POSITION: Final = [each.name for each in POSITION]
_KEYS: Final = ", ".join(_POSITION)
_AT_ONCE: Final = 10_000
_ORDER: Final = ("quarantine", "silver", "bronze")
"""Silver after quarantine, from which a replay could bring a record back; bronze last, where the rest is found by."""


@dataclass(frozen=True)
class Found:
    """What the lake holds of a person.

    Attributes:
        rows: table → rows that go (`gold/…`: rows of the person's sessions, which are computed anew without them).
        dates: dates of gold that are computed anew.
        mentions: records of others in which an id stands, too; they stay, unless they were asked for.
        not_done: records beyond silver's position, which a worker is about to write; they stay for the next run.
        unfinished: positions among those that go that an earlier run, which died, had left.
        going: their positions.
        repeats: positions of records that have no row only because they repeat one that goes.
    """

    rows: Mapping[str, int]
    dates: int
    mentions: int
    not_done: int
    unfinished: int
    going: pa.Table = field(repr=False)
    repeats: pa.Table = field(repr=False)


def find(lake: Lake, person: Person, *, mentions: bool = False, memory_limit: str = MEMORY_LIMIT) -> Found:
    """Return what would go; changes nothing.

    A record is the person's if silver's row or its JSON says so by `user_id`; if neither says whose it is, wherever
    the id stands in its key, value, headers or (in quarantine) detail.

    Args:
        lake: where.
        person: whom.
        mentions: records of others in which an id stands go, too.
        memory_limit: DuckDB's.

    Raises:
        LakeNotFound, IncompatibleLake, StoreUnavailable: as `Lake.table`.
    """
    with _opened(lake, memory_limit) as (con, handles):
        con.register("person", pa.table({"id": pa.array(person.ids, pa.string())}))
        con.execute("set variable forget_pattern = $1", [person.pattern])
        _find_records(con, person, handles["silver"], mentions)
        con.execute(_sql("going"))
        *rows, dates, mentioned, not_done, unfinished = con.execute(_sql("going_counts")).fetchall()[0]
        by_table = dict(zip(("bronze", "silver", "quarantine"), rows, strict=True)) | _rows_of_gold(lake, con)
        going = con.sql("from going").to_arrow_table()
        repeats = con.sql(_sql("repeats_of_going")).to_arrow_table() if by_table["silver"] else going.slice(0, 0)
    return Found(by_table, dates, mentioned, not_done, unfinished, going, repeats)


def forget(
    lake: Lake,
    person: Person,
    *,
    mentions: bool = False,
    memory_limit: str = MEMORY_LIMIT,
    step: Callable[[str], None] = lambda name: None,
) -> Found:
    """Take a person's rows out of all tables; return what was found.

    Idempotent, and safe to stop at any point and to run beside workers, compactions and replays. Old files stay until
    `compaction.purge` or a vacuum.

    Args:
        lake: where.
        person: whom.
        mentions: as `find`.
        memory_limit: as `find`.
        step: called with `before forget silver` (and so on) and `after …` around each commit: fault points of tests.

    Raises:
        LakeNotFound, IncompatibleLake, StoreUnavailable: as `Lake.table`.
        CommitConflict: others took up its files at every attempt. What was done stays done: run it again.
        RewriteMismatch: what was written is not what was planned; that table was not changed.
    """
    found = find(lake, person, mentions=mentions, memory_limit=memory_limit)
    forget_id = f"forget-{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"
    if len(found.going):
        gone.remember(lake, "settled", _ranges(lake, found.repeats, forget_id))
        step("before forget positions")
        gone.remember(lake, "forgotten", _ranges(lake, found.going, forget_id))
        step("after forget positions")
        for name in _ORDER:
            if name == "silver" and found.rows["quarantine"]:
                _stop_replays(lake, forget_id)
            _remove(lake, name, found.going, forget_id, memory_limit, step)
    declared = [f"gold/{name}" for name in gold_files.table_names()]
    if any(lake.exists(name) for name in declared):
        gold.refresh(lake, memory_limit=memory_limit, step=step)
    refresh_manifests(lake, [*lake.tables, *(name for name in declared if lake.exists(name))])
    return found


def _ranges(lake: Lake, going: pa.Table, forget_id: str) -> pa.Table:
    with workspace(lake) as con:
        con.register("going", going)
        return ranges_of(con, forget_id)


@contextmanager
def _opened(lake: Lake, memory_limit: str) -> Iterator[tuple[duckdb.DuckDBPyConnection, dict[str, DeltaTable]]]:
    # Silver last: what it says is done has its rows in the others.
    handles = {name: lake.table(name) for name in ("bronze", "quarantine", "silver")}
    with workspace(lake, memory_limit) as con:
        for name, handle in handles.items():
            create_view(con, name, handle)
        create_event_id_of(con)
        gone.create_views(con, lake)
        yield con, handles


def _find_records(con: duckdb.DuckDBPyConnection, person: Person, silver: DeltaTable, mentions: bool) -> None:
    """Create the table `records`: a position, `is_wanted` (or only a mention) and `is_done`."""
    con.execute(
        "create or replace temp table records "
        "(topic varchar, topic_id varchar, kafka_partition int, kafka_offset bigint, is_wanted bool, is_done bool)"
    )
    done: dict[Source, int | None] = {}
    rows = []
    candidates = con.execute(_sql("forget"))
    for held_by, *place, offset, owner, parts in chain.from_iterable(iter(lambda: candidates.fetchmany(_AT_ONCE), [])):
        is_theirs = owner in person.ids
        if not is_theirs and not any(person.is_named_in(part) for part in parts if part is not None):
            continue
        source = Source(*place)
        if source not in done:
            done[source] = positions.position(silver, source)
        is_done = held_by == "silver" or (done[source] is not None and offset <= done[source])
        rows.append((*place, offset, is_theirs or owner is None or mentions, is_done))
    if rows:
        names = (*_POSITION, "is_wanted", "is_done")
        con.register("judged", pa.table([list(column) for column in zip(*rows, strict=True)], names))
        con.execute("insert into records from judged")


def _rows_of_gold(lake: Lake, con: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """Count rows of the sessions, and viewers, of rows that go, in the gold tables that name those."""
    found = {}
    for name, file in gold_files.load().items():
        by = [column.name for column in file.columns if column.name in ("session_id", "viewer_key")]
        if by and not file.is_source and lake.exists(f"gold/{name}"):
            create_view(con, name, lake.table(f"gold/{name}"))
            query = f"select count(*) from {name} semi join sessions using ({by[0]})"  # noqa: S608  # our own files
            found[f"gold/{name}"] = int(con.execute(query).fetchall()[0][0])
    return found


def _remove(
    lake: Lake, name: str, going: pa.Table, forget_id: str, memory_limit: str, step: Callable[[str], None]
) -> None:
    """Take rows out of a table, until a look at its newest version finds none."""

    def make_plan(handle: DeltaTable) -> Plan | None:
        with workspace(lake, memory_limit) as con:
            create_view(con, "held", handle, with_places=True)
            con.register("going", going)
            query = f"select _file, _row from held semi join going using ({_KEYS})"  # noqa: S608
            rows: pa.Table = con.sql(query).to_arrow_table()
        return Plan(rows) if len(rows) else None

    while rewrite(lake, make_plan, what=f"forget {name}", rewrite_id=forget_id, table=name, step=step) is not None:
        pass


def _stop_replays(lake: Lake, forget_id: str) -> None:
    """Make replays give up that looked at quarantine before its rows went: they would bring them to silver."""
    while True:
        silver, quarantine = lake.table("silver"), lake.table("quarantine")
        number = replays(silver)
        was_in_flight = number > replays(quarantine)
        if _count_up(lake, "silver", number, forget_id):
            break
    if not was_in_flight:
        _count_up(lake, "quarantine", number, forget_id)


def _count_up(lake: Lake, name: str, number: int, forget_id: str) -> bool:
    """Commit that a table has seen one replay more than `number`; return whether that was its number."""

    def is_as_seen(handle: DeltaTable) -> bool:
        return replays(handle) == number

    entries = [replays_entry(number + 1)]
    version = commit_upon(lake, name, [], is_as_seen, metadata={FORGET_KEY: forget_id}, transactions=entries)
    return version is not None


def _sql(name: str) -> str:
    return files("compaction").joinpath(f"{name}.sql").read_text(encoding="utf-8")
