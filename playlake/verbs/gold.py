"""`playlake gold`: the gold tables alone."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from compaction import job
from playlake.settings import Size, VerbSettings
from playlake.verbs.compact import show
from sink.lake import Lake


class Settings(VerbSettings):
    """Bring the gold tables up to the newest silver: the dates that changed, and those that depend on them.

    Each table is one atomic commit, and each event counts once, also while silver still holds repeats.

    Example:
        playlake gold --lake ./lake
    """

    verb: ClassVar[str] = "gold"

    lake: str = Field(description="folder or s3://bucket/prefix")
    full: bool = Field(False, description="build every table anew")
    memory: Size = Field(2 * 10**9, description="work in about this much memory, then in temporary files")
    as_json: bool = Field(False, alias="json", description="print one JSON object")


def run(settings: Settings) -> int:
    """Refresh gold; see `Settings`."""
    step = job.run_gold(Lake.at(settings.lake), full=settings.full, memory_limit=f"{settings.memory}B")
    if not settings.as_json:
        width = max(map(len, step.detail))
        for name, table in step.detail.items():
            print(f"{name:<{width}}  {table['how']:<11}  {table['dates']:>5,} dates  {table['rows']:>9,} rows")
    show([step], settings.as_json)
    return 0
