"""`playlake verify`: prove that nothing was lost and nothing doubled."""

from __future__ import annotations

import json
import sys
from typing import Any, ClassVar

from pydantic import Field
from rich.console import Console
from rich.table import Table
from rich.text import Text

from audit.files import FilesRead
from audit.verify import FAULTS, SourceTotals, Verdict, by_kind, verify
from playlake.broker import client_options, is_kinesis, stream_of
from playlake.settings import Size, VerbSettings
from sink.lake import Lake
from sink.positions import names_apart

_MOST_SOURCES = 32


class Settings(VerbSettings):
    """Prove the lake's promise by joining its tables position by position.

    Each record is in bronze once, and in exactly one of silver and quarantine, or it repeats an event_id that silver
    holds. Offsets that no table holds are unexplained from the lake alone; with --broker they are read again there. A
    Kinesis stream is read again as far as it still has what is done, and compared record by record; so are, with
    --files, the files that `ingest` took in and that are still there.
    Exit code 0: it holds; 1: it does not, or can't be proved, and the positions are named.

    Example:
        playlake verify --lake ./lake --broker kafka://localhost:9092
    """

    verb: ClassVar[str] = "verify"

    lake: str = Field(description="folder or s3://bucket/prefix")
    broker: str | None = Field(
        None,
        description="kafka://host:port to read holes between offsets again, or kinesis://REGION/STREAM to compare with",
    )
    files: str | None = Field(
        None, description="folder or s3://bucket/prefix that `ingest` took files from: read them again and compare"
    )
    kafka_option: list[str] = Field([], description="librdkafka setting name=value, such as security.protocol=SSL")
    memory: Size = Field(2 * 10**9, description="work in at most about this much memory, then in temporary files")
    as_json: bool = Field(False, alias="json", description="print the verdict as one JSON object")


def run(settings: Settings) -> int:
    """Verify; see `Settings`."""
    lake = Lake.at(settings.lake)
    options = stream = None
    if settings.broker is not None and is_kinesis(settings.broker):
        stream = stream_of(settings.broker, kafka_options=settings.kafka_option)
    elif settings.broker is not None:
        options = client_options(settings.broker, settings.kafka_option)
    place = None
    if settings.files is not None:
        from landing.place import open_place

        place = open_place(settings.files)
    verdict = verify(lake, options, stream=stream, place=place, memory_limit=f"{settings.memory}B")
    if settings.as_json:
        json.dump(to_json(verdict), sys.stdout)
        print()
    else:
        print_report(verdict, lake, Console(highlight=False, markup=False))
    return 0 if verdict.holds else 1


def to_json(verdict: Verdict) -> dict[str, Any]:
    """Return the verdict as JSON takes it."""
    return {
        "holds": verdict.holds,
        "asked_broker": verdict.has_asked_broker,
        "files": None
        if verdict.files is None
        else {"compared": verdict.files.compared, "gone": verdict.files.gone_count, "first_gone": verdict.files.gone},
        "versions": dict(verdict.versions),
        "sources": [
            {
                "topic": totals.source.topic,
                "topic_id": totals.source.topic_id,
                "kafka_partition": totals.source.kafka_partition,
                **{name: value for name, value in vars(totals).items() if name != "source"},
            }
            for totals in verdict.sources
        ],
        "faults": [
            {
                "kind": fault.kind,
                "topic": fault.source.topic,
                "topic_id": fault.source.topic_id,
                "kafka_partition": fault.source.kafka_partition,
                "count": fault.count,
                "first": list(fault.first),
                "why": fault.why,
            }
            for fault in verdict.faults
        ],
    }


