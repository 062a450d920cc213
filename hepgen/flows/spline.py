r"""Monotonic rational-quadratic splines.

C. Durkan, A. Bekasov, I. Murray and G. Papamakarios, "Neural spline flows", arXiv:1906.04032;
J. A. Gregory and R. Delbourgo, IMA J. Numer. Anal. 2 (1982) 123. On the circle: D. J. Rezende et
al., "Normalizing flows on tori and spheres", arXiv:2002.02428.

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

import torch
from torch import Tensor
from torch.nn import functional

from hepgen.flows.element import Element

__all__ = ["RationalQuadraticSpline", "rational_quadratic"]

SMALLEST_BIN = 1e-5


class RationalQuadraticSpline(Element):
    """A monotonic rational-quadratic spline whose bins and slopes a network gives.

    Of the M parameters of an element the first K are the logarithms of the widths of the bins, but
    for a common factor, the next K those of the heights; the rest are the slopes at the knots from
    left to right, before a softplus. Parameters of zero give the identity.

    Outside its interval the spline goes on as a straight line with the slope of the end, so what
    rounding pushed over the edge of the unit cube comes back where it was, and nothing is checked
    that would need to look at the values. On the circle it goes on periodically:
    f(x + period) = f(x) + period.

    Args:
        num_bins: K.
        tail_bound: b of the interval [-b, b] that is mapped onto itself, with slopes of one at its
            ends and the identity outside; without it the unit cube is mapped onto itself, all
            slopes are free.
        periodic: the interval, [0, 1] or [-b, b], is a circle: the slopes at its ends are one
            parameter.
        min_bin: the least width and height of a bin, as a fraction of the interval.
        min_slope: the least slope at a knot.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(
        self,
        num_bins: int = 8,
        tail_bound: float | None = None,
        periodic: bool = False,
        min_bin: float = 1e-3,
        min_slope: float = 1e-3,
    ) -> None:
        if num_bins < 1:
            raise ValueError(f"num_bins is at least 1, got {num_bins}")
        if tail_bound is not None and not 0 < tail_bound < math.inf:
            raise ValueError(f"tail_bound is positive and finite, or None, got {tail_bound}")
        if not SMALLEST_BIN <= min_bin < 1 / num_bins:
            raise ValueError(
                f"min_bin is from {SMALLEST_BIN} up to 1 / num_bins = {1 / num_bins:.3g},"
                f" got {min_bin}"
            )
        if not 0 < min_slope < 1:
            raise ValueError(f"min_slope is between 0 and 1, got {min_slope}")
        self.num_bins = num_bins
        self.tail_bound = tail_bound
        self.periodic = periodic
        self.min_bin = min_bin
        self.min_slope = min_slope
        self.low, self.high = (0.0, 1.0) if tail_bound is None else (-tail_bound, tail_bound)
        free = num_bins if periodic else num_bins + 1 if tail_bound is None else num_bins - 1
        self.num_parameters = 2 * num_bins + free

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
        parameters = parameters.to(x.dtype)
        if self.periodic:
            period = self.high - self.low
            turns = torch.floor((x.detach() - self.low) / period) * period
            y, log_slope = self._map(x - turns, parameters, inverse)
            y = y + turns
        else:
            y, log_slope = self._map(x, parameters, inverse)
        return y.to(given), log_slope.to(given)

    def _map(self, x: Tensor, parameters: Tensor, inverse: bool) -> tuple[Tensor, Tensor]:
        widths, heights, slopes = self.shapes(parameters)
        return rational_quadratic(
            x, widths, heights, slopes, low=self.low, high=self.high, inverse=inverse
        )

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
        one = math.log(math.expm1(1 - self.min_slope))  # softplus^-1(1 - min_slope)
        slopes = self.min_slope + functional.softplus(parameters[..., 2 * bins :] + one)
        if self.periodic:
            slopes = torch.cat([slopes, slopes[..., :1]], -1)
        elif self.tail_bound is not None:
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
        y = bottom + height * theta * (steep * theta + first * phi) / bottom_of
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
