"""What goes wrong with events on their way: which kinds there are, how often, and how each is made."""

from __future__ import annotations

import enum
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np

from producer.draws import Bits, Codes, Ints, draw
from producer.wire import EVENT_ID
from schemas.event import OPTIONAL_TEXT_FIELDS, REQUIRED_FIELDS


class Fate(enum.Enum):
    """Where a record belongs in the lake; all of them are in bronze."""

    SILVER = "silver, under its own date"
    NULL_PARTITION = "silver, in the null partition until repaired"
    QUARANTINE = "quarantine"
    REPEAT = "nowhere else: silver holds its event_id already"


@dataclass(frozen=True)
class Kind:
    """One kind of record.

    Attributes:
        name: as it is counted.
        fate: where it belongs.
        percent: its share of the dirty records.
        spoil: makes it from a valid event's fields, in place, with a draw to vary by; None where it isn't made so.
    """

    name: str
    fate: Fate
    percent: int = 0
    spoil: Callable[[dict[str, Any], int], None] | None = None


def _missing_field(event: dict[str, Any], roll: int) -> None:
    del event[_name_in(event, REQUIRED_FIELDS[roll % len(REQUIRED_FIELDS)])]


def _wrong_type(event: dict[str, Any], roll: int) -> None:
    names = (*REQUIRED_FIELDS, *OPTIONAL_TEXT_FIELDS, "playhead_s")
    roll, which = divmod(roll, len(names))
    name = _name_in(event, names[which])
    text = str(event[name])
    event[name] = text if name == "playhead_s" else (12345, 0.5, True, [text], {"id": text})[roll % 5]


def _unknown_event_type(event: dict[str, Any], roll: int) -> None:
    event["event_type"] = ("BUFFERING", "AD_BREAK", "play_start", "RATE_TITLE", "STOP")[roll % 5]


def _unknown_title(event: dict[str, Any], roll: int) -> None:
    event[_name_in(event, "title_id")] = f"s{900_000 + roll % 1000}"


def _late(event: dict[str, Any], roll: int) -> None:
    event["event_ts"] = round(event["event_ts"] - 3600 - roll % (5 * 86_400), 3)


def _time_null(event: dict[str, Any], roll: int) -> None:
    _add_client_ts(event, roll >> 1)
    if roll & 1:
        event["event_ts"] = None
    else:
        del event["event_ts"]


def _time_unparsable(event: dict[str, Any], roll: int) -> None:
    _add_client_ts(event, roll >> 4)
    event["event_ts"] = ("yesterday", "n/a", "Invalid Date", "", "around nine", "0000-00-00", "NaN", "-")[roll % 8]


def _time_iso_text(event: dict[str, Any], _roll: int) -> None:
    event["event_ts"] = _iso(event["event_ts"])


def _time_milliseconds(event: dict[str, Any], roll: int) -> None:
    _add_client_ts(event, roll)
    event["event_ts"] = round(event["event_ts"] * 1000)


def _time_1970(event: dict[str, Any], roll: int) -> None:
    _add_client_ts(event, roll >> 20)
    event["event_ts"] = 0 if roll & 1 else (roll >> 1) % 86_400_000 / 1000


def _time_far_future(event: dict[str, Any], roll: int) -> None:
    _add_client_ts(event, roll >> 32)
    event["event_ts"] = 4_102_444_800 + roll % (50 * 365 * 86_400)  # from the year 2100 on


KINDS: Final = (
    Kind("valid", Fate.SILVER),
    Kind("valid_content_id", Fate.SILVER),  # a client that sends `content_id` for `title_id`; no dirt
    Kind("broken_json", Fate.QUARANTINE, 10),
    Kind("not_utf8", Fate.QUARANTINE, 6),
    Kind("empty_value", Fate.QUARANTINE, 2),
    Kind("missing_field", Fate.QUARANTINE, 8, _missing_field),
    Kind("wrong_type", Fate.QUARANTINE, 8, _wrong_type),
    Kind("unknown_event_type", Fate.QUARANTINE, 6, _unknown_event_type),
    Kind("unknown_title", Fate.SILVER, 8, _unknown_title),
    Kind("late", Fate.SILVER, 10, _late),
    Kind("time_null", Fate.NULL_PARTITION, 8, _time_null),
    Kind("time_unparsable", Fate.NULL_PARTITION, 4, _time_unparsable),
    Kind("time_iso_text", Fate.NULL_PARTITION, 4, _time_iso_text),
    Kind("time_milliseconds", Fate.NULL_PARTITION, 6, _time_milliseconds),
    Kind("time_1970", Fate.NULL_PARTITION, 6, _time_1970),
    Kind("time_far_future", Fate.NULL_PARTITION, 4, _time_far_future),
    Kind("duplicate", Fate.REPEAT, 10),
)
"""Every kind of record; its index is its code. Half of the `time_*` ones (not `time_iso_text`) carry the right time in
`client_ts`, as ISO 8601 text or as epoch milliseconds; a duplicate repeats key and value of an earlier record that is
not in quarantine, mostly a recent one, sometimes one from long ago."""

CODES: Final = {kind.name: code for code, kind in enumerate(KINDS)}
IS_QUARANTINED: Final = np.array([kind.fate is Fate.QUARANTINE for kind in KINDS])

_DUPLICATE: Final = CODES["duplicate"]
_SPOILED: Final = np.repeat(
    np.arange(len(KINDS)), [0 if code == _DUPLICATE else kind.percent for code, kind in enumerate(KINDS)]
).astype(np.int8)
_RECENT: Final = 2_000
_REMEMBERED: Final = 4_096
_REMEMBERED_PER_BATCH: Final = 64


