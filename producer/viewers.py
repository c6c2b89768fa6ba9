"""Who watches what, and when they begin: sessions drawn in bulk, as columns.

Two worlds: `past_arrivals` fills a span of days with a set number of events, in whole sessions, busier in the evening;
`live_arrivals` goes on for ever at an even rate, with sessions already under way when it begins.
"""

from __future__ import annotations

import csv
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

import numpy as np

from producer.draws import NORMAL_QUANTILES, Bits, Flags, Ints, draw, field, lookup
from schemas.countries import countries
from schemas.event import HEARTBEAT_INTERVAL_S

SESSIONS_PER_CHUNK: Final = 1024
MAX_LIVE_EVENTS_PER_S: Final = 5_000
"""A viewer sends about an event a minute, so a rate needs 60 times as many viewers at once; beyond this one the
simulated world runs faster than the clock instead of growing."""

HEARTBEAT_MS: Final = int(HEARTBEAT_INTERVAL_S * 1000)
HEARTBEAT_JITTER_MS: Final = 32
_BIN_MS: Final = 30 * 60_000
_BINS_PER_DAY: Final = 48
_LONGEST_SESSION_MS: Final = 4 * 3_600_000
_SESSIONS_PER_USER: Final = 6

# Out of a busiest hour of 100, from local midnight on.
_VIEWING_BY_LOCAL_HOUR: Final = (
    30, 18, 10, 6, 4, 5, 9, 16, 22, 26, 30, 34, 40, 42, 42, 46, 54, 66, 82, 96, 100, 92, 74, 50,
)  # fmt: skip
_ZIPF_EXPONENT: Final = 0.95


@cache
def title_ids() -> tuple[str, ...]:
    """Return the ids of the titles that viewers watch, as in the shipped catalogue."""
    return tuple(row["show_id"] for row in _titles())


@cache
def title_lengths_ms() -> Ints:
    """Return how long each title is; for a series, how long an episode."""
    lengths_ms = []
    for number, row in enumerate(_titles()):
        amount, unit = row["duration"].split(" ")
        minutes = int(amount) if unit == "min" else 22 + number * 7 % 37
        lengths_ms.append(minutes * 60_000)
    return np.array(lengths_ms)


def _titles() -> Iterator[dict[str, str]]:
    return csv.DictReader(files("schemas").joinpath("titles.csv").read_text(encoding="utf-8").splitlines())


