"""Which files of a place are new: what it lists, less what the ledger has.

Names that ascend with time, as Firehose's do, are listed from behind the name up to which all is settled: what was
listed there is older than `late_s` and taken. So a round costs what arrived within that time, however many files were
ever taken. Files that come later than that, under a name before it, are found by a sweep of all names, once in
`sweep_s`. Names in no order of time are told by their dates, and all of them are listed in each round.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from landing.place import File, Place, is_wanted
from sink.ledger import Taken

LATE_S: Final = 2 * 86_400.0
"""Firehose tries for a day to deliver a file under the name of its first hour."""
SWEEP_S: Final = 86_400.0
_TOLERANCE_US: Final = 3_600_000_000
_LATE_SHARE: Final = 0.01
_FEW: Final = 3


@dataclass
class Round:
    """What one round found.

    Attributes:
        is_sweep: whether all names were listed.
        listed: files looked at.
        new: of these, those to be taken, counted as they are.
        late: of these, those found only by listing all names.
        changed: files with another content than when they were taken; left alone.
        waiting: files too young to be taken yet.
        left: files that went or changed before they could be read: a next round is to find out.
        settled: the name up to which nothing more need be listed; None where names are in no order of time.
        is_complete: whether it was listed to its end; before that `settled` is of the round before.
    """

    is_sweep: bool
    listed: int = 0
    new: int = 0
    late: int = 0
    changed: list[File] = field(default_factory=list)
    waiting: int = 0
    left: int = 0
    settled: str | None = None
    is_complete: bool = False


class Arrivals:
    """Lists a place, round by round.

    Attributes:
        wants: whether a file of this name is data.
    """

    def __init__(
        self,
        place: Place,
        *,
        settle_s: float,
        late_s: float = LATE_S,
        sweep_s: float = SWEEP_S,
        wants: Callable[[str], bool] = is_wanted,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Set up.

        Args:
            place: what is listed.
            settle_s: files younger than this are left to later rounds: they may be being written still.
            late_s: files that come no later than this after others with greater names are found in every round.
            sweep_s: all names are listed once in this time.
            wants: whether a file of this name is data.
            clock: Unix time.
        """
        self._place = place
        self._settle_us = round(settle_s * 1e6)
        self._late_us = round(late_s * 1e6)
        self._sweep_s = sweep_s
        self.wants = wants
        self._clock = clock

    def new_round(self, settled: str | None, swept_s: int | None, *, is_told: bool = False) -> Round:
        """Return a round: of all names where the last sweep is long ago, or nothing is settled.

        Args:
            settled: the name up to which nothing more need be listed; None where there is none.
            swept_s: when all names were listed the last time; None for never.
            is_told: whether notifications tell of what is new: only sweeps list names then.
        """
        is_due = swept_s is None or self._clock() - swept_s >= self._sweep_s
        return Round(is_sweep=is_due or (settled is None and not is_told), settled=settled)

    def files(self, found: Round, taken: Iterable[Taken]) -> Iterator[File]:
        """Yield the files of a round that were not taken, and note in it what else there is.

        Args:
            found: from `new_round`.
            taken: what the ledger has behind the settled name (of a sweep: all), in the order of the bytes of names.
        """
        before = found.settled
        after = "" if found.is_sweep else found.settled or ""
        known = iter(taken)
        at = next(known, None)
        now_us = round(self._clock() * 1e6)
        modified: list[int] = []
        settled, is_settled = before if not found.is_sweep else None, True
        for file in self._place.files(after):
            if not self.wants(file.path):
                continue
            found.listed += 1
            modified.append(file.modified_us)
            is_settled = is_settled and file.modified_us <= now_us - self._late_us
            if is_settled:
                settled = file.path
            name = file.path.encode()
            versions = []
            while at is not None and at.path.encode() <= name:
                if at.path == file.path:
                    versions.append(at)
                at = next(known, None)
            if versions:
                if not any((file.size, file.etag) == (version.size, version.etag) for version in versions):
                    found.changed.append(file)
            elif file.modified_us > now_us - self._settle_us:
                found.waiting += 1
                is_settled = False
            else:
                found.new += 1
                found.late += before is not None and name <= before.encode()
                yield file
        found.settled = settled if in_time_order(modified) else None
        found.is_complete = True


def in_time_order(modified_us: list[int]) -> bool:
    """Return whether files, in the order of their names, came in that order, but for one in a hundred.

    Args:
        modified_us: when each was written, microseconds since 1970.
    """
    late, earliest = 0, None
    for time_us in reversed(modified_us):
        if earliest is not None and time_us > earliest + _TOLERANCE_US:
            late += 1
        earliest = time_us if earliest is None else min(earliest, time_us)
    return late <= max(_FEW, _LATE_SHARE * len(modified_us))
