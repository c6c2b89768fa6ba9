"""`playlake rules`: try a rule set on real records before a worker gets it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field
from pydantic_settings import CliPositionalArg

from playlake.broker import client_options
from playlake.settings import VerbSettings

if TYPE_CHECKING:
    from stream_app.trial import Trial


class Settings(VerbSettings):
    """Judge a sample of real records by a file of rules, and show what would change against the rules of today.

    The sample is a file with a record's value on each line, or with --broker the newest records of a topic. Nothing is
    written. Exit code 1 means that a worker with these rules would stop on such records: over a budget, or by a rule
    whose action is to fail. A file of rules that can't be asked ends with 2 and names rule and line.

    Example:
        playlake rules test --rules my-rules.toml --sample playback_events --broker kafka://localhost:9092
    """

    verb: ClassVar[str] = "rules"

    action: CliPositionalArg[Literal["test"]] = Field(description="test")
    rules: Path = Field(description="TOML file of rules to try")
    sample: str = Field(description="file of records, one a line; with --broker: topic")
    broker: str | None = Field(None, description="kafka://host:port[,host:port], to sample a topic")
    against: Path | None = Field(None, description="the rules of today; default: the shipped ones")
    records: int = Field(50_000, ge=1, le=1_000_000, description="size of the sample")
    catalogue: Path | None = Field(None, description="CSV of titles (Netflix-titles layout); default: the small one")
    schema_registry: str | None = Field(None, description="http(s)://HOST:PORT[/PATH], a folder of schemas, or mock://")
    registry_option: list[str] = Field([], description="schema registry client's setting, such as ssl.ca.location=FILE")
    kafka_option: list[str] = Field([], description="librdkafka setting name=value, such as security.protocol=SSL")
    # `as_json` on the command line is --json, as for every verb
    as_json: bool = Field(False, alias="json", description="print the outcome as one JSON object")


def run(settings: Settings) -> int:
    """Try a rule set; see `Settings`."""
    from stream_app.rules import read_rules, shipped_rules

    after = read_rules(settings.rules)
    before = read_rules(settings.against) if settings.against is not None else shipped_rules()

    from playlake.registry import open_registry
    from stream_app import sample
    from stream_app.catalogue import read_titles, shipped_catalogue
    from stream_app.known_schemas import KnownSchemas
    from stream_app.trial import try_rules

    titles = read_titles(settings.catalogue or shipped_catalogue())
    registry = open_registry(settings.schema_registry, settings.registry_option) if settings.schema_registry else None
    if settings.broker is not None:
        options = client_options(settings.broker, settings.kafka_option)
        records = sample.of_topic(options, settings.sample, settings.records)
    else:
        records = sample.of_file(Path(settings.sample), settings.records)
    try:
        trial = try_rules(records, KnownSchemas(registry).used_in(records), titles, before, after)
    finally:
        if registry is not None:
            registry.close()
    print(json.dumps(_as_dict(trial))) if settings.as_json else _show(trial)
    return 1 if trial.would_stop else 0


def _as_dict(trial: Trial) -> dict[str, object]:
    return {
        "records": trial.records,
        "quarantined_before": trial.quarantined_before,
        "quarantined_after": trial.quarantined_after,
        "moves": [{"from": old, "to": new, "records": count} for (old, new), count in trial.moves.items()],
        "reasons": trial.reasons,
        "rules": [
            {
                "name": each.rule.name,
                "action": each.rule.action,
                "broken": each.broken,
                "share": each.share,
                "budget": each.rule.budget,
                "is_over_budget": each.is_over_budget,
                "examples": each.examples,
            }
            for each in trial.rules
        ],
        "would_stop": trial.would_stop,
    }


def _show(trial: Trial) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, soft_wrap=not sys.stdout.isatty())
    console.print(
        f"{trial.records:,} records; quarantined today {trial.quarantined_before:,}, "
        f"by these rules {trial.quarantined_after:,}"
    )
    for (old, new), count in sorted(trial.moves.items()):
        console.print(f"  {count:,} would go to {new} instead of {old}")
    table = Table(box=None, pad_edge=False, padding=(0, 1), header_style="dim")
    for name in ("rule", "action"):
        table.add_column(name, overflow="fold")
    for name in ("broken", "share", "budget"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("first at", overflow="fold")
    for each in trial.rules:
        budget = "-" if each.rule.budget is None else f"{each.rule.budget:.1%}{' over' if each.is_over_budget else ''}"
        first = each.examples[0] if each.examples else "-"
        table.add_row(each.rule.name, each.rule.action, f"{each.broken:,}", f"{each.share:.2%}", budget, first)
    if trial.rules:
        console.print(table)
    if trial.reasons:
        console.print("reasons: " + ", ".join(f"{code} {count:,}" for code, count in trial.reasons.items()))
    if trial.is_over_budget:
        console.print("over the budget of quarantined records in all")
    if trial.would_stop:
        console.print("a worker with these rules would stop on records like these")