class Dirt:
    """Spoils records at a given share and repeats some; remembers a bounded sample of old ones to repeat."""

    def __init__(self, share: float) -> None:
        """Set the share of records that are dirty, 0 to 1; within it each kind has its `Kind.percent`."""
        repeats = share * KINDS[_DUPLICATE].percent / 100
        self.records_per_event = 1 / (1 - repeats)
        self._spoiled_below = np.uint64(round((share - repeats) / (1 - repeats) * 2**32))
        self._repeated_below = np.uint64(round(repeats / (1 - repeats) * 2**32))
        self._is_clean = share == 0
        self._memory: list[tuple[bytes, bytes]] = []

    def mix(
        self, key: tuple[int, ...], keys: list[bytes], values: list[bytes], kinds: Codes
    ) -> tuple[list[bytes], list[bytes], Codes]:
        """Return the records of a batch with dirt mixed in: the same ones in their order, some spoiled, some repeated.

        Args:
            key: of the draws for this batch.
            keys: keys of valid records.
            values: their JSON; changed in place.
            kinds: their codes; changed in place.
        """
        if self._is_clean:
            return keys, values, kinds
        chance = draw(len(values), *key, 1)
        low = chance & np.uint64(0xFFFFFFFF)
        rows = np.flatnonzero(low < self._spoiled_below)
        picked = _SPOILED[
            ((chance[rows] >> np.uint64(32)) * np.uint64(len(_SPOILED)) >> np.uint64(32)).astype(np.int64)
        ]
        kinds[rows] = picked
        for row, code, roll in zip(rows.tolist(), picked.tolist(), draw(len(rows), *key, 2).tolist(), strict=True):
            values[row] = _spoiled(values[row], KINDS[code], roll)
        return self._repeat(key, keys, values, kinds)

    def _repeat(
        self, key: tuple[int, ...], keys: list[bytes], values: list[bytes], kinds: Codes
    ) -> tuple[list[bytes], list[bytes], Codes]:
        chance = draw(len(values), *key, 3)
        after = np.flatnonzero((chance & np.uint64(0xFFFFFFFF)) < self._repeated_below)
        sound = np.flatnonzero(~IS_QUARANTINED[kinds])
        rolls = draw(len(after), *key, 4)
        order, wherefrom = self._sources(after, sound, rolls, len(values))
        remembered = self._memory
        is_repeat = order < 0
        new_keys = [keys[i] if i >= 0 else remembered[~i][0] for i in wherefrom.tolist()]
        new_values = [values[i] if i >= 0 else remembered[~i][1] for i in wherefrom.tolist()]
        new_kinds = np.where(is_repeat, np.int8(_DUPLICATE), kinds[np.maximum(order, 0)])
        self._remember(keys, values, sound, draw(2 * _REMEMBERED_PER_BATCH, *key, 5))
        return new_keys, new_values, new_kinds

    def _sources(self, after: Ints, sound: Ints, rolls: Bits, count: int) -> tuple[Ints, Ints]:
        """Return, for every record of the mixed batch, its row (-1: a repeat), and the row that its bytes come from.

        Rows below 0 are memories, counted from ~0 on.
        """
        before = np.searchsorted(sound, after, side="right")
        is_old = (rolls & np.uint64(3)) == 0
        roll = (rolls >> np.uint64(2)).astype(np.int64)
        recent = (
            sound[np.maximum(before - 1 - roll % np.maximum(np.minimum(before, _RECENT), 1), 0)] if len(sound) else 0
        )
        memories = len(self._memory)
        from_memory = ((is_old | (before == 0)) & (memories > 0)).astype(np.bool_)
        source = np.where(from_memory, ~(roll % max(memories, 1)), recent)
        possible = from_memory | (before > 0)
        after, source = after[possible], source[possible]
        order = np.insert(np.arange(count), after + 1, -1)
        wherefrom = np.insert(np.arange(count), after + 1, source)
        return order, wherefrom

    def _remember(self, keys: list[bytes], values: list[bytes], sound: Ints, rolls: Bits) -> None:
        if not len(sound):
            return
        rows = sound[(rolls[::2] % np.uint64(len(sound))).astype(np.int64)].tolist()
        for row, place in zip(rows, (rolls[1::2] % np.uint64(_REMEMBERED)).tolist(), strict=True):
            if len(self._memory) < _REMEMBERED:
                self._memory.append((keys[row], values[row]))
            else:
                self._memory[place] = (keys[row], values[row])


def _spoiled(value: bytes, kind: Kind, roll: int) -> bytes:
    if kind.spoil is not None:
        event = json.loads(value)
        kind.spoil(event, roll)
        return json.dumps(event, separators=(",", ":")).encode()
    if kind.name == "empty_value":
        return b""
    at = 1 + roll % (len(value) - 2)
    if kind.name == "broken_json":
        return value[:at]
    return value[:at] + (b"\xff", b"\xc3\x28", b"\xfc")[(roll >> 20) % 3] + value[at + 1 :]


def event_id_of(value: bytes, code: int) -> str | None:
    """Return the id under which silver holds this record; None for one that belongs in quarantine."""
    return None if IS_QUARANTINED[code] else value[EVENT_ID].decode()


def _name_in(event: dict[str, Any], name: str) -> str:
    return "content_id" if name == "title_id" and name not in event else name


def _add_client_ts(event: dict[str, Any], roll: int) -> None:
    if roll % 2:
        right = event["event_ts"]
        event["client_ts"] = _iso(right) if roll % 4 == 1 else round(right * 1000)


def _iso(time_s: float) -> str:
    time = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=round(time_s * 1000))
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
