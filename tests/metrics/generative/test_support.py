"""The birthday paradox tells how often a generator repeats itself."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.spatial.distance

from hepgen.metrics import generative


def test_pairs_and_radius_are_those_of_all_distances():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(400, 3)), rng.normal(size=(350, 3))
    found = generative.support_ratio(x, y, pairs=50, scale=None)
    assert isinstance(found, generative.Support)
    (radius,) = found.radius
    own, others = scipy.spatial.distance.pdist(x), scipy.spatial.distance.pdist(y)
    assert (own < radius).sum() == found.close_reference == 50
    close = (others < radius).sum() * len(own) / len(others)
    assert found.close_generated == pytest.approx(close)
    assert found.ratio.value == pytest.approx(50 / close)


def test_showers_that_are_alike_in_both_samples_make_no_difference():
    # Empty showers, say: 780 pairs at no distance, of which 400 are asked for.
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(300, 3)), rng.normal(size=(300, 3))
    x[:40] = y[:40] = 0
    found = generative.support_ratio(x, y, pairs=400)
    assert found.close_reference == found.close_generated == 780
    assert found.ratio.value == 1


def test_a_generator_with_few_showers_has_a_small_support():
    rng = np.random.default_rng(2)
    x = rng.normal(size=(2000, 5))
    shapes = rng.normal(size=(5000, 5))
    y = shapes[rng.integers(0, len(shapes), 2000)] + 1e-4 * rng.normal(size=(2000, 5))
    found = generative.support_ratio(x, y, pairs=100)
    # Twice the same among 2000 draws of 5000: 400 pairs are close, beside 100 that always are.
    wanted = 100 / (100 + 2000 * 1999 / 2 / 5000)
    assert found.ratio.value == pytest.approx(wanted, rel=0.25)
    assert abs(found.ratio.value - 1) > 10 * found.ratio.error
    assert found.ratio.floor == pytest.approx(1, abs=0.5)


@pytest.mark.slow
def test_errors_are_the_spread_of_experiments():
    """Logarithms of 200 ratios of real samples: their spread is known to 5 %; 4 sigma."""
    rng = np.random.default_rng(3)
    for pairs in (30, 1000):
        logarithms, errors = [], []
        for _ in range(200):
            x, y = rng.normal(size=(300, 3)), rng.normal(size=(400, 3))
            found = generative.support_ratio(x, y, pairs=pairs, splits=0, scale=None).ratio
            logarithms.append(math.log(found.value))
            errors.append(found.error / found.value)
        ratio = math.sqrt(np.square(errors).mean()) / np.std(logarithms, ddof=1)
        assert abs(ratio - 1) < 4 / math.sqrt(400)


def test_groups_keep_energies_apart():
    rng = np.random.default_rng(4)
    energy = rng.integers(0, 3, 900), rng.integers(0, 3, 900)
    x, y = (rng.normal(size=(900, 3)) * 10.0 ** one[:, None] for one in energy)
    found = generative.support_ratio(x, y, groups=energy, pairs=300, scale=None)
    assert len(found.radius) == 3
    assert found.radius[2] > 50 * found.radius[0]
    assert found.close_reference == pytest.approx(300, abs=2)
    assert abs(found.ratio.value - 1) < 4 * found.ratio.error
    assert found.ratio.floor is None


def test_unit_weights_change_nothing_and_heavy_ones_count_as_repeats():
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(2, 500, 3))
    plain = generative.support_ratio(x, y)
    weighted = generative.support_ratio(x, y, weights=np.full(500, 2.0))
    assert weighted.ratio.value == pytest.approx(plain.ratio.value)
    assert weighted.ratio.error == pytest.approx(plain.ratio.error)


def test_no_close_pair_gives_a_lower_limit():
    rng = np.random.default_rng(6)
    x = rng.normal(size=(200, 3))
    found = generative.support_ratio(x, 1e4 * rng.normal(size=(200, 3)), pairs=23, scale=None)
    assert math.isinf(found.ratio.value)
    assert found.ratio.lower_limit == pytest.approx(10, rel=0.01)


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"pairs": 0}, "between 1 and 22 close pairs"),
        ({"groups": (np.zeros(9), np.zeros(10))}, r"got shapes \(9,\) and \(10,\)"),
        ({"groups": (np.arange(10), np.zeros(10))}, "group 0 has 1 rows of the reference"),
        ({"groups": (np.repeat([0, 1], 5), np.zeros(10)), "pairs": 2}, "group 1 has 0 generated"),
    ],
)
def test_bad_input_is_named(keywords, message):
    x = np.random.default_rng(7).normal(size=(2, 10, 2))
    with pytest.raises(ValueError, match=message):
        generative.support_ratio(x[0], x[1], **keywords)
