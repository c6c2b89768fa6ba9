"""A stream in memory that refuses as Kinesis does, single records and whole calls. No emulator throttles."""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence

from schemas.errors import BrokerUnavailable


class ThrottlingStream:
    """Takes records one call at a time and refuses some, at random or always.

    Attributes:
        taken: keys and values in the order in which it took them.
        sizes: records of each call.
    """

    name = "refusing"

    def __init__(self, refuse_share: float, away_share: float = 0.0, seed: int = 7) -> None:
        self._dice = random.Random(seed)
        self._refuse, self._away = refuse_share, away_share
        self._lock = threading.Lock()
        self.taken: list[tuple[str, bytes]] = []
        self.sizes: list[int] = []

    def put(self, records: Sequence[tuple[str, bytes]]) -> list[str | None]:
        with self._lock:
            self.sizes.append(len(records))
            if self._dice.random() < self._away:
                raise BrokerUnavailable("Kinesis can't put records now (ThrottlingException: Rate exceeded)")
            answers: list[str | None] = []
            for record in records:
                if self._dice.random() < self._refuse:
                    answers.append("ProvisionedThroughputExceededException")
                else:
                    self.taken.append(record)
                    answers.append(None)
            return answers
