"""The data dictionary says every column of every table, and the file in the tree is what the tool prints."""

from __future__ import annotations

from pathlib import Path

from compaction import gold_files
from playlake.dictionary import markdown
from schemas.dictionary import MEANINGS, PURPOSES
from schemas.tables import TABLES

FILE = Path(__file__).parents[2] / "docs" / "tables.md"


def test_the_file_is_what_the_tool_prints():
    assert markdown() == FILE.read_text(encoding="utf-8"), "run: python -m playlake.dictionary > docs/tables.md"


def test_every_column_has_a_meaning_and_no_other_has():
    assert {name: set(spec.schema.names) for name, spec in TABLES.items()} == {
        name: set(columns) for name, columns in MEANINGS.items()
    }
    assert set(TABLES) == set(PURPOSES)


def test_every_table_has_its_section_and_every_row_three_cells():
    lines = markdown().splitlines()
    tables = {line.removeprefix("## ") for line in lines if line.startswith("## ")}
    assert {*TABLES, *(f"gold.{name}" for name in gold_files.table_names())} == tables
    assert {4} == {line.replace("\\|", "").count("|") for line in lines if line.startswith("|")}
