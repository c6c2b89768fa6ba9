"""Rules of a repair as a file: fields of the user's own, bounds, and what is wrong with a file."""

import datetime as dt

import pytest

from compaction.repair import preview, repair
from compaction.repair_rules import read_rules, shipped_rules
from schemas.errors import ConfigError
from tests import lakes

HEAD = '[plausible]\nafter = 2001-01-01T00:00:00Z\nahead = "1d"\n'


def rules(tmp_path, text):
    path = tmp_path / "rules.toml"
    path.write_text(text)
    return read_rules(path)


def test_a_field_of_the_users_own_is_read_by_path_and_form(tmp_path):
    lake = lakes.make(tmp_path)
    sent = {"meta": {"sent_at": 1_795_000_000_000}}
    lakes.append(lake, "silver", [lakes.undated(payload_fields=sent, client_ts="2026-11-20T20:30:00Z")])
    own = rules(tmp_path, HEAD + '[[source]]\nfield = "meta.sent_at"\nforms = ["milliseconds"]\n')
    assert ["meta.sent_at in milliseconds"] == [line.found_in for line in preview(lake, own)]
    repair(lake, own)
    expected = dt.datetime.fromtimestamp(1_795_000_000, dt.UTC)
    assert [(expected, "payload")] == lakes.rows(lake, "select event_timestamp, event_date_source from silver")


def test_only_the_forms_that_are_named_are_read(tmp_path):
    lake = lakes.make(tmp_path)
    lakes.append(lake, "silver", [lakes.undated(client_ts="2026-11-20T20:30:00Z")])
    own = rules(tmp_path, HEAD + '[[source]]\nfield = "client_ts"\nforms = ["seconds"]\n')
    assert ["no usable time"] == [line.why_not for line in preview(lake, own)]


def test_bounds_decide_what_is_plausible(tmp_path):
    lake = lakes.make(tmp_path)
    lakes.append(lake, "silver", [lakes.undated(client_ts="1999-05-01T00:00:00Z")])
    assert ["broker"] == [line.event_date_source for line in preview(lake)]
    older = HEAD.replace("2001", "1990") + '[[source]]\nfield = "client_ts"\n'
    assert [dt.date(1999, 5, 1)] == [line.event_date for line in preview(lake, rules(tmp_path, older))]


def test_the_shipped_file_reads_event_ts_then_client_ts_then_the_broker():
    assert [("event_ts", False), ("client_ts", False), (None, True)] == [
        (source.field, source.broker) for source in shipped_rules().source
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[plausible", "are no TOML"),
        (HEAD, "source: Field required"),
        (HEAD + "[[source]]\nfeild = 'a'\n", r"source.0.feild: Extra inputs are not permitted"),
        (HEAD + "[[source]]\nfield = 'a'\nforms = ['minutes']\n", r"source.0.forms.0: Input should be 'seconds'"),
        (HEAD + '[[source]]\nfield = "a\' or 1"\n', r"source.0.field: .*write a field's name"),
        (HEAD + "[[source]]\nfield = 'a'\nbroker = true\n", "write either field or broker"),
        (HEAD + "[[source]]\n", "write either field or broker"),
        (HEAD + "[[source]]\nfield = 'a'\nforms = []\n", "forms is empty"),
        (HEAD.replace('"1d"', '"soon"') + "[[source]]\nbroker = true\n", "plausible.ahead: .*such as 1d"),
        (HEAD.replace("T00:00:00Z", "") + "[[source]]\nbroker = true\n", "plausible.after: "),
    ],
)
def test_a_file_that_is_not_understood_is_named_with_the_key(tmp_path, text, message):
    with pytest.raises(ConfigError, match=rf"repair rules {tmp_path}/rules.toml.*{message}"):
        rules(tmp_path, text)


def test_a_file_that_is_not_there_is_said(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere.toml can't be read: .*No such file"):
        read_rules(tmp_path / "nowhere.toml")
