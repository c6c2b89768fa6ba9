"""A folder or bucket of files as a worker's origin of records."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from faust.types import TP

from landing.notifications import Queue
from landing.place import Place, id_of, topic_of
from landing.read import Format
from schemas.errors import StoreUnavailable
from sink.lake import Lake
from sink.ledger import Ledger
from sink.positions import Source
from stream_app.arrivals import Arrivals
from stream_app.batches import PositionKeeper
from stream_app.files_transport import Consumer, Transport
from stream_app.intake import Intake
from stream_app.patience import Patience


@dataclass
class FilesOrigin:
    """A place where files land, read by one worker.

    Attributes:
        place: where.
        lake: that takes them in.
        arrivals: tells which are new.
        queue: of notifications; without one, names are listed.
        file_format: of all files; None goes by their names.
        every_s: seconds from one round's begin to the next one's; None for a single round.
        accept_gone: whether a file that went while it was taken counts as all that the lake has of it.
        after_round: called after a round that took files in, once they are in the lake.
        step: fault point of the ledger, see `Ledger`.
        counts: what was read.
    """

    place: Place
    lake: Lake
    arrivals: Arrivals
    queue: Queue | None = None
    file_format: Format | None = None
    every_s: float | None = None
    accept_gone: bool = False
    after_round: Callable[[], None] | None = None
    step: Callable[[str], None] | None = None
    counts: Intake = field(default_factory=Intake)
    _ledger: Ledger | None = None

    @property
    def topic(self) -> str:
        """The place's last folders."""
        return topic_of(self.place)

    @property
    def topic_id(self) -> str:
        """A digest of its address: a place is told from another by nothing else."""
        return id_of(self.place)

    @property
    def source(self) -> Source:
        """What its records' positions begin with."""
        return Source(self.topic, self.topic_id, 0)

    def require_known(self, lake: Lake, *, accept_new: bool) -> None:
        """Open the ledger; any place may be taken into any lake."""
        if lake.exists("silver"):
            lake.table("silver")  # of another playlake: refused before anything is written
        self._ledger = Ledger(lake, self.source, step=self.step)

    def require_same(self, should_give_up: Callable[[], bool]) -> None:
        """Do nothing: each file is compared with its entry in the ledger when it is opened."""

    def before_flush(self, should_give_up: Callable[[], bool]) -> None:
        """Commit to the ledger which files were begun, before any of their records is committed."""
        give_up = threading.Event()

        def write() -> None:
            try:
                self._opened().write()
            except StoreUnavailable:
                if should_give_up():
                    give_up.set()
                raise

        Patience(give_up)(write)

    def make_transport(self, app: Any, keeper: PositionKeeper) -> Transport:
        """Return the transport on files."""
        return Transport(app, origin=self, ledger=self._opened(), keeper=keeper)

    def has_reached_ends(self, consumer: Consumer, ends: Mapping[TP, tuple[int, int]]) -> bool:
        """Return whether a round was read to its end."""
        return bool(consumer.assignment()) and all(tp in ends for tp in consumer.assignment())

    def have_others_read(self, consumer: Consumer, lake: Lake) -> bool:
        """Answer yes: one worker reads all of it."""
        return True

    def _opened(self) -> Ledger:
        if self._ledger is None:
            raise AssertionError("require_known comes first")
        return self._ledger
