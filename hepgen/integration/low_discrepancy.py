r"""Randomised low-discrepancy points: Sobol nets, each scrambled anew.

I. M. Sobol, USSR Comput. Math. Math. Phys. 7 (1967) 86, with the direction numbers of S. Joe and
F. Y. Kuo, SIAM J. Sci. Comput. 30 (2008) 2635, as torch brings them. Scrambled by random
lower-triangular binary matrices and a digital shift: J. Matoušek, J. Complexity 14 (1998) 527. The
variance is that of A. B. Owen's nested scrambling, Ann. Stat. 25 (1997) 1541: never much above that
of random points, and falling up to :math:`n^{-3}` for smooth integrands of n points.

Points of one net depend on each other. Several nets, scrambled independently, tell the error.

Shapes: B points, D dimensions, R replicates of n = 2^m points each.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray

__all__ = ["replicates", "scrambled_sobol"]

Array = NDArray[np.float64]
Bits = NDArray[np.uint64]

# What torch knows direction numbers for, and how long they are.
MOST_DIMENSIONS = torch.quasirandom.SobolEngine.MAXDIM
LENGTH = 30
BITS = 53


def replicates(calls: int, least: int = 16) -> tuple[int, int]:
    """How to share calls between nets, whose sizes are powers of two.

    Args:
        calls: points in all, at most.
        least: nets wanted at least, as long as there are that many calls.

    Returns:
        Number of nets, from ``least`` to twice that, and the size of each.
    """
    size = 1
    while 2 * size * least <= calls and size < 2**LENGTH:
        size *= 2
    return calls // size, size


def scrambled_sobol(dimension: int, number: int, size: int, rng: np.random.Generator) -> Array:
    """Nets of points, scrambled independently, one after the other.

    Args:
        dimension: D.
        number: of nets, R.
        size: points of each, a power of two.
        rng: where the scrambling comes from.

    Returns:
        Points in [0, 1)^D, multiples of 2^-53, shape (R * size, D).

    Raises:
        ValueError: a size that is no power of two up to 2^30, or more dimensions than there are
            direction numbers for.
    """
    if size < 1 or size & (size - 1) or size > 2**LENGTH:
        raise ValueError(f"a net has a power of two of points, up to 2^{LENGTH}; got {size}")
    if dimension > MOST_DIMENSIONS:
        raise ValueError(
            f"there are direction numbers for {MOST_DIMENSIONS} dimensions, wanted {dimension}"
        )
    columns = max(size.bit_length() - 1, 1)
    shape = number, dimension, columns
    lower = rng.integers(0, 2**BITS, shape, dtype=np.uint64)
    shift = rng.integers(0, 2**BITS, shape[:2], dtype=np.uint64)
    points = np.empty((number * size, dimension))
    _fill(_directions(dimension), lower, shift, size, points)
    return points


@functools.lru_cache(maxsize=8)
def _directions(dimension: int) -> Bits:
    """Direction numbers as integers of `LENGTH` bits, shape (D, LENGTH)."""
    engine = torch.quasirandom.SobolEngine(dimension)  # type: ignore[no-untyped-call]
    directions: Bits = engine.sobolstate.numpy().astype(np.uint64)
    return directions


@njit(cache=True, nogil=True, error_model="numpy")
def _fill(directions: Bits, lower: Bits, shift: Bits, size: int, points: Array) -> None:
    """Scramble the direction numbers of each net, then walk through it in Gray code order."""
    number, dimension, columns = lower.shape
    one = np.uint64(1)
    scrambled = np.empty((columns, dimension), np.uint64)
    for r in range(number):
        for d in range(dimension):
            for j in range(columns):
                # Bit c from the top moves to column c of a lower-triangular matrix with a diagonal
                # of ones; direction j has none below bit j.
                direction = np.uint64(0)
                for c in range(j + 1):
                    if (directions[d, j] >> np.uint64(LENGTH - 1 - c)) & one:
                        diagonal = one << np.uint64(BITS - 1 - c)
                        direction ^= diagonal | (lower[r, d, c] & (diagonal - one))
                scrambled[j, d] = direction
        current = shift[r].copy()
        first = r * size
        for i in range(size):
            if i > 0:
                j = 0
                while not (i >> j) & 1:
                    j += 1
                for d in range(dimension):
                    current[d] ^= scrambled[j, d]
            for d in range(dimension):
                points[first + i, d] = current[d] * 2.0**-BITS
