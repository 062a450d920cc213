"""Multichannel integration: closed forms, quadrature, and phase space with known maps."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from hepgen.integration.channel_weights import ChannelWeights
from hepgen.integration.integrands import INTEGRANDS
from hepgen.integration.multichannel import ChannelMap, Multichannel
from hepgen.integration.normal_kernels import normal_cdf, normal_quantiles
from hepgen.integration.sampler import Draw
from hepgen.integration.uniform import Uniform
from hepgen.integration.vegas import Vegas

Array = NDArray[np.float64]


class Bump:
    """A product of normal distributions, cut at the walls."""

    def __init__(self, centre: float, width: float, dimension: int) -> None:
        self.centre, self.width, self.dimension = centre, width, dimension
        self.low = normal_cdf(-centre / width)
        self.mass = normal_cdf((1 - centre) / width) - self.low

    def forward(self, u: Array) -> tuple[Array, Array]:
        x = self.centre + self.width * normal_quantiles(self.low + u * self.mass)
        return x, 1 / self.density(x)

    def inverse(self, x: Array) -> tuple[Array, Array]:
        scaled = (x - self.centre) / self.width
        below = np.array([normal_cdf(one) for one in scaled.ravel()]).reshape(x.shape)
        return (below - self.low) / self.mass, 1 / self.density(x)

    def density(self, x: Array) -> Array:
        squared = ((x - self.centre) / self.width) ** 2
        height = 1 / (self.width * math.sqrt(2 * math.pi) * self.mass)
        density: Array = np.exp(-0.5 * squared.sum(1)) * height**self.dimension
        return density


class Resonance:
    """x[0] is a mass squared between 0 and 1 with a Breit-Wigner, x[1] is flat."""

    dimension = 2

    def __init__(self, mass: float, width: float) -> None:
        self.mass, self.width = mass, width
        self.low = math.atan((0 - mass) / width)
        self.span = math.atan((1 - mass) / width) - self.low

    def forward(self, u: Array) -> tuple[Array, Array]:
        x = u.copy()
        x[:, 0] = self.mass + self.width * np.tan(self.low + u[:, 0] * self.span)
        return x, 1 / self.density(x)

    def density(self, x: Array) -> Array:
        density: Array = self.width / self.span / ((x[:, 0] - self.mass) ** 2 + self.width**2)
        return density


class Exchange:
    """x[1] is a momentum transfer, dense as 1 / (x + cut); x[0] is flat."""

    dimension = 2

    def __init__(self, cut: float) -> None:
        self.cut = cut
        self.span = math.log((1 + cut) / cut)

    def forward(self, u: Array) -> tuple[Array, Array]:
        x = u.copy()
        x[:, 1] = self.cut * np.exp(u[:, 1] * self.span) - self.cut
        return x, 1 / self.density(x)

    def density(self, x: Array) -> Array:
        density: Array = 1 / (x[:, 1] + self.cut) / self.span
        return density


S_CHANNEL, T_CHANNEL = Resonance(0.4, 1e-3), Exchange(1e-4)


def two_diagrams(x: Array) -> Array:
    """Two squared propagators, 2 and 3 of them by integral."""
    return 2 * S_CHANNEL.density(x) + 3 * T_CHANNEL.density(x)


def taught(sampler: Multichannel, integrand: object, seed: int) -> np.random.Generator:
    rng = np.random.default_rng(seed)
    for _ in range(4):
        draw = sampler.draw(4000, rng)
        sampler.adapt(draw, integrand(draw.x))  # type: ignore[operator]
    return rng


@pytest.mark.parametrize("network", [0, 16])
@pytest.mark.parametrize("behind", [Uniform, Vegas])
def test_two_peaks_with_a_channel_each_are_integrated(network: int, behind: type) -> None:
    sampler = Multichannel([S_CHANNEL, T_CHANNEL], behind, network)
    rng = taught(sampler, two_diagrams, 0)
    found, errors = [], []
    for _ in range(40):
        draw = sampler.draw(2000, rng)
        integrals, covariance = draw.estimate(two_diagrams(draw.x)[:, None])
        errors.append(math.sqrt(covariance[0, 0]))
        found.append(integrals[0])
    # Constants of exactly 0.4 and 0.6 leave no variance; the little that is left comes from the few
    # points of one channel in the peak of the other, so errors of single draws are rough.
    assert np.median(errors) < 1e-3 * 5
    assert np.mean(found) == pytest.approx(5, abs=5 * np.max(errors) / math.sqrt(40))


def test_constants_become_the_shares_of_the_channels() -> None:
    sampler = Multichannel([S_CHANNEL, T_CHANNEL], Uniform)
    taught(sampler, two_diagrams, 1)
    np.testing.assert_allclose(sampler.weights.constants, [0.4, 0.6], atol=0.02)


@pytest.mark.parametrize("network", [0, 8])
def test_weights_add_up_to_one_everywhere(network: int) -> None:
    sampler = Multichannel([S_CHANNEL, T_CHANNEL], network=network)
    taught(sampler, two_diagrams, 2)
    x = np.random.default_rng(0).random((1000, 2))
    np.testing.assert_allclose(sampler.alpha(x).sum(1), 1, rtol=1e-14)
    nowhere = ChannelWeights(3, 2)(x, np.zeros((1000, 3)))
    np.testing.assert_array_equal(nowhere, np.full((1000, 3), 1 / 3))


def test_a_camel_with_a_channel_for_each_hump_has_no_variance() -> None:
    humps = [Bump(centre, 0.2 / math.sqrt(2), 9) for centre in (1 / 3, 2 / 3)]
    integrand = INTEGRANDS["camel9"]
    sampler = Multichannel(humps, Uniform)
    rng = taught(sampler, integrand, 3)
    draw = sampler.draw(2000, rng)
    integrals, covariance = draw.estimate(integrand(draw.x)[:, None])
    assert math.sqrt(covariance[0, 0]) < 1e-3 * integrand.exact
    assert integrals[0] == pytest.approx(integrand.exact, rel=2e-3)


@pytest.mark.parametrize("network", [0, 32])
def test_errors_are_as_large_as_deviations(network: int) -> None:
    channels = [Bump(0.3, 0.15, 2), Bump(0.7, 0.15, 2)]

    def integrand(x: Array) -> Array:
        return channels[0].density(x) * (1 + x[:, 1]) + 4 * x[:, 0] * channels[1].density(x)

    sampler = Multichannel(channels, Uniform, network)
    rng = taught(sampler, integrand, 4)
    side = (np.arange(800) + 0.5) / 800
    grid = np.stack(np.meshgrid(side, side), -1).reshape(-1, 2)
    wanted = integrand(grid).mean()
    pulls = []
    for _ in range(100):
        draw = sampler.draw(1000, rng)
        integrals, covariance = draw.estimate(integrand(draw.x)[:, None])
        pulls.append((integrals[0] - wanted) / math.sqrt(covariance[0, 0]))
    # The spread of 100 pulls is known to 7 %, their mean to 0.1: four sigma.
    assert np.std(pulls) == pytest.approx(1, abs=0.28)
    assert abs(np.mean(pulls)) < 0.4


def test_channels_that_can_be_inverted_divide_the_integrand_among_themselves() -> None:
    integrand = INTEGRANDS["camel9"]

    def error(sampler: Multichannel | Vegas) -> float:
        rng = np.random.default_rng(0)
        for _ in range(6):
            draw = sampler.draw(8000, rng)
            sampler.adapt(draw, integrand(draw.x))
        draw = sampler.draw(8000, rng)
        integrals, covariance = draw.estimate(integrand(draw.x)[:, None])
        assert abs(integrals[0] - integrand.exact) < 4 * math.sqrt(covariance[0, 0])
        return math.sqrt(covariance[0, 0])

    wide = [Bump(0.25, 0.3, 9), Bump(0.75, 0.3, 9)]
    assert error(Multichannel(wide)) < 0.5 * error(Vegas(9))


def test_a_channel_that_carries_nothing_is_dropped() -> None:
    channels: list[ChannelMap] = [Bump(0.3, 0.05, 2), Bump(0.9, 0.01, 2)]
    sampler = Multichannel(channels, Uniform)
    rng = taught(sampler, channels[0].density, 5)
    assert sampler.active.tolist() == [0]
    draw = sampler.draw(1000, rng)
    integrals, _ = draw.estimate(channels[0].density(draw.x)[:, None])
    assert integrals[0] == pytest.approx(1, rel=1e-9)


def test_the_density_is_that_of_the_points() -> None:
    channels = [Bump(0.3, 0.2, 2), Bump(0.7, 0.2, 2)]
    sampler = Multichannel(channels)
    rng = taught(sampler, INTEGRANDS["camel2"], 6)
    draw = sampler.draw(20_000, rng)
    inside = sampler.density(draw.x)
    assert (inside > 0).all()
    # The mean of a function over the points is its integral with the density.
    grid = (np.stack(np.meshgrid(*[np.arange(400)] * 2), -1).reshape(-1, 2) + 0.5) / 400
    wanted = (sampler.density(grid) * grid[:, 0] * grid[:, 1]).mean()
    assert (draw.x[:, 0] * draw.x[:, 1]).mean() == pytest.approx(wanted, rel=0.02)
    with pytest.raises(TypeError, match="Resonance has no inverse"):
        Multichannel([S_CHANNEL]).density(grid)


def test_a_state_brings_back_the_same_points() -> None:
    sampler = Multichannel([S_CHANNEL, T_CHANNEL], network=8)
    taught(sampler, two_diagrams, 7)
    again = Multichannel([S_CHANNEL, T_CHANNEL], network=8)
    again.restore(sampler.state())
    one = sampler.draw(500, np.random.default_rng(1))
    two = again.draw(500, np.random.default_rng(1))
    np.testing.assert_array_equal(one.measure, two.measure)
    with pytest.raises(TypeError, match="holds no channels"):
        Multichannel.from_state(sampler.state())


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match=r"one dimension, got \[\]"):
        Multichannel([])
    with pytest.raises(ValueError, match=r"one dimension, got \[2, 3\]"):
        Multichannel([S_CHANNEL, Bump(0.5, 0.1, 3)])
    sampler = Multichannel([S_CHANNEL, T_CHANNEL])
    with pytest.raises(ValueError, match="2 channels need 4 calls, got 3"):
        sampler.draw(3, np.random.default_rng(0))
    draw = Draw(np.full((2, 2), 0.5), np.ones(2))
    with pytest.raises(ValueError, match="finite and not negative"):
        sampler.adapt(draw, np.array([1.0, -1.0]))
    with pytest.raises(ValueError, match="2 points need as many"):
        sampler.adapt(draw, np.ones(3))
