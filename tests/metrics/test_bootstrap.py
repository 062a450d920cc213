"""Resampling: reproducible, paired, and quick."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hepgen import metrics
from hepgen.metrics.bootstrap import draws

RNG = np.random.default_rng(2)
LABELS = RNG.random(3000) < 0.4
SCORES = RNG.normal(1.5 * LABELS)
WEIGHTS = RNG.exponential(size=3000)


def test_the_draws_are_poisson_numbers_of_mean_one():
    """A chi-square of 65536 x 16 draws against the Poisson distribution; p < 1e-4 fails."""
    count = np.bincount(np.concatenate([draws(65536, 3, r) for r in range(16)]), minlength=6)
    observed = np.append(count[:5], count[5:].sum())
    probability = np.array([math.exp(-1) / math.factorial(k) for k in range(5)])
    probability = np.append(probability, 1 - probability.sum())
    expected = probability * observed.sum()
    assert np.sum((observed - expected) ** 2 / expected) < 25.7
    assert abs(np.corrcoef(draws(65536, 3, 0), draws(65536, 3, 1))[0, 1]) < 4 / 256


def test_a_seed_gives_the_same_replicas_and_another_seed_others():
    first, again, other = (
        metrics.replicas(metrics.auc, LABELS, SCORES, seed=seed, resamples=10) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.any(first == other)


def test_sorting_the_jets_first_changes_no_replica():
    """A keyword that is an array keeps the jets where they are; the result is the same."""

    def ordered(labels, scores, weights=None, extra=None):
        return metrics.auc(labels, scores, weights)

    plain = metrics.replicas(ordered, LABELS, SCORES, weights=WEIGHTS, resamples=8)
    kept = metrics.replicas(
        ordered, LABELS, SCORES, weights=WEIGHTS, resamples=8, extra=np.zeros(3000)
    )
    np.testing.assert_allclose(plain, kept, rtol=1e-13)


def test_the_value_is_that_of_the_jets_as_they_are():
    found = metrics.bootstrap(
        metrics.background_rejection, LABELS, SCORES, weights=WEIGHTS, signal_efficiency=0.5
    )
    wanted = metrics.background_rejection(LABELS, SCORES, 0.5, WEIGHTS)
    assert found.value == wanted.value
    # Each error is known to about 7 %.
    assert found.error == pytest.approx(wanted.error, rel=0.4)


def test_metrics_of_several_classes_and_of_arrays_are_resampled_too():
    labels = RNG.integers(0, 3, 600)
    scores = RNG.dirichlet(np.ones(3), 600)
    loss = metrics.bootstrap(metrics.log_loss, labels, scores, resamples=50)
    assert loss.error == pytest.approx(metrics.log_loss(labels, scores).error, rel=0.5)

    def matrix(labels, scores, weights=None):
        return metrics.confusion_matrix(labels, scores, weights).values

    assert metrics.replicas(matrix, labels, scores, resamples=5).shape == (5, 3, 3)


def test_the_difference_of_a_score_to_itself_is_zero_without_error():
    found = metrics.bootstrap_difference(metrics.auc, LABELS, SCORES, 2 * SCORES, resamples=5)
    assert (found.value, found.error) == (0, 0)


def test_replicas_without_background_make_the_error_infinite():
    scores = np.where(LABELS, 1.0, 0.0)
    scores[np.flatnonzero(~LABELS)[0]] = 2.0
    found = metrics.bootstrap(metrics.background_rejection, LABELS, scores, signal_efficiency=0.3)
    assert math.isfinite(found.value)
    assert math.isinf(found.error)
    with pytest.raises(ValueError, match="at least two resamples"):
        metrics.bootstrap(metrics.auc, LABELS, SCORES, resamples=1)


def test_scores_are_sorted_once_for_all_resamples():
    """What a hundred resamples of a million jets owe it to that they take 2.5 s of one core."""
    seen = []

    def watched(labels, scores, **keywords):
        seen.append(scores)
        return metrics.background_rejection(labels, scores, **keywords)

    metrics.bootstrap(watched, LABELS, SCORES, resamples=10, signal_efficiency=0.3)
    assert len(seen) == 11
    # Once for the value, as they come; all resamples have the same memory, and so no copies.
    assert seen[0] is SCORES
    assert np.all(np.diff(seen[1]) <= 0)
    assert all(one is seen[1] for one in seen[1:])
