"""Representations of the Lorentz group, against sympy, vector and their own algebra."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import vector
from sympy import Rational
from sympy.physics.quantum.cg import CG

from hepgen.taggers.lorentz_representations import (
    Irrep,
    clebsch_gordan,
    decompose,
    dimension,
    multiply,
    projector,
    representation_matrix,
    spinor_matrix,
    vector_components,
)

IRREPS: list[Irrep] = [(0, 0), (1, 0), (0, 1), (1, 1), (2, 0), (0, 2), (2, 1), (2, 2)]


def complex_of(values: torch.Tensor) -> np.ndarray:
    """Numpy's complex numbers from pairs of reals."""
    return (values[..., 0, :] + 1j * values[..., 1, :]).numpy()


def random_matrix(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return spinor_matrix(rng.normal(size=3), 0.7 * rng.normal(size=3))


def test_coefficients_are_those_of_sympy() -> None:
    half = Rational(1, 2)
    for k1, k2 in [(0, 0), (1, 0), (1, 1), (2, 1), (2, 2), (3, 2)]:
        for k in range(abs(k1 - k2), k1 + k2 + 1, 2):
            got = clebsch_gordan(k1, k2, k)
            for c, a, b in np.ndindex(got.shape):
                m1, m2, m = k1 - 2 * a, k2 - 2 * b, k - 2 * c
                spins = (k1 * half, m1 * half, k2 * half, m2 * half, k * half, m * half)
                assert got[c, a, b] == pytest.approx(float(CG(*spins).doit()), abs=1e-14)


def test_spins_that_do_not_fit_are_refused() -> None:
    for wrong in [(1, 1, 1), (2, 1, 5), (2, 0, 0)]:
        with pytest.raises(ValueError, match="do not make"):
            clebsch_gordan(*wrong)


def test_products_decompose_into_all_of_their_dimensions() -> None:
    for first in IRREPS:
        for second in IRREPS:
            parts = decompose(first, second, largest=9)
            whole = torch.cat([projector(first, second, part) for part in parts])
            size = dimension(first) * dimension(second)
            assert whole.shape == (size, size)
            eye = torch.eye(size, dtype=torch.float64)
            torch.testing.assert_close(whole @ whole.T, eye, rtol=0, atol=1e-13)
    assert decompose((2, 2), (1, 1), largest=2) == [(1, 1)]


def test_projections_commute_with_lorentz_transformations() -> None:
    for seed in range(3):
        a = random_matrix(seed)
        assert np.linalg.det(a) == pytest.approx(1)
        for first in IRREPS:
            for second in IRREPS:
                both = np.kron(representation_matrix(a, first), representation_matrix(a, second))
                for target in decompose(first, second, largest=2):
                    matrix = projector(first, second, target).numpy()
                    left = matrix @ both
                    right = representation_matrix(a, target) @ matrix
                    np.testing.assert_allclose(left, right, rtol=0, atol=1e-10)


@pytest.mark.parametrize("irrep", IRREPS)
def test_matrices_of_a_representation_multiply_as_the_transformations_do(irrep: Irrep) -> None:
    a, b = random_matrix(1), random_matrix(2)
    one, two, both = (representation_matrix(m, irrep) for m in (a, b, a @ b))
    np.testing.assert_allclose(one @ two, both, rtol=0, atol=1e-10)
    assert one.shape == (dimension(irrep),) * 2


def test_vectors_turn_and_boost_as_those_of_the_package_vector() -> None:
    rng = np.random.default_rng(0)
    p4 = torch.from_numpy(rng.normal(size=(20, 4)))
    energy, px, py, pz = p4.numpy().T
    before = vector.array({"px": px, "py": py, "pz": pz, "E": energy})
    rapidity = 0.8
    cases = {
        "x": ((0.3, 0, 0), before.rotateX(0.3)),
        "y": ((0, 0.3, 0), before.rotateY(0.3)),
        "z": ((0, 0, 0.3), before.rotateZ(0.3)),
        "boost x": ((rapidity, 0, 0), before.boostX(beta=np.tanh(rapidity))),
        "boost y": ((0, rapidity, 0), before.boostY(beta=np.tanh(rapidity))),
        "boost z": ((0, 0, rapidity), before.boostZ(beta=np.tanh(rapidity))),
    }
    for name, (vector3, after) in cases.items():
        three, nothing = np.array(vector3, float), np.zeros(3)
        a = spinor_matrix(nothing, three) if "boost" in name else spinor_matrix(three, nothing)
        got = complex_of(vector_components(p4)) @ representation_matrix(a, (1, 1)).T
        moved = torch.from_numpy(np.stack([after.E, after.px, after.py, after.pz], axis=1))
        expected = complex_of(vector_components(moved))
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12)


def test_products_of_pairs_of_reals_are_those_of_complex_numbers() -> None:
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(5, 3, 2, 4, generator=generator, dtype=torch.float64)
    b = torch.randn(5, 1, 2, 9, generator=generator, dtype=torch.float64)
    expected = np.einsum("nca,nxb->ncab", complex_of(a), complex_of(b)).reshape(5, 3, 36)
    np.testing.assert_allclose(complex_of(multiply(a, b)), expected, atol=1e-14)


def test_the_square_of_a_vector_is_that_of_minkowski() -> None:
    p4 = torch.tensor([[5.0, 1, 2, 3]], dtype=torch.float64)
    x = vector_components(p4)
    assert float(x.square().sum()) == pytest.approx(25 + 14)
    scalar = complex_of(multiply(x, x)) @ projector((1, 1), (1, 1), (0, 0)).numpy().T
    assert scalar[0, 0] * 2 == pytest.approx(25 - 14)
