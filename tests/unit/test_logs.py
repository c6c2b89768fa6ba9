"""Log lines as JSON: one object each, with the fields of a flush."""

import datetime as dt
import json
import logging
import sys

from playlake.logs import JsonFormatter


def line(message: str, *arguments: object, **given: object) -> dict[str, object]:
    record = logging.makeLogRecord(
        {"name": "stream_app.app", "levelname": "INFO", "msg": message, "args": arguments, "created": 0.25, **given}
    )
    text = JsonFormatter().format(record)
    assert "\n" not in text
    found: dict[str, object] = json.loads(text)
    return found


def test_a_line_says_when_how_bad_who_and_what():
    assert {
        "time": "1970-01-01T00:00:00.250+00:00",
        "level": "INFO",
        "logger": "stream_app.app",
        "message": "reading 2 of\nmany",
    } == line("reading %d of\nmany", 2)


def test_a_flush_brings_its_rows_positions_and_times_as_values():
    fields = {"rows": {"silver": 2}, "positions": {"t/id/0": 41}, "seconds": {"silver": 0.012}}
    found = line("flushed", **fields)
    assert fields == {name: found[name] for name in fields}


def test_what_is_no_json_value_is_text():
    assert "1970-01-01" in str(line("x", rows={"day": dt.date(1970, 1, 1)})["rows"])


def test_a_traceback_stays_on_the_line():
    try:
        raise ZeroDivisionError("a bug")
    except ZeroDivisionError:
        found = line("failed", exc_info=sys.exc_info())
    assert "ZeroDivisionError: a bug" in str(found["traceback"])
