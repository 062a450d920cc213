"""Cubic splines: those of nflows through the same knots, scipy's cubics, and the way back."""

from __future__ import annotations

import pytest
import torch
from nflows.transforms.splines.cubic import cubic_spline as nflows_cubic
from nflows.transforms.splines.cubic import unconstrained_cubic_spline
from scipy.interpolate import CubicHermiteSpline
from torch import Tensor

from hepgen.flows.cubic import CubicSpline, cubic_spline, steffen_slopes

ELEMENTS = pytest.mark.parametrize(
    "element",
    [CubicSpline(), CubicSpline(1), CubicSpline(2), CubicSpline(tail_bound=3.0)],
    ids=["cube", "one bin", "two bins", "tails"],
)
PRECISIONS = pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)], ids=["f32", "f64"]
)


def draw(
    element: CubicSpline, rows: int = 2000, std: float = 1.0, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor]:
    """Points of the interval (and some outside, if there are tails) and parameters."""
    generator = torch.Generator().manual_seed(2)
    shape = (rows, 3, element.num_parameters)
    parameters = std * torch.randn(shape, generator=generator, dtype=torch.float64)
    x = torch.rand(rows, 3, generator=generator, dtype=torch.float64)
    if element.tail_bound is not None:
        x = (x - 0.5) * 3 * element.tail_bound
    return x.to(dtype), parameters.to(dtype)


def in_terms_of_nflows(element: CubicSpline, parameters: Tensor) -> dict[str, Tensor]:
    """What nflows has to be given to draw its spline through the same knots."""
    bins = element.num_bins
    widths, heights, slopes = element.shapes(parameters)
    steep = heights / widths
    return {
        "unnormalized_widths": parameters[..., :bins],
        "unnormalized_heights": parameters[..., bins : 2 * bins],
        "unnorm_derivatives_left": (slopes[..., :1] / (3 * steep[..., :1])).logit(eps=1e-15),
        "unnorm_derivatives_right": (slopes[..., -1:] / (3 * steep[..., -1:])).logit(eps=1e-15),
    }


@PRECISIONS
def test_on_the_cube_it_is_the_spline_of_nflows(dtype: torch.dtype, tolerance: float) -> None:
    element = CubicSpline()
    x, parameters = draw(element)
    expected = nflows_cubic(x, **in_terms_of_nflows(element, parameters))
    got = element(x.to(dtype), parameters.to(dtype))
    torch.testing.assert_close(got[0].double(), expected[0], rtol=tolerance, atol=tolerance)
    # At the steepest of 6000 points rounding of x alone is worth 1e-4 of the slope in float32.
    torch.testing.assert_close(got[1].double(), expected[1], rtol=0, atol=50 * tolerance)


