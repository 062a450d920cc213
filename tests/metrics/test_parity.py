"""The same numbers as scikit-learn and scipy, to 1e-12, with weights and ties."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.spatial.distance
import sklearn.calibration
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st

from hepgen import metrics

CLOSE = {"rtol": 1e-12, "atol": 1e-12}


@pytest.fixture(params=["unweighted", "weighted", "ties", "ties weighted"])
def sample(request):
    """Labels, scores in [0, 1] and weights of 2000 jets."""
    rng = np.random.default_rng(20240)
    labels = rng.random(2000) < 0.3
    scores = 1 / (1 + np.exp(-rng.normal(1.5 * labels - 0.7)))
    if "ties" in request.param:
        scores = np.round(scores, 1)
    weights = rng.exponential(size=2000) if "weighted" in request.param.split() else None
    return labels, scores, weights


@pytest.fixture(params=[False, True])
def several(request):
    """Class indices, softmax scores of four classes and weights of 1500 jets."""
    rng = np.random.default_rng(7)
    labels = rng.integers(0, 4, 1500)
    logits = rng.normal(size=(1500, 4)) + 1.2 * np.eye(4)[labels]
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return labels, scores, rng.exponential(size=1500) if request.param else None


def test_auc_is_that_of_scikit_learn(sample):
    labels, scores, weights = sample
    wanted = sklearn.metrics.roc_auc_score(labels, scores, sample_weight=weights)
    assert metrics.auc(labels, scores, weights).value == pytest.approx(wanted, abs=1e-12)


def test_the_roc_curve_is_that_of_scikit_learn(sample):
    labels, scores, weights = sample
    background, signal, thresholds = sklearn.metrics.roc_curve(
        labels, scores, sample_weight=weights, drop_intermediate=False
    )
    found = metrics.roc(labels, scores, weights)
    np.testing.assert_allclose(found.signal_efficiency, signal, **CLOSE)
    np.testing.assert_allclose(found.background_efficiency, background, **CLOSE)
    np.testing.assert_array_equal(found.thresholds, thresholds)


# No multiple of 1/n, so that the target lies between two points of the curve.
@pytest.mark.parametrize("target", [0.0987654, 0.3141593, 0.5101011, 0.7777777])
def test_efficiencies_at_a_target_are_interpolated_on_the_curve_of_scikit_learn(sample, target):
    labels, scores, weights = sample
    background, signal, _ = sklearn.metrics.roc_curve(
        labels, scores, sample_weight=weights, drop_intermediate=False
    )
    wanted = np.interp(target, signal, background)
    got = metrics.background_efficiency(labels, scores, target, weights).value
    assert got == pytest.approx(wanted, rel=1e-9)
    rejection = metrics.background_rejection(labels, scores, target, weights)
    assert rejection.value == pytest.approx(1 / got, rel=1e-12)
    swapped = metrics.signal_efficiency(labels, scores, target, weights).value
    assert swapped == pytest.approx(np.interp(target, background, signal), rel=1e-9)


def test_accuracy_is_that_of_scikit_learn(sample, several):
    labels, scores, weights = sample
    wanted = sklearn.metrics.accuracy_score(labels, scores >= 0.5, sample_weight=weights)
    assert metrics.accuracy(labels, scores, weights).value == pytest.approx(wanted, abs=1e-12)
    index, table, weights = several
    wanted = sklearn.metrics.accuracy_score(index, table.argmax(axis=1), sample_weight=weights)
    assert metrics.accuracy(index, table, weights).value == pytest.approx(wanted, abs=1e-12)


def test_log_loss_is_that_of_scikit_learn(sample, several):
    for labels, scores, weights in (sample, several):
        wanted = sklearn.metrics.log_loss(labels, scores, sample_weight=weights)
        found = metrics.log_loss(labels, scores, weights)
        assert found.value == pytest.approx(wanted, abs=1e-12)


def test_log_loss_of_a_wrong_certainty_is_that_of_scikit_learn():
    for kind in (np.float32, np.float64):
        scores = np.array([[1, 0], [0, 1], [0.5, 0.5]], dtype=kind)
        wanted = sklearn.metrics.log_loss([1, 1, 0], scores)
        assert metrics.log_loss([1, 1, 0], scores).value == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("normalise", ["true", "predicted", None])
def test_the_confusion_matrix_is_that_of_scikit_learn(several, normalise):
    labels, scores, weights = several
    wanted = sklearn.metrics.confusion_matrix(
        labels,
        scores.argmax(axis=1),
        sample_weight=weights,
        normalize={"predicted": "pred"}.get(normalise, normalise),
    )
    found = metrics.confusion_matrix(labels, scores, weights, normalise=normalise)
    np.testing.assert_allclose(found.values, wanted, **CLOSE)


@pytest.mark.parametrize("strategy", ["uniform", "quantile"])
def test_reliability_is_that_of_scikit_learn(strategy):
    rng = np.random.default_rng(3)
    scores = rng.random(1000)
    labels = rng.random(1000) < scores**1.3
    observed, predicted = sklearn.calibration.calibration_curve(
        labels, scores, n_bins=12, strategy=strategy
    )
    found = metrics.reliability(labels, scores, bins=12, strategy=strategy)
    np.testing.assert_allclose(found.observed, observed, **CLOSE)
    np.testing.assert_allclose(found.predicted, predicted, **CLOSE)


def test_one_against_the_rest_is_that_of_scikit_learn(several):
    labels, scores, weights = several
    found = metrics.one_vs_rest(metrics.auc, labels, scores, weights, classes="abcd")
    wanted = sklearn.metrics.roc_auc_score(
        labels, scores, multi_class="ovr", average="macro", sample_weight=weights
    )
    assert np.mean([estimate.value for estimate in found.values()]) == pytest.approx(
        wanted, abs=1e-12
    )


def test_one_against_one_is_the_auc_of_the_likelihood_ratio(several):
    labels, scores, weights = several
    found = metrics.one_vs_one(metrics.auc, labels, scores, weights, classes="abcd")
    assert set(found) == {(a, b) for a in "abcd" for b in "abcd" if a != b}
    chosen = (labels == 2) | (labels == 0)
    wanted = sklearn.metrics.roc_auc_score(
        labels[chosen] == 2,
        np.log(scores[chosen, 2] / scores[chosen, 0]),
        sample_weight=None if weights is None else weights[chosen],
    )
    assert found["c", "a"].value == pytest.approx(wanted, abs=1e-12)


def test_the_divergence_is_the_square_of_the_distance_of_scipy():
    rng = np.random.default_rng(5)
    first, second = rng.random((2, 30))
    second[4] = first[7] = first[8] = second[8] = 0
    wanted = scipy.spatial.distance.jensenshannon(first, second, base=2) ** 2
    assert metrics.jensen_shannon(first, second) == pytest.approx(wanted, abs=1e-12)
    assert metrics.jensen_shannon([1, 0], [0, 3]) == 1
    assert np.isnan(metrics.jensen_shannon([0, 0], [0, 3]))


scores_and_labels = st.lists(
    st.tuples(st.booleans(), st.integers(-3, 3), st.floats(0.125, 8)), min_size=2, max_size=40
).filter(lambda jets: len({jet[0] for jet in jets}) == 2)


@settings(max_examples=200)
@given(scores_and_labels)
def test_auc_is_that_of_scikit_learn_whatever_the_jets(jets):
    labels, scores, weights = (np.array(column) for column in zip(*jets, strict=True))
    wanted = sklearn.metrics.roc_auc_score(labels, scores, sample_weight=weights)
    assert metrics.auc(labels, scores, weights).value == pytest.approx(wanted, abs=1e-12)
    assert metrics.auc(labels, -scores, weights).value == pytest.approx(1 - wanted, abs=1e-12)
