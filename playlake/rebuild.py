"""Rebuild: all records that came in on one date are judged again from bronze, and take their former rows' place.

For what a replay of quarantine can't mend: rows that passed, but with wrong values. Silver is replaced in one commit;
around it stand the commits by which a replay counts itself (`sink.replays`), so that quarantine, which changes in two
commits, never says anything else than silver, and one that dies is undone or ended by the next replay:

1. silver counts the replay: from now on a record in both tables is silver's alone;
2. quarantine gains the records that no longer pass: silver still has them, so nobody sees these yet;
3. silver's rows of these records go, their new ones come;
4. quarantine loses what is in silver now (`playlake.replay.finish`).
"""

from __future__ import annotations

import datetime as dt
import secrets
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

import duckdb
import pyarrow as pa
from deltalake import DeltaTable
from deltalake.transaction import AddAction

from compaction.delta_log import live_files
from compaction.rewrite import Plan, rewrite
from compaction.workspace import workspace
from playlake.replay import Judge, commit_count, done_positions, finish, judged_in_chunks, reasons_in, take_over
from schemas.errors import CommitConflict
from schemas.tables import POSITION, RECORDS, SILVER
from sink.columns import add_missing_columns
from sink.evolve import evolve
from sink.files import write_files
from sink.lake import Lake
from sink.replays import replays, replays_entry
from sink.scan import create_view, quoted

_ROUND_ROWS: Final = 200_000
_POSITION: Final = ", ".join(each.name for each in POSITION)
_NOT_COMPARED: Final = (*(each.name for each in POSITION), "raw_payload")


@dataclass
class Rebuilt:
    """What a rebuild did, or would do.

    Attributes:
        finished: records that an earlier replay, which died, had left in both tables.
        records: that were judged.
        not_done: records left alone, since no commit of silver says yet that they are done.
        silver_before: of those judged, how many silver held.
        silver_after: how many it holds now.
        repeats: records that were in neither table, as repeats that dedupe had dropped; the next one does so again.
        undated: rows of silver without a date now; repair dates them.
        before: reason → records in quarantine.
        after: reason → records that do not pass now.
        changed: column of silver → rows in which it is another than it was.
    """

    finished: int = 0
    records: int = 0
    not_done: int = 0
    silver_before: int = 0
    silver_after: int = 0
    repeats: int = 0
    undated: int = 0
    before: Counter[str] = field(default_factory=Counter)
    after: Counter[str] = field(default_factory=Counter)
    changed: Counter[str] = field(default_factory=Counter)


def rebuild(
    lake: Lake,
    judge: Judge,
    date: dt.date,
    *,
    dry_run: bool = False,
    on_judged: Callable[[int], None] = lambda records: None,
    step: Callable[[str], None] = lambda name: None,
) -> Rebuilt:
    """Judge all records again that bronze holds under one ingest date, and put the answers in their rows' place.

    Rows of records that bronze no longer holds stay. Records that were refused and still are keep their row of
    quarantine. What repair had dated and dedupe had dropped comes back as the worker would have written it. Safe beside
    workers and compactions; of two replays at once one gives up.

    Args:
        lake: where.
        judge: today's code and rules.
        date: of bronze's lake partition: the UTC date on which a worker took the records in.
        dry_run: change nothing.
        on_judged: called after each round with how many were judged so far.
        step: called before and after each commit: fault points of tests.

    Raises:
        RuleBroken: a record breaks a rule whose action is to stop; nothing was changed.
        CommitConflict: another replay, or others, committed first; run it again.
        LakeNotFound, IncompatibleLake, StoreUnavailable, RewriteMismatch: as elsewhere. Running again is safe.
    """
    done = Rebuilt(finished=0 if dry_run else take_over(lake, step=step))
    if not dry_run:
        add_missing_columns(lake.table("silver"), SILVER)
    silver, bronze = lake.table("silver"), lake.table("bronze")
    of_date = [each for each in live_files(bronze, lake.path("bronze")) if each.partition == date.isoformat()]
    if not of_date:
        return done
    paths = [file.path for file in of_date]
    added: list[AddAction] = []
    refused: list[AddAction] = []
    judged = 0
    with workspace(lake) as con:
        sources = _choose(con, silver, bronze, paths)
        [(done.records, done.not_done)] = con.execute(
            "select count(*) filter (where kafka_offset <= done), count(*) filter (where kafka_offset > done) "
            "from bronze join done using (topic, topic_id, kafka_partition)"
        ).fetchall()
        _remember(con, lake, silver, done)
        for records in _rounds(con, bronze, [(file.path, file.rows or 0) for file in of_date]):
            for told in judged_in_chunks(judge, records):
                rows = evolve(silver, told.silver, may_add=not dry_run)
                done.silver_after += len(rows)
                done.undated += rows["event_date"].null_count
                done.after.update(reasons_in(told))
                done.changed.update(_changes(con, rows))
                newly = _newly_refused(con, told.quarantine)
                if not dry_run:
                    added += write_files(lake, "silver", rows) if len(rows) else []
                    refused += write_files(lake, "quarantine", newly) if len(newly) else []
            judged += len(records)
            on_judged(judged)
    if not dry_run and done.records:
        _commit(lake, bronze, paths, sources, added, refused, step)
    return done


