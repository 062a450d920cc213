"""Compiled loops of the strata: a tree of boxes, each cut in half across one axis.

Boxes are never stored: whoever walks the tree keeps the corner and the sides of the box it is in,
and what a cut has changed, to change it back. No fast arithmetic, as its bits would depend on
whether a kernel is compiled or comes from numba's cache.

Shapes: B points, D dimensions, S nodes.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["fill_strata", "grow", "strata_density"]

Array = NDArray[np.float64]
Indices = NDArray[np.int64]
Points = NDArray[np.float32]

# Cuts one below the other; a box of 2^-200 holds no two different points.
DEEPEST = 200
# Points an axis, and in all, that decide where a large box is cut.
LOOKED_AT, MOST_LOOKED_AT = 32, 256
# How many points a prior guess is worth, of a box's variance and of its halves'.
PRIOR, HALVES_PRIOR = 1.0, 2.0


@njit(cache=True, nogil=True, error_model="numpy")
def grow(
    points: Points,
    least: int,
    beta: float,
    floor: float,
    axis: Indices,
    child: Indices,
    share: Array,
) -> int:
    r"""Cut boxes as long as their points tell where the integrand varies.

    Args:
        points: coordinates, the volume that each stands for, and the value there, float32;
            reordered on return; shape (B, D + 2).
        least: points of a box that is cut.
        beta: shares are :math:`V \sigma^\beta`.
        floor: added to the variance of every box.
        axis: filled, across which axis a box is cut, -1 for none, shape (S,).
        child: filled, the lower half; the upper one follows it, shape (S,).
        share: filled, sum of the shares of all uncut boxes within, shape (S,).

    Returns:
        Number of nodes.
    """
    dimension = points.shape[1] - 2
    begins, ends = np.empty(DEEPEST + 2, np.int64), np.empty(DEEPEST + 2, np.int64)
    nodes, depths = np.empty(DEEPEST + 2, np.int64), np.empty(DEEPEST + 2, np.int64)
    priors, moments = np.empty(DEEPEST + 2), np.empty((DEEPEST + 2, 3))
    cut_axis, cut_low = np.empty(DEEPEST + 1, np.int64), np.empty(DEEPEST + 1)
    low, side = np.zeros(dimension), np.ones(dimension)
    sums, halves = np.empty((dimension, 4)), np.empty((2, 3))
    begins[0], ends[0], nodes[0], depths[0], priors[0] = 0, len(points), 0, 0, -1.0
    # Rows lie here at even depths and there at odd ones. Cut nowhere, all of them lie below.
    other = np.empty_like(points)
    _partition(points, other, 0, len(points), 0, np.inf, halves)
    moments[0] = halves[0]
    top, number, depth = 0, 1, 0
    while top >= 0:
        begin, end, node, prior = begins[top], ends[top], nodes[top], priors[top]
        # Lower halves have odd numbers.
        depth = _enter(low, side, cut_axis, cut_low, depth, depths[top], node % 2 == 0)
        total, first, second = moments[top]
        top -= 1
        count = end - begin
        squares, known = 0.0, max(count - 1, 0)
        if total > 0:
            squares = max(second / total - (first / total) ** 2, 0.0) * count
        variance = squares / known if known > 0 else 0.0
        if prior >= 0.0:
            variance = (squares + PRIOR * prior) / (known + PRIOR)
        share[node] = 0.5**depth * (variance + floor) ** (0.5 * beta)
        axis[node] = child[node] = -1
        # Where nothing varied, the next look is at all of the box, not at its halves.
        seen = squares > max(PRIOR * prior, 0.0)
        if count < least or not seen or number + 2 > len(axis) or depth >= DEEPEST:
            continue
        source, target = (other, points) if depth % 2 else (points, other)
        best = _best_cut(source, begin, end, low, side, variance, sums)
        middle = low[best] + 0.5 * side[best]
        split = _partition(source, target, begin, end, best, middle, halves)
        axis[node], child[node] = best, number
        cut_axis[depth], cut_low[depth] = best, low[best]
        # The upper half waits below the lower one on the stack.
        for half in (1, 0):
            top += 1
            nodes[top], depths[top], priors[top] = number + half, depth + 1, variance
            begins[top], ends[top] = (split, end) if half else (begin, split)
            moments[top] = halves[half]
        number += 2
    for node in range(number - 1, -1, -1):
        if axis[node] >= 0:
            share[node] = share[child[node]] + share[child[node] + 1]
    return number


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _enter(
    low: Array,
    side: Array,
    cut_axis: Indices,
    cut_low: Array,
    depth: int,
    wanted: int,
    upper: bool,
) -> int:
    """From the box of a node go back up to the parent of the next, then into its half."""
    while depth > max(wanted - 1, 0):
        depth -= 1
        low[cut_axis[depth]] = cut_low[depth]
        side[cut_axis[depth]] *= 2.0
    if wanted > 0:
        d = cut_axis[depth]
        side[d] *= 0.5
        low[d] = cut_low[depth] + side[d] if upper else cut_low[depth]
        depth += 1
    return depth


@njit(cache=True, nogil=True, error_model="numpy")
def _best_cut(
    points: Points, begin: int, end: int, low: Array, side: Array, variance: float, sums: Array
) -> int:
    """The axis whose halves have the smallest sum of spreads; the longest side where all agree."""
    dimension = points.shape[1] - 2
    total, first, second, count = 0.0, 0.0, 0.0, 0.0
    sums[:] = 0.0
    looked_at = min(LOOKED_AT * dimension, MOST_LOOKED_AT)
    for i in range(begin, end, max((end - begin) // looked_at, 1)):
        w, value = float(points[i, dimension]), float(points[i, dimension + 1])
        w1 = w * value
        w2 = w1 * value
        count += 1.0
        total += w
        first += w1
        second += w2
        for d in range(dimension):
            below = 1.0 if points[i, d] < low[d] + 0.5 * side[d] else 0.0
            sums[d, 0] += below
            sums[d, 1] += below * w
            sums[d, 2] += below * w1
            sums[d, 3] += below * w2
    least, best = np.inf, 0
    for d in range(dimension):
        score = 0.0
        for half in range(2):
            number, volume, mean, square = sums[d, 0], sums[d, 1], sums[d, 2], sums[d, 3]
            if half == 1:
                number, volume = count - number, total - volume
                mean, square = first - mean, second - square
            squares = 0.0
            if number > 1.5 and volume > 0.0:
                squares = max(square / volume - (mean / volume) ** 2, 0.0) * number
            known = max(number - 1.0, 0.0)
            score += np.sqrt((squares + HALVES_PRIOR * variance) / (known + HALVES_PRIOR))
        if score < least * (1 - 1e-9) or (score < least * (1 + 1e-9) and side[d] > side[best]):
            least, best = score, d
    return best


@njit(cache=True, nogil=True, error_model="numpy")
def _partition(
    source: Points, target: Points, begin: int, end: int, axis: int, cut: float, halves: Array
) -> int:
    """Copy points, those below a cut from the front and the others from the back.

    Without a branch, which a processor could not foresee.

    Args:
        source: as in `grow`.
        target: of the same shape.
        begin: of the rows to copy.
        end: of the rows to copy.
        axis: which coordinate is cut.
        cut: where.
        halves: filled, sums over the points below and the others of volume, volume times value,
            and volume times value squared, shape (2, 3).

    Returns:
        Where the others begin.
    """
    columns = source.shape[1]
    a0, a1, a2 = 0.0, 0.0, 0.0
    b0, b1, b2 = 0.0, 0.0, 0.0
    i, j = begin, end - 1
    for row in range(begin, end):
        below = 1 if source[row, axis] < cut else 0
        place = j + (i - j) * below
        for d in range(columns):
            target[place, d] = source[row, d]
        w, v = float(source[row, columns - 2]), float(source[row, columns - 1])
        w1 = w * v
        w2 = w1 * v
        lower, upper = float(below), float(1 - below)
        a0 += lower * w
        a1 += lower * w1
        a2 += lower * w2
        b0 += upper * w
        b1 += upper * w1
        b2 += upper * w2
        i += below
        j -= 1 - below
    halves[0, 0], halves[0, 1], halves[0, 2] = a0, a1, a2
    halves[1, 0], halves[1, 1], halves[1, 2] = b0, b1, b2
    return i


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _lower_calls(child: Indices, share: Array, node: int, calls: int) -> int:
    """How many of a box's points fall to its lower half, at least two to either."""
    if node < 0:
        return calls // 2
    lower, upper = share[child[node]], share[child[node] + 1]
    part = lower / (lower + upper) if lower + upper > 0.0 else 0.5
    return 2 + int((calls - 4) * part + 0.5)


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _longest(side: Array, last: int) -> int:
    """The longest side, of equal ones the next after the last cut."""
    dimension = len(side)
    best = (last + 1) % dimension
    for step in range(1, dimension):
        d = (last + 1 + step) % dimension
        if side[d] > side[best] * (1 + 1e-9):
            best = d
    return best


