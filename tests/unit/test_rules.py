"""A lake's own rules: what each action does to a record, and what is wrong with a file of rules."""

import atexit
import functools
from pathlib import Path

import pyarrow as pa
import pytest

from schemas.errors import ConfigError
from stream_app.catalogue import TITLES
from stream_app.process import BUILT_IN, Processor
from stream_app.rules import Rule, RuleSet, read_rules, shipped_rules
from tests.processing import FILM
from tests.records import event_bytes, records


def rule(name: str, condition: str, action: str = "warn", **more: object) -> Rule:
    return Rule(name=name, condition=condition, action=action, message=f"{name} it is", **more)


@functools.cache
def processor(*rules: Rule) -> Processor:
    made = Processor(
        pa.Table.from_pylist([FILM], schema=TITLES),
        pa.table({"code": ["DE"], "region": ["Europe"]}),
        RuleSet(rules, version=3),
    )
    atexit.register(made.close)
    return made


def fate(value: bytes, *rules: Rule) -> tuple[str, dict, tuple[int, ...]]:
    out = processor(*rules)(records([value]))
    [row] = (out.silver if out.silver.num_rows else out.quarantine).to_pylist()
    return ("silver" if out.silver.num_rows else "quarantine"), row, out.broken


def test_warn_keeps_the_record_and_says_so_after_the_built_in_warnings():
    table, row, broken = fate(event_bytes(country="ZZ"), rule("odd", "country = 'ZZ'"), rule("even", "country = 'DE'"))
    assert ("silver", ["unknown_country", "rule:odd"], (1, 0)) == (table, row["warnings"], broken)


def test_quarantine_refuses_a_valid_record_with_every_rule_it_breaks():
    bad_app = rule("bad_app", "app_version like '5.%'", "quarantine")
    at_home = rule("at_home", "title_is_known", "quarantine")
    table, row, broken = fate(event_bytes(), bad_app, at_home)
    assert ("quarantine", ["rule:bad_app", "rule:at_home"], (1, 1)) == (table, row["reasons"], broken)
    assert "bad_app it is; at_home it is" == row["detail"]
    assert row["rule_set"].startswith(f"{BUILT_IN}+v3-")


def test_null_out_empties_columns_and_what_hangs_on_them():
    hide = rule("hide", "user_id = 'u1'", "null_out", columns=("country", "playhead_s"))
    table, row, _ = fate(event_bytes(), hide)
    assert ("silver", None, None, None) == (table, row["country"], row["region"], row["playhead_s"])
    assert ["unknown_country", "rule:hide"] == row["warnings"]
    assert 0.8 == pytest.approx(row["quality_score"])


def test_a_record_that_is_invalid_anyway_is_not_asked():
    table, row, broken = fate(b"{", rule("nowhere", "country is null", "quarantine"))
    assert ("quarantine", ["malformed_json"], (0,)) == (table, row["reasons"], broken)


def test_null_and_an_error_in_a_condition_mean_that_the_rule_is_not_broken():
    old = rule("old", "cast(app_version as integer) < 5", "quarantine")
    assert "silver" == fate(event_bytes(app_version="new"), old)[0]
    assert "silver" == fate(event_bytes(app_version=None), old)[0]
    assert "quarantine" == fate(event_bytes(app_version="4"), old)[0]


def test_other_rules_make_another_rule_set():
    labels = {RuleSet((rule("a", condition),)).label for condition in ("true", "false")} | {RuleSet().label}
    assert 3 == len(labels)


def test_the_shipped_rules_can_be_asked():
    assert shipped_rules().rules


def write(folder: Path, *rules: str, head: str = "version = 2") -> Path:
    path = folder / "rules.toml"
    path.write_text("\n".join([head, *(f"\n[[rules]]\n{each}" for each in rules)]))
    return path


GOOD = 'name = "good"\ncondition = "true"\naction = "warn"\nmessage = "m"\n'


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (GOOD.replace("true", "nope > 1"), "10: rule 'bad': .*nope"),
        (GOOD.replace("true", "user_id + playhead_s > 1"), "10: rule 'bad': .*No function matches"),
        (GOOD.replace("true", "playhead_s"), "10: rule 'bad': .*type DOUBLE, not BOOLEAN"),
        (GOOD.replace("true", "playhead_s >"), "10: rule 'bad': the condition is no SQL"),
        (GOOD.replace("true", "true) as a, (true"), "10: rule 'bad': the condition is no single SQL expression"),
        (GOOD.replace("true", "user_id in (select 'u1')"), "10: rule 'bad': .*subquery"),
        (GOOD.replace("true", "random() < 0.5"), "10: rule 'bad': random does not give the same each time"),
        (GOOD.replace("true", "event_timestamp > now()"), "10: rule 'bad': now is not the same at every time"),
        (GOOD.replace("true", "event_timestamp > current_timestamp"), "10: .*is not the same at every time"),
        (GOOD.replace("true", "count(*) > 1"), "10: rule 'bad': .*more than one record"),
        (GOOD.replace("true", "row_number() over () > 1"), "10: rule 'bad': .*window function"),
        (GOOD.replace("warn", "ignore"), "10: rule 'bad': action: "),
        (GOOD.replace("warn", "null_out"), "10: rule 'bad': .*columns"),
        (GOOD + "since = 3\n", "10: rule 'bad': since = 3 is above the file's version = 2"),
        (GOOD + "budget = 2\n", "10: rule 'bad': budget: "),
        (GOOD + "colour = 1\n", "10: rule 'bad': colour: there is no such setting"),
    ],
)
def test_a_rule_that_cannot_be_asked_is_named_with_its_line(tmp_path, text, told):
    path = write(tmp_path, GOOD, text.replace('"good"', '"bad"'))
    with pytest.raises(ConfigError, match=told) as error:
        read_rules(path)
    assert "\n" not in str(error.value)


def test_a_file_that_is_none_and_a_name_that_comes_twice_are_said_so(tmp_path):
    with pytest.raises(ConfigError, match="can't be read"):
        read_rules(tmp_path / "nowhere.toml")
    with pytest.raises(ConfigError, match="10: rule 'good': there is another rule of this name"):
        read_rules(write(tmp_path, GOOD, GOOD))
    with pytest.raises(ConfigError, match="budgets: there is no such setting"):
        read_rules(write(tmp_path, GOOD, head="budgets = 1"))