def test_with_tails_it_is_the_spline_of_nflows() -> None:
    element = CubicSpline(tail_bound=3.0)
    x, parameters = draw(element)
    expected = unconstrained_cubic_spline(
        x, **in_terms_of_nflows(element, parameters), tail_bound=3.0
    )
    inside = x.abs() <= 3
    for got, want in zip(element(x, parameters), expected, strict=True):
        # nflows divides by the length of the interval: it leaves out no factor, as the map is
        # from [-3, 3] onto itself.
        torch.testing.assert_close(got[inside], want[inside], rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(got[~inside], want[~inside], rtol=0, atol=0)


@PRECISIONS
def test_the_forward_map_of_nflows_takes_its_inverse_back(
    dtype: torch.dtype, tolerance: float
) -> None:
    # The inverse of nflows itself is good to 1e-3 only, where it takes a cubic for a parabola.
    element = CubicSpline()
    y, parameters = draw(element)
    x, log_slope = element(y.to(dtype), parameters.to(dtype), inverse=True)
    again, theirs = nflows_cubic(x.double(), **in_terms_of_nflows(element, parameters))
    error = (again - y).abs() / theirs.exp().clamp(min=1)
    assert error.max() < tolerance
    torch.testing.assert_close(log_slope.double(), -theirs, rtol=0, atol=100 * tolerance)


def test_it_is_the_cubic_of_scipy_with_the_same_slopes() -> None:
    element = CubicSpline(6)
    _, parameters = draw(element, rows=1)
    widths, heights, slopes = (one[0, 0] for one in element.shapes(parameters))
    zero = torch.zeros(1, dtype=torch.float64)
    theirs = CubicHermiteSpline(
        torch.cat([zero, widths.cumsum(0)]), torch.cat([zero, heights.cumsum(0)]), slopes
    )
    x = torch.linspace(0, 1, 301, dtype=torch.float64)[:, None]
    y, log_slope = element(x, parameters[:, :1].expand(301, 1, -1))
    torch.testing.assert_close(y[:, 0], torch.from_numpy(theirs(x[:, 0])), rtol=1e-13, atol=1e-14)
    slope = torch.from_numpy(theirs.derivative()(x[:, 0]))
    torch.testing.assert_close(log_slope[:, 0].exp(), slope, rtol=1e-11, atol=1e-12)


@ELEMENTS
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["f32", "f64"])
def test_parameters_of_zero_are_the_identity(element: CubicSpline, dtype: torch.dtype) -> None:
    x, parameters = draw(element, dtype=dtype)
    for inverse in (False, True):
        y, log_slope = element(x, 0 * parameters, inverse=inverse)
        eps = torch.finfo(dtype).eps
        torch.testing.assert_close(y, x, rtol=0, atol=10 * eps)
        assert log_slope.abs().max() < 10 * eps


