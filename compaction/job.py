"""The compaction job: repair, dedupe, compact, gold, vacuum, in that order, each said in one line.

The order matters: repair moves rows to dates that dedupe then looks at, dedupe rewrites files that compaction would
have merged for nothing, and gold reads what is left. Tables that have manifests get new ones after all of these.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from compaction import gold_files
from compaction.compact import TARGET_FILE_BYTES, compact, plan
from compaction.dedupe import count_repeats, dedupe
from compaction.gold import pending, refresh
from compaction.gold_engine import Engine
from compaction.manifests import refresh_manifests
from compaction.marks import why_not_repaired
from compaction.repair import columns_to_add, preview, repair
from compaction.repair_rules import RepairRules
from compaction.retention import Retention, clean_up
from compaction.workspace import MEMORY_LIMIT
from sink.lake import Lake


@dataclass(frozen=True)
class Step:
    """One step of the job, done.

    Attributes:
        name: `repair`, `dedupe`, `compact`, `gold` or `vacuum`.
        line: what it did, for people.
        changed: whether it committed or deleted anything (in a dry run: would).
        detail: the same for programs: JSON values only.
        seconds: how long it took.
    """

    name: str
    line: str
    changed: bool
    detail: dict[str, Any]
    seconds: float


def run(
    lake: Lake,
    *,
    target_file_bytes: int = TARGET_FILE_BYTES,
    memory_limit: str = MEMORY_LIMIT,
    should_vacuum: bool = True,
    should_refresh_gold: bool = True,
    repair_rules: RepairRules | None = None,
    implausible: bool = False,
    retention: Retention | None = None,
    step: Callable[[str], None] | None = None,
) -> Iterator[Step]:
    """Do the job once, yielding each step when it is done: of a table of somebody else's repair, compact, vacuum.

    Idempotent, and safe to stop at any point: every step leaves a lake that readers and the next run understand.

    Args:
        lake: where.
        target_file_bytes: how large compacted files should become.
        memory_limit: DuckDB's, for dedupe and gold.
        should_vacuum: whether to look for files to delete, which lists every folder of the lake.
        should_refresh_gold: whether gold is this job's task, and not that of `gold --engine spark`.
        repair_rules: where repair finds times; None: those that ship.
        implausible: whether repair takes rows, too, whose date can't be right.
        retention: how long replaced files and the log stay; None: a week.
        step: called with a name before and after each commit (`before repair`, `after gold` …): fault points of tests.

    Raises:
        LakeNotFound, IncompatibleLake, StoreUnavailable, CommitConflict, RewriteMismatch: from the step that failed;
            those before it are done.
    """
    lake.require()
    step = step or _no_fault
    yield run_repair(lake, repair_rules, implausible=implausible, is_required=False, step=step)
    if lake.is_own:
        yield _timed("dedupe", lambda: _dedupe(lake, memory_limit, step))
    yield _timed("compact", lambda: _compact(lake, target_file_bytes, step))
    if lake.is_own and should_refresh_gold:
        yield run_gold(lake, memory_limit=memory_limit, step=step)
    refresh_manifests(lake, _all_tables(lake))
    if should_vacuum:
        yield _timed("vacuum", lambda: _vacuum(lake, retention or Retention(), dry_run=False))


def outlook(
    lake: Lake,
    *,
    target_file_bytes: int = TARGET_FILE_BYTES,
    memory_limit: str = MEMORY_LIMIT,
    should_refresh_gold: bool = True,
    repair_rules: RepairRules | None = None,
    implausible: bool = False,
    retention: Retention | None = None,
) -> Iterator[Step]:
    """Yield what each step would do if it ran now, on its own; changes nothing.

    Raises:
        LakeNotFound, IncompatibleLake, StoreUnavailable: as `Lake.table`.
    """
    lake.require()
    yield _timed("repair", lambda: _would_repair(lake, repair_rules, implausible))
    if lake.is_own:
        yield _timed("dedupe", lambda: _would_dedupe(lake, memory_limit))
    yield _timed("compact", lambda: _would_compact(lake, target_file_bytes))
    if lake.is_own and should_refresh_gold:
        yield _timed("gold", lambda: _would_refresh(lake))
    yield _timed("vacuum", lambda: _vacuum(lake, retention or Retention(), dry_run=True))


def _no_fault(name: str) -> None: ...


def run_repair(
    lake: Lake,
    rules: RepairRules | None = None,
    *,
    implausible: bool = False,
    is_required: bool = True,
    step: Callable[[str], None] | None = None,
) -> Step:
    """Do the job's first step alone; raises what `compaction.repair.repair` does.

    Args:
        lake: where.
        rules: where repair finds times; None: those that ship.
        implausible: whether rows count, too, whose date can't be right.
        is_required: whether a table whose rows must not be changed is an error, or left alone.
        step: fault points, see `run`.
    """
    if not is_required and (refused := why_not_repaired(lake)) is not None:
        return Step("repair", f"left alone, since {refused}", False, {"left_alone": refused, "total": 0}, 0.0)
    return _timed("repair", lambda: _repair(lake, rules, implausible, step or _no_fault))


def run_gold(
    lake: Lake,
    *,
    full: bool = False,
    memory_limit: str = MEMORY_LIMIT,
    engine: Engine | None = None,
    step: Callable[[str], None] | None = None,
) -> Step:
    """Do the job's gold step alone; arguments and errors are those of `compaction.gold.refresh`."""
    return _timed("gold", lambda: _gold(lake, full, memory_limit, engine, step or _no_fault))


