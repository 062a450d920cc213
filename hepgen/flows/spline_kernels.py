r"""Rational-quadratic splines of many elements at once: numba kernel, one thread.

Everything from a network's output to value and log-slope is one pass over memory. The elements are
taken `LANES` at a time: their parameters are turned over, so that one instruction works on the same
parameter of as many elements as a register holds, and no lane goes a way of its own: bins are found
by comparing with all knots. Nothing is kept for the gradients: to compute it again costs less than
to read it. `hepgen.flows.spline` has the formulas.

LLVM makes vectors of a loop where it sees that no two arrays in it overlap. Hence the rows of one
array at places that are constants, or few arrays. (Hence also comparisons where Python would have
min and max, which have more to ask of a NaN.)

Shapes: N elements, K bins, M parameters of an element, T lanes.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hepgen.flows.elementary import exp_negative, log1p_fraction, log_positive
from hepgen.flows.transposition import turn_over

__all__ = ["LANES", "bins_and_slopes", "forward", "row", "scratch"]

Floats = NDArray[np.floating[Any]]
Indices = NDArray[np.int64]
Scale = NDArray[np.float64]

LANES = 64

# Where T numbers of each kind begin in the memory that a tile uses.
X, BEYOND, INDEX = 0, LANES, 2 * LANES
LEFT, RIGHT, BOTTOM, TOP = 3 * LANES, 4 * LANES, 5 * LANES, 6 * LANES
FIRST, LAST, FIRST_RATE, LAST_RATE = 7 * LANES, 8 * LANES, 9 * LANES, 10 * LANES
SHARE, OTHER_SHARE, KNOT, OTHER_KNOT = 11 * LANES, 12 * LANES, 13 * LANES, 14 * LANES
PART, OTHER_PART, SPARE = 15 * LANES, 16 * LANES, 17 * LANES
THETA, PHI, Y, LOG = 18 * LANES, 19 * LANES, 20 * LANES, 21 * LANES
GRAD_Y, GRAD_LOG, GRAD_X = 22 * LANES, 23 * LANES, 24 * LANES
GRAD_LEFT, GRAD_WIDTH, GRAD_BOTTOM, GRAD_HEIGHT = 25 * LANES, 26 * LANES, 27 * LANES, 28 * LANES
MEAN, OTHER_MEAN, GIVEN = 29 * LANES, 30 * LANES, 31 * LANES
ROWS = 32

# No fast arithmetic, not even contraction: whether a product and a sum become one depends on what
# is inlined, which is not the same where kernels are compiled and where they come from the cache.
# The bits of a sample would be others in the first process than in the next.
OPTIONS: dict[str, Any] = {
    "cache": True,
    "nogil": True,
    "error_model": "numpy",
}


def scratch(parameters: int, dtype: np.dtype[Any]) -> tuple[Floats, Floats]:
    """Memory of one thread: parameters turned over (M, T), and the rows that are named above."""
    return np.zeros((parameters, LANES), dtype), np.zeros(ROWS * LANES, dtype)


@njit(**OPTIONS)
def forward(
    x: Floats,
    raw: Floats,
    y: Floats,
    log_slope: Floats,
    scale: Scale,
    slots: Indices,
    inverse: bool,
    e: Floats,
    f: Floats,
) -> None:
    """Values and log-slopes.

    Args:
        x: what to map, shape (N,).
        raw: parameters, shape (N, M).
        y: filled, shape (N,).
        log_slope: filled, shape (N,).
        scale: low and high end, least bin, least slope, softplus^-1(1 - least slope).
        slots: which parameter is the slope of each knot, -1 where the slope is one, (K + 1,).
        inverse: map back.
        e: see `scratch`.
        f: see `scratch`.
    """
    for start in range(0, len(x), LANES):
        n = min(LANES, len(x) - start)
        bins_and_slopes(x, raw, start, n, scale, slots, inverse, e, f)
        _evaluate(f, inverse)
        for t in range(n):
            y[start + t] = f[Y + t]
            log_slope[start + t] = f[LOG + t]


@njit(**OPTIONS)
def row(f: Floats, name: int) -> Floats:
    """T numbers of one kind."""
    return f[name : name + LANES]


@njit(**OPTIONS)
def bins_and_slopes(
    x: Floats,
    raw: Floats,
    start: int,
    n: int,
    scale: Scale,
    slots: Indices,
    inverse: bool,
    e: Floats,
    f: Floats,
) -> None:
    """The bin of each lane, its knots, the slopes at them and their rates, and where in it x is."""
    real = f.dtype.type
    bins = len(slots) - 1
    low, high = real(scale[0]), real(scale[1])
    for t in range(n):
        f[GIVEN + t] = x[start + t]
    turn_over(raw, start, n, 2 * bins, e)
    for t in range(LANES):
        # Compared so that NaN stays.
        inside = low if f[GIVEN + t] < low else f[GIVEN + t]  # noqa: FURB136
        inside = high if inside > high else inside  # noqa: FURB136
        f[BEYOND + t] = f[GIVEN + t] - inside
        f[X + t] = inside
    widths, heights = e[:bins], e[bins : 2 * bins]
    own, other = (heights, widths) if inverse else (widths, heights)
    _exponentials(own, row(f, SPARE), row(f, SHARE))
    _exponentials(other, row(f, SPARE), row(f, OTHER_SHARE))
    _search(own, other, f, scale)
    for t in range(n):
        index = int(f[INDEX + t])
        # Any number where the slope is one: a branch would be guessed wrong as often as not.
        f[FIRST + t] = raw[start + t, max(slots[index], 0)]
        f[LAST + t] = raw[start + t, max(slots[index + 1], 0)]
    _softplus(row(f, FIRST), row(f, FIRST_RATE), scale)
    _softplus(row(f, LAST), row(f, LAST_RATE), scale)
    if slots[0] < 0:
        one, initial, final = real(1), real(0), real(bins - 1)
        for t in range(LANES):
            f[FIRST + t] = one if f[INDEX + t] == initial else f[FIRST + t]
            f[LAST + t] = one if f[INDEX + t] == final else f[LAST + t]
    if inverse:
        _locate_inverse(f)
    else:
        _locate(f)


@njit(**OPTIONS)
def _exponentials(e: Floats, most: Floats, total: Floats) -> None:
    """exp(raw - largest) in place, and their sums."""
    most[:] = e[0]
    for k in range(1, len(e)):
        given = e[k]
        for t in range(LANES):
            most[t] = given[t] if given[t] > most[t] else most[t]  # noqa: FURB136
    total[:] = 0
    for k in range(len(e)):
        given = e[k]
        for t in range(LANES):
            value = exp_negative(given[t] - most[t])
            given[t] = value
            total[t] += value


@njit(**OPTIONS)
def _search(own: Floats, other: Floats, f: Floats, scale: Scale) -> None:
    """The last bin that begins at x or below, its knots; x is on its own axis, called left."""
    real = f.dtype.type
    bins = len(own)
    low, high = real(scale[0]), real(scale[1])
    step = (scale[1] - scale[0]) * scale[2]
    rest = real(scale[1] - scale[0] - bins * step)
    for t in range(LANES):
        f[KNOT + t] = f[OTHER_KNOT + t] = f[LEFT + t] = f[BOTTOM + t] = low
        f[RIGHT + t] = f[TOP + t] = high
        f[PART + t] = f[OTHER_PART + t] = f[INDEX + t] = 0
        f[SHARE + t] = rest / f[SHARE + t]
        f[OTHER_SHARE + t] = rest / f[OTHER_SHARE + t]
    for k in range(bins):
        # The last knot is the end of the interval, whatever the sum has become by rounding.
        last = k == bins - 1
        begin = high if last else real(scale[0] + (k + 1) * step)
        weight, place = real(0 if last else 1), real(k)
        own_row, other_row = own[k], other[k]
        for t in range(LANES):
            knot, other_knot = f[KNOT + t], f[OTHER_KNOT + t]
            part, other_part = f[PART + t] + own_row[t], f[OTHER_PART + t] + other_row[t]
            after = begin + weight * (part * f[SHARE + t])
            other_after = begin + weight * (other_part * f[OTHER_SHARE + t])
            here = f[X + t] >= knot
            f[INDEX + t] = place if here else f[INDEX + t]
            f[LEFT + t] = knot if here else f[LEFT + t]
            f[RIGHT + t] = after if here else f[RIGHT + t]
            f[BOTTOM + t] = other_knot if here else f[BOTTOM + t]
            f[TOP + t] = other_after if here else f[TOP + t]
            f[PART + t], f[OTHER_PART + t] = part, other_part
            f[KNOT + t], f[OTHER_KNOT + t] = after, other_after


@njit(**OPTIONS)
def _softplus(slope: Floats, rate: Floats, scale: Scale) -> None:
    """Slopes in place of raw numbers, and what a raw number changes its slope by."""
    real = slope.dtype.type
    zero, one, least, shift = real(0), real(1), real(scale[3]), real(scale[4])
    for t in range(LANES):
        raw = slope[t] + shift
        small = exp_negative(-abs(raw))
        above = zero if raw < zero else raw  # noqa: FURB136
        slope[t] = least + (above + log1p_fraction(small))
        rate[t] = (small if raw < zero else one) / (one + small)


@njit(**OPTIONS)
def _locate(f: Floats) -> None:
    """Where in its bin x is, from the left end and from the right."""
    for t in range(LANES):
        per_width = f.dtype.type(1) / (f[RIGHT + t] - f[LEFT + t])
        f[THETA + t] = (f[X + t] - f[LEFT + t]) * per_width
        f[PHI + t] = (f[RIGHT + t] - f[X + t]) * per_width


@njit(**OPTIONS)
def _locate_inverse(f: Floats) -> None:
    """Where in its bin what is mapped to y is; from here on its axis is the other one."""
    for t in range(LANES):
        f[LEFT + t], f[BOTTOM + t] = f[BOTTOM + t], f[LEFT + t]
        f[RIGHT + t], f[TOP + t] = f[TOP + t], f[RIGHT + t]
        f[SHARE + t], f[OTHER_SHARE + t] = f[OTHER_SHARE + t], f[SHARE + t]
    zero = f.dtype.type(0)
    for t in range(LANES):
        height = f[TOP + t] - f[BOTTOM + t]
        u, v = (f[X + t] - f[BOTTOM + t]) / height, (f[TOP + t] - f[X + t]) / height
        steep = height / (f[RIGHT + t] - f[LEFT + t])
        mixed = f[FIRST + t] * v - f[LAST + t] * u
        double = steep + steep
        product = (double * u) * (double * v)
        total = abs(mixed) + math.sqrt(mixed * mixed + product)
        rest = product / total if mixed < zero else total
        whole = rest + double * u
        f[THETA + t] = double * u / whole
        f[PHI + t] = rest / whole


@njit(**OPTIONS)
def _evaluate(f: Floats, inverse: bool) -> None:
    """Values and log-slopes."""
    zero, one = f.dtype.type(0), f.dtype.type(1)
    for t in range(LANES):
        theta, phi, first, last = f[THETA + t], f[PHI + t], f[FIRST + t], f[LAST + t]
        steep = (f[TOP + t] - f[BOTTOM + t]) / (f[RIGHT + t] - f[LEFT + t])
        both = theta * phi
        per = one / (steep * (theta * theta + phi * phi) + (first + last) * both)
        slope = last * theta * theta + (steep + steep) * both + first * phi * phi
        slope = (slope * (steep * per)) * (steep * per)
        line = first if f[BEYOND + t] < zero else last
        slope = line if abs(f[BEYOND + t]) > zero else slope
        f[LOG + t] = log_positive(slope)
        f[SPARE + t] = line
        # Fractions of the bin below and above, as near to zero as either may be.
        f[PART + t] = theta * (steep * theta + first * phi) * per
        f[OTHER_PART + t] = phi * (steep * phi + last * theta) * per
    if inverse:
        for t in range(LANES):
            width = f[RIGHT + t] - f[LEFT + t]
            near, far = f[LEFT + t] + width * f[THETA + t], f[RIGHT + t] - width * f[PHI + t]
            f[Y + t] = near if f[THETA + t] < f[PHI + t] else far
            f[LOG + t] = -f[LOG + t]
            f[SPARE + t] = one / f[SPARE + t]
    else:
        for t in range(LANES):
            height = f[TOP + t] - f[BOTTOM + t]
            near, far = (
                f[BOTTOM + t] + height * f[PART + t],
                f[TOP + t] - height * f[OTHER_PART + t],
            )
            f[Y + t] = near if f[PART + t] < f[OTHER_PART + t] else far
    for t in range(LANES):
        given, beyond, line = f[GIVEN + t], f[BEYOND + t], f[SPARE + t]
        # Exactly x where the line has a slope of one, though x be infinite.
        straight = given + (line * beyond - beyond)
        straight = given if line == one else straight
        f[Y + t] = straight if abs(beyond) > zero else f[Y + t]
