"""`playlake status`: how the lake is."""

from __future__ import annotations

import datetime as dt
import json
import sys
from typing import Any, ClassVar

from pydantic import Field
from rich.console import Console
from rich.table import Table

from audit.status import Status, read_status
from playlake.broker import client_options
from playlake.settings import VerbSettings
from sink.lake import Lake
from sink.positions import names_apart

_MOST_REASONS = 8
_MOST_SOURCES = 32


class Settings(VerbSettings):
    """Show how the lake is: rows, files and sizes, freshness, the null partition, quarantine, positions.

    With --broker also how far each Kafka partition is behind.

    Example:
        playlake status --lake ./lake --broker kafka://localhost:9092
    """

    verb: ClassVar[str] = "status"

    lake: str = Field(description="folder or s3://bucket/prefix")
    broker: str | None = Field(None, description="kafka://host:port to ask for end offsets, which give the lag")
    kafka_option: list[str] = Field([], description="librdkafka setting name=value, such as security.protocol=SSL")
    as_json: bool = Field(False, alias="json", description="print the status as one JSON object")


def run(settings: Settings) -> int:
    """Show the status; see `Settings`."""
    lake = Lake.at(settings.lake)
    options = client_options(settings.broker, settings.kafka_option) if settings.broker is not None else None
    status = read_status(lake, options)
    now = dt.datetime.now(dt.UTC)
    if settings.as_json:
        json.dump(to_json(status, now), sys.stdout)
        print()
    else:
        print_report(status, lake, now, Console(highlight=False, markup=False))
    return 0


def to_json(status: Status, now: dt.datetime) -> dict[str, Any]:
    """Return the status as JSON takes it: times in ISO 8601 UTC, freshness in seconds."""
    return {
        "freshness_s": None if status.newest_broker_time is None else (now - status.newest_broker_time).total_seconds(),
        "newest_broker_time": _iso(status.newest_broker_time),
        "newest_event_time": _iso(status.newest_event_time),
        "null_partition_rows": status.null_partition_rows,
        "reopened_dates": [str(date) for date in status.reopened_dates],
        "quarantine_share": status.quarantine_share,
        "quarantine_reasons": dict(status.reasons),
        "tables": [
            {
                **{name: value for name, value in vars(table).items() if name != "committed_at"},
                "average_file_bytes": table.average_file_bytes,
                "committed_at": _iso(table.committed_at),
            }
            for table in status.tables
        ],
        "sources": [
            {
                "topic": entry.source.topic,
                "topic_id": entry.source.topic_id,
                "kafka_partition": entry.source.kafka_partition,
                "done": entry.done,
                "bronze_ahead": entry.bronze_ahead,
                "lag": entry.lag,
            }
            for entry in status.sources
        ],
    }


def print_report(status: Status, lake: Lake, now: dt.datetime, console: Console) -> None:
    """Print the status for people; from 60 columns on."""
    console.print(f"status {lake.uri}", soft_wrap=True)
    console.print(_facts(status, now))
    console.print()
    console.print(_sizes(status))
    console.print()
    console.print(_commits(status, now))
    if status.reasons:
        console.print()
        console.print(_reasons(status))
    if status.sources:
        console.print()
        console.print(_sources(status))
    if len(status.sources) > _MOST_SOURCES:
        console.print(f"… and {len(status.sources) - _MOST_SOURCES} more: --json has all", style="dim")


def _facts(status: Status, now: dt.datetime) -> Table:
    grid = Table.grid(padding=(0, 2))
    share = status.quarantine_share
    grid.add_row("freshness", _ago(status.newest_broker_time, now, "since the newest record in silver"))
    grid.add_row("newest event", _ago(status.newest_event_time, now, "ago, by its client's clock"))
    grid.add_row("null partition", f"{status.null_partition_rows:,} rows")
    if status.reopened_dates:
        number, last = len(status.reopened_dates), status.reopened_dates[-1]
        grid.add_row("reopened", f"{number:,} dates got rows a day or more after their end, last {last}")
    grid.add_row("quarantined", "-" if share is None else f"{share:.2%}")
    if any(entry.lag is not None for entry in status.sources):
        grid.add_row("lag", f"{sum(entry.lag or 0 for entry in status.sources):,} offsets")
    return grid


def _sizes(status: Status) -> Table:
    table = _table("table", "rows", "files", "size", "per file")
    for entry in status.tables:
        rows = "-" if entry.rows is None else f"{entry.rows:,}"
        sizes = (_bytes(entry.size_bytes), _bytes(entry.average_file_bytes))
        table.add_row(entry.name, rows, f"{entry.files:,}", *sizes)
    return table


def _commits(status: Status, now: dt.datetime) -> Table:
    table = _table("table", "version", "last commit", "operation")
    for entry in status.tables:
        table.add_row(entry.name, str(entry.version), _ago(entry.committed_at, now, "ago"), entry.operation)
    return table


def _reasons(status: Status) -> Table:
    table = _table("quarantine reason", "rows")
    for reason, rows in status.reasons[:_MOST_REASONS]:
        table.add_row(reason, f"{rows:,}")
    others = status.reasons[_MOST_REASONS:]
    if others:
        table.add_row(f"{len(others)} more", f"{sum(rows for _, rows in others):,}")
    return table


def _sources(status: Status) -> Table:
    table = _table("source", "done", "bronze ahead", "lag")
    names = names_apart([entry.source for entry in status.sources])
    for entry in status.sources[:_MOST_SOURCES]:
        numbers = (entry.done, entry.bronze_ahead, entry.lag)
        table.add_row(names[entry.source], *("-" if number is None else f"{number:,}" for number in numbers))
    return table


def _table(first: str, *others: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1), header_style="dim")
    table.add_column(first, overflow="fold")
    for name in others:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _ago(moment: dt.datetime | None, now: dt.datetime, meaning: str) -> str:
    if moment is None:
        return "-"
    seconds = (now - moment).total_seconds()
    text = "in the future" if seconds < 0 else ""
    seconds = abs(seconds)
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.0f} {unit} {text or meaning}"
    return f"{seconds:.1f} s {text or meaning}"


def _bytes(count: int) -> str:
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def _iso(moment: dt.datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(dt.UTC).isoformat()
