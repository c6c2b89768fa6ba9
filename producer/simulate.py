"""A simulation of viewers, as the records that a broker would get from their players.

Pure: no clock, no network. The same `Scenario` gives the same bytes, on any machine and however they are cut into
blocks. `viewers` draws who watches what when, `playback` what they do, `wire` makes it JSON, `dirt` spoils some; here
it is put in order.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from producer import viewers
from producer.dirt import KINDS, Dirt, event_id_of
from producer.draws import Codes, Ints, draw
from producer.playback import Events, in_order, play_out
from producer.viewers import Arrivals, cast_sessions
from producer.wire import FIRST_MS, LAST_MS, Texts, event_values, session_texts
from schemas.errors import ConfigError
from schemas.event import EVENT_VERSIONS

DEFAULT_EVENTS: Final = 1_000_000
_MS_PER_DAY: Final = 86_400_000


@dataclass(frozen=True)
class Scenario:
    """What is simulated.

    Attributes:
        start_ms: event time of the begin, ms since 1970 UTC.
        seed: any number from 0 on; another seed is another world.
        events: how many records, duplicates included; None goes on for ever.
        days: length of the span that the event times cover; without meaning when `rate_per_s` is given. Without
            `events` it is covered again and again, by other viewers.
        dirty: share of the records that are bad, 0 to 1 (`producer.dirt.KINDS`).
        rate_per_s: None, or records a second of event time: record number n happens n / `rate_per_s` seconds after
            the start, in a world that is already running then.
        schema_version: version of the event that the clients send, one of `schemas.event.EVENT_VERSIONS`.
        events_per_span: how many records cover the span once where there is no `events`.
    """

    start_ms: int
    seed: int = 7
    events: int | None = None
    days: float = 3.0
    dirty: float = 0.0
    rate_per_s: float | None = None
    events_per_span: int = DEFAULT_EVENTS
    schema_version: int = EVENT_VERSIONS[-1]

    def __post_init__(self) -> None:
        if not FIRST_MS <= self.start_ms <= LAST_MS - self.days * _MS_PER_DAY:
            raise ConfigError("--start and the end of --days must lie between 2001-09-09 and 2286")
        if self.seed < 0:
            raise ConfigError(f"--seed {self.seed} is below 0")
        if self.events is not None and self.events < 1:
            raise ConfigError(f"--events {self.events} is below 1")
        if not 0 <= self.dirty <= 1:
            raise ConfigError(f"--dirty {self.dirty} is no share: write a number from 0 to 1")
        if self.days <= 0 or (self.rate_per_s is not None and self.rate_per_s <= 0):
            raise ConfigError("--days and --rate must be more than 0")
        if self.schema_version not in EVENT_VERSIONS:
            raise ConfigError(
                f"--schema-version {self.schema_version} is none of {', '.join(map(str, EVENT_VERSIONS))}"
            )


@dataclass(frozen=True)
class Block:
    """Records in the order in which they are to be sent; one row a record.

    Attributes:
        keys: the user's id; never null.
        values: JSON, or what dirt left of it.
        kinds: index in `producer.dirt.KINDS`.
    """

    keys: list[bytes]
    values: list[bytes]
    kinds: Codes

    def __len__(self) -> int:
        return len(self.values)


@dataclass
class Counts:
    """How many records of each kind, exactly."""

    _by_code: list[int] = field(default_factory=lambda: [0] * len(KINDS))

    def add(self, kinds: Codes) -> None:
        """Count the records of one block."""
        for code, count in enumerate(np.bincount(kinds, minlength=len(KINDS)).tolist()):
            self._by_code[code] += count

    def by_kind(self) -> dict[str, int]:
        """Return name of the kind → records, for kinds that came up."""
        return {kind.name: count for kind, count in zip(KINDS, self._by_code, strict=True) if count}

    def total(self) -> int:
        """Return how many records of all kinds."""
        return sum(self._by_code)


def blocks(scenario: Scenario, block_events: int = 5_000) -> Iterator[Block]:
    """Yield the scenario's records in blocks of `block_events`; only the last one may be smaller.

    Without `Scenario.events` it never ends.
    """
    missing = scenario.events
    keys: list[bytes] = []
    values: list[bytes] = []
    kinds = np.zeros(0, np.int8)
    for batch in _batches(scenario):
        keys, values, kinds = keys + batch.keys, values + batch.values, np.concatenate([kinds, batch.kinds])
        if missing is not None:
            del keys[missing:], values[missing:]
            kinds = kinds[:missing]
        begin = 0
        while len(values) - begin >= block_events or (begin < len(values) and len(values) == missing):
            end = min(begin + block_events, len(values))
            yield Block(keys[begin:end], values[begin:end], kinds[begin:end])
            begin = end
        if missing is not None:
            missing -= begin
            if missing == 0:
                return
        keys, values, kinds = keys[begin:], values[begin:], kinds[begin:]


def records(scenario: Scenario) -> Iterator[tuple[bytes, bytes, str | None, str]]:
    """Yield the same records one by one, for a ledger: key, value, event id, kind's name.

    The event id is the one under which silver must hold the record (a duplicate's is an earlier record's); None where
    the record belongs in quarantine.
    """
    for block in blocks(scenario):
        for key, value, code in zip(block.keys, block.values, block.kinds.tolist(), strict=True):
            yield key, value, event_id_of(value, code), KINDS[code].name


def _batches(scenario: Scenario) -> Iterator[Block]:
    """Yield records in batches whose sizes are part of the scenario: they are what the draws are counted by."""
    dirt = Dirt(scenario.dirty)
    if scenario.rate_per_s is not None:
        seed = (scenario.seed, 0)
        world = viewers.live_arrivals(seed, min(scenario.rate_per_s, viewers.MAX_LIVE_EVENTS_PER_S), scenario.start_ms)
        clock = _Clock(scenario.start_ms, 1000 / scenario.rate_per_s * dirt.records_per_event)
        yield from _written(scenario, seed, world, dirt, clock)
        return
    span_ms = round(scenario.days * _MS_PER_DAY)
    wanted = scenario.events or scenario.events_per_span
    expected = wanted / dirt.records_per_event  # the rest are duplicates; some more, since their number varies
    events = min(wanted, math.ceil(expected + 5 * math.sqrt(wanted - expected)))
    for lap in itertools.count():
        seed = (scenario.seed, lap)
        world = viewers.past_arrivals(seed, events, scenario.start_ms, span_ms)
        yield from _written(scenario, seed, world, dirt, None)


class _Clock:
    """Event times at an even rate, in place of the simulated ones."""

    def __init__(self, start_ms: int, interval_ms: float) -> None:
        self._start_ms = start_ms
        self._interval_ms = interval_ms
        self._told = 0

    def next_ms(self, count: int) -> Ints:
        numbers = np.arange(self._told, self._told + count)
        self._told += count
        return self._start_ms + (numbers * self._interval_ms).astype(np.int64)


def _written(
    scenario: Scenario, seed: tuple[int, ...], world: Iterator[Arrivals], dirt: Dirt, clock: _Clock | None
) -> Iterator[Block]:
    for number, (events, keys, tails, kinds) in enumerate(_in_order(seed, world, scenario.schema_version)):
        if clock is not None:
            events = Events(clock.next_ms(len(events)), events.session, events.event_type, events.playhead_ms)
        values = event_values(events, tails, draw(2 * len(events), *seed, 6, number))
        yield Block(*dirt.mix((*seed, 7, number), keys.tolist(), values, kinds))


@dataclass
class _Run:
    """A chunk's events that are still to be told, in order, and what belongs to their sessions."""

    events: Events
    keys: Texts
    tails: Texts
    kinds: Codes
    held: int = 0

    def take(self, before_ms: int | None) -> Events:
        """Take out the events before that time; None: all."""
        count = len(self.events) if before_ms is None else int(np.searchsorted(self.events.when_ms, before_ms))
        taken, self.events = self.events[:count], self.events[count:]
        return taken

    def let_go(self) -> None:
        """Free the memory of what was taken, once that is most of it: a view keeps its whole array."""
        if 2 * len(self.events) >= self.held:
            return
        alive, session = np.unique(self.events.session, return_inverse=True)
        self.events = Events(
            self.events.when_ms.copy(), session, self.events.event_type.copy(), self.events.playhead_ms.copy()
        )
        self.keys, self.tails, self.kinds = self.keys[alive], self.tails[alive], self.kinds[alive]
        self.held = len(self.events)


