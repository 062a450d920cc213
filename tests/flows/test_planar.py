"""Planar flows: the formula of the paper, and roots that scipy finds too."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import brentq

from hepgen.flows.planar import Planar, PlanarFlow, above_minus_one, root_of_planar


def make(dimension: int = 3, context: int = 0, scale: float = 2.0) -> Planar:
    torch.manual_seed(1)
    planar = Planar(dimension, context, hidden=8).double()
    torch.nn.init.normal_(planar.numbers, std=scale)
    if planar.network is not None:
        torch.nn.init.normal_(planar.network.network[-1].weight, std=0.3)
    return planar


def test_it_is_the_formula_of_the_paper() -> None:
    planar = make()
    w, u, b = np.split(planar.numbers.detach().numpy(), [3, 6])
    x = np.random.default_rng(0).normal(size=(50, 3))
    # Appendix A.1, but m(0) = 0 and m > -1 + 1e-3.
    along = w @ u
    m = 0.999 * (np.log1p(np.exp(along + np.log(np.e - 1))) - 1)
    u_hat = u + (m - along) * w / (w @ w)
    z = x + u_hat * np.tanh(x @ w + b)[:, None]
    psi = (1 - np.tanh(x @ w + b) ** 2)[:, None] * w
    got, logabsdet = planar(torch.from_numpy(x))
    np.testing.assert_allclose(got.detach(), z, rtol=1e-12)
    np.testing.assert_allclose(logabsdet.detach(), np.log(np.abs(1 + psi @ u_hat)), rtol=1e-9)


@pytest.mark.parametrize("c", [-0.999, -0.9, -1e-3, 0.0, 1e-3, 1.0, 30.0, 1e4])
def test_roots_are_those_of_a_bracketed_search(c: float) -> None:
    r = np.concatenate([-np.logspace(3, -4, 20), [0.0], np.logspace(-4, 3, 20), [c, -c]])
    expected = [
        brentq(
            lambda a, r=r: a + c * np.tanh(a) - r,
            -abs(r) - abs(c) - 1,
            abs(r) + abs(c) + 1,
            xtol=1e-15,
            rtol=1e-15,
        )
        for r in r
    ]
    got = root_of_planar(torch.from_numpy(r), torch.full((len(r),), c, dtype=torch.float64))
    # Where the slope is 1e-3, rounding of r is worth 1000 times as much of the root.
    slope = 1 + c / np.cosh(np.clip(expected, -300, 300)) ** 2
    error = np.abs(got.numpy() - expected) * np.minimum(slope, 1)
    assert (error <= 4e-16 * (np.abs(r) + abs(c) + 1)).all()


def test_derivatives_of_roots_are_those_of_finite_differences() -> None:
    r = torch.linspace(-4, 4, 9).double().requires_grad_()
    c = torch.linspace(-0.95, 5, 9).double().requires_grad_()
    assert torch.autograd.gradcheck(root_of_planar, (r, c))


def test_the_bend_stays_above_minus_one() -> None:
    free = torch.linspace(-1000, 1000, 2001).double()
    bend = above_minus_one(free)
    assert (bend >= -0.999).all()
    assert (bend.diff() >= 0).all()
    assert above_minus_one(torch.zeros(1).double()).abs() < 1e-15


@pytest.mark.parametrize("context", [0, 2])
@pytest.mark.parametrize("scale", [0.1, 1.0, 5.0])
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)], ids=["f32", "f64"]
)
def test_inverse_takes_back_what_forward_did(
    context: int, scale: float, dtype: torch.dtype, tolerance: float
) -> None:
    planar = make(4, context, scale).to(dtype)
    x = torch.randn(2000, 4, dtype=dtype)
    given = torch.randn(2000, context, dtype=dtype) if context else None
    z, logabsdet = planar(x, given)
    again, log_back = planar.inverse(z, given)
    assert (logabsdet > -7).all()
    off = (again - x).abs().amax(1) * logabsdet.exp().clamp(max=1)
    assert off.max() < 10 * tolerance
    torch.testing.assert_close(planar(again, given)[0], z, rtol=tolerance, atol=10 * tolerance)
    assert ((log_back + logabsdet).abs() * logabsdet.exp().clamp(max=1)).max() < 100 * tolerance


@pytest.mark.parametrize("inverse", [False, True])
def test_the_determinant_is_that_of_the_jacobian_of_autograd(inverse: bool) -> None:
    planar = make(4, 2)
    call = planar.inverse if inverse else planar
    x, context = torch.randn(20, 4).double(), torch.randn(20, 2).double()
    _, logabsdet = call(x, context)
    for row in range(20):
        jacobian = torch.autograd.functional.jacobian(
            lambda one, row=row: call(one[None], context[row : row + 1])[0][0], x[row]
        )
        torch.testing.assert_close(
            torch.linalg.slogdet(jacobian).logabsdet, logabsdet[row], rtol=1e-8, atol=1e-8
        )


def test_gradients_of_the_inverse_are_those_of_finite_differences() -> None:
    planar = make(3, scale=1.0)
    z = torch.randn(5, 3).double().requires_grad_()
    numbers = planar.numbers

    def call(z: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        planar.__dict__["numbers"] = numbers
        return planar.inverse(z)[0]

    del planar.numbers
    assert torch.autograd.gradcheck(call, (z, numbers))


def test_without_a_direction_nothing_moves_and_without_a_plane_either() -> None:
    x = torch.randn(5, 3)
    torch.testing.assert_close(Planar(3)(x)[0], x, rtol=0, atol=1e-6)
    planar = Planar(3)
    torch.nn.init.zeros_(planar.numbers)
    planar(x)[0].sum().backward()
    assert planar.numbers.grad is not None
    assert planar.numbers.grad.isfinite().all()


def test_the_flow_learns_a_ridge_of_two_modes() -> None:
    torch.manual_seed(0)
    signs = torch.randint(0, 2, (2000,)) * 2.0 - 1
    x = torch.randn(2000, 2)
    x[:, 0] = 0.3 * x[:, 0] + signs
    flow = PlanarFlow(2, num_transforms=8)
    before = -flow.log_prob(x).mean().item()
    optimizer = torch.optim.Adam(flow.parameters(), lr=2e-2)
    for _ in range(300):
        optimizer.zero_grad()
        loss = -flow.log_prob(x).mean()
        loss.backward()
        optimizer.step()
    # Entropy of the mixture: that of its narrow Gaussians and ln 2, as they hardly overlap.
    ideal = np.log(2 * np.pi * np.e) + np.log(0.3) + np.log(2)
    assert loss.item() - ideal < 0.35 * (before - ideal)
    drawn = flow.sample(2000)
    assert 0.35 < (drawn[:, 0] > 0).float().mean() < 0.65
    assert (drawn[:, 0].abs() - 1).abs().median() < 0.5
