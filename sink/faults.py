"""Fault points: a worker or a compaction told through its environment to die, or to stop, at a named step.

    PLAYLAKE_FAULT="after bronze"            SIGKILL at the first time that step is reached
    PLAYLAKE_FAULT="before silver@3"         at the third time
    PLAYLAKE_FAULT="after quarantine@2=stop" SIGSTOP instead, as a paused machine would be

A worker's steps are those that `LakeWriter` names: `after add` (rows wait for a flush), before and after each table's
commit of a flush (`bronze`, `quarantine`, `silver`; `after files silver` lies between its files and its commit), of a
claim (`claim silver` …), of `trim quarantine` and, where files are taken in, of the `ledger`. A compaction's are before
and after each commit of `repair`, `dedupe`, `compact` (a lake partition), `create gold` and `gold` (a table); those of
`forget` and `expire` are in their modules. Without the variable nothing is called.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from typing import Final

from schemas.errors import ConfigError

VARIABLE: Final = "PLAYLAKE_FAULT"
_FORM = re.compile(r"((?:before|after) [a-z ]+?)(?:@(\d+))?(?:=(kill|stop))?")
_SIGNALS: Final = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}


def fault_point(text: str | None) -> Callable[[str], None] | None:
    """Return what `LakeWriter` or the compaction job is to call at its steps; None for none.

    Args:
        text: the variable's value.

    Raises:
        ConfigError: it is not of the form above.
    """
    if not text:
        return None
    match = _FORM.fullmatch(text.strip())
    if match is None:
        raise ConfigError(f"{VARIABLE}={text!r} is no fault point: write 'after bronze', 'before silver@3=stop'")
    wanted, left, number = match[1], int(match[2] or 1), _SIGNALS[match[3] or "kill"]

    def step(name: str) -> None:
        nonlocal left
        if name == wanted:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), number)

    return step
