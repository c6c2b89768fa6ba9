"""The cost model: its tables are those of the documents, its formulas are those that the documents tell."""

from __future__ import annotations

import pytest

from tests.deploy.tools import ROOT, load

cost = load("cost")


@pytest.mark.parametrize("name", cost.TABLES)
def test_a_document_s_tables_are_what_the_model_gives(name: str) -> None:
    assert (ROOT / "docs" / name).read_text(encoding="utf-8") == cost.written(name), "run tools/cost.py"


def test_storage_is_bytes_by_days() -> None:
    per_event = 35 * 90 + 56 * 400 + 81 * 7
    assert cost.lake_gb(1_000) == pytest.approx(1_000 * 86_400 * per_event / 1e9)
    assert cost.storage(1_000) == pytest.approx(cost.lake_gb(1_000) * 0.023 + 1)


def test_flushes_go_by_the_clock_until_buffers_are_full() -> None:
    assert cost.flushes(100) == pytest.approx(2 * 2_592_000 / 60)
    assert cost.flushes(100_000) == pytest.approx(2_592_000 * 100_000 / 100_000)


def test_kinesis_is_what_docs_kinesis_says() -> None:
    assert cost.kinesis(4_000) == pytest.approx(43.2 + 145.15, abs=0.01)


def test_firehose_counts_each_record_as_five_kilobytes() -> None:
    assert cost.firehose(1_000) - cost.firehose_packed(1_000) == pytest.approx(2.592 * (5_000 - 272) * 0.047)


def test_a_hundred_times_the_events_never_cost_less() -> None:
    parts = {part for functions in cost.WAYS.values() for part in functions}
    assert len(parts) >= 8
    assert [] == [part.__name__ for part in parts if part(100_000) < part(1_000)]


def test_workers_are_at_seventy_percent_and_two_at_least() -> None:
    assert [2, 2, 3, 5] == [cost.workers(rate) for rate in (1, 420_000, 421_000, 1_000_000)]
