"""Radial flows: the formula of the paper, and both ways in closed form."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hepgen.flows.radial import Radial, RadialFlow


def make(dimension: int = 3, context: int = 0, scale: float = 2.0) -> Radial:
    torch.manual_seed(1)
    radial = Radial(dimension, context, hidden=8).double()
    torch.nn.init.normal_(radial.numbers, std=scale)
    if radial.network is not None:
        torch.nn.init.normal_(radial.network.network[-1].weight, std=0.3)
    return radial


def test_it_is_the_formula_of_the_paper() -> None:
    radial = make(4)
    centre, (a, b) = np.split(radial.numbers.detach().numpy(), [4])
    alpha = 1e-3 + np.log1p(np.exp(a) * np.expm1(1 - 1e-3))
    beta = alpha * 0.999 * (np.log1p(np.exp(b) * np.expm1(1)) - 1)
    x = np.random.default_rng(0).normal(size=(50, 4))
    r = np.linalg.norm(x - centre, axis=1)
    h = 1 / (alpha + r)
    z = x + (beta * h)[:, None] * (x - centre)
    det = (1 + beta * h) ** 3 * (1 + beta * h - beta * h**2 * r)
    got, logabsdet = radial(torch.from_numpy(x))
    np.testing.assert_allclose(got.detach(), z, rtol=1e-12)
    np.testing.assert_allclose(logabsdet.detach(), np.log(det), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("context", [0, 2])
@pytest.mark.parametrize("scale", [0.1, 1.0, 10.0])
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)], ids=["f32", "f64"]
)
def test_inverse_takes_back_what_forward_did(
    context: int, scale: float, dtype: torch.dtype, tolerance: float
) -> None:
    radial = make(4, context, scale).to(dtype)
    x = torch.randn(2000, 4, dtype=dtype)
    given = torch.randn(2000, context, dtype=dtype) if context else None
    z, logabsdet = radial(x, given)
    again, log_back = radial.inverse(z, given)
    # No slope is below 1e-3, and what that costs is lost in z already.
    slope = logabsdet.exp().clamp(max=1)
    assert ((again - x).abs().amax(1) * slope).max() < 10 * tolerance
    assert ((log_back + logabsdet).abs() * slope).max() < 100 * tolerance


@pytest.mark.parametrize("inverse", [False, True])
def test_the_determinant_is_that_of_the_jacobian_of_autograd(inverse: bool) -> None:
    radial = make(4, 2)
    call = radial.inverse if inverse else radial
    x, context = torch.randn(20, 4).double(), torch.randn(20, 2).double()
    _, logabsdet = call(x, context)
    for row in range(20):
        jacobian = torch.autograd.functional.jacobian(
            lambda one, row=row: call(one[None], context[row : row + 1])[0][0], x[row]
        )
        torch.testing.assert_close(
            torch.linalg.slogdet(jacobian).logabsdet, logabsdet[row], rtol=1e-8, atol=1e-8
        )


def test_the_centre_stays_and_has_finite_gradients() -> None:
    radial = make()
    centre = radial.numbers[:3].detach()[None]
    for call in (radial.forward, radial.inverse):
        radial.zero_grad()
        x = centre.clone().requires_grad_()
        z, logabsdet = call(x)
        torch.testing.assert_close(z, centre, rtol=0, atol=0)
        (z.sum() + logabsdet.sum()).backward()
        assert radial.numbers.grad is not None
        assert x.grad is not None
        assert radial.numbers.grad.isfinite().all()
        assert x.grad.isfinite().all()


def test_it_begins_as_the_identity() -> None:
    x = torch.randn(100, 3).double()
    z, logabsdet = Radial(3).double()(x)
    torch.testing.assert_close(z, x, rtol=0, atol=1e-12)
    assert logabsdet.abs().max() < 1e-12


def test_the_flow_learns_a_narrow_peak_on_a_broad_one() -> None:
    torch.manual_seed(0)
    x = torch.randn(2000, 2)
    x[:1000] = 0.2 * x[:1000] + 0.5
    flow = RadialFlow(2, num_transforms=8)
    before = -flow.log_prob(x).mean().item()
    optimizer = torch.optim.Adam(flow.parameters(), lr=2e-2)
    for _ in range(300):
        optimizer.zero_grad()
        loss = -flow.log_prob(x).mean()
        loss.backward()
        optimizer.step()

    def gauss(x: torch.Tensor, mean: float, width: float) -> torch.Tensor:
        normal = torch.distributions.Normal(mean, width)
        return normal.log_prob(x).sum(1)

    true = torch.logaddexp(gauss(x, 0.0, 1.0), gauss(x, 0.5, 0.2)) - np.log(2)
    ideal = -true.mean().item()
    assert loss.item() - ideal < 0.2 * (before - ideal)
    drawn = flow.sample(4000)
    near = ((drawn - 0.5).norm(dim=1) < 0.4).float().mean()
    # Of the narrow one all but exp(-2), of the broad one 0.06.
    assert 0.35 < near < 0.6
