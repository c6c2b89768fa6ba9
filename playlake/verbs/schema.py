"""`playlake schema`: whether a changed event schema fits the ones before it, and the data dictionary."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator
from pydantic_settings import CliPositionalArg

from playlake.settings import VerbSettings
from schemas.compatibility import MODES, Compatibility, Trouble, compare, load_schema
from schemas.errors import ConfigError


class Settings(VerbSettings):
    """Compare two versions of an Avro schema, or print the data dictionary.

    `check` compares OLD and NEW in all the modes of a schema registry, field by field. The answer is yes (exit code 0)
    if a registry in the mode --mode would take NEW after OLD and no data is lost: Avro reads a long as a double, but
    not every long is one. Versions before OLD, for the transitive modes, are --before.

    `dictionary` says what the event, every table and every column mean, and of what each table is made.

    Example:
        playlake schema check event.v1.avsc event.v2.avsc --mode FULL
        playlake schema dictionary --format html > dictionary.html
    """

    verb: ClassVar[str] = "schema"

    action: CliPositionalArg[Literal["check", "dictionary"]] = Field(description="check or dictionary")
    old: CliPositionalArg[Path | None] = Field(None, description="check: Avro schema in use")
    new: CliPositionalArg[Path | None] = Field(None, description="check: Avro schema to come")
    mode: Literal[
        "BACKWARD", "BACKWARD_TRANSITIVE", "FORWARD", "FORWARD_TRANSITIVE", "FULL", "FULL_TRANSITIVE", "NONE"
    ] = Field("FULL_TRANSITIVE", description="check: the mode that decides")
    before: list[Path] = Field([], description="check: an Avro schema before OLD, oldest first; may be repeated")
    format: Literal["md", "html", "json"] = Field("md", description="dictionary: Markdown, one HTML page, or JSON")
    # `as_json` on the command line is --json, as for every verb
    as_json: bool = Field(False, alias="json", description="check: print the answer as one JSON object")

    @model_validator(mode="after")
    def _fits_together(self) -> Settings:
        if self.action == "check" and self.new is None:
            raise ValueError("check needs two schemas: playlake schema check OLD NEW")
        if self.action == "dictionary" and (self.old is not None or self.before or self.as_json):
            raise ValueError("dictionary takes --format md, html or json alone")
        return self


def run(settings: Settings) -> int:
    """Compare or print; see `Settings`."""
    if settings.old is None or settings.new is None:
        return _print_dictionary(settings.format)
    older = [_load(path) for path in (*settings.before, settings.old)]
    found = compare(older, _load(settings.new))
    is_yes = found.modes[settings.mode] and not found.losses(settings.mode)
    if settings.as_json:
        print(json.dumps(_as_dict(found, settings.mode, is_yes)))
    else:
        _show(found, settings.mode, is_yes)
    return 0 if is_yes else 1


def _print_dictionary(kind: str) -> int:
    from playlake import dictionary

    write = {"md": dictionary.markdown, "html": dictionary.html, "json": dictionary.as_json}[kind]
    sys.stdout.write(write())
    return 0


def _load(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the schema {path} can't be read: {error}") from None
    return load_schema(text, str(path))


def _as_dict(found: Compatibility, mode: str, is_yes: bool) -> dict[str, object]:
    def told(troubles: tuple[Trouble, ...]) -> list[dict[str, object]]:
        return [vars(each) for each in troubles]

    return {
        "compatible": is_yes,
        "modes": found.modes,
        "losses": told(found.losses(mode)),
        "general": told(found.general),
        "fields": [
            {
                "name": each.name,
                "change": each.change,
                "backward": told(each.backward),
                "forward": told(each.forward),
            }
            for each in found.fields
        ],
    }


def _show(found: Compatibility, mode: str, is_yes: bool) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, soft_wrap=not sys.stdout.isatty())
    table = Table(box=None, pad_edge=False, padding=(0, 1), header_style="dim")
    for name in ("field", "change", "new reads old", "old reads new"):
        table.add_column(name, overflow="fold")
    for each in found.fields:
        table.add_row(each.name, each.change, _said(each.backward), _said(each.forward))
    console.print(table)
    for trouble in found.general:
        console.print(trouble.message, markup=False)
    console.print("\n" + "  ".join(f"{name} {'yes' if found.modes[name] else 'no'}" for name in MODES))
    for loss in found.losses(mode):
        console.print(f"refused, though a registry takes it: {loss.path}: {loss.message}", markup=False)
    console.print(f"{'compatible' if is_yes else 'not compatible'} ({mode})")


def _said(troubles: tuple[Trouble, ...]) -> str:
    from rich.markup import escape

    return escape("; ".join(dict.fromkeys(each.message for each in troubles))) or "yes"
