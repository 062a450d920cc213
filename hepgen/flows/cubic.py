r"""Monotonic cubic splines.

C. Durkan, A. Bekasov, I. Murray and G. Papamakarios, "Cubic-spline flows", arXiv:1906.02145;
slopes at the knots after M. Steffen, Astron. Astrophys. 239 (1990) 443, eqs. (10) and (11).

In a bin of width w and height h, with slopes :math:`p = d w / h` and :math:`q = d' w / h` at its
ends and θ = (x - x_k) / w, φ = 1 - θ:

.. math:: y = y_k + h\, \theta \big[ \theta (3 \varphi + \theta) + \varphi (p \varphi - q \theta)
   \big], \qquad
   \frac{dy}{dx} = \frac{h}{w} \big[ p \varphi^2 + 2 (3 - p - q) \theta \varphi + q \theta^2 \big]

which increases where p and q are within 0 and 3, and Steffen's slopes are. For the inverse the root
in closed form (trigonometric, hyperbolic, or of the parabola, whichever is not ill-conditioned) is
only where Newton's method begins; every step stays between a point that is known to be below the
root and one above it, so that nothing can leave the bin.

Shapes: B batch, D dimensions, K bins, M parameters of one dimension.
"""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor
from torch.nn import functional

from hepgen.flows.element import Element

__all__ = ["CubicSpline", "cubic_spline", "steffen_slopes"]

SMALLEST_BIN = 1e-5
# Of the greatest that is monotonic, at the ends of the unit cube: no slope becomes zero.
LEAST_END = 1e-3
# Newton's steps from the closed form: two suffice but for nearly level bins.
POLISH = 5


