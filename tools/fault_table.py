"""What the fault suite has shown: of each fault, which seeds ran and how they ended, from JUnit files of its runs.

`make fault` ends with it. Prints a table in Markdown; exit code 1 says that something failed.
"""

from __future__ import annotations

import argparse
import re
import sys
import xml.etree.ElementTree as ET
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

_NAME = re.compile(r"test_(?P<fault>\w+?)(?:\[(?P<variant>.*)\])?")
_SEED = re.compile(r"(?:^|-)seed(\d+)(?=-|$)")


def main() -> int:
    """Print the table of the files named on the command line; return how the process is to end."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", nargs="+", type=Path, help="JUnit file of a run, as pytest's --junitxml writes it")
    rows, failed = table(parser.parse_args().file)
    print("| fault | variants | seeds | runs | failed |\n|---|---|---|---|---|")
    print("\n".join(rows))
    return 1 if failed else 0


def table(files: Iterable[Path]) -> tuple[list[str], int]:
    """Return the table's rows, by module and fault, and how many runs failed."""
    runs: dict[tuple[str, str], dict[tuple[str, int], bool]] = defaultdict(dict)
    for module, fault, variant, seed, passed in (run for file in files for run in _runs(file)):
        known = runs[module, fault].get((variant, seed), True)
        runs[module, fault][variant, seed] = known and passed
    rows = []
    failures = 0
    for (_, fault), ended in sorted(runs.items()):
        variants = {variant for variant, _ in ended}
        seeds = sorted({seed for _, seed in ended if seed >= 0})
        bad = sum(not passed for passed in ended.values())
        failures += bad
        rows.append(f"| {fault.replace('_', ' ')} | {len(variants)} | {_ranges(seeds)} | {len(ended)} | {bad} |")
    return rows, failures


def _runs(file: Path) -> Iterator[tuple[str, str, str, int, bool]]:
    try:
        cases = [*ET.parse(file).getroot().iter("testcase")]  # noqa: S314  # pytest wrote it
    except (OSError, ET.ParseError) as error:
        raise SystemExit(f"fault_table: {file} can't be read: {error}") from None
    for case in cases:
        if case.find("skipped") is not None:
            continue
        match = _NAME.fullmatch(case.get("name", ""))
        if match is None:
            raise SystemExit(f"fault_table: {file}: {case.get('name')!r} is no test of the fault suite")
        variant = match["variant"] or ""
        seed = _SEED.search(variant)
        passed = case.find("failure") is None and case.find("error") is None
        number = int(seed[1]) if seed else -1
        yield case.get("classname", ""), match["fault"], _SEED.sub("", variant), number, passed


def _ranges(numbers: list[int]) -> str:
    """Write ascending numbers as ranges: 0–3, 7."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and parts[-1][-1] == number - 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(f"{part[0]}–{part[-1]}" if len(part) > 1 else str(part[0]) for part in parts) or "no seed"


if __name__ == "__main__":
    sys.exit(main())
