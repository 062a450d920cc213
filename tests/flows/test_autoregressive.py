"""Masked autoregressive transforms: both directions, and those of nflows and zuko."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from nflows.transforms import (
    MaskedAffineAutoregressiveTransform,
    MaskedPiecewiseRationalQuadraticAutoregressiveTransform,
)
from torch import Tensor
from torch.nn import functional
from zuko.flows.autoregressive import MaskedAutoregressiveTransform

from hepgen.flows.affine import Affine
from hepgen.flows.autoregressive import Autoregressive
from hepgen.flows.cubic import CubicSpline
from hepgen.flows.element import Element
from hepgen.flows.made import MADE
from hepgen.flows.spline import RationalQuadraticSpline

PRECISIONS = pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)], ids=["f32", "f64"]
)


class AffineOfNflows(Element):
    """The map of nflows' masked affine transform, which is no identity at zero."""

    num_parameters = 2

    def __call__(
        self, x: Tensor, parameters: Tensor, *, inverse: bool = False
    ) -> tuple[Tensor, Tensor]:
        scale = functional.softplus(parameters[..., 0]) + 1e-3
        shift = parameters[..., 1]
        return ((x - shift) / scale, -scale.log()) if inverse else (scale * x + shift, scale.log())


def make(
    kind: str, dtype: torch.dtype = torch.float64, context: int = 0, residual: bool = False
) -> tuple[Autoregressive, Tensor]:
    """A transform of four dimensions with weights of an ordinary size, and data."""
    torch.manual_seed(4)
    x = torch.randn(200, 4)
    unit, periodic, elements = (
        "cube" in kind,
        (),
        {
            "affine": Affine(),
            "spline": RationalQuadraticSpline(tail_bound=3.0),
            "cubic": CubicSpline(tail_bound=3.0),
            "cube spline": RationalQuadraticSpline(),
            "cube cubic": CubicSpline(),
            "angles": Affine(),
        },
    )
    element: Element | list[Element] = elements[kind]
    if unit:
        x = torch.rand(200, 4)
    if kind == "angles":
        circle = RationalQuadraticSpline(tail_bound=math.pi, periodic=True)
        element, periodic = [Affine(), circle, Affine(), circle], (1, 3)
        x = x.clamp(-3, 3)
    made = MADE(
        4,
        max(one.num_parameters for one in (element if isinstance(element, list) else [element])),
        context=context,
        hidden=16,
        order=[2, 0, 3, 1],
        residual=residual,
        unit=unit,
        periodic=periodic,
    )
    torch.nn.init.normal_(made.last.weight, std=0.2)
    torch.nn.init.normal_(made.last.bias, std=0.2)
    return Autoregressive(made, element).to(dtype), x.to(dtype)


KINDS = pytest.mark.parametrize(
    "kind", ["affine", "spline", "cubic", "cube spline", "cube cubic", "angles"]
)


