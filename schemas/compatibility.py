"""Whether one Avro schema reads what another wrote, field by field, in the modes of a schema registry.

The rules are those of the Avro 1.11 specification, "Schema Resolution". On top of them, a change that Avro allows but
that loses data, or changes what the same bytes mean, is told apart: a registry takes it, playlake refuses it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import fastavro

from schemas.errors import ConfigError

MODES: Final = (
    "BACKWARD",
    "BACKWARD_TRANSITIVE",
    "FORWARD",
    "FORWARD_TRANSITIVE",
    "FULL",
    "FULL_TRANSITIVE",
    "NONE",
)
"""BACKWARD: the new schema reads the old one's data. FORWARD: the old reads the new one's. FULL: both. Transitive: so
with every older version, not the last alone."""

_PROMOTIONS: Final = {
    "int": ("long", "float", "double"),
    "long": ("float", "double"),
    "float": ("double",),
    "string": ("bytes",),
    "bytes": ("string",),
}
_LOSSY: Final = {("int", "float"), ("long", "float"), ("long", "double"), ("bytes", "string")}
_NAMED: Final = ("record", "enum", "fixed", "error")


@dataclass(frozen=True)
class Trouble:
    """One reason why data can't be read, or is not the same after it.

    Attributes:
        path: of the field, such as `client.os`; empty for the record as a whole.
        message: what is wrong.
        is_lossy: Avro reads it, but data is lost or means something else.
    """

    path: str
    message: str
    is_lossy: bool = False


@dataclass(frozen=True)
class FieldChange:
    """A field of either version.

    Attributes:
        name: of the field; a renamed one under its new name.
        change: what was done, in a few words; `same` if nothing.
        backward: troubles when the new schema reads old data.
        forward: troubles when the old schema reads new data.
    """

    name: str
    change: str
    backward: tuple[Trouble, ...]
    forward: tuple[Trouble, ...]


@dataclass(frozen=True)
class Compatibility:
    """What a change of a schema means.

    Attributes:
        modes: for each of `MODES`, whether a registry in that mode would take the new version.
        fields: of the last old version and the new one, in the new one's order, then those removed.
        backward_losses: where the new schema reads an older one's data, but not all of it or not as what it was.
        forward_losses: the same for an older schema and new data.
        general: troubles of the record as a whole, in either direction.
    """

    modes: dict[str, bool]
    fields: tuple[FieldChange, ...]
    backward_losses: tuple[Trouble, ...]
    forward_losses: tuple[Trouble, ...]
    general: tuple[Trouble, ...]

    def losses(self, mode: str) -> tuple[Trouble, ...]:
        """Return the losses in the directions that a mode is about; data at rest is read in any but FORWARD."""
        backward = () if mode.startswith("FORWARD") else self.backward_losses
        return backward + (self.forward_losses if mode.startswith(("FORWARD", "FULL")) else ())


def load_schema(text: str, name: str) -> Any:
    """Return an Avro schema of a record with every name spelt out.

    Raises:
        ConfigError: it is none; the message calls it `name`.
    """
    try:
        parsed: Any = fastavro.schema.expand_schema(json.loads(text))
    except (ValueError, TypeError, AttributeError, LookupError, fastavro.schema.SchemaParseException) as error:
        raise ConfigError(f"{name} is no Avro schema: {str(error) or type(error).__name__}") from None
    if not isinstance(parsed, dict) or parsed.get("type") != "record":
        raise ConfigError(f"{name} is an Avro schema, but not of a record")
    return parsed


def compare(older: Sequence[Any], new: Any) -> Compatibility:
    """Compare a new schema with those before it.

    Args:
        older: from `load_schema`, oldest first, at least one; the last is the one in use.
        new: from `load_schema`.
    """
    backward = [list(troubles(new, old)) for old in older]
    forward = [list(troubles(old, new)) for old in older]

    def holds(*found: list[Trouble]) -> bool:
        return all(each.is_lossy for part in found for each in part)

    modes = {
        "BACKWARD": holds(backward[-1]),
        "BACKWARD_TRANSITIVE": holds(*backward),
        "FORWARD": holds(forward[-1]),
        "FORWARD_TRANSITIVE": holds(*forward),
        "FULL": holds(backward[-1], forward[-1]),
        "FULL_TRANSITIVE": holds(*backward, *forward),
        "NONE": True,
    }
    every = [each for part in (*backward, *forward) for each in part]

    def losses(found: list[list[Trouble]]) -> tuple[Trouble, ...]:
        return tuple(dict.fromkeys(each for part in found for each in part if each.is_lossy))

    return Compatibility(
        modes,
        tuple(_changes(older[-1], new, backward[-1], forward[-1])),
        losses(backward),
        losses(forward),
        tuple(dict.fromkeys(each for each in every if not each.path)),
    )


def troubles(reader: Any, writer: Any) -> Iterator[Trouble]:
    """Yield why a reader's schema can't read a writer's data; nothing where it can."""
    yield from _read(reader, writer, "")


def _changes(old: Any, new: Any, backward: list[Trouble], forward: list[Trouble]) -> Iterator[FieldChange]:
    before = {field["name"]: field for field in old["fields"]}
    seen = set()
    for field in new["fields"]:
        name = field["name"]
        former = next((each for each in (name, *field.get("aliases", ())) if each in before), None)
        seen.add(former)
        names = {name, former or name}
        if former is None:
            change = f"added, default {json.dumps(field['default'])}" if "default" in field else "added, no default"
        else:
            change = ", ".join(_differences(before[former], field)) or "same"
        yield FieldChange(name, change, _of(backward, names), _of(forward, names))
    for name in before:
        if name not in seen:
            yield FieldChange(name, "removed", _of(backward, {name}), _of(forward, {name}))


