"""`playlake ingest`: files of JSON and CSV from a folder or a bucket."""

from __future__ import annotations

import fnmatch
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field
from pydantic_settings import CliPositionalArg

from playlake.lean import lean
from playlake.logs import LogFormat, set_up_logging
from playlake.settings import Duration, Port, Size, VerbSettings
from schemas.errors import TransientError

if TYPE_CHECKING:
    from sink.lake import Lake
    from stream_app.app import WorkerReport
    from stream_app.files_origin import FilesOrigin

_SETTLE_S = 10.0
_TIDY_AT_FILES = 64


class Settings(VerbSettings):
    """Take files of newline JSON or CSV into the lake, each exactly once, as `stream` does with a topic's records.

    From a folder with all below it, or from s3://bucket/prefix; plain, gzip or zstd; also Firehose's files of JSON
    without newlines. What is new is found by listing names, or told by an SQS queue. Files must not change: put them in
    place by renaming. Names that begin with . or _ and files ending in .tmp or .part are left alone.

    Example:
        playlake ingest s3://bucket/firehose --lake ./lake --every 1m
        playlake ingest s3://bucket/firehose --lake ./lake --every 1m --notifications sqs://eu-central-1/new-files
    """

    verb: ClassVar[str] = "ingest"

    place: CliPositionalArg[str] = Field(description="folder or s3://bucket/prefix where files land")
    lake: str = Field(description="folder or s3://bucket/prefix; made when it isn't there")
    every: Duration | None = Field(None, description="look for new files again and again, such as every 1m")
    notifications: str | None = Field(
        None, description="sqs://REGION/QUEUE, which S3 tells of new objects; names are then listed once a day"
    )
    format: Literal["auto", "json", "csv"] = Field(
        "auto", description="auto: CSV where a name has .csv in it, else JSON"
    )
    match: str = Field("*", description="take only files whose name below the place matches, such as '*.json.gz'")
    settle: Duration | None = Field(
        None,
        description="leave younger files, which may be being written; default: 10s in a folder, none on S3",
    )
    late: Duration | None = Field(
        None,
        description="list names again for so long after files came; later ones wait for a daily sweep; default: 2d",
    )
    accept_gone: bool = Field(
        False, description="a file that went while it was taken in counts as all that the lake has of it"
    )
    dry_run: bool = Field(False, description="say which files would be taken in now, and change nothing")
    allowed_latency: Duration = Field(10.0, description="a row waits at most this long for its flush, such as 10s")
    catalogue: Path | None = Field(None, description="CSV of titles (Netflix-titles layout); default: the small one")
    rules: Path | None = Field(
        None, description="TOML file of rules on top of the built-in ones; default: the shipped ones"
    )
    pseudonym_key_file: Path | None = Field(
        None, description="pseudonyms in place of user_id and profile_id in silver, by this file's key; docs/privacy.md"
    )
    accept_over_budget: bool = Field(
        False, description="go on where more records of a flush are bad than the rules' budgets allow"
    )
    flush_bytes: Size = Field(32 << 20, description="flush at once when this much is buffered; default: 32MiB")
    max_in_flight_bytes: Size = Field(
        64 << 20, description="hold at most this much that is not in the lake yet; default: 64MiB"
    )
    web_port: Port | None = Field(None, description="serve /metrics, /healthz and /readyz on this port; default: none")
    web_bind: str = Field("127.0.0.1", description="address for them; 0.0.0.0 is every network, without a password")
    log_format: LogFormat = Field("text", description="text for people, json for programs: one object a line")
    verbose: bool = Field(False, description="log Faust's own messages too")
    as_json: bool = Field(False, alias="json", description="print the final report as one JSON object")


