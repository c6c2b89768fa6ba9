"""`playlake gold`: the gold tables alone."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar, Literal

from pydantic import Field

from compaction import gold_files, job
from compaction.gold_engine import Engine
from playlake.progress import progress
from playlake.settings import Size, VerbSettings
from playlake.verbs.compact import show
from schemas.errors import ConfigError
from sink.lake import Lake


class Settings(VerbSettings):
    """Bring the gold tables up to the newest silver: the dates that changed, and those that depend on them.

    Each table is one atomic commit, and each event counts once, also while silver still holds repeats. On Spark, for
    lakes that outgrow a machine, the tables are the same; it needs `pip install 'playlake[spark]'` and Java 17.

    Example:
        playlake gold --lake ./lake
        playlake gold --lake s3://bucket/lake --engine spark --spark-master spark://host:7077
    """

    verb: ClassVar[str] = "gold"

    lake: str = Field(description="folder or s3://bucket/prefix")
    full: bool = Field(False, description="build every table anew")
    memory: Size = Field(
        2 * 10**9,
        description="work in about this much memory, then in temporary files; with Spark: Java's heap on this machine",
    )
    engine: Literal["duckdb", "spark"] = Field("duckdb", description="what runs the SQL: duckdb or spark")
    spark_master: str | None = Field(
        None, description="with --engine spark: where it runs, such as spark://host:7077 or yarn; default: local[*]"
    )
    spark_option: list[str] = Field(
        [], description="with --engine spark: a setting name=value, such as spark.jars=/opt/jars/delta.jar"
    )
    as_json: bool = Field(False, alias="json", description="print one JSON object")


def run(settings: Settings) -> int:
    """Refresh gold; see `Settings`."""
    lake = Lake.at(settings.lake)
    with _engine(settings, lake) as engine, progress("gold", len(gold_files.table_names())) as tell:
        written = itertools.count(1)
        step = job.run_gold(
            lake,
            full=settings.full,
            memory_limit=f"{settings.memory}B",
            engine=engine,
            step=lambda name: tell(next(written)) if name == "after gold" else None,
        )
    if not settings.as_json:
        width = max(map(len, step.detail))
        for name, table in step.detail.items():
            print(f"{name:<{width}}  {table['how']:<11}  {table['dates']:>5,} dates  {table['rows']:>9,} rows")
    show([step], settings.as_json)
    return 0


@contextmanager
def _engine(settings: Settings, lake: Lake) -> Iterator[Engine | None]:
    """Give what runs the SQL; None is DuckDB."""
    if settings.engine == "duckdb":
        if settings.spark_master is not None or settings.spark_option:
            raise ConfigError("--spark-master and --spark-option are for Spark: add --engine spark, or leave them out")
        yield None
        return
    from compaction.spark_session import spark_session

    lake.require()  # before Spark takes its time to start
    options = dict(map(_option, settings.spark_option))
    with spark_session(lake, settings.spark_master or "local[*]", settings.memory, options) as session:
        from compaction.gold_spark import Spark  # not before it is known that its packages are there

        yield Spark(lake, session)


def _option(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip().startswith("spark."):
        raise ConfigError(f"--spark-option {text!r} is not of the form spark.name=value")
    return name.strip(), value.strip()
