"""How many records of a flush broke which rule, and whether that is more than the rules allow.

An outage upstream (an empty catalogue, a client release that forgets a field) is not bad data: above a budget the
worker stops before it commits the flush, and goes on once a person has looked.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

from schemas.errors import OverBudget
from stream_app.rules import RuleSet

_log = logging.getLogger(__name__)


class Budgets:
    """The count of one flush after the other. For one thread, but `totals` may be read by any.

    Attributes:
        totals: for each rule, how many committed records broke it.
    """

    def __init__(self, rules: RuleSet, *, accept: bool = False) -> None:
        """Count from nothing on.

        Args:
            rules: with their budgets.
            accept: a person has looked: only warn.
        """
        self._rules = rules
        self._accept = accept
        self.totals = {rule.name: 0 for rule in rules.rules}
        self._start()

    def _start(self) -> None:
        self._records = self._quarantined = 0
        self._broken = [0] * len(self._rules.rules)

    def add(self, records: int, quarantined: int, broken: Sequence[int]) -> None:
        """Count a batch towards the next flush; `broken` is `Processed.broken`."""
        self._records += records
        self._quarantined += quarantined
        self._broken = [before + more for before, more in zip(self._broken, broken, strict=True)]

    def require_within(self) -> None:
        """Check what was counted, before it is committed.

        Raises:
            OverBudget: more is bad than a budget allows, and nobody accepted that.
        """
        if self._records < self._rules.budget.at_least:
            return
        over = "; ".join(self._over())
        if not over:
            return
        if not self._accept:
            raise OverBudget(
                f"{over}. Nothing of this flush was committed. Look at the records (`playlake rules test --sample`): "
                "after an outage upstream mend that first; if it shall be so, `stream --accept-over-budget` goes on"
            )
        _log.warning("over budget, accepted: %s", over)

    def flushed(self) -> None:
        """Start again: what was counted is in the lake."""
        for rule, count in zip(self._rules.rules, self._broken, strict=True):
            self.totals[rule.name] += count
        self._start()

    def _over(self) -> Iterator[str]:
        parts = [
            (f"rule {rule.name!r}", count, rule.budget)
            for rule, count in zip(self._rules.rules, self._broken, strict=True)
        ]
        parts.append(("quarantined in all", self._quarantined, self._rules.budget.quarantined))
        for name, count, budget in parts:
            if budget is not None and count > budget * self._records:
                share = count / self._records
                yield f"{name}: {count:,} of {self._records:,} records ({share:.1%}), the budget is {budget:.1%}"
