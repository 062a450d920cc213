"""Matrix elements against total cross sections, Dirac traces, limits and brute force."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from hepgen.integration.matrix_elements import (
    electrons_to_muons,
    electrons_to_quarks_and_gluon,
    gluons_to_gluons,
    gluons_to_tops,
    many_gluons,
    massless_partons,
    quarks_to_tops,
)
from hepgen.integration.phase_space import two_body_decay

Array = NDArray[np.float64]
ENERGY, ALPHA, ALPHA_S, TOP = 500.0, 1 / 137.0, 0.118, 172.5
BEAMS = np.array([[250.0, 0, 0, 250], [250, 0, 0, -250]])


def total(square: Callable[[Array], Array], s: float, mass: float = 0.0) -> float:
    """Cross section in GeV^-2 by Gauss-Legendre in the cosine."""
    nodes, weights = np.polynomial.legendre.leggauss(60)
    beta = math.sqrt(1 - 4 * mass**2 / s)
    t = mass**2 - s / 2 * (1 - beta * nodes)
    return float(weights @ square(t)) * s * beta / 2 / (16 * math.pi * s**2)


def outgoing(count: int, rows: int = 200, seed: int = 1) -> Array:
    """Massless momenta of total (ENERGY, 0, 0, 0), by decays in a row."""
    rng = np.random.default_rng(seed)
    parent = np.tile([ENERGY, 0, 0, 0], (rows, 1))
    found = []
    for left in range(count - 1, 0, -1):
        mass = 0.0 if left == 1 else ENERGY * 0.8 * left / count
        angles = rng.uniform(-0.9, 0.9, rows), rng.uniform(0, 2 * math.pi, rows)
        p4, _ = two_body_decay(parent, (0.0, mass), *angles)
        found.append(p4[:, 0])
        parent = p4[:, 1]
    return np.stack([*found, parent], axis=1)


def test_muons_have_their_total_cross_section() -> None:
    s = ENERGY**2
    exact = 4 * math.pi * ALPHA**2 / (3 * s)
    assert total(lambda t: electrons_to_muons(s, t, ALPHA), s) == pytest.approx(exact, rel=1e-12)


@pytest.mark.parametrize("energy", [345.1, 500.0, 5000.0])
def test_tops_from_quarks_have_their_total_cross_section(energy: float) -> None:
    s, rho = energy**2, 4 * TOP**2 / energy**2
    exact = ALPHA_S**2 / TOP**2 * math.pi * math.sqrt(1 - rho) * rho / 27 * (2 + rho)
    found = total(lambda t: quarks_to_tops(s, t, TOP, ALPHA_S), s, TOP)
    assert found == pytest.approx(exact, rel=1e-10)


@pytest.mark.parametrize("energy", [345.1, 500.0, 1000.0])
def test_tops_from_gluons_have_their_total_cross_section(energy: float) -> None:
    s, rho = energy**2, 4 * TOP**2 / energy**2
    beta = math.sqrt(1 - rho)
    logarithm = (rho**2 + 16 * rho + 16) / beta * math.log((1 + beta) / (1 - beta))
    exact = ALPHA_S**2 / TOP**2 * math.pi * beta * rho / 192 * (logarithm - 28 - 31 * rho)
    found = total(lambda t: gluons_to_tops(s, t, TOP, ALPHA_S), s, TOP)
    assert found == pytest.approx(exact, rel=1e-8)


def test_light_tops_are_massless_quarks() -> None:
    s, t = ENERGY**2, -(ENERGY**2) * np.linspace(0.1, 0.9, 9)
    light = 1e-4
    for square, incoming in ((gluons_to_tops, (21, 21)), (quarks_to_tops, (1, -1))):
        massless = massless_partons(incoming, (2, -2), s, t, ALPHA_S)
        np.testing.assert_allclose(square(s, t, light, ALPHA_S), massless, rtol=1e-9)


def test_gluons_of_the_table_are_gluons_to_gluons() -> None:
    s, t = ENERGY**2, -(ENERGY**2) * np.linspace(0.1, 0.9, 9)
    table = massless_partons((21, 21), (21, 21), s, t, ALPHA_S)
    np.testing.assert_allclose(table, gluons_to_gluons(s, t, ALPHA_S), rtol=1e-14)


def test_crossed_partons_are_one_function() -> None:
    # Sums over all spins and colours; crossing one fermion changes the sign.
    s, t = 3.0, np.linspace(-2.7, -0.3, 7)
    u = -s - t
    fusion = massless_partons((21, 21), (1, -1), s, t, 1.0) * 256
    np.testing.assert_allclose(massless_partons((1, -1), (21, 21), s, t, 1.0) * 36, fusion)
    compton = massless_partons((1, 21), (1, 21), s, t, 1.0) * 96

    def fused(s: Array, t: Array, u: Array) -> Array:
        coupling = (4 * math.pi) ** 2 * 256
        return coupling * ((t**2 + u**2) / (6 * t * u) - 3 / 8 * (t**2 + u**2) / s**2)

    np.testing.assert_allclose(compton, -fused(t, np.full_like(t, s), u))
    np.testing.assert_allclose(fusion, fused(np.full_like(t, s), t, u))


def test_the_order_of_outgoing_partons_tells_which_t_is_meant() -> None:
    s, t = 3.0, np.linspace(-2.7, -0.3, 7)
    for pair in ((1, 2), (1, -1), (1, 21), (21, -3), (1, -2)):
        straight = massless_partons(pair, pair, s, t, 0.3)
        crossed = massless_partons(pair, pair[::-1], s, -s - t, 0.3)
        np.testing.assert_allclose(straight, crossed)
        turned = massless_partons(pair[::-1], pair[::-1], s, t, 0.3)
        np.testing.assert_allclose(straight, turned)


def slash(p: Array) -> NDArray[np.complex128]:
    gammas = dirac()
    return p[0] * gammas[0] - sum(p[axis] * gammas[axis] for axis in (1, 2, 3))


def dirac() -> list[NDArray[np.complex128]]:
    pauli = [np.array(one, complex) for one in ([[0, 1], [1, 0]], [[0, -1j], [1j, 0]])]
    pauli.append(np.diag([1.0 + 0j, -1]))
    space = [np.kron(np.array([[0, 1], [-1, 0]]), one) for one in pauli]
    return [np.kron(np.diag([1.0 + 0j, -1]), np.eye(2)), *space]


def test_quarks_of_one_flavour_are_what_dirac_traces_give() -> None:
    p4, _ = two_body_decay(
        np.array([[ENERGY, 0, 0, 0]]), (0.0, 0.0), np.array([0.3]), np.array([1.0])
    )
    first, second, third, fourth = map(slash, (*BEAMS, *p4[0]))
    gammas = dirac()
    metric = np.array([1, -1, -1, -1])
    direct = exchanged = crossed = 0.0
    for m, n in itertools.product(range(4), repeat=2):
        sign = metric[m] * metric[n]
        up, down = gammas[m], gammas[n]

        def lines(a, b, c, d, up=up, down=down, sign=sign) -> complex:
            return sign * np.trace(c @ up @ a @ down) * np.trace(d @ up @ b @ down)

        direct += lines(first, second, third, fourth).real
        exchanged += lines(first, second, fourth, third).real
        crossed += sign * np.trace(third @ up @ first @ down @ fourth @ up @ second @ down).real
    s, t = ENERGY**2, -(ENERGY**2) * 0.35
    u = -s - t
    # Colour: tr(TaTb)^2 = 2 for squares, tr(TaTbTaTb) = -2/3 for the interference with its sign.
    squares = 2 * (direct / t**2 + exchanged / u**2)
    interference = 2 * (2 / 3) * crossed / (t * u)
    expected = (squares + interference) / 36 * (4 * math.pi * ALPHA_S) ** 2
    found = massless_partons((1, 1), (1, 1), s, t, ALPHA_S)
    assert float(found) == pytest.approx(expected, rel=1e-12)
    different = massless_partons((1, 2), (1, 2), s, t, ALPHA_S)
    assert float(different) == pytest.approx(
        2 * direct / t**2 / 36 * (4 * math.pi * ALPHA_S) ** 2, rel=1e-12
    )
    # s and u change places between quark and antiquark.
    anti = massless_partons((1, -1), (1, -1), s, t, ALPHA_S)
    uncrossed = 4 / 9 * ((u**2 + s**2) / t**2 + (u**2 + t**2) / s**2) - 8 / 27 * u**2 / (t * s)
    assert float(anti) == pytest.approx(uncrossed * (4 * math.pi * ALPHA_S) ** 2, rel=1e-12)


def test_quark_gluon_events_have_the_closed_form_in_all_directions() -> None:
    # Of second order in the beam's direction, the mean over the six axes is that over the sphere.
    p4 = outgoing(3)
    axes = np.concatenate([np.eye(3), -np.eye(3)])
    squares = 0.0
    for axis in axes:
        beams = ENERGY / 2 * np.array([[1, *axis], [1, *-axis]])
        squares += electrons_to_quarks_and_gluon(beams, p4, 2 / 3, ALPHA, ALPHA_S) / 6
    s = ENERGY**2
    density = squares * s / (128 * math.pi**3) / (2 * s)
    x1, x2 = p4[:, 0, 0] * 2 / ENERGY, p4[:, 1, 0] * 2 / ENERGY
    two_jets = 4 * math.pi * ALPHA**2 / s * (2 / 3) ** 2
    emission = ALPHA_S * 2 / (3 * math.pi) * (x1**2 + x2**2) / ((1 - x1) * (1 - x2))
    np.testing.assert_allclose(density, two_jets * emission, rtol=1e-9)


def test_four_gluons_are_those_of_parke_and_taylor() -> None:
    p4 = outgoing(2)
    t = -2 * ENERGY / 2 * (p4[:, 0, 0] - p4[:, 0, 3])
    np.testing.assert_allclose(
        many_gluons(BEAMS, p4, ALPHA_S), gluons_to_gluons(ENERGY**2, t, ALPHA_S), rtol=1e-12
    )


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_gluons_are_summed_over_all_orders(count: int) -> None:
    p4 = outgoing(count, rows=3)
    for event, found in zip(p4, many_gluons(BEAMS, p4, 0.2), strict=True):
        momenta = np.concatenate([BEAMS, event])
        s = np.abs(2 * (momenta * [1, -1, -1, -1]) @ momenta.T)
        orders = 0.0
        for order in itertools.permutations(range(1, count + 2)):
            trip = (0, *order)
            orders += 1 / math.prod(s[i, j] for i, j in zip(trip, (*order, 0), strict=True))
        pairs = sum(s[i, j] ** 4 for i, j in itertools.combinations(range(count + 2), 2))
        both = 1 if count == 2 else 2
        expected = (0.8 * math.pi * 3) ** count * 8 * both * pairs * orders / (4 * 64)
        assert found == pytest.approx(expected, rel=1e-10)


def collinear_ratio(count: int) -> tuple[Array, Array, Array]:
    """|M|^2 with a gluon split in two over 2 g^2 N / s_ij |M|^2 before, its z, all p4 before."""
    rng = np.random.default_rng(4)
    rows, virtuality = 4000, 1e-3
    split = outgoing(count, rows=1).repeat(rows, axis=0)
    parent = split[:, 0].copy()
    # Off its mass shell by so little that what recoils does not notice.
    parent[:, 0] = np.sqrt(parent[:, 0] ** 2 + virtuality**2)
    # Evenly spread azimuths: interference of the two helicities of the parent averages out.
    azimuth = 2 * math.pi * (np.arange(rows) + 0.5) / rows
    pair, _ = two_body_decay(parent, (0.0, 0.0), rng.uniform(-0.8, 0.8, rows), azimuth)
    after = many_gluons(BEAMS, np.concatenate([pair, split[:, 1:]], axis=1), ALPHA_S)
    before = many_gluons(BEAMS, split, ALPHA_S)
    ratio = after * virtuality**2 / (8 * math.pi * ALPHA_S * 3 * before)
    return ratio, pair[:, 0, 0] / parent[:, 0], np.concatenate([BEAMS, split[0]])


def test_five_gluons_split_as_altarelli_and_parisi_say() -> None:
    # What fixes the normalisation of five gluons by that of four.
    ratio, z, _ = collinear_ratio(2)
    kernel = 2 * (z / (1 - z) + (1 - z) / z + z * (1 - z))
    np.testing.assert_allclose(ratio, kernel, rtol=2e-4)


@pytest.mark.parametrize("count", [3, 4])
def test_more_gluons_split_as_maximal_helicity_violation_allows(count: int) -> None:
    # A gluon of one of the two odd helicities keeps it; one of the many gives two of them.
    ratio, z, momenta = collinear_ratio(count)
    s4 = (2 * (momenta * [1, -1, -1, -1]) @ momenta.T) ** 4
    odd = s4[2].sum() / (s4.sum() / 2)
    kernel = (odd * (z**4 + (1 - z) ** 4) + 1 - odd) / (z * (1 - z))
    np.testing.assert_allclose(ratio, kernel, rtol=2e-3)
    full = (1 + z**4 + (1 - z) ** 4) / (z * (1 - z))
    assert np.all(ratio < full)


def test_soft_gluons_fall_with_their_energy_squared() -> None:
    hard = outgoing(2, rows=1)
    direction = np.array([1, 0.6, 0, 0.8])
    scaled = [
        energy**2 * many_gluons(BEAMS, np.concatenate([hard, [[energy * direction]]], 1), 0.1)
        for energy in (1e-3, 1e-5)
    ]
    assert float(scaled[0][0]) == pytest.approx(float(scaled[1][0]), rel=1e-4)


def test_outgoing_gluons_can_change_places() -> None:
    p4 = outgoing(4)
    first = many_gluons(BEAMS, p4, 0.1)
    for order in ([1, 0, 2, 3], [3, 2, 0, 1]):
        np.testing.assert_allclose(many_gluons(BEAMS[::-1], p4[:, order], 0.1), first, rtol=1e-9)


def test_couplings_may_differ_from_event_to_event() -> None:
    p4, coupling = outgoing(3, rows=3), np.array([0.1, 0.2, 0.3])
    values = many_gluons(BEAMS, p4, coupling)
    for row in range(3):
        np.testing.assert_allclose(values[row], many_gluons(BEAMS, p4[row], coupling[row])[0])
    assert many_gluons(BEAMS, p4[:0], 0.1).shape == (0,)


def test_what_makes_no_process_is_refused() -> None:
    with pytest.raises(ValueError, match=r"2 to 6 outgoing gluons, got 7"):
        many_gluons(BEAMS, np.ones((1, 7, 4)), 0.1)
    with pytest.raises(ValueError, match=r"beams of shape \(B, 2, 4\), got \(3, 4\)"):
        many_gluons(np.ones((3, 4)), np.ones((1, 2, 4)), 0.1)
    with pytest.raises(ValueError, match="beams of 2 events and final states of 3"):
        many_gluons(np.stack([BEAMS, BEAMS]), np.ones((3, 2, 4)), 0.1)
    with pytest.raises(ValueError, match=r"do not scatter into \(1, 1\)"):
        massless_partons((1, 2), (1, 1), 1.0, -0.5, 0.1)
    with pytest.raises(ValueError, match="no massless parton of PDG identifier 6"):
        massless_partons((6, -6), (21, 21), 1.0, -0.5, 0.1)
    with pytest.raises(ValueError, match=r"shape \(B, 3, 4\), got \(1, 2, 4\)"):
        electrons_to_quarks_and_gluon(BEAMS, np.ones((1, 2, 4)), 1.0, 0.1, 0.1)
