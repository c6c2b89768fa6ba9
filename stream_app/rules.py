"""A lake's own rules, from a TOML file: what they say, whether they can be asked, and their part of the SQL statement.

A condition is true for a record that breaks the rule. It is asked of records that are valid by what process.sql checks
itself, on values as sent, and it may look at nothing but the record: so the step stays pure, and a replay of bronze
gives the same rows. Null, and an error such as a cast that fails, mean that the rule is not broken.
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import duckdb
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from schemas.errors import ConfigError

COLUMNS: Final = {
    **dict.fromkeys(
        ("event_id", "user_id", "profile_id", "session_id", "title_id", "event_type", "device_type", "country"),
        "varchar",
    ),
    **dict.fromkeys(("app_version", "audio_language", "ab_bucket"), "varchar"),
    "bitrate_kbps": "integer",
    "event_ts": "double",
    "playhead_s": "double",
    **dict.fromkeys(("event_timestamp", "broker_timestamp", "ingest_timestamp"), "timestamptz"),
    **dict.fromkeys(("title_is_known", "country_is_known", "device_is_known"), "boolean"),
}
"""What a condition may look at, and its type in DuckDB."""

CODE: Final = "rule:"
"""Before a rule's name in `silver.warnings` and `quarantine.reasons`."""

MOST_RULES: Final = 60
_PLAIN_CTE: Final = re.compile(r"ruled as \(.*?\n\)\n", re.DOTALL)
_NULLABLE: Final = (
    "device_type",
    "country",
    "playhead_s",
    "app_version",
    "audio_language",
    "bitrate_kbps",
    "ab_bucket",
)
_FOLLOWS: Final = {
    "device_type": (("device_is_known", "else false"),),
    "country": (("country_is_known", "else false"), ("country_row", "")),
}
"""What process.sql found out about a column before it is emptied, and what that is after."""
_TAKES_NO_PART: Final = {
    "SUBQUERY": "a subquery",
    "WINDOW": "a window function",
    "PARAMETER": "a parameter",
    "STAR": "a star",
}
_CLOCKS: Final = re.compile(r"(current_|local|now$|today$|age$|get_current_)")

