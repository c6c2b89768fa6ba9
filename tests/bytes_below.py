"""Which files below a folder match a pattern: as they lie there, and in Parquet in any column, unpacked."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq


def files_with(folder: Path | str, pattern: bytes) -> list[str]:
    """Paths, from the folder on, of files in which a regular expression is found; the paths are looked at, too."""
    root = Path(folder)
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return [
        str(path.relative_to(root))
        for path in files
        if any(
            re.search(pattern, data)
            for data in (str(path.relative_to(root)).encode(), path.read_bytes(), *_unpacked(path))
        )
    ]


def _unpacked(path: Path) -> Iterator[bytes]:
    if path.suffix != ".parquet":
        return
    yield str(pq.read_metadata(path).to_dict()).encode()
    for row in pq.ParquetFile(path).read().to_pylist():
        yield from _leaves(row)


def _leaves(value: Any) -> Iterator[bytes]:
    if isinstance(value, dict):
        value = [*value.keys(), *value.values()]
    if isinstance(value, list | tuple):
        for each in value:
            yield from _leaves(each)
    else:
        yield value if isinstance(value, bytes) else str(value).encode()
