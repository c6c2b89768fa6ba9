"""What is delivered beside our own code: its licences, its known faults, and what names it."""

from __future__ import annotations

import importlib.metadata
import re
from types import ModuleType

import pytest
from packaging.requirements import Requirement

from tests.deploy.tools import load

PERMISSIVE = re.compile(
    r"apache|\bmit\b|bsd|0bsd|psf|python software|zlib|cc0|isc|unlicense|mpl-?2|mozilla public license 2|repoze", re.I
)
"""MPL 2.0 asks for changes of its own files alone: none is changed."""
COPYLEFT = re.compile(r"\b[AL]?GPL|affero|general public|\bSSPL|\bBUSL|business source", re.I)


def delivered() -> dict[str, importlib.metadata.Distribution]:
    """Name → package, of all that `playlake[dashboard]` needs here."""
    found: dict[str, importlib.metadata.Distribution] = {}

    def walk(name: str, extras: set[str]) -> None:
        key = re.sub(r"[-_.]+", "-", name).lower()
        if key in found:
            return
        found[key] = importlib.metadata.distribution(name)
        for text in found[key].requires or []:
            needed = Requirement(text)
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in {"", *extras}):
                walk(needed.name, needed.extras)

    walk("playlake", {"dashboard"})
    return found


def licence(package: importlib.metadata.Distribution) -> str:
    """What a package says of its licence: the expression, else the field's first line and the classifiers."""
    metadata = package.metadata
    if metadata.get("License-Expression"):
        return str(metadata["License-Expression"])
    classifiers = [line for line in metadata.get_all("Classifier") or [] if line.startswith("License ::")]
    return " | ".join([*(metadata.get("License") or "").splitlines()[:1], *classifiers])


def test_what_is_delivered_is_under_permissive_licences() -> None:
    packages = delivered()
    assert len(packages) >= 60
    told = {name: licence(package) for name, package in packages.items()}
    assert {} == {name: text for name, text in told.items() if not PERMISSIVE.search(text) or COPYLEFT.search(text)}


@pytest.mark.parametrize("text", ["GPL-3.0-only", "GNU Affero General Public License v3", "LGPLv2+", "BUSL-1.1"])
def test_a_licence_that_asks_for_more_is_seen(text: str) -> None:
    assert COPYLEFT.search(text)


# ---------------------------------------------------------------- tools/audit.py


@pytest.fixture(scope="module")
def audit() -> ModuleType:
    return load("audit")


SOUND = {"name": "a", "version": "1", "vulns": []}
FAULTY = {"name": "b", "version": "2", "vulns": [{"id": "PYSEC-1", "fix_versions": ["3"], "aliases": []}]}
UNKNOWN = {"name": "c", "skip_reason": "not found"}


@pytest.mark.parametrize(
    ("answer", "code", "lenient", "said"),
    [
        ({"dependencies": [SOUND]}, 0, 0, "1 of 1 packages asked about"),
        ({"dependencies": [SOUND, FAULTY]}, 1, 1, "b 2: PYSEC-1, fixed in 3"),
        ({"dependencies": [SOUND, UNKNOWN]}, 2, 0, "NOT DONE for 1: not found"),
        ({"dependencies": [FAULTY, UNKNOWN]}, 1, 1, "b 2: PYSEC-1, fixed in 3"),
        ({"dependencies": []}, 2, 0, "NOT DONE for 0"),
        ("no network", 2, 0, "NOT DONE: no network"),
    ],
    ids=["sound", "faulty", "not all asked about", "faulty and unknown", "empty", "not reachable"],
)
def test_an_audit_that_was_not_done_is_not_taken_for_a_good_one(
    audit: ModuleType, answer: object, code: int, lenient: int, said: str
) -> None:
    found, lines = audit.judge(answer, False)
    assert code == found
    assert said in "\n".join(lines)
    assert lenient == audit.judge(answer, True)[0]
