"""`playlake quarantine`: what was refused, why, and since when."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator
from pydantic_settings import CliPositionalArg

from playlake.settings import VerbSettings
from query import connect
from query.refused import arrow_rows, as_records, count_by, places, rows
from query.render import plain, write_parquet, write_text
from schemas.errors import ConfigError

_POSITION = re.compile(r"(?P<topic>[A-Za-z0-9._-]+)\[(?P<kafka_partition>\d+)\]@(?P<kafka_offset>\d+)")
_SHOWN_BYTES = 600


class Settings(VerbSettings):
    """Look at the records that were refused.

    `list` counts them, with shares; `show` prints records with their bytes, every reason, and where in the bytes it is;
    `export` writes them to a file. --where is an SQL condition (DuckDB) over: position, topic, kafka_partition,
    kafka_offset, broker_timestamp, ingest_timestamp, ingest_date, reasons, rules, detail, rule_set, client_version,
    event_type, value_bytes, key, value. Exit code 1 means that there are no such records.

    Example:
        playlake quarantine list --lake ./lake --by client_version --where "list_contains(reasons, 'malformed_json')"
    """

    verb: ClassVar[str] = "quarantine"

    action: CliPositionalArg[Literal["list", "show", "export"]] = Field(description="list, show or export")
    lake: str = Field(description="folder or s3://bucket/prefix")
    by: Literal["reason", "rule", "rule_set", "client_version", "event_type", "day", "hour", "topic"] = Field(
        "reason", description="list: what to count by"
    )
    where: str = Field("true", description="SQL condition that chooses records; default: all")
    at: str | None = Field(None, description="show: the record at this position, TOPIC[KAFKA_PARTITION]@OFFSET")
    limit: int = Field(5, ge=1, description="show: at most so many, oldest first")
    output: Path | None = Field(None, description="export: the file, .parquet, .csv or .json")
    # `as_json` on the command line is --json, as for every verb
    as_json: bool = Field(False, alias="json", description="list and show: print a JSON array of objects")

    @model_validator(mode="after")
    def _fits_together(self) -> Settings:
        if (self.action == "export") != (self.output is not None):
            raise ValueError("export needs --output FILE, which list and show don't take")
        if self.output is not None and self.output.suffix not in (".parquet", ".csv", ".json"):
            raise ValueError(f"--output {self.output} ends in none of .parquet, .csv, .json")
        if self.at is not None and (self.action != "show" or _POSITION.fullmatch(self.at) is None):
            raise ValueError(f"--at {self.at} belongs to show and is of the form TOPIC[KAFKA_PARTITION]@OFFSET")
        return self


def run(settings: Settings) -> int:
    """Look at quarantine; see `Settings`."""
    con = connect(settings.lake, mentioned_in="quarantine")
    try:
        if settings.action == "list":
            return _list(con, settings)
        if settings.action == "show":
            return _show(con, settings)
        return _export(con, settings)
    finally:
        con.close()


def _list(con: Any, settings: Settings) -> int:
    answer = count_by(con, settings.by, settings.where)
    written = write_text(answer, "json" if settings.as_json else "table", sys.stdout)
    return 0 if written else 1


def _show(con: Any, settings: Settings) -> int:
    where = settings.where
    if settings.at is not None and (match := _POSITION.fullmatch(settings.at)) is not None:
        topic, number, offset = match.group("topic", "kafka_partition", "kafka_offset")
        where = f"({where}) and topic = '{topic}' and kafka_partition = {number} and kafka_offset = {offset}"
    found = []
    for row in as_records(rows(con, where, settings.limit)):
        value = None if row["value"] is None else bytes(row["value"])
        found.append({**row, "value": value, "places": places(value, row["reasons"])})
    if settings.as_json:
        shown = [
            {
                **{name: plain(value) for name, value in row.items() if name != "places"},
                "places": [vars(place) for place in row["places"]],
            }
            for row in found
        ]
        print(json.dumps(shown, default=plain))
    else:
        print("\n\n".join(map(_described, found)) or "there are no such records in quarantine")
    return 0 if found else 1


def _described(row: dict[str, Any]) -> str:
    lines = [
        f"{row['position']}  refused {plain(row['ingest_timestamp'])} by {row['rule_set']}",
        f"  broker time {plain(row['broker_timestamp']) or '-'}, client {row['client_version'] or '-'}",
    ]
    for place in row["places"]:
        where = f" at {place.json_path}" if place.json_path else ""
        where += f", byte {place.offset:,}" if place.offset is not None else ""
        lines.append(f"  {place.reason}{where}")
    if row["detail"]:
        lines.append(f"  {row['detail']}")
    value = row["value"] or b""
    more = f" … and {len(value) - _SHOWN_BYTES:,} bytes more" if len(value) > _SHOWN_BYTES else ""
    lines.append(f"  {len(value):,} bytes: {value[:_SHOWN_BYTES]!r}{more}")
    return "\n".join(lines)


def _export(con: Any, settings: Settings) -> int:
    path = settings.output
    if path is None:
        raise AssertionError("the settings ask for a file")
    part = path.with_name(f".{path.name}.part")
    try:
        try:
            if path.suffix == ".parquet":
                with part.open("wb") as binary:
                    written = write_parquet(arrow_rows(con, settings.where), binary)
            else:
                with part.open("w", encoding="utf-8", newline="") as text:
                    answer = rows(con, settings.where)
                    written = write_text(answer, "csv" if path.suffix == ".csv" else "json", text)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(f"--output {path} can't be written: {error.strerror}") from None
    print(f"{written:,} records to {path}")
    return 0 if written else 1
