"""The quoted errors are the spread of repeated experiments.

Each test repeats an experiment R times with a fixed seed. The pulls (value - truth) / error have a
mean of 0 +- 1/sqrt(R) and a root mean square of 1 +- 1/sqrt(2 R); at four sigma a right error fails
once in 16 000 seeds.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from hepgen import metrics

REPEATS = 400
SIGMA = 4.0


def experiment(rng, jets=2000, weighted=False):
    """Two Gaussians, unequally many of each class; optionally weights of both signs."""
    labels = rng.random(jets) < 0.35
    scores = rng.normal(1.2 * labels)
    if not weighted:
        return labels, scores, None
    # Independent of the score, 1 on average, a tenth negative.
    return labels, scores, rng.choice([-1.0, 0.5, 2.0], p=[0.1, 0.4, 0.5], size=jets) / 1.1


def pulls(metric, truth, weighted, **keywords):
    rng = np.random.default_rng(99)
    found = []
    for _ in range(REPEATS):
        labels, scores, weights = experiment(rng, weighted=weighted)
        estimate = metric(labels, scores, weights=weights, **keywords)
        found.append((estimate.value - truth) / estimate.error)
    return np.array(found)


def assert_standard(pull, bias=0.0):
    """Mean 0 (within a stated bias of the estimator) and root mean square 1."""
    assert abs(pull.mean()) < SIGMA / math.sqrt(len(pull)) + bias
    assert abs(pull.std() - 1) < SIGMA / math.sqrt(2 * len(pull)) + bias


def normal_tail(x):
    return math.erfc(x / math.sqrt(2)) / 2


def cut_for(efficiency):
    low, high = -10.0, 10.0
    while high - low > 1e-12:
        middle = (low + high) / 2
        low, high = (middle, high) if normal_tail(middle - 1.2) > efficiency else (low, middle)
    return low


CASES = {
    "auc": (metrics.auc, 1 - normal_tail(1.2 / math.sqrt(2)), {}),
    "accuracy": (
        metrics.accuracy,
        0.35 * normal_tail(0.5 - 1.2) + 0.65 * (1 - normal_tail(0.5)),
        {},
    ),
    "background efficiency at 50 %": (
        metrics.background_efficiency,
        normal_tail(cut_for(0.5)),
        {"signal_efficiency": 0.5},
    ),
    # Few pass here, and the cut is as uncertain as the count.
    "background efficiency at 90 %": (
        metrics.background_efficiency,
        normal_tail(cut_for(0.9)),
        {"signal_efficiency": 0.9},
    ),
    "signal efficiency": (
        metrics.signal_efficiency,
        normal_tail(1.2816 - 1.2),
        {"background_efficiency": 0.1},
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "weights of both signs"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_quoted_errors_cover(case, weighted):
    metric, truth, keywords = CASES[case]
    assert_standard(pulls(metric, truth, weighted, **keywords), bias=0.03)


@pytest.mark.slow
@pytest.mark.parametrize("case", ["auc", "background efficiency at 50 %"])
def test_bootstrapped_errors_cover(case):
    metric, truth, keywords = CASES[case]

    def bootstrapped(labels, scores, weights=None, **keywords):
        return metrics.bootstrap(
            metric, labels, scores, weights=weights, resamples=60, seed=1, **keywords
        )

    # An error known to 9 % widens the pulls by 0.4 %.
    assert_standard(pulls(bootstrapped, truth, False, **keywords), bias=0.03)


@pytest.mark.slow
def test_the_error_of_a_difference_covers_where_two_taggers_share_the_jets():
    rng = np.random.default_rng(5)
    differences, single = [], []
    for _ in range(REPEATS):
        labels, scores, _ = experiment(rng, jets=1500)
        other = scores + rng.normal(size=1500)
        found = metrics.bootstrap_difference(
            metrics.auc, labels, scores, other, resamples=60, seed=2
        )
        truth = (1 - normal_tail(1.2 / math.sqrt(2))) - (1 - normal_tail(1.2 / 2))
        differences.append((found.value - truth) / found.error)
        single.append(
            math.hypot(metrics.auc(labels, scores).error, metrics.auc(labels, other).error)
            / found.error
        )
    assert_standard(np.array(differences), bias=0.03)
    assert np.mean(single) > 1.2


def test_the_lower_limit_of_a_rejection_covers():
    """With eB at the limit of n = 200, none passes in 10 % of 2000 experiments (5 sigma: 0.034)."""
    rng = np.random.default_rng(8)
    labels = np.arange(300) < 100
    limit = metrics.background_rejection(labels, labels.astype(float), 0.5).lower_limit
    none = rng.binomial(200, 1 / limit, size=2000) == 0
    assert abs(none.mean() - 0.1) < 5 * math.sqrt(0.09 / 2000)


def test_the_calibration_floor_is_what_perfect_calibration_gives():
    rng = np.random.default_rng(4)
    values, floors = [], []
    for _ in range(200):
        scores = rng.random(1000)
        found = metrics.expected_calibration_error(rng.random(1000) < scores, scores)
        values.append(found.value)
        floors.append(found.floor)
    assert np.mean(floors) == pytest.approx(
        np.mean(values), abs=5 * np.std(values) / math.sqrt(200)
    )


@pytest.mark.parametrize("weighted", [False, True])
def test_the_sculpting_floor_is_what_a_random_cut_gives(weighted):
    rng = np.random.default_rng(6)
    values, floors = [], []
    for _ in range(60):
        labels = rng.random(4000) < 0.3
        weights = rng.exponential(size=4000) if weighted else None
        mass = rng.exponential(80, 4000)
        scores = rng.random(4000)
        found = metrics.mass_sculpting(
            labels, scores, mass, 0.2, weights, bins=20, resamples=100, seed=1
        )
        values.append(found.value)
        floors.append(found.floor)
    assert np.mean(floors) == pytest.approx(np.mean(values), abs=5 * np.std(values) / math.sqrt(60))


def test_a_cut_on_the_mass_itself_sculpts():
    rng = np.random.default_rng(6)
    labels = rng.random(20000) < 0.5
    mass = np.where(labels, rng.normal(172, 15, 20000), rng.exponential(80, 20000))
    free = metrics.mass_sculpting(labels, rng.normal(2.0 * labels), mass)
    bound = metrics.mass_sculpting(labels, -np.abs(mass - 172), mass)
    assert free.value < 2 * free.floor
    assert bound.value > 20 * bound.floor
    assert 0 < bound.error < 0.1 * bound.value
    edges = metrics.mass_edges(mass, 10)
    assert len(edges) == 11
    wider = metrics.mass_sculpting(labels, -np.abs(mass - 172), mass, bins=edges)
    assert 0 < wider.value < 1
    with pytest.raises(ValueError, match="masses of the background are NaN"):
        metrics.mass_sculpting(labels, mass, np.full(20000, np.nan), bins=edges)
    with pytest.raises(ValueError, match="masses for 20000 scores"):
        metrics.mass_sculpting(labels, mass, mass[1:])
