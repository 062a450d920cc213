"""Histograms that lose nothing, and their separation power."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hepgen.metrics import generative

EDGES = np.linspace(-2, 2, 21)


@pytest.fixture
def samples():
    rng = np.random.default_rng(1)
    return rng.normal(size=3000), 1.1 * rng.normal(size=2500) + 0.1, rng.exponential(size=2500)


def challenge(reference, generated, edges, weights=None):
    """The challenge's own definition, on densities as its plots have them."""
    width = np.diff(edges)
    p = np.histogram(reference, edges, density=True)[0] * width
    q = np.histogram(generated, edges, density=True, weights=weights)[0] * width
    return 0.5 * ((p - q) ** 2 / (p + q + 1e-16)).sum()


@pytest.mark.parametrize("weighted", [False, True])
def test_without_what_is_outside_it_is_the_challenges_definition(samples, weighted):
    x, y, w = samples
    w = w if weighted else None
    found = generative.separation_power(x, y, EDGES, weights=w, out_of_range="drop")
    assert found.value == pytest.approx(challenge(x, y, EDGES, w), rel=1e-12)
    # The challenge's binning of the energy response and of layer energies.
    response = np.linspace(0.5, 1.5, 101)
    x, y = 1 + 0.1 * x, 1 + 0.1 * y
    found = generative.separation_power(x, y, response, weights=w, out_of_range="drop")
    assert found.value == pytest.approx(challenge(x, y, response, w), rel=1e-12)
    layers = np.geomspace(0.1, x.max(), 40)
    found = generative.separation_power(x, y, layers, weights=w, out_of_range="drop")
    assert found.value == pytest.approx(challenge(x, y, layers, w), rel=1e-12)


def test_what_is_outside_is_kept(samples):
    x, _, _ = samples
    # Half of the sample beyond the edges: the challenge sees no difference.
    y = np.concatenate([x, np.full(len(x), 100.0)])
    seen = generative.separation_power(x, y, EDGES)
    unseen = generative.separation_power(x, y, EDGES, out_of_range="drop")
    assert unseen.value == pytest.approx(0, abs=1e-12)
    assert seen.value > 0.3
    assert seen.value > 50 * seen.floor


def test_a_histogram_has_the_contents_of_numpy(samples):
    _, y, w = samples
    found = generative.histogram(y, EDGES, w)
    assert isinstance(found, generative.Histogram)
    np.testing.assert_allclose(found.inside, np.histogram(y, EDGES, weights=w)[0], rtol=1e-12)
    squares = np.histogram(y, EDGES, weights=w**2)[0]
    np.testing.assert_allclose(found.variances[1:-1], squares, rtol=1e-12)
    assert found.contents[0] == pytest.approx(w[y < -2].sum())
    assert found.contents[-1] == pytest.approx(w[y > 2].sum())
    assert found.outside == pytest.approx(w[abs(y) > 2].sum() / w.sum())
    # The last edge belongs to the last bin, infinities to what is outside.
    border = generative.histogram([-np.inf, -2.0, 2.0, np.inf], EDGES)
    assert border.contents[[0, 1, -2, -1]].tolist() == [1, 1, 1, 1]


def test_equal_and_disjoint_samples_are_the_ends():
    x = np.arange(100.0)
    assert generative.separation_power(x, x, [0, 50, 100]).value == 0
    assert generative.separation_power(x, x + 1000, [0, 50, 100]).value == 1


@pytest.mark.parametrize("shift", [0.0, 0.3])
def test_errors_and_floors_are_those_of_experiments(shift):
    """300 experiments; a spread is known to 4 % (11 % of a sum of squares), tested at 4 sigma."""
    rng = np.random.default_rng(2)
    values, errors, floors = [], [], []
    for _ in range(300):
        x, y = rng.normal(size=2000), rng.normal(size=1000) + shift
        found = generative.separation_power(x, y, EDGES, splits=5)
        values.append(found.value)
        errors.append(found.error)
        floors.append(found.floor)
    ratio = math.sqrt(np.square(errors).mean()) / np.std(values, ddof=1)
    if shift:
        assert abs(ratio - 1) < 4 / math.sqrt(600)
    else:
        # 21 degrees of freedom: the spread of chi^2 is known to 5 %. The error is never below that
        # of no difference, which raises its mean by a little.
        assert 1 - 4 * 0.05 < ratio < 1.1 + 4 * 0.05
        spread = math.hypot(np.std(values), np.std(floors)) / math.sqrt(300)
        # Halves of the sample leave the outer bins emptier.
        assert abs(np.mean(floors) - np.mean(values)) < 4 * spread + 0.1 * np.mean(values)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1.0, np.nan], [1.0, 2.0], EDGES), "NaN or infinite"),
        (([1.0, 2.0], [1.0, 2.0], [1.0, 0.0]), "ascending edges"),
        ((np.ones((5, 2)), np.ones((5, 2)), EDGES), "one observable is wanted; got 2"),
    ],
)
def test_bad_input_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        generative.separation_power(*arguments)


def test_bad_options_are_named():
    x = np.full(10, 5.0)
    with pytest.raises(ValueError, match="'keep' or 'drop'"):
        generative.separation_power(x, x, EDGES, out_of_range="clip")
    with pytest.raises(ValueError, match="nothing lies between -2 and 2"):
        generative.separation_power(x, x, EDGES, out_of_range="drop")
    with pytest.raises(ValueError, match="1 of 2 values are NaN"):
        generative.histogram([1.0, np.nan], EDGES)
    with pytest.raises(ValueError, match="positive sum of weights"):
        generative.histogram([1.0], EDGES, [0.0])
