"""The named autoregressive flows: zuko's with the same weights, each other's inverse, angles."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
import torch
import zuko
from scipy.stats import norm, vonmises
from torch import Tensor

from hepgen.flows.inverse_autoregressive_flow import InverseAutoregressiveFlow
from hepgen.flows.masked_autoregressive_flow import (
    MaskedAutoregressiveFlow,
    autoregressive_steps,
    choose_base,
)


def carry_from_zuko(flow: MaskedAutoregressiveFlow, theirs: zuko.flows.MAF, context: int) -> None:
    """Weights of zuko's networks, whose units stand in another order, and the context last."""
    dimension = flow.dimension
    for step, their in zip(flow.transform._transforms, theirs.transform.transforms, strict=True):
        made = step.made
        columns = [*range(dimension, dimension + context), *range(dimension)]
        degrees = None
        linears = [layer for layer in their.hyper if hasattr(layer, "mask")]
        for mine, linear in zip([*made.layers, made.last], linears, strict=True):
            seen = degrees
            if seen is None:
                seen = torch.tensor([made.order.index(d) + 1 for d in range(dimension)])
                seen = torch.cat([seen, torch.zeros(context, dtype=torch.long)])
            degrees = torch.where(linear.mask, seen, 0).max(1).values
            rows = degrees.argsort(stable=True).tolist()
            if mine is made.last:
                rows = list(range(linear.out_features))
            mine.weight.data.copy_(linear.weight.data[rows][:, columns])
            mine.bias.data.copy_(linear.bias.data[rows])
            columns = rows


@pytest.mark.parametrize("context", [0, 3])
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)], ids=["f32", "f64"]
)
def test_it_is_the_flow_of_zuko_with_the_same_weights(
    context: int, dtype: torch.dtype, tolerance: float
) -> None:
    torch.manual_seed(0)
    theirs = zuko.flows.MAF(5, context, transforms=4, hidden_features=(20, 20)).to(dtype)
    flow = MaskedAutoregressiveFlow(
        5, context, num_transforms=4, hidden=20, max_log_slope=-math.log(1e-3)
    ).to(dtype)
    carry_from_zuko(flow, theirs, context)
    x = torch.randn(200, 5, dtype=dtype)
    given = torch.randn(200, context, dtype=dtype) if context else None
    expected = theirs(given).log_prob(x)
    torch.testing.assert_close(flow.log_prob(x, given), expected, rtol=tolerance, atol=tolerance)
    back, _ = flow.transform.inverse(x, given)
    torch.testing.assert_close(
        back, theirs(given).transform.inv(x), rtol=10 * tolerance, atol=10 * tolerance
    )


@pytest.mark.parametrize("element", ["affine", "spline", "cubic"])
def test_the_inverse_flow_is_the_masked_one_with_directions_exchanged(element: str) -> None:
    torch.manual_seed(0)
    arguments = {"context": 2, "num_transforms": 3, "hidden": 16, "element": element}
    masked = MaskedAutoregressiveFlow(4, **arguments).double()
    inverse = InverseAutoregressiveFlow(4, **arguments).double()
    for parameter in masked.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    weights = masked.transform.state_dict()
    inverse.transform.load_state_dict({f"_transform.{n}": w for n, w in weights.items()})
    x, context = torch.randn(50, 4).double(), torch.randn(50, 2).double()
    pairs = [
        (inverse.transform.inverse, masked.transform.forward),
        (inverse.transform.forward, masked.transform.inverse),
    ]
    for one, other in pairs:
        for got, want in zip(one(x, context), other(x, context), strict=True):
            torch.testing.assert_close(got, want, rtol=0, atol=0)