Share = Annotated[float, Field(gt=0, lt=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Rule(_Strict):
    """One rule of the file.

    Attributes:
        name: as it is counted; in codes as `rule:<name>`.
        condition: an SQL expression over `COLUMNS`, true for a record that breaks the rule.
        action: `warn` adds the code to `warnings`; `null_out` also empties `columns`; `quarantine` refuses the record;
            `fail` stops the worker.
        message: why, for a person.
        since: version of the file in which the rule came or last changed.
        columns: what `null_out` empties.
        budget: share of a flush's records that may break it; None for no bound.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,59}$")
    condition: str = Field(min_length=1)
    action: Literal["warn", "quarantine", "null_out", "fail"]
    message: str = Field(min_length=1)
    since: int = Field(default=1, ge=1)
    columns: tuple[
        Literal["device_type", "country", "playhead_s", "app_version", "audio_language", "bitrate_kbps", "ab_bucket"],
        ...,
    ] = ()
    budget: Share | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Rule:
        if (self.action == "null_out") != bool(self.columns):
            raise ValueError(f"columns belongs to the action null_out, which needs some of {', '.join(_NULLABLE)}")
        return self


class Budget(_Strict):
    """Bounds on a flush as a whole.

    Attributes:
        quarantined: share of a flush's records that may be refused, for whatever reason; None for no bound.
        at_least: flushes of fewer records are not judged: a share of a handful says nothing.
    """

    quarantined: Share | None = None
    at_least: int = Field(default=100, ge=1)


_NO_BUDGET: Final = Budget()


class _File(_Strict):
    version: int = Field(default=1, ge=1)
    budget: Budget = _NO_BUDGET
    rules: tuple[Rule, ...] = Field(default=(), max_length=MOST_RULES)


@dataclass(frozen=True)
class RuleSet:
    """Rules that have been checked; a rule's place is its bit in `broken`.

    Attributes:
        rules: in the file's order.
        budget: bounds on a flush as a whole.
        version: of the file.
    """

    rules: tuple[Rule, ...] = ()
    budget: Budget = _NO_BUDGET
    version: int = 0

    @property
    def label(self) -> str:
        """Return what tells this set from any other, for `quarantine.rule_set`; empty without rules."""
        if not self.rules:
            return ""
        text = json.dumps([[rule.name, rule.condition, rule.action, rule.columns] for rule in self.rules])
        return f"v{self.version}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"

    @property
    def emptied(self) -> set[str]:
        """Return the columns that some rule may empty."""
        return {column for rule in self.rules for column in rule.columns}

    def bits(self, *actions: str) -> int:
        """Return the bits of the rules with one of these actions."""
        return sum(1 << place for place, rule in enumerate(self.rules) if rule.action in actions)

    def in_statement(self, sql: str) -> str:
        """Return process.sql with these rules in the place of its `ruled`."""
        if not self.rules:
            return sql
        bits = " | ".join(
            f"(case when try((\n{rule.condition}\n)) then {1 << place} else 0 end)::ubigint"
            for place, rule in enumerate(self.rules)
        )
        told = [
            f"case when broken & {1 << place} <> 0 then '{CODE}{rule.name}' end"
            for place, rule in enumerate(self.rules)
            if rule.action in ("warn", "null_out")
        ]
        warnings = "null::varchar[]"
        if told:
            codes = f"list_filter([{', '.join(told)}], lambda code: code is not null)"
            warnings = f"case when broken & {self.bits('warn', 'null_out')} <> 0 then {codes} end"
        replaced = [f"is_valid and broken & {self.bits('quarantine')} = 0 as is_valid"]
        for column in _NULLABLE:
            emptying = sum(1 << place for place, rule in enumerate(self.rules) if column in rule.columns)
            if emptying:
                replaced += [
                    f"case when broken & {emptying} = 0 then {name} {otherwise} end as {name}"
                    for name, otherwise in ((column, ""), *_FOLLOWS.get(column, ()))
                ]
        ruled = (  # of the operator's own expressions, each bound and found to be one before
            f"asked as (\n    select *, case when is_valid then {bits} else 0::ubigint end as broken from judged\n"  # noqa: S608
            f"),\n\nruled as (\n    select * replace ({', '.join(replaced)}),\n        {warnings} as rule_warnings\n"
            "    from asked\n)\n"
        )
        replacement, count = _PLAIN_CTE.subn(lambda _: ruled, sql)
        if count != 1:
            raise AssertionError("process.sql has no single `ruled`")
        return replacement


def shipped_rules() -> RuleSet:
    """Return the rules that come with playlake."""
    with as_file(files("stream_app").joinpath("rules.toml")) as path:
        return read_rules(path)


def read_rules(path: Path) -> RuleSet:
    """Return the rules of a file.

    Raises:
        ConfigError: it can't be read, or a rule can't be asked; the message names file, line and rule.
    """
    try:
        text = path.read_text(encoding="utf-8")
        content = tomllib.loads(text)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"the rules {path} can't be read: {reason}") from None
    try:
        file = _File.model_validate(content)
    except ValidationError as error:
        raise ConfigError(_explain(path, text, content, error.errors()[0])) from None
    names: set[str] = set()
    with duckdb.connect() as con:
        con.execute("set TimeZone = 'UTC'")
        con.execute(f"create table record ({', '.join(f'{name} {kind}' for name, kind in COLUMNS.items())})")
        for place, rule in enumerate(file.rules):
            at = f"{path}:{_line(text, place)}: rule {rule.name!r}"
            if rule.name in names:
                raise ConfigError(f"{at}: there is another rule of this name")
            if rule.since > file.version:
                raise ConfigError(f"{at}: since = {rule.since} is above the file's version = {file.version}")
            names.add(rule.name)
            if (trouble := _trouble(con, rule.condition)) is not None:
                raise ConfigError(f"{at}: {trouble}")
    return RuleSet(file.rules, file.budget, file.version)


def _trouble(con: duckdb.DuckDBPyConnection, condition: str) -> str | None:
    """Return why a condition can't be asked of a record; None if it can."""
    sql = f"select (\n{condition}\n) as answer from record"  # noqa: S608  # it is never executed
    [(tree,)] = con.execute("select json_serialize_sql(?)", [sql]).fetchall()
    parsed = json.loads(tree)
    if parsed["error"]:
        return f"the condition is no SQL expression: {_first_line(parsed['error_message'])}"
    node = parsed["statements"][0]["node"]
    if (
        len(parsed["statements"]) != 1
        or len(node.get("select_list", ())) != 1
        or node["from_table"]["type"] != "BASE_TABLE"
    ):
        return "the condition is no single SQL expression"
    for part in _nodes(node["select_list"]):
        if (kind := _TAKES_NO_PART.get(part.get("class", ""))) is not None:
            return f"a condition looks at one record: {kind} has no place in it"
        name = part.get("function_name") or (part.get("column_names") or [""])[-1]
        if _CLOCKS.match(name.lower()) and name not in COLUMNS:
            return f"{name} is not the same at every time: a condition may look at the record alone"
        if "function_name" in part:
            found = con.execute(
                "select function_type, stability from duckdb_functions() where function_name = ?", [name]
            ).fetchall()
            if any(kind not in ("scalar", "macro") for kind, _ in found):
                return f"{name} looks at more than one record"
            if any(stability not in ("CONSISTENT", None) for _, stability in found):
                return f"{name} does not give the same each time: a condition may look at the record alone"
    try:
        [(_, kind, *_)] = con.execute(f"describe {sql}").fetchall()
    except duckdb.Error as error:
        return f"{_first_line(str(error))} (columns: {', '.join(COLUMNS)})"
    return None if kind == "BOOLEAN" else f"the condition is of type {kind}, not BOOLEAN"


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    if isinstance(tree, dict):
        yield tree
        tree = list(tree.values())
    if isinstance(tree, list):
        for each in tree:
            yield from _nodes(each)


def _explain(path: Path, text: str, content: dict[str, Any], item: Any) -> str:
    place, message = item["loc"], str(item["msg"]).removeprefix("Value error, ")
    if item["type"] == "extra_forbidden":
        message = "there is no such setting"
    if place[:1] == ("rules",) and len(place) > 1:
        entry = content["rules"][place[1]]
        name = entry.get("name") if isinstance(entry, dict) else None
        what = f"rule {name!r}" if isinstance(name, str) else f"rule number {place[1] + 1}"
        return f"{path}:{_line(text, place[1])}: {what}: {': '.join([*map(str, place[2:3]), message])}"
    return f"{path}: {'.'.join(map(str, place))}: {message}"


def _line(text: str, place: int) -> int:
    """Return the line on which a rule begins."""
    begins = [number for number, line in enumerate(text.splitlines(), 1) if re.match(r"\s*\[\[\s*rules\s*\]\]", line)]
    return begins[place] if place < len(begins) else 1


def _first_line(message: str) -> str:
    return message.splitlines()[0].strip()
