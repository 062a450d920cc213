"""Mixtures against scipy, against what they are integrals of, and against themselves."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import pytest
import scipy.special
import scipy.stats
from numpy.typing import NDArray

from hepgen.integration.box_mass import box_mass, student_scale
from hepgen.integration.integrands import INTEGRANDS
from hepgen.integration.mixture import Mixture
from hepgen.integration.mixture_components import Components
from hepgen.integration.mixture_draw import draw_components
from hepgen.integration.mixture_fit import Settings, fit, held_out, temper, thin
from hepgen.integration.mixture_kernels import expect, mixture_density, outside
from hepgen.integration.mixture_memory import Memory
from hepgen.integration.normal_kernels import normal_cdf, normal_quantiles, rough_quantile
from hepgen.integration.uniform import Uniform
from hepgen.integration.vegas import Vegas

Array = NDArray[np.float64]


def some_components(dimension: int, number: int, degrees: float = 0.0) -> Components:
    """Components that the walls of the cube cut."""
    rng = np.random.default_rng(dimension + 10 * number)
    factors = 0.2 * rng.normal(size=(number, dimension, dimension)) / math.sqrt(dimension)
    covariances = factors @ factors.transpose(0, 2, 1) + 0.01 * np.eye(dimension)
    roots = np.asarray(np.linalg.cholesky(covariances), np.float64)
    # The walls cut the later ones more.
    means = 0.5 + (rng.random((number, dimension)) - 0.5) * np.linspace(0.2, 1, number)[:, None]
    masses = [box_mass(m, r, degrees, rng)[0] for m, r in zip(means, roots, strict=True)]
    shares = np.full(number, 0.9 / number)
    return Components(shares, means, roots, np.array(masses), degrees)


def taught(
    name: str, calls: int, seed: int, points: Literal["sobol", "random"] = "sobol", rounds: int = 5
) -> tuple[Mixture, np.random.Generator]:
    integrand, rng = INTEGRANDS[name], np.random.default_rng(seed)
    mixture = Mixture(integrand.dimension, points=points, seed=seed)
    for _ in range(rounds):
        draw = mixture.draw(calls, rng)
        mixture.adapt(draw, integrand(draw.x))
    return mixture, rng


def test_the_normal_distribution_and_its_inverse_are_those_of_scipy() -> None:
    u = np.concatenate([np.random.default_rng(0).random(10_000), 10.0 ** -np.arange(1, 300)])
    np.testing.assert_allclose(normal_quantiles(u), scipy.special.ndtri(u), rtol=1e-14, atol=1e-14)
    x = np.linspace(-30, 8, 500)
    np.testing.assert_allclose([normal_cdf(one) for one in x], scipy.special.ndtr(x), rtol=1e-13)
    low = u[u <= 0.5]
    rough = [rough_quantile(one) for one in low]
    np.testing.assert_allclose(rough, scipy.special.ndtri(low), rtol=2e-9)
    assert normal_quantiles(np.array([0.0, 1.0])).tolist() == [-math.inf, math.inf]
    assert np.isnan(normal_quantiles(np.array([-0.1, 1.1]))).all()


@pytest.mark.parametrize("degrees", [1.0, 4.0, 50.0])
def test_scales_of_students_t_are_quantiles_of_chi_squared(degrees: float) -> None:
    u = np.random.default_rng(0).random(5000)
    wanted = scipy.stats.chi2.ppf(u, degrees) / degrees
    np.testing.assert_allclose(student_scale(u, degrees), wanted, rtol=1e-8)


@pytest.mark.parametrize("dimension", [1, 3, 9])
def test_the_mass_in_the_cube_is_that_of_scipy(dimension: int) -> None:
    mixture = some_components(dimension, 2)
    for mean, root, mass in zip(mixture.means, mixture.roots, mixture.masses, strict=True):
        found, error = box_mass(mean, root, 0.0, np.random.default_rng(1))
        wanted = scipy.stats.multivariate_normal.cdf(
            np.ones(dimension), mean, root @ root.T, lower_limit=np.zeros(dimension), abseps=2e-6
        )
        assert error < 1e-4 * mass
        # An error of three degrees of freedom: a false alarm in 1000 at 12 sigma, for five masses;
        # and what scipy itself leaves open.
        assert abs(found - wanted) < 12 * error + 1e-5


def test_the_mass_of_students_t_is_that_of_scipy() -> None:
    mixture = some_components(3, 2, degrees=5.0)
    for mean, root, mass in zip(mixture.means, mixture.roots, mixture.masses, strict=True):
        wanted = scipy.stats.multivariate_t.cdf(
            np.ones(3), mean, root @ root.T, 5, lower_limit=np.zeros(3), random_state=1
        )
        assert mass == pytest.approx(wanted, rel=3e-4)


def test_the_mass_of_a_component_along_the_axes_is_exact() -> None:
    mean, width = np.array([0.2, 0.9]), np.array([0.3, 0.1])
    mass, error = box_mass(mean, np.diag(width), 0.0, np.random.default_rng(0))
    sides = scipy.special.ndtr((1 - mean) / width) - scipy.special.ndtr(-mean / width)
    assert mass == pytest.approx(sides.prod(), rel=1e-14)
    assert error == 0


@pytest.mark.parametrize("degrees", [0.0, 5.0])
def test_the_density_is_the_sum_of_scipys(degrees: float) -> None:
    mixture = some_components(4, 3, degrees)
    x = np.random.default_rng(0).random((300, 4))
    wanted = np.full(300, mixture.flat)
    for k in range(3):
        shape = mixture.roots[k] @ mixture.roots[k].T
        whole = (
            scipy.stats.multivariate_t(mixture.means[k], shape, degrees)
            if degrees
            else scipy.stats.multivariate_normal(mixture.means[k], shape)
        )
        wanted += mixture.shares[k] * whole.pdf(x) / mixture.masses[k]
    np.testing.assert_allclose(mixture.density(x), wanted, rtol=1e-10)


def test_the_density_integrates_to_one() -> None:
    nodes, weights = np.polynomial.legendre.leggauss(200)
    nodes, weights = (nodes + 1) / 2, weights / 2
    grid = np.stack(np.meshgrid(nodes, nodes, indexing="ij"), -1).reshape(-1, 2)
    total = np.outer(weights, weights).ravel() @ some_components(2, 3).density(grid)
    assert total == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("degrees", [0.0, 5.0])
def test_the_expectation_step_is_the_sum_over_responsibilities(degrees: float) -> None:
    mixture = some_components(3, 2, degrees)
    rng = np.random.default_rng(0)
    x, weights = rng.random((301, 3)), rng.random(301)
    constants = np.log(mixture.shares) + mixture.heights
    whiteners = mixture.whiteners
    counts, scaled, first, second, likelihood = expect(
        x, weights, mixture.flat, constants, mixture.means, whiteners, degrees
    )
    density = mixture_density(x, mixture.flat, constants, mixture.means, whiteners, degrees)
    assert likelihood == pytest.approx(weights @ np.log(density), rel=1e-12)
    for k in range(2):
        off = x - mixture.means[k]
        alone = mixture_density(
            x, 0.0, constants[k : k + 1], mixture.means[k : k + 1], whiteners[k : k + 1], degrees
        )
        share = weights * alone / density
        u = np.ones(301)
        if degrees:
            squared = ((off @ whiteners[k].T) ** 2).sum(1)
            u = (degrees + 3) / (degrees + squared)
        assert counts[k] == pytest.approx(share.sum(), rel=1e-11)
        assert scaled[k] == pytest.approx(share @ u, rel=1e-11)
        np.testing.assert_allclose(first[k], (share * u) @ off, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(second[k], (off.T * share * u) @ off, rtol=1e-10, atol=1e-12)


def test_moments_outside_the_cube_are_those_of_the_points_outside() -> None:
    mixture, rng = some_components(3, 2), np.random.default_rng(0)
    latent, scale = rng.normal(size=(500, 3)), rng.random(500)
    masses, scaled, first, second = outside(latent, scale, mixture.means, mixture.roots)
    for k in range(2):
        off = latent @ mixture.roots[k].T
        beyond = ((off + mixture.means[k] < 0) | (off + mixture.means[k] > 1)).any(1)
        off, u = off[beyond], scale[beyond]
        assert masses[k] == pytest.approx(beyond.mean(), rel=1e-12)
        assert scaled[k] == pytest.approx(u.sum() / 500, rel=1e-12)
        np.testing.assert_allclose(first[k], u @ off / 500, rtol=1e-10)
        np.testing.assert_allclose(second[k], (off.T * u) @ off / 500, rtol=1e-10)


def test_tempering_leaves_the_effective_size_asked_for() -> None:
    weights = np.random.default_rng(0).random(5000) ** -2.0
    tempered, power = temper(weights, 400.0)
    assert 0 < power < 1
    assert tempered.sum() == pytest.approx(400, rel=1e-3)
    np.testing.assert_allclose(tempered / tempered[0], (weights / weights[0]) ** power, rtol=1e-10)
    same, power = temper(weights, 1.5)
    assert power == 1
    np.testing.assert_allclose(same / same[0], weights / weights[0], rtol=1e-12)


def test_thinning_keeps_heavy_points_and_sums() -> None:
    rng = np.random.default_rng(0)
    weights = rng.random(20_000) ** 8
    rows, kept = thin(weights, 1000, rng)
    assert 850 < len(rows) < 1150
    threshold = kept.min()
    assert set(np.flatnonzero(weights > threshold)) <= set(rows.tolist())
    # The number of light points fluctuates as a binomial; five sigma.
    assert kept.sum() == pytest.approx(weights.sum(), abs=5 * threshold * math.sqrt(1000))


def test_a_tube_that_ends_at_the_walls_is_learnt_as_long_as_it_is() -> None:
    mixture, rng = taught("ridge8", 10_000, seed=1)
    draw = mixture.draw(20_000, rng)
    weights = INTEGRANDS["ridge8"](draw.x) * draw.measure
    # Gaussians fitted to what is inside the cube alone reach 0.85 at best.
    assert weights.sum() ** 2 / (weights**2).sum() > 0.92 * len(draw)


def test_a_camel_is_two_components() -> None:
    mixture, _ = taught("camel4", 8000, seed=3)
    heavy = mixture.mixture.shares > 0.1
    assert heavy.sum() == 2
    means = np.sort(mixture.mixture.means[heavy].mean(1))
    np.testing.assert_allclose(means, [1 / 3, 2 / 3], atol=0.02)


@pytest.mark.parametrize("name", ["camel9", "camel16", "ridge8", "ridge4", "gauss8", "circles2"])
@pytest.mark.parametrize("points", ["sobol", "random"])
def test_integrals_are_right_within_their_errors(
    name: str, points: Literal["sobol", "random"]
) -> None:
    mixture, rng = taught(name, 10_000, seed=7, points=points)
    draw = mixture.draw(50_000, rng)
    integrals, covariance = draw.estimate(INTEGRANDS[name](draw.x)[:, None])
    exact, error = INTEGRANDS[name].exact, math.sqrt(covariance[0, 0])
    # Four sigma on 12 cases: a false alarm in 1300.
    assert abs(integrals[0] - exact) < 4 * error
    limit = 0.02 if name == "circles2" else 0.0025
    assert error < limit * exact


@pytest.mark.parametrize("degrees", [0.0, 5.0])
@pytest.mark.parametrize("sobol", [True, False])
@pytest.mark.parametrize("calls", [400, 5000])
def test_errors_are_as_large_as_deviations(degrees: float, sobol: bool, calls: int) -> None:
    mixture, rng = some_components(3, 3, degrees), np.random.default_rng(5)
    pulls = []
    for _ in range(200):
        draw = draw_components(mixture, calls, rng, sobol=sobol)
        assert calls // 2 < len(draw) <= calls
        assert ((draw.x > 0) & (draw.x < 1)).all()
        integrals, covariance = draw.estimate(draw.x[:, :1] * draw.x[:, 1:2])
        pulls.append((integrals[0] - 0.25) / math.sqrt(covariance[0, 0]))
    # The spread of 200 pulls is known to 5 % (7 % with the tails of few units): four sigma. A bias
    # of the mean would show at 0.07.
    assert np.std(pulls) == pytest.approx(1, abs=0.28)
    assert abs(np.mean(pulls)) < 4 * np.std(pulls) / math.sqrt(200)


def test_the_measure_of_points_is_one_over_their_density() -> None:
    mixture = some_components(3, 3)
    draw = draw_components(mixture, 20_000, np.random.default_rng(0), sobol=False)
    np.testing.assert_allclose(draw.measure * len(draw) * mixture.density(draw.x), 1, rtol=1e-2)


def test_weights_are_bounded_by_the_flat_part() -> None:
    mixture = Mixture(2, flat=0.1)
    rng = np.random.default_rng(0)
    draw = mixture.draw(2000, rng)
    mixture.adapt(draw, (draw.x[:, 0] > 0.95).astype(float))
    x = rng.random((5000, 2))
    assert (mixture.density(x) >= 0.1 * (1 - 1e-12)).all()


@pytest.mark.parametrize("other", [Uniform, Vegas])
def test_points_of_another_sampler_teach_as_well(other: type[Uniform] | type[Vegas]) -> None:
    integrand, rng = INTEGRANDS["camel4"], np.random.default_rng(0)
    sampler, mixture = other(4), Mixture(4)
    for _ in range(4):
        draw = sampler.draw(5000, rng)
        values = integrand(draw.x)
        sampler.adapt(draw, values)
        mixture.adapt(draw, values)
    draw = mixture.draw(5000, rng)
    weights = integrand(draw.x) * draw.measure
    assert weights.sum() ** 2 / (weights**2).sum() > 0.9 * len(draw)


def test_the_memory_weighs_points_with_the_mean_density_of_all_draws() -> None:
    mixture, rng = some_components(2, 2), np.random.default_rng(0)
    flat = Components(np.empty(0), np.empty((0, 2)), np.empty((0, 2, 2)), np.empty(0))
    memory = Memory(2)
    draws = [draw_components(one, 1000, rng, sobol=False) for one in (flat, mixture)]
    for one, draw in zip((flat, mixture), draws, strict=True):
        memory.add(draw, draw.x[:, 0], one)
    x, weights = memory.weighted()
    wanted = x[:, 0] / (1000 + 1000 * mixture.density(x))
    np.testing.assert_allclose(weights, wanted, rtol=1e-10)


def test_more_components_are_kept_where_they_help() -> None:
    rng = np.random.default_rng(0)
    angle = rng.random(4000) * 2 * math.pi
    ring = (
        0.5 + 0.3 * np.stack([np.cos(angle), np.sin(angle)], 1) + 0.02 * rng.normal(size=(4000, 2))
    )
    weights = np.ones(4000)
    one = fit(ring, weights, Settings(components=1), rng)
    many = fit(ring, weights, Settings(components=12), rng)
    assert len(one) == 1
    assert len(many) > 6
    assert held_out(ring, weights, many) > held_out(ring, weights, one) + 0.5


def test_a_state_brings_back_the_same_points() -> None:
    mixture, _ = taught("camel4", 3000, seed=0, rounds=2)
    again = Mixture.from_state(mixture.state())
    one = mixture.draw(1000, np.random.default_rng(1))
    two = again.draw(1000, np.random.default_rng(1))
    np.testing.assert_array_equal(one.x, two.x)
    np.testing.assert_array_equal(one.measure, two.measure)


def test_the_same_seed_gives_the_same_mixture() -> None:
    one, two = (taught("ridge4", 3000, seed=2, rounds=3)[0].mixture for _ in range(2))
    np.testing.assert_array_equal(one.means, two.means)


def test_an_integrand_of_zero_teaches_nothing() -> None:
    mixture = Mixture(3)
    draw = mixture.draw(100, np.random.default_rng(0))
    mixture.adapt(draw, np.zeros(len(draw)))
    assert len(mixture.mixture) == 0
    np.testing.assert_allclose(mixture.density(draw.x), 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dimension": 0}, "1 or more, got 0"),
        ({"dimension": 2, "flat": 0.0}, "between 0 and 1, got 0"),
        ({"dimension": 2, "degrees": 0.1}, "degrees must be 0"),
        ({"dimension": 2, "points": "halton"}, "'sobol' or 'random', got 'halton'"),
    ],
)
def test_arguments_out_of_range_are_named(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Mixture(**arguments)  # type: ignore[arg-type]


def test_bad_points_and_values_are_named() -> None:
    mixture = Mixture(2)
    draw = mixture.draw(50, np.random.default_rng(0))
    with pytest.raises(ValueError, match=f"{len(draw)} points need as many values"):
        mixture.adapt(draw, np.ones(3))
    with pytest.raises(ValueError, match="finite and not negative"):
        mixture.adapt(draw, np.full(len(draw), np.nan))
    with pytest.raises(ValueError, match=r"shape \(B, 2\), got \(4, 3\)"):
        mixture.density(np.zeros((4, 3)))
    with pytest.raises(ValueError, match="needs 2 calls or more, got 1"):
        mixture.draw(1, np.random.default_rng(0))