@cache
def _viewers_by_bin() -> tuple[Ints, list[int]]:
    """Return, per half hour of the UTC day: 4,096 country indexes by who watches then, and how much is watched."""
    table, volume = [], []
    for half_hour in range(_BINS_PER_DAY):
        weights = [
            country.viewer_share * _VIEWING_BY_LOCAL_HOUR[int((half_hour + country.utc_offset_h * 2) // 2 % 24)]
            for country in countries()
        ]
        table.append(lookup(weights, 4096))
        volume.append(round(sum(weights) * 1000))
    return np.stack(table), volume


@cache
def _minutes_watched() -> Ints:
    """Return 256 quantiles of how long people would watch if titles had no end: log-normal, median 20 minutes."""
    return np.array([max(1, round(20 * math.exp(1.1 * step))) for step in NORMAL_QUANTILES])


@dataclass(frozen=True)
class Arrivals:
    """Sessions that begin one after the other; arrays of one row a session, maybe none.

    Attributes:
        number: of this chunk; part of the key of every draw for it.
        users: how many users this world has.
        start_ms: time of the session's first event that is told.
        title: index of its title.
        events: how many events it has from PLAY_START to PLAY_STOP.
        skipped: how many of its events, from the first on, came before the world began and are not told.
        next_start_ms: no session of a later chunk begins before this.
    """

    number: int
    users: int
    start_ms: Ints
    title: Ints
    events: Ints
    skipped: Ints
    next_start_ms: int


@cache
def _titles_by_popularity(seed: int) -> Ints:
    """Return 65,536 title indexes in which the title of rank r has a share in proportion to 1 / r**exponent."""
    titles = len(title_ids())
    by_rank = np.argsort(draw(titles, seed, 0), kind="stable")
    return np.asarray(by_rank[lookup([1 / rank**_ZIPF_EXPONENT for rank in range(1, titles + 1)], 1 << 16)])


def _titles_and_events(count: int, longest_playing_ms: int, *key: int) -> tuple[Ints, Ints]:
    bits = draw(count, *key)
    title = _titles_by_popularity(key[0])[field(bits, 0, 16)]
    playing_ms = np.minimum(title_lengths_ms()[title], longest_playing_ms)
    limit = playing_ms // (HEARTBEAT_MS + HEARTBEAT_JITTER_MS)
    return title, 1 + np.clip(_minutes_watched()[field(bits, 16, 8)], 2, np.maximum(limit, 2))


def past_arrivals(seed: tuple[int, ...], events: int, start_ms: int, span_ms: int) -> Iterator[Arrivals]:
    """Yield the sessions of a span: whole ones, with `events` events together.

    A single event is a lone PLAY_START. Sessions begin early enough to end within the span; only a series of very long
    pauses, or a span of minutes, lets one go on after it.

    Args:
        seed: key of all draws; its first number decides which titles are popular.
        events: how many, at least 1.
        start_ms: begin of the span, ms since 1970 UTC.
        span_ms: its length.
    """
    longest_ms = min(_LONGEST_SESSION_MS, span_ms // 2)
    chunks: list[tuple[Ints, Ints]] = []
    missing = events
    for number in itertools.count():
        title, count = _titles_and_events(SESSIONS_PER_CHUNK, longest_ms * 5 // 8, *seed, 1, number)
        reached = np.cumsum(count)
        if reached[-1] < missing:
            chunks.append((title.astype(np.int32), count.astype(np.int32)))
            missing -= int(reached[-1])
            continue
        last = int(np.searchsorted(reached, missing))
        count = count[: last + 1]
        count[last] -= reached[last] - missing
        if count[last] == 1 and events > 1:  # a session of one event is none: the one before gives another
            before = chunks[-1][1] if last == 0 else count[:last]
            before[-1] -= 1
            count[last] = 2
        chunks.append((title[: last + 1], count))
        break
    sessions = sum(len(title) for title, _ in chunks)
    users = max(len(countries()) * 2, sessions // _SESSIONS_PER_USER)
    starts = _Starts(sessions, start_ms, max(1, span_ms - longest_ms))
    first = 0
    for number, (title, count) in enumerate(chunks):
        begin_ms = starts.of(first, draw(len(title), *seed, 2, number))
        first += len(title)
        yield Arrivals(
            number, users, begin_ms, title, count.astype(np.int64), np.zeros_like(begin_ms), starts.earliest(first)
        )


class _Starts:
    """When the sessions of a span begin: in order, more of them in half hours in which more is watched."""

    def __init__(self, sessions: int, start_ms: int, span_ms: int) -> None:
        _, volume = _viewers_by_bin()
        edges = [start_ms, *range((start_ms // _BIN_MS + 1) * _BIN_MS, start_ms + span_ms, _BIN_MS), start_ms + span_ms]
        weights = [(end - begin) * volume[begin // _BIN_MS % _BINS_PER_DAY] for begin, end in itertools.pairwise(edges)]
        total = sum(weights)
        until = [sessions * weight // total for weight in itertools.accumulate(weights)]
        self._edges = np.array(edges)
        self._until = np.array([0, *until])

    def of(self, first: int, bits: Bits) -> Ints:
        """Return the start in ms of the sessions from number `first` on, one for each draw."""
        session = first + np.arange(len(bits))
        half_hour = np.searchsorted(self._until, session, side="right") - 1
        in_bin = self._until[half_hour + 1] - self._until[half_hour]
        place = ((session - self._until[half_hour]) << 10) + field(bits, 0, 10)
        length_ms = self._edges[half_hour + 1] - self._edges[half_hour]
        return np.asarray(self._edges[half_hour] + place * length_ms // (in_bin << 10))

    def earliest(self, session: int) -> int:
        """Return a time in ms before which neither this session nor a later one begins."""
        if session >= self._until[-1]:
            return int(self._edges[-1])
        return int(self.of(session, np.zeros(1, np.uint64))[0])


def live_arrivals(seed: tuple[int, ...], rate_per_s: float, start_ms: int) -> Iterator[Arrivals]:
    """Yield sessions without end, about `rate_per_s` events in every second from `start_ms` on.

    In the first minute most sessions are ones under way: their first events are not told.
    """
    met_title, sample = _titles_and_events(4096, _LONGEST_SESSION_MS, *seed, 5)
    cuts = np.cumsum(sample - 1)  # a session under way is met between two of its events: long ones are met more often
    new_per_s = rate_per_s * len(sample) / int(sample.sum())
    users = max(len(countries()) * 2, int(rate_per_s * 60 * 2))
    now_ms = start_ms
    for number in itertools.count():
        under_way_per_s = rate_per_s if now_ms < start_ms + HEARTBEAT_MS else 0.0
        length_ms = max(1, min(_LONGEST_SESSION_MS, int(SESSIONS_PER_CHUNK / (new_per_s + under_way_per_s) * 1000)))
        if under_way_per_s:
            length_ms = min(length_ms, start_ms + HEARTBEAT_MS - now_ms)
        fresh, met = (
            math.floor(per_s * (now_ms - start_ms + length_ms) / 1000) - math.floor(per_s * (now_ms - start_ms) / 1000)
            for per_s in (new_per_s, under_way_per_s)
        )
        title, count = _titles_and_events(fresh, _LONGEST_SESSION_MS, *seed, 1, number)
        bits = draw(fresh + met, *seed, 2, number)
        cut = field(bits[fresh:], 32, 31) * int(cuts[-1]) >> 31
        which = np.searchsorted(cuts, cut, side="right")
        yield Arrivals(
            number,
            users,
            now_ms + (field(bits, 0, 31) * length_ms >> 31),
            np.concatenate([title, met_title[which]]),
            np.concatenate([count, sample[which]]),
            np.concatenate([np.zeros(fresh, np.int64), cuts[which] - cut]),
            now_ms + length_ms,
        )
        now_ms += length_ms


@dataclass(frozen=True)
class Sessions:
    """What stays the same through a session; arrays of one row a session, drawn from `Arrivals`."""

    user: Ints
    profile: Ints
    session_id: Bits
    title: Ints
    device: Ints
    country: Ints
    version: Ints
    is_alias_client: Flags
    audio: Ints
    bitrate: Ints
    bucket: Ints


def cast_sessions(seed: tuple[int, ...], arrivals: Arrivals) -> Sessions:
    """Return who watches each session, on what: a user has one country, some profiles and a few devices of its own."""
    bits = draw(2 * len(arrivals.title), *seed, 3, arrivals.number)
    bits, session_id = bits[::2], bits[1::2]
    table, _ = _viewers_by_bin()
    country = table[arrivals.start_ms // _BIN_MS % _BINS_PER_DAY, field(bits, 0, 12)]
    edges = _user_edges(arrivals.users)
    # The product of two uniform draws is small more often: a country's first users watch most.
    spread = field(bits, 12, 16) * field(bits, 28, 15)
    user = edges[country] + (spread * (edges[country + 1] - edges[country]) >> 31)
    of_user = _mixed(user.astype(np.uint64) + np.uint64((seed[0] * 0x9E3779B9) & 0xFFFFFFFF))
    profile = 1 + field(bits, 43, 8) * (1 + field(of_user, 0, 2) * field(of_user, 2, 2) // 2) // 256
    which_device = field(bits, 51, 4) * (1 + field(of_user, 8, 6) * 3 // 64) // 16
    of_device = _mixed(of_user + which_device.astype(np.uint64))
    device = lookup([30, 8, 18, 26, 8, 10], 256)[field(of_device, 0, 8)]
    version = lookup([50, 25, 15, 7, 3], 256)[field(of_device, 8, 8)]
    return Sessions(
        user,
        profile,
        session_id,
        arrivals.title,
        device,
        country,
        version,
        is_alias_client=field(of_device, 16, 16) < 655,
        audio=lookup([70, 30], 16)[field(bits, 55, 4)],
        bitrate=lookup([10, 25, 40, 25], 16)[field(bits, 59, 4)],
        bucket=field(of_user, 16, 1),
    )


@cache
def _user_edges(users: int) -> Ints:
    return np.cumsum([0, *(max(1, int(country.viewer_share * users)) for country in countries())])


def _mixed(values: Bits) -> Bits:
    """Scatter 64-bit numbers, after the finalizer of SplitMix64."""
    values = (values + np.uint64(0x9E3779B97F4A7C15)) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