def versions(lake: Lake) -> dict[str, int]:
    """Return the newest versions of the lake's tables but gold: what tells a job that nothing happened."""
    return {name: lake.table(name).version() for name in lake.tables}


_Outcome = tuple[str, bool, dict[str, Any]]


def _timed(name: str, step: Callable[[], _Outcome]) -> Step:
    started = time.perf_counter()
    line, changed, detail = step()
    return Step(name, line, changed, detail, time.perf_counter() - started)


def _repair(lake: Lake, rules: RepairRules | None, implausible: bool, step: Callable[[str], None]) -> _Outcome:
    done = repair(lake, rules, implausible=implausible, step=step)
    sources = ", ".join(f"{rows:,} from the {source}" for source, rows in sorted(done.rows.items()))
    stay = f"{_count(done.left, 'row')} in the null partition"
    dated = f"{_count(done.total, 'row')} got a date ({sources}) as repair {done.repair_id}"
    line = f"{dated if done.total else 'nothing to repair'}; {stay}"
    return line, done.total > 0, asdict(done) | {"total": done.total}


def _would_repair(lake: Lake, rules: RepairRules | None, implausible: bool) -> _Outcome:
    refused = why_not_repaired(lake)
    if refused is not None:
        return f"would be left alone, since {refused}", False, {"left_alone": refused}
    lines = preview(lake, rules, implausible=implausible)
    added = columns_to_add(lake, implausible=implausible)
    by_source: dict[str | None, int] = {}
    for entry in lines:
        by_source[entry.event_date_source] = by_source.get(entry.event_date_source, 0) + entry.rows
    lost = by_source.pop(None, 0)
    total = sum(by_source.values())
    sources = ", ".join(f"{rows:,} from the {source}" for source, rows in sorted(by_source.items(), key=str))
    line = f"{_count(total, 'row')} would get a date{f' ({sources})' if sources else ''}; {lost:,} would stay without"
    line += f"; the table would get the columns {', '.join(added)}" if total and added else ""
    return line, total > 0, {"rows": by_source, "total": total, "left": lost, "columns_added": added if total else []}


def _dedupe(lake: Lake, memory_limit: str, step: Callable[[str], None]) -> _Outcome:
    done = dedupe(lake, memory_limit=memory_limit, step=step)
    dropped = f"{_count(done.rows, 'repeated event')} dropped" if done.rows else "no repeated events"
    return f"{dropped}; {_count(done.dates, 'date')} looked at", done.rows > 0, asdict(done)


def _would_dedupe(lake: Lake, memory_limit: str) -> _Outcome:
    rows = count_repeats(lake, memory_limit=memory_limit)
    return f"{_count(rows, 'repeated event')} would be dropped", rows > 0, {"rows": rows}


def _compact(lake: Lake, target_file_bytes: int, step: Callable[[str], None]) -> _Outcome:
    done = [compact(lake, name, target_file_bytes, step=step) for name in lake.tables]
    before, after = (sum(getattr(table, key) for table in done) for key in ("files_before", "files_after"))
    partitions = sum(table.partitions for table in done)
    left = sum(table.left for table in done)
    if partitions:
        line = f"{_count(before, 'file')} became {after:,}, in {_count(partitions, 'lake partition')}"
    else:
        line = f"nothing worth merging; {_count(after, 'file')}"
    line += f"; {left:,} left to the next run, others changed them" if left else ""
    return line, partitions > 0, {table.table: asdict(table) for table in done}


def _would_compact(lake: Lake, target_file_bytes: int) -> _Outcome:
    found = plan(lake, target_file_bytes)
    files = sum(candidate.files for candidate in found)
    line = f"{_count(files, 'small file')} of {_count(len(found), 'lake partition')} would be merged"
    detail = [
        {"table": c.table, "partition": c.partition, "files": c.files, "bytes": c.bytes, "becomes": len(c.bins)}
        for c in found
    ]
    return line, bool(found), {"candidates": detail}


def _gold(lake: Lake, full: bool, memory_limit: str, engine: Engine | None, step: Callable[[str], None]) -> _Outcome:
    done = refresh(lake, full=full, memory_limit=memory_limit, engine=engine, step=step)
    changed = [table for table in done if table.how != "unchanged"]
    dates = max((table.dates for table in done), default=0)
    if changed:
        line = f"{_count(len(changed), 'table')} of {len(done)} brought up to date; {_count(dates, 'date')} computed"
    else:
        line = f"{_count(len(done), 'table')}, all up to date"
    return line, bool(changed), {table.name: asdict(table) for table in done}


def _would_refresh(lake: Lake) -> _Outcome:
    stale = pending(lake)
    line = f"{_count(len(stale), 'table')} would be brought up to date" if stale else "all tables up to date"
    return line, bool(stale), {"stale": stale}


def _vacuum(lake: Lake, retention: Retention, *, dry_run: bool) -> _Outcome:
    deleted = clean_up(lake, _all_tables(lake), retention, dry_run=dry_run)
    verb = "would be deleted" if dry_run else "deleted"
    span = f"{retention.span / dt.timedelta(days=1):g} days"
    line = f"{_count(deleted.files, 'file')} {verb} that no version of the last {span} names"
    line += f"; {_count(deleted.log_files, 'file')} of logs" if deleted.log_files else ""
    return line, deleted.files + deleted.log_files > 0, asdict(deleted)


def _all_tables(lake: Lake) -> list[str]:
    return [*lake.tables, *(f"gold/{name}" for name in gold_files.table_names() if lake.is_own)]


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
