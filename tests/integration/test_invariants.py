"""Maps of an interval against quadrature and their own inverse."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import integrate, stats

from hepgen.integration.invariants import BreitWigner, Flat, InvariantMap, Power

CASES = {
    "flat": (Flat(), 10.0, 300.0, lambda s: 1.0),
    "inverse": (Power(1.0), 4.0, 250000.0, lambda s: 1 / s),
    "root": (Power(0.5), 0.0, 2500.0, lambda s: s**-0.5),
    "steep": (Power(2.5, 900.0), 0.0, 250000.0, lambda s: (s + 900) ** -2.5),
    "above a pole": (Power(0.9, -8000.0), 8100.0, 250000.0, lambda s: (s - 8000) ** -0.9),
    "rising": (Power(-1.0), 1.0, 9.0, lambda s: s),
    "resonance": (
        BreitWigner(91.1876, 2.4952),
        50.0**2,
        150.0**2,
        lambda s: 1 / ((s - 91.1876**2) ** 2 + (91.1876 * 2.4952) ** 2),
    ),
    "tail": (
        BreitWigner(91.1876, 2.4952),
        500.0**2,
        900.0**2,
        lambda s: 1 / ((s - 91.1876**2) ** 2 + (91.1876 * 2.4952) ** 2),
    ),
}
EVERY = pytest.mark.parametrize(
    ("one", "lower", "upper", "shape"), list(CASES.values()), ids=list(CASES)
)


@EVERY
def test_densities_are_normalised_propagators(one: InvariantMap, lower, upper, shape) -> None:
    norm, _ = integrate.quad(shape, lower, upper, points=[min(max(lower, 8315.18), upper)])
    assert one.density(lower, lower, upper) > 0
    s = np.linspace(lower + 1e-6, upper, 40)
    expected = np.array([shape(value) for value in s]) / norm
    np.testing.assert_allclose(one.density(s, lower, upper), expected, rtol=1e-6)
    outside = np.array([lower - 1, upper + 1])
    np.testing.assert_array_equal(one.density(outside, lower, upper), 0)


@EVERY
def test_points_are_distributed_as_the_density(one: InvariantMap, lower, upper, shape) -> None:
    # Kolmogorov and Smirnov at 1e-4, 8 cases: one seed of a thousand fails.
    s, jacobian = one.forward(np.random.default_rng(2).random(4000), lower, upper)
    grid = np.linspace(lower ** (1 / 8), upper ** (1 / 8), 20001) ** 8
    heights = one.density(grid, lower, upper)
    heights[~np.isfinite(heights)] = 0
    cumulative = integrate.cumulative_trapezoid(heights, grid, initial=0)
    shares = np.interp(s, grid, cumulative / cumulative[-1])
    assert stats.kstest(shares, "uniform").pvalue > 1e-4
    np.testing.assert_allclose(jacobian * one.density(s, lower, upper), 1, rtol=1e-9)


@EVERY
def test_maps_go_both_ways_with_their_slope(one: InvariantMap, lower, upper, shape) -> None:
    u = np.linspace(0.01, 0.99, 99)
    s, jacobian = one.forward(u, lower, upper)
    back, again = one.inverse(s, lower, upper)
    np.testing.assert_allclose(back, u, rtol=1e-10)
    np.testing.assert_allclose(again, jacobian, rtol=1e-9)
    above, below = (one.forward(u + step, lower, upper)[0] for step in (1e-6, -1e-6))
    np.testing.assert_allclose((above - below) / 2e-6, jacobian, rtol=1e-5)
    ends, _ = one.forward([0.0, 1.0], lower, upper)
    np.testing.assert_allclose(ends, [lower, upper], atol=1e-9 * upper)
    assert ends[0] >= lower
    assert ends[1] <= upper


def test_bounds_may_differ_from_point_to_point() -> None:
    lower, upper = np.array([1.0, 4.0]), np.array([2.0, 9.0])
    s, _ = Power(1.0).forward(0.5, lower, upper)
    np.testing.assert_allclose(s, np.sqrt(lower * upper))
    assert Flat().forward(np.empty(0), 0.0, 1.0)[0].shape == (0,)


def test_integrals_without_end_are_refused() -> None:
    with pytest.raises(ValueError, match=r"1/\(s \+ 0\)\^1 from s = 0 GeV\^2 has no finite"):
        Power(1.0).forward(0.5, 0.0, 1.0)
    with pytest.raises(ValueError, match="raise the offset or lower the power"):
        Power(0.5, -2.0).forward(0.5, 1.0, 3.0)
    with pytest.raises(ValueError, match="above the upper one"):
        Flat().forward(0.5, 2.0, 1.0)
    with pytest.raises(ValueError, match=r"positive mass and width, got 91\.2 and 0 GeV"):
        BreitWigner(91.2, 0)
    with pytest.raises(ValueError, match="finite power"):
        Power(np.nan)
