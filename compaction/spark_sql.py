"""Gold's SQL, which is DuckDB's, as Spark's: SQLGlot translates, and what it gets wrong or lets pass is put right here.

Pure. What would give other figures without an error is refused instead.
"""

from __future__ import annotations

from typing import Final

import sqlglot
from sqlglot import exp
from sqlglot.errors import ErrorLevel, SqlglotError

from schemas.errors import ConfigError

_RENAMED: Final = {
    "epoch_us": "unix_micros",
    "hash": "xxhash64",  # Spark's hash() has 32 bits, which most events of a large lake would share with another
}
"""Functions that SQLGlot passes on as they are."""


def translated(sql: str, origin: str) -> str:
    """Return one statement of DuckDB's SQL in Spark's.

    Args:
        sql: the statement, comments included.
        origin: what it is called where it can't be translated.

    Raises:
        ConfigError: SQLGlot can't read or write it, or Spark would count something else.
    """
    try:
        tree = sqlglot.parse_one(sql, read="duckdb")
        for call in tree.find_all(exp.Anonymous):
            call.set("this", _RENAMED.get(call.name.lower(), call.name))
        tree = tree.transform(_put_right)
        return tree.sql("spark", comments=False, unsupported_level=ErrorLevel.RAISE)
    except (SqlglotError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"{origin} can't be translated for Spark: {reason}") from None


def type_in_spark(duckdb_type: str) -> str:
    """Return Spark's name of a type that a gold file declares."""
    return exp.DataType.build(duckdb_type, dialect="duckdb").sql("spark")


def _put_right(node: exp.Expression) -> exp.Expression:
    if isinstance(node, exp.Concat):
        # Else numbers are compared with '' where they may be null, an error in Spark.
        node.set("expressions", [exp.cast(each, "text") for each in node.expressions])
    elif isinstance(node, exp.CTE):
        node.set("materialized", None)  # a hint to DuckDB alone
    elif isinstance(node, exp.Extract) and node.name.upper() == "ISODOW":
        node.set("this", exp.var("DAYOFWEEK_ISO"))
    elif isinstance(node, exp.PercentileDisc | exp.PercentileCont) and node.expression is not None:
        # Anonymous, since SQLGlot writes its own as PERCENTILE_APPROX.
        name = "percentile_disc" if isinstance(node, exp.PercentileDisc) else "percentile_cont"
        ordered = exp.Order(expressions=[exp.Ordered(this=node.this)])
        return exp.WithinGroup(this=exp.Anonymous(this=name, expressions=[node.expression]), expression=ordered)
    elif isinstance(node, exp.DateDiff):
        unit = node.text("unit").upper()
        if unit != "DAY":  # DuckDB counts borders that were crossed, Spark whole units
            raise ValueError(f"date_diff('{unit.lower()}', …) counts otherwise there; use 'day'")
        node.set("unit", None)  # of dates, also where it is asked of timestamps
    return node
