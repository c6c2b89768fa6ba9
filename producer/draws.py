"""Chance that comes out the same on every machine.

All of it is integer arithmetic on raw 64-bit draws of PCG64, whose stream numpy guarantees; the distributions of
`numpy.random` and floating-point functions may differ between versions and processors in the last bit. A distribution
is a table of rounded quantiles or shares instead, looked up with some bits of a draw.
"""

from __future__ import annotations

import itertools
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
SmallInts = NDArray[np.int32 | np.int64]
Bits = NDArray[np.uint64]
Codes = NDArray[np.int8]
Flags = NDArray[np.bool_]

NORMAL_QUANTILES: Final = tuple(NormalDist().inv_cdf((step + 0.5) / 256) for step in range(256))


def draw(count: int, *key: int) -> Bits:
    """Return `count` raw 64-bit draws; the same for the same non-negative key, on any machine."""
    return np.random.PCG64(np.random.SeedSequence(key)).random_raw(count).astype(np.uint64, copy=False)


def field(bits: Bits, low_bit: int, width: int) -> Ints:
    """Return `width` bits of every draw, from `low_bit` on, as numbers from 0 on."""
    return ((bits >> np.uint64(low_bit)) & np.uint64((1 << width) - 1)).astype(np.int64)


def lookup(weights: list[float], size: int) -> Ints:
    """Return `size` indexes in which each index's share is its weight's, so that a uniform draw picks by weight."""
    total = sum(weights)
    edges = [round(size * edge / total) for edge in itertools.accumulate(weights)]
    return np.repeat(np.arange(len(weights)), np.diff(np.array([0, *edges])))
