"""`playlake adopt`: a folder of plain Parquet files becomes a Delta table where it is."""

from __future__ import annotations

import json
import textwrap
from typing import ClassVar

from pydantic import Field
from pydantic_settings import CliPositionalArg

from compaction.adopt import Survey, adopt, survey
from playlake.progress import progress
from playlake.settings import VerbSettings
from sink.lake import Lake


class Settings(VerbSettings):
    """Make a folder of Parquet files, as Glue, Spark and Firehose leave them, a Delta table where it is.

    Partitions are folders named column=value, __HIVE_DEFAULT_PARTITION__ included, or there are none. No file is
    rewritten, moved or deleted: one commit in _delta_log names them all. What is written into the folder from then on
    has to be appended to the Delta table; plain files that come later are not in it.

    Example:
        playlake adopt s3://bucket/events --dry-run
        playlake adopt ./events && playlake compact --table ./events --event-time ts --date-column event_date
    """

    verb: ClassVar[str] = "adopt"

    folder: CliPositionalArg[str] = Field(description="the table's folder, or s3://bucket/prefix")
    dry_run: bool = Field(
        False, description="say what there is and what stands against it (exit code 1); change nothing"
    )
    as_json: bool = Field(False, alias="json", description="print one JSON object")


def run(settings: Settings) -> int:
    """Adopt; see `Settings`."""
    folder = Lake.at(settings.folder)
    with progress("footers read", None) as done:
        found = survey(folder, done=done)
    if not settings.dry_run:
        adopt(folder, found)
    if settings.as_json:
        print(json.dumps(_as_json(found) | {"adopted": not settings.dry_run}))
    else:
        _print(found)
        if not settings.dry_run:
            print(f"{folder.uri} is a Delta table now, version 0; no file was changed")
    return 1 if found.objections else 0


def _print(found: Survey) -> None:
    null = found.null_partition
    partitions = f"{found.partitions:,} by {', '.join(found.partition_by)}" if found.partition_by else "none"
    if null:
        partitions += f"; of these the null partition: {len(null):,} files, {sum(file.rows for file in null):,} rows"
    lines = {
        "files": f"{len(found.files):,}",
        "rows": f"{found.rows:,}",
        "bytes": f"{found.bytes:,}",
        "partitions": partitions,
        "columns": ", ".join(f"{field.name} {field.type}" for field in found.schema),
        "against it": "\n".join(found.objections) or "nothing",
    }
    for name, text in lines.items():
        wrapped = [piece for line in text.splitlines() for piece in textwrap.wrap(line, 106) or [""]]
        print("\n".join(f"{name if not number else '':<12}{piece}" for number, piece in enumerate(wrapped)))


def _as_json(found: Survey) -> dict[str, object]:
    return {
        "files": len(found.files),
        "rows": found.rows,
        "bytes": found.bytes,
        "partitions": found.partitions,
        "partition_by": found.partition_by,
        "null_partition": {
            "files": len(found.null_partition),
            "rows": sum(file.rows for file in found.null_partition),
        },
        "columns": {field.name: str(field.type) for field in found.schema},
        "objections": found.objections,
    }