@ELEMENTS
@pytest.mark.parametrize("std", [0.1, 1.0, 3.0, 30.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["f32", "f64"])
def test_the_way_back_is_exact_but_for_rounding_of_where_it_starts(
    element: CubicSpline, std: float, dtype: torch.dtype
) -> None:
    x, parameters = draw(element, std=std, dtype=dtype)
    eps = 8 * torch.finfo(dtype).eps * max(element.high, 1)
    for inverse in (False, True):
        y, log_slope = element(x, parameters, inverse=inverse)
        again, log_back = element(y, parameters, inverse=not inverse)
        assert y.isfinite().all()
        assert log_slope.isfinite().all()
        # y is rounded to eps, which a slope of 1e-3 makes 1000 eps of x.
        assert ((again - x).abs() * log_slope.exp().clamp(max=1)).max() < eps
        if std <= 1:
            within = 1e-12 if dtype == torch.float64 else 1e-4
            assert (again - x).abs().max() < within
            assert (log_slope + log_back).abs().max() < 10 * within


@ELEMENTS
@pytest.mark.parametrize("inverse", [False, True])
def test_slopes_are_those_of_autograd(element: CubicSpline, inverse: bool) -> None:
    x, parameters = draw(element)
    x.requires_grad_()
    y, log_slope = element(x, parameters, inverse=inverse)
    (slope,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(slope.log(), log_slope, rtol=1e-8, atol=1e-8)


@ELEMENTS
@pytest.mark.parametrize("inverse", [False, True])
def test_gradients_are_those_of_finite_differences(element: CubicSpline, inverse: bool) -> None:
    x, parameters = draw(element, rows=4, std=0.5)
    x.requires_grad_()
    parameters.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x, parameters: element(x, parameters, inverse=inverse), (x, parameters), atol=1e-5
    )


def test_slopes_never_let_the_spline_fall_and_ends_are_those_given() -> None:
    generator = torch.Generator().manual_seed(0)
    widths = torch.rand(5000, 7, generator=generator).double().pow(4) + 1e-3
    heights = torch.rand(5000, 7, generator=generator).double().pow(4) + 1e-3
    steep = heights / widths
    ends = torch.stack([steep[:, 0], steep[:, -1]], 1)
    slopes = steffen_slopes(widths, heights, ends)
    torch.testing.assert_close(slopes[:, [0, -1]], ends)
    assert (slopes > 0).all()
    assert (slopes[:, :-1] <= 2 * steep * (1 + 1e-12)).all()
    assert (slopes[:, 1:] <= 2 * steep * (1 + 1e-12)).all()


def test_at_the_end_of_the_tails_the_slope_is_one_unless_the_bin_is_too_flat() -> None:
    element = CubicSpline(4, tail_bound=2.0)
    _, parameters = draw(element)
    widths, heights, slopes = element.shapes(parameters)
    least = (3 * heights / widths)[..., [0, -1]].clamp(max=1)
    torch.testing.assert_close(slopes[..., [0, -1]], least, rtol=1e-15, atol=0)


def test_beyond_the_interval_nothing_moves() -> None:
    for element in (CubicSpline(), CubicSpline(tail_bound=1.0)):
        far = torch.tensor([[-torch.inf, 1.5, torch.nan]]).double()
        _, parameters = draw(element, rows=1)
        for inverse in (False, True):
            y, log_slope = element(far, parameters, inverse=inverse)
            torch.testing.assert_close(y, far, rtol=0, atol=0, equal_nan=True)
            assert (log_slope[0, :2] == 0).all()
            ends = torch.tensor([[element.low, element.high, element.low]]).double()
            y, _ = element(ends, parameters, inverse=inverse)
            torch.testing.assert_close(y, ends, rtol=0, atol=0)


def test_half_precision_is_computed_in_float32_and_no_rows_stay_none() -> None:
    element = CubicSpline()
    x, parameters = draw(element)
    y, log_slope = element(x.bfloat16(), parameters.bfloat16())
    assert y.dtype == log_slope.dtype == torch.bfloat16
    for inverse in (False, True):
        y, log_slope = element(x[:0], parameters[:0], inverse=inverse)
        assert y.shape == log_slope.shape == (0, 3)


def test_it_compiles_without_a_graph_break() -> None:
    torch.compiler.reset()
    element = CubicSpline()
    for inverse in (False, True):

        def call(x: Tensor, parameters: Tensor, inverse: bool = inverse) -> tuple[Tensor, Tensor]:
            return element(x, parameters, inverse=inverse)

        compiled = torch.compile(call, fullgraph=True, dynamic=True, backend="eager")
        for rows in (50, 7):
            x, parameters = draw(element, rows)
            torch.testing.assert_close(compiled(x, parameters), call(x, parameters))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_bins": 0}, "num_bins is at least 1, got 0"),
        ({"tail_bound": -1.0}, "tail_bound is positive and finite, or None, got -1.0"),
        ({"min_bin": 0.2}, "between 1e-05 and 1 / num_bins = 0.125, got 0.2"),
    ],
)
def test_what_cannot_be_is_told(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CubicSpline(**arguments)  # type: ignore[arg-type]
    with pytest.raises(
        ValueError, match=r"need parameters of shape \(5, 3, 18\), got \(5, 3, 17\)"
    ):
        CubicSpline()(torch.zeros(5, 3), torch.zeros(5, 3, 17))


def test_the_spline_of_given_knots_is_one_to_one_on_any_interval() -> None:
    widths = torch.tensor([0.2, 0.5, 0.3]).double().expand(11, 3)
    heights = torch.tensor([0.4, 0.1, 0.5]).double().expand(11, 3)
    slopes = steffen_slopes(widths, heights, torch.tensor([1.0, 2.0]).double().expand(11, 2))
    x = torch.linspace(-2, 5, 11).double()
    y, _ = cubic_spline(x, widths, heights, slopes, low=-2, high=5)
    assert y[0] == -2
    assert y[-1] == 5
    assert (y.diff() > 0).all()
    again, _ = cubic_spline(y, widths, heights, slopes, low=-2, high=5, inverse=True)
    torch.testing.assert_close(again, x, rtol=1e-13, atol=1e-13)
