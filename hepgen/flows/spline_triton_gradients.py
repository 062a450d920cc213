"""Gradients of rational-quadratic splines on a GPU: Triton kernel.

`hepgen.flows.spline_gradients` has the formulas and the same steps under the same names.

Shapes: N elements, K bins (the next power of two in a tile), M parameters of an element.
"""

# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-calls
from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from hepgen.flows.rational_quadratic import Knots
from hepgen.flows.spline_triton import BLOCK, bins_and_slopes, constants, locate

__all__ = ["backward"]


def backward(
    x: Tensor,
    raw: Tensor,
    grad_y: Tensor,
    grad_log: Tensor,
    grad_x: Tensor,
    grad_raw: Tensor,
    knots: Knots,
    inverse: bool,
) -> None:
    """Gradients with respect to x and the parameters.

    Args:
        x: what was mapped, N elements, contiguous.
        raw: parameters, N of M, contiguous.
        grad_y: with respect to the values, as x.
        grad_log: with respect to the log-slopes, as x.
        grad_x: filled, as x.
        grad_raw: filled, as raw.
        knots: what is not a parameter.
        inverse: what was mapped was mapped back.
    """
    count = x.numel()
    if count:
        with torch.cuda.device_of(x):
            _backward[(triton.cdiv(count, BLOCK),)](
                x,
                raw,
                grad_y,
                grad_log,
                grad_x,
                grad_raw,
                count,
                **constants(knots),
                INVERSE=inverse,
                SLOPES=knots.num_parameters - 2 * knots.bins,
                PLACES=triton.next_power_of_2(max(knots.num_parameters - 2 * knots.bins, 1)),
            )


