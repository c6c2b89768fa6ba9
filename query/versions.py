"""Time travel: which version of each table `--as-of` means.

Commit times are those in the log's `commitInfo`, not the files' modification times, so that a copied lake answers the
same.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from typing import Any, Final

from deltalake import DeltaTable

from schemas.errors import ConfigError, LakeNotFound, StoreUnavailable
from sink.lake import Lake, store_trouble

_COMMIT: Final = re.compile(r"(\d{20})\.json")


def moment(lake: Lake, as_of: str | int | dt.datetime) -> dt.datetime:
    """Return the time that `as_of` means.

    Args:
        lake: whose silver gives the time of a version.
        as_of: ISO 8601 text or a datetime (naive ones are UTC), or the number of a version of silver.

    Raises:
        ConfigError: no time, or a version that silver's log does not have.
    """
    if isinstance(as_of, str):
        as_of = as_of.strip()
        if as_of.isdecimal():
            as_of = int(as_of)
        else:
            try:
                as_of = dt.datetime.fromisoformat(as_of)
            except ValueError:
                raise ConfigError(
                    f"{as_of!r} is neither a time nor a version: write 2026-11-21T18:00:00Z, or a version of silver"
                ) from None
    if isinstance(as_of, dt.datetime):
        return as_of if as_of.tzinfo is not None else as_of.replace(tzinfo=dt.UTC)
    log = _Log(lake, "silver")
    if as_of not in log.versions:
        first, last = log.versions[0], log.versions[-1]
        raise ConfigError(f"silver has no version {as_of} in its log: it has {first} to {last}")
    return log.time(as_of)


def table_at(lake: Lake, name: str, at: dt.datetime) -> DeltaTable:
    """Open a table at the newest version that was committed at or before a time.

    Raises:
        LakeNotFound: the table is younger, or isn't there.
        ConfigError: the log does not reach back that far.
    """
    log = _Log(lake, name)
    low, high = -1, len(log.versions) - 1
    while low < high:
        middle = (low + high + 1) // 2
        if log.time(log.versions[middle]) <= at:
            low = middle
        else:
            high = middle - 1
    begun = f"{log.time(log.versions[0]):%Y-%m-%dT%H:%M:%SZ}"
    if low < 0:
        if log.versions[0] == 0:
            raise LakeNotFound(f"{name} was made later, at {begun}")
        raise ConfigError(f"the log of {name} was cleaned up: it begins at {begun}")
    try:
        return lake.table(name, log.versions[low])
    except (LakeNotFound, StoreUnavailable) as error:  # its commit is there, the checkpoint under it is not
        raise ConfigError(f"version {log.versions[low]} of {name} can't be opened any more: {error}") from error


class _Log:
    """The commits of a table's log that are still there."""

    def __init__(self, lake: Lake, name: str) -> None:
        self._folder = f"{lake.path(name)}/_delta_log"
        self._filesystem: Any = lake.filesystem()
        try:
            names = [str(path).rsplit("/", 1)[-1] for path in self._filesystem.ls(self._folder, detail=False)]
        except FileNotFoundError:
            raise LakeNotFound(f"there is no Delta table at {lake.path(name)}") from None
        except OSError as error:
            raise store_trouble(self._folder, error) from error
        self.versions = sorted(int(match[1]) for name in names if (match := _COMMIT.fullmatch(name)))
        if not self.versions:
            raise LakeNotFound(f"there is no Delta table at {lake.path(name)}")

    def time(self, version: int) -> dt.datetime:
        path = f"{self._folder}/{version:020}.json"
        try:
            actions = (json.loads(line) for line in self._filesystem.cat_file(path).decode().splitlines() if line)
        except OSError as error:
            raise store_trouble(path, error) from error
        milliseconds = next(
            (a["commitInfo"]["timestamp"] for a in actions if "timestamp" in a.get("commitInfo", {})), 0
        )
        return dt.datetime.fromtimestamp(milliseconds / 1000, dt.UTC)
