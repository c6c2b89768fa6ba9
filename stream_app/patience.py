"""Patience with the store and the schema registry: the one place that tries a step again while they are away."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from typing import Final, TypeVar

from schemas.errors import StoreUnavailable, TransientError

Result = TypeVar("Result")

_FIRST_WAIT_S: Final = 0.2
_LONGEST_WAIT_S: Final = 10.0
_log = logging.getLogger(__name__)


class Patience:
    """Carries out steps, waiting while the store (or another service) is away, and says so once. For one thread.

    Attributes:
        trouble: why it is being waited for; None while it answers. Any thread may look at it.
    """

    def __init__(
        self,
        give_up: threading.Event,
        waits_for: type[TransientError] = StoreUnavailable,
        service: str = "the store",
    ) -> None:
        """Set up.

        Args:
            give_up: once set, the next failure is the last.
            waits_for: what says that the service is away; any other error ends a step at once.
            service: what it is called when it answers again.
        """
        self._give_up = give_up
        self._waits_for = waits_for
        self._service = service
        self.trouble: TransientError | None = None

    def __call__(self, step: Callable[[], Result], *, for_s: float = float("inf")) -> Result:
        """Return what `step` returns, however often it has to be tried.

        Args:
            step: raises `waits_for` while the service is away, and may then be called again.
            for_s: no further try is begun after this long.

        Raises:
            TransientError: given up, or `for_s` is over.
        """
        until = time.monotonic() + for_s
        wait_s = _FIRST_WAIT_S
        while True:
            try:
                result = step()
            except self._waits_for as error:
                if time.monotonic() >= until:
                    raise
                if self.trouble is None:
                    _log.warning("waiting: %s", error)
                self.trouble = error
                if self._give_up.wait(random.uniform(wait_s / 2, wait_s)):  # noqa: S311  # jitter, no secret
                    raise
                wait_s = min(2 * wait_s, _LONGEST_WAIT_S)
            else:
                if self.trouble is not None:
                    _log.warning("%s answers again", self._service)
                    self.trouble = None
                return result
