"""The shell commands of a document, and where each stands: `commands(path)`.

A code block, indented or fenced as `sh`, whose first word is a program is a block of commands; any other is a picture,
a file, SQL. A block under a paragraph that begins with **Needs …** needs something that a test does not have.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

_PROGRAMS = {"aws", "cp", "curl", "docker", "kubectl", "make", "playlake", "run", "terraform", "uv"}


@dataclass(frozen=True)
class Command:
    """One line of a block.

    Attributes:
        where: `README.md:17`.
        text: as the document has it.
        needs: what the paragraph before says that it needs, such as `Docker`; None where that is nothing special.
    """

    where: str
    text: str
    needs: str | None


def commands(path: Path) -> list[Command]:
    """Return the commands of a Markdown document in their order."""
    found, needs = [], None
    for token in MarkdownIt().parse(path.read_text(encoding="utf-8")):
        if token.type == "inline" and token.map:
            match = re.match(r"\*\*Needs ([^*.]+?)\.?\*\*", token.content)
            needs = match[1] if match else None
        elif token.type == "code_block" or (token.type == "fence" and token.info.strip() == "sh"):
            assert token.map is not None
            first = token.map[0] + (2 if token.type == "fence" else 1)
            lines = token.content.splitlines()
            # a block may begin with a variable
            if any(Path(line.split()[0]).name in _PROGRAMS for line in lines[:2] if line.strip()):
                found += [
                    Command(f"{path.name}:{first + number}", line.strip(), needs)
                    for number, line in enumerate(lines)
                    if line.strip() and not line.lstrip().startswith("#")
                ]
    return found
