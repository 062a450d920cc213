"""Plots of showers: that what is drawn is what was given."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from matplotlib.figure import Figure

from hepgen import plots
from hepgen.metrics import generative, resolution_fit, response_in_bins
from hepgen.plots.shower_spectra import TRUTH, look


def axes():
    return Figure().subplots()


def test_what_is_beyond_the_edges_is_a_bin_at_the_end():
    values = np.array([-5.0, 0.5, 1.5, 1.5, 9.0])
    edges = np.array([0.0, 1.0, 2.0])
    found = generative.histogram(values, edges)
    inside = generative.histogram(np.array([0.5, 1.5]), edges)
    figure = Figure()
    ax, ratio_ax = figure.subplots(2, 1)
    pair = [(h.contents, h.variances) for h in (found, inside)]
    steps = plots.spectrum_ratio(ax, ratio_ax, edges, *pair, xlabel="x")
    np.testing.assert_allclose(steps[0].get_data().edges, [-1, 0, 1, 2, 3])
    np.testing.assert_allclose(steps[0].get_data().values, [0.2, 0.2, 0.4, 0.2])
    np.testing.assert_allclose(steps[1].get_data().values, [0, 0.5, 0.5, 0])
    np.testing.assert_allclose(steps[2].get_data().values, [0, 2.5, 1.25, 0])
    # Nothing beyond: no further bins.
    axs = figure.subplots(2, 1)
    steps = plots.spectrum_ratio(*axs, edges, pair[1], pair[1])
    np.testing.assert_allclose(steps[0].get_data().edges, edges)
    log = plots.spectrum_ratio(*axs, edges + 1, pair[0], pair[1], log=True)
    np.testing.assert_allclose(log[0].get_data().edges, [0.5, 1, 2, 3, 4.5])


def test_histograms_without_shape_are_refused():
    figure = Figure()
    axs = figure.subplots(2, 1)
    with pytest.raises(ValueError, match=r"Geant4: \(3,\) values for 3 edges; wanted two more"):
        plots.spectrum_ratio(*axs, [0, 1, 2], ([1, 2, 3], [1, 2, 3]), ([1] * 4, [1] * 4))
    with pytest.raises(ValueError, match="generated: an empty histogram"):
        plots.spectrum_ratio(*axs, [0, 1], ([1] * 3, [1] * 3), ([0] * 3, [0] * 3))


def test_maps_hold_the_energies():
    table = np.array([[1.0, 2.0, 0.0], [3.0, 4.0, 5.0]])
    drawn = plots.layer_map(axes(), table, ylabel="r", y_edges=[0, 1, 2])
    assert drawn.get_array().filled(-1).tolist() == [[1, 2, -1], [3, 4, 5]]
    ratio = plots.layer_map(axes(), table, ylabel="r", y_edges=[0, 1, 2], ratio=True)
    assert ratio.get_clim() == (0.5, 1.5)
    polar = Figure().subplots(subplot_kw={"projection": "polar"})
    drawn = plots.layer_picture(polar, table.T, r_edges=[0, 1, 2], limits=(1e-3, 5))
    assert drawn.get_array().shape == (2, 90)
    assert drawn.get_array()[0, [0, 30, 60]].filled(-1).tolist() == [1, 2, -1]


def test_response_and_resolution_are_drawn_with_their_fit():
    rng = np.random.default_rng(1)
    energy = np.exp(rng.uniform(0, np.log(100), 4000))
    bins = response_in_bins(energy, rng.normal(1, 0.1 / np.sqrt(energy)))
    values = [one.value for one in bins.resolution]
    fit = resolution_fit(bins.energy, values, [one.error for one in bins.resolution])
    ax = axes()
    (bars,) = plots.energy_response(ax, {"true": bins})
    np.testing.assert_allclose(bars[0].get_ydata(), [one.value for one in bins.response])
    ax = axes()
    (bars,) = plots.energy_resolution(ax, {"true": bins}, {"true": fit})
    np.testing.assert_allclose(bars[0].get_ydata(), values)
    line = ax.get_lines()[-1]
    np.testing.assert_allclose(line.get_ydata(), fit(line.get_xdata()))
    with pytest.raises(ValueError, match="needs bins"):
        plots.energy_response(axes(), {})


def test_correlations_curves_and_times_are_drawn():
    drawn = plots.correlation_map(axes(), np.eye(2), ["a", "b"])
    np.testing.assert_array_equal(drawn.get_array(), np.eye(2))
    with pytest.raises(ValueError, match="3 names for a matrix"):
        plots.correlation_map(axes(), np.eye(2), ["a", "b", "c"])
    (line,) = plots.classifier_curve(axes(), {"high": ([0, 0.5, 1], [0, 0.6, 1])})
    assert line.get_ydata().tolist() == [0, 0.6, 1]
    (line,) = plots.generation_time(axes(), {"CaloINN": ([1, 100], [5.0, 0.1])})
    assert line.get_xdata().tolist() == [1, 100]
    for draw in (plots.classifier_curve, plots.generation_time):
        with pytest.raises(ValueError, match="needs"):
            draw(axes(), {})


def test_several_simulators_are_drawn_over_one_truth():
    edges = np.array([0.0, 1.0, 2.0])
    true, one, two = ([0, 3, 1, 0], [0, 3, 1, 0]), ([0, 1, 1, 0],) * 2, ([0, 4, 0, 0],) * 2
    axs = Figure().subplots(2, 1)
    steps = plots.spectra_ratio(*axs, edges, true, {"a": one, "b": two}, ylabel="Share")
    np.testing.assert_allclose(steps[0].get_data().values, [0.75, 0.25])
    np.testing.assert_allclose(steps[2].get_data().values, [0.5 / 0.75, 2])
    np.testing.assert_allclose(steps[4].get_data().values, [1 / 0.75, 0])
    assert [text.get_text() for text in axs[0].get_legend().get_texts()] == ["Geant4", "a", "b"]
    # What is beyond the panel by more than its error is marked at its edge.
    marked = [line.get_xdata().tolist() for line in axs[1].get_lines() if line.get_marker() == "v"]
    assert marked == [[], [1.5]]


def test_simulators_are_told_apart_without_colours():
    looks = [look(i) for i in range(10)]
    assert len({(one["color"], str(one["ls"])) for one in looks}) == 10
    assert all(a["ls"] != b["ls"] for a, b in pairwise(looks))
    assert TRUTH not in {one["color"] for one in looks}


def test_ratios_to_the_truth_are_drawn_against_the_energy():
    rng = np.random.default_rng(1)
    energy = np.exp(rng.uniform(0, np.log(100), 4000))
    bins = [response_in_bins(energy, rng.normal(m, 0.1, 4000)) for m in (1.0, 0.9)]
    (bars,) = plots.energy_ratio(axes(), {"true": bins[0], "model": bins[1]}, "response")
    expected = [b.value / a.value for a, b in zip(bins[0].response, bins[1].response, strict=True)]
    np.testing.assert_allclose(bars[0].get_ydata(), expected)
    with pytest.raises(ValueError, match="needs two"):
        plots.energy_ratio(axes(), {"true": bins[0]}, "response")


def test_few_decades_are_labelled_without_powers():
    ax = axes()
    ax.set_xscale("log")
    ax.set_xlim(1, 100)
    plots.plain_ticks(ax, "x")
    assert [ax.xaxis.get_major_formatter()(x) for x in (2.0, 50.0)] == ["2", "50"]
