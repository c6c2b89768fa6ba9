"""Two compactions at once, killed at any step and any time: rows stay, gold is right, the next one goes through."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from tests.compactors import Compactors
from tests.fault.viewed import CLOSED, Place, Viewed, all_is_right
from tests.reading import Reader

STEPS = [f"{moment} {name}" for name in ("repair", "dedupe", "compact", "gold") for moment in ("before", "after")]
SHORT_STEPS = ("after repair", "after dedupe", "before compact", "after compact", "before gold", "after gold")
"""Enough for the short run: nothing has happened "before repair", and "before dedupe" is "after repair"."""


@pytest.mark.short_run(*SHORT_STEPS)
@pytest.mark.also_on_s3("after repair")
@pytest.mark.parametrize("step", STEPS)
def test_one_killed_at_a_step_while_another_stands_still_with_a_plan_of_before(
    viewed: Viewed, place: Place, compactors: Compactors, tmp_path: Path, dice: random.Random, step: str
) -> None:
    job = step.split()[1]
    times = dice.randrange(1, 4) if job in ("compact", "gold") else 1
    # what it leaves to the doomed
    stops = {"compact": ["before repair", "before compact"], "gold": ["before repair", "before gold@2"]}
    with Reader(place.uri, tmp_path, CLOSED) as reader:
        still = compactors.run_to_stop(dice.choice(stops.get(job, ["before repair"])), place.uri)
        compactors.run_into(f"{step}@{times}", place.uri)
        still.go_on()
        still.succeeds()
        compactors.run(place.uri)
    all_is_right(place, viewed, reader=reader)


@pytest.mark.also_on_s3("in the long run")
def test_two_at_once_killed_at_any_time(
    viewed: Viewed, place: Place, compactors: Compactors, tmp_path: Path, dice: random.Random
) -> None:
    with Reader(place.uri, tmp_path, CLOSED) as reader:
        for _ in range(2):
            doomed, other = (compactors.start(place.uri) for _ in range(2))
            doomed.runs_for(dice.uniform(0.5, 4))
            doomed.kill()
            other.succeeds()
        compactors.run(place.uri)
    all_is_right(place, viewed, reader=reader)


def test_two_at_once_begin_gold(
    viewed: Viewed, place: Place, compactors: Compactors, tmp_path: Path, seed: int
) -> None:
    shutil.rmtree(f"{place.uri}/gold")
    with Reader(place.uri, tmp_path, CLOSED) as reader:
        both = [compactors.run_to_stop("before create gold", place.uri) for _ in range(2)]
        for compactor in both:
            compactor.go_on()
        for compactor in both:
            compactor.succeeds()
    all_is_right(place, viewed, reader=reader)
