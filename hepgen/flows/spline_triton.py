"""Rational-quadratic splines on a GPU: Triton kernels, the same arithmetic as on the CPU.

One program takes `BLOCK` elements; their bins lie along the second axis of its tiles, so that the
softmax, the running sums and the search are reductions of that axis. `hepgen.flows.spline_kernels`
and `hepgen.flows.spline_gradients` have the same steps under the same names.

Shapes: N elements, K bins (the next power of two in a tile), M parameters of an element.
"""

# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-calls
from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from hepgen.flows.rational_quadratic import CIRCLE, STRAIGHT, Knots

__all__ = ["BLOCK", "bins_and_slopes", "constants", "forward"]

BLOCK = 128


def forward(
    x: Tensor, raw: Tensor, y: Tensor, log_slope: Tensor, knots: Knots, inverse: bool
) -> None:
    """Values and log-slopes.

    Args:
        x: what to map, N elements, contiguous.
        raw: parameters, N of M, contiguous.
        y: filled, as x.
        log_slope: filled, as x.
        knots: what is not a parameter.
        inverse: map back.
    """
    count = x.numel()
    if count:
        with torch.cuda.device_of(x):
            _forward[(triton.cdiv(count, BLOCK),)](
                x, raw, y, log_slope, count, **constants(knots), INVERSE=inverse
            )


def constants(knots: Knots) -> dict[str, Any]:
    """What the kernels are compiled for."""
    span = knots.high - knots.low
    return {
        "LOW": knots.low,
        "HIGH": knots.high,
        "STEP": knots.min_bin * span,
        "REST": span - knots.bins * knots.min_bin * span,
        "LEAST": knots.min_slope,
        "SHIFT": knots.shift,
        "BINS": knots.bins,
        "WIDE": triton.next_power_of_2(knots.bins),
        "PARAMETERS": knots.num_parameters,
        "IS_STRAIGHT": knots.ends == STRAIGHT,
        "IS_CIRCLE": knots.ends == CIRCLE,
        "LANES": BLOCK,
    }


@triton.jit
def _exponentials(start, lanes, columns, BINS: tl.constexpr, PARAMETERS: tl.constexpr, count):
    """exp(raw - largest) and its shares in the sum, (BLOCK, WIDE); none beyond the last bin."""
    known = (lanes < count)[:, None] & (columns < BINS)[None, :]
    place = lanes.to(tl.int64)[:, None] * PARAMETERS + columns[None, :]
    raw = tl.load(start + place, mask=known, other=0.0)
    raw = tl.where((columns < BINS)[None, :], raw, -float("inf"))
    most = tl.max(raw, axis=1)
    e = tl.exp(raw - most[:, None])
    return e / tl.sum(e, axis=1)[:, None]


@triton.jit
def _ends(
    share,
    columns,
    LOW: tl.constexpr,
    HIGH: tl.constexpr,
    STEP: tl.constexpr,
    REST: tl.constexpr,
    BINS: tl.constexpr,
):
    """Right ends of the bins; the last is the end of the interval, whatever rounding did."""
    after = LOW + ((columns + 1).to(share.dtype) * STEP)[None, :] + REST * tl.cumsum(share, axis=1)
    # NaN stays.
    return tl.where((columns == BINS - 1)[None, :], HIGH + 0 * after, after)


@triton.jit
def _at(values, columns, index):
    """The value of each lane at its index; zero where there is none."""
    return tl.sum(tl.where(columns[None, :] == index[:, None], values, 0.0), axis=1)


@triton.jit
def _slope(
    raw,
    lanes,
    knot,
    known,
    LEAST: tl.constexpr,
    SHIFT: tl.constexpr,
    BINS: tl.constexpr,
    PARAMETERS: tl.constexpr,
    IS_STRAIGHT: tl.constexpr,
    IS_CIRCLE: tl.constexpr,
):
    """Slope at a knot, and what a raw number changes it by."""
    slot = knot
    if IS_CIRCLE:
        slot = tl.where(knot == BINS, 0, knot)
    if IS_STRAIGHT:
        slot = knot - 1
        known = known & (knot > 0) & (knot < BINS)
    place = lanes.to(tl.int64) * PARAMETERS + 2 * BINS + slot
    given = tl.load(raw + place, mask=known, other=0.0) + SHIFT
    small = tl.exp(-tl.abs(given))
    # log(1 + small): what the sum loses by rounding is made good by the quotient.
    total = 1.0 + small
    rounded = total - 1.0
    lost = rounded == 0
    log1p = tl.where(lost, small, tl.log(total) * (small / tl.where(lost, 1.0, rounded)))
    slope = LEAST + (tl.where(given < 0, 0.0, given) + log1p)
    rate = tl.where(given < 0, small, 1.0) / total
    if IS_STRAIGHT:
        slope = tl.where((knot == 0) | (knot == BINS), 1.0, slope)
    return slope, rate


