"""Fault points: parsed strictly, silent when off, and deadly at the named time only."""

import subprocess
import sys

import pytest

from schemas.errors import ConfigError
from sink.faults import fault_point


@pytest.mark.parametrize("text", [None, ""])
def test_without_the_variable_nothing_is_called(text):
    assert fault_point(text) is None


@pytest.mark.parametrize("text", ["bronze", "after bronze@", "after bronze=hang", "after bronze@x", "between silver"])
def test_what_is_no_fault_point_is_refused(text):
    with pytest.raises(ConfigError, match="is no fault point"):
        fault_point(text)


def test_it_kills_at_the_named_time_of_the_named_step_only():
    program = """
from sink.faults import fault_point
step = fault_point("before silver@2")
for number in range(3):
    for name in ("before bronze", "before silver"):
        step(name)
        print(number, name, flush=True)
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert -9 == ended.returncode
    assert ["0 before bronze", "0 before silver", "1 before bronze"] == ended.stdout.splitlines()
