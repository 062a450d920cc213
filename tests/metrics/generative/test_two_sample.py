"""Permutation tests: uniform p-values without a difference, small ones with it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from hepgen.metrics import generative

STATISTICS = ["energy", "gaussian", "kolmogorov", "wasserstein"]


@pytest.mark.slow
@pytest.mark.parametrize("statistic", STATISTICS)
def test_p_values_are_uniform_without_a_difference(statistic):
    """200 experiments with ties; a p-value below 1e-4 of the uniform law fails once in 10 000."""
    rng = np.random.default_rng(1)
    found = []
    for seed in range(200):
        x, y = np.round(rng.normal(size=(60, 2)), 1), np.round(rng.normal(size=(40, 2)), 1)
        test = generative.permutation_test(x, y, statistic, permutations=99, seed=seed)
        # Spread over the steps of 1/100.
        found.append(test.p_value - rng.random() / 100)
    assert scipy.stats.kstest(found, "uniform").pvalue > 1e-4


@pytest.mark.parametrize("statistic", STATISTICS)
def test_a_difference_is_found(statistic):
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(400, 3)), rng.normal(size=(300, 3)) + 0.4
    found = generative.permutation_test(x, y, statistic)
    assert isinstance(found, generative.TwoSampleTest)
    assert found.p_value == pytest.approx(1 / 201)
    assert found.excess > 5
    assert found.null.shape == (200,)
    assert 0 < found.error < 0.006


def test_the_statistics_are_those_of_the_distances():
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(80, 3)), 1.2 * rng.normal(size=(70, 3))
    found = generative.permutation_test(x, y, "energy", permutations=5)
    wanted = generative.energy_distance(x, y, splits=0).value
    assert found.statistic == pytest.approx(wanted, rel=1e-9)
    found = generative.permutation_test(x, y, "kolmogorov", permutations=5)
    wanted = generative.mean_kolmogorov(x, y, resamples=0, splits=0).value
    assert found.statistic == pytest.approx(wanted, rel=1e-9)


def test_any_function_of_two_tables_is_a_statistic():
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(50, 1)), rng.normal(size=(50, 1)) + 1.0
    found = generative.permutation_test(
        x, y, lambda a, b: abs(a.mean() - b.mean()), scale=None, permutations=300
    )
    wanted = scipy.stats.permutation_test(
        (x[:, 0], y[:, 0]), lambda a, b: abs(a.mean() - b.mean()), n_resamples=300, rng=1
    )
    assert found.p_value == pytest.approx(wanted.pvalue, abs=0.02)
    sliced = generative.permutation_test(
        x,
        y,
        lambda a, b: generative.sliced_wasserstein(a, b, directions=5, resamples=0, splits=0),
        permutations=20,
    )
    assert sliced.p_value == pytest.approx(1 / 21)


def test_equal_samples_have_a_p_value_of_one():
    x = np.arange(20.0)
    found = generative.permutation_test(x, x, "kolmogorov", permutations=50)
    assert found.p_value == 1
    assert found.error == 0
    assert math.isfinite(found.excess)


def test_bad_options_are_named():
    x = np.arange(20.0)
    with pytest.raises(ValueError, match="no statistic 'chi2'"):
        generative.permutation_test(x, x, "chi2")
    with pytest.raises(ValueError, match="at least two permutations"):
        generative.permutation_test(x, x, permutations=1)