def print_report(verdict: Verdict, lake: Lake, console: Console) -> None:
    """Print the verdict for people; from 60 columns on."""
    console.print(f"verify {lake.uri} (silver at version {verdict.versions['silver']})", soft_wrap=True)
    console.print(_sums(verdict))
    if len(verdict.sources) <= _MOST_SOURCES:
        console.print(_sources(verdict.sources))
    for kind, faults in by_kind(verdict.faults).items():
        count = sum(fault.count for fault in faults)
        first = [name for fault in faults for name in fault.first][:5]
        more = ", …" if count > len(first) else ""
        label = Text.assemble(
            ("FAULT ", "bold red"),
            f"{count:,} position{'s' if count > 1 else ''} {FAULTS[kind]}: {', '.join(first)}{more}",
        )
        console.print(label)
        for why in dict.fromkeys(fault.why for fault in faults if fault.why):
            console.print(f"      {why}")
    if verdict.files is not None:
        console.print(_about_files(verdict.files))
    kinds = {fault.kind for fault in verdict.faults}
    if "unexplained_hole" in kinds and not verdict.has_asked_broker:
        console.print("The lake alone can't explain holes: give --broker kafka://host:port to read them again there.")
    if verdict.holds:
        console.print(Text.assemble(("The promise holds", "bold green"), ": each position was accounted for."))
    elif kinds <= {"forget_in_flight", "replay_in_flight"}:
        console.print(
            Text.assemble(
                ("The promise waits", "bold yellow"), " for a command that was stopped: nothing is lost, run it again."
            )
        )
    elif kinds <= {"unexplained_hole", "unchecked_hole"}:
        console.print(Text.assemble(("The promise is not proved", "bold red"), ": holes are left."))
    else:
        console.print(Text("The promise does not hold.", "bold red"))


def _about_files(read: FilesRead) -> str:
    compared = f"{read.compared:,} files read again and compared with bronze."
    if not read.gone_count:
        return compared
    names = ", ".join(read.gone) + (", …" if read.gone_count > len(read.gone) else "")
    return (
        f"{compared} {read.gone_count:,} are no longer there as they were taken in, which is no loss: what they held "
        f"can't be compared ({names})."
    )


def _sums(verdict: Verdict) -> Table:
    def total(name: str) -> int:
        return sum(getattr(totals, name) for totals in verdict.sources)

    gone = [
        (name, total(key), note)
        for name, key, note in (
            ("expired", "expired", "bronze held them once"),
            ("expired rows", "settled", "silver or quarantine held them, or what they repeat"),
            ("forgotten", "forgotten", "records of forgotten persons"),
        )
    ]
    lines = [
        ("positions done", total("done_positions"), f"in {len(verdict.sources)} Kafka partitions"),
        ("rows in silver", total("silver"), ""),
        ("rows in quarantine", total("quarantine"), ""),
        *(line for line in gone if line[1]),
        ("dropped duplicates", total("duplicates"), "silver has their event_id"),
        ("holes", total("holes"), _about_holes(verdict, total("holes"))),
        ("rows in flight", total("bronze_in_flight"), "bronze, beyond what is done"),
    ]
    grid = Table.grid(padding=(0, 2))
    grid.add_column()
    grid.add_column(justify="right", no_wrap=True)
    grid.add_column(style="dim")
    for name, count, note in lines:
        grid.add_row(name, f"{count:,}", note if count or name != "rows in flight" else "")
    return grid


def _about_holes(verdict: Verdict, holes: int) -> str:
    if not holes:
        return "every offset is there"
    if not verdict.has_asked_broker:
        return "offsets that no table has"
    is_clean = not any(fault.kind in ("lost", "unchecked_hole") for fault in verdict.faults)
    return "no record at the broker either" if is_clean else "read again at the broker"


def _sources(sources: tuple[SourceTotals, ...]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1), header_style="dim")
    table.add_column("source", overflow="fold")
    for name in ("first", "done", "silver", "quarantine", "holes"):
        table.add_column(name, justify="right", no_wrap=True)
    names = names_apart([totals.source for totals in sources])
    for totals in sources:
        numbers = (totals.first, totals.done, totals.silver, totals.quarantine, totals.holes)
        table.add_row(names[totals.source], *("-" if number is None else f"{number:,}" for number in numbers))
    return table
