"""Two compactions at once, killed at any step and any time: rows stay, gold is right, the next one goes through."""

from __future__ import annotations

import random
import shutil
import signal
from pathlib import Path

import pytest

from tests.compactors import Compactors
from tests.fault.viewed import CLOSED, Viewed, all_is_right, nobody_saw_less_or_double
from tests.reading import Reader

STEPS = [f"{moment} {name}" for name in ("repair", "dedupe", "compact", "gold") for moment in ("before", "after")]


@pytest.mark.parametrize("step", STEPS)
def test_one_killed_at_a_step_while_another_stands_still_with_a_plan_of_before(
    viewed: Viewed, compactors: Compactors, lake: Path, tmp_path: Path, dice: random.Random, step: str
) -> None:
    viewed.copy_to(lake)
    times = dice.randrange(1, 4) if step.split()[1] in ("compact", "gold") else 1
    stops = ["before repair", "before gold@2"] if "gold" in step else ["before repair"]  # nothing done before it
    with Reader(lake, tmp_path, CLOSED) as reader:
        still = compactors.start(lake, fault=f"{dice.choice(stops)}=stop")
        still.until(lambda: still.is_stopped, "it stopped")
        doomed = compactors.start(lake, fault=f"{step}@{times}")
        assert -signal.SIGKILL == doomed.exit_code()
        still.send(signal.SIGCONT)
        still.succeeds()
        compactors.run(lake)
    upto = all_is_right(lake, viewed.ledger)
    nobody_saw_less_or_double(lake, reader, viewed, upto)


def test_two_at_once_killed_at_any_time(
    viewed: Viewed, compactors: Compactors, lake: Path, tmp_path: Path, dice: random.Random
) -> None:
    viewed.copy_to(lake)
    if dice.random() < 0.5:
        shutil.rmtree(lake / "gold")  # both begin it
    with Reader(lake, tmp_path, CLOSED) as reader:
        for _ in range(2):
            doomed, other = (compactors.start(lake) for _ in range(2))
            doomed.runs_for(dice.uniform(0.5, 4))
            doomed.kill()
            other.succeeds()
        compactors.run(lake)
    upto = all_is_right(lake, viewed.ledger)
    nobody_saw_less_or_double(lake, reader, viewed, upto)
