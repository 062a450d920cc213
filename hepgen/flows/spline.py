"""Monotonic rational-quadratic splines whose bins and slopes a network gives.

C. Durkan, A. Bekasov, I. Murray and G. Papamakarios, "Neural spline flows", arXiv:1906.04032. On
the circle: D. J. Rezende et al., "Normalizing flows on tori and spheres", arXiv:2002.02428.

Shapes: D dimensions, K bins, M parameters of one dimension.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hepgen.flows.element import Element
from hepgen.flows.rational_quadratic import (
    CIRCLE,
    FREE,
    STRAIGHT,
    Knots,
    bins_and_slopes,
    rational_quadratic,
)
from hepgen.flows.spline_operators import has_operator, spline

__all__ = ["RationalQuadraticSpline"]

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
        low, high = (0.0, 1.0) if tail_bound is None else (-tail_bound, tail_bound)
        ends = CIRCLE if periodic else FREE if tail_bound is None else STRAIGHT
        self.knots = Knots(num_bins, ends, low, high, min_bin, min_slope)
        self.num_parameters = self.knots.num_parameters

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
            period = self.knots.high - self.knots.low
            turns = torch.floor((x.detach() - self.knots.low) / period) * period
            y, log_slope = self._map(x - turns, parameters, inverse)
            y = y + turns
        else:
            y, log_slope = self._map(x, parameters, inverse)
        return y.to(given), log_slope.to(given)

    def _map(self, x: Tensor, parameters: Tensor, inverse: bool) -> tuple[Tensor, Tensor]:
        if has_operator(x.device):
            return spline(x, parameters, self.knots, inverse)
        shape = bins_and_slopes(parameters, self.knots)
        return rational_quadratic(
            x, *shape, low=self.knots.low, high=self.knots.high, inverse=inverse
        )
