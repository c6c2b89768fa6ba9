"""`playlake quarantine`: what was refused, why, and since when; and a second judgement of it."""

from __future__ import annotations

import json
import os
import re
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, model_validator
from pydantic_settings import CliPositionalArg

from playlake.settings import Date, VerbSettings
from query import connect
from query.refused import arrow_rows, as_records, count_by, places, rows
from query.render import plain, write_parquet, write_text
from schemas.errors import ConfigError

if TYPE_CHECKING:
    import pyarrow as pa

    from playlake.rebuild import Rebuilt
    from playlake.replay import Replayed
    from stream_app.process import Processed

_POSITION = re.compile(r"(?P<topic>[A-Za-z0-9._-]+)\[(?P<kafka_partition>\d+)\]@(?P<kafka_offset>\d+)")
_SHOWN_BYTES = 600


class Settings(VerbSettings):
    """Look at the records that were refused, or have records judged again.

    `list` counts them, with shares; `show` prints records with their bytes, every reason, and where in the bytes it is;
    `export` writes them to a file; `replay` judges them by today's code and rules and moves those that pass to silver,
    safe to break off and to run again. `replay --from bronze --date D` is for rows that passed with wrong values: all
    records that came in on that date are judged again, and silver's rows of them are replaced in one commit. --where is
    an SQL condition (DuckDB) over: position, topic, kafka_partition, kafka_offset, broker_timestamp, ingest_timestamp,
    ingest_date, reasons, rules, detail, rule_set, client_version, event_type, value_bytes, key, value. Exit code 1
    means that there are no such records.

    Example:
        playlake quarantine list --lake ./lake --by client_version --where "list_contains(reasons, 'malformed_json')"
        playlake quarantine replay --lake ./lake --rules rules.toml --where "'rule:no_app' in reasons" --dry-run
        playlake quarantine replay --lake ./lake --from bronze --date 2026-11-21 --dry-run
    """

    verb: ClassVar[str] = "quarantine"

    action: CliPositionalArg[Literal["list", "show", "export", "replay"]] = Field(
        description="list, show, export or replay"
    )
    lake: str = Field(description="folder or s3://bucket/prefix")
    by: Literal["reason", "rule", "rule_set", "client_version", "event_type", "day", "hour", "topic"] = Field(
        "reason", description="list: what to count by"
    )
    where: str = Field("true", description="SQL condition that chooses records; default: all")
    at: str | None = Field(None, description="show: the record at this position, TOPIC[KAFKA_PARTITION]@OFFSET")
    limit: int = Field(5, ge=1, description="show: at most so many, oldest first")
    output: Path | None = Field(None, description="export: the file, .parquet, .csv or .json")
    source: Literal["quarantine", "bronze"] = Field(
        "quarantine", alias="from", description="replay: what was refused, or all that came in on a --date"
    )
    date: Date | None = Field(None, description="replay --from bronze: the date of ingest (UTC), such as 2026-11-21")
    dry_run: bool = Field(False, description="replay: say what would change; change nothing")
    rules: Path | None = Field(None, description="replay: TOML file of rules; default: the shipped ones")
    pseudonym_key_file: Path | None = Field(None, description="replay: the key's file, where the lake holds pseudonyms")
    catalogue: Path | None = Field(
        None, description="replay: CSV of titles (Netflix-titles layout); default: the small one"
    )
    schema_registry: str | None = Field(
        None, description="replay, for Avro: http(s)://HOST:PORT[/PATH], a folder of schemas, or mock://"
    )
    registry_option: list[str] = Field([], description="schema registry client's setting, such as ssl.ca.location=FILE")
    # `as_json` on the command line is --json, as for every verb
    as_json: bool = Field(False, alias="json", description="list, show and replay: print JSON")

    @model_validator(mode="after")
    def _fits_together(self) -> Settings:
        if (self.action == "export") != (self.output is not None):
            raise ValueError("export needs --output FILE, which the others don't take")
        if self.output is not None and self.output.suffix not in (".parquet", ".csv", ".json"):
            raise ValueError(f"--output {self.output} ends in none of .parquet, .csv, .json")
        if self.at is not None and (self.action != "show" or _POSITION.fullmatch(self.at) is None):
            raise ValueError(f"--at {self.at} belongs to show and is of the form TOPIC[KAFKA_PARTITION]@OFFSET")
        if (self.source == "bronze") != (self.date is not None):
            raise ValueError("--from bronze needs --date, which nothing else takes")
        if self.source == "bronze" and (self.action != "replay" or self.where != "true"):
            raise ValueError("--from bronze belongs to replay, and is about a whole --date: leave --where out")
        of_replay = (self.dry_run, self.rules, self.catalogue, self.schema_registry, self.registry_option)
        if self.action != "replay" and any(of_replay):
            raise ValueError(
                "--dry-run, --rules, --catalogue, --schema-registry and --registry-option belong to replay"
            )
        return self


