"""The benchmark integrands against quadrature, vegas and independent formulas."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
import vegas
from scipy import integrate, special

from hepgen.integration.integrands import INTEGRANDS, Integrand
from hepgen.integration.matrix_elements import many_gluons
from hepgen.integration.rambo import Rambo

SMOOTH = ["gauss2", "camel2", "triangle2", "box3", "camel4", "zunis_camel_03784_4"]
BY_VEGAS = [name for name, one in INTEGRANDS.items() if one.dimension <= 9]


def gauss_legendre(integrand: Integrand, order: int) -> float:
    nodes, weights = np.polynomial.legendre.leggauss(order)
    axes = np.meshgrid(*[(nodes + 1) / 2] * integrand.dimension, indexing="ij")
    x = np.stack([axis.ravel() for axis in axes], axis=1)
    measure = np.ones(1)
    for _ in range(integrand.dimension):
        measure = np.multiply.outer(measure, weights / 2)
    return float(measure.ravel() @ integrand(x))


@pytest.mark.parametrize("name", SMOOTH)
def test_smooth_integrals_are_those_of_gauss_legendre(name: str) -> None:
    integrand = INTEGRANDS[name]
    order = 40 if integrand.dimension < 4 else 28
    assert gauss_legendre(integrand, order) == pytest.approx(integrand.exact, rel=1e-9)


@pytest.mark.parametrize("name", BY_VEGAS)
def test_integrals_are_those_of_vegas(name: str) -> None:
    # 5 sigma or 1e-4: of 22 names, one fails by chance once in 8e4 seeds.
    integrand = INTEGRANDS[name]
    integrator = vegas.Integrator(list(integrand.bounds), ran_array_generator=fixed(7))
    function = vegas.lbatchintegrand(integrand)
    integrator(function, nitn=8, neval=60_000)
    result = integrator(function, nitn=6, neval=120_000)
    assert abs(result.mean - integrand.exact) < max(5 * result.sdev, 1e-4 * abs(integrand.exact))
    assert result.sdev < 0.05 * abs(integrand.exact)


def fixed(seed: int):
    generator = np.random.default_rng(seed)
    return lambda size: generator.random(size)


@pytest.mark.parametrize("dimension", [4, 8])
def test_the_ridge_is_one_integral_over_the_mean(dimension: int) -> None:
    def slices(z: float) -> float:
        side = 0.1 * math.sqrt(math.pi / 2)
        root = 0.1 * math.sqrt(2)
        return (side * (special.erf((1 - z) / root) + special.erf(z / root))) ** dimension

    value, _ = integrate.quad(slices, -2, 3, points=[0, 0.5, 1], epsabs=0, epsrel=1e-12)
    exact = math.sqrt(dimension / (2 * math.pi * 0.01)) * value
    assert INTEGRANDS[f"ridge{dimension}"].exact == pytest.approx(exact, rel=1e-11)


def test_three_jets_are_the_closed_form_of_kramer_and_lampe() -> None:
    y = 0.05
    ratio = y / (1 - y)
    jets = (
        (3 - 6 * y) * math.log(y / (1 - 2 * y))
        + 2 * math.log(ratio) ** 2
        + 2.5
        - 6 * y
        - 4.5 * y**2
        + 4 * special.spence(1 - ratio)
        - math.pi**2 / 3
    )
    exact = 0.118 * 2 / (3 * math.pi) * jets
    assert INTEGRANDS["three_jets2"].exact == pytest.approx(exact, rel=1e-13)


def test_three_gluons_come_out_the_same_from_another_phase_space() -> None:
    # Four random numbers a particle in place of 3n - 4. 4 sigma: one seed of 16,000 fails.
    integrand = INTEGRANDS["three_gluons5"]
    assert integrand.unit == "pb"
    space = Rambo([0.0, 0.0, 0.0])
    beams = np.array([[250.0, 0, 0, 250], [250, 0, 0, -250]])
    p4, weight = space.forward(np.random.default_rng(5).random((300_000, 12)), 500.0)
    transverse = np.hypot(p4[..., 1], p4[..., 2])
    height, azimuth = np.arcsinh(p4[..., 3] / transverse), np.arctan2(p4[..., 2], p4[..., 1])
    passed = (transverse > 30).all(1)
    for first, second in ((0, 1), (0, 2), (1, 2)):
        around = np.abs(azimuth[:, first] - azimuth[:, second])
        around = np.minimum(around, 2 * math.pi - around)
        passed &= np.hypot(height[:, first] - height[:, second], around) > 0.4
    values = many_gluons(beams, p4, 0.118) * weight * passed * 3.893793721e8 / (2 * 500.0**2) / 6
    error = values.std() / math.sqrt(len(values))
    assert abs(values.mean() - integrand.exact) < 4 * error
    assert error < 0.02 * integrand.exact


def test_the_circles_are_mirror_images() -> None:
    x = np.random.default_rng(1).random((100, 2))
    circles = INTEGRANDS["circles2"]
    np.testing.assert_allclose(circles(x), circles(1 - x), rtol=1e-12)


@pytest.mark.parametrize("name", INTEGRANDS)
def test_every_integrand_takes_any_batch_and_can_be_pickled(name: str) -> None:
    integrand = INTEGRANDS[name]
    assert integrand.name == name
    assert name.endswith(str(integrand.dimension))
    assert integrand.bounds == ((0.0, 1.0),) * integrand.dimension
    x = np.random.default_rng(3).random((5, integrand.dimension))
    values = pickle.loads(pickle.dumps(integrand))(x)
    assert values.dtype == np.float64
    assert integrand(x[:0]).shape == (0,)
    np.testing.assert_array_equal(values, integrand(np.asfortranarray(x)))
    np.testing.assert_array_equal(values[1:2], integrand(x[1:2]))


def test_points_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"camel4 takes points of shape \(B, 4\), not \(5, 3\)"):
        INTEGRANDS["camel4"](np.zeros((5, 3)))
