"""A lake with work for every step of a compaction, made once by a real worker; each test works on a copy."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from deltalake import DeltaTable

from compaction import job
from sink.lake import Lake
from tests.broker import fresh_name
from tests.compactors import Compactors
from tests.ledger import Ledger, rows_in
from tests.reading import Reader, each_id_once, gold_history, gold_only_grows, silver_history
from tests.s3 import S3, copy, filesystem
from tests.viewing import measures, measures_in, viewing
from tests.workers import Workers

PARTITIONS = 2
CLOSED = "old"
"""Prefix of the ids that are in silver from the beginning."""
_WAVES = 3


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


@dataclass(frozen=True)
class Place:
    """Where a test's copy of that lake is: on a disk or on an S3 API.

    Attributes:
        uri: as `--lake` takes it.
        bring: gives a folder with what is there now.
    """

    uri: str
    bring: Callable[[], Path]


def on_disk(viewed: Viewed, folder: Path) -> Place:
    """Copy it to a folder."""
    shutil.copytree(viewed.folder, folder)
    return Place(str(folder), lambda: folder)


def on_s3(viewed: Viewed, s3: S3, folder: Path) -> Place:
    """Copy it to a fresh prefix; `bring` brings it to `folder`."""
    prefix = fresh_name("viewed")
    filesystem(s3).put(f"{viewed.folder}/", f"{s3.bucket}/{prefix}/", recursive=True)
    return Place(f"s3://{s3.bucket}/{prefix}", lambda: copy(s3, prefix, folder))


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
            ledger.send_spread(viewing(dice, 100, f"{prefix}{wave}", day=day, of=before), PARTITIONS)
            worker.until(lambda: rows_in(folder, "bronze") == len(ledger), "a wave is in bronze")

    send(CLOSED, 0)
    worker.until(lambda: rows_in(folder) + rows_in(folder, "quarantine") == len(ledger), "the closed ids are in silver")
    compactors.run(folder)
    send("new", 2)
    assert 0 == worker.stop()
    return Viewed(folder, ledger)


def all_is_right(place: Place, viewed: Viewed, *more: Ledger, reader: Reader | None = None) -> None:
    """Every record in the lake as promised, nothing left to compact, gold what was sent; and no reader saw otherwise.

    That is: not `reader` at its looks, and nobody could have at any version that silver or a gold table had.
    """
    ledgers = (viewed.ledger, *more)
    lake = place.bring()
    assert [] == [step.name for step in job.run(Lake.at(str(lake))) if step.changed]
    for ledger in ledgers:
        ledger.agrees_with(lake, is_deduped=True)
    wanted = measures([value for ledger in ledgers for value in ledger.values])
    assert wanted == measures_in(lake)
    each_id_once(silver_history(lake, CLOSED, since=viewed.version), viewed.closed_ids)
    gold_only_grows(gold_history(lake), wanted)
    if reader is not None:
        reader.saw_each_once(viewed.closed_ids, wanted)
