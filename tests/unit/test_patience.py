"""A step is tried again while the store is away, for as long as asked; any other error ends it at once."""

import threading

import pytest

from schemas.errors import IncompatibleLake, StoreUnavailable
from stream_app.patience import Patience


class Step:
    """Fails with these errors, one a call, then answers."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)

    def __call__(self) -> str:
        if self.errors:
            raise self.errors.pop(0)
        return "done"


AWAY = StoreUnavailable("the store does not serve the lake")


def test_a_step_is_tried_until_the_store_answers_which_is_said_once(caplog):
    patiently = Patience(threading.Event())
    assert "done" == patiently(Step(AWAY, AWAY))
    assert patiently.trouble is None
    assert [f"waiting: {AWAY}", "the store answers again"] == [record.getMessage() for record in caplog.records]


def test_a_step_is_not_tried_for_longer_than_asked():
    step = Step(AWAY, AWAY)
    with pytest.raises(StoreUnavailable):
        Patience(threading.Event())(step, for_s=0)
    assert [AWAY] == step.errors


def test_waiting_ends_when_it_is_given_up_and_the_trouble_stays_known():
    give_up = threading.Event()
    give_up.set()
    patiently = Patience(give_up)
    with pytest.raises(StoreUnavailable):
        patiently(Step(AWAY, AWAY))
    assert AWAY is patiently.trouble


def test_what_waiting_will_not_mend_is_not_waited_for():
    step = Step(IncompatibleLake("of another playlake"), AWAY)
    with pytest.raises(IncompatibleLake):
        Patience(threading.Event())(step)
    assert [AWAY] == step.errors
