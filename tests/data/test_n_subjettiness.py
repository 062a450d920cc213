"""N-subjettiness: axes of FastJet, a slow loop over its definition, safety."""

from __future__ import annotations

import fastjet
import numpy as np
import pytest

from hepgen.data import n_subjettiness, n_subjettiness_basis

BETAS = (0.5, 1.0, 2.0, 1.3)


def jet(count: int, seed: int = 0) -> np.ndarray:
    """Four-momenta (E, px, py, pz) around phi = pi, as soft as they are in jets."""
    rng = np.random.default_rng(seed)
    pt, mass = rng.exponential(10, count) + 0.5, rng.uniform(0, 1, count)
    y, phi = rng.normal(0.4, 0.3, count), rng.normal(np.pi, 0.3, count)
    transverse = np.hypot(pt, mass)
    columns = [transverse * np.cosh(y), pt * np.cos(phi), pt * np.sin(phi), transverse * np.sinh(y)]
    return np.stack(columns, axis=1)


def taus(p4: np.ndarray, max_axes: int = 8) -> np.ndarray:
    result: np.ndarray = n_subjettiness(p4, [0, len(p4)], max_axes, BETAS)[0]
    return result


def by_definition(p4: np.ndarray, max_axes: int) -> np.ndarray:
    """With exclusive subjets of FastJet, as its contrib for N-subjettiness takes them."""
    definition = fastjet.JetDefinition(fastjet.kt_algorithm, 1000.0, fastjet.E_scheme)
    particles = [fastjet.PseudoJet(*map(float, (px, py, pz, e))) for e, px, py, pz in p4]
    sequence = fastjet.ClusterSequence(particles, definition)
    result = np.zeros((max_axes, len(BETAS)))
    for n in range(1, min(max_axes, len(p4)) + 1):
        axes = sequence.exclusive_jets(n)
        for b, beta in enumerate(BETAS):
            terms = [
                p.pt() * min(p.squared_distance(axis) ** (beta / 2) for axis in axes)
                for p in particles
            ]
            result[n - 1, b] = sum(terms) / sum(p.pt() for p in particles)
    return result


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 9, 30, 100, 200])
def test_it_is_the_definition_with_the_axes_of_fastjet(count) -> None:
    p4 = jet(count, seed=count)
    expected = by_definition(p4, 8)
    # Where there are as many axes as constituents FastJet leaves rounding, and we 0.
    expected[count - 1 :] = 0
    np.testing.assert_allclose(taus(p4), expected, rtol=1e-9, atol=0)


def test_float32_jets_at_the_sizes_of_data_agree_with_fastjet_too() -> None:
    for seed in range(20):
        p4 = jet(50, seed=seed).astype(np.float32)
        np.testing.assert_allclose(taus(p4), by_definition(p4, 8), rtol=1e-9)


def test_the_basis_is_that_of_m_body_phase_space() -> None:
    jets = [jet(40, seed=seed) for seed in range(3)]
    p4, ptr = np.concatenate(jets), [0, 40, 80, 120]
    all_of_them = n_subjettiness(p4, ptr)
    for bodies in (2, 3, 8):
        basis = n_subjettiness_basis(p4, ptr, bodies)
        assert basis.shape == (3, 3 * bodies - 4)
        whole = all_of_them[:, : bodies - 2].reshape(3, -1)
        np.testing.assert_array_equal(basis[:, :-2], whole)
        np.testing.assert_array_equal(basis[:, -2:], all_of_them[:, bodies - 2, 1:])


def test_jets_of_a_batch_do_not_know_of_one_another() -> None:
    counts = [0, 1, 40, 3, 0, 90, 8]
    jets = [jet(count, seed=i) for i, count in enumerate(counts)]
    together = n_subjettiness(np.concatenate(jets), np.cumsum([0, *counts]), 8, BETAS)
    np.testing.assert_array_equal(together, [taus(one) for one in jets])


def test_the_order_of_constituents_makes_no_difference() -> None:
    p4 = jet(50)
    shuffled = p4[np.random.default_rng(0).permutation(50)]
    np.testing.assert_allclose(taus(shuffled), taus(p4), rtol=1e-10)


def test_boosts_and_rotations_about_the_beam_make_no_difference() -> None:
    e, px, py, pz = jet(25).T
    c, s, ch, sh = np.cos(2), np.sin(2), np.cosh(0.7), np.sinh(0.7)
    turned = np.stack([ch * e + sh * pz, c * px - s * py, s * px + c * py, sh * e + ch * pz], 1)
    np.testing.assert_allclose(taus(turned), taus(jet(25)), rtol=1e-10)


def test_soft_and_collinear_constituents_make_no_difference() -> None:
    p4 = jet(25)
    soft = np.array([[1e-12, 1e-12, 0, 0]])
    np.testing.assert_allclose(taus(np.concatenate([p4, soft])), taus(p4), rtol=1e-10, atol=0)
    split = np.concatenate([p4[1:], p4[:1] / 2, p4[:1] / 2])
    np.testing.assert_allclose(taus(split), taus(p4), rtol=1e-10, atol=0)


def test_as_many_axes_as_constituents_leave_nothing() -> None:
    for count in (0, 1, 4):
        assert not taus(jet(count))[max(0, count - 1) :].any()
    assert not taus(np.zeros((3, 4))).any()
    assert n_subjettiness(np.zeros((0, 4)), [0]).shape == (0, 7, 3)


@pytest.mark.parametrize(
    ("p4", "ptr", "told"),
    [
        (np.zeros((3, 3)), [0, 3], r"p4 should have shape \(N, 4\), not \(3, 3\)"),
        (np.zeros((3, 4)), [0, 2], "from 0 to the 3 rows"),
        (np.zeros((3, 4)), [0, 2, 1, 3], "from 0 to the 3 rows"),
        (np.zeros((3, 4)), [], "from 0 to the 3 rows"),
    ],
)
def test_shapes_that_do_not_fit_are_told(p4, ptr, told) -> None:
    with pytest.raises(ValueError, match=told):
        n_subjettiness(p4, ptr)


def test_numbers_of_axes_exponents_and_bodies_are_checked() -> None:
    for arguments in ({"max_axes": 0}, {"betas": (1, 0)}):
        with pytest.raises(ValueError, match="max_axes should be >= 1 and betas > 0"):
            n_subjettiness(jet(3), [0, 3], **arguments)
    with pytest.raises(ValueError, match="bodies should be at least 2, not 1"):
        n_subjettiness_basis(jet(3), [0, 3], 1)
