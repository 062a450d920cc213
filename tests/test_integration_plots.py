"""Plots of an integration show the numbers that they were given."""

from __future__ import annotations

import hist
import numpy as np
import pytest

from hepgen.plots import convergence, differential, figure, marginals, style, weight_distribution

RNG = np.random.default_rng(2)


def axes():
    return figure()[1][0]


def test_the_weights_are_counted_over_their_mean() -> None:
    weights = np.append(RNG.exponential(size=1000), 0.0)
    with style():
        ax = axes()
        stairs, line = weight_distribution(ax, weights, maximum=3.0, bins=20)
    assert stairs.get_data().values.sum() == 1000
    assert line.get_xdata()[0] == pytest.approx(3.0 / weights.mean())
    assert ax.get_xscale() == ax.get_yscale() == "log"
    with pytest.raises(ValueError, match="no weight differs from zero"):
        weight_distribution(ax, [0.0, 0.0])


def test_batches_stand_at_the_calls_spent_until_then() -> None:
    ax = axes()
    learning, final, band = convergence(
        ax,
        [10, 20, 30],
        [1.0, 2.0, 2.1],
        [0.5, 0.1, 0.1],
        final=[False, True, True],
        result=(2, 0.1),
    )
    assert learning[0].get_xdata().tolist() == [10]
    assert final[0].get_xdata().tolist() == [30, 60]
    assert final[0].get_ydata().tolist() == [2.0, 2.1]
    assert band.get_y() == pytest.approx(1.9)
    assert ax.get_ylim() == pytest.approx((1.4, 2.6))
    with pytest.raises(ValueError, match="got 3, 2, 3 and 3"):
        convergence(ax, [1, 2, 3], [1, 2], [1, 1, 1])


def test_marginals_are_densities_of_points_and_of_the_integral() -> None:
    x = RNG.random((20_000, 2))
    points, integrand = marginals(axes(), x, 2 * x[:, 1], dimension=1, bins=10)
    for stairs, expected in ((points, 1.0), (integrand, None)):
        values, edges, _ = stairs.get_data()
        assert (values * np.diff(edges)).sum() == pytest.approx(1)
        centres = (edges[1:] + edges[:-1]) / 2
        assert values == pytest.approx(
            2 * centres if expected is None else 1 + 0 * centres, abs=0.1
        )


def test_a_distribution_is_divided_by_the_widths_of_its_bins() -> None:
    filled = hist.Hist(hist.axis.Variable([0, 1, 3], name="pt"), storage=hist.storage.Weight())
    filled.view()["value"], filled.view()["variance"] = [2, 4], [1, 4]
    ax = axes()
    stairs, bars = differential(ax, filled, unit="pb", name="$p_T$ [GeV]")
    assert stairs.get_data().values.tolist() == [2, 2]
    assert [np.ptp(s[:, 1]) for s in bars[2][0].get_segments()] == [2, 2]
    assert ax.get_ylabel() == r"d$\sigma$ / d$p_T$ [pb / GeV]"
    both = hist.Hist(hist.axis.Regular(2, 0, 1), hist.axis.Regular(2, 0, 1))
    with pytest.raises(ValueError, match="one axis, got 2"):
        differential(ax, both)
