"""What a changed rule set would do: the same records judged by the rules of today and by the new ones."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

import pyarrow as pa

from schemas.tables import POSITION
from stream_app.catalogue import known_countries
from stream_app.formats import Schemas
from stream_app.process import Processed, Processor
from stream_app.rules import CODE, Rule, RuleSet

_EXAMPLES = 3


@dataclass(frozen=True)
class RuleTrial:
    """One rule of the new set.

    Attributes:
        rule: the rule.
        broken: how many records broke it.
        share: of all records, 0 to 1.
        is_over_budget: whether a flush like the sample would be stopped by its budget.
        examples: positions of the first that it changed, as `topic[partition]@offset`.
    """

    rule: Rule
    broken: int
    share: float
    is_over_budget: bool
    examples: tuple[str, ...]


@dataclass(frozen=True)
class Trial:
    """The outcome of a trial.

    Attributes:
        records: how many were judged.
        rules: of the new set, in its order.
        quarantined_before: by the rules of today.
        quarantined_after: by the new ones.
        moves: (from, to) → records whose table changes.
        reasons: quarantine's reasons by the new rules → records.
        is_over_budget: whether a flush like the sample would be stopped by the budget in all.
    """

    records: int
    rules: tuple[RuleTrial, ...]
    quarantined_before: int
    quarantined_after: int
    moves: dict[tuple[str, str], int]
    reasons: dict[str, int]
    is_over_budget: bool

    @property
    def would_stop(self) -> bool:
        """Whether a worker with the new rules would stop on records like these."""
        is_failing = any(each.broken and each.rule.action == "fail" for each in self.rules)
        return is_failing or self.is_over_budget or any(each.is_over_budget for each in self.rules)


def try_rules(records: pa.Table, schemas: Schemas, titles: pa.Table, before: RuleSet, after: RuleSet) -> Trial:
    """Judge records (schema `RECORDS`) by both rule sets; a rule whose action is `fail` is only counted."""
    told_before = _judge(records, schemas, titles, before)
    told_after = _judge(records, schemas, titles, after)
    count = records.num_rows
    fates_before, fates_after = _fates(told_before), _fates(told_after)
    moves = Counter(
        (fates_before[position], fate) for position, fate in fates_after.items() if fates_before[position] != fate
    )
    marked = _marked(told_after)
    enough = count >= after.budget.at_least
    rules = tuple(
        RuleTrial(
            rule,
            broken,
            broken / count if count else 0.0,
            enough and rule.budget is not None and broken > rule.budget * count,
            tuple(marked.get(f"{CODE}{rule.name}", ())[:_EXAMPLES]),
        )
        for rule, broken in zip(after.rules, told_after.broken, strict=True)
    )
    reasons = Counter(code for codes in told_after.quarantine["reasons"].to_pylist() for code in codes)
    quarantined, bound = told_after.quarantine.num_rows, after.budget.quarantined
    return Trial(
        count,
        rules,
        told_before.quarantine.num_rows,
        quarantined,
        dict(moves),
        dict(reasons.most_common()),
        enough and bound is not None and quarantined > bound * count,
    )


def _judge(records: pa.Table, schemas: Schemas, titles: pa.Table, rules: RuleSet) -> Processed:
    counted = tuple(
        rule.model_copy(update={"action": "warn"}) if rule.action == "fail" else rule for rule in rules.rules
    )
    processor = Processor(titles, known_countries(), replace(rules, rules=counted))
    try:
        return processor(records, schemas)
    finally:
        processor.close()


def _positions(rows: pa.Table) -> list[tuple[str, str, int, int]]:
    return list(zip(*(rows[field.name].to_pylist() for field in POSITION), strict=True))


def _fates(told: Processed) -> dict[tuple[str, str, int, int], str]:
    fates = dict.fromkeys(_positions(told.silver), "silver")
    return fates | dict.fromkeys(_positions(told.quarantine), "quarantine")


def _marked(told: Processed) -> dict[str, list[str]]:
    """Return, for each code of a rule, where it was put."""
    marked: dict[str, list[str]] = {}
    for rows, column in ((told.silver, "warnings"), (told.quarantine, "reasons")):
        for (topic, _, kafka_partition, offset), codes in zip(_positions(rows), rows[column].to_pylist(), strict=True):
            for code in codes:
                if code.startswith(CODE):
                    marked.setdefault(code, []).append(f"{topic}[{kafka_partition}]@{offset}")
    return marked