@triton.jit
def _backward(
    x,
    raw,
    grad_y,
    grad_log,
    grad_x,
    grad_raw,
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
    SLOPES: tl.constexpr,
    PLACES: tl.constexpr,
    LANES: tl.constexpr,
):
    lanes, columns = tl.program_id(0) * LANES + tl.arange(0, LANES), tl.arange(0, WIDE)
    known = lanes < count
    (
        inside,
        beyond,
        share,
        other_share,
        index,
        left,
        right,
        bottom,
        top,
        first,
        last,
        first_rate,
        last_rate,
    ) = bins_and_slopes(
        x,
        raw,
        lanes,
        columns,
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
    weight = tl.load(grad_y + lanes, mask=known, other=0.0)
    weight_log = tl.load(grad_log + lanes, mask=known, other=0.0)
    if INVERSE:
        beyond, weight, weight_log = _pull_back(
            theta, phi, left, right, bottom, top, first, last, beyond, weight, weight_log
        )
    by_x, by_left, by_width, by_bottom, by_height, by_first, by_last = _differentiate(
        theta, phi, left, right, bottom, top, first, last, beyond, weight, weight_log
    )
    tl.store(grad_x + lanes, -weight if INVERSE else by_x, mask=known)
    rows = grad_raw + lanes.to(tl.int64)[:, None] * PARAMETERS
    stored = known[:, None] & (columns < BINS)[None, :]
    grad = _to_logits(share, columns, index, by_left, by_width, REST)
    tl.store(rows + columns[None, :], grad, mask=stored)
    grad = _to_logits(other_share, columns, index, by_bottom, by_height, REST)
    tl.store(rows + BINS + columns[None, :], grad, mask=stored)
    if SLOPES > 0:
        slots, by_first, by_last = tl.arange(0, PLACES), by_first * first_rate, by_last * last_rate
        grad = _to_slopes(slots, index, by_first, by_last, BINS, IS_STRAIGHT, IS_CIRCLE)
        stored = known[:, None] & (slots < SLOPES)[None, :]
        tl.store(rows + 2 * BINS + slots[None, :], grad, mask=stored)


@triton.jit
def _to_slopes(
    slots,
    index,
    by_first,
    by_last,
    BINS: tl.constexpr,
    IS_STRAIGHT: tl.constexpr,
    IS_CIRCLE: tl.constexpr,
):
    """Gradients with respect to raw slopes."""
    before, after = index, index + 1
    if IS_CIRCLE:
        after = tl.where(after == BINS, 0, after)
    if IS_STRAIGHT:
        before, after = before - 1, after - 1
    grad = tl.where(slots[None, :] == before[:, None], by_first[:, None], 0.0)
    return grad + tl.where(slots[None, :] == after[:, None], by_last[:, None], 0.0)


@triton.jit
def _pull_back(theta, phi, left, right, bottom, top, first, last, beyond, weight, weight_log):
    """Weights of the derivatives of the map, from those of its inverse."""
    steep = (top - bottom) / (right - left)
    both = theta * phi
    per = 1.0 / (steep * (theta * theta + phi * phi) + (first + last) * both)
    slope = last * theta * theta + 2.0 * steep * both + first * phi * phi
    bend = ((last - steep) * theta + (steep - first) * phi) / slope
    bend = bend - ((first - steep) + (last - steep)) * (phi - theta) * per
    outside = tl.abs(beyond) > 0
    change = tl.where(outside, 0.0, 2.0 * bend / (right - left))
    slope = (slope * (steep * per)) * (steep * per)
    slope = tl.where(outside, tl.where(beyond < 0, first, last), slope)
    return beyond / slope, -(weight - weight_log * change) / slope, -weight_log


@triton.jit
def _differentiate(theta, phi, left, right, bottom, top, first, last, beyond, on_y, on_log):
    """Gradients with respect to x, the knots and slopes of its bin."""
    outside = tl.abs(beyond) > 0
    weight, weight_log = tl.where(outside, 0.0, on_y), tl.where(outside, 0.0, on_log)
    per_width = 1.0 / (right - left)
    height = top - bottom
    steep = height * per_width
    both, squares = theta * phi, theta * theta + phi * phi
    per = 1.0 / (steep * squares + (first + last) * both)
    slope = last * theta * theta + 2.0 * steep * both + first * phi * phi
    per_slope = 1.0 / slope
    share = weight * height * (per * per)
    # With respect to θ, s, and the slopes; the logarithm's halved.
    bend = ((last - steep) * theta + (steep - first) * phi) * per_slope
    bend = weight_log * (bend - ((first - steep) + (last - steep)) * (phi - theta) * per)
    by_theta = share * steep * slope + 2.0 * bend
    part = weight_log * (both * per_slope - squares * per + 1.0 / steep)
    by_steep = share * both * (last * theta * theta - first * phi * phi) + 2.0 * part
    twice = 2.0 * both * per
    by_first = share * both * phi * (steep * phi + last * theta)
    by_first += weight_log * (phi * phi * per_slope - twice)
    by_last = weight_log * (theta * theta * per_slope - twice)
    by_last -= share * both * theta * (steep * theta + first * phi)
    value = theta * (steep * theta + first * phi) * per
    by_x = by_theta * per_width
    by_width = -(by_theta * theta + by_steep * steep) * per_width
    by_height = weight * value + by_steep * per_width
    line = tl.where(beyond < 0, first, last)
    by_line = on_y * beyond + on_log / line
    by_first = tl.where(beyond < 0, by_line, by_first)
    by_last = tl.where(beyond > 0, by_line, by_last)
    outer = tl.where(outside, on_y * line, by_x)
    return outer, -by_x, by_width, weight, by_height, by_first, by_last


@triton.jit
def _to_logits(share, columns, index, by_edge, by_size, REST: tl.constexpr):
    """Gradients with respect to raw widths, or heights."""
    before = columns[None, :] < index[:, None]
    here = columns[None, :] == index[:, None]
    grad = tl.where(before, by_edge[:, None], tl.where(here, by_size[:, None], 0.0))
    mean = tl.sum(share * grad, axis=1)
    return REST * share * (grad - mean[:, None])
