"""Sessions played out into events: what the viewer does, when, and where the playhead is then. Vectorised."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np

from producer.draws import NORMAL_QUANTILES, Bits, Codes, Flags, Ints, SmallInts, draw, field
from producer.viewers import HEARTBEAT_MS, Arrivals, title_lengths_ms
from schemas.event import EVENT_TYPES

PLAY_START, PLAY_STOP, PAUSE, RESUME, SEEK, HEARTBEAT = range(len(EVENT_TYPES))

_PAUSE_OF_256: Final = 7
_SEEK_OF_256: Final = 18
_FROM_THE_START_OF_256: Final = 160
_SEEK_JUMPS_S: Final = (10, 10, 10, 30, 30, 60, 90, 300, 600, -10, -10, -10, -30, -30, -120, -300)


@dataclass(frozen=True)
class Events:
    """Events in the order of their time; arrays of one row an event.

    Attributes:
        when_ms: ms since 1970 UTC.
        session: row in the chunk's `Sessions`.
        event_type: index in `EVENT_TYPES`.
        playhead_ms: where in the title the viewer is after the event; between 0 and the title's length.
    """

    when_ms: Ints
    session: SmallInts
    event_type: Codes
    playhead_ms: SmallInts

    def __getitem__(self, rows: Any) -> Events:
        return Events(self.when_ms[rows], self.session[rows], self.event_type[rows], self.playhead_ms[rows])

    def __len__(self) -> int:
        return len(self.when_ms)


def play_out(seed: tuple[int, ...], arrivals: Arrivals) -> Events:
    """Return every event of the sessions: PLAY_START, then HEARTBEAT, PAUSE, RESUME and SEEK, at last PLAY_STOP."""
    count = arrivals.events
    last = np.cumsum(count) - 1
    first = last + 1 - count
    session = np.repeat(np.arange(len(count)), count)
    bits = draw(len(session), *seed, 4, arrivals.number)
    event_type, was_paused = _event_types(field(bits, 0, 8), first, last)
    gap_ms = _gaps_ms(event_type, was_paused, bits)
    elapsed_ms = _since_start(gap_ms, first, session)
    played_ms = _since_start(np.where(was_paused, 0, gap_ms), first, session)
    playhead_ms = _playheads_ms(event_type, played_ms, bits, first, last, session, title_lengths_ms()[arrivals.title])
    begin_ms = arrivals.start_ms
    told = None
    if arrivals.skipped.any():
        begin_ms = begin_ms - elapsed_ms[first + arrivals.skipped]
        told = np.arange(len(session)) >= (first + arrivals.skipped)[session]
    events = Events(begin_ms[session] + elapsed_ms, session.astype(np.int32), event_type, playhead_ms.astype(np.int32))
    if told is not None:
        events = events[told]
    return events[in_order(events.when_ms)]


def in_order(when_ms: Ints) -> Ints:
    """Return the rows by time, of equal times the earlier row first.

    Unique keys, row number included, make every sorting algorithm agree; so the fastest one may do it.
    """
    if len(when_ms) == 0:
        return np.zeros(0, np.int64)
    width = len(when_ms).bit_length()
    keys = ((when_ms - when_ms.min()) << width) + np.arange(len(when_ms))
    keys.sort()
    return np.asarray(keys & ((1 << width) - 1))


def _since_start(amount: Ints, first: Ints, session: Ints) -> Ints:
    total = np.cumsum(amount)
    return np.asarray(total - total[first][session])


def _event_types(chance: Ints, first: Ints, last: Ints) -> tuple[Codes, Flags]:
    """Return each event's type, and whether playback was paused just before it."""
    middle = np.ones(len(chance), np.bool_)
    middle[first] = middle[last] = False
    wants_pause = (chance < _PAUSE_OF_256) & middle
    pause = wants_pause.copy()
    pause[1:] &= ~wants_pause[:-1]
    was_paused = np.zeros_like(pause)
    was_paused[1:] = pause[:-1]
    event_type = np.full(len(chance), HEARTBEAT, np.int8)
    event_type[chance < _SEEK_OF_256] = SEEK
    event_type[wants_pause] = HEARTBEAT  # one that came right after another pause
    event_type[pause] = PAUSE
    event_type[was_paused] = RESUME
    event_type[last] = PLAY_STOP
    event_type[first] = PLAY_START
    return event_type, was_paused


def _gaps_ms(event_type: Codes, was_paused: Flags, bits: Bits) -> Ints:
    """Return the time since the session's event before: a beat after a minute of playing, all else before that."""
    gap_ms = 1000 + (field(bits, 8, 16) * (HEARTBEAT_MS - 1000) >> 16)
    beat = event_type == HEARTBEAT
    gap_ms[beat] = HEARTBEAT_MS + field(bits[beat], 8, 5)
    gap_ms[was_paused] = _pauses_ms()[field(bits[was_paused], 8, 8)] + field(bits[was_paused], 16, 10)
    gap_ms[event_type == PLAY_START] = 0
    return gap_ms


def _playheads_ms(
    event_type: Codes, played_ms: Ints, bits: Bits, first: Ints, last: Ints, session: Ints, length_ms: Ints
) -> Ints:
    """Follow the playhead through stretches between jumps, each placed so that it ends within the title."""
    spare_ms = length_ms - played_ms[last]
    chance = field(bits[first], 24, 8)
    origin_ms = np.where(chance < _FROM_THE_START_OF_256, 0, spare_ms * field(bits[first], 32, 16) >> 16)
    stretch = np.flatnonzero((event_type == SEEK) | (event_type == PLAY_START))
    jump_ms = np.array(_SEEK_JUMPS_S)[field(bits[stretch], 24, 4)] * 1000
    jump_ms[event_type[stretch] == PLAY_START] = 0
    jumped_ms = np.cumsum(jump_ms)
    of_session = session[stretch]
    jumped_ms -= jumped_ms[np.searchsorted(stretch, first)][of_session]
    # A stretch is played until the seek that ends it, or else until its session's last event.
    end = np.append(stretch[1:], len(event_type))
    end -= np.append(event_type[stretch[1:]] == PLAY_START, True)
    playing_ms = played_ms[end] - played_ms[stretch]
    wanted_ms = origin_ms[of_session] + played_ms[stretch] + jumped_ms
    landed_ms = np.clip(wanted_ms, 0, length_ms[of_session] - playing_ms)
    within = np.repeat(np.arange(len(stretch)), np.diff(np.append(stretch, len(event_type))))
    return np.asarray((landed_ms - played_ms[stretch])[within] + played_ms)


@cache
def _pauses_ms() -> Ints:
    """Return 256 quantiles of how long a pause lasts: log-normal, median 45 s, at most 25 minutes."""
    return np.array([min(1_500_000, round(45_000 * math.exp(1.2 * step))) for step in NORMAL_QUANTILES])