def run(settings: Settings) -> int:
    """Look at quarantine; see `Settings`."""
    if settings.action == "replay":
        return _replay(settings)
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


def _replay(settings: Settings) -> int:
    from playlake.progress import progress
    from playlake.pseudonym_key import read_key
    from playlake.rebuild import rebuild
    from playlake.registry import open_registry
    from playlake.replay import replay
    from sink.faults import VARIABLE, fault_point
    from sink.lake import Lake
    from sink.policies import unknown_fields
    from sink.pseudonyms import require_key
    from stream_app.catalogue import known_countries, read_titles, shipped_catalogue
    from stream_app.known_schemas import KnownSchemas
    from stream_app.pseudonymous import make_processor
    from stream_app.rules import read_rules, shipped_rules
    from stream_app.unknown_fields import known_policy

    rules = read_rules(settings.rules) if settings.rules is not None else shipped_rules()
    titles = read_titles(settings.catalogue or shipped_catalogue())
    pseudonyms = read_key(settings.pseudonym_key_file)
    lake = Lake.at(settings.lake)
    require_key(lake, pseudonyms)
    with ExitStack() as stack:
        registry = None
        if settings.schema_registry:
            registry = stack.enter_context(closing(open_registry(settings.schema_registry, settings.registry_option)))
        known = KnownSchemas(registry)
        policy = known_policy(unknown_fields(lake.table("silver")))
        processor = make_processor(titles, known_countries(), rules, pseudonyms, policy)
        stack.enter_context(closing(processor))
        step = fault_point(os.environ.get(VARIABLE)) or (lambda name: None)

        def judge(records: pa.Table) -> Processed:
            return processor(records, known.used_in(records))

        if settings.date is not None:
            with progress("judged", None) as on_judged:
                built = rebuild(lake, judge, settings.date, dry_run=settings.dry_run, on_judged=on_judged, step=step)
            _tell(built, settings, _print_rebuilt)
            return 0 if built.records or built.finished else 1
        done = replay(lake, judge, settings.where, dry_run=settings.dry_run, step=step)
    _tell(done, settings, _print_replayed)
    return 0 if done.chosen or done.finished else 1


def _tell(done: Any, settings: Settings, show: Callable[[Any, Settings], None]) -> None:
    if settings.as_json:
        print(json.dumps({**vars(done), "dry_run": settings.dry_run}))
    else:
        show(done, settings)


def _print_replayed(done: Replayed, settings: Settings) -> None:
    if done.finished:
        print(f"an earlier replay is finished now: {done.finished:,} records left quarantine")
    would = "would go" if settings.dry_run else "went"
    print(
        f"{done.chosen:,} records judged again: {done.passed:,} {would} to silver, {done.chosen - done.passed:,} stay"
    )
    if done.not_done:
        print(f"{done.not_done:,} left alone: no commit of silver says yet that they are done")
    _print_codes(done.before, done.after)


def _print_rebuilt(done: Rebuilt, settings: Settings) -> None:
    if done.finished:
        print(f"an earlier replay is finished now: {done.finished:,} records left quarantine")
    if not done.records and not done.not_done:
        print(f"bronze holds no records that came in on {settings.date}")
        return
    would = "would be" if settings.dry_run else "are"
    print(f"{done.records:,} records of {settings.date} judged again: {done.silver_after:,} {would} in silver")
    print(f"  {'silver':<24}  {done.silver_before:>9,} before  {done.silver_after:>9,} after")
    _print_codes(done.before, done.after, 24)
    for column, count in done.changed.most_common():
        print(f"  {column:<24}  {count:>9,} rows of silver changed")
    if done.repeats:
        print(f"{done.repeats:,} repeats that dedupe had dropped come back until it runs again (`playlake compact`)")
    if done.undated:
        print(f"{done.undated:,} rows have no date until they are repaired (`playlake repair`, or `playlake compact`)")
    if done.not_done:
        print(f"{done.not_done:,} left alone: no commit of silver says yet that they are done")


def _print_codes(before: Counter[str], after: Counter[str], least: int = 0) -> None:
    codes = sorted(before | after, key=lambda code: (-before[code], code))
    width = max(map(len, codes), default=0)
    for code in codes:
        print(f"  {code:<{max(width, least)}}  {before[code]:>9,} before  {after[code]:>9,} after")
