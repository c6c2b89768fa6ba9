"""Expire bronze, silver or quarantine: the oldest days leave the table, and `verify` is told which positions they held.

Of silver, gold keeps what it has of those days and never computes it anew (`sink.gone.expired_before`), but for the
tables that name sessions or viewers, which lose them, too (`docs/decisions/019-expire-silver.md`).
"""

from __future__ import annotations

import datetime as dt
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError, DeltaError

from compaction import gold_files
from compaction.delta_log import EXPIRE_KEY, DataFile, dates_of, live_files
from compaction.manifests import refresh_manifests
from compaction.ranges import ranges_of
from compaction.replace import replace_files
from compaction.workspace import MEMORY_LIMIT, workspace
from schemas.errors import CommitConflict
from sink.event_ids import create_event_id_of
from sink.gone import expired_before, expired_before_entry, remember
from sink.lake import Lake, store_trouble
from sink.scan import create_view

TABLES: Final = ("bronze", "silver", "quarantine")
_POSITION: Final = "topic, topic_id, kafka_partition, kafka_offset"
_MAX_ATTEMPTS: Final = 12


@dataclass(frozen=True)
class Expired:
    """What an expiry took out of a table, or would.

    Attributes:
        dates: its lake partitions, as ISO text, oldest first.
        files: how many data files.
        rows: their rows; None where the log does not say.
        bytes: their bytes.
        version: the table's version without them; None when nothing was changed.
    """

    dates: tuple[str, ...]
    files: int
    rows: int | None
    bytes: int
    version: int | None = None


def preview_expire(lake: Lake, before: dt.date, *, table: str = "bronze") -> Expired:
    """Return what `expire` would take out now; changes nothing. Arguments and errors are those of `expire`."""
    return _described(_old_files(lake, lake.table(table), table, before))


def expire(
    lake: Lake,
    before: dt.date,
    *,
    table: str = "bronze",
    memory_limit: str = MEMORY_LIMIT,
    step: Callable[[str], None] = lambda name: None,
) -> Expired:
    """Take the days before a date out of a table, in one atomic commit, after their positions were kept.

    Idempotent, and safe to stop at any point: positions that are kept and still in the table do no harm. The files
    themselves are deleted by the vacuum of a later compaction.

    Args:
        lake: where.
        before: lake partitions before this date go: ingest dates, of silver event dates. The null partition stays.
        table: `bronze`, `silver` or `quarantine`.
        memory_limit: DuckDB's, for reading positions.
        step: called with `before expire` (positions kept, nothing gone) and `after expire`: fault points of tests.

    Raises:
        LakeNotFound, IncompatibleLake, StoreUnavailable: as `Lake.table`.
        CommitConflict: others took up its files at every attempt; nothing was changed.
    """
    expire_id = f"{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"
    for _ in range(_MAX_ATTEMPTS):
        handle = lake.table(table)
        old = _old_files(lake, handle, table, before)
        if not old:
            break
        _remember(lake, handle, table, old, expire_id, memory_limit)
        version = replace_files(
            lake,
            table,
            old,
            [],
            changes_data=True,
            metadata={EXPIRE_KEY: expire_id},
            transactions=[] if table == "bronze" else [expired_before_entry(handle, before)],
            before_commit=lambda: step("before expire"),
        )
        if version is not None:
            step("after expire")
            break
    else:
        raise CommitConflict(
            f"{lake.path(table)} was changed by others at each of {_MAX_ATTEMPTS} tries; nothing was changed: "
            "run it again"
        )
    if table == "silver":
        _expire_gold(lake)
    return _described(old, version if old else None)


def _old_files(lake: Lake, handle: DeltaTable, table: str, before: dt.date) -> list[DataFile]:
    files = live_files(handle, lake.path(table))
    return [file for file in files if file.partition is not None and file.partition < before.isoformat()]


def _remember(
    lake: Lake, handle: DeltaTable, table: str, old: Sequence[DataFile], expire_id: str, memory_limit: str
) -> None:
    """Keep the positions that go; of silver also those whose only reason to be in no table goes."""
    with workspace(lake, memory_limit) as con:
        create_view(con, "going", handle, [file.path for file in old])
        if table == "bronze":
            remember(lake, "expired", ranges_of(con, expire_id))
            return
        if table == "silver":
            create_event_id_of(con)
            create_view(con, "silver", handle)
            for name in ("quarantine", "bronze"):
                create_view(con, name, lake.table(name))
            repeats: pa.Table = con.sql(_sql("repeats_of_going")).to_arrow_table()
            con.register("repeats", repeats)
            con.execute(f"create temp table all_going as select {_POSITION} from going union all from repeats")  # noqa: S608
            con.execute("create or replace view going as from all_going")
        remember(lake, "settled", ranges_of(con, expire_id))


def _expire_gold(lake: Lake) -> None:
    """Take expired dates out of the gold tables that name sessions or viewers: nothing could forget those any more."""
    before = expired_before(lake.table("silver"))
    names = [f"gold/{file.name}" for file in gold_files.load().values() if file.is_dated and file.names_people]
    names = [name for name in names if lake.exists(name)]
    for name in names if before is not None else ():
        for _ in range(_MAX_ATTEMPTS):
            handle = lake.table(name)
            if not any((file.partition or "") < str(before) for file in live_files(handle, lake.path(name))):
                break
            try:
                handle.delete(f"event_date < date '{before}'")
            except CommitFailedError:
                continue
            except (OSError, DeltaError) as error:
                raise store_trouble(lake.path(name), error) from error
        else:
            raise CommitConflict(
                f"{lake.path(name)} was changed by others at each of {_MAX_ATTEMPTS} tries: run it again"
            )
    refresh_manifests(lake, names)


def _sql(name: str) -> str:
    return files("compaction").joinpath(f"{name}.sql").read_text(encoding="utf-8")


def _described(old: Sequence[DataFile], version: int | None = None) -> Expired:
    rows = [file.rows for file in old]
    return Expired(
        tuple(sorted(dates_of(old))),
        len(old),
        None if None in rows else sum(row or 0 for row in rows),
        sum(file.size for file in old),
        version,
    )
