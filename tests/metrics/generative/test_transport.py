"""Wasserstein and Kolmogorov-Smirnov distances: scipy's numbers, closed forms, errors."""

from __future__ import annotations

import importlib.util
import json
import math
from pathlib import Path

import numpy as np
import pytest
import scipy.special
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from hepgen.metrics import generative


@pytest.fixture(params=["unweighted", "weighted"])
def tables(request):
    """Three features, the last one with ties."""
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(700, 3)), 1.1 * rng.normal(size=(500, 3)) + 0.1
    x[:, 2], y[:, 2] = np.round(x[:, 2], 1), np.round(y[:, 2], 1)
    return x, y, rng.exponential(size=500) if request.param == "weighted" else None


def test_wasserstein_distances_are_those_of_scipy(tables):
    x, y, w = tables
    found = generative.wasserstein(x, y, weights=w, resamples=10)
    for feature, estimate in enumerate(found):
        wanted = scipy.stats.wasserstein_distance(x[:, feature], y[:, feature], v_weights=w)
        assert estimate.value == pytest.approx(wanted, rel=1e-10)
        assert estimate.error > 0
        assert 0 < estimate.floor < 0.2


def test_kolmogorov_distances_are_those_of_scipy(tables):
    x, y, w = tables
    found = generative.kolmogorov_smirnov(x, y, weights=w, resamples=10)
    for feature, estimate in enumerate(found):
        first, second = np.sort(x[:, feature]), y[:, feature]
        if w is None:
            wanted = scipy.stats.ks_2samp(first, second).statistic
        else:
            grid = np.concatenate([first, second])
            share = np.searchsorted(first, grid, side="right") / len(first)
            other = np.array([w[second <= value].sum() for value in grid]) / w.sum()
            wanted = abs(share - other).max()
        assert estimate.value == pytest.approx(wanted, rel=1e-10)
        assert 0 < estimate.floor < 0.2


def test_means_over_features_and_directions_are_means_of_scipy(tables):
    x, y, w = tables
    mean = generative.mean_kolmogorov(x, y, weights=w, resamples=5)
    each = generative.kolmogorov_smirnov(x, y, weights=w, resamples=5)
    assert mean.value == pytest.approx(np.mean([one.value for one in each]), rel=1e-12)
    if w is None:
        # Along one axis alone every direction is plus or minus it.
        line = generative.sliced_wasserstein(x[:, :1], y[:, :1], scale=None, directions=3)
        wanted = scipy.stats.wasserstein_distance(x[:, 0], y[:, 0])
        assert line.value == pytest.approx(wanted, rel=1e-10)
        line = generative.sliced_kolmogorov(x[:, :1], y[:, :1], directions=3)
        assert line.value == pytest.approx(each[0].value, rel=1e-10)


def test_w1p_of_jetnet_is_the_mean_over_its_draws():
    folder = Path(__file__).parents[2] / "reference" / "generative"
    spec = importlib.util.spec_from_file_location("script", folder / "jetnet_distances.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    x, y = (table[:, :3] for table in script.sample("shifted"))
    rng, batches = np.random.default_rng(7), []
    for _ in range(5):
        rows, others = rng.choice(len(x), size=3000), rng.choice(len(y), size=3000)
        batch = generative.wasserstein(x[rows], y[others], resamples=0, splits=0)
        batches.append([one.value for one in batch])
    stored = json.loads((folder / "jetnet_distances.json").read_text(encoding="utf-8"))
    means, spreads = stored["values"]["w1p"]
    np.testing.assert_allclose(np.mean(batches, axis=0), means, rtol=1e-9)
    np.testing.assert_allclose(np.std(batches, axis=0), spreads, rtol=1e-6)


def test_shifted_gaussians_have_the_closed_forms():
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(20_000, 1)), rng.normal(size=(20_000, 1)) + 0.5
    (found,) = generative.wasserstein(x, y)
    assert abs(found.value - 0.5) < 4 * found.error
    (found,) = generative.kolmogorov_smirnov(x, y)
    assert abs(found.value - math.erf(0.25 / math.sqrt(2))) < 4 * found.error
    # Sliced, a shift by (s, 0, 0) has a mean of s E|cos| = s / 2 in three dimensions.
    x, y = rng.normal(size=(2, 2000, 3))
    shift = np.array([2.0, 0, 0])
    found = generative.sliced_wasserstein(
        x, y + shift, scale=None, directions=500, resamples=10, splits=0
    )
    # 4 sigma of the directions, whose cosines are uniform, and 4 of the sample.
    assert abs(found.value - 1.0) < 4 * 2 / math.sqrt(12 * 500) + 4 * found.error


def test_any_monotonic_map_leaves_the_kolmogorov_distance():
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(2, 300, 2))
    found = generative.mean_kolmogorov(x, y, resamples=2)
    assert generative.mean_kolmogorov(np.exp(x), np.exp(y), resamples=2) == found


