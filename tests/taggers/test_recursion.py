"""The recursion over levels against one that calls itself, node by node."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hepgen.data.clustering import Trees, cluster
from hepgen.taggers.recursion import Unit, recurse
from tests.taggers.jets import make

HIDDEN = 5


def unit_of(gated: bool, networks: int, hidden: int = HIDDEN) -> Unit:
    generator = torch.Generator().manual_seed(7)

    def weights(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).mul(0.5)

    three, four = (3 * hidden, 4 * hidden) if gated else (0, 0)
    unit = Unit(
        weights(hidden, 3 * hidden),
        weights(hidden),
        weights(three, three),
        weights(three),
        weights(four, four),
        weights(four),
        weights(networks, hidden, hidden),
        weights(networks, hidden),
    )
    return Unit(*(part.requires_grad_() for part in unit))


def trees_of(counts: list[int], power: float = 1.0, radius: float | None = None) -> Trees:
    batch = make(counts, dtype=torch.float64)
    return cluster(batch.p4, batch.ptr, power, radius)


def state(node: int, u: Tensor, trees: Trees, unit: Unit) -> Tensor:
    """The state of a node by the equations of the paper, from those of its children."""
    left, right = trees.children[node].tolist()
    if left < 0:
        return u[node]
    h_left, h_right = state(left, u, trees, unit), state(right, u, trees, unit)
    if len(unit.w_r):
        r = torch.sigmoid(unit.w_r @ torch.cat([h_left, h_right, u[node]]) + unit.b_r)
        r_left, r_right, r_own = r.split(HIDDEN)
        gated = torch.cat([r_left * h_left, r_right * h_right, r_own * u[node]])
        candidate = torch.relu(unit.w_h @ gated + unit.b_h)
        parts = [candidate, h_left, h_right, u[node]]
        raw = (unit.w_z @ torch.cat(parts) + unit.b_z).split(HIDDEN)
        total = sum(torch.exp(one) for one in raw)
        h = sum(torch.exp(one) / total * part for one, part in zip(raw, parts, strict=True))
    else:
        h = torch.relu(unit.w_h @ torch.cat([h_left, h_right, u[node]]) + unit.b_h)
    for weight, bias in zip(unit.w_n, unit.b_n, strict=True):
        h = torch.relu(weight @ h + bias)
    return h


@pytest.mark.parametrize("gated", [True, False])
@pytest.mark.parametrize("networks", [0, 3])
@pytest.mark.parametrize("power", [1.0, 0.0, -1.0])
def test_states_and_gradients_are_those_of_a_function_that_calls_itself(
    gated, networks, power
) -> None:
    trees, unit = trees_of([0, 1, 2, 3, 11, 0, 25], power), unit_of(gated, networks)
    generator = torch.Generator().manual_seed(1)
    u = torch.randn(len(trees.levels), HIDDEN, generator=generator, dtype=torch.float64)
    u.requires_grad_()
    got = recurse(u, trees.children, trees.levels, unit)
    expected = torch.stack([state(node, u, trees, unit) for node in range(len(u))])
    assert (got - expected).abs().max() < 1e-10
    inputs = [u, *(part for part in unit if part.numel())]
    weights = torch.randn(got.shape, generator=generator, dtype=torch.float64)
    gradients = (
        torch.autograd.grad((one.sin() * weights).sum(), inputs) for one in (got, expected)
    )
    for one, other in zip(*gradients, strict=True):
        assert (one - other).abs().max() < 1e-10


@pytest.mark.parametrize("gated", [True, False])
def test_forests_are_folded_too(gated) -> None:
    trees, unit = trees_of([0, 20, 1, 30], radius=0.1), unit_of(gated, 0)
    assert int(trees.roots.sum()) > 4
    u = torch.randn(len(trees.levels), HIDDEN, dtype=torch.float64)
    got = recurse(u, trees.children, trees.levels, unit)
    for node in range(len(u)):
        torch.testing.assert_close(got[node], state(node, u, trees, unit), rtol=0, atol=1e-10)


def test_no_nodes_have_no_states() -> None:
    trees = trees_of([0, 0])
    u = torch.zeros(0, HIDDEN, dtype=torch.float64, requires_grad=True)
    got = recurse(u, trees.children, trees.levels, unit_of(True, 2))
    assert got.shape == (0, HIDDEN)
    got.sum().backward()


@pytest.mark.parametrize("gated", [True, False])
def test_the_operator_follows_the_rules_of_torch(gated) -> None:
    trees, unit = trees_of([0, 4, 1, 6]), unit_of(gated, 1, 2)
    u = torch.randn(len(trees.levels), 2, dtype=torch.float64, requires_grad=True)
    arguments = (u, trees.children, trees.levels, *unit)
    torch.library.opcheck(torch.ops.hepgen.recurse.default, arguments)


def test_the_type_is_that_of_the_weights() -> None:
    trees, unit = trees_of([5]), Unit(*(part.float() for part in unit_of(True, 1)))
    u = torch.randn(len(trees.levels), HIDDEN)
    expected = recurse(u, trees.children, trees.levels, unit)
    with torch.autocast("cpu", torch.bfloat16):
        got = recurse(u.bfloat16(), trees.children, trees.levels, unit)
        got.sum().backward()
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, expected, rtol=0.1, atol=0.1)
