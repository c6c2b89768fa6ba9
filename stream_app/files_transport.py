"""A Faust transport on files: a place is a topic of one Kafka partition, some megabytes of a file one Faust message.

One thread goes from round to round: it asks which files are new, notes each in the ledger, reads it, and hands its
records over; at a round's end, once all of them are in the lake, it notes that these files are done and lets go of the
notifications that told of them.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
from faust.transport import base
from faust.types import TP
from yarl import URL

from landing.notifications import Queue, Told
from landing.place import File, FileGone
from schemas.errors import BrokerUnavailable, CommitConflict, FenceLost, TransientError
from sink import positions
from sink.ledger import Ledger, fact_ids
from sink.writer import LakeWriter
from stream_app.arrivals import Round
from stream_app.batches import HANDED_OVER_BYTES, POLL_S, BatchConsumer, Fetched, PositionKeeper
from stream_app.intake import FileReader
from stream_app.kinesis_transport import ShardKeeper
from stream_app.patience import Patience
from stream_app.remembered import Remembered
from stream_app.tableless import SilentProducer

if TYPE_CHECKING:
    from stream_app.files_origin import FilesOrigin

_FLUSHED_CHECK_S: Final = 0.05
_JOIN_S: Final = 5.0
_AGAIN_S: Final = 2.0
"""After a round that could not be listed to its end."""
_log = logging.getLogger(__name__)


class Consumer(BatchConsumer):
    """Faust's consumer over one place, with the thread that reads it."""

    transport: Transport
    _keeper: ShardKeeper

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._origin = self.transport.origin
        self._place = self._origin.place
        self._source = self._origin.source
        self._tp = TP(self._source.topic, self._source.kafka_partition)
        self._subscribed = threading.Event()
        self._halted = threading.Event()
        self._reading = threading.Thread(target=self._read_until_closed, name="files", daemon=True)
        self._at_store = Patience(self._halted)
        self._at_place = Patience(self._halted, BrokerUnavailable, self._place.uri)
        self._is_assigned = False
        self._bronze = -1
        self._done = -1
        self._newest: int | None = None
        self._settled: str | None = None
        self._swept_s: int | None = None
        self._noted: dict[str, int] = {}
        self._told_changed: set[File] = set()

    # ---------------------------------------------------------------- life cycle

    async def on_start(self) -> None:
        """Start the thread; nothing is read before `subscribe`."""
        self._app_loop = asyncio.get_running_loop()
        self._reading.start()
        await super().on_start()

    async def on_stop(self) -> None:
        """End the thread."""
        await super().on_stop()
        self._closing.set()
        self._halted.set()
        await asyncio.to_thread(self._reading.join, _JOIN_S)

    async def subscribe(self, topics: Iterable[str]) -> None:
        """Begin to read; Faust's own topics (leader, replies) are not used."""
        self._subscribed.set()

    def _fail(self, error: BaseException) -> None:
        self._halted.set()
        super()._fail(error)

    def _read_until_closed(self) -> None:
        """Run the thread: its outermost shell, so whatever fails here stops the worker."""
        try:
            while not self._subscribed.wait(POLL_S):
                if self._closing.is_set():
                    return
            self._read_all()
        except BaseException as error:
            if not self._closing.is_set():
                self._fail(error)

    def _read_all(self) -> None:
        self._at_place(lambda: next(self._place.files(), None))
        self._claim_number += 1
        next_offset = (self._wait_for(self._keeper.claim({self._tp: 0}, self._claim_number)) or {}).get(self._tp)
        if next_offset is None:
            return
        ledger = self._at_store(lambda: self._claimed_ledger(next_offset))
        self._remembered = Remembered(ledger)
        self._is_assigned = True
        self._wait_for(self._tell_faust_assigned())
        reader = FileReader(
            self._place,
            self._source,
            ledger,
            file_format=self._origin.file_format,
            stopping=self._halted,
            hand_over=self._hand_over,
            counts=self._origin.counts,
        )
        reader.last_fetched = next_offset - 1
        self._reader = reader
        self._take_again(ledger, reader, next_offset)
        while not self._halted.is_set():
            began = time.monotonic()
            is_complete = self._round(ledger, reader)
            if is_complete and not self._app_loop.is_closed():
                reached = [(self._tp, reader.last_fetched + 1, reader.last_fetched)]
                self._app_loop.call_soon_threadsafe(self._take_over, [], reached)
            if is_complete and self._origin.every_s is None:
                return
            pause_s = self._origin.every_s or _AGAIN_S
            self._halted.wait(max(0.0, began + pause_s - time.monotonic()))

    # ---------------------------------------------------------------- what the lake knows

    def _claimed_ledger(self, next_offset: int) -> Ledger:
        """Claim the ledger under the claim on silver, and learn what both say of the place."""
        epochs: list[int] = []

        def learn(writer: LakeWriter) -> None:
            writer.require_owned()
            epochs.append(writer.epoch_of(self._source))

        self._wait_for(self._keeper.in_lake(learn))
        ledger = self.transport.ledger
        silver, bronze = self._origin.lake.table("silver"), self._origin.lake.table("bronze")
        done, settled, swept = (positions.version_of(silver, name) for name in fact_ids(self._source))
        if not epochs or positions.position(silver, self._source) != (next_offset - 1 if next_offset else None):
            raise self._fence_lost()
        ahead = positions.position(bronze, self._source)
        self._bronze = -1 if ahead is None else ahead
        self._done = -1 if done is None else done
        ledger.claim(epochs[0], self._bronze, self._done)
        self._swept_s = swept
        if settled is not None and settled >= 0:
            self._settled = ledger.name_of(settled)
        return ledger

    def _take_again(self, ledger: Ledger, reader: FileReader, next_offset: int) -> None:
        """Go on with the files that an earlier worker began and is not known to have ended."""
        begun = self._at_store(lambda: ledger.since(self._done + 1))
        for place, taken in enumerate(begun):
            until = begun[place + 1].first_offset if place + 1 < len(begun) else None
            if self._halted.is_set() or (until is not None and until <= next_offset):
                continue
            try:
                reader.take_again(taken, until, next_offset, self._bronze)
            except FileGone as error:
                held = max(next_offset, self._bronze + 1) - taken.first_offset
                said = f"{error}, and the lake has {held:,} of its records; whether there were more is not known"
                if self._bronze >= next_offset:
                    raise FileGone(f"{said}. A flush was cut short in it: put it back as it was") from None
                if not self._origin.accept_gone:
                    raise FileGone(
                        f"{said}: put it back as it was, or say --accept-gone to take these for all of it"
                    ) from None
                _log.warning("%s: taken for all of it", said)
        if begun and not self._halted.is_set():
            self._newest = begun[-1].number

    # ---------------------------------------------------------------- a round

    def _round(self, ledger: Ledger, reader: FileReader) -> bool:
        """Take in what is new; return whether that was listed to the end."""
        counts, queue = self._origin.counts, self._origin.queue
        files, unreadable = counts.files, counts.unreadable
        found = self._origin.arrivals.new_round(self._settled, self._swept_s, is_told=queue is not None)
        told: list[Told] = []
        try:
            if found.is_sweep or queue is None:
                self._take(self._listed(ledger, found), found, reader)
        except TransientError as error:
            _log.warning("the round ends early: %s", error)
        if queue is not None:
            told = self._take_told(queue, found, reader)
        if not self._halted.is_set():
            self._wait_for(self._finish(reader))
        if not self._halted.is_set():
            self._note(ledger, found)
        if self._halted.is_set():
            return False
        if queue is not None and told:
            self._at_place(lambda: queue.forget(told))
        self._tell(found, counts.files - files, counts.unreadable - unreadable)
        if counts.files > files:
            self._tidy()
        was_listed = found.is_complete or (queue is not None and not found.is_sweep)
        return was_listed and not found.left

    def _tidy(self) -> None:
        if self._origin.after_round is not None:
            try:
                self._origin.after_round()
            except (TransientError, CommitConflict) as error:
                _log.warning("the ledger's own files are left as they are: %s", error)

    def _listed(self, ledger: Ledger, found: Round) -> Iterator[File]:
        taken = ledger.after(None) if found.is_sweep else self._remembered.behind(self._settled or "")
        return self._origin.arrivals.files(found, taken)

    def _take(self, files: Iterable[File], found: Round, reader: FileReader) -> None:
        for file in files:
            if self._halted.is_set():
                return
            taken = reader.take(file)
            if taken is None:
                found.left += 1
            else:
                self._newest = taken.number
                self._remembered.add(taken)

    def _take_told(self, queue: Queue, found: Round, reader: FileReader) -> list[Told]:
        """Take the files that notifications tell of, until there are no more; return these, to be let go later."""
        told: list[Told] = []
        while not self._halted.is_set():
            some = self._at_place(queue.receive)
            if not some:
                return told
            told += some
            paths = sorted({path for each in some for path in each.paths if self._origin.arrivals.wants(path)})
            known = self._at_store(lambda names=paths: self._remembered.named(names, self._settled))  # type: ignore[misc]
            for path in paths:
                file = self._at_place(lambda name=path: self._place.file(name))  # type: ignore[misc]
                if file is None:
                    _log.warning("%s/%s is gone before it was taken in", self._place.uri, path)
                elif (before := known.get(path)) is None:
                    found.new += 1
                    self._take([file], found, reader)
                elif (before.size, before.etag) != (file.size, file.etag):
                    found.changed.append(file)
        return told

    async def _finish(self, reader: FileReader) -> None:
        """Bring what was read to the lake, and the ledger's last entries: of files without a record."""
        while self._keeper.done(self._tp) < reader.last_fetched:
            await self._keeper.flush()
            await asyncio.sleep(_FLUSHED_CHECK_S)  # a batch may still be on its way through Faust
        await self._keeper.in_lake(lambda _: self.transport.ledger.write())
        self._remembered.written()

    def _note(self, ledger: Ledger, found: Round) -> None:
        """Note in silver which files are done, and up to which name none need be listed again."""
        if self._newest is not None:
            self._done = max(self._done, self._newest)
        done_id, settled_id, swept_id = fact_ids(self._source)
        facts = {done_id: self._done} if self._done >= 0 else {}
        if found.is_complete and not found.left:
            if found.settled != self._settled:
                named = self._at_store(lambda: ledger.named([found.settled] if found.settled else []))
                facts[settled_id] = named[found.settled].number if found.settled else -1
                self._settled = found.settled
            if found.is_sweep and (found.settled is not None or self._origin.queue is not None):
                self._swept_s = facts[swept_id] = int(time.time())
        changed = {name: version for name, version in facts.items() if self._noted.get(name) != version}
        if changed:
            self._wait_for(self._keeper.in_lake(lambda writer: writer.note({self._source: changed})))
            self._noted |= changed

    def _tell(self, found: Round, files: int, unreadable: int) -> None:
        for file in found.changed:
            if file not in self._told_changed:
                self._told_changed.add(file)
                self._origin.counts.changed += 1
                _log.warning(
                    "%s/%s has changed since it was taken in: the lake keeps what it held then. To take in the new "
                    "content, put it under a new name",
                    self._place.uri,
                    file.path,
                )
        if found.late:
            _log.warning("%d files came late, under names before %s", found.late, found.settled)
        _log.info(
            "files taken in: %d%s; %d looked at%s%s",
            files,
            f", {unreadable} of them not readable to the end" if unreadable else "",
            found.listed,
            f", {len(found.changed)} changed" if found.changed else "",
            f", {found.waiting} too young" if found.waiting else "",
        )

    def _hand_over(self, records: pa.Table) -> None:
        while self._waiting_bytes >= HANDED_OVER_BYTES and not self._halted.is_set():
            self._halted.wait(POLL_S)
        if not self._app_loop.is_closed():
            batch = (self._tp, Fetched(records, self._claim_number))
            self._app_loop.call_soon_threadsafe(self._take_over, [batch], [])

    # ---------------------------------------------------------------- what the worker asks

    def claim_again(self, tps: Iterable[TP]) -> None:
        """Stop: whoever claimed the place after us reads it, and there is no group to ask."""
        self._fail(self._fence_lost())

    def _fence_lost(self) -> FenceLost:
        return FenceLost(
            f"another `playlake ingest` took over {self._place.uri}. Nothing is lost or doubled; let one run"
        )

    def last_fetched(self) -> dict[TP, int]:
        """Return the last ordinal fetched, or the one before the first."""
        return {self._tp: self._reader.last_fetched} if self._is_assigned else {}

    def assignment(self) -> set[TP]:
        """Return the place, once it was claimed."""
        return {self._tp} if self._is_assigned else set()

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        """Do nothing: positions are in the lake."""
        return True


class Transport(base.Transport):
    """Faust's way to files, for one app.

    Attributes:
        origin: what to read, and how.
        ledger: which of its files were taken.
        keeper: who knows the positions.
    """

    Consumer = Consumer
    Producer = SilentProducer
    driver_version = "files"

    def __init__(self, app: Any, *, origin: FilesOrigin, ledger: Ledger, keeper: PositionKeeper) -> None:
        super().__init__([URL("files://")], app)
        self.origin = origin
        self.ledger = ledger
        self.keeper = keeper
