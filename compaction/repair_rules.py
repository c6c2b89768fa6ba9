"""Rules of a repair, from a TOML file: which fields of a payload may hold an event time, and which times are plausible.

`compaction/repair.toml` is the file that ships, with every key explained.
"""

from __future__ import annotations

import datetime as dt
import re
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Final, Literal, get_args

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from schemas.errors import ConfigError

_UNITS: Final = {"seconds": 1.0, "milliseconds": 1e3, "microseconds": 1e6}
_ISO: Final = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}"
_DURATION: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_PATH = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")

Form = Literal["seconds", "milliseconds", "microseconds", "iso"]


def _duration(text: str) -> str:
    if not re.fullmatch(r"\d+[smhd]", text):
        raise ValueError("write a number and one of s, m, h, d, such as 1d")
    return text


def _path(text: str) -> str:
    if not _PATH.fullmatch(text):
        raise ValueError("write a field's name, or names joined by dots, such as meta.sent_at")
    return text


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Plausible(_Strict):
    """Which times count: later than `after`, at most `ahead` later than the broker's time of the record."""

    after: AwareDatetime
    ahead: Annotated[str, AfterValidator(_duration)]

    @property
    def ahead_sql(self) -> str:
        """`ahead` as a DuckDB interval."""
        return f"interval {self.ahead[:-1]} {_DURATION[self.ahead[-1]]}"

    @property
    def after_sql(self) -> str:
        """`after` as a DuckDB literal."""
        return f"timestamptz '{self.after.astimezone(dt.UTC):%Y-%m-%d %H:%M:%S+00}'"


class Source(_Strict):
    """One place where a time may be: a field of the payload in one of `forms`, or the broker's time."""

    field: Annotated[str, AfterValidator(_path)] | None = None
    forms: tuple[Form, ...] = ("seconds", "milliseconds", "microseconds", "iso")
    broker: bool = False

    @model_validator(mode="after")
    def _is_one_of_both(self) -> Source:
        if (self.field is None) != self.broker:
            raise ValueError("write either field or broker = true")
        if not self.forms:
            raise ValueError("forms is empty")
        return self


class RepairRules(_Strict):
    """What a rules file says."""

    plausible: Plausible
    source: tuple[Source, ...] = Field(min_length=1)


def shipped_rules() -> RepairRules:
    """Return the rules that ship with playlake."""
    return _parse(files("compaction").joinpath("repair.toml").read_text(encoding="utf-8"), "repair.toml")


def read_rules(path: Path) -> RepairRules:
    """Read a rules file.

    Raises:
        ConfigError: it can't be read, is no TOML, or has a key or value that is not understood; the message names it.
    """
    try:
        return _parse(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the repair rules {path} can't be read: {error}") from error


def own_time_sql(column: str, plausible: Plausible) -> str:
    """Return SQL as `time_sql` does, for the table's own event time in whichever form it is."""
    label = column.replace("'", "''")
    branches = " ".join(_branch("event_time", label, "own_text", form, plausible) for form in get_args(Form))
    return f"case {branches} end"


def implausible_sql(plausible: Plausible) -> str:
    """Return SQL over `columns` of `repair.sql` for whether a row's date can't be right, and no repair gave it."""
    return (
        "((repair_id is null or starts_with(repair_id, 'held:')) and (cast(event_date_before as date) < "
        f"cast({plausible.after_sql} as date) or cast(event_date_before as date) > cast(latest as date)))"
    )


def time_sql(source: Source, plausible: Plausible) -> str:
    """Return SQL over `unusable` of `repair.sql`, for null or a struct of `at` (timestamptz), `source`, `found_in`."""
    if source.broker:
        return (
            f"case when broker_timestamp between {plausible.after_sql} and ingest_timestamp + {plausible.ahead_sql} "
            "then {'at': broker_timestamp, 'source': 'broker', 'found_in': 'broker''s time'} end"
        )
    path = "$." + str(source.field)
    text = f"json_extract_string(document, '{path}')"
    if source.field == "event_ts":  # a row without a payload still has this one
        text = f"coalesce({text}, sent_text)"
    branches = " ".join(_branch("payload", str(source.field), text, form, plausible) for form in source.forms)
    return f"case {branches} end"


def _branch(source: str, field: str, text: str, form: Form, plausible: Plausible) -> str:
    found = f"'source': '{source}', 'found_in': '{field} {'as ISO text' if form == 'iso' else f'in {form}'}'"
    if form == "iso":
        value = f"try_cast({text} as timestamptz)"
        return (
            f"when regexp_matches({text}, '{_ISO}') and {value} between {plausible.after_sql} and latest "
            f"then {{'at': {value}, {found}}}"
        )
    unit = _UNITS[form]
    number = f"try_cast({text} as double)"
    return (
        f"when {number} between epoch({plausible.after_sql}) * {unit} and epoch(latest) * {unit} "
        f"then {{'at': to_timestamp({number} / {unit}), {found}}}"
    )


def _parse(text: str, origin: str) -> RepairRules:
    try:
        return RepairRules.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"the repair rules {origin} are no TOML: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        raise ConfigError(f"the repair rules {origin}: {place}: {first['msg']}") from error
