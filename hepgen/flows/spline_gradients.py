r"""Gradients of rational-quadratic splines of many elements at once: numba kernel, one thread.

Analytic, of value and log-slope with respect to where the spline is evaluated and to all
parameters. With the names of `hepgen.flows.spline`, E = d' θ^2 + 2 s θ φ + d φ^2 and L = log y':

.. math::
   \frac{\partial y}{\partial \theta} = \frac{h s E}{n^2}, \quad
   \frac{\partial y}{\partial s} = \frac{h \theta \varphi (d' \theta^2 - d \varphi^2)}{n^2}, \quad
   \frac{\partial y}{\partial d} = \frac{h \theta \varphi^2 (s \varphi + d' \theta)}{n^2}, \quad
   \frac{\partial y}{\partial d'} = -\frac{h \theta^2 \varphi (s \theta + d \varphi)}{n^2}

.. math::
   \frac{\partial L}{\partial s} = \frac{2}{s} + \frac{2 \theta \varphi}{E}
   - \frac{2 (\theta^2 + \varphi^2)}{n}, \quad
   \frac{\partial L}{\partial d} = \frac{\varphi^2}{E} - \frac{2 \theta \varphi}{n}, \quad
   \frac{\partial L}{\partial d'} = \frac{\theta^2}{E} - \frac{2 \theta \varphi}{n}

Numba's cache of this file does not see changes in `hepgen.flows.spline_kernels`: who edits that one
touches this one.

Shapes: N elements, K bins, M parameters of an element, T lanes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hepgen.flows.spline_kernels import (
    BEYOND,
    BOTTOM,
    FIRST,
    FIRST_RATE,
    GRAD_BOTTOM,
    GRAD_HEIGHT,
    GRAD_LEFT,
    GRAD_LOG,
    GRAD_WIDTH,
    GRAD_X,
    GRAD_Y,
    INDEX,
    LANES,
    LAST,
    LAST_RATE,
    LEFT,
    MEAN,
    OPTIONS,
    OTHER_MEAN,
    OTHER_SHARE,
    PHI,
    RIGHT,
    SHARE,
    THETA,
    TOP,
    bins_and_slopes,
    row,
)
from hepgen.flows.transposition import turn_back

__all__ = ["backward"]

Floats = NDArray[np.floating[Any]]
Indices = NDArray[np.int64]
Scale = NDArray[np.float64]


@njit(**OPTIONS)
def backward(
    x: Floats,
    raw: Floats,
    grad_y: Floats,
    grad_log: Floats,
    grad_x: Floats,
    grad_raw: Floats,
    scale: Scale,
    slots: Indices,
    inverse: bool,
    e: Floats,
    f: Floats,
) -> None:
    """Gradients with respect to what `forward` was given.

    Args:
        x: what was mapped, shape (N,).
        raw: parameters, shape (N, M).
        grad_y: with respect to the values, shape (N,).
        grad_log: with respect to the log-slopes, shape (N,).
        grad_x: filled, shape (N,).
        grad_raw: filled, shape (N, M).
        scale: as for `forward`.
        slots: as for `forward`.
        inverse: what was mapped was mapped back.
        e: see `scratch`.
        f: see `scratch`.
    """
    bins = len(slots) - 1
    for start in range(0, len(x), LANES):
        n = min(LANES, len(x) - start)
        bins_and_slopes(x, raw, start, n, scale, slots, inverse, e, f)
        for t in range(n):
            f[GRAD_Y + t] = grad_y[start + t]
            f[GRAD_LOG + t] = grad_log[start + t]
        if inverse:
            _pull_back(f)
        _differentiate(f, scale, bins)
        index = row(f, INDEX)
        _to_logits(
            e[:bins], index, row(f, SHARE), row(f, GRAD_LEFT), row(f, GRAD_WIDTH), row(f, MEAN)
        )
        _to_logits(
            e[bins : 2 * bins],
            index,
            row(f, OTHER_SHARE),
            row(f, GRAD_BOTTOM),
            row(f, GRAD_HEIGHT),
            row(f, OTHER_MEAN),
        )
        _to_slopes(e, index, row(f, FIRST_RATE), row(f, LAST_RATE), slots)
        turn_back(e, grad_raw, start, n)
        for t in range(n):
            grad_x[start + t] = -f[GRAD_Y + t] if inverse else f[GRAD_X + t]


@njit(**OPTIONS)
def _pull_back(f: Floats) -> None:
    """Weights of the derivatives of the map, from those of its inverse."""
    zero, one = f.dtype.type(0), f.dtype.type(1)
    for t in range(LANES):
        theta, phi, first, last = f[THETA + t], f[PHI + t], f[FIRST + t], f[LAST + t]
        per_width = one / (f[RIGHT + t] - f[LEFT + t])
        steep = (f[TOP + t] - f[BOTTOM + t]) * per_width
        both = theta * phi
        per = one / (steep * (theta * theta + phi * phi) + (first + last) * both)
        slope = last * theta * theta + (steep + steep) * both + first * phi * phi
        bend = ((last - steep) * theta + (steep - first) * phi) / slope
        bend = bend - ((first - steep) + (last - steep)) * (phi - theta) * per
        change = (bend + bend) * per_width
        slope = (slope * (steep * per)) * (steep * per)
        outside = abs(f[BEYOND + t]) > zero
        line = first if f[BEYOND + t] < zero else last
        slope = line if outside else slope
        change = zero if outside else change
        f[BEYOND + t] /= slope
        f[GRAD_Y + t] = -(f[GRAD_Y + t] - f[GRAD_LOG + t] * change) / slope
        f[GRAD_LOG + t] = -f[GRAD_LOG + t]


@njit(**OPTIONS)
def _differentiate(f: Floats, scale: Scale, bins: int) -> None:
    """Gradients with respect to x, the knots and raw slopes of its bin, weights as they are set.

    Those with respect to the fractions of all bins, of sum one, have means that come off.
    """
    real = f.dtype.type
    zero, one, low = real(0), real(1), real(scale[0])
    step = scale[2] * (scale[1] - scale[0])
    least, per_rest = real(step), real(1 / (scale[1] - scale[0] - bins * step))
    for t in range(LANES):
        theta, phi, first, last = f[THETA + t], f[PHI + t], f[FIRST + t], f[LAST + t]
        beyond = f[BEYOND + t]
        outside = abs(beyond) > zero
        weight = zero if outside else f[GRAD_Y + t]
        weight_log = zero if outside else f[GRAD_LOG + t]
        per_width = one / (f[RIGHT + t] - f[LEFT + t])
        height = f[TOP + t] - f[BOTTOM + t]
        steep = height * per_width
        both, squares = theta * phi, theta * theta + phi * phi
        per = one / (steep * squares + (first + last) * both)
        slope = last * theta * theta + (steep + steep) * both + first * phi * phi
        per_slope = one / slope
        share = weight * height * (per * per)
        # With respect to θ, s, and the slopes; the logarithm's halved.
        bend = ((last - steep) * theta + (steep - first) * phi) * per_slope
        bend = weight_log * (bend - ((first - steep) + (last - steep)) * (phi - theta) * per)
        by_theta = share * steep * slope + (bend + bend)
        part = weight_log * (both * per_slope - squares * per + one / steep)
        by_steep = share * both * (last * theta * theta - first * phi * phi) + (part + part)
        twice = (both + both) * per
        by_first = share * both * phi * (steep * phi + last * theta)
        by_first += weight_log * (phi * phi * per_slope - twice)
        by_last = weight_log * (theta * theta * per_slope - twice)
        by_last -= share * both * theta * (steep * theta + first * phi)
        value = theta * (steep * theta + first * phi) * per
        by_x = by_theta * per_width
        by_width = -(by_theta * theta + by_steep * steep) * per_width
        by_height = weight * value + by_steep * per_width
        f[GRAD_LEFT + t], f[GRAD_WIDTH + t] = -by_x, by_width
        f[GRAD_BOTTOM + t], f[GRAD_HEIGHT + t] = weight, by_height
        before = low + f[INDEX + t] * least
        part = (f[RIGHT + t] - f[LEFT + t] - least) * by_width - (f[LEFT + t] - before) * by_x
        other_part = (height - least) * by_height + (f[BOTTOM + t] - before) * weight
        f[MEAN + t], f[OTHER_MEAN + t] = part * per_rest, other_part * per_rest
        line = first if beyond < zero else last
        by_line = f[GRAD_Y + t] * beyond + f[GRAD_LOG + t] / line
        by_first = by_line if beyond < zero else by_first
        by_last = by_line if beyond > zero else by_last
        f[GRAD_X + t] = f[GRAD_Y + t] * line if outside else by_x
        f[FIRST_RATE + t] *= by_first
        f[LAST_RATE + t] *= by_last


@njit(**OPTIONS)
def _to_logits(
    e: Floats, index: Floats, share: Floats, grad_edge: Floats, grad_size: Floats, mean: Floats
) -> None:
    """Gradients with respect to raw widths, or heights, in place of the exponentials."""
    zero = e.dtype.type(0)
    for k in range(len(e)):
        place, given = e.dtype.type(k), e[k]
        for t in range(LANES):
            grad = grad_size[t] if index[t] == place else zero
            grad = grad_edge[t] if index[t] > place else grad
            given[t] = (given[t] * share[t]) * (grad - mean[t])


@njit(**OPTIONS)
def _to_slopes(
    e: Floats, index: Floats, grad_first: Floats, grad_last: Floats, slots: Indices
) -> None:
    """Gradients with respect to raw slopes, in the rows after the bins."""
    real = e.dtype.type
    zero, bins = real(0), len(slots) - 1
    e[2 * bins :] = zero
    for k in range(bins + 1):
        if slots[k] >= 0:
            first, last, filled = real(k), real(k - 1), e[slots[k]]
            for t in range(LANES):
                grad = grad_first[t] if index[t] == first else zero
                filled[t] += grad_last[t] if index[t] == last else grad