def _differences(old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
    if old["name"] != new["name"]:
        yield f"renamed from {old['name']}"
    if _plain(old["type"]) != _plain(new["type"]):
        yield f"{_shown(old['type'])} → {_shown(new['type'])}"
    if ("default" in old, old.get("default")) != ("default" in new, new.get("default")):
        yield f"default {json.dumps(new['default'])}" if "default" in new else "default removed"


def _of(found: list[Trouble], names: set[str]) -> tuple[Trouble, ...]:
    return tuple(each for each in found if each.path.split(".")[0].split("[")[0] in names)


def _read(reader: Any, writer: Any, path: str) -> Iterator[Trouble]:
    if isinstance(writer, list):
        for branch in writer:
            yield from _read(reader, branch, path)
    elif isinstance(reader, list):
        yield from _read_union(reader, writer, path)
    else:
        reader_kind, writer_kind = _kind(reader), _kind(writer)
        if reader_kind != writer_kind:
            if reader_kind not in _PROMOTIONS.get(writer_kind, ()):
                yield Trouble(path, f"{_shown(writer)} can't be read as {_shown(reader)}")
            elif (writer_kind, reader_kind) in _LOSSY:
                yield Trouble(path, f"{writer_kind} read as {reader_kind} loses data", is_lossy=True)
        elif reader_kind in ("record", "enum", "fixed") and not _is_same_name(reader, writer):
            yield Trouble(path, f"{writer_kind} {writer['name']} can't be read as {reader['name']}")
        elif reader_kind in _COMPOUND:
            yield from _COMPOUND[reader_kind](reader, writer, path)
        if _logical(reader) != _logical(writer):
            now, then = (_logical(each) or "a plain value" for each in (reader, writer))
            yield Trouble(path, f"the same bytes would mean {now}, not {then}", is_lossy=True)


def _read_union(reader: list[Any], writer: Any, path: str) -> Iterator[Trouble]:
    """A reader's union takes the first branch of the writer's own type, else the first that reads it."""
    same = [branch for branch in reader if _kind(branch) == _kind(writer)]
    attempts = [list(_read(branch, writer, path)) for branch in (*same, *reader)]
    readable = [found for found in attempts if all(each.is_lossy for each in found)]
    if readable:
        yield from readable[0]
    elif same:
        yield from attempts[0]
    else:
        yield Trouble(path, f"{_shown(writer)} is none of {_shown(reader)}")


def _read_record(reader: Any, writer: Any, path: str) -> Iterator[Trouble]:
    written = {field["name"]: field for field in writer["fields"]}
    for field in reader["fields"]:
        at = f"{path}.{field['name']}" if path else field["name"]
        names = (field["name"], *field.get("aliases", ()))
        found = next((written[name] for name in names if name in written), None)
        if found is not None:
            yield from _read(field["type"], found["type"], at)
        elif "default" not in field:
            yield Trouble(at, "is not written, and has no default")


def _read_enum(reader: Any, writer: Any, path: str) -> Iterator[Trouble]:
    unknown = [symbol for symbol in writer["symbols"] if symbol not in reader["symbols"]]
    if unknown and "default" not in reader:
        yield Trouble(path, f"unknown symbols {', '.join(unknown)}, and no default")
    elif unknown:
        yield Trouble(path, f"symbols {', '.join(unknown)} become {reader['default']}", is_lossy=True)


def _read_fixed(reader: Any, writer: Any, path: str) -> Iterator[Trouble]:
    if reader["size"] != writer["size"]:
        yield Trouble(path, f"fixed of {writer['size']} bytes can't be read as {reader['size']}")


_COMPOUND: Final[dict[str, Callable[[Any, Any, str], Iterator[Trouble]]]] = {
    "record": _read_record,
    "enum": _read_enum,
    "fixed": _read_fixed,
    "array": lambda reader, writer, path: _read(reader["items"], writer["items"], f"{path}[]"),
    "map": lambda reader, writer, path: _read(reader["values"], writer["values"], f"{path}{{}}"),
}


def _is_same_name(reader: Any, writer: Any) -> bool:
    """Names match without their namespaces (specification, "Schema Resolution"), or by an alias of the reader's."""
    names = {each.rpartition(".")[2] for each in (reader["name"], *reader.get("aliases", ()))}
    return writer["name"].rpartition(".")[2] in names


def _kind(schema: Any) -> str:
    if isinstance(schema, dict):
        return _kind(schema["type"])
    return "union" if isinstance(schema, list) else str(schema)


def _logical(schema: Any) -> str | None:
    if not isinstance(schema, dict) or "logicalType" not in schema:
        return None
    details = [f"{key} {schema[key]}" for key in ("precision", "scale") if key in schema]
    return " ".join([str(schema["logicalType"]), *details])


def _plain(schema: Any) -> Any:
    """Return a type without what says nothing of its data."""
    if isinstance(schema, list):
        return [_plain(each) for each in schema]
    if isinstance(schema, dict):
        return {key: _plain(value) for key, value in schema.items() if key not in ("doc", "aliases")}
    return schema


def _shown(schema: Any) -> str:
    if isinstance(schema, list):
        return " | ".join(map(_shown, schema))
    if _kind(schema) in _NAMED and isinstance(schema, dict):
        return f"{_kind(schema)} {schema['name']}"
    return f"{_kind(schema)} ({_logical(schema)})" if _logical(schema) else _kind(schema)
