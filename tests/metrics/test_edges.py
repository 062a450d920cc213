"""What the metrics do with ties, one class, NaN, negative weights and too few jets."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hepgen import metrics

RNG = np.random.default_rng(11)
LABELS = RNG.random(500) < 0.5
SCORES = RNG.normal(LABELS * 1.5)
WEIGHTS = RNG.exponential(size=500)
OF_TWO_CLASSES = [
    metrics.auc,
    metrics.roc,
    metrics.background_efficiency,
    metrics.background_rejection,
    metrics.signal_efficiency,
    metrics.threshold,
]
ALL = [*OF_TWO_CLASSES, metrics.accuracy]


def test_equal_scores_are_an_auc_of_one_half():
    found = metrics.auc(LABELS, np.zeros(500))
    assert found.value == 0.5
    assert metrics.background_efficiency(LABELS, np.zeros(500), 0.3).value == pytest.approx(0.3)


def test_a_perfect_score_has_area_one_and_a_rejection_with_a_lower_limit():
    assert metrics.auc(LABELS, LABELS.astype(float)) == metrics.Estimate(1.0, 0.0)
    found = metrics.background_rejection(LABELS, LABELS.astype(float), 0.3)
    background = int((~LABELS).sum())
    assert math.isinf(found.value)
    assert math.isnan(found.error)
    # With an efficiency at the limit, none of the background passes in 10 % of experiments.
    assert (1 - 1 / found.lower_limit) ** background == pytest.approx(0.1, rel=1e-9)
    assert metrics.background_efficiency(LABELS, LABELS.astype(float), 0.3).value == 0


@pytest.mark.parametrize("metric", OF_TWO_CLASSES, ids=lambda metric: metric.__name__)
def test_one_class_alone_is_an_error_that_says_so(metric):
    with pytest.raises(ValueError, match=r"needs signal and background.*got 500 of signal and 0"):
        metric(np.ones(500), SCORES)


@pytest.mark.parametrize("metric", ALL, ids=lambda metric: metric.__name__)
def test_nan_scores_are_an_error_that_counts_them(metric):
    scores = SCORES.copy()
    scores[[3, 77]] = np.nan
    with pytest.raises(ValueError, match="2 of 500 jets have NaN scores"):
        metric(LABELS, scores)


@pytest.mark.parametrize("metric", ALL, ids=lambda metric: metric.__name__)
def test_wrong_lengths_and_labels_are_errors(metric):
    with pytest.raises(ValueError, match="500 jets against 499"):
        metric(LABELS, SCORES[1:])
    with pytest.raises(ValueError, match="weights differ in length"):
        metric(LABELS, SCORES, weights=WEIGHTS[1:])
    with pytest.raises(ValueError, match=r"labels are 0 .* or 1 .*got \[2\] in 500 of 500"):
        metric(np.full(500, 2), SCORES)
    with pytest.raises(ValueError, match="no jet"):
        metric([], [])
    with pytest.raises(ValueError, match="1 of 500 weights are NaN or infinite"):
        metric(LABELS, SCORES, weights=np.where(np.arange(500) == 4, np.inf, 1.0))


def test_unscored_jets_are_left_out_and_counted():
    scores = SCORES.copy()
    scores[[3, 77]] = np.nan
    kept, labels, weights, dropped = metrics.drop_unscored(scores, LABELS, WEIGHTS)
    assert (len(kept), dropped) == (498, 2)
    wanted = metrics.auc(np.delete(LABELS, [3, 77]), np.delete(SCORES, [3, 77]))
    assert metrics.auc(labels, kept) == wanted
    assert len(weights) == 498
    table = np.stack([scores, -scores], axis=1)
    assert metrics.drop_unscored(table)[-1] == 2


def test_an_efficiency_out_of_range_is_an_error():
    for target in (0, -0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match=r"an efficiency to reach is in \(0, 1\]"):
            metrics.background_rejection(LABELS, SCORES, target)


@pytest.mark.parametrize("target", [0.1, 0.3, 0.5, 1.0])
def test_the_threshold_is_the_tightest_cut_that_keeps_the_signal(target):
    cut = metrics.threshold(LABELS, SCORES, target, WEIGHTS)
    signal, weights = SCORES[LABELS], WEIGHTS[LABELS]
    assert weights[signal >= cut].sum() >= target * weights.sum() * (1 - 1e-12)
    assert weights[signal > cut].sum() < target * weights.sum()


def test_unit_weights_are_no_weights():
    for metric in (metrics.auc, metrics.background_rejection, metrics.accuracy):
        bare, unit = metric(LABELS, SCORES), metric(LABELS, SCORES, weights=np.ones(500))
        assert (bare.value, bare.error) == pytest.approx((unit.value, unit.error), rel=1e-12)


def test_a_scale_of_the_weights_changes_nothing():
    for metric in (metrics.auc, metrics.background_rejection, metrics.accuracy):
        one, other = (metric(LABELS, SCORES, weights=scale * WEIGHTS) for scale in (1, 1e-4))
        assert (one.value, one.error) == pytest.approx((other.value, other.error), rel=1e-9)


def test_jets_that_cancel_change_no_value():
    """A pair of jets of equal score and opposite weight is nothing, as in NLO generators."""
    labels = np.concatenate([LABELS, LABELS[:100], LABELS[:100]])
    scores = np.concatenate([SCORES, SCORES[:100] + 0.01, SCORES[:100] + 0.01])
    weights = np.concatenate([WEIGHTS, np.full(100, 0.7), np.full(100, -0.7)])
    for metric in (metrics.auc, metrics.accuracy):
        wanted, got = (
            metric(LABELS, SCORES, weights=WEIGHTS),
            metric(labels, scores, weights=weights),
        )
        assert got.value == pytest.approx(wanted.value, abs=1e-12)
        assert got.error > wanted.error
    for target in (0.3, 0.5):
        wanted = metrics.background_efficiency(LABELS, SCORES, target, WEIGHTS)
        got = metrics.background_efficiency(labels, scores, target, weights)
        assert got.value == pytest.approx(wanted.value, abs=1e-9)


def test_with_negative_weights_the_tightest_cut_that_reaches_the_target_counts():
    labels = np.array([1, 0, 1, 1, 0, 1])
    scores = np.array([6.0, 5, 4, 3, 2, 1])
    weights = np.array([2.0, 1, -1, 1, 1, 2])
    # Signal passing: 2, 2, 1, 2, 2, 4 of 4: 40 % is reached within the first jet already.
    found = metrics.roc(labels, scores, weights)
    np.testing.assert_allclose(found.signal_efficiency, [0, 0.5, 0.5, 0.25, 0.5, 0.5, 1])
    assert found.threshold_at(0.4) == 6.0
    assert found.background_at(0.4)[0] == 0
    assert (found.signal_jets, found.background_jets) == pytest.approx((1.6, 2))


def test_an_efficiency_is_binomial():
    found = metrics.efficiency([1, 0, 0, 0])
    assert (found.value, found.error) == pytest.approx((0.25, math.sqrt(0.25 * 0.75 / 4)))
    with pytest.raises(ValueError, match="positive sum of weights"):
        metrics.efficiency([1, 0], [-1, 0.5])


def test_discriminants_weigh_the_backgrounds():
    scores = np.array([[0.5, 0.3, 0.2], [0.0, 0.0, 1.0], [np.nan, 0.5, 0.5]])
    np.testing.assert_allclose(
        metrics.discriminant(scores, 0, 1), [0.5 / 0.8, 0, np.nan], rtol=1e-15
    )
    np.testing.assert_allclose(metrics.discriminant(scores, 0)[:2], [0.5, 0])
    mixed = metrics.discriminant(scores, 0, {1: 0.1, 2: 0.9})
    assert mixed[0] == pytest.approx(0.5 / (0.5 + 0.03 + 0.18))
    for signal, background in ((3, 0), (0, 0), (0, [])):
        with pytest.raises(ValueError, match="a discriminant needs a signal and other columns"):
            metrics.discriminant(scores, signal, background)


def test_labels_of_several_classes_come_as_indices_or_columns():
    labels = RNG.integers(0, 3, 60)
    scores = RNG.dirichlet(np.ones(3), 60)
    wanted = metrics.confusion_matrix(labels, scores)
    found = metrics.confusion_matrix(np.eye(3)[labels], scores)
    np.testing.assert_array_equal(found.values, wanted.values)
    np.testing.assert_array_equal(found.errors, wanted.errors)
    double = np.eye(3, dtype=bool)[labels]
    double[5] = True
    double[6] = False
    with pytest.raises(ValueError, match="of 60 jets 1 are in none, 1 in two or more"):
        metrics.accuracy(double, scores)
    with pytest.raises(ValueError, match="class indices from 0 to 2"):
        metrics.accuracy(labels + 1, scores)
    with pytest.raises(ValueError, match="4 class names for 3 columns"):
        metrics.one_vs_rest(metrics.auc, labels, scores, classes="abcd")
    with pytest.raises(ValueError, match="normalise is"):
        metrics.confusion_matrix(labels, scores, normalise="rows")


def test_a_class_without_jets_is_a_row_of_nan():
    found = metrics.confusion_matrix([0, 1, 1], np.eye(3)[[0, 1, 0]])
    np.testing.assert_array_equal(found.values[1], [0.5, 0.5, 0])
    assert np.isnan(found.values[2]).all()


def test_scores_that_are_no_probabilities_have_no_calibration():
    for metric in (metrics.log_loss, metrics.reliability, metrics.expected_calibration_error):
        with pytest.raises(ValueError, match="are not probabilities: they reach from -"):
            metric(LABELS, SCORES)


def test_calibration_of_equal_scores_is_one_bin():
    scores = np.full(500, 0.5)
    found = metrics.reliability(LABELS, scores, strategy="quantile")
    assert found.share.tolist() == [1.0]
    assert found.observed[0] == pytest.approx(LABELS.mean())
    ece = metrics.expected_calibration_error(LABELS, scores)
    assert ece.value == pytest.approx(abs(LABELS.mean() - 0.5))
    assert ece.error == pytest.approx(math.sqrt(0.25 / 500))


def test_the_calibration_of_several_classes_asks_the_winner():
    scores = RNG.dirichlet(np.ones(4), 5000)
    labels = np.array([RNG.choice(4, p=row) for row in scores])
    found = metrics.expected_calibration_error(labels, scores)
    assert found.value < 3 * found.floor
    assert metrics.expected_calibration_error((labels + 1) % 4, scores).value > 0.1


def test_bins_hold_equally_many_jets_or_are_equally_wide():
    values = RNG.exponential(size=1001)
    edges = metrics.bin_edges(values, 4)
    assert np.histogram(values, edges)[0].tolist() == [250, 250, 250, 251]
    np.testing.assert_allclose(
        metrics.bin_edges(values, 4, "uniform"), np.linspace(values.min(), values.max(), 5)
    )
    assert len(metrics.bin_edges(np.ones(5), 4)) == 2
    with pytest.raises(ValueError, match="no edges of 4 bins"):
        metrics.bin_edges([np.nan], 4)


def test_a_metric_in_bins_is_the_metric_of_the_jets_of_each_bin():
    pt = RNG.uniform(500, 600, 500)
    edges = [500, 530, 560, 600]
    found = metrics.in_bins(metrics.auc, pt, LABELS, SCORES, WEIGHTS, bins=edges)
    for number, estimate in enumerate(found.estimates):
        here = (pt >= edges[number]) & (pt < edges[number + 1])
        assert estimate == metrics.auc(LABELS[here], SCORES[here], WEIGHTS[here])
        assert found.jets[number] == here.sum()
    np.testing.assert_array_equal(found.values, [e.value for e in found.estimates])
    np.testing.assert_array_equal(found.errors, [e.error for e in found.estimates])
    one_class = metrics.in_bins(metrics.auc, np.where(LABELS, 1, 2), LABELS, SCORES, bins=[1, 2, 3])
    assert np.isnan(one_class.values).all()
    with pytest.raises(ValueError, match="edges of bins rise"):
        metrics.in_bins(metrics.auc, pt, LABELS, SCORES, bins=[3, 2])


def test_jets_outside_of_the_bins_are_counted():
    found = metrics.efficiency_in_bins(
        [1, 1, 0, 1, 0], [1.0, 2.0, 3.0, np.nan, 9.0], bins=[1, 2, 3]
    )
    assert found.outside == 2
    assert found.jets.tolist() == [1, 2]
    assert found.values.tolist() == [1.0, 0.5]


def test_a_thinned_curve_keeps_its_ends_and_its_shape():
    rng = np.random.default_rng(0)
    labels = rng.random(20000) < 0.5
    scores = rng.normal(2 * labels)
    full = metrics.roc(labels, scores)
    thin = full.thinned(100)
    assert len(thin.thresholds) <= 402
    assert (thin.signal[-1], thin.background[-1]) == (full.signal[-1], full.background[-1])
    for target in (0.1, 0.3, 0.5, 0.9):
        value, error = full.background_at(target)
        assert abs(thin.background_at(target)[0] - value) < 0.3 * error
    assert metrics.roc(labels[:10], scores[:10]).thinned().thresholds.size <= 11