def _in_order(
    seed: tuple[int, ...], world: Iterator[Arrivals], schema_version: int
) -> Iterator[tuple[Events, Texts, Texts, Codes]]:
    """Yield events of many sessions at once, in order of time: all that happens before the next chunk begins."""
    runs: list[_Run] = []
    for arrivals in itertools.chain(world, [None]):
        if arrivals is not None and len(arrivals.title):
            sessions = cast_sessions(seed, arrivals)
            keys, tails = session_texts(sessions, schema_version)
            events = play_out(seed, arrivals)
            runs.append(_Run(events, keys, tails, sessions.is_alias_client.astype(np.int8), len(events)))
        before_ms = None if arrivals is None else arrivals.next_start_ms
        parts = [(run, taken) for run in runs if len(taken := run.take(before_ms))]
        merged = _merged(parts) if parts else None
        for run, _ in parts:
            run.let_go()
        runs = [run for run in runs if len(run.events)]
        if merged is not None:
            yield merged


def _merged(parts: list[tuple[_Run, Events]]) -> tuple[Events, Texts, Texts, Codes]:
    events = Events(
        np.concatenate([taken.when_ms for _, taken in parts]),
        np.concatenate([taken.session for _, taken in parts]),
        np.concatenate([taken.event_type for _, taken in parts]),
        np.concatenate([taken.playhead_ms for _, taken in parts]),
    )
    order = in_order(events.when_ms)
    return (
        events[order],
        np.concatenate([run.keys[taken.session] for run, taken in parts])[order],
        np.concatenate([run.tails[taken.session] for run, taken in parts])[order],
        np.concatenate([run.kinds[taken.session] for run, taken in parts])[order],
    )
