"""Replay: refused records are judged again by today's code and rules, and those that pass go to silver.

Two tables can't change in one commit. Silver gains the rows first, by a commit that counts the replay; then quarantine
loses them, by a commit with the same count (`sink.replays`). A replay that dies in between is finished by the next.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.transaction import AddAction

from compaction.replace import commit_upon
from compaction.rewrite import Plan, rewrite
from compaction.workspace import workspace
from query import connect
from query.refused import arrow_rows
from schemas.errors import CommitConflict
from schemas.tables import POSITION, RECORDS, SILVER
from sink import positions
from sink.columns import add_missing_columns
from sink.evolve import evolve
from sink.files import write_files
from sink.lake import Lake
from sink.positions import Source
from sink.replays import is_in_flight, replays, replays_entry
from sink.scan import create_view
from stream_app.process import Processed

REPLAY_KEY: Final = "playlake.replay"
"""Name in `commitInfo` under which a replay's commits keep its id."""

_ROUND_ROWS: Final = 200_000
_CHUNK_ROWS: Final = 50_000
_POSITION: Final = [each.name for each in POSITION]

Judge = Callable[[pa.Table], Processed]
"""Says what becomes of records (schema `RECORDS`, without headers)."""


@dataclass
class Replayed:
    """What a replay did, or would do.

    Attributes:
        finished: records that an earlier replay, which died, had left in both tables.
        chosen: records that were judged.
        passed: of those, how many are in silver now.
        not_done: records left alone, since no commit of silver says yet that they are done; a worker may read them
            again.
        before: reason → records, of those chosen.
        after: reason → records, of those that still don't pass.
    """

    finished: int = 0
    chosen: int = 0
    passed: int = 0
    not_done: int = 0
    before: Counter[str] = field(default_factory=Counter)
    after: Counter[str] = field(default_factory=Counter)


def replay(
    lake: Lake,
    judge: Judge,
    where: str = "true",
    *,
    dry_run: bool = False,
    step: Callable[[str], None] = lambda name: None,
) -> Replayed:
    """Judge quarantined records again; move those that pass to silver, in rounds of 200,000.

    Those that don't pass stay as they are. Safe beside workers and compactions; of two replays at once one gives up.
    What a round committed stays, whatever happens to the next.

    Args:
        lake: where.
        judge: today's code and rules.
        where: SQL condition over `query/refused.sql`.
        dry_run: change nothing.
        step: called before and after each commit (`before replay silver` …): fault points of tests.

    Raises:
        QueryError: the condition can't be answered.
        RuleBroken: a record breaks a rule whose action is to stop.
        CommitConflict: another replay, or others, committed first; run it again.
        LakeNotFound, IncompatibleLake, StoreUnavailable, RewriteMismatch: as elsewhere. Running again is safe.
    """
    done = Replayed(finished=0 if dry_run else take_over(lake, step=step))
    if not dry_run:
        add_missing_columns(lake.table("silver"), SILVER)
    for chosen in _rounds(lake, where):
        silver = lake.table("silver")
        records, reasons = _read(lake, silver, chosen)
        done.not_done += len(chosen) - len(records)
        done.chosen += len(records)
        done.before.update(code for codes in reasons for code in codes)
        passed = []
        for told in judged_in_chunks(judge, records):
            passed.append(told.silver)
            done.after.update(reasons_in(told))
        rows = sum(map(len, passed))
        done.passed += rows
        if rows and not dry_run:
            _append(lake, pa.concat_tables(passed).sort_by("event_date"), replays(silver), step)
            finish(lake, step=step)
    return done


def judged_in_chunks(judge: Judge, records: pa.Table) -> Iterator[Processed]:
    """Judge records as many at a time as a worker does."""
    for start in range(0, len(records), _CHUNK_ROWS):
        yield judge(records.slice(start, _CHUNK_ROWS))


def reasons_in(told: Processed) -> Iterator[str]:
    """Give each refused record's reasons."""
    return (code for codes in told.quarantine["reasons"].to_pylist() for code in codes)


def take_over(lake: Lake, *, step: Callable[[str], None] = lambda name: None) -> int:
    """End what a replay left that died; one that is alive finds its count gone on and gives up.

    Returns:
        How many records it had left in both tables.

    Raises:
        As `finish`.
    """
    silver = lake.table("silver")
    number = replays(silver)
    if not is_in_flight(silver, lake.table("quarantine")):
        return 0
    commit_count(lake, "silver", [], number + 1, lambda handle: replays(handle) == number)
    return finish(lake, step=step)