def _choose(con: duckdb.DuckDBPyConnection, silver: DeltaTable, bronze: DeltaTable, paths: list[str]) -> pa.Table:
    """Create the view `bronze` of the date and the table `done`, which is returned: how far silver is by source."""
    create_view(con, "bronze", bronze, paths)
    sources = con.sql("select distinct topic, topic_id, kafka_partition from bronze").to_arrow_table()
    done = done_positions(silver, sources)
    done = done.filter(done["done"].is_valid())
    con.register("done", done)
    return done


_CHOSEN: Final = f"""
    select {_POSITION} from bronze join done using (topic, topic_id, kafka_partition) where kafka_offset <= done
"""  # noqa: S608  # our own names


def _remember(con: duckdb.DuckDBPyConnection, lake: Lake, silver: DeltaTable, done: Rebuilt) -> None:
    """Create the tables `before` (silver's rows of the records) and `refused` (their positions in quarantine)."""
    create_view(con, "silver", silver)
    create_view(con, "quarantine", lake.table("quarantine"))
    con.execute(f"create temp table before as from silver semi join ({_CHOSEN}) using ({_POSITION})")
    con.execute(
        f"create temp table refused as select {_POSITION}, reasons from quarantine "  # noqa: S608
        f"semi join ({_CHOSEN}) using ({_POSITION})"
    )
    [(done.silver_before, in_quarantine)] = con.execute(
        "select (select count(*) from before), (select count(*) from refused)"
    ).fetchall()
    done.repeats = done.records - done.silver_before - in_quarantine
    codes = con.execute(
        "select code, count(*) from (select unnest(reasons) as code from refused) group by 1"
    ).fetchall()
    done.before.update(dict(codes))


def _rounds(con: duckdb.DuckDBPyConnection, bronze: DeltaTable, files: list[tuple[str, int]]) -> Iterator[pa.Table]:
    """Give the records that are done, a part of a file at a time."""
    columns = ", ".join(RECORDS.names)
    for path, rows in files:
        create_view(con, "file", bronze, [path], with_places=True)
        for start in range(0, rows, _ROUND_ROWS):
            found: pa.Table = con.sql(
                f"select {columns} from file join done using (topic, topic_id, kafka_partition) "  # noqa: S608
                f"where kafka_offset <= done and _row between {start:d} and {start + _ROUND_ROWS - 1:d} "
                "order by topic, kafka_partition, kafka_offset"
            ).to_arrow_table()
            yield found.cast(RECORDS)


def _changes(con: duckdb.DuckDBPyConnection, judged: pa.Table) -> dict[str, int]:
    """Count the rows in which a column is another than in the row that silver held."""
    known = [row[0] for row in con.execute("describe before").fetchall()]
    names = [name for name in known if name not in _NOT_COMPARED]
    con.register("judged", judged)
    after = [f"judged.{quoted(name)}" if name in judged.column_names else "null" for name in names]
    counts = ", ".join(
        f"count(*) filter (where {new} is distinct from before.{quoted(name)})"
        for name, new in zip(names, after, strict=True)
    )
    found = con.execute(f"select {counts} from judged join before using ({_POSITION})").fetchall()[0]  # noqa: S608
    return {name: count for name, count in zip(names, found, strict=True) if count}


def _newly_refused(con: duckdb.DuckDBPyConnection, quarantine: pa.Table) -> pa.Table:
    """Return the rows of records that quarantine does not hold yet."""
    places = pa.array(range(len(quarantine)), pa.int64())
    con.register("told", quarantine.select([each.name for each in POSITION]).append_column("place", places))
    sql = f"select place from told anti join refused using ({_POSITION}) order by place"  # noqa: S608
    return quarantine.take(con.sql(sql).to_arrow_table()["place"].combine_chunks())


def _commit(
    lake: Lake,
    bronze: DeltaTable,
    paths: list[str],
    sources: pa.Table,
    added: list[AddAction],
    refused: list[AddAction],
    step: Callable[[str], None],
) -> None:
    number = replays(lake.table("silver"))
    step("before rebuild begin")
    commit_count(lake, "silver", [], number + 1, lambda handle: replays(handle) == number)
    step("after rebuild begin")
    if refused:
        commit_count(lake, "quarantine", refused, number, lambda handle: replays(handle) <= number)
        step("after rebuild quarantine")

    def is_ours(handle: DeltaTable) -> bool:
        return replays(handle) == number + 1

    def make_plan(handle: DeltaTable) -> Plan:
        if not is_ours(handle):
            raise CommitConflict(f"another replay of {lake.uri} went on at the same time: run it again")
        with workspace(lake) as con:
            create_view(con, "bronze", bronze, paths)
            con.register("done", sources)
            create_view(con, "silver", handle, with_places=True)
            rows: pa.Table = con.sql(
                f"select _file, _row from silver semi join ({_CHOSEN}) using ({_POSITION})"  # noqa: S608
            ).to_arrow_table()
        return Plan(rows, (replays_entry(number + 1),), tuple(added))

    rebuild_id = f"rebuild-{number + 1}-{secrets.token_hex(4)}"
    try:
        rewrite(lake, make_plan, what="rebuild", rewrite_id=rebuild_id, table="silver", upon=is_ours, step=step)
    except CommitConflict:
        take_over(lake, step=step)  # what quarantine gained goes again
        raise
    finish(lake, step=step)
