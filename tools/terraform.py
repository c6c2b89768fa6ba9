#!/usr/bin/env python3
"""Hold deploy/terraform to the AWS provider's schema, where neither Terraform nor the provider can be downloaded.

    make terraform

`terraform validate` asks the provider which arguments a resource takes. The bindings that CDK for Terraform generates
from that schema are on npm (37 MB) and name them: each resource's and block's arguments, and which are required.
Types and values of arguments are not looked at.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import hcl2

BINDINGS: Final = "@cdktf/provider-aws@21.22.1"
"""Generated from version 6 of the provider, which versions.tf asks for."""
FOLDER: Final = Path(__file__).resolve().parent.parent / "deploy/terraform"
_OF_TERRAFORM: Final = {"count", "for_each", "depends_on", "provider", "lifecycle"}
_INTERFACE: Final = re.compile(r"export interface (\w+)(?: extends [\w., ]+)? \{(.*?)\n\}", re.DOTALL)
_FIELD: Final = re.compile(r"readonly (\w+)(\??): (\w*)")


@dataclass(frozen=True)
class Argument:
    """One that a block takes.

    Attributes:
        is_required: whether the block must have it.
        type_name: of what is in it, if that is a block.
    """

    is_required: bool
    type_name: str


Blocks = Mapping[str, Mapping[str, Argument]]
"""Type name → argument, in the bindings' spelling → what it is."""


def blocks(declarations: str) -> Blocks:
    """Return what a resource's TypeScript declarations say of its blocks."""
    return {
        name: {field: Argument(not optional, of) for field, optional, of in _FIELD.findall(body)}
        for name, body in _INTERFACE.findall(declarations)
    }


def faults(where: str, body: Mapping[str, Any], known: Blocks, type_name: str) -> Iterator[str]:
    """Give what is wrong with a block's arguments and those of the blocks in it."""
    arguments = known[type_name]
    spelled = {name.lower(): name for name in arguments}
    given = set()
    for label, content in _content(body):
        name = spelled.get(label.replace("_", "").lower())
        if name is None:
            yield f"{where}: {label} is no argument of it"
            continue
        given.add(name)
        for each in content if isinstance(content, list) else [content]:
            if isinstance(each, dict) and arguments[name].type_name in known:
                yield from faults(f"{where}.{label}", each, known, arguments[name].type_name)
    for name, argument in arguments.items():
        if argument.is_required and name not in given:
            yield f"{where}: {name} is missing"


def _content(body: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for label, content in body.items():
        if label == "dynamic":
            for block in content:
                yield from ((name.strip('"'), each["content"]) for name, each in block.items())
        elif label not in _OF_TERRAFORM and not label.startswith("__"):
            yield label, content


def declared(folder: Path) -> Iterator[tuple[str, str, str, Mapping[str, Any]]]:
    """Give kind (`resource` or `data`), type, name and body of all that the AWS provider makes or reads."""
    for path in sorted(folder.glob("*.tf")):
        parsed = hcl2.loads(path.read_text())
        for kind in ("resource", "data"):
            for block in parsed.get(kind, []):
                for type_name, named in block.items():
                    for name, body in named.items():
                        if type_name.strip('"').startswith("aws_"):
                            yield kind, type_name.strip('"'), name.strip('"'), body


def check(folder: Path, archive: Path) -> tuple[int, list[str]]:
    """Return how many resources and data sources there are, and what is wrong with them."""
    wanted: dict[str, list[tuple[str, str, Mapping[str, Any]]]] = {}
    for kind, type_name, name, body in declared(folder):
        short = type_name.removeprefix("aws_").replace("_", "-")
        path = f"package/lib/{'data-aws-' if kind == 'data' else ''}{short}/index.d.ts"
        wanted.setdefault(path, []).append((f"{kind} {type_name}.{name}", short.replace("-", ""), body))
    count, found = sum(map(len, wanted.values())), []
    with tarfile.open(archive) as bindings:
        for member in bindings:  # once through: what is compressed can't be read out of order
            for where, short, body in wanted.pop(member.name, []):
                file = bindings.extractfile(member)
                known = blocks(file.read().decode() if file else "")
                [top] = [each for each in known if re.fullmatch(rf"(dataaws)?{short}a?config", each.lower())]
                found += faults(where, body, known, top)
    found += [f"{where}: the provider has none such" for parts in wanted.values() for where, *_ in parts]
    return count, found


def main() -> int:
    """Fetch the bindings, check every resource and data source, print what is wrong."""
    with tempfile.TemporaryDirectory() as scratch:
        npm = ["npm", "pack", "--silent", "--pack-destination", scratch, BINDINGS]
        try:
            subprocess.run(npm, check=True, stdout=subprocess.DEVNULL)  # noqa: S603  # arguments of ours
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"tools/terraform.py: npm can't fetch {BINDINGS}: {error}", file=sys.stderr)
            return 2
        [archive] = Path(scratch).glob("*.tgz")
        count, found = check(FOLDER, archive)
    print("\n".join(found) or f"{count} resources and data sources have the arguments that {BINDINGS} knows")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
