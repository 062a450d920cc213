"""The k nearest constituents inside each jet, compiled by numba; it releases the GIL.

All distances of a constituent are computed side by side in vector registers; a threshold that
leaves at least k and few more is found by counting, without a branch for each constituent, and only
those left are put in order. No fast arithmetic: which of two that are almost equally near is the
nearer shall not depend on whether a kernel is compiled or comes from numba's cache.
``python -m benchmarks.neighbours`` compares it with torch.

Shapes: B jets, N constituents of all jets end to end, n of one jet, D dimensions, k neighbours;
offsets have B + 1 entries.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["nearest"]

Floats = NDArray[np.float32]
Indices = NDArray[np.int64]

# Non-negative floats are ordered as the integers of the same bits are; those of NaN lie above those
# of infinity.
_INFINITY = np.int32(0x7F800000)
_FACTOR_TWO = np.int32(1 << 23)
_ONE = np.int32(0x3F800000)
# Fewer candidates than this are put in order at once; a threshold may leave k and this many more.
_FEW = 32
_SLACK = 8


@njit(cache=True, nogil=True)
def nearest(points: Floats, offsets: Indices, k: int) -> Indices:
    """The k nearest constituents of the same jet by Euclidean distance, in float32.

    Args:
        points: (N, D) coordinates.
        offsets: (B + 1,) jets in N.
        k: number of neighbours.

    Returns:
        Rows of ``points``, shape (N, k), the nearest first and of equal ones the earlier first; -1
        where the jet has no more. A constituent with a NaN coordinate is nobody's neighbour.
    """
    most = 0
    for jet in range(len(offsets) - 1):
        most = max(most, int(offsets[jet + 1] - offsets[jet]))
    dimensions = points.shape[1]
    # One more than needed: rows of 2**n floats would all fall into the same few cache lines.
    columns = np.empty((dimensions, most + 1), np.float32)
    squares = np.empty(most, np.float32)
    bits = squares.view(np.int32)
    keys = np.empty(most + 1, np.int64)
    ordered = np.empty(most + 1, np.int64)
    neighbours = np.full((len(points), k), -1, np.int64)
    guess: Any = _ONE
    for jet in range(len(offsets) - 1):
        start = offsets[jet]
        n = offsets[jet + 1] - start
        for i in range(n):
            for d in range(dimensions):
                columns[d, i] = points[start + i, d]
        for i in range(n):
            _squared_distances(columns, n, i, squares)
            squares[i] = np.nan
            for j in range(n):
                bits[j] &= np.int32(0x7FFFFFFF)
            limit: Any = _INFINITY
            if n > _FEW and n - 1 > k:
                limit = _limit(bits[:n], k, guess)
                guess = limit
            found = np.int64(0)
            for j in range(n):
                keys[found] = (np.int64(bits[j]) << 32) | j
                found += np.int64(bits[j] <= limit)
            _sort(keys[:found], ordered)
            for rank in range(min(k, int(found))):
                neighbours[start + i, rank] = start + (ordered[rank] & 0xFFFFFFFF)
    return neighbours


@njit(cache=True, nogil=True)
def _squared_distances(columns: Floats, n: int, i: int, squares: Floats) -> None:
    for j in range(n):
        squares[j] = 0
    dimensions = len(columns)
    whole = dimensions // 4 * 4
    # Four dimensions at a time: the running sums are loaded and stored once for four.
    for d in range(0, whole, 4):
        a, b, c, e = columns[d], columns[d + 1], columns[d + 2], columns[d + 3]
        for j in range(n):
            squares[j] += ((a[j] - a[i]) ** 2 + (b[j] - b[i]) ** 2) + (
                (c[j] - c[i]) ** 2 + (e[j] - e[i]) ** 2
            )
    for d in range(whole, dimensions):
        a = columns[d]
        for j in range(n):
            squares[j] += (a[j] - a[i]) ** 2


@njit(cache=True, nogil=True)
def _limit(bits: NDArray[np.int32], k: int, guess: Any) -> Any:
    """A value that at least k of ``bits`` do not exceed, and if possible at most k + _SLACK."""
    below, limit = np.int32(-1), _INFINITY
    for _ in range(32):
        count = np.int32(0)
        for j in range(len(bits)):
            count += np.int32(bits[j] <= guess)
        if count < k:
            below = guess
        else:
            limit = guess
            if count <= k + _SLACK:
                break
        # From the last constituent's limit in steps of a factor two (squared), then by bisection.
        if below < 0:
            guess = max(limit - _FACTOR_TWO, np.int32(0))
        elif limit == _INFINITY:
            guess = below + min(_FACTOR_TWO, limit - below)
        else:
            guess = below + (limit - below) // 2
        if guess in (below, limit):
            break
    return np.int32(limit)


@njit(cache=True, nogil=True)
def _sort(keys: Indices, ordered: Indices) -> None:
    """Puts different keys in order by counting, for each, those below it, without branches."""
    for j in range(len(keys)):
        rank = np.int64(0)
        for other in range(len(keys)):
            rank += np.int64(keys[other] < keys[j])
        ordered[rank] = keys[j]