def turning(count: int) -> tuple[Tensor, np.ndarray]:
    """A number and an angle around half a turn plus that number, and their log density."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=count)
    # Most of the angles are near the cut.
    angle = np.angle(np.exp(1j * vonmises.rvs(3.0, loc=np.pi + x, random_state=rng)))
    log_density = norm.logpdf(x) + vonmises.logpdf(angle, 3.0, loc=np.pi + x)
    return torch.from_numpy(np.stack([x, angle], 1)), log_density


@pytest.mark.parametrize("inverted", [False, True])
@pytest.mark.parametrize("domain", ["real", "unit"])
def test_a_density_of_angles_is_continuous_through_the_cut(domain: str, inverted: bool) -> None:
    torch.manual_seed(1)
    cls = InverseAutoregressiveFlow if inverted else MaskedAutoregressiveFlow
    flow = cls(
        3, num_transforms=3, hidden=16, element="spline", domain=domain, periodic=(0, 2)
    ).double()
    for parameter in flow.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    low, high = (0.0, 1.0) if domain == "unit" else (-math.pi, math.pi)
    x = torch.rand(100, 3).double()
    x[:, [0, 2]] = low + (high - low) * x[:, [0, 2]]
    for angle in (0, 2):
        left, right = x.clone(), x.clone()
        left[:, angle], right[:, angle] = low, high
        results = []
        for end in (left, right):
            end.requires_grad_()
            log_prob = flow.log_prob(end)
            (slope,) = torch.autograd.grad(log_prob.sum(), end)
            # Along the other dimensions; along the angle itself splines have a kink at each knot.
            others = [d for d in range(3) if d != angle]
            results.append((log_prob.detach(), slope[:, others]))
        torch.testing.assert_close(*results, rtol=1e-10, atol=1e-10)
        beside = x.clone()
        beside[:, angle] = low + 1e-7 * (high - low)
        torch.testing.assert_close(
            flow.log_prob(beside).detach(), results[1][0], rtol=1e-4, atol=1e-4
        )


def test_a_flow_learns_angles_around_the_cut_as_scipy_draws_them() -> None:
    torch.manual_seed(0)
    x, log_density = turning(4000)
    flow = MaskedAutoregressiveFlow(
        2, num_transforms=2, hidden=32, element="spline", periodic=(1,)
    ).double()
    optimizer = torch.optim.Adam(flow.parameters(), lr=1e-2)
    for step in range(200):
        optimizer.zero_grad()
        rows = torch.arange(500 * step, 500 * (step + 1)) % 3000
        (-flow.log_prob(x[rows]).mean()).backward()
        optimizer.step()
    with torch.no_grad():
        lost = log_density[3000:] - flow.log_prob(x[3000:]).numpy()
        drawn = flow.sample(4000).numpy()
    # Of the 0.58 that an angle independent of the number would lose.
    assert -0.04 < lost.mean() < 0.06
    # Angles around what they should be around, in 4000 draws: E cos = I1(3) / I0(3) = 0.8100 with
    # a width of 0.27 each, 0.0043 of the mean; 5 sigma and 0.015 for what was not learnt.
    near = np.cos(drawn[:, 1] - np.pi - drawn[:, 0]).mean()
    assert near == pytest.approx(0.81, abs=0.037)


@pytest.mark.parametrize("cls", [MaskedAutoregressiveFlow, InverseAutoregressiveFlow])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"element": "quintic"}, "element='quintic': there are 'affine', 'spline' and 'cubic'"),
        ({"domain": "unit"}, "leaves the unit cube; wanted 'spline' or 'cubic'"),
        ({"domain": "circle"}, "domain='circle': the domains are 'real' and 'unit'"),
        ({"periodic": (3,)}, r"periodic=\(3,\): the dimensions are 0 to 2"),
        ({"domain": "unit", "element": "cubic", "periodic": (3,)}, "the dimensions are 0 to 2"),
        ({"hidden": 1}, "2 layers of width 1 cannot carry 3 dimensions"),
    ],
)
def test_what_cannot_be_is_told(
    cls: type[MaskedAutoregressiveFlow], arguments: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        cls(3, **arguments)  # type: ignore[arg-type]


def test_orders_turn_round_and_angles_are_shifted_before_each_transform() -> None:
    make = partial(
        autoregressive_steps,
        hidden=8,
        layers=1,
        element="spline",
        domain="unit",
        num_bins=4,
        tail_bound=1.0,
        residual=False,
        max_log_slope=3.0,
    )
    orders = [step.made.order for step in make(3, 0, 3, periodic=())]
    assert orders == [(0, 1, 2), (2, 1, 0), (0, 1, 2)]
    names = [type(step).__name__ for step in make(3, 0, 2, periodic=(1,))]
    assert names == ["CircularShift", "Autoregressive"] * 2
    assert type(choose_base(3, "unit", (1,))).__name__ == "UnitUniform"
    assert choose_base(3, "real", (1,)).periodic == (1,)
