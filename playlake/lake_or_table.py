"""Settings of verbs that work on a lake, or on one Delta table that somebody else writes."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from compaction.foreign import open_table
from playlake.settings import VerbSettings
from sink.lake import Lake


class LakeOrTableSettings(VerbSettings):
    """Where to work: `--lake`, or `--table` with its columns' names, which wins over a lake of the settings file."""

    lake: str | None = Field(None, description="folder or s3://bucket/prefix of a lake")
    table: str | None = Field(None, description="or a Delta table that somebody else writes: its folder or s3://…")
    event_time: str | None = Field(None, description="of --table: column of event times; timestamps, text or numbers")
    date_column: str | None = Field(None, description="of --table: the column by which it is partitioned; dates")
    raw: str | None = Field(None, description="of --table: column of the event's JSON text, if there is one")

    @model_validator(mode="after")
    def _is_one_place(self) -> Self:
        columns = (self.event_time, self.date_column)
        if self.table is None:
            if self.lake is None:
                raise ValueError("--lake is needed (or PLAYLAKE_LAKE, or lake in playlake.toml), or --table")
            if (*columns, self.raw) != (None, None, None):
                raise ValueError("--event-time, --date-column and --raw are for --table, which is missing")
        elif None in columns:
            raise ValueError("--table needs --event-time and --date-column, the names of its columns")
        return self

    def opened(self) -> Lake:
        """Return the lake, or the table as a lake of one; raises what `Lake.at` and `open_table` do."""
        if self.table is None or self.event_time is None or self.date_column is None:
            return Lake.at(self.lake or "")
        return open_table(self.table, self.event_time, self.date_column, self.raw)
