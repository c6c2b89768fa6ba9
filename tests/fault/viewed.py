"""A lake with work for every step of a compaction, made once by a real worker; each test works on a copy."""

from __future__ import annotations

import json
import random
import shutil
from dataclasses import dataclass
from pathlib import Path

from deltalake import DeltaTable

from compaction import job
from sink.lake import Lake
from tests.compactors import Compactors
from tests.ledger import Ledger, rows_in
from tests.reading import Reader, each_id_once, gold_history, gold_only_grows, silver_history
from tests.viewing import Measures, measures, measures_in, viewing
from tests.workers import Workers

PARTITIONS = 2
CLOSED = "old"
"""Prefix of the ids that are in silver from the beginning."""
_WAVES = 5


@dataclass(frozen=True)
class Viewed:
    """Where it is, and what was sent.

    Attributes:
        folder: the lake. Ids that begin with `CLOSED` were compacted and are in gold; later ones, and more repeats of
            those, are not.
        ledger: of its topic.
    """

    folder: Path
    ledger: Ledger

    @property
    def version(self) -> int:
        """Silver's version."""
        return DeltaTable(f"{self.folder}/silver/playback_events").version()

    @property
    def closed_ids(self) -> int:
        """How many ids are closed."""
        return len({name for name in ids_of(self.ledger) if name.startswith(CLOSED)})

    def copy_to(self, folder: Path) -> Path:
        """Copy the lake and return where to."""
        return shutil.copytree(self.folder, folder)


def ids_of(ledger: Ledger) -> set[str]:
    """Ids of the valid events."""
    return {json.loads(value)["event_id"] for value in ledger.values if value and value.endswith(b"}")}


def make(ledger: Ledger, workers: Workers, compactors: Compactors, folder: Path) -> Viewed:
    """Fill a lake in many small flushes, with one compaction half-way."""
    dice = random.Random(f"{__name__}")
    worker = workers.start(ledger.topic, folder, "--allowed-latency", "50ms")

    def send(prefix: str, day: int) -> None:
        for wave in range(_WAVES):
            before = [value for value in ledger.values if value and value.endswith(b"}")]
            ledger.send_spread(viewing(dice, 60, f"{prefix}{wave}", day=day, of=before), PARTITIONS)
            worker.until(lambda: rows_in(folder, "bronze") == len(ledger), "a wave is in bronze")

    send(CLOSED, 0)
    worker.until(lambda: rows_in(folder) + rows_in(folder, "quarantine") == len(ledger), "the closed ids are in silver")
    compactors.run(folder)
    send("new", 2)
    assert 0 == worker.stop()
    return Viewed(folder, ledger)


def all_is_right(lake: Path, *ledgers: Ledger) -> Measures:
    """Every record in the lake as promised, nothing left to compact, and gold what was sent; return what gold is."""
    assert [] == [step.name for step in job.run(Lake.at(str(lake))) if step.changed]
    for ledger in ledgers:
        ledger.agrees_with(lake, is_deduped=True)
    wanted = measures([value for ledger in ledgers for value in ledger.values])
    assert wanted == measures_in(lake)
    return wanted


def nobody_saw_less_or_double(lake: Path, reader: Reader, viewed: Viewed, upto: Measures) -> None:
    """Not the reader at its looks, and nobody could have at any version that silver or a gold table had."""
    reader.saw_each_once(viewed.closed_ids, upto)
    each_id_once(silver_history(lake, CLOSED, since=viewed.version), viewed.closed_ids)
    gold_only_grows(gold_history(lake), upto)
