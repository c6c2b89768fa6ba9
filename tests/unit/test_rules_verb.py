"""`playlake rules test` on a file of records: what a changed rule set would do, told and as JSON."""

import json
from pathlib import Path

import pytest

from playlake.cli import main
from tests.records import event_bytes

RULES = """
version = 1
[[rules]]
name = "no_tablets"
condition = "device_type = 'tablet'"
action = "{action}"
message = "m"
{more}
"""


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    path = tmp_path / "sample.jsonl"
    path.write_bytes(
        b"\n".join([*(event_bytes(n, device_type="tablet" if n < 20 else "web") for n in range(198)), b"{", b""])
    )
    return path


def tried(capsys, tmp_path: Path, sample: Path, action: str, more: str = "", *flags: str) -> tuple[int, str]:
    (tmp_path / "rules.toml").write_text(RULES.format(action=action, more=more))
    code = main(["rules", "test", "--rules", str(tmp_path / "rules.toml"), "--sample", str(sample), *flags])
    return code, capsys.readouterr().out


def test_what_would_move_is_counted_against_the_rules_of_today(capsys, tmp_path, sample):
    code, out = tried(capsys, tmp_path, sample, "quarantine", "", "--json")
    told = json.loads(out)
    assert 0 == code
    assert (199, 1, 21) == (told["records"], told["quarantined_before"], told["quarantined_after"])
    assert [{"from": "silver", "to": "quarantine", "records": 20}] == told["moves"]
    [rule] = told["rules"]
    assert (20, ["sample.jsonl[0]@0", "sample.jsonl[0]@1", "sample.jsonl[0]@2"]) == (rule["broken"], rule["examples"])


@pytest.mark.parametrize(
    ("action", "more", "says"),
    [
        ("warn", "budget = 0.1", "10.0% over"),
        ("fail", "", "no_tablets"),
        ("quarantine", "[budget]\nquarantined = 0.1", "over the budget of quarantined"),
    ],
)
def test_a_rule_set_that_would_stop_the_worker_is_a_no(capsys, tmp_path, sample, action, more, says):
    code, out = tried(capsys, tmp_path, sample, action, more)
    assert 1 == code
    assert says in out
    assert "would stop" in out


def test_within_its_budget_it_is_a_yes(capsys, tmp_path, sample):
    code, out = tried(capsys, tmp_path, sample, "warn", "budget = 0.2")
    assert (0, False) == (code, "would stop" in out)


def test_as_many_records_as_wanted_are_looked_at(capsys, tmp_path, sample):
    _, out = tried(capsys, tmp_path, sample, "warn", "", "--json", "--records", "30")
    assert 30 == json.loads(out)["records"]
