"""Quarantine as a person looks at it: counted by what, one by one with the place of the fault, or taken along."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final

import duckdb

from query.ask import Answer, ArrowAnswer, ask, ask_arrow
from schemas.errors import QueryError
from schemas.wire import MAGIC

BY: Final = {
    "reason": "unnest(reasons)",
    "rule": "unnest(rules)",
    "rule_set": "rule_set",
    "client_version": "client_version",
    "event_type": "event_type",
    "day": "ingest_date",
    "hour": "date_trunc('hour', ingest_timestamp)",
    "topic": "topic",
}
"""By what records can be counted, as SQL over refused.sql."""

_REFUSED: Final = files("query").joinpath("refused.sql").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Place:
    """Where in a record's bytes one of its reasons is.

    Attributes:
        reason: the code.
        json_path: of the field, or None where it isn't about one.
        offset: bytes from the start of the value; None where nothing is there to point at, as for a missing field.
    """

    reason: str
    json_path: str | None
    offset: int | None


def count_by(con: duckdb.DuckDBPyConnection, by: str, where: str) -> Answer:
    """Count quarantined records.

    Args:
        con: from `query.views.connect`.
        by: a key of `BY`. A record with several reasons counts for each; the shares are of all records chosen.
        where: SQL condition over refused.sql.

    Raises:
        QueryError: the condition can't be answered.
    """
    sql = f"""
        with chosen as ({_chosen(where)}), told as (select {BY[by]} as {by}, ingest_timestamp from chosen)
        select {by}, count(*) as records, round(count(*) / (select count(*) from chosen), 4) as share,
            min(ingest_timestamp) as first_at, max(ingest_timestamp) as last_at
        from told group by {by} order by records desc, {by}
    """  # noqa: S608  # the person's own condition; `ask` lets it read only, and only the lake
    with _in_one_line():
        return ask(con, sql)


def rows(con: duckdb.DuckDBPyConnection, where: str, limit: int | None = None) -> Answer:
    """Return quarantined records with the columns of refused.sql, oldest first (raises as `count_by`)."""
    with _in_one_line():
        return ask(con, _ordered(where, limit))


def arrow_rows(con: duckdb.DuckDBPyConnection, where: str) -> ArrowAnswer:
    """Return the same as Arrow batches."""
    with _in_one_line():
        return ask_arrow(con, _ordered(where, None))


@contextmanager
def _in_one_line() -> Iterator[None]:
    """Leave out the excerpt of a mistake: the statement around the person's condition is ours."""
    try:
        yield
    except QueryError as error:
        raise QueryError(str(error).splitlines()[0]) from error


def places(value: bytes | None, reasons: list[str]) -> list[Place]:
    """Return where each reason is in a record's bytes, as far as that can be told. Total: any bytes will do."""
    value = value or b""
    not_utf8_at: int | None = None
    try:
        text = value.decode()
    except UnicodeDecodeError as error:
        text, not_utf8_at = "", error.start
    offsets, stopped_at = _members(text) if value[:1] != MAGIC else ({}, None)
    found = []
    for reason in reasons:
        kind, _, name = reason.partition(":")
        if reason == "not_utf8":
            found.append(Place(reason, None, not_utf8_at))
        elif reason == "malformed_json":
            found.append(Place(reason, None, None if stopped_at is None else len(text[:stopped_at].encode())))
        elif reason == "unknown_event_type" or (name and kind != "rule"):
            name = name or "event_type"
            name = "content_id" if name == "title_id" and name not in offsets and "content_id" in offsets else name
            at = offsets.get(name)
            found.append(Place(reason, f"$.{name}", None if at is None else len(text[:at].encode())))
        else:
            found.append(Place(reason, None, None))
    return found


def _chosen(where: str) -> str:
    return f"select * from ({_REFUSED}) where (\n{where}\n)"  # noqa: S608  # as above


def _ordered(where: str, limit: int | None) -> str:
    most = "" if limit is None else f" limit {limit:d}"
    return f"{_chosen(where)} order by ingest_timestamp, topic, kafka_partition, kafka_offset{most}"


def _members(text: str) -> tuple[dict[str, int], int | None]:
    """Return where the values of a JSON object's fields begin, and where its text stops to be JSON (None: nowhere)."""
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        return {}, error.pos
    except RecursionError:
        return {}, None
    return dict(_walk(text)), None


def _walk(text: str) -> Iterator[tuple[str, int]]:
    """Yield the fields of an object's text, which is valid JSON, with the places of their values."""
    decoder = json.JSONDecoder()
    at = _skip(text, 0, "")
    if text[at : at + 1] != "{":
        return
    at = _skip(text, at + 1, "")
    while text[at] != "}":
        name, at = decoder.raw_decode(text, at)
        at = _skip(text, at, ":")
        yield name, at
        _, at = decoder.raw_decode(text, at)
        at = _skip(text, at, ",")


def _skip(text: str, at: int, mark: str) -> int:
    while at < len(text) and text[at] in " \t\n\r" + mark:
        at += 1
    return at


def as_records(answer: Answer) -> Iterator[dict[str, Any]]:
    """Return an answer's rows as dicts."""
    for batch in answer.batches:
        for row in batch:
            yield dict(zip(answer.columns, row, strict=True))
