"""The data dictionary says every column of every table, and the file in the tree is what the tool prints."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from compaction import gold_files
from playlake.cli import main
from playlake.dictionary import markdown, tables
from schemas.dictionary import MEANINGS, PURPOSES
from schemas.event import LATER_NUMBER_FIELDS, LATER_TEXT_FIELDS
from schemas.tables import TABLES

FILE = Path(__file__).parents[2] / "docs" / "data_dictionary.md"


def test_the_file_is_what_the_tool_prints():
    assert markdown() == FILE.read_text(encoding="utf-8"), "run: playlake schema dictionary > docs/data_dictionary.md"


def test_every_column_has_a_meaning_and_no_other_has():
    assert {name: set(spec.schema.names) for name, spec in TABLES.items()} == {
        name: set(columns) for name, columns in MEANINGS.items()
    }
    assert set(TABLES) == set(PURPOSES)


def test_every_table_has_its_section_and_every_row_three_cells():
    lines = markdown().splitlines()
    tables = {line.removeprefix("## ") for line in lines if line.startswith("## ")}
    assert {"event", *TABLES, *(f"gold.{name}" for name in gold_files.table_names())} == tables
    assert {4} == {line.replace("\\|", "").count("|") for line in lines if line.startswith("|")}


def test_every_table_is_made_of_tables_that_are_there_down_to_the_event():
    made_of = {table.name: table.reads for table in tables()}
    assert () == made_of.pop("event")
    for name, reads in made_of.items():
        assert reads, name
        reached, left = set(), [name]
        while left:
            left += [each for each in made_of.get(left.pop(), ()) if each not in reached and not reached.add(each)]
        assert "event" in reached, name
    assert ("silver",) == made_of["gold.device_mix"], "by way of a file that only others read"


def test_the_events_fields_say_since_which_version_they_are_there():
    [event] = [table for table in tables() if table.name == "event"]
    later = {column.name for column in event.columns if column.meaning.endswith("Since version 2.")}
    assert {*LATER_TEXT_FIELDS, *LATER_NUMBER_FIELDS} == later


def test_all_three_formats_say_the_same_columns(capsys):
    assert 0 == main(["schema", "dictionary", "--format", "json"])
    told = {
        (table["name"], column["name"]) for table in json.loads(capsys.readouterr().out) for column in table["columns"]
    }
    assert {(table.name, column.name) for table in tables() for column in table.columns} == told
    assert 0 == main(["schema", "dictionary", "--format", "html"])
    page = capsys.readouterr().out
    assert len(told) == page.count("<tr><td><code>")
    assert "`" not in page
    assert page.count("<code>") == page.count("</code>")
    assert 0 == main(["schema", "dictionary"])
    assert markdown() == capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["check"], "check needs two schemas"),
        (["check", "old.avsc"], "check needs two schemas"),
        (["dictionary", "old.avsc"], "--format md, html or json alone"),
        (["dictionary", "--format", "pdf"], "--format"),
    ],
)
def test_a_mistake_is_one_line(capsys, words, said):
    try:
        code = main(["schema", *words])
    except SystemExit as stopped:  # argparse's own
        code = stopped.code
    assert 2 == code
    assert said in capsys.readouterr().err.strip().split("\n")[-1]
