"""Expectation values, weights between densities, rare events, nuisance parameters: closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

import hepgen
from hepgen.integration import (
    BadIntegrand,
    MarginalLikelihood,
    RareEvent,
    Reweighted,
    Uniform,
    expectation,
    marginal_likelihood,
    rare_event,
    reweight,
)

PLANE = [(-8.0, 8.0)] * 2
COVARIANCE = np.array([[1.0, 0.6], [0.6, 2.0]])
INVERSE = np.linalg.inv(COVARIANCE)


def gauss(x: np.ndarray) -> np.ndarray:
    """Not normalised."""
    return 7 * np.exp(-0.5 * np.einsum("bi,ij,bj->b", x, INVERSE, x))


def moments(x: np.ndarray) -> dict[str, np.ndarray]:
    return {"xx": x[:, 0] ** 2, "xy": x[:, 0] * x[:, 1], "one": np.ones(len(x))}


def test_moments_of_a_density_without_norm_are_found() -> None:
    found = expectation(moments, gauss, PLANE, calls=40_000, seed=1)
    assert found["xx"].value == pytest.approx(1.0, abs=5 * found["xx"].error)
    assert found["xy"].value == pytest.approx(0.6, abs=5 * found["xy"].error)
    assert found["xy"].error < 0.02
    assert found["one"].value == pytest.approx(1)
    assert found["one"].error == pytest.approx(0, abs=1e-6)
    single = expectation(lambda x: x[:, 0], gauss, PLANE, calls=20_000, seed=1)
    assert single.value == pytest.approx(0, abs=5 * single.error)


def test_points_of_an_integral_serve_again() -> None:
    result = hepgen.integrate(gauss, PLANE, calls=40_000, seed=1)
    found = expectation(moments, result)
    assert found["xx"].value == pytest.approx(1.0, abs=5 * found["xx"].error)
    with pytest.raises(TypeError, match="leave them out"):
        expectation(moments, result, PLANE)


def test_the_error_of_a_mean_is_that_of_its_spread() -> None:
    # 60 pulls: their rms is known to 9 %, four of it.
    pulls = []
    for seed in range(60):
        found = expectation(
            lambda x: x[:, 0] ** 2, gauss, PLANE, calls=2000, sampler="vegas", seed=seed
        )
        pulls.append((found.value - 1) / found.error)
    assert 0.64 < np.sqrt(np.mean(np.square(pulls))) < 1.36


def test_events_are_weighted_to_another_density() -> None:
    rng = np.random.default_rng(4)
    x = rng.normal(size=(50_000, 1))
    found = reweight(
        x, lambda x: 3 * stats.norm.pdf(x[:, 0], 0.5), lambda x: stats.norm.pdf(x[:, 0])
    )
    assert isinstance(found, Reweighted)
    assert found.trusted
    assert found.integral.value == pytest.approx(3, abs=5 * found.integral.error)
    mean = float((found.weights @ x[:, 0]) / found.weights.sum())
    # Weights exp(x/2 - 1/8): n_eff = n exp(-1/4).
    assert found.effective_sample_size == pytest.approx(len(x) * math.exp(-0.25), rel=0.02)
    assert mean == pytest.approx(0.5, abs=5 / math.sqrt(found.effective_sample_size))
    logs = reweight(
        x,
        lambda x: math.log(3) + stats.norm.logpdf(x[:, 0], 0.5),
        lambda x: stats.norm.logpdf(x[:, 0]),
        log=True,
    )
    assert logs.weights == pytest.approx(found.weights)


def test_events_that_do_not_cover_the_new_density_are_not_trusted() -> None:
    x = np.random.default_rng(5).normal(size=(20_000, 1))
    wide = reweight(x, lambda x: stats.cauchy.pdf(x[:, 0]), lambda x: stats.norm.pdf(x[:, 0]))
    assert wide.pareto_k > 0.7
    assert not wide.trusted


def test_unweighted_events_carry_their_integral_over() -> None:
    result = hepgen.integrate(gauss, PLANE, calls=60_000, seed=2)
    events = result.unweight()
    found = reweight(events, lambda x: 2 * gauss(x), gauss)
    assert found.integral.value == pytest.approx(2 * result.integral)
    narrow = reweight(events, lambda x: gauss(1.2 * x), gauss)
    exact = 7 * 2 * math.pi * math.sqrt(np.linalg.det(COVARIANCE)) / 1.44
    assert narrow.integral.value == pytest.approx(exact, abs=5 * narrow.integral.error)


@pytest.mark.parametrize(
    ("new", "old", "message"),
    [
        (lambda x: x, lambda x: x[:, 0], r"new density: wanted shape \(3,\), got \(3, 1\)"),
        (lambda x: x[:, 0], lambda x: 0 * x[:, 0], "3 of 3 ratios are no finite numbers"),
        (lambda x: x[:, 0] * np.nan, lambda x: x[:, 0], "new density: 3 of 3 are NaN"),
    ],
)
def test_densities_that_cannot_be_compared_are_refused(
    new: object, old: object, message: str
) -> None:
    with pytest.raises(BadIntegrand, match=message):
        reweight(np.ones((3, 1)), new, old)
    with pytest.raises(BadIntegrand, match="wanted 3 weights"):
        reweight(np.ones((3, 1)), lambda x: x[:, 0], lambda x: x[:, 0], weights=[1.0])


def normal(x: np.ndarray) -> np.ndarray:
    return np.exp(-0.5 * (x**2).sum(1)) / (2 * math.pi) ** (x.shape[1] / 2)


def sum_of(x: np.ndarray) -> np.ndarray:
    return x.sum(1) / math.sqrt(x.shape[1])


def test_a_probability_of_1e_9_is_found_where_plain_monte_carlo_sees_nothing() -> None:
    exact = float(stats.norm.sf(6.0))  # 9.9e-10
    found = rare_event(normal, sum_of, 6.0, [(-8, 8)] * 3, calls=60_000, seed=1)
    assert isinstance(found, RareEvent)
    assert found.result.integral == pytest.approx(exact, abs=5 * found.result.error)
    assert found.result.error < 0.02 * exact
    assert found.calls <= 60_000
    assert found.levels[-1] == 6.0
    assert list(found.levels) == sorted(found.levels)
    assert "levels" in str(found)
    # Sampled from the density itself, 60 000 points see the event with a chance of 6e-5.
    x = np.random.default_rng(1).normal(size=(60_000, 3))
    assert not (sum_of(x) >= 6).any()


def test_rare_events_in_several_places_are_all_found() -> None:
    exact = 1 - (1 - 2 * float(stats.norm.sf(4.0))) ** 2
    found = rare_event(normal, lambda x: np.abs(x).max(1), 4.0, [(-8, 8)] * 2, calls=60_000, seed=2)
    assert found.result.integral == pytest.approx(exact, abs=5 * found.result.error)


@pytest.mark.parametrize(
    ("density", "statistic", "message"),
    [
        (normal, lambda x: np.tanh(x[:, 0]), "come to 0.9.* of 6 in"),
        (lambda x: -normal(x), sum_of, "finite and not negative"),
        (lambda x: 0 * x[:, 0], sum_of, "zero at all points"),
        (normal, lambda x: x, r"statistic: wanted shape"),
        (normal, lambda x: np.nan * x[:, 0], "statistic: .* values are NaN"),
    ],
)
def test_events_that_cannot_happen_are_told(
    density: object, statistic: object, message: str
) -> None:
    with pytest.raises(BadIntegrand, match=message):
        rare_event(density, statistic, 6.0, [(-8, 8)] * 2, calls=5000)


def test_nuisance_parameters_are_integrated_out() -> None:
    # n ~ Poisson(s + b), b ~ Gamma(k, scale): the marginal is a sum of negative binomials.
    observed, shape, scale = 12, 20.0, 0.25
    signal = np.array([0.0, 3.0, 7.0, 12.0])

    def log_likelihood(s: float, nu: np.ndarray) -> np.ndarray:
        b = nu[:, 0]
        return stats.poisson.logpmf(observed, s + b) + stats.gamma.logpdf(b, shape, scale=scale)

    found = marginal_likelihood(log_likelihood, signal, [(0, math.inf)], calls=40_000, seed=3)
    assert isinstance(found, MarginalLikelihood)
    for s, value, error in zip(signal, found.log_likelihood, found.error, strict=True):
        background = np.arange(observed + 1)
        exact = (
            stats.nbinom.pmf(background, shape, 1 / (1 + scale))
            * stats.poisson.pmf(observed - background, s)
        ).sum()
        assert value == pytest.approx(math.log(exact), abs=5 * error + 1e-9)
    assert found.test_statistic.min() == 0
    assert found.covariance.shape == (4, 4)


def test_likelihoods_of_many_events_neither_overflow_nor_underflow() -> None:
    rng = np.random.default_rng(6)
    data = rng.normal(1.0, 1.5, 20_000)
    mean, spread, count = data.mean(), data.std(), len(data)

    def log_likelihood(mu: float, nu: np.ndarray) -> np.ndarray:
        sigma = nu[:, 0]
        return -count * np.log(sigma) - count * (spread**2 + (mean - mu) ** 2) / (2 * sigma**2)

    mus = mean + np.array([-1.0, 0.0, 2.0]) * spread / math.sqrt(count)
    found = marginal_likelihood(log_likelihood, mus, [(0.1, 10.0)], calls=20_000, seed=1)
    assert found.log_likelihood.max() < -8000
    # Of sigma with a flat prior: L(mu) ~ (spread^2 + (mean - mu)^2)^(-(n - 1) / 2).
    exact = (count - 1) * np.log1p((mean - mus) ** 2 / spread**2)
    assert found.test_statistic == pytest.approx(exact, abs=1e-2)
    with pytest.raises(ValueError, match="one value at least"):
        marginal_likelihood(log_likelihood, [], [(0, 1)])
    with pytest.raises(BadIntegrand, match="zero at all"):
        marginal_likelihood(lambda t, x: np.full(len(x), -np.inf), [0.0], [(0, 1)])


def test_plain_points_are_a_sampler_too() -> None:
    found = expectation(lambda x: x[:, 0], lambda x: 2 * x[:, 0], [(0, 1)], sampler=Uniform(1))
    assert found.value == pytest.approx(2 / 3, abs=5 * found.error)
