r"""Strata: hypercubes of the unit cube that get points where the integrand varies.

G. P. Lepage, "Adaptive multidimensional integration: VEGAS enhanced", arXiv:2009.05112, section 3:
hypercubes of equal volume, with :math:`n_h \propto \sigma_h^\beta` points each and at least two.

Shapes: D dimensions, H hypercubes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["allocate", "divide", "transfer"]

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

# More hypercubes than this cost memory and gain nothing that points in them would not.
MOST = 5_000_000


def divide(dimension: int, hypercubes: float) -> Indices:
    """Into how many parts to cut each axis.

    Args:
        dimension: D.
        hypercubes: how many there may be at most, 1 or more.

    Returns:
        Numbers of parts that differ by one at most, shape (D,).
    """
    hypercubes = min(hypercubes, MOST)
    parts = max(int(hypercubes ** (1 / dimension) + 1e-9), 1)
    divisions = np.full(dimension, parts, np.int64)
    for axis in range(dimension):
        # In floating point, as the product may be larger than any integer.
        if float(np.prod(divisions, dtype=np.float64)) / parts * (parts + 1) > hypercubes:
            break
        divisions[axis] += 1
    return divisions


def allocate(shares: Array, calls: int, least: int = 2) -> Indices:
    """Numbers of points in proportion to shares, adding up to the calls exactly.

    Each stratum gets `least` points, the rest is shared out; rounding is carried from one to the
    next, so that none drifts.

    Args:
        shares: not negative, shape (H,); equal where all are zero.
        calls: how many points in all, `least` times H or more.
        least: points in every stratum.
    """
    total = shares.sum()
    if not 0 < total < np.inf:
        shares, total = np.ones_like(shares), float(len(shares))
    spare = calls - least * len(shares)
    ends = np.floor(np.cumsum(shares) * (spare / total) + 1e-9).astype(np.int64)
    ends[-1] = spare
    counts: Indices = np.diff(np.minimum(ends, spare), prepend=0) + least
    return counts


def transfer(shares: Array, before: Indices, now: Indices) -> Array:
    """Shares of the hypercubes of one division from those of another, by their centres.

    Args:
        shares: of the hypercubes before, the last axis running fastest.
        before: parts of each axis that the shares are of, shape (D,).
        now: parts of each axis wanted, shape (D,).
    """
    cut = np.flatnonzero((before > 1) | (now > 1))
    square = shares.reshape(before[cut])
    for place, axis in enumerate(cut):
        centres = (np.arange(now[axis]) + 0.5) / now[axis]
        square = np.take(square, (centres * before[axis]).astype(np.int64), place)
    return square.ravel()
