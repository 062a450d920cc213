"""Frechet distances: jetnet's numbers, closed forms, errors that are the spread of experiments."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import scipy.optimize

from hepgen.metrics import generative

STORED = Path(__file__).parents[2] / "reference" / "generative" / "jetnet_distances.json"
REFERENCE = json.loads(STORED.read_text(encoding="utf-8"))["values"]


def jetnet_script():
    spec = importlib.util.spec_from_file_location("jetnet_distances", STORED.with_suffix(".py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SCRIPT = jetnet_script()


@pytest.fixture(params=sorted(SCRIPT.CASES), scope="module")
def case(request):
    x, y = SCRIPT.sample(request.param)
    stored = REFERENCE[request.param]
    assert x.sum() == pytest.approx(stored["sums"][0], rel=1e-9)
    assert y.sum() == pytest.approx(stored["sums"][1], rel=1e-9)
    *_, smallest, largest, _ = SCRIPT.CASES[request.param]
    batches = {"min_samples": smallest, "max_samples": largest}
    found = generative.fpd(x, y, estimator="jetnet", splits=0, **batches)
    return x, y, batches, stored, found


def test_fpd_is_the_least_squares_of_the_means_that_jetnet_found(case):
    _, _, batches, stored, found = case
    sizes = (1 / np.linspace(1 / batches["min_samples"], 1 / batches["max_samples"], 10)).astype(
        "int32"
    )
    # With the slope in units of the largest 1/N, so that both columns are of one size.
    columns = np.stack([np.ones(10), sizes[0] / sizes], axis=1)
    best, residual = scipy.optimize.nnls(columns, stored["means"])
    assert found.value == pytest.approx(best[0], rel=1e-9, abs=1e-12)
    covariance = np.linalg.inv(columns.T @ columns) * residual**2 / 8
    assert found.error == pytest.approx(np.sqrt(covariance[0, 0]), rel=1e-6)


def test_fpd_is_that_of_jetnet_up_to_where_its_fit_stops(case):
    _, _, batches, stored, found = case
    value, error = stored["fpd"]
    # curve_fit is an iteration within bounds: of "the same law" it is 5.5e-6 (1 %) off the minimum,
    # of the others less than 1e-6.
    means = np.array(stored["means"])
    sizes = (1 / np.linspace(1 / batches["min_samples"], 1 / batches["max_samples"], 10)).astype(
        "int32"
    )
    again = scipy.optimize.curve_fit(
        lambda x, a, b: a + b * x, 1 / sizes, means, bounds=([0, 0], [np.inf, np.inf])
    )
    stopped_short = abs(again[0][0] - found.value)
    assert stopped_short < 6e-6
    assert found.value == pytest.approx(value, rel=0, abs=stopped_short + 1e-8)
    assert found.error == pytest.approx(error, rel=1e-3, abs=1e-6)


def test_the_distance_of_moments_is_that_of_jetnet(case):
    x, y, _, stored, _ = case
    moments = x.mean(axis=0), np.cov(x, rowvar=False), y.mean(axis=0), np.cov(y, rowvar=False)
    # jetnet's root of a product of matrices of condition 1e10 is itself good to 2e-7.
    assert generative.frechet_distance(*moments) == pytest.approx(stored["frechet"], rel=1e-6)


def test_the_distance_is_that_of_the_matrix_root_of_scipy():
    rng = np.random.default_rng(3)
    first, second = (np.cov(rng.normal(size=(9, 30))) for _ in range(2))
    means = rng.normal(size=(2, 9))
    root = scipy.linalg.sqrtm(first @ second)
    wanted = (
        np.square(means[0] - means[1]).sum() + np.trace(first) + np.trace(second)
    ) - 2 * np.trace(root).real
    found = generative.frechet_distance(means[0], first, means[1], second)
    assert found == pytest.approx(wanted, rel=1e-10)


def test_singular_covariances_need_no_offset():
    line = np.diag([1.0, 0.0, 4.0])
    other = np.diag([0.0, 9.0, 1.0])
    # Without correlation the distance is the sum of (difference of standard deviations)^2.
    assert generative.frechet_distance(np.zeros(3), line, np.zeros(3), other) == pytest.approx(11.0)


def test_one_feature_has_the_closed_form_of_two_gaussians():
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=40_000), 0.5 + 1.5 * rng.normal(size=40_000)
    found = generative.fpd(x, y, scale=None, splits=0)
    # (0.5)^2 + (1.5 - 1)^2; within four sigma, which fails once in 16 000 seeds.
    assert abs(found.value - 0.5) < 4 * found.error
    assert found.error < 0.02


def test_real_samples_have_an_unbiased_distance_of_zero_and_a_biased_one_at_the_floor():
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(2, 2000, 30))
    unbiased = generative.fpd(x, y)
    assert abs(unbiased.value) < 4 * unbiased.error
    assert abs(unbiased.floor) < 4 * unbiased.error
    plain = generative.frechet_gaussian_distance(x, y)
    assert plain.value > 5 * plain.error
    assert abs(plain.value - plain.floor) < 4 * plain.error


def test_a_second_reference_sample_gives_the_floor_too():
    rng = np.random.default_rng(6)
    x, y, more = rng.normal(size=(3, 1500, 10))
    found = generative.frechet_gaussian_distance(x, y + 0.2, other=more)
    assert found.value > 5 * found.floor
    alone = generative.frechet_gaussian_distance(x, y + 0.2)
    assert found.floor == pytest.approx(alone.floor, rel=0.5)


def test_weights_give_what_the_repetition_of_rows_gives():
    rng = np.random.default_rng(7)
    x, y = rng.normal(size=(2, 600, 3))
    counts = rng.integers(1, 4, 600)
    weighted = generative.frechet_gaussian_distance(x, y, weights=counts, splits=0)
    repeated = generative.frechet_gaussian_distance(x, np.repeat(y, counts, axis=0), splits=0)
    # The covariance of weights has another normalisation, 1/n_eff instead of 1/n.
    assert weighted.value == pytest.approx(repeated.value, rel=0.05)
    assert weighted.error > repeated.error


def test_right_weights_bring_the_distance_to_zero():
    rng = np.random.default_rng(8)
    x, y = rng.normal(size=(20_000, 2)), rng.normal(size=(20_000, 2)) + np.array([0.3, 0.0])
    ratio = np.exp(-0.3 * y[:, 0] + 0.045)
    before = generative.fpd(x, y, scale=None, splits=0)
    after = generative.fpd(x, y, weights=ratio, scale=None, splits=0)
    assert before.value > 10 * before.error
    assert abs(after.value) < 4 * after.error


@pytest.mark.slow
def test_errors_are_the_spread_of_experiments():
    """Pulls of 300 experiments; 4 sigma of the mean and of the width: 1 in 8000."""
    rng = np.random.default_rng(9)
    mixing = rng.normal(size=(6, 6))
    covariance = mixing @ mixing.T
    shift = np.full(6, 0.4)
    truth = generative.frechet_distance(np.zeros(6), covariance, shift, covariance * 1.21)
    pulls, null = [], []
    for _ in range(300):
        x, y, z = (rng.normal(size=(1000, 6)) @ mixing.T for _ in range(3))
        found = generative.fpd(x, 1.1 * y + shift, scale=None, splits=0)
        pulls.append((found.value - truth) / found.error)
        same = generative.fpd(x, z, scale=None, splits=0)
        null.append((same.value, same.error))
    # Student's t of 19 degrees of freedom is 6 % wider than a normal distribution.
    assert abs(np.mean(pulls)) < 4 / np.sqrt(300)
    assert abs(np.std(pulls) - 1.06) < 4 * 1.06 / np.sqrt(600)
    # Where there is no difference the distance is a sum of squares, of which the jackknife expects
    # the spread to be sqrt(2) times larger than it is. The spread of 300 squares is known to 11 %.
    value, error = np.array(null).T
    assert abs(value.mean()) < 4 * value.std() / np.sqrt(300)
    ratio = np.sqrt(np.square(error).mean()) / value.std()
    assert abs(ratio / np.sqrt(2) - 1) < 4 * 0.11


def test_small_samples_get_smaller_batches_and_a_warning():
    x, y = np.random.default_rng(0).normal(size=(2, 500, 3))
    with pytest.warns(UserWarning, match="batches of 200 to 500"):
        found = generative.fpd(x, y, estimator="jetnet", splits=1)
    assert found.value >= 0
    assert found.floor >= 0


BAD = {
    "a NaN": ({"generated": np.array([[1.0, np.nan]] * 50)}, "50 of 50 rows have NaN.*columns"),
    "other columns": ({"generated": np.ones((50, 3))}, "reference has 2 features, generated has 3"),
    "too few rows": ({"generated": np.ones((5, 2))}, "at least 40 rows are needed; got 5"),
    "a negative weight": ({"weights": -np.ones(50)}, "50 negative ones"),
    "weights of another length": ({"weights": np.ones(3)}, "50 jets against 3"),
    "an unknown estimator": ({"estimator": "mean"}, "'unbiased' and 'jetnet'"),
    "weights for jetnet": ({"estimator": "jetnet", "weights": np.ones(50)}, "knows no weights"),
    "batches out of order": ({"estimator": "jetnet", "min_samples": 90_000}, "90000 to 50000"),
    "one block": ({"blocks": 1}, "at least two blocks"),
    "an unknown scale": ({"scale": "mean"}, "no scale 'mean'"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_named(name):
    keywords, message = BAD[name]
    rng = np.random.default_rng(1)
    arguments = {"reference": rng.normal(size=(60, 2)), "generated": rng.normal(size=(50, 2))}
    with pytest.raises(ValueError, match=message):
        generative.fpd(**(arguments | keywords))


def test_moments_that_do_not_go_together_are_named():
    with pytest.raises(ValueError, match=r"got shapes \(2,\), \(3,\), \(2, 2\), \(3, 3\)"):
        generative.frechet_distance(np.zeros(2), np.eye(2), np.zeros(3), np.eye(3))
    with pytest.raises(ValueError, match="NaN or infinite"):
        generative.frechet_distance([np.nan], [[1.0]], [0.0], [[1.0]])
