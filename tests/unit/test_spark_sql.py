"""Gold's SQL in Spark's words: what SQLGlot by itself gets wrong."""

import pytest

from compaction import gold_files
from compaction.spark_sql import translated, type_in_spark
from schemas.errors import ConfigError


@pytest.mark.parametrize(
    ("ours", "sparks"),
    [
        # 32 bits of hash() would make candidates for repeats of most ids of a large lake
        ("hash(event_id)", "XXHASH64(event_id)"),
        # null is left out by DuckDB; by Spark only once it is text
        ("concat(length(a), b)", "CONCAT(COALESCE(CAST(LENGTH(a) AS STRING), ''), COALESCE(CAST(b AS STRING), ''))"),
        ("extract(isodow from d)", "EXTRACT(DAYOFWEEK_ISO FROM d)"),
        # never PERCENTILE_APPROX, which SQLGlot writes for percentile_disc
        ("quantile_disc(epoch_us(x), 0.5)", "PERCENTILE_DISC(0.5) WITHIN GROUP (ORDER BY UNIX_MICROS(x) NULLS LAST)"),
        # borders of dates that were crossed, not whole days
        ("date_diff('day', a, b)", "DATEDIFF(b, a)"),
        ("epoch_us(a) // 3600 % 24", "UNIX_MICROS(a) DIV 3600 % 24"),
        ("array_length(warnings)", "SIZE(warnings)"),
        ("timestamptz '9999-12-31 00:00:00+00'", "CAST('9999-12-31 00:00:00+00' AS TIMESTAMP)"),
    ],
)
def test_what_means_something_else_in_spark_is_put_right(ours, sparks):
    assert f"SELECT {sparks}" == translated(f"select {ours}", "x.sql")


def test_a_difference_that_spark_counts_otherwise_is_refused():
    with pytest.raises(ConfigError, match=r"x\.sql can't be translated for Spark: date_diff\('hour', …\) counts"):
        translated("select date_diff('hour', a, b)", "x.sql")


def test_sql_that_is_none_is_refused_in_one_line():
    with pytest.raises(ConfigError, match=r"x\.sql can't be translated for Spark: ") as caught:
        translated("select (a", "x.sql")
    assert 1 == len(str(caught.value).splitlines())


def test_every_file_of_gold_is_translated():
    for file in gold_files.load().values():
        assert translated(file.sql, file.name).startswith(("SELECT", "WITH"))
        assert all(type_in_spark(column.type) for column in file.columns)