@lean()
def run(settings: Settings) -> int:
    """Take files in; see `Settings`."""
    from landing.notifications import open_queue
    from landing.place import Bucket, is_wanted, open_place
    from playlake.pseudonym_key import read_key
    from sink.faults import VARIABLE, fault_point
    from sink.lake import Lake
    from stream_app.arrivals import LATE_S, Arrivals
    from stream_app.catalogue import read_titles, shipped_catalogue
    from stream_app.files_origin import FilesOrigin
    from stream_app.rules import read_rules, shipped_rules

    set_up_logging(settings.log_format, verbose=settings.verbose)
    lake = Lake.at(settings.lake)
    place = open_place(settings.place)
    queue = open_queue(settings.notifications, place) if settings.notifications is not None else None
    catalogue = settings.catalogue or shipped_catalogue()
    read_titles(catalogue)
    rules = read_rules(settings.rules) if settings.rules is not None else shipped_rules()
    pseudonyms = read_key(settings.pseudonym_key_file)
    next(place.files(), None)
    if queue is not None:
        queue.require()
    settle_s = settings.settle if settings.settle is not None else 0.0 if isinstance(place, Bucket) else _SETTLE_S
    arrivals = Arrivals(
        place,
        settle_s=settle_s,
        late_s=settings.late or LATE_S,
        wants=lambda path: is_wanted(path) and fnmatch.fnmatchcase(path, settings.match),
    )
    step = fault_point(os.environ.get(VARIABLE))
    origin = FilesOrigin(
        place,
        lake,
        arrivals,
        queue=queue,
        file_format=None if settings.format == "auto" else settings.format,
        every_s=settings.every,
        accept_gone=settings.accept_gone,
        after_round=_tidier(lake),
        step=step,
    )
    if settings.dry_run:
        return _show_new(origin, settings.as_json)

    from stream_app.app import WorkerSettings, run_worker
    from stream_app.pipeline import Limits

    report = run_worker(
        WorkerSettings(
            origin=origin,
            lake=lake,
            catalogue=catalogue,
            group="playlake-ingest",
            limits=Limits(settings.allowed_latency, settings.flush_bytes, settings.max_in_flight_bytes),
            rules=rules,
            pseudonyms=pseudonyms,
            accept_over_budget=settings.accept_over_budget,
            until_caught_up=settings.every is None,
            web_port=settings.web_port,
            web_bind=settings.web_bind,
        ),
        step=step,
    )
    _show(report, origin, settings.as_json)
    if not report.is_flushed:
        raise TransientError(
            "stopped without the last flush, the store did not answer in time. Nothing is lost: the next run takes "
            "those records in"
        )
    return 130 if report.interrupted and settings.every is None else 0


def _show(report: WorkerReport, origin: FilesOrigin, as_json: bool) -> None:
    counts = origin.counts
    if as_json:
        seconds = {"flushes": report.flushes, "seconds": round(report.seconds, 3)}
        print(json.dumps({"files": counts.files, **report.rows, **seconds, **_troubles(origin)}))
        return
    records = report.rows["silver"] + report.rows["quarantine"]
    rate = f" ({records / report.seconds:,.0f} a second)" if report.seconds else ""
    print(
        f"{counts.files:,} files, {records:,} events in {report.seconds:.1f} s{rate}: "
        f"{report.rows['silver']:,} silver, {report.rows['quarantine']:,} quarantined"
    )
    for what, count in _troubles(origin).items():
        if count:
            print(f"  {what}: {count:,} files")


def _troubles(origin: FilesOrigin) -> dict[str, int]:
    return {"unreadable": origin.counts.unreadable, "changed": origin.counts.changed}


def _show_new(origin: FilesOrigin, as_json: bool) -> int:
    """List everything once and say what is new."""
    from sink.ledger import Ledger, ledger_of

    taken = Ledger(origin.lake, origin.source).after(None) if ledger_of(origin.lake).exists("files") else iter(())
    found = origin.arrivals.new_round(None, None)
    size = 0
    for file in origin.arrivals.files(found, taken):
        size += file.size
        if not as_json:
            print(f"{file.size:>14,}  {file.path}")
    if as_json:
        told = {"new": found.new, "bytes": size, "changed": len(found.changed), "waiting": found.waiting}
        print(json.dumps(told))
    else:
        print(f"{found.new:,} files, {size:,} bytes would be taken in; {len(found.changed):,} changed since they were")
    return 0


def _tidier(lake: Lake) -> Callable[[], None]:
    """Return what keeps the ledger's own files few."""

    def tidy() -> None:
        from compaction.compact import compact
        from compaction.retention import Retention, clean_up
        from sink.lake import data_files
        from sink.ledger import ledger_of

        ledger = ledger_of(lake)
        if len(data_files(ledger.table("files"))) >= _TIDY_AT_FILES:
            compact(ledger, "files")
            clean_up(ledger, ["files"], Retention())

    return tidy
