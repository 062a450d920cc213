"""Weights of importance sampling: against closed forms and scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import genpareto

from hepgen.metrics import (
    effective_sample_size,
    largest_weight_share,
    maximum_weight,
    pareto_k,
    unweighting_efficiency,
)

RNG = np.random.default_rng(5)


def test_equal_weights_are_worth_their_number() -> None:
    assert effective_sample_size(np.full(40, 1e-300)) == pytest.approx(40)
    assert effective_sample_size(np.full(40, -1e300)) == pytest.approx(40)
    assert effective_sample_size([0.0, 0.0, 3.0]) == 1
    assert effective_sample_size([0.0, 0.0]) == 0


def test_the_largest_weight_is_a_share_of_the_sum_of_sizes() -> None:
    assert largest_weight_share([1.0, -2.0, 1.0]) == 0.5
    assert largest_weight_share([0.0]) == 0


@pytest.mark.parametrize("shape", [0.1, 0.4, 0.7, 1.0])
def test_the_shape_of_a_pareto_tail_is_found(shape: float) -> None:
    # The spread of the estimate is about (1 + k) / sqrt(tail); four of it: false alarm 6e-5.
    weights = genpareto.rvs(shape, size=100_000, random_state=3)
    tail = 3 * math.sqrt(len(weights))
    assert pareto_k(weights) == pytest.approx(shape, abs=4 * (1 + shape) / math.sqrt(tail))


def test_the_shape_is_that_of_scipys_likelihood() -> None:
    weights = np.sort(genpareto.rvs(0.5, size=50_000, random_state=8))
    length = math.ceil(3 * math.sqrt(len(weights)))
    cut = weights[-length - 1]
    fitted, _, _ = genpareto.fit(weights[-length:] - cut, floc=0)
    # Posterior mean with ten prior values of 1/2 against the maximum of the likelihood.
    assert pareto_k(weights) == pytest.approx((length * fitted + 5) / (length + 10), abs=0.01)


def test_flat_and_short_tails_are_told() -> None:
    assert pareto_k(np.full(1000, 2.5)) == -math.inf
    assert pareto_k(np.zeros(1000)) == -math.inf
    assert math.isnan(pareto_k(np.ones(24)))
    assert pareto_k(RNG.random(10_000)) < 0  # bounded weights


def test_the_maximum_leaves_the_share_above_it_that_was_asked_for() -> None:
    weights = RNG.exponential(size=5000) * RNG.choice([-1, 1], 5000)
    sizes = np.abs(weights)
    assert maximum_weight(weights) == sizes.max()
    for share in (1e-4, 1e-3, 0.05, 0.7):
        maximum = maximum_weight(weights, share)
        above = np.maximum(sizes - maximum, 0).sum() / sizes.sum()
        assert above == pytest.approx(share, rel=1e-9)
    assert maximum_weight(np.ones(5), 0.5) == pytest.approx(0.5)


def test_the_efficiency_is_the_share_of_points_that_survive() -> None:
    weights = RNG.exponential(size=200_000)
    for share in (0.0, 0.01):
        maximum = maximum_weight(weights, share)
        kept = RNG.random(len(weights)) < weights / maximum
        expected = unweighting_efficiency(weights, share)
        sigma = math.sqrt(expected * (1 - expected) / len(weights))
        assert kept.mean() == pytest.approx(expected, abs=5 * sigma)
    assert unweighting_efficiency([2.0, 2.0]) == 1
    assert unweighting_efficiency([0.0, 0.0]) == 0


@pytest.mark.parametrize("function", [effective_sample_size, largest_weight_share, pareto_k])
def test_weights_that_are_no_numbers_are_refused(function: object) -> None:
    with pytest.raises(ValueError, match="1 of 3 weights are NaN or infinite, first number 1"):
        function([1.0, math.nan, 2.0])
    with pytest.raises(ValueError, match="got none"):
        function([])


def test_a_share_above_all_is_refused() -> None:
    with pytest.raises(ValueError, match="overweight is a share"):
        unweighting_efficiency([1.0], 1.0)