def finish(lake: Lake, *, step: Callable[[str], None] = lambda name: None) -> int:
    """Take from quarantine what the newest replay has put into silver; return how many records that were.

    Raises:
        CommitConflict, RewriteMismatch, StoreUnavailable: as `compaction.rewrite.rewrite`.
    """
    silver = lake.table("silver")
    number = replays(silver)

    def make_plan(handle: DeltaTable) -> Plan | None:
        if replays(handle) >= number:
            return None
        with workspace(lake) as con:
            create_view(con, "quarantine", handle, with_places=True)
            create_view(con, "silver", silver)
            rows: pa.Table = con.sql(
                f"select _file, _row from quarantine semi join silver using ({', '.join(_POSITION)})"  # noqa: S608
            ).to_arrow_table()
        return Plan(rows, (replays_entry(number),)) if len(rows) else None

    replay_id = f"replay-{number}-{secrets.token_hex(4)}"
    done = rewrite(lake, make_plan, what="replay quarantine", rewrite_id=replay_id, table="quarantine", step=step)
    if done is None and replays(lake.table("quarantine")) < number:  # none was left to take
        commit_count(lake, "quarantine", [], number, lambda handle: replays(handle) < number)
    return done.rows if done else 0


def _rounds(lake: Lake, where: str) -> Iterator[pa.Table]:
    """Give the positions that were chosen, in tables of a round each."""
    con = connect(lake.uri, mentioned_in="quarantine")
    try:
        answer = arrow_rows(con, where)
        schema = pa.schema([answer.schema.field(name) for name in _POSITION])
        found = pa.Table.from_batches((batch.select(_POSITION) for batch in answer.batches), schema)
    finally:
        con.close()
    for start in range(0, len(found), _ROUND_ROWS):
        yield found.slice(start, _ROUND_ROWS)


def _read(lake: Lake, silver: DeltaTable, chosen: pa.Table) -> tuple[pa.Table, list[list[str]]]:
    """Return chosen records that are done, as schema `RECORDS`, and each one's reasons."""
    done = done_positions(silver, chosen.select(_POSITION[:3]).group_by(_POSITION[:3]).aggregate([]))
    columns = ", ".join(RECORDS.names).replace("headers", "cast(null as map(varchar, blob)) as headers")
    with workspace(lake) as con:
        create_view(con, "quarantine", lake.table("quarantine"))
        con.register("chosen", chosen)
        con.register("done", done)
        rows: pa.Table = con.sql(
            f"select {columns}, reasons from quarantine semi join chosen using ({', '.join(_POSITION)}) "  # noqa: S608
            "join done using (topic, topic_id, kafka_partition) where kafka_offset <= done "
            f"order by {', '.join(_POSITION)}"
        ).to_arrow_table()
    return rows.drop_columns(["reasons"]).cast(RECORDS), rows["reasons"].to_pylist()


def _append(lake: Lake, rows: pa.Table, number: int, step: Callable[[str], None]) -> None:
    files = write_files(lake, "silver", evolve(lake.table("silver"), rows))
    step("before replay silver")
    commit_count(lake, "silver", files, number + 1, lambda handle: replays(handle) == number)
    step("after replay silver")


def done_positions(silver: DeltaTable, sources: pa.Table) -> pa.Table:
    """Return sources (columns `topic, topic_id, kafka_partition`) with how far silver is, `done`; null: nowhere yet."""
    found = [Source(*row.values()) for row in sources.select(_POSITION[:3]).to_pylist()]
    return pa.table(
        {
            "topic": pa.array([source.topic for source in found], pa.string()),
            "topic_id": pa.array([source.topic_id for source in found], pa.string()),
            "kafka_partition": pa.array([source.kafka_partition for source in found], pa.int32()),
            "done": pa.array([positions.position(silver, source) for source in found], pa.int64()),
        }
    )


def commit_count(
    lake: Lake, name: str, files: Sequence[AddAction], number: int, may_follow: Callable[[DeltaTable], bool]
) -> None:
    """Commit files to a table with the count of replays that it has seen then.

    Raises:
        CommitConflict: `may_follow` does not hold: another replay went on meanwhile.
        StoreUnavailable: the store does not answer.
    """
    metadata = {REPLAY_KEY: str(number)}
    version = commit_upon(lake, name, files, may_follow, metadata=metadata, transactions=[replays_entry(number)])
    if version is None:
        raise CommitConflict(f"another replay of {lake.uri} went on at the same time: run it again when that has ended")