@final
class CubicSpline(Element):
    """A monotonic cubic spline whose bins a network gives, and its slopes at the ends.

    Of the M parameters of an element the first K are the logarithms of the widths of the bins, but
    for a common factor, the next K those of the heights. On the unit cube two more give the slopes
    at its ends, before a sigmoid. Parameters of zero give the identity. Slopes at the inner knots
    follow from the bins beside them, so the map is less flexible than a rational-quadratic spline
    of as many bins, and needs fewer parameters.

    Outside its interval it is the identity.

    Args:
        num_bins: K.
        tail_bound: b of the interval [-b, b] that is mapped onto itself; the slope is one at its
            ends if a monotonic cubic can have it, which is where the outermost bin is not thrice as
            wide as high. Without it the unit cube is mapped onto itself.
        min_bin: the least width and height of a bin, as a fraction of the interval.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(
        self, num_bins: int = 8, tail_bound: float | None = None, min_bin: float = 1e-3
    ) -> None:
        if num_bins < 1:
            raise ValueError(f"num_bins is at least 1, got {num_bins}")
        if tail_bound is not None and not 0 < tail_bound < math.inf:
            raise ValueError(f"tail_bound is positive and finite, or None, got {tail_bound}")
        if not SMALLEST_BIN <= min_bin <= 1 / num_bins:
            raise ValueError(
                f"min_bin is between {SMALLEST_BIN} and 1 / num_bins = {1 / num_bins:.3g},"
                f" got {min_bin}"
            )
        self.num_bins, self.tail_bound, self.min_bin = num_bins, tail_bound, min_bin
        self.low, self.high = (0.0, 1.0) if tail_bound is None else (-tail_bound, tail_bound)
        self.num_parameters = 2 * num_bins + (2 if tail_bound is None else 0)

    def __call__(
        self, x: Tensor, parameters: Tensor, *, inverse: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Map each element, or map it back.

        Args:
            x: what to map, shape (..., D); NaN stays NaN.
            parameters: shape (..., D, M), any real numbers, taken in the dtype of ``x``; half
                precision is computed in float32.
            inverse: map back.

        Returns:
            What it is mapped to and the logarithm of the slope of the map that was applied, both of
            shape (..., D), dtype and device of ``x``.

        Raises:
            ValueError: the shape of the parameters is another one.
        """
        if parameters.shape != (*x.shape, self.num_parameters):
            raise ValueError(
                f"{self.num_bins} bins need parameters of shape"
                f" {(*x.shape, self.num_parameters)}, got {tuple(parameters.shape)}"
            )
        given = x.dtype
        if given in (torch.float16, torch.bfloat16):
            x = x.float()
        widths, heights, slopes = self.shapes(parameters.to(x.dtype))
        y, log_slope = cubic_spline(
            x, widths, heights, slopes, low=self.low, high=self.high, inverse=inverse
        )
        return y.to(given), log_slope.to(given)

    def shapes(self, parameters: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Bins and slopes that parameters stand for.

        Args:
            parameters: shape (..., D, M).

        Returns:
            Widths and heights as fractions of the interval, shape (..., D, K), and slopes at the
            knots, shape (..., D, K + 1).
        """
        bins = self.num_bins
        size = 1 - bins * self.min_bin
        widths = self.min_bin + size * torch.softmax(parameters[..., :bins], -1)
        heights = self.min_bin + size * torch.softmax(parameters[..., bins : 2 * bins], -1)
        steep = heights / widths
        most = 3 * torch.stack([steep[..., 0], steep[..., -1]], -1)  # (..., D, 2)
        if self.tail_bound is None:
            share = (1 / 3 - LEAST_END) / (1 - 2 * LEAST_END)
            free = parameters[..., 2 * bins :] + math.log(share / (1 - share))
            ends = most * (LEAST_END + (1 - 2 * LEAST_END) * torch.sigmoid(free))
        else:
            ends = most.clamp(max=1.0)
        return widths, heights, steffen_slopes(widths, heights, ends)


def steffen_slopes(widths: Tensor, heights: Tensor, ends: Tensor) -> Tensor:
    """Slopes at the knots that keep a cubic spline monotonic.

    At an inner knot the slope of the parabola through it and its neighbours, but at most twice that
    of either bin.

    Args:
        widths: of the bins, positive, shape (..., K).
        heights: likewise.
        ends: slopes at the first and the last knot, shape (..., 2).

    Returns:
        Slopes at all knots, shape (..., K + 1).
    """
    steep = heights / widths
    before, after = steep[..., :-1], steep[..., 1:]
    left, right = widths[..., :-1], widths[..., 1:]
    parabola = (before * right + after * left) / (left + right)
    inner = torch.minimum(parabola, 2 * torch.minimum(before, after))  # (..., K - 1)
    return torch.cat([ends[..., :1], inner, ends[..., 1:]], -1)


def cubic_spline(
    x: Tensor,
    widths: Tensor,
    heights: Tensor,
    slopes: Tensor,
    *,
    low: float = 0.0,
    high: float = 1.0,
    inverse: bool = False,
) -> tuple[Tensor, Tensor]:
    """The spline through given knots.

    Args:
        x: what to map, shape (..., D).
        widths: of the bins as fractions of the interval, positive, of sum one, shape (..., D, K).
        heights: likewise.
        slopes: at the knots, positive and at most thrice those of the bins at both sides, shape
            (..., D, K + 1).
        low: left end of the interval that is mapped onto itself; outside nothing moves.
        high: its right end.
        inverse: map back.

    Returns:
        What x is mapped to and the logarithm of the slope of the map that was applied, both of
        shape (..., D).
    """
    left, right = _knots(widths, low, high)
    bottom, top = _knots(heights, low, high)
    inside = x.clamp(low, high)
    edges = bottom if inverse else left
    place = (inside[..., None] >= edges[..., 1:]).sum(-1, keepdim=True)  # (..., D, 1)

    def here(knots: Tensor) -> Tensor:
        return knots.gather(-1, place)[..., 0]

    left, right, bottom, top = here(left), here(right), here(bottom), here(top)
    width, height = right - left, top - bottom
    flat = width / height
    p, q = here(slopes[..., :-1]) * flat, here(slopes[..., 1:]) * flat
    if inverse:
        # From both ends, so that neither the share below nor that above is rounded to nothing.
        theta, phi = _root((inside - bottom) / height, (top - inside) / height, p, q)
        y = torch.where(theta < phi, left + width * theta, right - width * phi)
    else:
        theta, phi = (inside - left) / width, (right - inside) / width
        y = torch.where(
            theta < phi,
            bottom + height * _rise(theta, phi, p, q),
            top - height * _rise(phi, theta, q, p),
        )
    log_slope = (_slope(theta, phi, p, q) / flat).log()
    outside = (x < low) | (x > high)
    log_slope = torch.where(outside, 0.0, log_slope)
    return torch.where(outside, x, y), -log_slope if inverse else log_slope


def _knots(fractions: Tensor, low: float, high: float) -> tuple[Tensor, Tensor]:
    """Left and right ends of the bins, (..., D, K) each; the outermost exactly low and high."""
    inner = low + (high - low) * fractions[..., :-1].cumsum(-1)
    return functional.pad(inner, (1, 0), value=low), functional.pad(inner, (0, 1), value=high)


def _rise(theta: Tensor, phi: Tensor, p: Tensor, q: Tensor) -> Tensor:
    """How far up the bin, as a fraction of its height, at θ of its width and φ = 1 - θ."""
    return theta * (theta * (3 * phi + theta) + phi * (p * phi - q * theta))


def _slope(theta: Tensor, phi: Tensor, p: Tensor, q: Tensor) -> Tensor:
    """Derivative of `_rise` by θ."""
    return p * phi.square() + 2 * (3 - p - q) * theta * phi + q * theta.square()


def _root(u: Tensor, v: Tensor, p: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
    """Where the rise is u = 1 - v: θ and φ = 1 - θ, each exact where it is the smaller one."""
    # Seen from the nearer end, small numbers stay small without being differences of large ones.
    flip = u > v
    near, p, q = torch.where(flip, v, u), torch.where(flip, q, p), torch.where(flip, p, q)
    with torch.no_grad():
        start = _closed_form(near, p, q)
        below, above = torch.zeros_like(near), torch.ones_like(near)
        for _ in range(POLISH):
            high = _rise(start, 1 - start, p, q) >= near
            above = torch.where(high, start, above)
            below = torch.where(high, below, start)
            step = _newton(start, near, p, q)
            inside = (step >= below) & (step <= above)
            start = torch.where(inside, step, 0.5 * (below + above))
    # A last step that is differentiated gives the derivatives of the inverse function.
    theta = _newton(start, near, p, q)
    theta = theta + (theta.clamp(0, 1) - theta).detach()
    phi = 1 - theta
    return torch.where(flip, phi, theta), torch.where(flip, theta, phi)


def _newton(theta: Tensor, u: Tensor, p: Tensor, q: Tensor) -> Tensor:
    phi = 1 - theta
    slope = _slope(theta, phi, p, q)
    return theta + (u - _rise(theta, phi, p, q)) / slope.clamp(min=1e-30)


def _closed_form(u: Tensor, p: Tensor, q: Tensor) -> Tensor:
    """Root in [0, 1] of a θ³ + b θ² + p θ = u, good to a few digits or better."""
    a, b = p + q - 2, 3 - 2 * p - q
    # The parabola: without the cubic term, and without cancellation.
    parabola = 2 * u / (p + (p.square() + 4 * b * u).clamp(min=0).sqrt())
    parabola = torch.where(u > 0, parabola, 0)
    cubic = torch.where(a.abs() < 1e-3, 1.0, a)
    shift = b / (3 * cubic)
    # t³ + 3 m t + 2 n = 0 with t = θ + b / 3 a.
    m = p / (3 * cubic) - shift.square()
    n = shift**3 - 0.5 * shift * p / cubic - 0.5 * u / cubic
    discriminant = n.square() + m**3
    # One real root.
    root = discriminant.clamp(min=0).sqrt()
    larger = -(n.sign() + (n == 0)) * (n.abs() + root)
    one = larger.sign() * larger.abs().pow(1 / 3)
    one = one - m / torch.where(one == 0, 1.0, one)
    # Three: the one nearest to the bin is in it.
    size = (-m).clamp(min=0).sqrt()
    angle = torch.atan2((-discriminant).clamp(min=0).sqrt(), -n) / 3
    best = torch.where(discriminant > 0, one, 2 * size * angle.cos()) - shift
    for turn in (2 * math.pi / 3, -2 * math.pi / 3):
        other = 2 * size * (angle + turn).cos() - shift
        closer = (other - 0.5).abs() < (best - 0.5).abs()
        best = torch.where((discriminant <= 0) & closer, other, best)
    return torch.where(a.abs() < 1e-3, parabola, best).clamp(0, 1)