@KINDS
@pytest.mark.parametrize("context", [0, 2])
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)], ids=["f32", "f64"]
)
def test_inverse_takes_back_what_forward_did(
    kind: str, context: int, residual: bool, dtype: torch.dtype, tolerance: float
) -> None:
    transform, x = make(kind, dtype, context, residual)
    given = torch.randn(len(x), context, dtype=dtype) if context else None
    z, log_slope = transform(x, given)
    again, log_back = transform.inverse(z, given)
    torch.testing.assert_close(again, x, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(log_back, -log_slope, rtol=0, atol=10 * tolerance)
    with torch.no_grad():
        alone, log_alone = transform.inverse(z, given)
    torch.testing.assert_close(alone, again, rtol=0, atol=0)
    torch.testing.assert_close(log_alone, log_back, rtol=0, atol=0)


@KINDS
@pytest.mark.parametrize("inverse", [False, True])
def test_the_determinant_is_that_of_the_jacobian_of_autograd(kind: str, inverse: bool) -> None:
    transform, x = make(kind, context=2)
    context = torch.randn(len(x), 2).double()
    call = transform.inverse if inverse else transform
    _, logabsdet = call(x, context)
    for row in range(5):
        of_row = torch.autograd.functional.jacobian(
            lambda one, row=row: call(one[None], context[row : row + 1])[0][0], x[row]
        )
        torch.testing.assert_close(
            torch.linalg.slogdet(of_row).logabsdet, logabsdet[row], rtol=1e-9, atol=1e-9
        )


@pytest.mark.parametrize("kind", ["affine", "angles"])
def test_gradients_of_the_inverse_are_those_of_finite_differences(kind: str) -> None:
    transform, x = make(kind, context=1)
    z = x[:2].clone().requires_grad_()
    context = torch.randn(2, 1).double().requires_grad_()
    weights = dict(transform.named_parameters())
    names = ["made.layers.0.weight", "made.last.bias"]

    def call(z: Tensor, context: Tensor, *some: Tensor) -> tuple[Tensor, Tensor]:
        changed = {**weights, **dict(zip(names, some, strict=True))}
        call: Callable[..., tuple[Tensor, Tensor]] = torch.func.functional_call
        wrapped = _Inverse(transform)
        return call(wrapped, {f"transform.{n}": w for n, w in changed.items()}, (z, context))

    some = [weights[name] for name in names]
    assert torch.autograd.gradcheck(call, (z, context, *some), atol=1e-5)


class _Inverse(torch.nn.Module):
    def __init__(self, transform: Autoregressive) -> None:
        super().__init__()
        self.transform = transform

    def forward(self, z: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        return self.transform.inverse(z, context)


def carry_from_nflows(made: MADE, theirs: torch.nn.Module) -> None:
    """Weights of nflows' network, whose units stand in another order."""
    linears = [
        theirs.initial_layer,
        *(block.linear for block in theirs.blocks),
        theirs.final_layer,
    ]
    columns = list(range(made.dimension))
    for mine, linear in zip([*made.layers, made.last], linears, strict=True):
        degrees = linear.degrees.tolist()
        rows = sorted(range(len(degrees)), key=degrees.__getitem__)
        if linear is theirs.final_layer:
            rows = list(range(len(degrees)))
        mine.weight.data.copy_(linear.weight.data[rows][:, columns])
        mine.bias.data.copy_(linear.bias.data[rows])
        columns = rows


@PRECISIONS
def test_it_is_the_masked_affine_transform_of_nflows(dtype: torch.dtype, tolerance: float) -> None:
    torch.manual_seed(0)
    theirs = MaskedAffineAutoregressiveTransform(5, 24, use_residual_blocks=False).to(dtype)
    made = MADE(5, 2, hidden=24, layers=3).to(dtype)
    carry_from_nflows(made, theirs.autoregressive_net)
    compare(Autoregressive(made, AffineOfNflows()), theirs, dtype, tolerance)


@PRECISIONS
@pytest.mark.parametrize("tail_bound", [None, 2.0])
def test_it_is_the_masked_spline_transform_of_nflows(
    dtype: torch.dtype, tolerance: float, tail_bound: float | None
) -> None:
    torch.manual_seed(0)
    tails = {} if tail_bound is None else {"tails": "linear", "tail_bound": tail_bound}
    theirs = MaskedPiecewiseRationalQuadraticAutoregressiveTransform(
        5, 24, num_bins=6, use_residual_blocks=False, **tails
    ).to(dtype)
    element = RationalQuadraticSpline(6, tail_bound)
    made = MADE(5, element.num_parameters, hidden=24, layers=3).to(dtype)
    carry_from_nflows(made, theirs.autoregressive_net)
    # The slope of nflows is softplus(p) + 1e-3, ours is one at zero.
    slopes = made.last.bias.data.view(5, -1)[:, 12:]
    slopes -= math.log(math.expm1(1 - 1e-3))
    compare(Autoregressive(made, element), theirs, dtype, tolerance, unit=tail_bound is None)


@PRECISIONS
@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 1, 2, 0]])
def test_it_is_the_masked_affine_transform_of_zuko(
    dtype: torch.dtype, tolerance: float, order: list[int]
) -> None:
    torch.manual_seed(0)
    place = [order.index(d) for d in range(4)]
    theirs = MaskedAutoregressiveTransform(4, 0, order=place, hidden_features=(24, 24)).to(dtype)
    made = MADE(4, 2, hidden=24, order=order).to(dtype)
    columns = [0, 1, 2, 3]
    degrees = None
    for mine, linear in zip(
        [*made.layers, made.last], [theirs.hyper[0], theirs.hyper[2], theirs.hyper[4]], strict=True
    ):
        # The degree of a unit is that of the last input it sees.
        seen = torch.tensor(place) + 1 if degrees is None else degrees
        degrees = torch.where(linear.mask, seen, 0).max(1).values
        rows = degrees.argsort(stable=True).tolist()
        if mine is made.last:
            rows = list(range(8))
        mine.weight.data.copy_(linear.weight.data[rows][:, columns])
        mine.bias.data.copy_(linear.bias.data[rows])
        columns = rows
    own = Autoregressive(made, Affine(max_log_slope=-math.log(1e-3)))
    x = torch.randn(100, 4, dtype=dtype)
    expected = theirs().call_and_ladj(x)
    for got, want in zip(own(x), expected, strict=True):
        torch.testing.assert_close(got, want, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(
        own.inverse(x)[0], theirs().inv(x), rtol=tolerance, atol=10 * tolerance
    )


def compare(
    own: Autoregressive,
    theirs: torch.nn.Module,
    dtype: torch.dtype,
    tolerance: float,
    unit: bool = False,
) -> None:
    x = torch.rand(100, 5, dtype=dtype) if unit else torch.randn(100, 5, dtype=dtype)
    for call, other in ((own, theirs), (own.inverse, theirs.inverse)):
        for got, want in zip(call(x), other(x), strict=True):
            torch.testing.assert_close(got, want, rtol=tolerance, atol=10 * tolerance)


def test_it_compiles_without_a_graph_break() -> None:
    # As whole flows the others are compiled by the contract tests.
    torch.compiler.reset()
    transform, x = make("angles", context=2)
    context = torch.randn(len(x), 2).double()
    for call in (transform.forward, transform.inverse):
        compiled = torch.compile(call, fullgraph=True, dynamic=True, backend="eager")
        for rows in (50, 7):
            torch.testing.assert_close(
                compiled(x[:rows], context[:rows]), call(x[:rows], context[:rows])
            )


@KINDS
def test_no_rows_stay_none(kind: str) -> None:
    transform, x = make(kind)
    for call in (transform.forward, transform.inverse):
        y, logabsdet = call(x[:0])
        assert y.shape == (0, 4)
        assert logabsdet.shape == (0,)


@pytest.mark.parametrize("dimension", [6, 32])
def test_sampling_computes_each_unit_once(dimension: int) -> None:
    made = MADE(dimension, 2, hidden=64, layers=3)
    transform, z = Autoregressive(made, Affine()), torch.randn(10, dimension)
    with torch.no_grad(), torch.utils.flop_counter.FlopCounterMode(display=False) as count:
        made(z)
    whole = count.get_total_flops()
    with torch.no_grad(), torch.utils.flop_counter.FlopCounterMode(display=False) as count:
        transform.inverse(z)
    assert count.get_total_flops() < 0.75 * whole


def test_what_cannot_be_is_told() -> None:
    with pytest.raises(ValueError, match=r"gives 2 parameters for each dimension, .* need 23"):
        Autoregressive(MADE(3, 2), RationalQuadraticSpline(tail_bound=1.0))
    with pytest.raises(ValueError, match=r"wanted one element or 3, .* got 2"):
        Autoregressive(MADE(3, 2), [Affine(), Affine()])
    transform = Autoregressive(MADE(3, 2), Affine())
    for call in (transform.forward, transform.inverse):
        with pytest.raises(ValueError, match=r"points of shape \(B, 3\), got \(5, 4\)"):
            call(torch.zeros(5, 4))
