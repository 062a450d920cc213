"""Rational-quadratic splines beside nflows, zuko and autograd."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from nflows.transforms import splines
from torch import Tensor
from zuko.transforms import MonotonicRQSTransform

from hepgen.flows.spline import RationalQuadraticSpline, rational_quadratic

KINDS: dict[str, dict[str, Any]] = {
    "cube": {},
    "tails": {"tail_bound": 3.0},
    "circle": {"periodic": True},
    "wide circle": {"periodic": True, "tail_bound": math.pi},
    "one bin": {"num_bins": 1, "tail_bound": 2.0},
    "many bins": {"num_bins": 37, "min_bin": 1e-4, "min_slope": 1e-2},
}
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}


def case(
    kind: str,
    dtype: torch.dtype = torch.float64,
    rough: float = 1.0,
    size: tuple[int, int] = (97, 3),
) -> tuple[RationalQuadraticSpline, Tensor, Tensor]:
    """A spline, points of which some lie outside or on the ends of its interval, parameters."""
    spline = RationalQuadraticSpline(**KINDS[kind])
    generator = torch.Generator().manual_seed(5)
    x = 1.1 * torch.rand(size, generator=generator, dtype=torch.float64) - 0.05
    x[0], x[1] = 0.0, 1.0
    x = spline.low + (spline.high - spline.low) * x
    shape = (*size, spline.num_parameters)
    parameters = rough * torch.randn(shape, generator=generator, dtype=torch.float64)
    return spline, x.to(dtype), parameters.to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("inverse", [False, True])
def test_parameters_of_zero_give_the_identity(kind: str, dtype: torch.dtype, inverse: bool) -> None:
    spline, x, parameters = case(kind, dtype)
    y, log_slope = spline(x, torch.zeros_like(parameters), inverse=inverse)
    few = 8 * torch.finfo(dtype).eps
    torch.testing.assert_close(y, x, rtol=few, atol=few)
    torch.testing.assert_close(log_slope, torch.zeros_like(x), rtol=0, atol=few)
    assert y.dtype == log_slope.dtype == dtype


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("kind", ["cube", "tails"])
def test_values_equal_those_of_nflows(kind: str, dtype: torch.dtype, inverse: bool) -> None:
    spline, x, parameters = case(kind, dtype)
    y, log_slope = spline(x, parameters, inverse=inverse)
    widths, heights, slopes = parameters.split([8, 8, spline.num_parameters - 16], -1)
    slopes = slopes + math.log(math.expm1(1 - spline.min_slope))
    if kind == "cube":
        inside = ((x >= 0) & (x <= 1)).all(-1)
        x, y, log_slope = x[inside], y[inside], log_slope[inside]
        peer = splines.rational_quadratic_spline(
            x, widths[inside], heights[inside], slopes[inside], inverse=inverse
        )
    else:
        peer = splines.unconstrained_rational_quadratic_spline(
            x, widths, heights, slopes, inverse=inverse, tail_bound=3.0
        )
    tolerance = TOLERANCE[dtype]
    torch.testing.assert_close(y, peer[0], rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(log_slope, peer[1], rtol=tolerance, atol=tolerance)


def test_the_spline_through_given_knots_equals_that_of_zuko() -> None:
    generator = torch.Generator().manual_seed(1)
    raw = [torch.randn(50, 2, n, generator=generator, dtype=torch.float64) for n in (8, 8, 7)]
    peer = MonotonicRQSTransform(*raw, bound=4.0)
    x = 10 * torch.rand(50, 2, generator=generator, dtype=torch.float64) - 5
    widths, heights = peer.horizontal.diff() / 8, peer.vertical.diff() / 8
    got = rational_quadratic(x, widths, heights, peer.derivatives, low=-4.0, high=4.0)
    expected = peer.call_and_ladj(x)
    torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-10)
    back = rational_quadratic(
        x, widths, heights, peer.derivatives, low=-4.0, high=4.0, inverse=True
    )
    torch.testing.assert_close(back[0], peer.inv(x), rtol=1e-10, atol=1e-10)
