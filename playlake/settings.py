"""Settings of a verb: flags over `PLAYLAKE_*` variables over `playlake.toml`, as one frozen object.

In `playlake.toml`, top-level keys hold for every verb (`lake`, `broker`, `topic`, …) and a table named for a verb
(`[stream]`) holds for that one and wins. `PLAYLAKE_CONFIG` names another file.
"""

from __future__ import annotations

import argparse
import datetime as dt
import inspect
import os
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar, get_args, get_origin

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    CliSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from schemas.errors import ConfigError

_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_UNITS_BYTES = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}


def parse_duration_s(value: Any) -> Any:
    """Return seconds for `10s`, `500ms`, `5m`, `1h`, `2d` or a bare number of seconds; other types pass unchanged.

    Raises:
        ValueError: text that is no duration.
    """
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?\s*", value)
    if match is None:
        raise ValueError(f"{value!r} is no duration: write 500ms, 10s, 5m, 1h or 2d")
    return float(match[1]) * _UNITS_S[match[2] or "s"]


def parse_bytes(value: Any) -> Any:
    """Return bytes for `128MB`, `64MiB` or a bare number; other types pass unchanged.

    Raises:
        ValueError: text that is no size.
    """
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmg]?i?b?)\s*", value.lower())
    if match is None or match[2] not in _UNITS_BYTES:
        raise ValueError(f"{value!r} is no size: write 128MB, 64MiB or a number of bytes")
    return int(float(match[1]) * _UNITS_BYTES[match[2]])


def parse_date(value: Any) -> Any:
    """Return the date of `2026-11-21`; other types pass unchanged.

    Raises:
        ValueError: text that is no date.
    """
    if not isinstance(value, str):
        return value
    try:
        return dt.date.fromisoformat(value.strip())
    except ValueError:
        raise ValueError(f"{value!r} is no date: write YYYY-MM-DD") from None


def _positive(value: float) -> float:
    if value <= 0:
        raise ValueError("must be more than 0")
    return value


Duration = Annotated[float, BeforeValidator(parse_duration_s), AfterValidator(_positive)]
"""Seconds, from `10s`, `500ms`, `5m`, `1h`, `2d`."""
Size = Annotated[int, BeforeValidator(parse_bytes), AfterValidator(_positive)]
"""Bytes, from `128MB`, `64MiB`."""
Date = Annotated[dt.date, BeforeValidator(parse_date)]
"""A date, from `2026-11-21`."""
Port = Annotated[int, Field(ge=1, le=65535)]
"""A TCP port."""


class VerbSettings(BaseSettings):
    """Base of every verb's settings; a subclass's docstring is the verb's help text, with an example.

    Attributes:
        verb: the word on the command line; also the table in `playlake.toml`.
    """

    verb: ClassVar[str]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Take the indentation out of the docstring, which becomes the help text."""
        super().__init_subclass__(**kwargs)
        cls.__doc__ = inspect.cleandoc(cls.__doc__ or "")

    model_config = SettingsConfigDict(
        frozen=True,
        env_prefix="PLAYLAKE_",
        env_prefix_target="all",  # aliases, too: PLAYLAKE_JSON, not JSON
        extra="ignore",
        cli_kebab_case=True,
        cli_implicit_flags="toggle",
        cli_hide_none_type=True,
        cli_avoid_json=True,
        nested_model_default_partial_update=False,
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Order the sources: flags (added by pydantic-settings before these), arguments, variables, file."""
        return init_settings, env_settings, InitSettingsSource(settings_cls, _from_file(cls))


Settings = TypeVar("Settings", bound=VerbSettings)

_VALUE_NAMES: dict[Any, str] = {
    str: "TEXT",
    int: "N",
    float: "NUMBER",
    Path: "PATH",
    dt.datetime: "TIME",
    list[str]: "NAME=VALUE",
    parse_duration_s: "DURATION",
    parse_bytes: "SIZE",
    parse_date: "DATE",
}


