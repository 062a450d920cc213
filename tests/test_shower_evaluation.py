"""``hepgen evaluate`` on showers: numbers, results, and the page."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hepgen import calorimeter, report, shower_metrics
from hepgen.calorimeter import EnergyRangeWarning, GeometryError, ShowerError, Showers
from hepgen.cli import main
from hepgen.io.errors import MissingName, OutputExists
from hepgen.metrics import generative
from hepgen.report import of_showers, shower_pictures
from hepgen.report.showers import published
from hepgen.shower_evaluation import evaluate_showers
from hepgen.shower_metrics import (
    classifier_tests,
    correlated_names,
    correlations,
    distances,
    energy_bins,
    memorised,
    separations,
    spectra,
)
from hepgen.shower_summary import ClassifierResult, ShowerEvaluation, ShowerSpectrum
from tests.simulators.samples import IRREGULAR, made

OPTIONS = {"progress": False, "seeds": 1}


def wider(showers: Showers, factor: float = 0.3, seed: int = 0) -> Showers:
    """Showers whose total energies are smeared."""
    smear = np.random.default_rng(seed).normal(1, factor, len(showers)).clip(0.1)
    return replace(showers, voxels=(showers.voxels * smear[:, None]).astype(np.float32))


@pytest.fixture(scope="module")
def truth():
    return made(600, seed=1)


@pytest.fixture(scope="module")
def fair():
    return made(600, seed=2)


@pytest.fixture(scope="module")
def evaluation(truth, fair):
    return evaluate_showers(fair, truth, classifiers=["high"], name="fair", **OPTIONS)


def test_showers_of_the_same_law_are_at_the_floor(evaluation):
    # Errors are one sigma; five of them for each of a handful of numbers.
    auc = evaluation.classifiers["high"].auc
    assert abs(auc.value - 0.5) < 5 * auc.error
    assert evaluation.distances["p_value"].value > 1e-3
    fpd = evaluation.distances["fpd"]
    assert abs(fpd.value) < 5 * fpd.error
    for mean in evaluation.response_ratio:
        assert abs(mean.value - 1) < 5 * mean.error
    response = evaluation.separations["response"]
    assert abs(response.value - response.floor) < 5 * response.error


def test_a_wrong_resolution_is_seen_where_energies_are_told_apart(truth, fair):
    # Not by distances of logarithms of energies, which reach over two decades.
    found = evaluate_showers(wider(fair), truth, classifiers=[], name="wide", **OPTIONS)
    assert all(one.value > 1.5 for one in found.resolution_ratio[1:])
    assert found.separations["response"].value > 0.1
    assert "worst separation power" in str(found)


def test_holes_in_showers_are_seen_by_classifiers(truth, fair):
    rng = np.random.default_rng(3)
    holes = replace(fair, voxels=fair.voxels * (rng.random(fair.voxels.shape) < 0.5))
    found = classifier_tests(truth, holes, "high", seeds=1, recipe=None, seed=0)["high"]
    assert found.auc.value > 0.9
    assert found.jsd.value > 0.3


def test_results_are_kept_whole(evaluation):
    again = ShowerEvaluation.from_json(evaluation.to_json())
    assert str(again) == str(evaluation)
    assert again.to_json() == evaluation.to_json()
    assert again.geometry == evaluation.geometry
    with pytest.raises(ValueError, match="no results of an evaluation of showers"):
        ShowerEvaluation.from_json("{}")


@pytest.mark.slow
def test_the_page_holds_everything_and_needs_nothing(evaluation, tmp_path):
    files = of_showers(evaluation)
    html = files["report.html"].decode()
    for text in ("Response and resolution", "Separation power", "classifier AUC", "What was"):
        assert text in html
    assert "http://" not in html.replace("http://www.w3.org", "")
    assert {"plots/layers.png", "plots/mean_response.pdf", "plots/response.png"} <= set(files)
    assert html.count("<svg") == sum(name.endswith(".png") for name in files)
    report.write_folder(tmp_path / "report", files)
    assert (tmp_path / "report" / "plots" / "correlations.pdf").exists()


def test_published_figures_stand_beside_their_data_set_only(evaluation):
    assert list(published(evaluation)) == []
    challenge = replace(evaluation, geometry=calorimeter.named_geometry("ds2"))
    entries = {row["model"]: row for row in published(challenge)}
    assert entries["CaloDREAM"]["auc_high"] == "0.521"
    assert len(entries) == 18


def test_layers_that_are_divided_differently_are_drawn_too():
    first, second = made(300, IRREGULAR, seed=1), made(300, IRREGULAR, seed=2)
    found = evaluate_showers(second, first, classifiers=[], **OPTIONS)
    pictures = shower_pictures.of_showers(found)["pictures"]
    assert [one.name for one in pictures] == ["layers"]
    assert len(pictures[0].draw().axes) == 2 * found.geometry.num_layers + 1


def test_weights_count(truth, fair):
    wide = wider(fair)
    # Half of the showers are wide, with no weight.
    mixed = Showers.joined([fair, wide])
    weight = np.repeat([1.0, 0.0], 600)
    mixed = replace(mixed, weight=weight)
    weighted, plain = (distances(truth, s)["mean_ks"].value for s in (mixed, fair))
    assert weighted == pytest.approx(plain, rel=1e-6)
    bins = energy_bins(truth, mixed)["generated"]
    alone = energy_bins(truth, fair)["generated"]
    assert bins.response[1].value == pytest.approx(alone.response[1].value)
    shapes = spectra(truth, mixed)
    assert isinstance(shapes["voxels"], ShowerSpectrum)
    np.testing.assert_allclose(
        shapes["voxels"].generated, spectra(truth, fair)["voxels"].generated, rtol=1e-6
    )


def test_numbers_are_those_of_the_metrics(truth, fair):
    features = calorimeter.fpd_features(truth), calorimeter.fpd_features(fair)
    found = distances(truth, fair, seed=3)
    varies = features[0].std(axis=0) > 0
    expected = generative.fpd(features[0][:, varies], features[1][:, varies], seed=3)
    assert found["fpd"] == expected
    names = correlated_names(truth.geometry)
    matrix = correlations(truth, fair)["reference"]
    table = np.stack(list(calorimeter.observables(truth, names).values()))
    np.testing.assert_allclose(matrix, np.corrcoef(table), atol=1e-12)
    assert "energy of the layers" in separations(truth, fair)
    result = classifier_tests(truth, fair, "high", seeds=1, recipe=None, seed=0)["high"]
    assert isinstance(result, ClassifierResult)
    area = np.trapezoid(result.kept, result.taken)
    assert area == pytest.approx(result.auc.value, abs=0.02)


def test_copies_of_training_showers_are_noticed(truth, fair):
    train = made(600, seed=5)
    honest = memorised(train, truth, fair)["memorisation"]
    assert abs(honest.value - 0.5) < 5 * honest.error
    assert memorised(train, truth, train)["memorisation"].value > 0.99


def test_all_pairs_of_few_showers_are_looked_at(truth, fair, monkeypatch):
    monkeypatch.setattr(shower_metrics, "NEIGHBOURS", 100)
    few = memorised(truth, fair, made(600, seed=7))["memorisation"]
    assert few.error > 0.02


def test_neighbours_do_not_depend_on_how_files_are_sorted(truth, fair, monkeypatch):
    monkeypatch.setattr(shower_metrics, "NEIGHBOURS", 200)
    rising = truth[np.argsort(truth.incident_energy)]
    # Of the first 200 alone the energies would differ by a decade.
    assert distances(rising, fair)["p_value"].value > 1e-3


def test_one_threshold_is_that_of_the_reference(truth, fair):
    dust = np.where(fair.voxels == 0, np.float32(1e-7), fair.voxels)
    bare = replace(fair.geometry, threshold=0.0)
    dusty = replace(fair, voxels=dust, geometry=bare)
    found = evaluate_showers(dusty, truth, classifiers=[], **OPTIONS)
    clean = evaluate_showers(fair, truth, classifiers=[], **OPTIONS)
    assert found.separations["num_hits"] == clean.separations["num_hits"]
    # A higher one of the generated showers does not cut them alone either.
    strict = replace(fair, geometry=replace(fair.geometry, threshold=0.1))
    found = evaluate_showers(strict, truth, classifiers=[], **OPTIONS)
    assert found.separations["num_hits"] == clean.separations["num_hits"]


def test_other_energies_are_told_and_weights_of_the_truth_refused(truth):
    with pytest.warns(EnergyRangeWarning, match=r"from 50.* their distributions differ by 0\.8"):
        evaluate_showers(made(200, low=50.0), truth, classifiers=[], **OPTIONS)
    heavy = replace(truth, weight=np.linspace(0.5, 1.5, 600))
    with pytest.raises(ShowerError, match="reference: weights of true showers do not count"):
        evaluate_showers(truth, heavy, classifiers=[], **OPTIONS)


def test_empty_showers_are_compared_without_harm(truth, fair):
    voxels = fair.voxels.copy()
    voxels[::3] = 0
    found = evaluate_showers(replace(fair, voxels=voxels), truth, classifiers=[], **OPTIONS)
    assert found.response_ratio[1].value == pytest.approx(2 / 3, rel=0.1)
    assert all(np.isfinite(one.value) for one in found.separations.values())
    assert ShowerEvaluation.from_json(found.to_json()).to_json() == found.to_json()


def test_what_cannot_be_compared_is_refused(truth, tmp_path):
    with pytest.raises(GeometryError, match="cannot be compared"):
        evaluate_showers(made(200, IRREGULAR), truth, **OPTIONS)
    with pytest.raises(ShowerError, match="reference: 50 showers tell too little, wanted 100"):
        evaluate_showers(truth, truth[:50], **OPTIONS)
    with pytest.raises(MissingName, match=r"hihg.*nearest: high"):
        evaluate_showers(truth, truth, classifiers=["hihg"], **OPTIONS)
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "mine.txt").touch()
    with pytest.raises(OutputExists):
        evaluate_showers(truth, truth, output=tmp_path / "report", **OPTIONS)


def test_the_verb_writes_the_page(truth, fair, tmp_path, capsys, monkeypatch):
    # What is in it is another test, and takes long to draw.
    monkeypatch.setattr(report, "of_showers", lambda run: {"report.html": run.name.encode()})
    calorimeter.write(tmp_path / "true.hdf5", truth)
    calorimeter.write(tmp_path / "fair.hdf5", fair)
    words = [str(tmp_path / "fair.hdf5"), "--reference", str(tmp_path / "true.hdf5")]
    words += ["--classifiers", "[high]", "--seeds", "1", "--progress", "false"]
    assert main(["evaluate", *words, "-o", str(tmp_path / "report")]) == 0
    assert "classifier AUC, high-level" in capsys.readouterr().out
    kept = (tmp_path / "report" / "results.json").read_text()
    assert ShowerEvaluation.from_json(kept).name == "fair"


def test_true_showers_may_be_finer_than_the_generated_ones(truth, fair):
    layers = [replace(e, num_alpha=2 * e.num_alpha) for e in truth.geometry.layers]
    geometry = replace(truth.geometry, layers=tuple(layers), name="fine")
    fine = np.zeros((len(truth), geometry.num_voxels), np.float32)
    target = geometry.voxels_in(truth.geometry)
    # All of the energy of a voxel in the first of its halves.
    fine[:, np.unique(target, return_index=True)[1]] = truth.voxels
    fine = replace(truth, geometry=geometry, voxels=fine)
    found = evaluate_showers(fair, fine, classifiers=[], **OPTIONS)
    same = evaluate_showers(fair, truth, classifiers=[], **OPTIONS)
    assert found.distances["frechet"] == same.distances["frechet"]
    with pytest.raises(GeometryError, match="neither the same voxels nor finer ones"):
        evaluate_showers(fine, truth, classifiers=[], **OPTIONS)
