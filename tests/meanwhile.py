"""Something done in a thread while a block runs, whose failure fails the test."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def meanwhile(steps: Callable[[], Iterator[None]], pause_s: float) -> Iterator[None]:
    """Take one step after another, with a pause after each, until the block ends or no step is left."""
    should_end = threading.Event()
    trouble: list[BaseException] = []

    def run() -> None:
        try:
            for _ in steps():
                if should_end.wait(pause_s):
                    return
        except BaseException as error:
            trouble.append(error)

    thread = threading.Thread(target=run, name="meanwhile", daemon=True)
    thread.start()
    try:
        yield
    finally:
        should_end.set()
        thread.join()
        if trouble:  # pytest shows it beside the block's own failure
            print(f"meanwhile: {trouble[0]!r}")
    assert [] == trouble
