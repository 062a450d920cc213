"""Momentum fractions against areas in closed form and quadrature."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import integrate

from hepgen.integration.collinear import MomentumFractions
from hepgen.integration.invariants import BreitWigner, Flat, Power

ENERGY = 13_600.0
MAPS = {
    "logarithm": MomentumFractions(ENERGY, 60.0**2),
    "power": MomentumFractions(ENERGY, 60.0**2, 500.0**2, Power(1.7)),
    "flat": MomentumFractions(ENERGY, 60.0**2, None, Flat()),
    "resonance": MomentumFractions(ENERGY, 60.0**2, 120.0**2, BreitWigner(91.1876, 2.4952)),
}
EVERY = pytest.mark.parametrize("fractions", MAPS.values(), ids=MAPS)


@EVERY
def test_jacobians_give_the_area_between_two_hyperbolas(fractions: MomentumFractions) -> None:
    # x1 x2 < tau covers tau (1 - ln tau). 4.5 sigma, 4 cases: one of 4e4 seeds fails.
    def below(s: float) -> float:
        tau = s / ENERGY**2
        return tau * (1 - math.log(tau))

    _, jacobian = fractions.forward(np.random.default_rng(1).random((200_000, 2)))
    area = below(fractions.upper) - below(fractions.lower)
    error = jacobian.std() / math.sqrt(len(jacobian))
    assert abs(jacobian.mean() - area) < 4.5 * error


@EVERY
def test_fractions_can_be_turned_around(fractions: MomentumFractions) -> None:
    u = np.random.default_rng(2).random((1000, fractions.dimension))
    x, jacobian = fractions.forward(u)
    assert ((x > 0) & (x <= 1)).all()
    s = x.prod(1) * ENERGY**2
    assert ((s > fractions.lower * (1 - 1e-12)) & (s < fractions.upper * (1 + 1e-12))).all()
    back, again = fractions.inverse(x)
    np.testing.assert_allclose(back, u, atol=1e-9)
    np.testing.assert_allclose(again, jacobian, rtol=1e-9)
    np.testing.assert_allclose(fractions.density(x) * jacobian, 1, rtol=1e-9)


def test_the_jacobian_is_the_slope_of_the_map() -> None:
    u, step = np.random.default_rng(3).uniform(0.1, 0.9, (50, 2)), 1e-6
    fractions = MAPS["resonance"]
    columns = []
    for axis in (0, 1):
        offset = np.eye(2)[axis] * step
        columns.append((fractions.forward(u + offset)[0] - fractions.forward(u - offset)[0]) / 2)
    determinant = np.abs(np.linalg.det(np.stack(columns, axis=2))) / step**2
    np.testing.assert_allclose(determinant, fractions.forward(u)[1], rtol=1e-5)


def test_outside_its_masses_a_density_is_zero() -> None:
    fractions = MAPS["resonance"]
    x = np.array([[0.004, 0.004], [0.0071, 0.0071], [0.5, 0.5]])
    assert (fractions.density(x) > 0).tolist() == [False, True, False]
    total, _ = integrate.dblquad(
        lambda y, s: 1 / fractions.inverse(pair(s, y))[1][0] / ENERGY**2,
        fractions.lower,
        fractions.upper,
        lambda s: -0.5 * math.log(ENERGY**2 / s),
        lambda s: 0.5 * math.log(ENERGY**2 / s),
        epsrel=1e-4,
    )
    assert total == pytest.approx(1, rel=1e-4)


def pair(s: float, y: float) -> np.ndarray:
    root = math.sqrt(s) / ENERGY
    return np.array([[root * math.exp(y), root * math.exp(-y)]])


def test_the_whole_energy_is_one_point() -> None:
    x, jacobian = MAPS["logarithm"].forward(np.array([[1.0, 0.3]]))
    np.testing.assert_allclose(x, 1.0)
    assert jacobian[0] == 0


def test_bounds_that_leave_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match=r"0 < lower < upper <= 1e\+08 GeV\^2, got 0 and 1e\+08"):
        MomentumFractions(1e4, 0.0)
    with pytest.raises(ValueError, match="got 400 and 100"):
        MomentumFractions(1e4, 400.0, 100.0)
    with pytest.raises(ValueError, match="no finite integral"):
        MomentumFractions(1e4, 400.0, None, Power(1.0, -500.0))
    with pytest.raises(ValueError, match=r"shape \(B, 2\), got \(2,\)"):
        MAPS["flat"].forward(np.zeros(2))
