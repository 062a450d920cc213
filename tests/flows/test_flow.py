"""Flows put together by hand, their loss, and what begins from data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from nflows import distributions as nflows_distributions
from nflows import transforms
from torch import Tensor

import hepgen
from hepgen.checkpoint import CheckpointError
from hepgen.flows import ActNorm, Flow, Glow, NeuralSplineFlow, RealNVP, StandardNormal
from hepgen.training import fit


@dataclass
class Batch:
    x: Tensor
    context: Tensor | None = None
    weight: Tensor | None = None


def some(count: int, width: int, seed: int = 0) -> Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def test_transforms_of_nflows_make_a_flow() -> None:
    torch.manual_seed(0)
    flow = Flow(transforms.LULinear(3, identity_init=False), StandardNormal(3)).double()
    x = some(20, 3).double()
    mean, weight = flow.transform.bias, flow.transform.weight()
    # z = W x + b is a standard normal: x is a Gaussian of covariance (W^T W)^-1.
    inverse = torch.linalg.inv(weight)
    expected = torch.distributions.MultivariateNormal(-inverse @ mean, inverse @ inverse.T)
    torch.testing.assert_close(flow.log_prob(x), expected.log_prob(x))
    assert flow.base.dimension == flow.dimension == 3


def test_the_loss_is_the_weighted_mean_of_minus_the_log_density() -> None:
    flow = RealNVP(3, context=2)
    batch = Batch(some(40, 3), some(40, 2, seed=1))
    expected = -flow.log_prob(batch.x, batch.context).detach()
    assert float(flow.loss(batch).detach()) == pytest.approx(float(expected.mean()), rel=1e-6)
    batch.weight = torch.linspace(-1, 2, 40)
    got = float(flow.loss(batch).detach())
    assert got == pytest.approx(np.average(expected.numpy() * batch.weight.numpy()), rel=1e-5)
    batch.weight = torch.ones(40, 1)
    with pytest.raises(ValueError, match=r"weight should be of shape \(40,\), not \(40, 1\)"):
        flow.loss(batch)


def test_a_conditional_flow_learns_a_gaussian_that_depends_on_its_context() -> None:
    # x = 2 c + 0.5 e: its mean log density is that of the Gaussian e, less ln 0.5.
    context = some(4000, 1)
    x = 2 * context + 0.5 * some(4000, 1, seed=1)
    flow = RealNVP(1, context=1, num_transforms=2, hidden=16)
    optimizer = torch.optim.Adam(flow.parameters(), lr=1e-2)
    for _ in range(200):
        optimizer.zero_grad()
        flow.loss(Batch(x, context)).backward()
        optimizer.step()
    entropy = 0.5 * np.log(2 * np.pi * np.e * 0.25)
    # The error of the mean over 4000 points is 0.011.
    assert float(flow.loss(Batch(x, context)).detach()) == pytest.approx(entropy, abs=0.05)


def test_the_trainer_of_hepgen_takes_a_flow() -> None:
    flow = RealNVP(2, num_transforms=2, hidden=8)
    batches = [Batch(0.2 * some(200, 2, seed)) for seed in range(3)]
    before = float(flow.loss(batches[0]).detach())
    fit(flow, batches, epochs=20, lr=1e-2, accelerator="cpu", progress=False)
    assert float(flow.loss(batches[0]).detach()) < before - 0.3


@torch.no_grad()
def test_layers_begin_from_data_once() -> None:
    flow = Glow(3, num_transforms=2)
    x = 5 * some(1000, 3) + 7
    state = {name: tensor.clone() for name, tensor in flow.state_dict().items()}
    flow.initialize(x)
    z = flow.transform_to_noise(x)
    torch.testing.assert_close(z.mean(0), torch.zeros(3), rtol=0, atol=1e-5)
    torch.testing.assert_close(z.std(0), torch.ones(3), rtol=0, atol=1e-5)
    changed = [n for n, tensor in flow.state_dict().items() if not torch.equal(tensor, state[n])]
    # The second layer finds its points standardised already.
    assert {name.rpartition(".")[2] for name in changed} == {"log_scale", "shift"}
    begun = flow.transform._transforms[0].shift.clone()
    flow.initialize(2 * x)
    assert torch.equal(flow.transform._transforms[0].shift, begun)


def test_layers_cannot_begin_from_next_to_nothing() -> None:
    with pytest.raises(ValueError, match="cannot be seen in 1 points"):
        Glow(3).initialize(some(1, 3))
    x = some(10, 3)
    x[:, 1] = 4
    with pytest.raises(ValueError, match="dimension 1 does not vary in 10 points"):
        ActNorm(3).initialize(x)
    # Of a flow without such layers there is nothing to begin.
    RealNVP(3).initialize(some(1, 3))


def test_a_flow_put_together_by_hand_has_no_configuration(tmp_path) -> None:
    flow = Flow(ActNorm(2), StandardNormal(2))
    with pytest.raises(TypeError, match="'transform' of Flow should be what JSON can hold"):
        flow.config()
    with pytest.raises((TypeError, CheckpointError)):
        hepgen.save(flow, tmp_path / "flow.safetensors")
    assert not list(tmp_path.iterdir())


def test_a_flow_saves_itself(tmp_path) -> None:
    flow = NeuralSplineFlow(2, hidden=8, periodic=(1,))
    flow.save(tmp_path / "flow.safetensors")
    loaded = hepgen.load(tmp_path / "flow.safetensors")
    assert isinstance(loaded, NeuralSplineFlow)
    assert loaded.periodic == (1,)
    x = torch.rand(5, 2)
    assert torch.equal(loaded.log_prob(x), flow.log_prob(x))


@torch.no_grad()
def test_what_is_not_a_number_stays_none() -> None:
    x = some(5, 3)
    x[2, 1] = torch.nan
    log_prob = RealNVP(3).log_prob(x)
    assert log_prob.isnan().tolist() == [False, False, True, False, False]


def test_a_neural_spline_flow_refuses_what_makes_no_sense() -> None:
    with pytest.raises(ValueError, match="domain='cube': the domains are 'unit' and 'real'"):
        NeuralSplineFlow(3, domain="cube")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="angles"):
        NeuralSplineFlow(3, periodic=(3,))
    with pytest.raises(ValueError, match="no network has 2 layers of width 0"):
        RealNVP(3, hidden=0)
    with pytest.raises(ValueError, match="batch_size should be at least 1, not 0"):
        RealNVP(3).sample(5, batch_size=0)


def test_bases_of_nflows_can_stand_below_transforms_of_ours() -> None:
    base = nflows_distributions.StandardNormal([3])
    base.dimension, base.origin = 3, torch.zeros(())
    flow = Flow(ActNorm(3), base)
    assert flow.sample(4).shape == (4, 3)
