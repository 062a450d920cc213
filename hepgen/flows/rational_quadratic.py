r"""Monotonic rational-quadratic splines in plain torch: formulas, and the reference of the kernels.

C. Durkan, A. Bekasov, I. Murray and G. Papamakarios, "Neural spline flows", arXiv:1906.04032;
J. A. Gregory and R. Delbourgo, IMA J. Numer. Anal. 2 (1982) 123.

In a bin of width w and height h, s = h / w, with slopes d and d' at its ends and
θ = (x - x_k) / w, φ = 1 - θ:

.. math:: y = y_k + h \frac{\theta (s \theta + d \varphi)}{n}, \qquad
   \frac{dy}{dx} = \frac{s^2 (d' \theta^2 + 2 s \theta \varphi + d \varphi^2)}{n^2}, \qquad
   n = s (\theta^2 + \varphi^2) + (d + d') \theta \varphi

All terms of these sums are positive, so nothing cancels. Nor does anything in this form of the
inverse, with u = (y - y_k) / h, v = 1 - u:

.. math:: q = d v - d' u, \quad r = \sqrt{q^2 + 4 s^2 u v}, \quad
   t = q + r = \frac{4 s^2 u v}{r - q}, \quad \theta = \frac{2 s u}{t + 2 s u}

The discriminant under the root is a sum of squares: it cannot become negative by rounding.

Shapes: B batch, D dimensions, K bins, M parameters of one dimension.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["CIRCLE", "FREE", "STRAIGHT", "Knots", "bins_and_slopes", "rational_quadratic"]

FREE, STRAIGHT, CIRCLE = 0, 1, 2
"""Slopes at the ends of the interval: parameters, one, or one parameter for both."""


@dataclass(frozen=True)
class Knots:
    """What of a spline is not a parameter.

    Attributes:
        bins: K.
        ends: `FREE`, `STRAIGHT` or `CIRCLE`.
        low: left end of the interval.
        high: right end of the interval.
        min_bin: least width and height of a bin, as a fraction of the interval.
        min_slope: least slope at a knot.
    """

    bins: int
    ends: int
    low: float
    high: float
    min_bin: float
    min_slope: float

    @property
    def num_parameters(self) -> int:
        """M."""
        slopes = {FREE: self.bins + 1, STRAIGHT: self.bins - 1, CIRCLE: self.bins}
        return 2 * self.bins + slopes[self.ends]

    @property
    def shift(self) -> float:
        """What is added to raw slopes, so that zero is one: softplus^-1(1 - min_slope)."""
        return math.log(math.expm1(1 - self.min_slope))

    def slots(self) -> list[int]:
        """Which parameter is the slope of each of the K + 1 knots; -1 where it is one."""
        first = 2 * self.bins
        if self.ends == STRAIGHT:
            return [-1, *range(first, first + self.bins - 1), -1]
        last = first if self.ends == CIRCLE else first + self.bins
        return [*range(first, first + self.bins), last]


def bins_and_slopes(raw: Tensor, knots: Knots) -> tuple[Tensor, Tensor, Tensor]:
    """What parameters stand for.

    Args:
        raw: parameters, shape (..., D, M).
        knots: the rest.

    Returns:
        Widths and heights as fractions of the interval, shape (..., D, K), and slopes at the
        knots, shape (..., D, K + 1).
    """
    bins = knots.bins
    rest = 1 - bins * knots.min_bin
    widths = knots.min_bin + rest * torch.softmax(raw[..., :bins], -1)
    heights = knots.min_bin + rest * torch.softmax(raw[..., bins : 2 * bins], -1)
    slopes = knots.min_slope + functional.softplus(raw[..., 2 * bins :] + knots.shift)
    if knots.ends == CIRCLE:
        slopes = torch.cat([slopes, slopes[..., :1]], -1)
    elif knots.ends == STRAIGHT:
        slopes = functional.pad(slopes, (1, 1), value=1.0)
    return widths, heights, slopes


def rational_quadratic(
    x: Tensor,
    widths: Tensor,
    heights: Tensor,
    slopes: Tensor,
    *,
    low: float = 0.0,
    high: float = 1.0,
    inverse: bool = False,
) -> tuple[Tensor, Tensor]:
    """The spline through given knots, in plain torch: no shape depends on a value.

    It is differentiable as often as one likes, under all transforms of torch.func.

    Args:
        x: what to map, shape (..., D).
        widths: of the bins as fractions of the interval, positive, of sum one, shape (..., D, K).
        heights: likewise.
        slopes: at the knots, positive, shape (..., D, K + 1).
        low: left end of the interval that is mapped onto itself; outside it goes on straight.
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
    first, last = here(slopes[..., :-1]), here(slopes[..., 1:])
    width, height = right - left, top - bottom
    steep = height / width
    if inverse:
        u, v = (inside - bottom) / height, (top - inside) / height
        mixed = first * v - last * u
        product = 4 * steep.square() * u * v
        sum_ = mixed.abs() + (mixed.square() + product).sqrt()
        rest = torch.where(mixed >= 0, sum_, product / sum_)
        whole = rest + 2 * steep * u
        theta, phi = 2 * steep * u / whole, rest / whole
        y = torch.where(theta < phi, left + width * theta, right - width * phi)
    else:
        theta, phi = (inside - left) / width, (right - inside) / width
    both = theta * phi
    bottom_of = steep * (theta.square() + phi.square()) + (first + last) * both
    if not inverse:
        below = theta * (steep * theta + first * phi) / bottom_of
        above = phi * (steep * phi + last * theta) / bottom_of
        y = torch.where(below < above, bottom + height * below, top - height * above)
    slope = last * theta.square() + 2 * steep * both + first * phi.square()
    log_slope = slope.log() + 2 * (steep / bottom_of).log()
    return _go_on(x, y, -log_slope if inverse else log_slope, slopes, low, high, inverse)


def _knots(fractions: Tensor, low: float, high: float) -> tuple[Tensor, Tensor]:
    """Left and right ends of the bins, (..., D, K) each; the outermost exactly low and high."""
    inner = low + (high - low) * fractions[..., :-1].cumsum(-1)
    return functional.pad(inner, (1, 0), value=low), functional.pad(inner, (0, 1), value=high)


def _go_on(
    x: Tensor,
    y: Tensor,
    log_slope: Tensor,
    slopes: Tensor,
    low: float,
    high: float,
    inverse: bool,
) -> tuple[Tensor, Tensor]:
    """Straight lines outside of the interval."""
    below, above = x < low, x > high
    slope = torch.where(below, slopes[..., 0], slopes[..., -1])
    slope = slope.reciprocal() if inverse else slope
    outside = below | above
    beyond = torch.where(outside, x - x.clamp(low, high), 0)
    # With a slope of one exactly x, though it be infinite.
    line = torch.where(slope == 1, x, x + (slope - 1) * beyond)
    return torch.where(outside, line, y), torch.where(outside, slope.log(), log_slope)
