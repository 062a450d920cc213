"""Decays, boosts and volumes against closed forms and the four-momentum arithmetic of hepgen."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import constants

from hepgen.integration.phase_space import (
    PB_PER_INVERSE_GEV2,
    boost_along_beam,
    decay_momentum,
    kallen,
    massless_volume,
    two_body_decay,
)
from hepgen.kinematics import boost, mass, velocity


def parents(rows: int, seed: int = 5) -> np.ndarray:
    rng = np.random.default_rng(seed)
    momentum = rng.normal(0, 300, (rows, 3))
    energy = np.sqrt((momentum**2).sum(1) + rng.uniform(250, 900, rows) ** 2)
    return np.column_stack([energy, momentum])


def test_a_picobarn_is_that_of_codata() -> None:
    gev_metre = constants.hbar * constants.c / constants.e * 1e-9
    assert gev_metre**2 * 1e40 == pytest.approx(PB_PER_INVERSE_GEV2, rel=1e-9)


def test_kallen_is_symmetric_and_gives_the_momentum() -> None:
    a, b, c = 500.0**2, 172.5**2, 91.2**2
    assert kallen(a, b, c) == pytest.approx(kallen(b, c, a))
    assert kallen(a, b, c) == pytest.approx(kallen(c, a, b))
    momentum = decay_momentum(500.0, 172.5, 91.2)
    assert momentum == pytest.approx(math.sqrt(kallen(a, b, c)) / 1000)
    assert math.hypot(momentum, 172.5) + math.hypot(momentum, 91.2) == pytest.approx(500)
    assert kallen(1.0, 1.0, 1.0) == -3
    assert np.isnan(decay_momentum(100.0, 60.0, 50.0))


def test_the_momentum_keeps_its_digits_at_threshold() -> None:
    # Next to it the momentum is sqrt(2 mu T), mu the reduced mass and T the kinetic energy.
    kinetic = 2.0**-30
    expected = math.sqrt(kinetic * (200 + kinetic) * (100 + kinetic) ** 2)
    expected /= 2 * (100 + kinetic)
    assert decay_momentum(100 + kinetic, 50, 50) == pytest.approx(expected, rel=1e-14)


def test_decays_conserve_momentum_and_stay_on_shell() -> None:
    rng = np.random.default_rng(2)
    parent = parents(1000)
    p4, density = two_body_decay(
        parent, (172.5, 4.7), rng.uniform(-1, 1, 1000), rng.uniform(0, 2 * math.pi, 1000)
    )
    np.testing.assert_allclose(p4.sum(1), parent, rtol=1e-12, atol=1e-10)
    np.testing.assert_allclose(mass(p4[:, 0]), 172.5, rtol=1e-12)
    np.testing.assert_allclose(mass(p4[:, 1]) ** 2, 4.7**2, atol=1e-9)
    energy = mass(parent)
    expected = np.sqrt(kallen(energy**2, 172.5**2, 4.7**2)) / (32 * math.pi**2 * energy**2)
    np.testing.assert_allclose(density, expected, rtol=1e-12)


def test_angles_of_a_decay_are_those_in_its_rest_frame() -> None:
    parent = parents(50)
    cosine, azimuth = np.linspace(-0.99, 0.99, 50), np.linspace(-3, 3, 50)
    p4, _ = two_body_decay(parent, (10.0, 0.0), cosine, azimuth)
    rest = boost(p4[:, 0], -velocity(parent))
    momentum = np.linalg.norm(rest[:, 1:], axis=1)
    np.testing.assert_allclose(rest[:, 3] / momentum, cosine, rtol=1e-11)
    np.testing.assert_allclose(np.arctan2(rest[:, 2], rest[:, 1]), azimuth, rtol=1e-11)


def test_a_decay_below_threshold_is_refused() -> None:
    with pytest.raises(ValueError, match="mass 100 GeV cannot decay into masses 60 and 50 GeV"):
        two_body_decay(np.array([[100.0, 0, 0, 0]]), (60.0, 50.0), np.zeros(1), np.zeros(1))


def test_boosts_along_the_beam_are_those_of_kinematics() -> None:
    p4 = parents(20).reshape(10, 2, 4)
    beta = np.linspace(-0.999, 0.999, 10)
    velocities = np.zeros((10, 1, 3))
    velocities[:, 0, 2] = beta
    expected = boost(p4, velocities)
    np.testing.assert_allclose(boost_along_beam(p4, beta), expected, rtol=1e-12, atol=1e-10)
    with pytest.raises(ValueError, match=r"velocities below 1 .* got up to 1\.5"):
        boost_along_beam(p4[:1], np.array([-1.5]))


def test_massless_volumes_are_those_known() -> None:
    assert massless_volume(2, 70.0) == pytest.approx(1 / (8 * math.pi))
    assert massless_volume(3, 70.0) == pytest.approx(70.0**2 / (256 * math.pi**3))
    # Four: by a further integral over the mass squared of a pair, 2 pi for each.
    masses, weights = np.polynomial.legendre.leggauss(20)
    squared = 70.0**2 * (masses + 1) / 2
    two_body = (1 - squared / 70.0**2) / (8 * math.pi)
    inner = massless_volume(3, np.sqrt(squared))
    four = float(weights @ (two_body * inner)) * 70.0**2 / 2 / (2 * math.pi)
    assert massless_volume(4, 70.0) == pytest.approx(four)
    with pytest.raises(ValueError, match="two particles at least, not 1"):
        massless_volume(1, 70.0)
