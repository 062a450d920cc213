"""Bases are densities of torch, in any type, with angles and on the cube."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats
from torch import distributions

from hepgen.flows import Base, StandardNormal, UnitUniform

DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["f32", "f64"])


@DTYPES
def test_the_normal_density_is_that_of_torch(dtype: torch.dtype) -> None:
    x = 3 * torch.randn(100, 4, generator=torch.Generator().manual_seed(0)).to(dtype)
    got = StandardNormal(4).to(dtype).log_prob(x)
    expected = distributions.Normal(0.0, 1.0).log_prob(x.double()).sum(1)
    assert got.dtype == dtype
    tolerance = 1e-6 if dtype == torch.float32 else 1e-14
    torch.testing.assert_close(got.double(), expected, rtol=tolerance, atol=tolerance)


def test_angles_are_uniform_on_the_circle() -> None:
    base = StandardNormal(3, periodic=(1,)).double()
    x = base.sample(20_000, generator=torch.Generator().manual_seed(0))
    # Kolmogorov and Smirnov; false alarms of each once in 1e4 seeds.
    assert stats.kstest(x[:, 1].numpy(), "uniform", (-math.pi, 2 * math.pi)).pvalue > 1e-4
    assert stats.kstest(x[:, 0].numpy(), "norm").pvalue > 1e-4
    turned = x + torch.tensor([0.0, 2 * math.pi, 0.0])
    torch.testing.assert_close(base.log_prob(turned), base.log_prob(x))
    expected = stats.norm.logpdf(x[:, [0, 2]].numpy()).sum(1) - math.log(2 * math.pi)
    torch.testing.assert_close(base.log_prob(x), torch.from_numpy(expected))


@DTYPES
def test_the_cube_is_one_inside_and_nothing_outside(dtype: torch.dtype) -> None:
    base = UnitUniform(2).to(dtype)
    x = torch.tensor([[0.0, 1.0], [0.3, 0.9], [-1e-4, 0.5], [0.5, 1.0001], [0.5, math.nan]])
    got = base.log_prob(x.to(dtype))
    assert got.dtype == dtype
    assert got.tolist() == [0, 0, -math.inf, -math.inf, -math.inf]
    drawn = base.sample(10_000, generator=torch.Generator().manual_seed(0))
    assert drawn.dtype == dtype
    assert stats.kstest(drawn.flatten().numpy(), "uniform").pvalue > 1e-4


@DTYPES
@pytest.mark.parametrize("base", [StandardNormal(3), UnitUniform(3), StandardNormal(3, (0, 2))])
def test_a_context_is_only_counted(base: Base, dtype: torch.dtype) -> None:
    base = base.to(dtype)
    context = torch.zeros(4, 7)
    assert base.sample(5, context).shape == (4, 5, 3)
    x, log_prob = base.sample_and_log_prob(5, context)
    assert x.dtype == log_prob.dtype == dtype
    torch.testing.assert_close(base.log_prob(x.view(20, 3)), log_prob.view(20))
    assert base.sample(0).shape == (0, 3)
    assert base.sample(2, torch.zeros(0, 7)).shape == (0, 2, 3)
    assert base.mean().shape == (3,)
    assert base.mean(context).shape == (4, 3)


def test_wrong_dimensions_are_told() -> None:
    with pytest.raises(ValueError, match="UnitUniform needs one dimension at least, not 0"):
        UnitUniform(0)
    with pytest.raises(ValueError, match=r"points of shape \(B, 2\), not \(5, 3\)"):
        StandardNormal(2).log_prob(torch.zeros(5, 3))
    with pytest.raises(ValueError, match=r"periodic=\(2,\): the dimensions are 0 to 1"):
        StandardNormal(2, (2,))
