"""Distances by kernels: jetnet's numbers, brute force over pairs, closed forms, errors."""

from __future__ import annotations

import importlib.util
import json
import math
from pathlib import Path

import numpy as np
import pytest
import scipy.spatial.distance
import scipy.stats
import sklearn.metrics.pairwise

from hepgen.metrics import generative
from hepgen.metrics.generative import kernel_sums

STORED = Path(__file__).parents[2] / "reference" / "generative" / "jetnet_distances.json"
REFERENCE = json.loads(STORED.read_text(encoding="utf-8"))["values"]


def jetnet_script():
    spec = importlib.util.spec_from_file_location("jetnet_distances", STORED.with_suffix(".py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SCRIPT = jetnet_script()


@pytest.mark.parametrize("name", sorted(SCRIPT.CASES))
def test_kpd_is_that_of_jetnet(name):
    x, y = SCRIPT.sample(name)
    found = generative.kpd(x, y, estimator="jetnet", batch_size=SCRIPT.CASES[name][-1], splits=0)
    value, error = REFERENCE[name]["kpd"]
    assert found.value == pytest.approx(value, rel=1e-6, abs=1e-12)
    assert found.error == pytest.approx(error, rel=1e-6, abs=1e-12)


def brute(kernel, x, y, w=None):
    """The definition, with all pairs in memory."""
    w = np.ones(len(y)) if w is None else w
    products = np.outer(w, w)
    xx, yy, xy = kernel(x, x), kernel(y, y) * products, kernel(x, y) * w
    first = (xx.sum() - np.trace(xx)) / (len(x) * (len(x) - 1))
    second = (yy.sum() - np.trace(yy)) / (products.sum() - np.trace(products))
    return first + second - 2 * xy.sum() / (len(x) * w.sum())


@pytest.mark.parametrize("weighted", [False, True])
def test_all_pairs_enter_once(weighted, monkeypatch):
    # Blocks of 16 rows, so that their borders are crossed.
    monkeypatch.setattr(kernel_sums, "BLOCK", 64)
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(130, 4)), 1.2 * rng.normal(size=(101, 4)) + 0.3
    w = rng.exponential(size=101) if weighted else None
    keywords = {"weights": w, "splits": 0}
    distance = scipy.spatial.distance.cdist
    found = generative.energy_distance(x, y, scale=None, **keywords)
    assert found.value == pytest.approx(brute(lambda a, b: -distance(a, b), x, y, w), rel=1e-9)
    found = generative.maximum_mean_discrepancy(x, y, width=1.7, scale=None, **keywords)
    rbf = sklearn.metrics.pairwise.rbf_kernel
    wanted = brute(lambda a, b: rbf(a, b, gamma=1 / (2 * 1.7**2)), x, y, w)
    assert found.value == pytest.approx(wanted, rel=1e-9)
    found = generative.kpd(x, y, scale=None, **keywords)
    poly = sklearn.metrics.pairwise.polynomial_kernel
    wanted = brute(lambda a, b: poly(a, b, degree=4, gamma=0.25, coef0=1), x, y, w)
    assert found.value == pytest.approx(wanted, rel=1e-9)


def test_the_energy_distance_is_that_of_scipy_without_its_pairs_of_equal_rows():
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=400), rng.normal(size=300) + 0.5
    root = scipy.stats.energy_distance(x, y)
    # scipy divides the sums over pairs by n^2 where n (n - 1) makes them unbiased.
    within = [scipy.spatial.distance.pdist(one[:, None]).mean() / len(one) for one in (x, y)]
    found = generative.energy_distance(x, y, scale=None, splits=0)
    assert found.value == pytest.approx(root**2 - sum(within), rel=1e-9)


def test_two_gaussians_have_their_closed_forms():
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=4000), rng.normal(size=4000) + 1.0
    # E|N(m, 2)| = 2 exp(-m^2/4) / sqrt(pi) + m erf(m/2).
    shifted = 2 * math.exp(-0.25) / math.sqrt(math.pi) + math.erf(0.5)
    wanted = 2 * shifted - 4 / math.sqrt(math.pi)
    found = generative.energy_distance(x, y, scale=None)
    assert abs(found.value - wanted) < 4 * found.error
    assert found.error < 0.1 * wanted
    assert abs(found.floor) < 0.01
    # E exp(-d^2 / 2 h^2) of d ~ N(m, 2) with h = 1.
    wanted = 2 / math.sqrt(3) * (1 - math.exp(-1 / 6))
    found = generative.maximum_mean_discrepancy(x, y, width=1.0, scale=None)
    assert abs(found.value - wanted) < 4 * found.error
    assert abs(found.floor) < 0.01


def test_right_weights_bring_the_distance_to_zero():
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(3000, 2)), rng.normal(size=(3000, 2)) + np.array([0.4, 0.0])
    ratio = np.exp(-0.4 * y[:, 0] + 0.08)
    before = generative.energy_distance(x, y, splits=0)
    after = generative.energy_distance(x, y, weights=ratio, splits=0)
    assert before.value > 5 * before.error
    assert abs(after.value) < 4 * after.error


@pytest.mark.slow
@pytest.mark.parametrize("shift", [0.0, 0.3])
def test_errors_are_the_spread_of_experiments(shift):
    """200 experiments: at 4 sigma a right error fails once in 16 000 seeds."""
    rng = np.random.default_rng(5)
    found = []
    for _ in range(200):
        x, y = rng.normal(size=(400, 3)), rng.normal(size=(400, 3)) + shift
        estimate = generative.energy_distance(x, y, scale=None, splits=0)
        found.append((estimate.value, estimate.error))
    value, error = np.array(found).T
    ratio = np.sqrt(np.square(error).mean()) / value.std(ddof=1)
    if shift:
        assert abs(ratio - 1) < 4 / math.sqrt(400)
    else:
        # Where there is no difference the distance is a sum of squares, of which the jackknife
        # expects the spread to be sqrt(2) times larger. The spread of 200 squares is known to 13 %.
        assert abs(value.mean()) < 4 * value.std() / math.sqrt(200)
        assert abs(ratio / math.sqrt(2) - 1) < 4 * 0.13


def test_small_samples_get_smaller_batches_and_a_warning():
    x, y = np.random.default_rng(0).normal(size=(2, 300, 3))
    with pytest.warns(UserWarning, match="of 300 rows batches of 150"):
        found = generative.kpd(x, y, estimator="jetnet")
    assert found.error > 0
    assert abs(found.floor) < 1


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"estimator": "median"}, "'unbiased' and 'jetnet'"),
        ({"estimator": "jetnet", "weights": np.ones(50)}, "knows no weights"),
        ({"estimator": "jetnet", "batch_size": 1}, "at least two rows"),
        ({"weights": np.zeros(50)}, "a sum of 0"),
        ({"generated": np.full((50, 2), np.inf)}, "NaN or infinite"),
        ({"reference": np.ones((30, 2))}, "at least 40 rows are needed; got 30"),
    ],
)
def test_bad_input_is_named(keywords, message):
    x = np.random.default_rng(0).normal(size=(2, 50, 2))
    arguments = {"reference": x[0], "generated": x[1]} | keywords
    with pytest.raises(ValueError, match=message):
        generative.kpd(**arguments)


def test_a_width_of_zero_is_named():
    x = np.ones((50, 2))
    with pytest.raises(ValueError, match="a positive width"):
        generative.maximum_mean_discrepancy(x, x)
