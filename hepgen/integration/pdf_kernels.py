r"""Cubic Hermite interpolation on a grid of knots in two dimensions, as LHAPDF6 does it.

Between two knots the cubic through both values whose slopes there are the mean of the differences
to the left and to the right (of one side only at an edge):

.. math:: f(t) = h_{00}(t) v_0 + h_{10}(t)\, w d_0 + h_{01}(t) v_1 + h_{11}(t)\, w d_1,
   \qquad t = (\ell - \ell_0) / w, \quad w = \ell_1 - \ell_0

A. Buckley et al., "LHAPDF6: parton density access in the LHC precision era", Eur. Phys. J. C 75
(2015) 132, arXiv:1412.7420, section 4.1. As the slopes are linear in the values, f is a sum over
four knots with weights that are cubics in t; their coefficients are made once for each cell.

Shapes: B points, N knots of one axis, F flavours.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["Axis", "axis", "interpolate"]

Array = NDArray[np.float64]
Indices = NDArray[np.int64]


class Axis(NamedTuple):
    """One axis of a grid, ready to be interpolated on.

    Attributes:
        knots: where values are given, not falling, shape (N,); a knot that stands twice is a
            boundary that interpolation does not look across.
        first: the first of the four knots that a cell uses, shape (N - 1,).
        coefficients: of the weights of these four, by power of t, shape (N - 1, 4, 4).
        cell: the cell in which each bucket of equal width begins.
        buckets: buckets for a unit of the axis.
    """

    knots: Array
    first: Indices
    coefficients: Array
    cell: Indices
    buckets: float


# The four cubics of Hermite by power of t: values and slopes at the left and right end.
_LEFT = np.array([1.0, 0.0, -3.0, 2.0])
_LEFT_SLOPE = np.array([0.0, 1.0, -2.0, 1.0])
_RIGHT = np.array([0.0, 0.0, 3.0, -2.0])
_RIGHT_SLOPE = np.array([0.0, 0.0, -1.0, 1.0])


def axis(knots: Array) -> Axis:
    """Prepare one axis.

    Args:
        knots: rising, but for pairs of equal ones at boundaries, shape (N,) with N at least 4.
            Between two boundaries a piece of two or three knots is interpolated linearly.

    Returns:
        What `interpolate` needs of it.
    """
    widths = np.diff(knots)
    count = len(widths)
    first = np.clip(np.arange(count) - 1, 0, len(knots) - 4)
    coefficients = np.zeros((count, 4, 4))
    ends = [0, *np.flatnonzero(widths == 0), count]
    for begin, end in pairwise(ends):
        start = begin + (begin > 0)  # the cell of no width belongs to nobody
        for cell in range(start, end):
            weights = np.zeros((count + 1, 4))
            _weigh(weights, widths, cell, start, end)
            coefficients[cell] = weights[first[cell] : first[cell] + 4]
    span = knots[-1] - knots[0]
    size = 4 * len(knots)
    edges = knots[0] + span * np.arange(size + 1) / size
    cell = np.clip(np.searchsorted(knots, edges, "right") - 1, 0, count - 1)
    # One step back, so that rounding in the kernel never begins beyond the cell.
    return Axis(knots, first, coefficients, np.maximum(cell - 1, 0), size / span)


def _weigh(weights: Array, widths: Array, cell: int, start: int, end: int) -> None:
    """Fill in the coefficients (N, 4) of one cell of the piece of cells from start to end."""
    if end - start < 3:
        weights[cell, :2] = 1.0, -1.0
        weights[cell + 1, 1] = 1.0
        return
    weights[cell] += _LEFT
    weights[cell + 1] += _RIGHT
    for knot, cubic in ((cell, _LEFT_SLOPE), (cell + 1, _RIGHT_SLOPE)):
        sides = [side for side in (knot - 1, knot) if start <= side < end]
        for side in sides:
            slope = cubic * (widths[cell] / widths[side] / len(sides))
            weights[side + 1] += slope
            weights[side] -= slope


@njit(cache=True, nogil=True, error_model="numpy")
def _locate(value: float, knots: Array, cell: Indices, buckets: float) -> int:
    bucket = int((value - knots[0]) * buckets)
    place = cell[min(max(bucket, 0), len(cell) - 1)]
    last = len(knots) - 2
    while place < last and value >= knots[place + 1]:
        place += 1
    return int(place)


@njit(cache=True, nogil=True, error_model="numpy")
def interpolate(
    values: Array,
    x_axis: Axis,
    y_axis: Axis,
    x: Array,
    y: Array,
    out: Array,
) -> None:
    """Interpolate all columns of a table at each of many points.

    Args:
        values: at the knots, shape (N of x, N of y, F), contiguous.
        x_axis: the first axis.
        y_axis: the second axis.
        x: the first coordinates, within the axis, shape (B,).
        y: the second coordinates, within the axis, shape (B,).
        out: where the results are written, shape (B, F).
    """
    columns = values.shape[2]
    weight_x, weight_y = np.empty(4), np.empty(4)
    for row in range(len(x)):
        cell_x = _locate(x[row], x_axis.knots, x_axis.cell, x_axis.buckets)
        cell_y = _locate(y[row], y_axis.knots, y_axis.cell, y_axis.buckets)
        left, low = x_axis.knots[cell_x], y_axis.knots[cell_y]
        t = (x[row] - left) / (x_axis.knots[cell_x + 1] - left)
        s = (y[row] - low) / (y_axis.knots[cell_y + 1] - low)
        for k in range(4):
            c = x_axis.coefficients[cell_x, k]
            weight_x[k] = c[0] + t * (c[1] + t * (c[2] + t * c[3]))
            d = y_axis.coefficients[cell_y, k]
            weight_y[k] = d[0] + s * (d[1] + s * (d[2] + s * d[3]))
        first_x, first_y = x_axis.first[cell_x], y_axis.first[cell_y]
        target = out[row]
        for f in range(columns):
            target[f] = 0.0
        for i in range(4):
            for j in range(4):
                weight = weight_x[i] * weight_y[j]
                source = values[first_x + i, first_y + j]
                for f in range(columns):
                    target[f] += weight * source[f]
