"""Compiled loops of the VEGAS map: through it, back, and what points teach about it.

Shapes: B points, D dimensions, K bins an axis, H hypercubes.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["invert_map", "learn", "place_in_hypercubes", "refine", "through_map"]

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

BELOW_ONE = 1.0 - 2.0**-53
# The narrowest bin, about ten roundings of a number near one.
NARROWEST = 1e-15


@njit(cache=True, nogil=True, error_model="numpy")
def through_map(edges: Array, y: Array, x: Array, measure: Array) -> None:
    """Map points of the y cube, and multiply their measure by the Jacobian dx/dy.

    Args:
        edges: of the bins of each axis, ascending from 0 to 1, shape (D, K + 1).
        y: points, shape (B, D).
        x: filled with the images, shape (B, D).
        measure: multiplied in place, shape (B,).
    """
    dimension, bins = edges.shape[0], edges.shape[1] - 1
    for i in range(len(y)):
        jacobian = 1.0
        for d in range(dimension):
            t = y[i, d] * bins
            k = min(int(t), bins - 1)
            left = edges[d, k]
            width = edges[d, k + 1] - left
            x[i, d] = min(left + (t - k) * width, BELOW_ONE)
            jacobian *= width * bins
        measure[i] *= jacobian


@njit(cache=True, nogil=True, error_model="numpy")
def place_in_hypercubes(
    counts: Indices, divisions: Indices, y: Array, measure: Array, stratum: Indices
) -> None:
    """Move uniform numbers into hypercubes, as many as each is to get.

    Args:
        counts: points of each hypercube, the last axis running fastest, shape (H,).
        divisions: of each axis, their product is H, shape (D,).
        y: uniform numbers in, points in their hypercubes out, shape (B, D), B the sum of counts.
        measure: filled with volume over count, shape (B,).
        stratum: filled with the hypercube of each point, shape (B,).
    """
    dimension = len(divisions)
    digits = np.zeros(dimension, np.int64)
    volume = 1.0 / len(counts)
    i = 0
    for h in range(len(counts)):
        for _ in range(counts[h]):
            for d in range(dimension):
                y[i, d] = min((digits[d] + y[i, d]) / divisions[d], BELOW_ONE)
            measure[i] = volume / counts[h]
            stratum[i] = h
            i += 1
        for d in range(dimension - 1, -1, -1):
            digits[d] += 1
            if digits[d] < divisions[d]:
                break
            digits[d] = 0


@njit(cache=True, nogil=True, error_model="numpy")
def invert_map(edges: Array, x: Array, y: Array, jacobian: Array) -> None:
    """The y cube's points that `through_map` takes to x, and the Jacobian dx/dy there.

    Args:
        edges: of the bins of each axis, shape (D, K + 1).
        x: points, shape (B, D).
        y: filled with where they come from, shape (B, D).
        jacobian: filled, shape (B,).
    """
    dimension, bins = edges.shape[0], edges.shape[1] - 1
    jacobian[:] = 1.0
    for d in range(dimension):
        row = edges[d]
        for i in range(len(x)):
            k = min(max(np.searchsorted(row, x[i, d], side="right") - 1, 0), bins - 1)
            width = row[k + 1] - row[k]
            y[i, d] = min((k + (x[i, d] - row[k]) / width) / bins, BELOW_ONE)
            jacobian[i] *= width * bins


@njit(cache=True, nogil=True, error_model="numpy")
def learn(
    edges: Array,
    y: Array,
    measure: Array,
    values: Array,
    importance: Array,
    divisions: Indices,
    moments: Array,
) -> None:
    r"""Collect what the map and the hypercubes need to know of :math:`g(y) = f(x(y))\,dx/dy`.

    Args:
        edges: of the bins of each axis, shape (D, K + 1).
        y: points, shape (B, D).
        measure: how much each counts, shape (B,).
        values: of |f| at their images, shape (B,).
        importance: added to, the integral of g^2 over each bin, shape (D, K).
        divisions: of each axis into hypercubes, shape (D,).
        moments: added to, for each hypercube the number of points, the sum of g and that of g^2,
            shape (H, 3).
    """
    dimension, bins = edges.shape[0], edges.shape[1] - 1
    chosen = np.empty(dimension, np.int64)
    for i in range(len(y)):
        jacobian = 1.0
        h = 0
        for d in range(dimension):
            k = min(int(y[i, d] * bins), bins - 1)
            chosen[d] = k
            jacobian *= (edges[d, k + 1] - edges[d, k]) * bins
            h = h * divisions[d] + min(int(y[i, d] * divisions[d]), divisions[d] - 1)
        g = values[i] * jacobian
        moments[h, 0] += 1.0
        if g > 0.0:
            moments[h, 1] += g
            moments[h, 2] += g * g
            weight = measure[i] * values[i] * g
            for d in range(dimension):
                importance[d, chosen[d]] += weight


@njit(cache=True, nogil=True, error_model="numpy")
def refine(edges: Array, importance: Array, alpha: float, bins: int) -> Array:
    """Edges for which every bin is about as important as the next (Lepage 1978, section 2).

    Importance is smoothed over neighbours and damped, so that noise does not drive the map; an axis
    without any keeps its map.

    Args:
        edges: of the bins of each axis, shape (D, K + 1).
        importance: of each bin, shape (D, K).
        alpha: damping, 0 leaves the map alone and 1 or 2 follow the importance closely.
        bins: how many to have now, K'.

    Returns:
        New edges (D, K' + 1), no bin narrower than rounding.
    """
    dimension, old = importance.shape
    refined = np.empty((dimension, bins + 1))
    weight = np.empty(old)
    for d in range(dimension):
        total = importance[d].sum()
        if not 0.0 < total < np.inf:
            weight[:] = 1.0
        else:
            for k in range(old):
                left, right = importance[d, max(k - 1, 0)], importance[d, min(k + 1, old - 1)]
                share = (left + 6.0 * importance[d, k] + right) / (8.0 * total)
                weight[k] = 0.0
                if share >= 1.0 - 1e-9:
                    weight[k] = 1.0
                elif share > 0.0:
                    weight[k] = ((1.0 - share) / -math.log(share)) ** alpha
            # A bin where nothing was seen loses its width only slowly.
            weight += 1e-4 * weight.mean()
        step = weight.sum() / bins
        k, gathered = 0, 0.0
        refined[d, 0] = 0.0
        for new in range(1, bins):
            wanted = new * step
            while k < old - 1 and gathered + weight[k] < wanted:
                gathered += weight[k]
                k += 1
            part = min(max((wanted - gathered) / weight[k], 0.0), 1.0)
            refined[d, new] = edges[d, k] + part * (edges[d, k + 1] - edges[d, k])
        refined[d, bins] = 1.0
        uniform = bins * NARROWEST
        for new in range(1, bins):
            refined[d, new] = (1.0 - uniform) * refined[d, new] + uniform * new / bins
    return refined