@njit(cache=True, nogil=True, error_model="numpy")
def fill_strata(
    axis: Indices,
    child: Indices,
    share: Array,
    y: Array,
    measure: Array,
    stratum: Indices,
) -> int:
    """Move uniform numbers into strata, two or three in each.

    Calls are handed down the tree by shares, and down halves of the longest sides where the tree
    ends, until four do not remain to share.

    Args:
        axis: of the cuts, shape (S,).
        child: lower halves, shape (S,).
        share: of the points, shape (S,).
        y: uniform numbers in, points in their strata out, shape (B, D).
        measure: filled with volume over number of points of the stratum, shape (B,).
        stratum: filled, ascending, shape (B,).

    Returns:
        Number of strata.
    """
    calls, dimension = y.shape
    nodes, numbers = np.empty(DEEPEST + 1, np.int64), np.empty(DEEPEST + 1, np.int64)
    cut_axis, cut_low = np.empty(DEEPEST + 1, np.int64), np.empty(DEEPEST + 1)
    low, side = np.zeros(dimension), np.ones(dimension)
    node, number, depth, at, strata = 0, calls, 0, 0, 0
    while True:
        # Down to a stratum, always to the lower half; upper halves wait at their depth.
        while number >= 4 and depth < DEEPEST:
            inner = node if node >= 0 and axis[node] >= 0 else -1
            lower = _lower_calls(child, share, inner, number)
            if inner >= 0:
                best = axis[inner]
            else:
                best = _longest(side, cut_axis[depth - 1] if depth else -1)
            cut_axis[depth], cut_low[depth] = best, low[best]
            side[best] *= 0.5
            numbers[depth] = number - lower
            nodes[depth] = child[inner] + 1 if inner >= 0 else -1
            node, number = child[inner] if inner >= 0 else -1, lower
            depth += 1
        for _ in range(number):
            for d in range(dimension):
                y[at, d] = low[d] + side[d] * y[at, d]
            measure[at] = 0.5**depth / number
            stratum[at] = strata
            at += 1
        strata += 1
        # Up to the deepest upper half that waits.
        while depth > 0 and numbers[depth - 1] == 0:
            depth -= 1
            low[cut_axis[depth]] = cut_low[depth]
            side[cut_axis[depth]] *= 2.0
        if depth == 0:
            return strata
        d = cut_axis[depth - 1]
        low[d] = cut_low[depth - 1] + side[d]
        node, number = nodes[depth - 1], numbers[depth - 1]
        numbers[depth - 1] = 0


@njit(cache=True, nogil=True, error_model="numpy")
def strata_density(
    axis: Indices, child: Indices, share: Array, calls: int, y: Array, density: Array
) -> None:
    """Density of a point picked at random from what `fill_strata` gives.

    Args:
        axis: of the cuts, shape (S,).
        child: lower halves, shape (S,).
        share: of the points, shape (S,).
        calls: points of that draw.
        y: where to evaluate, shape (B, D).
        density: filled, shape (B,).
    """
    dimension = y.shape[1]
    low, side = np.empty(dimension), np.empty(dimension)
    for i in range(len(y)):
        low[:], side[:] = 0.0, 1.0
        node, number, depth, last = 0, calls, 0, -1
        while number >= 4 and depth < DEEPEST:
            inner = node if node >= 0 and axis[node] >= 0 else -1
            lower = _lower_calls(child, share, inner, number)
            last = axis[inner] if inner >= 0 else _longest(side, last)
            side[last] *= 0.5
            above = y[i, last] >= low[last] + side[last]
            if above:
                low[last] += side[last]
            number = number - lower if above else lower
            node = child[inner] + (1 if above else 0) if inner >= 0 else -1
            depth += 1
        density[i] = number / calls * 2.0**depth