@triton.jit
def bins_and_slopes(
    x,
    raw,
    lanes,
    columns,
    count,
    LOW: tl.constexpr,
    HIGH: tl.constexpr,
    STEP: tl.constexpr,
    REST: tl.constexpr,
    LEAST: tl.constexpr,
    SHIFT: tl.constexpr,
    BINS: tl.constexpr,
    PARAMETERS: tl.constexpr,
    IS_STRAIGHT: tl.constexpr,
    IS_CIRCLE: tl.constexpr,
    INVERSE: tl.constexpr,
):
    """The bin of each lane, its knots, the slopes at them and their rates."""
    known = lanes < count
    given = tl.load(x + lanes, mask=known, other=0.0)
    # As numbers of the dtype of x: a constant alone would be float32.
    low, high = tl.full((), LOW, given.dtype), tl.full((), HIGH, given.dtype)
    # Compared so that NaN stays.
    inside = tl.where(given < low, low, given)
    inside = tl.where(inside > high, high, inside)
    share = _exponentials(raw, lanes, columns, BINS, PARAMETERS, count)
    other_share = _exponentials(raw + BINS, lanes, columns, BINS, PARAMETERS, count)
    right = _ends(share, columns, LOW, HIGH, STEP, REST, BINS)
    top = _ends(other_share, columns, LOW, HIGH, STEP, REST, BINS)
    edges = top if INVERSE else right
    passed = (inside[:, None] >= edges) & (columns < BINS - 1)[None, :]
    index = tl.sum(passed.to(tl.int32), axis=1)
    first = index == 0
    left_end = tl.where(first, low, _at(right, columns, index - 1))
    bottom_end = tl.where(first, low, _at(top, columns, index - 1))
    slope, rate = _slope(
        raw,
        lanes,
        index,
        known,
        LEAST,
        SHIFT,
        BINS,
        PARAMETERS,
        IS_STRAIGHT,
        IS_CIRCLE,
    )
    next_slope, next_rate = _slope(
        raw,
        lanes,
        index + 1,
        known,
        LEAST,
        SHIFT,
        BINS,
        PARAMETERS,
        IS_STRAIGHT,
        IS_CIRCLE,
    )
    right_end, top_end = _at(right, columns, index), _at(top, columns, index)
    return (
        inside,
        given - inside,
        share,
        other_share,
        index,
        left_end,
        right_end,
        bottom_end,
        top_end,
        slope,
        next_slope,
        rate,
        next_rate,
    )


@triton.jit
def locate(inside, left, right, bottom, top, first, last, INVERSE: tl.constexpr):
    """Where in its bin x is, from the left end and from the right."""
    if INVERSE:
        height = top - bottom
        u, v = (inside - bottom) / height, (top - inside) / height
        double = 2.0 * (height / (right - left))
        mixed = first * v - last * u
        product = (double * u) * (double * v)
        total = tl.abs(mixed) + tl.sqrt(mixed * mixed + product)
        rest = tl.where(mixed < 0, product / total, total)
        whole = rest + double * u
        theta, phi = double * u / whole, rest / whole
    else:
        theta, phi = (inside - left) / (right - left), (right - inside) / (right - left)
    return theta, phi


@triton.jit
def _forward(
    x,
    raw,
    y,
    log_slope,
    count,
    LOW: tl.constexpr,
    HIGH: tl.constexpr,
    STEP: tl.constexpr,
    REST: tl.constexpr,
    LEAST: tl.constexpr,
    SHIFT: tl.constexpr,
    BINS: tl.constexpr,
    WIDE: tl.constexpr,
    PARAMETERS: tl.constexpr,
    IS_STRAIGHT: tl.constexpr,
    IS_CIRCLE: tl.constexpr,
    INVERSE: tl.constexpr,
    LANES: tl.constexpr,
):
    lanes = tl.program_id(0) * LANES + tl.arange(0, LANES)
    (
        inside,
        beyond,
        _,
        _,
        _,
        left,
        right,
        bottom,
        top,
        first,
        last,
        _,
        _,
    ) = bins_and_slopes(
        x,
        raw,
        lanes,
        tl.arange(0, WIDE),
        count,
        LOW,
        HIGH,
        STEP,
        REST,
        LEAST,
        SHIFT,
        BINS,
        PARAMETERS,
        IS_STRAIGHT,
        IS_CIRCLE,
        INVERSE,
    )
    theta, phi = locate(inside, left, right, bottom, top, first, last, INVERSE)
    steep = (top - bottom) / (right - left)
    both = theta * phi
    per = 1.0 / (steep * (theta * theta + phi * phi) + (first + last) * both)
    slope = last * theta * theta + 2.0 * steep * both + first * phi * phi
    slope = (slope * (steep * per)) * (steep * per)
    line = tl.where(beyond < 0, first, last)
    outside = tl.abs(beyond) > 0
    log = tl.log(tl.where(outside, line, slope))
    if INVERSE:
        width = right - left
        value = tl.where(theta < phi, left + width * theta, right - width * phi)
        log = -log
        line = 1.0 / line
    else:
        below = theta * (steep * theta + first * phi) * per
        above = phi * (steep * phi + last * theta) * per
        height = top - bottom
        value = tl.where(below < above, bottom + height * below, top - height * above)
    given = tl.load(x + lanes, mask=lanes < count, other=0.0)
    # Exactly x where the line has a slope of one, though x be infinite.
    straight = tl.where(line == 1, given, given + (line - 1.0) * beyond)
    tl.store(y + lanes, tl.where(outside, straight, value), mask=lanes < count)
    tl.store(log_slope + lanes, log, mask=lanes < count)
