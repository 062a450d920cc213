"""Whitening: uncorrelated outputs, statistics of all that was seen, renewed when it doubles."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hepgen.taggers.whitening import FLOOR, Whitening


def sample(count: int, seed: int = 0) -> torch.Tensor:
    """Correlated values of very different sizes, none of them narrow but for the last."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(count, 5)) @ np.tril(np.ones((5, 5))) + [3, 0, 0, -1, 2]
    return torch.from_numpy(values * [1, 1e-3, 1e2, 1e-6, 1])


def test_statistics_are_those_of_all_batches() -> None:
    values, module = sample(500), Whitening(5)
    for part in values.split([7, 1, 0, 200, 292]):
        module(part)
    torch.testing.assert_close(module.mean, values.mean(0))
    expected = np.cov(values.T.numpy(), bias=True)
    np.testing.assert_allclose(module.covariance, expected, rtol=1e-10)
    assert module.seen[0] == 500


def test_outputs_have_no_correlations_and_the_least_change() -> None:
    values, module = sample(100_000), Whitening(5)
    module.update(values)
    module.renew()
    white = (values - module.centre) @ module.whitener.mT
    np.testing.assert_allclose(np.cov(white.T.numpy()), np.eye(5), atol=5e-3)
    # W diag(sigma) is symmetric: so it is nearest to the identity (Kessy et al., table 1).
    symmetric = module.whitener * values.std(0, correction=0)
    torch.testing.assert_close(symmetric, symmetric.mT, rtol=1e-3, atol=1e-6)


def test_a_narrow_direction_is_not_blown_up_beyond_the_floor() -> None:
    values = sample(100_000)
    values[:, 4] = values[:, 0] + 1e-6 * values[:, 4]
    module = Whitening(5)
    module.update(values)
    white = (values - module.centre) @ module.whitener.mT
    assert float(torch.linalg.eigvalsh(white.mT.cov()).min()) < 1e-6
    scaled = module.whitener * values.std(0)
    assert float(torch.linalg.matrix_norm(scaled, 2)) < 1.01 / FLOOR**0.5


def test_what_is_used_is_renewed_when_the_number_of_jets_has_doubled() -> None:
    module, renewed = Whitening(5), []
    for step in range(20):
        before = module.whitener.clone()
        module(sample(10, seed=step))
        renewed += [step + 1] if not torch.equal(before, module.whitener) else []
    assert renewed == [1, 2, 4, 8, 16]


def test_in_evaluation_nothing_changes() -> None:
    module = Whitening(5)
    module(sample(50))
    state = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    module.eval()(sample(500, seed=1))
    for name, tensor in module.state_dict().items():
        torch.testing.assert_close(tensor, state[name], rtol=0, atol=0)


def test_weights_count_jets_several_times() -> None:
    values, weight = sample(40), torch.arange(40) % 4
    one, other = Whitening(5), Whitening(5)
    one.update(values, weight.double())
    other.update(values.repeat_interleave(weight, dim=0))
    for mine, its in zip(one.buffers(), other.buffers(), strict=True):
        torch.testing.assert_close(mine, its)


def test_the_inverse_is_one() -> None:
    module = Whitening(5)
    module.update(sample(100))
    module.update(sample(50, seed=1))
    module.renew()
    torch.testing.assert_close(module.unwhitener() @ module.whitener, torch.eye(5).double())


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_jets_or_equal_ones_leave_everything_finite(count) -> None:
    for values in (sample(count), torch.zeros(count, 5), torch.ones(count, 5)):
        module = Whitening(5)
        centre, whitener = module(values)
        assert centre.isfinite().all()
        assert whitener.isfinite().all()
        assert float(whitener.abs().max()) < 1e8


def test_forgetting_makes_it_new() -> None:
    module = Whitening(5)
    module(sample(50))
    module.reset()
    for mine, its in zip(module.buffers(), Whitening(5).buffers(), strict=True):
        torch.testing.assert_close(mine, its)
