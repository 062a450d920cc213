"""All numbers of a sample at once: the same as one by one, kept in JSON, compared in pairs."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from hepgen import metrics
from hepgen.metrics.spectra import mass_bins, mass_spectra, score_spectra

RNG = np.random.default_rng(12)
CLASSES = ["top", "W", "qcd"]
LABELS = RNG.integers(0, 3, 3000)
LOGITS = RNG.normal(size=(3000, 3)) + 1.4 * np.eye(3)[LABELS]
SCORES = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)
WEIGHTS = RNG.exponential(size=3000)
PT = RNG.uniform(500, 600, 3000)
MASS = np.where(LABELS == 0, RNG.normal(172, 15, 3000), RNG.gamma(2, 45, 3000))


@pytest.fixture(scope="module")
def run():
    return metrics.summarise(
        LABELS,
        SCORES,
        WEIGHTS,
        classes=CLASSES,
        observables={"pt": PT, "mass": MASS},
        resamples=20,
        bins={"pt": [500, 550, 600], "mass": 4},
        name="one",
    )


def binary(scores, **keywords):
    labels = np.minimum(LABELS, 1)
    table = np.stack([scores[:, 0], 1 - scores[:, 0]], axis=1)
    return metrics.summarise(labels, table, classes=["top", "other"], **keywords)


def test_the_numbers_are_those_of_the_metrics(run):
    assert run.accuracy == metrics.accuracy(LABELS, SCORES, WEIGHTS)
    assert run.log_loss == metrics.log_loss(LABELS, SCORES, WEIGHTS)
    assert run.calibration == metrics.expected_calibration_error(LABELS, SCORES, WEIGHTS)
    assert run.jets == dict(zip(CLASSES, np.bincount(LABELS).tolist(), strict=True))
    rest = metrics.one_vs_rest(metrics.auc, LABELS, SCORES, WEIGHTS, classes=CLASSES)
    pairs = metrics.one_vs_one(
        metrics.background_rejection,
        LABELS,
        SCORES,
        WEIGHTS,
        classes=CLASSES,
        signal_efficiency=0.5,
    )
    assert len(run.separations) == 9
    for found in run.separations:
        if found.background is None:
            assert found.auc.value == pytest.approx(rest[found.signal].value, abs=1e-9)
        else:
            wanted = pairs[found.signal, found.background]
            assert found.background_rejection[0.5] == wanted
    assert [s.background for s in run.headline] == [None, "W", "qcd"]


def test_bootstrapped_rejections_have_errors_like_the_binomial_ones(run):
    for found in run.headline:
        for point, estimate in found.bootstrapped.items():
            binomial = found.background_rejection[point]
            assert estimate.value == binomial.value
            assert 0.4 < estimate.error / binomial.error < 2.5


def test_bins_and_spectra_hold_the_sums_of_weights(run):
    by_name = {(m.observable, m.metric, m.working_point): m.binned for m in run.binned}
    signal = LABELS == 0
    found = by_name["pt", "background_rejection", 0.5]
    assert found.edges.tolist() == [500, 550, 600]
    low = PT < 550
    wanted = metrics.background_rejection(
        signal[low], metrics.discriminant(SCORES, 0)[low], 0.5, WEIGHTS[low]
    )
    assert found.estimates[0] == wanted
    efficiency = by_name["pt", "signal_efficiency", 0.5]
    weights = np.histogram(PT[signal], efficiency.edges, weights=WEIGHTS[signal])[0]
    assert (efficiency.values @ weights) / weights.sum() == pytest.approx(0.5, abs=0.01)
    for number, name in enumerate(CLASSES):
        spectrum = run.score_spectra[name]
        assert spectrum.values.sum() == pytest.approx(WEIGHTS[number == LABELS].sum())
        assert spectrum.variances.sum() == pytest.approx((WEIGHTS[number == LABELS] ** 2).sum())
    assert set(run.mass_spectra) == {"all", "0.3", "0.5"}
    assert set(run.sculpting) == {0.3, 0.5}


def test_an_evaluation_survives_strict_json(run):
    text = json.dumps(run.to_dict(), allow_nan=False)
    back = metrics.Evaluation.from_dict(json.loads(text))
    assert json.dumps(back.to_dict()) == text
    assert back.numbers() == run.numbers()
    for wrong in ({"format": 99}, {}):
        with pytest.raises(ValueError, match="of format 1 is wanted"):
            metrics.Evaluation.from_dict(wrong)


def test_a_printed_evaluation_names_its_numbers(run):
    text = str(run)
    for part in (
        "top",
        "accuracy",
        "AUC, top against W",
        "rejection at 30 %, top against the rest",
    ):
        assert part in text


def test_two_classes_are_one_separation():
    found = binary(SCORES, resamples=0)
    assert len(found.separations) == 1
    assert set(found.numbers()) == {
        "accuracy",
        "log loss",
        "calibration error",
        "AUC",
        "rejection at 30 %",
        "rejection at 50 %",
    }
    assert found.replicas == {}


def test_scores_that_only_rank_have_no_calibration():
    found = binary(SCORES, resamples=0, probabilities=False)
    assert (found.log_loss, found.calibration, found.reliability) == (None, None, None)


def test_few_jets_are_not_resampled_and_need_no_observables():
    found = metrics.summarise(
        [0, 0, 1, 1],
        np.array([[0.9, 0.1], [0.4, 0.6], [0.3, 0.7], [0.2, 0.8]]),
        classes=["s", "b"],
        observables={"mass": [np.nan] * 4, "pt": [1.0, 2.0, 3.0, np.nan]},
    )
    assert found.replicas == {}
    assert found.sculpting == {}
    assert "mass" not in {metric.observable for metric in found.binned}
    assert math.isinf(found.headline[0].background_rejection[0.5].value)


def test_what_cannot_be_summarised_is_an_error_that_says_so():
    with pytest.raises(ValueError, match="no jets of class c among 2"):
        metrics.summarise([0, 1], np.eye(3)[:2], classes="abc")
    with pytest.raises(ValueError, match="no class 'x' for signal; classes: a, b"):
        metrics.summarise([0, 1], np.eye(2), classes="ab", signal="x")
    with pytest.raises(ValueError, match="are not 2 different class names"):
        metrics.summarise([0, 1], np.eye(2), classes="aa")


def test_runs_on_the_same_jets_are_compared_in_pairs():
    noise = RNG.normal(size=SCORES.shape) * 0.2
    other = np.exp(LOGITS + noise)
    other /= other.sum(axis=1, keepdims=True)
    runs = [binary(scores, name=name) for scores, name in ((SCORES, "one"), (other, "two"))]
    found = metrics.compare_evaluations(runs)
    rows = {row.metric: row for row in found.rows}
    auc = rows["AUC"]
    labels = LABELS == 0
    wanted = metrics.bootstrap_difference(metrics.auc, labels, other[:, 0], SCORES[:, 0])
    assert auc.differences[1].value == pytest.approx(wanted.value, abs=1e-9)
    assert auc.differences[1].error == pytest.approx(wanted.error, rel=1e-6)
    assert auc.paired == (False, True)
    assert auc.differences[1].error < 0.5 * auc.estimates[1].error
    assert rows["rejection at 50 %"].paired[1]
    assert not rows["log loss"].paired[1]
    assert found.same_jets == (True, True)
    assert "two" in str(found)
    json.dumps(found.to_dict(), allow_nan=False)


def test_runs_on_other_jets_are_not_paired():
    half = slice(0, 1500)
    table = np.stack([SCORES[:, 0], 1 - SCORES[:, 0]], axis=1)
    labels = np.minimum(LABELS, 1)
    runs = [
        metrics.summarise(labels[s], table[s], classes=["top", "other"], name=str(s))
        for s in (half, slice(1500, 3000))
    ]
    found = metrics.compare_evaluations(runs)
    row = next(row for row in found.rows if row.metric == "AUC")
    errors = [estimate.error for estimate in row.estimates]
    assert row.differences[1].error == pytest.approx(math.hypot(*errors))
    assert not any(row.paired)
    assert found.same_jets == (True, False)
    with pytest.raises(ValueError, match="two runs or more, of different names"):
        metrics.compare_evaluations(runs[:1])


def test_the_order_of_the_classes_does_not_make_other_jets():
    table = np.stack([SCORES[:, 0], 1 - SCORES[:, 0]], axis=1)
    labels = np.minimum(LABELS, 1)
    one = metrics.summarise(labels, table, classes=["top", "other"], resamples=0)
    swapped = metrics.summarise(
        1 - labels, table[:, ::-1], classes=["other", "top"], signal="top", resamples=0
    )
    assert one.fingerprint == swapped.fingerprint
    assert one.numbers()["AUC"].value == pytest.approx(swapped.numbers()["AUC"].value, abs=1e-12)


def test_the_records_of_an_evaluation_are_public(run):
    assert isinstance(run.separations[0], metrics.Separation)
    assert isinstance(run.binned[0], metrics.BinnedMetric)
    assert isinstance(run.binned[0].binned, metrics.Binned)
    assert isinstance(run.score_spectra["top"], metrics.Spectrum)
    assert isinstance(run.confusion, metrics.Confusion)
    assert isinstance(run.reliability, metrics.Reliability)
    assert isinstance(run.separations[0].curve, metrics.Roc)
    found = metrics.compare_evaluations([run, binary(SCORES, name="two", resamples=0)])
    assert isinstance(found, metrics.Comparison)
    assert isinstance(found.rows[0], metrics.ComparisonRow)


def test_few_background_jets_get_few_mass_bins():
    assert [mass_bins(np.ones(n, dtype=bool)) for n in (10, 1000, 10**6)] == [5, 10, 40]


def test_spectra_of_masses_are_cut_at_the_working_points():
    signal, score = LABELS == 0, SCORES[:, 0]
    found = mass_spectra(signal, score, MASS, None, (0.5,))
    cut = metrics.threshold(signal, score, 0.5)
    edges = found["all"].edges
    wanted = np.histogram(MASS[~signal & (score >= cut)], edges)[0]
    np.testing.assert_array_equal(found["0.5"].values, wanted)
    assert mass_spectra(signal, score, np.full(3000, np.nan), None, (0.5,)) == {}
    assert set(score_spectra(LABELS, score, None, CLASSES)) == set(CLASSES)
