"""Links between the documents, and what the runbook says reproduces a failure, lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]


def anchors(path: Path) -> set[str]:
    """The anchors that GitHub gives to headings."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_within_the_project_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", document.read_text(encoding="utf-8")):
        place, _, anchor = target.partition("#")
        found = (document.parent / place).resolve() if place else document
        assert found.exists(), target
        assert not anchor or anchor in anchors(found), target


def test_every_document_is_linked_from_one_that_the_readme_leads_to() -> None:
    reached: set[Path] = set()
    ahead = [ROOT / "README.md"]
    while ahead:
        document = ahead.pop()
        if document in reached:
            continue
        reached.add(document)
        for target in re.findall(r"\]\((?!https?:)([^)\s#]+)", document.read_text(encoding="utf-8")):
            place = (document.parent / target).resolve()
            ahead += place.glob("*.md") if place.is_dir() else [place] if place.suffix == ".md" else []
    assert set() == set(DOCUMENTS) - reached


def test_decisions_have_numbers_of_their_own() -> None:
    numbers = [path.name.partition("-")[0] for path in (ROOT / "docs/decisions").glob("*.md")]
    assert sorted(set(numbers)) == sorted(numbers)


@pytest.mark.parametrize(
    "name", ["runbook", "deploy", "security", "delivery", "ingest", "kinesis", "privacy", "upgrade"]
)
def test_files_that_a_document_names_are_there(name: str) -> None:
    text = (ROOT / f"docs/{name}.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:tests|deploy|docs)/[\w/.-]+)`", text))
    assert named
    assert [] == [path for path in sorted(named) if not (ROOT / path).exists()]


def test_every_chapter_of_the_runbook_says_how_it_is_reproduced() -> None:
    chapters = re.split(r"^### ", (ROOT / "docs/runbook.md").read_text(encoding="utf-8"), flags=re.M)[1:]
    failures = [chapter for chapter in chapters if "**Seen**" in chapter]
    assert len(failures) >= 20
    assert [] == [chapter.splitlines()[0] for chapter in failures if "**Reproduced**" not in chapter]


def test_every_metric_is_in_the_documents_and_no_other() -> None:
    code = "".join((ROOT / path).read_text() for path in ("stream_app/metrics.py", "playlake/compactor_metrics.py"))
    made = set(re.findall(r'(?:_counter|_gauge|Histogram|Summary)\(\s*"(?:playlake_)?([a-z_]+)"', code))
    made |= set(re.findall(r'"playlake_([a-z_]+)",', code))
    text = (ROOT / "docs/deploy.md").read_text(encoding="utf-8")
    told = {name.removesuffix("_total") for name in re.findall(r"playlake_([a-z_]+)", text)}
    assert made - {"table_bytes", "table_rows"} == told
