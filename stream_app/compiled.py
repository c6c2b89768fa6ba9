"""The compiled parts, read through ctypes, where the package was built with a C compiler."""

from __future__ import annotations

import ctypes
import sysconfig
from pathlib import Path
from typing import Any

import numpy as np


def library_path(name: str) -> Path:
    """Return where a part's library is, if it was built."""
    return Path(__file__).with_name(f"lib{name}{sysconfig.get_config_var('SHLIB_SUFFIX') or '.so'}")


def load(name: str) -> ctypes.CDLL | None:
    """Return a compiled part; None where the package was built without a compiler."""
    try:
        return ctypes.CDLL(str(library_path(name)))
    except OSError:
        return None


def address(memory: Any) -> ctypes.c_void_p:
    """Return where the memory of a numpy array or of an Arrow buffer begins."""
    return ctypes.c_void_p(memory.ctypes.data if isinstance(memory, np.ndarray) else memory.address)
