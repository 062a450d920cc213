"""Rational-quadratic splines beside nflows, zuko and autograd."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from nflows.transforms import splines
from torch import Tensor
from zuko.transforms import MonotonicRQSTransform

from hepgen.flows.rational_quadratic import (
    CIRCLE,
    FREE,
    STRAIGHT,
    Knots,
    bins_and_slopes,
    rational_quadratic,
)
from hepgen.flows.spline import RationalQuadraticSpline

KINDS: dict[str, dict[str, Any]] = {
    "cube": {},
    "tails": {"tail_bound": 3.0},
    "circle": {"periodic": True},
    "wide circle": {"periodic": True, "tail_bound": math.pi},
    "one bin": {"num_bins": 1, "tail_bound": 2.0},
    "one bin of a circle": {"num_bins": 1, "periodic": True},
    "many bins": {"num_bins": 37, "min_bin": 1e-4, "min_slope": 1e-2},
}
DTYPES = [torch.float32, torch.float64]
Results = tuple[Tensor, Tensor]


def case(
    kind: str, dtype: torch.dtype = torch.float64, rough: float = 1.0, count: int = 97
) -> tuple[RationalQuadraticSpline, Tensor, Tensor]:
    """A spline, points of which some lie outside or on the ends of its interval, parameters."""
    spline = RationalQuadraticSpline(**KINDS[kind])
    generator = torch.Generator().manual_seed(5)
    x = 1.1 * torch.rand(count, 3, generator=generator, dtype=torch.float64) - 0.05
    x[0], x[1] = 0.0, 1.0
    x = spline.knots.low + (spline.knots.high - spline.knots.low) * x
    shape = (count, 3, spline.num_parameters)
    parameters = rough * torch.randn(shape, generator=generator, dtype=torch.float64)
    return spline, x.to(dtype), parameters.to(dtype)


def of_nflows(
    spline: RationalQuadraticSpline, x: Tensor, parameters: Tensor, inverse: bool
) -> Results:
    """The same spline by nflows, whose zero is another slope."""
    sizes = [spline.num_bins, spline.num_bins, spline.num_parameters - 2 * spline.num_bins]
    widths, heights, slopes = parameters.split(sizes, -1)
    raw = widths, heights, slopes + math.log(math.expm1(1 - spline.min_slope))
    results: Results
    if spline.tail_bound is None:
        results = splines.rational_quadratic_spline(x, *raw, inverse=inverse)
    else:
        results = splines.unconstrained_rational_quadratic_spline(
            x, *raw, inverse=inverse, tail_bound=spline.tail_bound
        )
    return results


def inside(spline: RationalQuadraticSpline, x: Tensor) -> Tensor:
    """nflows refuses points outside of the cube."""
    return x.clamp(0, 1) if spline.tail_bound is None else x


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
def test_parameters_of_zero_give_the_identity(kind: str, dtype: torch.dtype, inverse: bool) -> None:
    spline, x, parameters = case(kind, dtype)
    y, log_slope = spline(x, torch.zeros_like(parameters), inverse=inverse)
    few = 8 * torch.finfo(dtype).eps
    torch.testing.assert_close(y, x, rtol=few, atol=few)
    torch.testing.assert_close(log_slope, torch.zeros_like(x), rtol=0, atol=few)
    assert y.dtype == log_slope.dtype == dtype


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("kind", ["cube", "tails"])
def test_values_and_gradients_equal_those_of_nflows(kind: str, inverse: bool) -> None:
    spline, x, parameters = case(kind)
    x = inside(spline, x).requires_grad_()
    parameters.requires_grad_()
    results = spline(x, parameters, inverse=inverse)
    expected = of_nflows(spline, x, parameters, inverse)
    torch.testing.assert_close(results, expected, rtol=1e-10, atol=1e-10)
    weights = tuple(torch.randn_like(one) for one in expected)
    # nflows has no gradients at the ends themselves.
    got = torch.autograd.grad(results, (x, parameters), weights)
    wanted = torch.autograd.grad(expected, (x, parameters), weights)
    for one, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(one[2:], other[2:], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("kind", ["cube", "tails"])
def test_float32_equals_nflows_to_one_in_a_hundred_thousand(kind: str, inverse: bool) -> None:
    spline, x, parameters = case(kind, torch.float32, rough=0.3, count=2000)
    x = inside(spline, x)
    # In float64, as nflows itself is off by as much in float32.
    expected = of_nflows(spline, x.double(), parameters.double(), inverse)
    for got, wanted in zip(spline(x, parameters, inverse=inverse), expected, strict=True):
        torch.testing.assert_close(got.double(), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rough", [1.0, 3.0])
@pytest.mark.parametrize("kind", ["cube", "tails"])
def test_rounding_in_float32_is_no_worse_than_that_of_nflows(kind: str, rough: float) -> None:
    spline, x, parameters = case(kind, torch.float32, rough, count=4000)
    x = inside(spline, x)
    exact = of_nflows(spline, x.double(), parameters.double(), False)
    theirs = of_nflows(spline, x, parameters, False)
    for got, peer, wanted in zip(spline(x, parameters), theirs, exact, strict=True):
        assert (got - wanted).abs().mean() < 1.3 * (peer - wanted).abs().mean()


@pytest.mark.parametrize("inverse", [False, True])
def test_the_spline_through_given_knots_equals_that_of_zuko(inverse: bool) -> None:
    generator = torch.Generator().manual_seed(1)
    raw = [torch.randn(50, 2, n, generator=generator, dtype=torch.float64) for n in (8, 8, 7)]
    peer = MonotonicRQSTransform(*raw, bound=4.0)
    x = 10 * torch.rand(50, 2, generator=generator, dtype=torch.float64) - 5
    fractions = peer.horizontal.diff() / 8, peer.vertical.diff() / 8
    y, log_slope = rational_quadratic(
        x, *fractions, peer.derivatives, low=-4.0, high=4.0, inverse=inverse
    )
    if inverse:
        torch.testing.assert_close(y, peer.inv(x), rtol=1e-10, atol=1e-10)
        expected = -peer.call_and_ladj(y)[1]
    else:
        values, expected = peer.call_and_ladj(x)
        torch.testing.assert_close(y, values, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(log_slope, expected, rtol=1e-10, atol=1e-10)


def test_the_kernel_equals_zuko_for_the_same_knots() -> None:
    spline, x, parameters = case("tails")
    widths, heights, slopes = bins_and_slopes(parameters, spline.knots)
    assert isinstance(spline.knots, Knots)
    assert spline.knots.ends == STRAIGHT
    peer = MonotonicRQSTransform(*(torch.zeros(*x.shape, n) for n in (8, 8, 7)), bound=3.0)
    ends = torch.full_like(x, -3.0)[..., None]
    peer.horizontal = torch.cat([ends, 6 * widths.cumsum(-1) - 3], -1)
    peer.vertical = torch.cat([ends, 6 * heights.cumsum(-1) - 3], -1)
    peer.derivatives = slopes
    # Not the ends themselves, which zuko takes for outside where rounding puts them there.
    got = tuple(one[2:] for one in spline(x, parameters))
    expected = tuple(one[2:] for one in peer.call_and_ladj(x))
    torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
def test_kernels_equal_plain_torch_gradients_and_all(
    kind: str, dtype: torch.dtype, inverse: bool
) -> None:
    spline, x, parameters = case(kind)
    knots = spline.knots
    period = (x - knots.low) % (knots.high - knots.low) + knots.low
    x = (period if knots.ends == CIRCLE else x).requires_grad_()
    parameters.requires_grad_()
    plain = rational_quadratic(
        x,
        *bins_and_slopes(parameters, knots),
        low=knots.low,
        high=knots.high,
        inverse=inverse,
    )
    weights = tuple(torch.ones_like(one) for one in plain)
    wanted = torch.autograd.grad(plain, (x, parameters), weights)
    x, parameters = (one.detach().to(dtype).requires_grad_() for one in (x, parameters))
    results = spline(x, parameters, inverse=inverse)
    weights = tuple(one.to(dtype) for one in weights)
    got = torch.autograd.grad(results, (x, parameters), weights)
    # Relative to the largest: what a number is made of may be larger than it.
    tolerance = 1e-11 if dtype == torch.float64 else 1e-4
    for one, other in zip([*results, *got], [*plain, *wanted], strict=True):
        scale = 1 + float(other.detach().abs().max())
        torch.testing.assert_close(one.double(), other, rtol=0, atol=tolerance * scale)


@pytest.mark.parametrize("rough", [0.1, 3.0])
@pytest.mark.parametrize("kind", KINDS)
def test_log_slopes_are_those_of_autograd(kind: str, rough: float) -> None:
    spline, x, parameters = case(kind, rough=rough)
    # Inside of a bin, or outside of the interval: at a knot two slopes are right.
    x = x[2:].requires_grad_()
    for inverse in (False, True):
        y, log_slope = spline(x, parameters[2:], inverse=inverse)
        (slope,) = torch.autograd.grad(y.sum(), x)
        torch.testing.assert_close(log_slope.exp(), slope, rtol=1e-9, atol=0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rough", [0.3, 1.0, 3.0, 30.0])
@pytest.mark.parametrize("kind", KINDS)
def test_round_trips_lose_only_what_rounding_of_y_takes(
    kind: str, rough: float, dtype: torch.dtype
) -> None:
    spline, x, parameters = case(kind, dtype, rough, count=3000)
    y, log_slope = spline(x, parameters)
    back, log_back = spline(y, parameters, inverse=True)
    # Where the spline is flat, the nearest number to y is that of a whole range of x.
    size = max(spline.knots.high - spline.knots.low, 1.0)
    few = 16 * torch.finfo(dtype).eps * size
    least = torch.minimum(log_slope.exp(), torch.exp(-log_back))
    assert ((back - x).abs() <= few + few / least).all()
    again = spline(back, parameters)[0]
    assert ((again - y).abs() <= few + few * torch.exp(spline(back, parameters)[1])).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["cube", "tails", "circle"])
def test_round_trips_hold_where_no_slope_is_small(kind: str, dtype: torch.dtype) -> None:
    spline, x, parameters = case(kind, dtype, rough=3.0, count=4000)
    y, log_slope = spline(x, parameters)
    back, _ = spline(y, parameters, inverse=True)
    good = log_slope > math.log(0.5)
    tolerance = 1e-5 if dtype == torch.float32 else 1e-12
    assert float(good.double().mean()) > 0.1
    torch.testing.assert_close(back[good], x[good], rtol=0, atol=tolerance)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_no_weights_make_nan(kind: str, inverse: bool, dtype: torch.dtype) -> None:
    for rough in (10.0, 1e3, 1e6):
        spline, x, parameters = case(kind, dtype, rough, count=2000)
        parameters.requires_grad_()
        x.requires_grad_()
        y, log_slope = spline(x, parameters, inverse=inverse)
        y.sum().backward()
        low, high = spline.knots.low, spline.knots.high
        inner = (x >= low) & (x <= high)
        assert y.isfinite().all()
        assert log_slope.isfinite().all()
        assert (y[inner] >= low).all()
        assert (y[inner] <= high).all()
        assert x.grad is not None
        assert parameters.grad is not None
        assert not x.grad.isnan().any()
        assert not parameters.grad.isnan().any()


def test_the_weights_that_stop_nflows_do_not_stop_this() -> None:
    # nflows #87: a discriminant that rounding made negative, where a bin ends.
    spline, y, parameters = case("cube", torch.float32, rough=3.0, count=20000)
    y = inside(spline, y)
    with pytest.raises(AssertionError):
        of_nflows(spline, y, parameters, True)
    x, log_slope = spline(y, parameters, inverse=True)
    exact, exact_log_slope = spline(y.double(), parameters.double(), inverse=True)
    steep = 1e-5 * (1 + exact_log_slope.exp())
    assert ((x - exact).abs() <= steep).all()
    assert log_slope.isfinite().all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["cube", "tails", "circle"])
def test_knots_map_to_knots_and_ends_to_ends(kind: str, dtype: torch.dtype) -> None:
    spline, _, parameters = case(kind, dtype, rough=2.0)
    low, high = spline.knots.low, spline.knots.high
    widths, heights, _ = bins_and_slopes(parameters.double(), spline.knots)
    for k in range(spline.num_bins):
        x = low + (high - low) * widths[..., :k].sum(-1)
        y = low + (high - low) * heights[..., :k].sum(-1)
        got, log_slope = spline(x.to(dtype), parameters)
        tolerance = 1e-12 if dtype == torch.float64 else 1e-5
        # On either side of the knot by rounding, so what is near is measured by the slope.
        assert ((got - y).abs() <= tolerance * (1 + log_slope.exp() + (1 / widths).amax(-1))).all()
    for end in (low, high):
        x = torch.full_like(parameters[..., 0], end)
        for inverse in (False, True):
            torch.testing.assert_close(spline(x, parameters, inverse=inverse)[0], x)


@pytest.mark.parametrize("kind", ["cube", "tails"])
def test_outside_it_goes_on_straight(kind: str) -> None:
    spline, _, parameters = case(kind, rough=2.0)
    low, high = spline.knots.low, spline.knots.high
    slopes = bins_and_slopes(parameters, spline.knots)[2]
    for end, slope, step in ((low, slopes[..., 0], -2.5), (high, slopes[..., -1], 1.5)):
        x = torch.full_like(slope, end + step)
        y, log_slope = spline(x, parameters)
        torch.testing.assert_close(y, end + slope * step)
        torch.testing.assert_close(log_slope, slope.log(), rtol=0, atol=1e-14)
        back, log_back = spline(y, parameters, inverse=True)
        torch.testing.assert_close(back, x)
        torch.testing.assert_close(log_back, -log_slope, rtol=0, atol=1e-14)


def test_straight_tails_are_the_identity_to_the_last_bit() -> None:
    for dtype in DTYPES:
        spline = RationalQuadraticSpline(tail_bound=math.pi)
        x = torch.linspace(-50, 50, 2000, dtype=dtype)
        x = x[x.abs() > math.pi]
        parameters = torch.randn(len(x), spline.num_parameters, dtype=dtype)
        for inverse in (False, True):
            y, log_slope = spline(x, parameters, inverse=inverse)
            assert torch.equal(y, x)
            assert not log_slope.any()


@pytest.mark.parametrize("kind", ["circle", "wide circle"])
def test_a_circle_goes_on_periodically_and_smoothly(kind: str) -> None:
    spline, x, parameters = case(kind)
    period = spline.knots.high - spline.knots.low
    y, log_slope = spline(x, parameters)
    for inverse in (False, True):
        y, log_slope = spline(x, parameters, inverse=inverse)
        later, same = spline(x + 2 * period, parameters, inverse=inverse)
        torch.testing.assert_close(later, y + 2 * period, rtol=0, atol=1e-9)
        torch.testing.assert_close(same, log_slope, rtol=0, atol=1e-9)
    ends = (torch.full_like(x, end) for end in (spline.knots.low, spline.knots.high - 1e-12))
    start, stop = (spline(end, parameters)[1] for end in ends)
    torch.testing.assert_close(start, stop, rtol=0, atol=1e-6)


def test_nan_stays_nan_and_infinity_passes_straight_tails() -> None:
    spline, x, parameters = case("tails")
    x[3], x[4], x[5] = math.nan, math.inf, -math.inf
    parameters[6, :, 2] = math.nan
    for inverse in (False, True):
        y, log_slope = spline(x, parameters, inverse=inverse)
        assert y[3].isnan().all()
        assert log_slope[3].isnan().all()
        assert torch.equal(y[4:6], x[4:6])
        assert y[6].isnan().all()
        others = [n for n in range(len(x)) if n not in (3, 6)]
        assert not y[others].isnan().any()
        assert not log_slope[others].isnan().any()


def test_arguments_out_of_range_are_refused() -> None:
    for wrong, told in (
        ({"num_bins": 0}, "num_bins is at least 1, got 0"),
        ({"tail_bound": -1.0}, "tail_bound is positive and finite, or None, got -1.0"),
        ({"tail_bound": math.inf}, "got inf"),
        ({"num_bins": 20, "min_bin": 0.06}, r"up to 1 / num_bins = 0.05, got 0.06"),
        ({"min_bin": 0.0}, "min_bin is from 1e-05"),
        ({"min_slope": 1.0}, "min_slope is between 0 and 1, got 1.0"),
    ):
        with pytest.raises(ValueError, match=told):
            RationalQuadraticSpline(**wrong)  # type: ignore[arg-type]
    with pytest.raises(
        ValueError, match=r"need parameters of shape \(4, 2, 25\), got \(4, 2, 23\)"
    ):
        RationalQuadraticSpline()(torch.rand(4, 2), torch.zeros(4, 2, 23))


def test_arguments_are_kept() -> None:
    spline = RationalQuadraticSpline(5, 2.0, True, 1e-2, 1e-4)
    kept = spline.num_bins, spline.tail_bound, spline.periodic, spline.min_bin, spline.min_slope
    assert kept == (5, 2.0, True, 1e-2, 1e-4)
    assert spline.num_parameters == 15
    assert RationalQuadraticSpline().num_parameters == 25
    assert RationalQuadraticSpline().knots.ends == FREE
    assert RationalQuadraticSpline(tail_bound=1.0).num_parameters == 23
