"""Fixtures of the worker's integration tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.broker import Broker
from tests.workers import Workers, workers_of


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    """Where a test's lake goes; nothing is there yet."""
    return tmp_path / "lake"


@pytest.fixture
def workers(broker: Broker, tmp_path: Path) -> Iterator[Workers]:
    """Starts workers against the shared broker; all of them have ended after the test."""
    with workers_of(broker, tmp_path) as started:
        yield started
