"""A stream in memory with what no emulator does: records that expire, iterators that do, throttling, slow tips."""

from __future__ import annotations

import bisect
import time
from dataclasses import dataclass, field

from kinesis import Answer, Description, IteratorExpired, Record
from schemas.errors import BrokerUnavailable

FIRST = 49_600_000_000_000_000_000_000_000_000_000_000_000_000_000_000_000_000_000
"""A sequence number of the length of real ones (186 bits hold it, 62 don't)."""


@dataclass
class ShardInMemory:
    """One shard; its sequence numbers are `FIRST`, `FIRST + 2`, `FIRST + 4`, …

    Attributes:
        records: what it has.
        is_closed: whether it ends with its last record.
        retention_s: how long the stream keeps records, by its own account.
        most: records of one answer.
        behind_ms: how far behind each answer but one from the tip says it is.
        expire_after: an iterator expires after this many answers from it and its successors.
        refuse: answers that are refused before one is given.
        asked: what iterators were asked for: None for the oldest record, else a sequence number.
    """

    records: list[Record] = field(default_factory=list)
    is_closed: bool = False
    retention_s: float = 86_400.0
    most: int = 3
    behind_ms: int = 60_000
    expire_after: int | None = None
    refuse: int = 0
    asked: list[int | None] = field(default_factory=list)

    def add(self, values: list[bytes], arrived_ms: int | None = None) -> None:
        now_ms = time.time_ns() // 1_000_000 if arrived_ms is None else arrived_ms
        for value in values:
            number = self.records[-1].sequence_number + 2 if self.records else FIRST
            self.records.append(Record(number, now_ms, "u1", value))

    def describe(self) -> Description:
        return Description("kinesis:test", self.retention_s)

    def iterator(self, shard_id: str, *, at: int | None = None, after: int | None = None) -> str:
        assert after is None, "reading on begins at the last record done"
        self.asked.append(at)
        return f"{at if at is not None else 0}:0"

    def get(self, iterator: str) -> Answer:
        if self.refuse:
            self.refuse -= 1
            raise BrokerUnavailable("Kinesis can't read the stream now (ProvisionedThroughputExceededException)")
        sequence_number, answers = map(int, iterator.split(":"))
        if self.expire_after is not None and answers >= self.expire_after:
            raise IteratorExpired("an iterator expired")
        first = bisect.bisect_left([record.sequence_number for record in self.records], sequence_number)
        found = self.records[first : first + self.most]
        is_last = first + self.most >= len(self.records)
        if self.is_closed and is_last:
            return Answer(found, None, 0)
        next_number = found[-1].sequence_number + 1 if found else sequence_number
        return Answer(found, f"{next_number}:{answers + 1}", 0 if is_last else self.behind_ms)
