"""After a person was forgotten: delete the files that held their rows at once, and clear the logs of what they say.

Commits of a log are cleared in place, never deleted: a writer that stopped before it committed could otherwise put its
commit where a deleted one was, below the newest checkpoint, and lose it (`docs/decisions/035-forget.md`).
"""

from __future__ import annotations

import json
import os
import re
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from compaction.person import Person
from sink.lake import Lake, store_trouble

_ORPHAN_HOURS: Final = 1
"""Files that no commit names may be of a flush under way until they are this old."""
_WORKERS: Final = 16
_COMMIT = re.compile(r"(\d{20})\.json")
_CHECKPOINT = re.compile(r"(\d{20})\.checkpoint\b.*\.parquet")
_FILE_ACTIONS: Final = ("add", "remove", "cdc")
_KEPT_INFO: Final = ("timestamp", "inCommitTimestamp", "operation", "engineInfo", "clientVersion")


@dataclass(frozen=True)
class Purged:
    """What a purge did.

    Attributes:
        files: data files deleted.
        checkpoints: old checkpoints of logs deleted; each table has a new one.
        commits: commits of logs that were cleared of statistics and parameters.
        young: files that no commit names and that may be of a flush under way, since they are not an hour old; a purge
            later takes those that are left.
    """

    files: int
    checkpoints: int
    commits: int
    young: int


def purge(lake: Lake, person: Person, *, step: Callable[[str], None] = lambda name: None) -> Purged:
    """Delete what old versions of the lake's tables hold, and clear the logs of a person's ids.

    After it, versions from before can't be read, and whoever reads one at the moment fails. Idempotent, and safe to
    stop at any point and to run beside workers and compactions (which fail where they read a file that goes, and go
    on with their next run).

    Args:
        lake: where; the person's rows have left its tables.
        person: whom.
        step: called with `before purge` and `after purge` around each table: fault points of tests.

    Raises:
        StoreUnavailable: the store does not answer or refuses. Running again is safe.
    """
    done = []
    for name in [*lake.tables, *_gold(lake)]:
        step("before purge")
        try:
            done.append(_purge_table(lake, name, person))
        except (OSError, DeltaError) as error:
            raise store_trouble(lake.path(name), error) from error
        step("after purge")
    return Purged(*(sum(getattr(each, key) for each in done) for key in ("files", "checkpoints", "commits", "young")))


def _gold(lake: Lake) -> list[str]:
    """Return all gold tables that are there, also those that this playlake has no SQL for."""
    try:
        found = [
            str(path).rstrip("/").rsplit("/", 1)[-1] for path in lake.filesystem().ls(f"{lake.uri}/gold", detail=False)
        ]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise store_trouble(f"{lake.uri}/gold", error) from error
    return [f"gold/{name}" for name in sorted(found) if lake.exists(f"gold/{name}")]


def _purge_table(lake: Lake, name: str, person: Person) -> Purged:
    handle = lake.table(name)
    before = _data_files(lake, name)
    _vacuum(handle, 0, full=False)  # only what a commit removed: never what a flush is about to commit
    _vacuum(handle, _ORPHAN_HOURS, full=True)
    after = _data_files(lake, name)
    handle = lake.table(name)
    handle.create_checkpoint()
    log = f"{lake.path(name)}/_delta_log"
    files = [str(path).rsplit("/", 1)[-1] for path in lake.filesystem().ls(log, detail=False)]
    old = [each for each in files if (match := _CHECKPOINT.fullmatch(each)) and int(match[1]) < handle.version()]
    for each in old:
        lake.filesystem().rm(f"{log}/{each}")
    live = {unquote(path) for path in pa.table(handle.get_add_actions(flatten=True))["path"].to_pylist()}
    is_ours = name in lake.tables  # whose statistics leave people's ids out

    def clear(path: str) -> bool:
        before = lake.filesystem().cat_file(path)
        after = cleared(before, live, person, everywhere=not is_ours)
        if after == before:
            return False
        _replace(lake, path, after)
        return True

    known = [each for each in files if (match := _COMMIT.fullmatch(each)) and int(match[1]) <= handle.version()]
    with ThreadPoolExecutor(_WORKERS) as pool:
        commits = sum(pool.map(clear, [f"{log}/{each}" for each in known]))
    return Purged(len(before - after), len(old), commits, len(after - live))


def _vacuum(handle: DeltaTable, hours: int, *, full: bool) -> None:
    handle.vacuum(hours, dry_run=False, enforce_retention_duration=False, full=full)


def _data_files(lake: Lake, name: str) -> set[str]:
    """Return the Parquet files in a table's folder, whoever names them, as paths below it."""
    root = lake.path(name).removeprefix("s3://")
    found = {str(path).removeprefix("s3://").removeprefix(f"{root}/") for path in lake.filesystem().find(root)}
    return {path for path in found if path.endswith(".parquet") and not path.startswith("_")}


def cleared(commit: bytes, live: set[str], person: Person, *, everywhere: bool) -> bytes:
    """Return a commit without what it says about rows that are gone.

    Args:
        commit: JSON lines, as the Delta protocol has them.
        live: paths of files, below the table's folder, whose statistics stay.
        person: whose ids must not be in it.
        everywhere: clear the statistics of every file that isn't live, else only those in which an id stands.
    """
    return b"\n".join(_cleared_line(line, live, person, everywhere) for line in commit.split(b"\n"))


def _cleared_line(line: bytes, live: set[str], person: Person, everywhere: bool) -> bytes:
    if not line.strip():
        return line
    action: dict[str, Any] = json.loads(line)
    for kind in _FILE_ACTIONS:
        file = action.get(kind)
        if file and unquote(file["path"]) not in live and (everywhere or person.is_named_in(line)):
            kept = {key: value for key, value in file.items() if key not in ("stats", "tags")}
            if kept != file:
                return json.dumps({kind: kept}, separators=(",", ":")).encode()
    info = action.get("commitInfo")
    if info and person.is_named_in(line):
        kept = {key: value for key, value in info.items() if key in _KEPT_INFO or key.startswith("playlake.")}
        return json.dumps({"commitInfo": kept}, separators=(",", ":")).encode()
    return line


def _replace(lake: Lake, path: str, content: bytes) -> None:
    """Put other content in a file's place, atomically; on a disk with the time at which it was written."""
    if lake.is_s3:
        lake.filesystem().pipe_file(path, content)
        return
    place = Path(path)
    new = place.with_name(f".{place.name}.{uuid.uuid4()}.tmp")
    try:
        new.write_bytes(content)
        written = place.stat()
        os.utime(new, ns=(written.st_atime_ns, written.st_mtime_ns))
        new.replace(place)
    finally:
        new.unlink(missing_ok=True)
