"""Defensive mixtures and joined draws."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hepgen.integration.defensive import Defensive
from hepgen.integration.integrands import INTEGRANDS
from hepgen.integration.joined import join
from hepgen.integration.mixture import Mixture
from hepgen.integration.sampler import Draw, Sampler
from hepgen.integration.uniform import Uniform
from hepgen.integration.vegas import Vegas


def taught(sampler: Sampler, name: str, seed: int) -> np.random.Generator:
    rng = np.random.default_rng(seed)
    for _ in range(4):
        draw = sampler.draw(4000, rng)
        sampler.adapt(draw, INTEGRANDS[name](draw.x))
    return rng


@pytest.mark.parametrize("inner", [Uniform, Vegas, Mixture])
@pytest.mark.parametrize("share", [0.05, 0.5])
def test_errors_are_as_large_as_deviations(inner: type, share: float) -> None:
    integrand = INTEGRANDS["camel4"]
    sampler = Defensive(inner(4), share)
    rng = taught(sampler, "camel4", 1)
    pulls = []
    for _ in range(100):
        draw = sampler.draw(2000, rng)
        assert len(draw) <= 2000
        integrals, covariance = draw.estimate(integrand(draw.x)[:, None])
        pulls.append((integrals[0] - integrand.exact) / math.sqrt(covariance[0, 0]))
    # The spread of 100 pulls is known to 7 %, their mean to 0.1: four sigma.
    assert np.std(pulls) == pytest.approx(1, abs=0.28)
    assert abs(np.mean(pulls)) < 0.4


def test_no_weight_exceeds_the_integrand_over_the_share() -> None:
    sampler = Defensive(Vegas(2), 0.2)
    rng = taught(sampler, "circles2", 2)
    draw = sampler.draw(5000, rng)
    values = INTEGRANDS["circles2"](draw.x)
    assert (values * draw.measure * len(draw) <= values / 0.2 * (1 + 1e-9)).all()
    assert (sampler.density(draw.x) >= 0.2).all()


def test_the_density_is_the_weighted_sum() -> None:
    sampler = Defensive(Mixture(3), 0.3)
    rng = np.random.default_rng(0)
    draw = sampler.draw(3000, rng)
    sampler.adapt(draw, np.exp(-50 * ((draw.x - 0.5) ** 2).sum(1)))
    x = rng.random((100, 3))
    np.testing.assert_allclose(sampler.density(x), 0.7 * sampler.sampler.density(x) + 0.3)
    again = sampler.draw(50_000, rng)
    measure = 1 / (len(again) * sampler.density(again.x))
    np.testing.assert_allclose(again.measure, measure, rtol=0.05)


def test_what_one_part_misses_the_other_finds() -> None:
    # A mixture that has seen one half of the cube only.
    inner, rng = Mixture(1, flat=1e-6), np.random.default_rng(0)
    draw = inner.draw(2000, rng)
    inner.adapt(draw, np.where(draw.x[:, 0] < 0.3, 1.0, 0.0))
    sampler = Defensive(inner, 0.1)
    found = sampler.draw(20_000, rng)
    integrals, covariance = found.estimate(np.ones((len(found), 1)))
    assert abs(integrals[0] - 1) < 4 * math.sqrt(covariance[0, 0])
    assert math.sqrt(covariance[0, 0]) < 0.03


def test_joined_draws_keep_their_units_and_strata_apart() -> None:
    one = Draw(np.zeros((4, 1)), np.full(4, 0.25), np.array([0, 0, 1, 1]))
    two = Draw(np.ones((2, 1)), np.full(2, 0.5))
    joined = join([one, two], [np.full(4, 0.5), np.full(2, 0.5)])
    assert joined.unit is not None
    assert joined.stratum is not None
    assert joined.unit.tolist() == [0, 0, 1, 1, 2, 3]
    assert joined.stratum.tolist() == [0, 0, 1, 1]
    assert joined.measure.sum() == pytest.approx(1)
    with pytest.raises(ValueError, match="0 draws need"):
        join([], [])


def test_a_state_brings_back_the_same_points() -> None:
    sampler = Defensive(Mixture(4), 0.2)
    taught(sampler, "camel4", 3)
    again = Defensive.from_state(sampler.state())
    one = sampler.draw(500, np.random.default_rng(1))
    two = again.draw(500, np.random.default_rng(1))
    np.testing.assert_array_equal(one.measure, two.measure)


def test_arguments_out_of_range_are_named() -> None:
    with pytest.raises(ValueError, match="between 0 and 1, got 1"):
        Defensive(Uniform(2), 1.0)
    with pytest.raises(ValueError, match="dimension 2 and 3"):
        Defensive(Uniform(2), 0.1, Uniform(3))
    with pytest.raises(ValueError, match="4 calls or more, got 3"):
        Defensive(Uniform(2)).draw(3, np.random.default_rng(0))
