"""Ask one question: check that the SQL only reads, run it, hand the rows on as they come."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import duckdb
import pyarrow as pa

from query.mistakes import mistake
from schemas.errors import QueryError

_T = TypeVar("_T")
_BATCH_ROWS: Final = 10_000
_WORD: Final = re.compile(r"[A-Za-z]+")
_OPTIONS: Final = re.compile(r"\(\s*(?:analyze|format)\b[\w\s,]*\)", re.IGNORECASE)


@dataclass(frozen=True)
class Answer:
    """Columns, and rows in batches as they come; ask nothing else of the connection until they are read."""

    columns: tuple[str, ...]
    types: tuple[str, ...]
    batches: Iterator[list[tuple[Any, ...]]]


@dataclass(frozen=True)
class ArrowAnswer:
    """The same as Arrow batches."""

    schema: pa.Schema
    batches: Iterator[pa.RecordBatch]


def ask(con: duckdb.DuckDBPyConnection, sql: str, *, unsafe: bool = False) -> Answer:
    """Run one statement that only reads (SELECT, FROM, WITH, DESCRIBE, SUMMARIZE, SHOW, EXPLAIN of those).

    Args:
        con: from `query.connect`.
        sql: one statement.
        unsafe: take any statements. What they may touch is the connection's affair, see `connect`.

    Raises:
        QueryError: in one line, what is wrong, and below it the place in the SQL; also from the batches.
        KeyboardInterrupt: Ctrl-C while it ran.
    """
    if not unsafe:
        check_reads_only(sql)
    result = _run(con, lambda: con.execute(sql))
    description = result.description or []
    return Answer(tuple(column[0] for column in description), tuple(str(c[1]) for c in description), _batches(result))


def ask_arrow(con: duckdb.DuckDBPyConnection, sql: str, *, unsafe: bool = False) -> ArrowAnswer:
    """Do the same as `ask`, with the rows as Arrow batches, as they come; same arguments and errors."""
    if not unsafe:
        check_reads_only(sql)
    relation = _run(con, lambda: con.sql(sql))
    if relation is None:
        raise QueryError("the statement was run; it gives no rows that Parquet could hold")
    reader = _run(con, lambda: relation.to_arrow_reader(_BATCH_ROWS))
    return ArrowAnswer(reader.schema, _arrow_batches(con, reader))


def check_reads_only(sql: str) -> None:
    """Raise `QueryError` unless the text is one statement that only reads.

    The connection is closed off besides; this keeps even the lake's own files from being written over.
    """
    with _our_errors():
        statements = duckdb.extract_statements(sql)
    if len(statements) != 1:
        raise QueryError(f"give one statement, not {len(statements)}" if statements else "the SQL is empty")
    kind = statements[0].type
    if kind == duckdb.StatementType.EXPLAIN:
        check_reads_only(_explained(sql))
    elif kind == duckdb.StatementType.MULTI:
        raise QueryError("PIVOT has to say its values here: pivot … on country in ('DE', 'US') using count(*)")
    elif kind != duckdb.StatementType.SELECT:
        raise QueryError(f"{kind.name} is not allowed: a query only reads (SELECT, DESCRIBE, SUMMARIZE, SHOW, EXPLAIN)")


def _explained(sql: str) -> str:
    """Return what stands behind EXPLAIN, ANALYZE and their options in parentheses.

    Options that it doesn't know stay, and make the rest something that is refused.
    """
    rest = sql
    for word in ("explain", "analyze"):
        start = _first_token(rest)
        found = _WORD.match(rest, start)
        if found and found[0].lower() == word:
            rest = rest[found.end() :]
    start = _first_token(rest)
    options = _OPTIONS.match(rest, start)
    return rest[options.end() :] if options else rest


def _first_token(sql: str) -> int:
    return next((start for start, kind in duckdb.tokenize(sql) if kind != duckdb.token_type.comment), 0)


def _batches(result: duckdb.DuckDBPyConnection) -> Iterator[list[tuple[Any, ...]]]:
    while True:
        batch = _run(result, lambda: result.fetchmany(_BATCH_ROWS))
        if not batch:
            return
        yield batch


def _arrow_batches(con: duckdb.DuckDBPyConnection, reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
    while True:
        try:
            batch = _run(con, lambda: next(reader, None))
        except (pa.ArrowException, OSError) as error:  # what DuckDB says, through Arrow's C stream
            raise mistake(str(error)) from error
        if batch is None:
            return
        yield batch


def _run(con: duckdb.DuckDBPyConnection, call: Callable[[], _T]) -> _T:
    """Run a DuckDB call so that Ctrl-C stops it at once and its errors are one line.

    In a thread of its own: in the main one, DuckDB notices a signal only at times, and a long query may run on.
    """
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(call)
        try:
            with _our_errors(con):
                return future.result()
        except KeyboardInterrupt:
            con.interrupt()
            raise


@contextmanager
def _our_errors(con: duckdb.DuckDBPyConnection | None = None) -> Iterator[None]:
    try:
        yield
    except duckdb.Error as error:
        raise mistake(str(error), con) from error