def load(settings: type[Settings], arguments: list[str]) -> Settings:
    """Return the settings for one call of a verb.

    Args:
        settings: the verb's class.
        arguments: the words after the verb.

    Raises:
        ConfigError: a value that doesn't fit, from whichever source; the message names it.
        SystemExit: `--help` (0), or a flag that isn't one (2, with usage on standard error).
    """
    parser = argparse.ArgumentParser(
        prog=f"playlake {settings.verb}",
        description=settings.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    flags: CliSettingsSource[Any] = CliSettingsSource(settings, root_parser=parser)
    _polish(parser, settings)
    try:
        return settings(_cli_settings_source=flags(args=arguments))  # type: ignore[call-arg]
    except ValidationError as error:
        raise ConfigError("; ".join(_explain(settings, item) for item in error.errors())) from None
    except (
        SettingsError
    ) as error:  # only a list from a variable is parsed; the value may be a secret, so it is not told
        field = re.search(r'field "(\w+)"', str(error))
        name = field[1].upper() if field is not None else "…"
        raise ConfigError(f'the variable PLAYLAKE_{name} is no JSON list: write ["name=value"]') from None


def _polish(parser: argparse.ArgumentParser, settings: type[VerbSettings]) -> None:
    """Say what kind of value a flag takes instead of its Python type, and leave out defaults that say nothing."""
    by_flag = {(field.alias or name).replace("_", "-"): field for name, field in settings.model_fields.items()}
    for action in parser._actions:
        field = by_flag.get(action.dest.replace("_", "-"))
        if field is None:
            continue
        if action.option_strings and action.metavar is not None:
            action.metavar = _VALUE_NAMES.get(_kind(field), action.metavar)
        if get_origin(field.annotation) is list:
            action.type = '"{}"'.format  # else pydantic-settings cuts it at commas
        if action.help is not None:
            action.help = re.sub(r" \(default: (None|False|True|\[\]|\d{7,})\)", "", action.help)


def _kind(field: FieldInfo) -> Any:
    for metadata in field.metadata:
        if isinstance(metadata, BeforeValidator):
            return metadata.func
    kinds = [kind for kind in get_args(field.annotation) if kind is not type(None)]
    if len(kinds) == 1 and get_origin(field.annotation) is not list:
        kind = kinds[0]
        if hasattr(kind, "__metadata__"):  # Duration | None
            return next((item.func for item in kind.__metadata__ if isinstance(item, BeforeValidator)), kind.__origin__)
        return kind
    return field.annotation


def _explain(settings: type[BaseModel], item: Any) -> str:
    name = ".".join(str(part) for part in item["loc"])
    flag = f"--{name.replace('_', '-')}" if name in settings.model_fields else name
    if item["type"] == "missing":
        return f"{flag} is needed (or the variable PLAYLAKE_{name.upper()}, or {name} in playlake.toml)"
    message = str(item["msg"]).removeprefix("Value error, ")
    return f"{flag or settings.__name__}: {message}" if flag else message


def _from_file(cls: type[VerbSettings]) -> dict[str, Any]:
    named = os.environ.get("PLAYLAKE_CONFIG")
    path = Path(named or "playlake.toml")
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if named:
            raise ConfigError(f"the settings file {named} (PLAYLAKE_CONFIG) is not there") from None
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"the settings file {path} can't be read: {error}") from None
    shared = {key: value for key, value in content.items() if not isinstance(value, dict)}
    own = content.get(cls.verb, {})
    names = {field.alias or name for name, field in cls.model_fields.items()}
    unknown = [key for key in own if key.replace("-", "_") not in names]
    if unknown:
        raise ConfigError(f"{path}: [{cls.verb}] has no setting {unknown[0]!r}; see `playlake {cls.verb} --help`")
    merged = {**shared, **own}
    return {name: value for key, value in merged.items() if (name := key.replace("-", "_")) in names}
