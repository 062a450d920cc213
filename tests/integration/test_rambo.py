"""Phase space from random numbers against volumes, spectra, and other ways to the same integral."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import integrate, stats

from hepgen.integration.phase_space import (
    PhaseSpaceMap,
    decay_momentum,
    massless_volume,
    two_body_decay,
)
from hepgen.integration.rambo import Rambo, RamboOnDiet
from hepgen.kinematics import mass

ENERGY = 500.0
MAPS = (Rambo, RamboOnDiet)
SETS = {
    "massless2": [0.0] * 2,
    "massless3": [0.0] * 3,
    "massless4": [0.0] * 4,
    "massless7": [0.0] * 7,
    "massive2": [80.0, 172.5],
    "massive3": [4.7, 172.5, 172.5],
    "massive4": [172.5, 100.0, 0.0, 120.0],
    "massive5": [0.0, 80.4, 80.4, 4.7, 4.7],
}


def generate(kind: type[PhaseSpaceMap], masses: list[float], rows: int = 20_000):
    space = kind(masses)
    u = np.random.default_rng(len(masses)).random((rows, space.dimension))
    return space, u, *space.forward(u, ENERGY)


def volume(masses: list[float], energy: float) -> float:
    """By integrals over the mass of all but one particle, 2 pi for each."""
    if energy <= sum(masses):
        return 0.0
    if len(masses) == 2:
        return float(decay_momentum(energy, *masses)) / (4 * math.pi * energy)

    def split(rest: float) -> float:
        return volume([masses[0], rest], energy) * volume(masses[1:], rest) * rest / math.pi

    low, high = sum(masses[1:]), energy - masses[0]
    return integrate.quad(split, low, high, epsrel=1e-6)[0]


@pytest.mark.parametrize("kind", MAPS)
@pytest.mark.parametrize("masses", SETS.values(), ids=SETS)
def test_momenta_add_up_and_stay_on_shell(kind: type[PhaseSpaceMap], masses: list[float]) -> None:
    _, _, p4, weight = generate(kind, masses, 2000)
    np.testing.assert_allclose(p4.sum(1), np.tile([ENERGY, 0, 0, 0], (2000, 1)), atol=5e-10)
    shell = p4[..., 0] ** 2 - (p4[..., 1:] ** 2).sum(2) - np.square(masses)
    assert np.abs(shell / p4[..., 0] ** 2).max() < 1e-12
    assert (weight > 0).all()


@pytest.mark.parametrize("kind", MAPS)
@pytest.mark.parametrize("masses", list(SETS.values())[:-1], ids=list(SETS)[:-1])
def test_weights_give_the_volume_of_phase_space(
    kind: type[PhaseSpaceMap], masses: list[float]
) -> None:
    # 4.5 sigma: of 6 cases one fails by chance once in 2e4 seeds.
    _, _, _, weight = generate(kind, masses)
    if not any(masses):
        np.testing.assert_allclose(weight, massless_volume(len(masses), ENERGY), rtol=1e-14)
        return
    error = weight.std() / math.sqrt(len(weight))
    exact = volume(masses, ENERGY)
    assert abs(weight.mean() - exact) < 4.5 * error + 1e-6 * exact


@pytest.mark.parametrize("masses", SETS.values(), ids=SETS)
def test_both_kinds_integrate_a_function_to_the_same(masses: list[float]) -> None:
    # A function of all momenta; 4.5 sigma, 8 cases: once in 2e4 seeds.
    found = []
    for kind in MAPS:
        _, _, p4, weight = generate(kind, masses)
        values = weight * np.sqrt(p4[..., 0]).prod(1) * (1 + np.abs(p4[:, 0, 3]) / ENERGY)
        found.append((values.mean(), values.std() / math.sqrt(len(values))))
    (first, error), (second, other) = found
    assert abs(first - second) < 4.5 * math.hypot(error, other) + 1e-12 * first


@pytest.mark.parametrize("kind", MAPS)
@pytest.mark.parametrize("count", [3, 4, 7])
def test_massless_momenta_are_flat(kind: type[PhaseSpaceMap], count: int) -> None:
    # Mass squared of all but one: v^(n-3) (1-v), whichever is left out, in whatever order it came;
    # directions even. Kolmogorov and Smirnov at 1e-4: of some 50 tests one in 200 seeds fails.
    _, _, p4, _ = generate(kind, [0.0] * count)
    for body in range(count):
        rest = 1 - 2 * p4[:, body, 0] / ENERGY
        assert stats.kstest(rest, stats.beta(count - 2, 2).cdf).pvalue > 1e-4
        cosine = p4[:, body, 3] / p4[:, body, 0]
        assert stats.kstest((cosine + 1) / 2, "uniform").pvalue > 1e-4


@pytest.mark.parametrize("kind", MAPS)
def test_masses_of_all_pairs_have_the_spectrum_of_four_massless(kind: type[PhaseSpaceMap]) -> None:
    # Of a pair in four: int_0^((1-sqrt v)^2) dw sqrt(lambda(1, v, w)), by quadrature, normalised.
    def density(v: float) -> float:
        def inner(w: float) -> float:
            return math.sqrt(max(0.0, (1 - v - w) ** 2 - 4 * v * w))

        return integrate.quad(inner, 0, (1 - math.sqrt(v)) ** 2)[0]

    grid = np.linspace(0, 1, 401)
    steps = integrate.cumulative_simpson([density(v) for v in grid], x=grid, initial=0)
    _, _, p4, _ = generate(kind, [0.0] * 4)
    for first, second in ((0, 1), (0, 3), (1, 2), (2, 3)):
        v = (mass(p4[:, first] + p4[:, second]) / ENERGY) ** 2
        cumulative = np.interp(v, grid, steps / steps[-1])
        assert stats.kstest(cumulative, "uniform").pvalue > 1e-4


@pytest.mark.parametrize("masses", SETS.values(), ids=SETS)
def test_the_diet_can_be_turned_around(masses: list[float]) -> None:
    space, u, p4, weight = generate(RamboOnDiet, masses)
    back, again = space.inverse(p4)
    gap = np.abs(back - u)
    gap = np.minimum(gap, 1 - gap)  # azimuths go around
    # Soft and collinear points lose digits to the rounding of momenta, one in ten thousand.
    assert np.quantile(gap.max(1), 0.999) < 1e-10
    assert gap.max() < 1e-6
    np.testing.assert_allclose(again, weight, rtol=1e-12)
    np.testing.assert_allclose(space.density(p4) * weight, 1, rtol=1e-12)
    forth, _ = space.forward(back, ENERGY)
    assert np.abs(forth - p4).max() < 1e-8 * ENERGY


def test_the_density_of_the_original_needs_no_inverse() -> None:
    space, _, p4, weight = generate(Rambo, SETS["massive4"])
    np.testing.assert_allclose(space.density(p4) * weight, 1, rtol=1e-12)
    with pytest.raises(TypeError, match="RamboOnDiet has one"):
        space.inverse(p4)


@pytest.mark.parametrize("masses", [SETS["massless3"], SETS["massive3"]])
def test_the_weight_is_the_jacobian(masses: list[float]) -> None:
    # dPhi_3 in the variables of two decays in a row, which are written down elsewhere; the
    # determinant du -> (s_23, cos_1, phi_1, cos_2, phi_2) by central differences.
    space = RamboOnDiet(masses)
    u = np.random.default_rng(8).uniform(0.1, 0.9, (20, space.dimension))
    step = 1e-5

    def variables(points: np.ndarray) -> np.ndarray:
        p4, _ = space.forward(points, ENERGY)
        pair = p4[:, 1] + p4[:, 2]
        squared = mass(pair) ** 2
        beta = pair[:, 1:] / pair[:, :1]
        gamma = 1 / np.sqrt(1 - (beta**2).sum(1))
        along = (beta * p4[:, 1, 1:]).sum(1)
        factor = gamma**2 / (1 + gamma) * along - gamma * p4[:, 1, 0]
        rest = p4[:, 1, 1:] + beta * factor[:, None]
        cosine = rest[:, 2] / np.linalg.norm(rest, axis=1)
        first = p4[:, 0, 1:]
        return np.stack(
            [
                squared,
                first[:, 2] / np.linalg.norm(first, axis=1),
                np.arctan2(first[:, 1], first[:, 0]),
                cosine,
                np.arctan2(rest[:, 1], rest[:, 0]),
            ],
            axis=1,
        )

    columns = []
    for axis in range(5):
        offset = np.zeros(5)
        offset[axis] = step
        difference = variables(u + offset) - variables(u - offset)
        difference[:, [2, 4]] = (difference[:, [2, 4]] + np.pi) % (2 * np.pi) - np.pi
        columns.append(difference / (2 * step))
    determinant = np.abs(np.linalg.det(np.stack(columns, axis=2)))
    p4, weight = space.forward(u, ENERGY)
    pair = mass(p4[:, 1] + p4[:, 2])
    _, inner = two_body_decay(
        np.column_stack([pair, np.zeros((20, 3))]), (masses[1], masses[2]), u[:, 0], u[:, 0]
    )
    outer = decay_momentum(ENERGY, masses[0], pair) / (16 * math.pi**2 * ENERGY)
    np.testing.assert_allclose(weight, determinant * inner * outer / (2 * math.pi), rtol=1e-6)


def test_masses_leave_weights_bounded() -> None:
    # Also next to threshold, where a shift of masses makes them diverge.
    masses = [172.5, 172.5, 125.0]
    space = RamboOnDiet(masses)
    u = np.random.default_rng(9).random((200_000, 5))
    for energy in (470.5, 500.0, 5000.0):
        _, weight = space.forward(u, energy)
        assert weight.max() < 2 * weight.mean()


def test_energies_may_differ_from_event_to_event() -> None:
    space = RamboOnDiet([10.0, 20.0, 0.0])
    u, energies = np.random.default_rng(1).random((4, 5)), np.array([40.0, 100.0, 1e3, 1e4])
    p4, weight = space.forward(u, energies)
    for row in range(4):
        alone, single = space.forward(u[row : row + 1], energies[row])
        np.testing.assert_array_equal(p4[row], alone[0])
        assert weight[row] == single[0]


@pytest.mark.parametrize("kind", MAPS)
def test_ends_of_the_cube_and_no_points_are_fine(kind: type[PhaseSpaceMap]) -> None:
    space = kind([0.0, 1.0, 0.0])
    assert space.forward(np.zeros((0, space.dimension)), ENERGY)[0].shape == (0, 3, 4)
    inside = np.random.default_rng(1).random((1, space.dimension))
    for axis in range(space.dimension):
        for end in (0.0, 1.0):
            u = inside.copy()
            u[0, axis] = end
            p4, weight = space.forward(u, ENERGY)
            assert np.isfinite(p4).all()
            assert np.isfinite(weight).all()


def test_what_has_no_phase_space_is_refused() -> None:
    with pytest.raises(ValueError, match=r"masses of two particles at least, not \[1.0\]"):
        RamboOnDiet([1.0])
    with pytest.raises(ValueError, match="finite and not negative"):
        RamboOnDiet([1.0, -1.0])
    with pytest.raises(ValueError, match=r"100 GeV is not above the sum of masses, 110 GeV"):
        RamboOnDiet([60.0, 50.0]).forward(np.zeros((1, 2)), 100.0)
    with pytest.raises(ValueError, match=r"shape \(B, 5\) for 3 particles, got \(1, 4\)"):
        RamboOnDiet([0.0] * 3).forward(np.zeros((1, 4)), 100.0)
    with pytest.raises(ValueError, match=r"shape \(B, 3, 4\), got \(1, 2, 4\)"):
        RamboOnDiet([0.0] * 3).inverse(np.zeros((1, 2, 4)))
