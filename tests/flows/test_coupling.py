"""Masks, elements and couplings."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from hepgen import flows
from hepgen.flows import (
    Additive,
    Affine,
    Conditioner,
    Coupling,
    Glow,
    NeuralSplineFlow,
    RationalQuadraticSpline,
    RealNVP,
    alternating_masks,
    halves_masks,
    log2_masks,
)
from hepgen.flows.masks import Mask

MASKS = pytest.mark.parametrize("masks", [alternating_masks, halves_masks, log2_masks])


@MASKS
def test_masks_come_with_their_opposites(masks: Callable[[int], list[Mask]]) -> None:
    for dimension in range(2, 20):
        made = masks(dimension)
        assert all(len(mask) == dimension and 0 < sum(mask) < dimension for mask in made)
        for one, other in zip(made[::2], made[1::2], strict=True):
            assert all(a != b for a, b in zip(one, other, strict=True))
    assert masks(1) == [(True,)]
    with pytest.raises(ValueError, match="one dimension at least, not 0"):
        masks(0)


def test_log2_masks_let_each_dimension_see_each_other() -> None:
    for dimension in range(2, 40):
        masks = log2_masks(dimension)
        assert len(masks) == 2 * math.ceil(math.log2(dimension))
        for i, j in itertools.permutations(range(dimension), 2):
            assert any(mask[i] and not mask[j] for mask in masks)


def test_masks_alternate_or_halve() -> None:
    assert alternating_masks(5)[0] == (False, True, False, True, False)
    assert halves_masks(5)[0] == (False, False, False, True, True)


@pytest.mark.parametrize("element", [Affine(), Affine(1.0), Additive()])
def test_elements_are_the_identity_at_zero_and_undo_themselves(element: Any) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(50, 3, generator=generator, dtype=torch.float64)
    y, log_slope = element(x, torch.zeros(50, 3, element.num_parameters, dtype=torch.float64))
    assert torch.equal(y, x)
    assert not log_slope.any()
    shape = (50, 3, element.num_parameters)
    parameters = 100 * torch.randn(shape, generator=generator, dtype=torch.float64)
    y, log_slope = element(x, parameters)
    back, minus = element(y, parameters, inverse=True)
    # Shifts of hundreds leave fewer digits of x.
    torch.testing.assert_close(back, x, rtol=0, atol=1e-11)
    assert torch.equal(minus, -log_slope)
    assert log_slope.abs().max() <= getattr(element, "max_log_slope", 0)


def test_a_slope_has_a_bound_above_zero() -> None:
    with pytest.raises(ValueError, match="max_log_slope should be above 0, not 0"):
        Affine(0.0)


@torch.no_grad()
def test_a_coupling_leaves_what_its_network_sees() -> None:
    class Ones(torch.nn.Module):
        def forward(self, x: Tensor, context: Tensor | None) -> Tensor:
            self.seen = x
            return torch.ones(len(x), 4)

    network = Ones()
    layer = Coupling((True, False, True, False), Affine(), network)
    x = torch.randn(6, 4)
    y, logabsdet = layer(x)
    assert torch.equal(network.seen, x[:, [1, 3]])
    assert torch.equal(y[:, [1, 3]], x[:, [1, 3]])
    log_slope = 3 / 4  # b p / (b + |p|) at b = 3, p = 1
    torch.testing.assert_close(y[:, [0, 2]], math.exp(log_slope) * x[:, [0, 2]] + 1)
    torch.testing.assert_close(logabsdet, torch.full((6,), 2 * log_slope))


@pytest.mark.parametrize(
    "flow",
    [
        RealNVP(4, context=2),
        Glow(4, context=2),
        NeuralSplineFlow(4, context=2),
        NeuralSplineFlow(4, context=2, domain="real", periodic=(1, 3)),
    ],
    ids=["RealNVP", "Glow", "cube", "angles"],
)
@torch.no_grad()
def test_flows_begin_as_the_identity(flow: flows.Flow) -> None:
    x = torch.rand(50, 4, dtype=torch.float64)
    z, logabsdet = flow.double().transform(x, torch.randn(50, 2, dtype=torch.float64))
    torch.testing.assert_close(z, x, rtol=0, atol=1e-14)
    torch.testing.assert_close(logabsdet, torch.zeros_like(logabsdet), rtol=0, atol=1e-13)


@pytest.mark.parametrize("unit", [True, False])
@torch.no_grad()
def test_a_network_cannot_tell_the_ends_of_a_circle_apart(unit: bool) -> None:
    torch.manual_seed(0)
    network = Conditioner(3, 5, context=1, unit=unit, periodic=2).double()
    torch.nn.init.normal_(network.network[-1].weight)
    low, high = (0.0, 1.0) if unit else (-math.pi, math.pi)
    x, context = torch.rand(10, 3, dtype=torch.float64), torch.rand(10, 1, dtype=torch.float64)
    one, other = x.clone(), x.clone()
    one[:, 1], other[:, 1] = low, high
    torch.testing.assert_close(network(one, context), network(other, context))
    one[:, 0], other[:, 0] = low, high
    assert (network(one, context) - network(other, context)).abs().min() > 0


@pytest.mark.parametrize("unit", [True, False])
def test_the_density_of_an_angle_is_smooth_where_it_begins(unit: bool) -> None:
    torch.manual_seed(0)
    flow = NeuralSplineFlow(3, domain="unit" if unit else "real", periodic=(1,)).double()
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter += 0.3 * torch.randn_like(parameter) / parameter.shape[-1] ** 0.5
    ends = (0.0, 1.0) if unit else (-math.pi, math.pi)
    x = torch.rand(20, 3, dtype=torch.float64)
    values, slopes = [], []
    for end in ends:
        # From either side, by a step that rounding does not see.
        inside = end + 1e-9 * (1 if end == ends[0] else -1)
        at = torch.cat([x[:, :1], torch.full((20, 1), inside, dtype=torch.float64), x[:, 2:]], 1)
        at.requires_grad_()
        values.append(flow.log_prob(at))
        slopes.append(torch.autograd.grad(values[-1].sum(), at)[0][:, [0, 2]])
    torch.testing.assert_close(values[0], values[1], rtol=0, atol=1e-5)
    torch.testing.assert_close(slopes[0], slopes[1], rtol=0, atol=1e-4)


def test_different_elements_map_different_dimensions() -> None:
    line, circle = RationalQuadraticSpline(4), RationalQuadraticSpline(4, periodic=True)
    torch.manual_seed(0)
    network = Conditioner(2, 2 * line.num_parameters + circle.num_parameters)
    torch.nn.init.normal_(network.network[-1].weight)
    layer = Coupling((True, False, True, True, False), [line, line, circle, line, line], network)
    x = torch.rand(9, 5)
    y, _ = layer(x)
    numbers = network(x[:, [1, 4]])
    both = numbers[:, : 2 * line.num_parameters].view(9, 2, -1)
    torch.testing.assert_close(y[:, [0, 3]], line(x[:, [0, 3]], both)[0])
    rest = numbers[:, 2 * line.num_parameters :].view(9, 1, -1)
    torch.testing.assert_close(y[:, [2]], circle(x[:, [2]], rest)[0])


def test_couplings_that_make_no_sense_are_refused() -> None:
    network = torch.nn.Identity()
    with pytest.raises(ValueError, match="maps nothing"):
        Coupling((False, False), Affine(), network)
    with pytest.raises(ValueError, match="3 elements for 2 dimensions"):
        Coupling((True, False), [Affine()] * 3, network)
    with pytest.raises(ValueError, match="the dimensions are 0 to 1"):
        Coupling((True, False), Affine(), network, periodic=(2,))
    with pytest.raises(ValueError, match="3 of 2 inputs cannot be periodic"):
        Conditioner(2, 3, periodic=3)
