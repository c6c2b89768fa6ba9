"""Keeping out of a long-running process what it has no use for."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

_OBJECTS_BETWEEN_COLLECTIONS: Final = 200_000


@contextmanager
def lean() -> Iterator[None]:
    """Start without pandas, without numpy's threads, with few collections of cycles; call it before either is imported.

    - Where pandas is installed (the dashboard needs it), pyarrow imports it with the first list that becomes an array,
      to see whether that is one of its own: 0.3 CPU-seconds and 33 MB for every worker. Here it is told there is none.
    - numpy's linear algebra, which nobody uses here, starts a thread that spins for 0.1 CPU-seconds.
    - The cycle collector runs dozens of times while modules are imported, and again for each fetch; it finds nothing.
    """
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    finder = _NoPandas()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


class _NoPandas:
    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name == "pandas":
            raise ModuleNotFoundError("No module named 'pandas'", name=name)
