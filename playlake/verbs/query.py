"""`playlake query`: SQL over the lake."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any, ClassVar, Literal

from pydantic import Field, model_validator
from pydantic_settings import CliPositionalArg

from playlake.settings import VerbSettings
from query import ArrowAnswer, QueryError, ask, ask_arrow, connect
from query.render import Format, write_parquet, write_text
from query.views import tables, views
from schemas.errors import ConfigError
from sink.lake import Lake

_EXAMPLES = {
    "bronze": "select topic, kafka_partition, kafka_offset, value from bronze limit 5",
    "silver": "select event_type, count(*) from silver where event_date = current_date group by all",
    "quarantine": "select reason, count(*) from (select unnest(reasons) as reason from quarantine) group by reason",
}
_COLUMNS = (
    "select column_name, data_type from information_schema.columns "
    "where table_schema = $1 and table_name = $2 order by ordinal_position"
)


class Settings(VerbSettings):
    """Ask the lake in SQL (DuckDB's), over views of its newest commits: bronze, silver, quarantine, gold.NAME.

    Without SQL it lists the views. Statements can only read, and only the lake, unless --unsafe is given.
    EXPLAIN shows how many of a table's files a statement needs ("Scanning Files").

    Example:
        playlake query --lake ./lake "select title, plays from gold.top_titles limit 10"
    """

    verb: ClassVar[str] = "query"

    sql: CliPositionalArg[str | None] = Field(None, description="one statement; - reads it from standard input")
    lake: str = Field(description="folder or s3://bucket/prefix")
    format: Format = Field("table", description="table, csv, json (an array of objects) or parquet")
    output: str | None = Field(None, description="write to this file; parquet needs one, or a pipe")
    as_of: str | None = Field(
        None, description="as the lake was: an ISO 8601 time, or the number of a version of silver"
    )
    unsafe: bool = Field(
        False, description="allow any statements, also those that read and write files (COPY … TO 'x.csv')"
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Settings:
        if self.format == "parquet" and self.output is None and sys.stdout.isatty():
            raise ValueError("--format parquet needs --output FILE, or a pipe")
        return self


def run(settings: Settings) -> int:
    """Ask; see `Settings`."""
    if settings.sql is None:
        _list_views(Lake.at(settings.lake), settings.as_of)
        return 0
    sql = sys.stdin.read() if settings.sql == "-" else settings.sql
    con = connect(settings.lake, settings.as_of, mentioned_in=sql, unsafe=settings.unsafe)
    try:
        if settings.format == "parquet":
            _write_parquet(ask_arrow(con, sql, unsafe=settings.unsafe), settings.output)
        elif settings.output is None:
            write_text(ask(con, sql, unsafe=settings.unsafe), settings.format, sys.stdout)
        else:
            answer = ask(con, sql, unsafe=settings.unsafe)
            with _file(settings.output, "w") as out:
                write_text(answer, settings.format, out)
    except QueryError as error:
        raise _with_views(error, Lake.at(settings.lake), settings.as_of) from error
    finally:
        con.close()
    return 0


def _write_parquet(answer: ArrowAnswer, output: str | None) -> None:
    if output is None:
        write_parquet(answer, sys.stdout.buffer)
        return
    with _file(output, "wb") as out:
        write_parquet(answer, out)


@contextmanager
def _file(path: str, mode: Literal["w", "wb"]) -> Iterator[IO[Any]]:
    """Open a file that gets its name only when all is written."""
    part = f"{path}.part"
    try:
        with open(part, mode, encoding=None if mode == "wb" else "utf-8", newline=None if mode == "wb" else "") as out:
            yield out
        os.replace(part, path)
    except OSError as error:
        raise ConfigError(f"--output {path} can't be written: {error.strerror}") from None
    finally:
        with suppress(OSError):
            os.unlink(part)


def _with_views(error: QueryError, lake: Lake, as_of: str | None) -> QueryError:
    """Add what there is to an error about a table that isn't."""
    if "Table with name" not in str(error):
        return error
    names = [view.name for view in views(lake, tables(lake, as_of))]
    said, line, excerpt = str(error).partition("\n")
    message = f"{said} There are: {', '.join(names)}."
    if not any(name.startswith("gold.") for name in names):
        message += f" The gold tables are made by `playlake gold --lake {lake.uri}`."
    return QueryError(message + line + excerpt)


def _list_views(lake: Lake, as_of: str | None) -> None:
    con = connect(lake.uri, as_of)
    for view in views(lake, tables(lake, as_of)):
        print(f"{view.name}  (version {view.version}, {view.files:,} file{'' if view.files == 1 else 's'})")
        print(f"    {view.description}")
        schema, _, table = view.name.rpartition(".")
        for name, kind in con.execute(_COLUMNS, [schema or "main", table]).fetchall():
            print(f"    {name:<22} {kind.lower()}")
        print(f"    e.g. {_EXAMPLES.get(view.name) or f'from {view.name} limit 10'}\n")
    con.close()
