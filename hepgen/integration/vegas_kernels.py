r"""Compiled loops of the VEGAS map: through it, back, and what points teach about it.

On each of K equal bins of y the map is a rational quadratic (J. A. Gregory and R. Delbourgo, IMA J.
Numer. Anal. 2 (1982) 123): it meets the edges of the bin and has the slopes dx/dy wanted there.
Unlike VEGAS's steps it leaves a smooth integrand smooth, on which strata and low-discrepancy points
live.

Shapes: B points, D dimensions, K bins an axis.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = [
    "fill_points",
    "gather_importance",
    "invert_map",
    "refine",
    "slopes_of",
    "through_map",
]

Array = NDArray[np.float64]
Indices = NDArray[np.int64]
Points = NDArray[np.float32]

BELOW_ONE = 1.0 - 2.0**-53
# The narrowest bin, about ten roundings of a number near one.
NARROWEST = 1e-15
# Cells of the table that finds the bin of an x.
GUIDE = 1024


@njit(cache=True, nogil=True, error_model="numpy")
def slopes_of(edges: Array) -> Array:
    """Slopes dx/dy at the ends of bins, shape (D, K + 1).

    Between two bins the density is the mean of both (the slope their harmonic mean), so that an
    edge of the integrand does not leak into the bin beside it.

    Args:
        edges: ascending from 0 to 1, shape (D, K + 1).
    """
    dimension, bins = edges.shape[0], edges.shape[1] - 1
    slopes = np.ones((dimension, bins + 1))
    for d in range(dimension):
        for k in range(1, bins):
            before = edges[d, k] - edges[d, k - 1]
            after = edges[d, k + 1] - edges[d, k]
            slopes[d, k] = 2 * before * after / (before + after) * bins
        for end, beside, two in ((0, 1, 2), (bins, bins - 1, bins - 2)):
            outer = abs(edges[d, end] - edges[d, beside])
            inner = abs(edges[d, beside] - edges[d, two])
            slopes[d, end] = min(max(1.5 * outer - 0.5 * inner, 0.5 * outer), 2.0 * outer) * bins
    return slopes


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _forward_axis(edges: Array, slopes: Array, y: float) -> tuple[float, float]:
    """The x that y leads to, and the slope there."""
    bins = len(edges) - 1
    t = y * bins
    k = min(int(t), bins - 1)
    t -= k
    rest = 1.0 - t
    width = edges[k + 1] - edges[k]
    mean = width * bins
    first, last = slopes[k], slopes[k + 1]
    below = 1.0 / (mean + (first + last - 2.0 * mean) * t * rest)
    x = edges[k] + width * t * (mean * t + first * rest) * below
    slope = (last * t * t + 2.0 * mean * t * rest + first * rest * rest) * (mean * below) ** 2
    return min(x, BELOW_ONE), slope


@njit(cache=True, nogil=True, error_model="numpy")
def through_map(edges: Array, slopes: Array, y: Array, x: Array, jacobian: Array) -> None:
    """Map points of the y cube.

    Args:
        edges: of the bins of each axis, shape (D, K + 1).
        slopes: dx/dy there, shape (D, K + 1).
        y: points, shape (B, D).
        x: filled with the images, shape (B, D).
        jacobian: filled with dx/dy, shape (B,).
    """
    for i in range(len(y)):
        product = 1.0
        for d in range(edges.shape[0]):
            x[i, d], slope = _forward_axis(edges[d], slopes[d], y[i, d])
            product *= slope
        jacobian[i] = product


@njit(cache=True, nogil=True, error_model="numpy")
def invert_map(edges: Array, slopes: Array, x: Array, y: Array, jacobian: Array) -> None:
    """The y cube's points that `through_map` takes to x, and the Jacobian dx/dy there.

    Args:
        edges: of the bins of each axis, shape (D, K + 1).
        slopes: dx/dy there, shape (D, K + 1).
        x: points, shape (B, D).
        y: filled with where they come from, shape (B, D).
        jacobian: filled, shape (B,).
    """
    dimension = edges.shape[0]
    guide = _guide(edges)
    for i in range(len(x)):
        product = 1.0
        for d in range(dimension):
            y[i, d], slope = _invert_axis(edges[d], slopes[d], guide[d], x[i, d])
            product *= slope
        jacobian[i] = product


@njit(cache=True, nogil=True, error_model="numpy")
def fill_points(
    edges: Array,
    slopes: Array,
    x: Array,
    volume: Array,
    values: Array,
    scale: float,
    points: Points,
) -> None:
    """Remembered points as `hepgen.integration.strata_kernels.grow` wants them.

    Args:
        edges: of the bins of each axis, shape (D, K + 1).
        slopes: dx/dy there, shape (D, K + 1).
        x: points, shape (B, D).
        volume: of the x cube that each stands for, shape (B,).
        values: f there, shape (B,).
        scale: what to divide f by.
        points: filled with y, the volume of the y cube and f dx/dy, float32, shape (B, D + 2).
    """
    dimension = edges.shape[0]
    guide = _guide(edges)
    for i in range(len(x)):
        product = 1.0
        for d in range(dimension):
            points[i, d], slope = _invert_axis(edges[d], slopes[d], guide[d], x[i, d])
            product *= slope
        points[i, dimension] = volume[i] / product
        points[i, dimension + 1] = values[i] / scale * product


@njit(cache=True, nogil=True, error_model="numpy")
def _guide(edges: Array) -> Indices:
    """The bin in which each of many equal cells of x begins, shape (D, GUIDE)."""
    dimension, bins = edges.shape[0], edges.shape[1] - 1
    guide = np.empty((dimension, GUIDE), np.int64)
    for d in range(dimension):
        k = 0
        for cell in range(GUIDE):
            while k < bins - 1 and edges[d, k + 1] <= cell / GUIDE:
                k += 1
            guide[d, cell] = k
    return guide


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _invert_axis(edges: Array, slopes: Array, guide: Indices, x: float) -> tuple[float, float]:
    """The y that leads to x, and the slope there."""
    bins = len(edges) - 1
    k = guide[min(max(int(x * GUIDE), 0), GUIDE - 1)]
    while k < bins - 1 and edges[k + 1] <= x:
        k += 1
    width = edges[k + 1] - edges[k]
    mean = width * bins
    first, last = slopes[k], slopes[k + 1]
    # The quadratic equation of C. Durkan et al., arXiv:1906.04032, equations 25 to 29.
    part = min(max((x - edges[k]) / width, 0.0), 1.0)
    bend = (first + last - 2.0 * mean) * part
    a, b, c = mean - first + bend, first - bend, -mean * part
    t = min(max(2.0 * c / (-b - math.sqrt(max(b * b - 4.0 * a * c, 0.0))), 0.0), 1.0)
    rest = 1.0 - t
    below = 1.0 / (mean + (first + last - 2.0 * mean) * t * rest)
    slope = (last * t * t + 2.0 * mean * t * rest + first * rest * rest) * (mean * below) ** 2
    return min((k + t) / bins, BELOW_ONE), slope


@njit(cache=True, nogil=True, error_model="numpy")
def gather_importance(
    y: Array, jacobian: Array, measure: Array, values: Array, scale: float, bins: int
) -> tuple[Array, float]:
    """Sum of measure times f^2 dx/dy in each bin of each axis.

    Args:
        y: points, shape (B, D).
        jacobian: dx/dy there, shape (B,).
        measure: how much each counts, shape (B,).
        values: f there, shape (B,).
        scale: what to divide f by, as squares of the smallest and largest numbers are none.
        bins: K.

    Returns:
        The sums (D, K), and the number of points that would tell them as well if all weighed the
        same.
    """
    dimension = y.shape[1]
    importance = np.zeros((dimension, bins))
    total, squares = 0.0, 0.0
    for i in range(len(y)):
        if values[i] > 0.0:
            value = values[i] / scale
            weight = measure[i] * value * value * jacobian[i]
            total += weight
            squares += weight * weight
            for d in range(dimension):
                importance[d, min(int(y[i, d] * bins), bins - 1)] += weight
    return importance, total * total / squares if squares > 0.0 else 0.0


@njit(cache=True, nogil=True, error_model="numpy")
def refine(edges: Array, slopes: Array, importance: Array, alpha: float, bins: int) -> Array:
    """Edges for which every bin is about as important as the next (Lepage 1978, section 2).

    Importance is smoothed over neighbours and damped, so that noise does not drive the map; an axis
    without any keeps its map.

    Args:
        edges: of the bins of each axis, shape (D, K + 1).
        slopes: dx/dy there, shape (D, K + 1).
        importance: of each of K' bins that are equal in y, shape (D, K').
        alpha: damping, 0 leaves the map alone and 1 or 2 follow the importance closely.
        bins: how many to have now, K''.

    Returns:
        New edges (D, K'' + 1), no bin narrower than rounding.
    """
    dimension, old = importance.shape
    refined = np.empty((dimension, bins + 1))
    weight = np.empty(old)
    uniform = bins * NARROWEST
    for d in range(dimension):
        total = importance[d].sum()
        weight[:] = 1.0
        if 0.0 < total < np.inf:
            for k in range(old):
                left, right = importance[d, max(k - 1, 0)], importance[d, min(k + 1, old - 1)]
                share = (left + 6.0 * importance[d, k] + right) / (8.0 * total)
                if share < 1.0 - 1e-9:
                    weight[k] = ((1.0 - share) / -math.log(share)) ** alpha if share > 0 else 0.0
            # A bin where nothing was seen loses its width only slowly.
            weight += 1e-4 * weight.mean()
        step = weight.sum() / bins
        k, gathered = 0, 0.0
        refined[d, 0], refined[d, bins] = 0.0, 1.0
        for new in range(1, bins):
            wanted = new * step
            while k < old - 1 and gathered + weight[k] < wanted:
                gathered += weight[k]
                k += 1
            t = (k + min(max((wanted - gathered) / weight[k], 0.0), 1.0)) / old
            at, _ = _forward_axis(edges[d], slopes[d], t)
            refined[d, new] = (1.0 - uniform) * at + uniform * new / bins
    return refined