@given(st.integers(2, 60), st.integers(2, 60), st.floats(0, 3), st.integers(0, 1000))
def test_exact_p_values_are_those_of_scipy(first, second, shift, seed):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=first), rng.normal(size=second) + shift
    wanted = scipy.stats.ks_2samp(x, y, method="exact")
    # The distance as scipy has it and with the rounding of other ways to find it.
    for rounding in (1.0, 1 - 1e-13):
        found = generative.kolmogorov_p_value(wanted.statistic * rounding, first, second)
        assert found == pytest.approx(wanted.pvalue, rel=1e-9)


def test_p_values_of_samples_are_those_of_scipy():
    rng = np.random.default_rng(4)
    for first, second, shift in ((40, 30, 0.5), (500, 700, 0.1), (3000, 2000, 0.02)):
        x, y = rng.normal(size=first), rng.normal(size=second) + shift
        wanted = scipy.stats.ks_2samp(x, y, method="exact")
        (found,) = generative.kolmogorov_smirnov(x, y, resamples=0, splits=0)
        assert math.isnan(found.error)
        p_value = generative.kolmogorov_p_value(found.value, first, second)
        assert p_value == pytest.approx(wanted.pvalue, rel=1e-6)


@pytest.mark.parametrize("x", [0.2, 0.6, 0.999, 1.0, 1.3, 2.5])
def test_large_samples_have_the_limit_of_scipy(x):
    sizes = 5e4, 5e4
    found = generative.kolmogorov_p_value(x / math.sqrt(2.5e4), *sizes)
    assert found == pytest.approx(scipy.special.kolmogorov(x), rel=1e-9)


def test_the_limit_continues_the_exact_values():
    exact = generative.kolmogorov_p_value(0.019, 9999, 9999)
    limit = generative.kolmogorov_p_value(0.019, 9999.5, 9999.5)
    assert limit == pytest.approx(exact, rel=0.02)


@pytest.mark.slow
def test_errors_are_the_spread_of_experiments():
    """200 experiments: the ratio of errors is known to 5 %; 4 sigma fail once in 16 000 seeds."""
    rng = np.random.default_rng(5)
    metrics = {
        "wasserstein": lambda x, y: generative.wasserstein(x, y, splits=0)[0],
        "kolmogorov": lambda x, y: generative.kolmogorov_smirnov(x, y, splits=0)[0],
        "sliced": lambda x, y: generative.sliced_wasserstein(x, y, directions=8, splits=0),
    }
    found = {name: [] for name in metrics}
    for _ in range(200):
        x, y = rng.normal(size=(400, 2)), 1.3 * rng.normal(size=(400, 2)) + 0.5
        for name, metric in metrics.items():
            estimate = metric(x, y)
            found[name].append((estimate.value, estimate.error))
    for name, rows in found.items():
        value, error = np.array(rows).T
        ratio = np.sqrt(np.square(error).mean()) / value.std(ddof=1)
        # The bootstrap of a maximum is a few per cent too wide.
        assert abs(ratio - 1) < 4 / math.sqrt(400) + 0.05, (name, ratio)


@pytest.mark.slow
def test_floors_are_the_mean_of_real_samples():
    """Floors of 100 references and distances of 100 real samples; 4 sigma of both."""
    rng = np.random.default_rng(6)
    for size in (200, 600):
        floors, values = [], []
        for _ in range(100):
            x, y = rng.normal(size=(400, 3)), rng.normal(size=(size, 3))
            found = generative.mean_kolmogorov(x, y, resamples=0)
            floors.append(found.floor)
            values.append(found.value)
        both = math.hypot(np.std(floors), np.std(values)) / 10
        # Half the rows: the distance of so few is a multiple of a larger step, by about 1/n.
        assert abs(np.mean(floors) - np.mean(values)) < 4 * both + 1 / 400


def test_a_constant_feature_is_harmless_where_it_is_the_same_and_named_where_not():
    rng = np.random.default_rng(7)
    x, y = rng.normal(size=(2, 100, 3))
    x[:, 1] = y[:, 1] = 0.3
    assert generative.wasserstein(x, y, scale="std")[1].value == 0
    y[:, 1] += 1e-3
    with pytest.raises(ValueError, match=r"features \[1\] of 3 are constant in the reference"):
        generative.sliced_wasserstein(x, y)


@pytest.mark.parametrize("arguments", [(1.5, 10, 10), (-0.1, 10, 10), (0.5, 0, 10)])
def test_p_values_of_nonsense_are_refused(arguments):
    with pytest.raises(ValueError, match="a distance in"):
        generative.kolmogorov_p_value(*arguments)


def test_bad_tables_are_named():
    x = np.zeros((10, 2))
    with pytest.raises(ValueError, match=r"a table \(B, F\).*got shape \(10, 2, 1\)"):
        generative.wasserstein(x[:, :, None], x)
    with pytest.raises(ValueError, match="at least one direction"):
        generative.sliced_wasserstein(x, x, directions=0)
    with pytest.raises(ValueError, match="cannot be split"):
        generative.wasserstein(x[:3], x)
