#!/usr/bin/env python3
"""Known vulnerabilities of what the image holds, by pip-audit, from the lock.

    tools/audit.py                     exit code 0: none; 1: some, named; 2: not all could be asked about
    tools/audit.py --where-reachable   the same, but what can't be asked about is told and is no failure (CI)

Needs uv. pip-audit by itself says "No known vulnerabilities found" also where its service knew none of the packages.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

PIP_AUDIT = "pip-audit==2.10.1"
_LOCKED = ("uv", "export", "--frozen", "--quiet", "--no-dev", "--extra=dashboard", "--no-emit-project", "--no-header")


def ask() -> dict[str, Any] | str:
    """What pip-audit found, or why it could not look."""
    with tempfile.TemporaryDirectory() as folder:
        locked, found = Path(folder) / "requirements.txt", Path(folder) / "found.json"
        try:
            subprocess.run([*_LOCKED, "--output-file", str(locked)], check=True, stdout=subprocess.DEVNULL)  # noqa: S603
            flags = ["--disable-pip", "--require-hashes", "--requirement", str(locked), "--timeout", "20"]
            command = ["uvx", "--quiet", PIP_AUDIT, *flags, "--format", "json", "--output", str(found)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=300)  # noqa: S603
        except (OSError, subprocess.SubprocessError) as error:
            return str(error)
        if not found.is_file():
            return (done.stderr.strip().splitlines() or ["pip-audit said nothing"])[-1]
        answer: dict[str, Any] = json.loads(found.read_text(encoding="utf-8"))
        return answer


def judge(answer: dict[str, Any] | str, where_reachable: bool) -> tuple[int, list[str]]:
    """Return exit code and lines to print for what `ask` returned."""
    unasked = 0 if where_reachable else 2
    if isinstance(answer, str):
        return unasked, [f"audit: NOT DONE: {answer[:300]}"]
    packages = answer["dependencies"]
    skipped = [each for each in packages if "skip_reason" in each]
    lines = [
        f"audit: {each['name']} {each['version']}: {fault['id']}, fixed in {', '.join(fault['fix_versions']) or 'none'}"
        for each in packages
        for fault in each.get("vulns", [])
    ]
    code = 1 if lines else 0
    lines.append(f"audit: {len(packages) - len(skipped)} of {len(packages)} packages asked about")
    if skipped or not packages:
        reason = skipped[0]["skip_reason"] if skipped else "the lock names no package"
        lines.append(f"audit: NOT DONE for {len(skipped)}: {reason}")
        code = code or unasked
    return code, lines


def main() -> int:
    """Ask and tell."""
    parser = argparse.ArgumentParser(description="Known vulnerabilities of what the image holds.")
    parser.add_argument("--where-reachable", action="store_true", help="what can't be asked about is no failure")
    code, lines = judge(ask(), parser.parse_args().where_reachable)
    print("\n".join(lines))
    return code


if __name__ == "__main__":
    sys.exit(main())
