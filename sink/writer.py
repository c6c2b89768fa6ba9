"""The writer: rows of bronze, quarantine and silver, committed exactly once.

The protocol, for every source (Kafka partition) that a writer works on:

1. **Claim.** An empty commit to silver, quarantine and bronze, in that order, raises the source's `#epoch`. From then
   on every commit of an earlier claimant is refused. What such a writer left in quarantine beyond silver's position is
   deleted, because the rules may differ now; what it left in bronze beyond that is kept and skipped.
2. **Flush.** One commit a table, in the order bronze, quarantine, silver, each with `txn(source, last offset)` and
   `txn(source#epoch, epoch)` for every source of the flush, also where the table gets no row. Silver's commit is the
   last and decides: what is at or before its position is done.
3. **Fence.** Before a commit the writer compares, on the very handle that commits, epochs and positions with those it
   left; delta-rs refuses the commit if somebody wrote one of its ids after that handle's snapshot. Neither is enough
   alone.
4. **Conflict.** A refused commit says nothing yet: concurrent updates and deletes refuse healthy appends, too, and a
   commit whose answer got lost collides with itself. So reload and compare: at the target under our epoch, it was our
   own; unmoved, commit again; moved, the source is lost: its rows are dropped, the other sources go on.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import pyarrow as pa
from deltalake import DeltaTable, Transaction
from deltalake.exceptions import CommitFailedError, DeltaError, DeltaProtocolError, SchemaMismatchError
from deltalake.transaction import AddAction

from schemas.errors import CommitConflict, FenceLost
from schemas.tables import BRONZE, TABLES
from sink import positions
from sink.columns import add_missing_columns
from sink.evolve import evolve
from sink.files import write_files
from sink.lake import Lake, append, store_trouble
from sink.positions import Source
from sink.shards import is_set, sequence_entries
from sink.spans import after, offset_spans, without

CLAIM_ORDER: Final = ("silver", "quarantine", "bronze")
FLUSH_ORDER: Final = ("bronze", "quarantine", "silver")
_MAX_ATTEMPTS: Final = 20
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Flushed:
    """What one flush did.

    Attributes:
        done: per source, the last offset that is now in the lake.
        lost: sources that another writer claimed; their rows of this flush were dropped and are the other writer's.
        rows: per table, rows written.
        seconds: per table, how long its commit took.
        tables: the rows themselves, of silver and quarantine: for metrics, until the caller lets go of them.
    """

    done: Mapping[Source, int]
    lost: frozenset[Source]
    rows: Mapping[str, int]
    seconds: Mapping[str, float]
    tables: Mapping[str, pa.Table] = field(default_factory=dict, repr=False, compare=False)


@dataclass
class _Owned:
    """A claimed source.

    Attributes:
        epoch: of our claim.
        left_at: per table, the position as we left it.
        seen: the last offset buffered or committed.
        verified: per table, the version of our handle at which epoch and position were last found to be ours.
    """

    epoch: int
    left_at: dict[str, int | None]
    seen: int
    verified: dict[str, int] = field(default_factory=dict)


@dataclass
class _Flush:
    """Content of a flush, fixed when it starts, so that one that failed half-way is taken up where it stopped."""

    targets: dict[Source, int]
    rows: dict[str, pa.Table]
    sequences: Mapping[Source, list[Transaction]] = field(default_factory=dict)
    lost: set[Source] = field(default_factory=set)
    files: dict[str, list[AddAction]] = field(default_factory=dict)
    attempted: dict[str, dict[Source, int]] = field(default_factory=dict)
    attempted_rows: int = 0
    written: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


class LakeWriter:
    """Buffers rows and commits them. Every method is called from one thread.

    `StoreUnavailable` from any method leaves the writer as it was: wait and call the same method again.

    Attributes:
        buffered_bytes: of all rows that wait for a flush.
        refused: per table, commits that were refused because others changed it, and were looked at again. Any thread
            may read it.
    """

    def __init__(self, lake: Lake, *, step: Callable[[str], None] | None = None) -> None:
        """Open the lake's tables, making those that aren't there and adding columns of later versions.

        Args:
            lake: where to write.
            step: called with a name before and after each commit (`before silver`, `after silver`, `before claim
                silver` …) and when rows were taken (`after add`): fault points and ordered logs of tests.

        Raises:
            IncompatibleLake: another version of playlake wrote it, or a column has another type.
            CommitConflict: others changed a table at every attempt to add columns.
            StoreUnavailable: the store does not answer or refuses writes.
        """
        self._lake = lake
        self._step = step or (lambda name: None)
        self._handles: dict[str, DeltaTable] = {name: lake.table_or_create(name) for name in CLAIM_ORDER}
        for name, handle in self._handles.items():
            add_missing_columns(handle, TABLES[name].schema)
        self._owned: dict[Source, _Owned] = {}
        self._raised: dict[Source, int] = {}
        self._buffer: list[dict[str, pa.Table]] = []
        self._targets: dict[Source, int] = {}
        self._flush: _Flush | None = None
        self.buffered_bytes = 0
        self.refused: dict[str, int] = dict.fromkeys(FLUSH_ORDER, 0)

    @property
    def owned(self) -> frozenset[Source]:
        """The sources claimed by this writer and not released or lost since."""
        return frozenset(self._owned)

    def epoch_of(self, source: Source) -> int:
        """Return the number of this writer's claim on a source that it owns."""
        return self._owned[source].epoch

    @property
    def lake_id(self) -> str:
        """What no other lake has, nor one made anew in its place: silver's id."""
        return str(self._handles["silver"].metadata().id)

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits for a flush."""
        return not self._targets and self._flush is None

    # ---------------------------------------------------------------- claim

    def claim(self, first_offsets: Mapping[Source, int]) -> dict[Source, int]:
        """Make this writer the only one that may commit these sources.

        Args:
            first_offsets: per source, the first offset that its topic still has; where the lake knows nothing of the
                source yet, that is where it starts.

        Returns:
            Per source, the offset to read next.

        Raises:
            FenceLost: another writer claimed one of them while we did. Nothing of it was claimed here; ask the group
                who owns them, and claim again if it is still us.
            CommitConflict, StoreUnavailable: nothing was claimed; epochs in the lake may have been raised.
        """
        sources = sorted(first_offsets)
        self.release(sources)
        epochs = self._claim_silver(sources, first_offsets)
        for name in ("quarantine", "bronze"):
            self._claim_table(name, epochs)
        self._trim_quarantine(sources)
        next_offsets = {}
        for source in sources:
            left_at = {name: positions.position(self._handles[name], source) for name in FLUSH_ORDER}
            done = left_at["silver"]
            next_offsets[source] = first_offsets[source] if done is None else done + 1
            self._owned[source] = _Owned(epochs[source], left_at, next_offsets[source] - 1)
            self._raised.pop(source, None)
        return next_offsets

    def _claim_silver(self, sources: list[Source], first_offsets: Mapping[Source, int]) -> dict[Source, int]:
        def entries(handle: DeltaTable) -> list[Transaction]:
            starts = [Transaction(s.start_id, first_offsets[s]) for s in sources if positions.start(handle, s) is None]
            found = {source: positions.epoch(handle, source) for source in sources}
            return [Transaction(s.epoch_id, found[s] + 1) for s in sources if self._raised.get(s) != found[s]] + starts

        # After a refusal the new epoch in the lake may be another claimant's or our own whose answer was lost; one
        # higher is right for both. An epoch known to be ours, of a claim that the store broke off later, stays: else
        # a claim would need all of its commits' answers in a row.
        committed = {entry.app_id: entry.version for entry in self._commit_entries("silver", entries)}
        self._raised.update({s: committed[s.epoch_id] for s in sources if s.epoch_id in committed})
        return {source: self._raised[source] for source in sources}

    def _claim_table(self, name: str, epochs: Mapping[Source, int]) -> None:
        def entries(handle: DeltaTable) -> list[Transaction]:
            found = {source: positions.epoch(handle, source) for source in epochs}
            overtaken = [source for source, mine in epochs.items() if found[source] > mine]
            if overtaken:
                self._raised.clear()
                raise FenceLost(f"another writer claimed {_names(overtaken)} at the same time")
            return [Transaction(s.epoch_id, mine) for s, mine in epochs.items() if found[s] < mine]

        self._commit_entries(name, entries)

    def _commit_entries(self, name: str, entries: Callable[[DeltaTable], list[Transaction]]) -> list[Transaction]:
        """Commit `txn` entries without files, computed anew from the newest version at each attempt; return them."""
        handle = self._handles[name]
        for attempt in range(_MAX_ATTEMPTS):
            self._reload(name)
            transactions = entries(handle)
            if not transactions:
                return []
            self._step(f"before claim {name}")
            try:
                append(handle, [], transactions)
            except CommitFailedError:
                self.refused[name] += 1
                _pause(attempt)
                continue
            except (OSError, DeltaError) as error:
                raise self._store_trouble(name, error) from error
            self._reload(name)
            self._step(f"after claim {name}")
            return transactions
        raise CommitConflict(f"{self._lake.path(name)} was changed by others at each of {_MAX_ATTEMPTS} tries to claim")

    def _trim_quarantine(self, sources: list[Source]) -> None:
        """Delete quarantine's rows beyond silver's position: of a flush that never reached silver."""
        handle = self._handles["quarantine"]
        torn = []
        for source in sources:
            done = positions.position(self._handles["silver"], source)
            ahead = positions.position(handle, source)
            if ahead is not None and (done is None or ahead > done):
                torn.append(f"({_is_source_sql(source)} and kafka_offset > {-1 if done is None else done})")
        if not torn:
            return
        self._step("before trim quarantine")
        for attempt in range(_MAX_ATTEMPTS):
            try:
                handle.delete(" or ".join(torn))
            except CommitFailedError:
                self.refused["quarantine"] += 1
                _pause(attempt)
                self._reload("quarantine")
                continue
            except (OSError, DeltaError) as error:
                raise self._store_trouble("quarantine", error) from error
            self._step("after trim quarantine")
            return
        raise CommitConflict(f"{self._lake.path('quarantine')} was changed by others at each of {_MAX_ATTEMPTS} tries")

    # ---------------------------------------------------------------- facts about shards

    def set_once(self, versions: Mapping[str, int]) -> None:
        """Commit these `txn` entries to silver, without those that it has already; the first of several wins."""

        def entries(handle: DeltaTable) -> list[Transaction]:
            return [Transaction(name, version) for name, version in versions.items() if not is_set(handle, name)]

        self._commit_entries("silver", entries)

    def note(self, versions: Mapping[Source, Mapping[str, int]]) -> None:
        """Commit `txn` entries about owned sources to silver, beside their positions and under their claims.

        Raises:
            FenceLost: another writer claimed one of them; nothing was committed.
            CommitConflict, StoreUnavailable: as for a claim.
        """

        def entries(handle: DeltaTable) -> list[Transaction]:
            lost = [source for source in versions if not self._is_as_left(handle, "silver", source)]
            if lost:
                raise FenceLost(f"another writer claimed {_names(lost)}")
            epochs = [Transaction(source.epoch_id, self._owned[source].epoch) for source in versions]
            return epochs + [Transaction(*entry) for facts in versions.values() for entry in facts.items()]

        self._commit_entries("silver", entries)

    def require_owned(self) -> None:
        """Raise FenceLost if another writer claimed a source that this one still takes for its own."""
        self._reload("silver")
        if lost := [each for each in self._owned if not self._is_as_left(self._handles["silver"], "silver", each)]:
            raise FenceLost(f"another writer claimed {_names(lost)}")

    def _is_as_left(self, handle: DeltaTable, name: str, source: Source) -> bool:
        owned = self._owned.get(source)
        return (
            owned is not None
            and positions.epoch(handle, source) == owned.epoch
            and positions.position(handle, source) == owned.left_at[name]
        )

    # ---------------------------------------------------------------- buffer

    def add(self, records: pa.Table, silver: pa.Table, quarantine: pa.Table) -> None:
        """Take rows for the next flush.

        Rows of sources that aren't (or no longer) owned, and rows seen before, are dropped: they are somebody
        else's, or in the lake already.

        Args:
            records: schema `RECORDS`, each source's offsets ascending.
            silver: schema `SILVER`: the records' rows that are valid.
            quarantine: schema `QUARANTINE`: the others.
        """
        spans = offset_spans(records)
        unwanted = {source for source in spans if source not in self._owned}
        seen = {
            source: self._owned[source].seen
            for source, (first, _) in spans.items()
            if source not in unwanted and first <= self._owned[source].seen
        }
        tables = {"bronze": records, "silver": silver, "quarantine": quarantine}
        if unwanted or seen:
            tables = {name: after(without(rows, unwanted), seen) for name, rows in tables.items()}
            spans = offset_spans(tables["bronze"])
        if not spans:
            return
        bronze = tables["bronze"]
        tables["bronze"] = bronze.append_column(
            BRONZE.field("ingest_date"), bronze["ingest_timestamp"].cast(pa.date32())
        )
        self._buffer.append(tables)
        self.buffered_bytes += sum(rows.nbytes for rows in tables.values())
        for source, (_, last) in spans.items():
            self._owned[source].seen = last
            self._targets[source] = last
        self._step("after add")

    def release(self, sources: Iterable[Source]) -> None:
        """Forget sources and their buffered rows: they went to another worker, or are about to be claimed again."""
        gone = frozenset(sources) & (self._owned.keys() | self._targets.keys())
        if not gone:
            return
        for source in gone:
            self._owned.pop(source, None)
            self._targets.pop(source, None)
        self._buffer = [{name: without(rows, gone) for name, rows in tables.items()} for tables in self._buffer]
        if not self._targets:
            self._buffer.clear()
        self.buffered_bytes = sum(rows.nbytes for tables in self._buffer for rows in tables.values())
        if self._flush is not None:
            self._drop(self._flush, gone)

    # ---------------------------------------------------------------- flush

    def flush(self) -> Flushed:
        """Commit what is buffered; with nothing buffered, do nothing.

        Returns:
            What was done. Acknowledge `done` to the source only now.

        Raises:
            StoreUnavailable: some tables may have been committed; calling again goes on from there.
            CommitConflict: a table was changed by others at every attempt.
        """
        if self._flush is None:
            if not self._targets:
                return Flushed({}, frozenset(), {}, {})
            self._flush = _Flush(
                dict(self._targets),
                {name: pa.concat_tables([tables[name] for tables in self._buffer]) for name in FLUSH_ORDER},
                sequence_entries([tables["bronze"] for tables in self._buffer], self._targets),
            )
            self._buffer, self._targets, self.buffered_bytes = [], {}, 0
        flush = self._flush
        for name in FLUSH_ORDER:
            if name not in flush.written:
                started = time.perf_counter()
                flush.written[name] = self._commit(name, flush)
                flush.seconds[name] = time.perf_counter() - started
        self._flush = None
        tables = {name: flush.rows[name] for name in ("silver", "quarantine")}
        return Flushed(flush.targets, frozenset(flush.lost), flush.written, flush.seconds, tables)

    def _commit(self, name: str, flush: _Flush) -> int:
        """Commit one table's part of a flush; return the rows written."""
        handle = self._handles[name]
        for attempt in range(_MAX_ATTEMPTS):
            if name in flush.attempted:  # how the last attempt ended is unknown until the table is read again
                self._reload(name)
                if self._landed(handle, flush.attempted[name]):
                    return self._committed(name, flush)
            # May leave the handle newer: before the fence is looked at.
            if name == "silver" and name not in flush.files:
                flush.rows[name] = evolve(handle, flush.rows[name])
            self._drop(flush, self._lost(handle, name, flush))
            targets = self._advancing(name, flush.targets)
            if not targets:
                return 0
            if name not in flush.files:
                rows = self._beyond(name, flush)
                flush.attempted_rows = rows.num_rows
                self._step(f"before {name}")
                flush.files[name] = write_files(self._lake, name, rows) if rows.num_rows else []
                self._step(f"after files {name}")
            flush.attempted[name] = targets
            before = handle.version()
            try:
                self._append(handle, flush.files[name], targets, flush.sequences if name != "quarantine" else {})
            except CommitFailedError:
                self.refused[name] += 1
                _log.info("commit to %s refused, others changed it: looking again", name)
                _pause(attempt)
                continue
            except (SchemaMismatchError, DeltaProtocolError):
                raise
            except (OSError, DeltaError) as error:
                raise self._store_trouble(name, error) from error
            if handle.version() == before + 1:  # ours is the only new commit: what was verified still is
                for owned in self._owned.values():
                    if owned.verified.get(name) == before:
                        owned.verified[name] = before + 1
            return self._committed(name, flush)
        raise CommitConflict(
            f"{self._lake.path(name)} was changed by others at each of {_MAX_ATTEMPTS} tries to append: "
            "is a repair or a delete without a bound running?"
        )

    def _committed(self, name: str, flush: _Flush) -> int:
        for source, last in flush.attempted[name].items():
            if source in self._owned:
                self._owned[source].left_at[name] = last
        self._step(f"after {name}")
        return flush.attempted_rows

    def _append(
        self,
        handle: DeltaTable,
        files: list[AddAction],
        targets: Mapping[Source, int],
        sequences: Mapping[Source, list[Transaction]],
    ) -> None:
        entries = [Transaction(source.app_id, last) for source, last in targets.items()]
        entries += [entry for source in targets for entry in sequences.get(source, ())]
        entries += [Transaction(source.epoch_id, self._owned[source].epoch) for source in targets]
        append(handle, files, entries)
        handle.update_incremental()

    def _lost(self, handle: DeltaTable, name: str, flush: _Flush) -> set[Source]:
        """Return the flush's sources whose epoch or position on this handle is not as we left it: the fence.

        Each look at a `txn` reads the log (3 ms after 50 commits), so none is taken of a version that we looked at.
        """
        version = handle.version()
        lost = set()
        for source in flush.targets:
            owned = self._owned[source]
            if owned.verified.get(name) == version:
                continue
            if self._is_as_left(handle, name, source):
                owned.verified[name] = version
            else:
                lost.add(source)
        return lost

    def _landed(self, handle: DeltaTable, targets: Mapping[Source, int]) -> bool:
        """Return whether an attempt whose answer is unknown is in the table: under our epoch only we write."""
        ours = [source for source in targets if source in self._owned]
        return bool(ours) and all(
            positions.epoch(handle, source) == self._owned[source].epoch
            and positions.position(handle, source) == targets[source]
            for source in ours
        )

    def _advancing(self, name: str, targets: Mapping[Source, int]) -> dict[Source, int]:
        """Return the targets that this table's commit records: bronze's position never goes back, silver's decides."""
        if name != "bronze":
            return dict(targets)
        return {source: last for source, last in targets.items() if last > _or_minus_one(self._owned[source], name)}

    def _beyond(self, name: str, flush: _Flush) -> pa.Table:
        """Return the table's rows of a flush, for bronze without those that a torn flush already left there."""
        if name != "bronze":
            return flush.rows[name]
        ahead = {source: _or_minus_one(self._owned[source], "bronze") for source in flush.targets}
        torn = {source: at for source, at in ahead.items() if at > _or_minus_one(self._owned[source], "silver")}
        return after(flush.rows[name], torn)

    def _drop(self, flush: _Flush, sources: Collection[Source]) -> None:
        if not sources:
            return
        for source in sources:
            if flush.targets.pop(source, None) is not None:
                flush.lost.add(source)
            self._owned.pop(source, None)
        flush.rows = {name: without(rows, sources) for name, rows in flush.rows.items()}
        flush.files.clear()  # of the tables not committed yet
        self.release(sources)

    # ---------------------------------------------------------------- handles

    def _reload(self, name: str) -> None:
        try:
            self._handles[name].update_incremental()
        except (OSError, DeltaError) as error:
            raise self._store_trouble(name, error) from error

    def _store_trouble(self, name: str, error: Exception) -> Exception:
        return store_trouble(self._lake.path(name), error)


def _is_source_sql(source: Source) -> str:
    # Topic names are letters, digits, dots, hyphens and underscores; topic ids are base64url: nothing to escape.
    return f"topic = '{source.topic}' and topic_id = '{source.topic_id}' and kafka_partition = {source.kafka_partition}"


def _or_minus_one(owned: _Owned, name: str) -> int:
    left_at = owned.left_at[name]
    return -1 if left_at is None else left_at


def _names(sources: Iterable[Source]) -> str:
    return ", ".join(str(source) for source in sorted(sources))


def _pause(attempt: int) -> None:
    """Wait a jittered moment before a refused commit is tried again."""
    time.sleep(random.uniform(0, min(0.05 * 2**attempt, 2.0)))  # noqa: S311  # jitter, no secret
