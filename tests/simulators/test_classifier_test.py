"""Classifier tests on samples whose best classifier is known."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from hepgen.calorimeter import Geometry, GeometryError, Layer, ShowerError, Showers
from hepgen.simulators.classifier_test import ClassifierTest, Level, classifier_test, cut_alike
from hepgen.simulators.log_posterior import LogPosterior, log_posterior
from tests.simulators.gaussian_showers import GEOMETRY, LAYERS, WIDTH, gaussian_showers, log_ratio

FAST = {"epochs": 8, "batch_size": 256}


def best_auc(shift: float) -> float:
    """That of the sum of the logarithms."""
    return 0.5 * (1 + math.erf(shift / WIDTH * math.sqrt(LAYERS) / 2))


@pytest.fixture(scope="module")
def shifted() -> ClassifierTest:
    return classifier_test(
        gaussian_showers(4000, seed=1), gaussian_showers(4500, 0.05, seed=2), seeds=2, **FAST
    )


def test_samples_alike_cannot_be_told_apart() -> None:
    found = classifier_test(
        gaussian_showers(3000, seed=1), gaussian_showers(3000, seed=2), seeds=2, floor=True, **FAST
    )
    # A false alarm in one of 400 seeds; this one is fixed.
    assert found.auc.value == pytest.approx(0.5, abs=3 * found.auc.error)
    assert 0.004 < found.auc.error < 0.02
    assert found.jsd.value == pytest.approx(0, abs=0.02)
    assert found.auc.floor == pytest.approx(0.5, abs=0.03)


def test_a_shift_gives_the_area_that_is_the_best_possible(shifted: ClassifierTest) -> None:
    best = best_auc(0.05)
    assert 0.7 < best < 0.75
    # A network may fall short of the best by a little.
    assert best - 3 * shifted.auc.error - 0.005 < shifted.auc.value
    assert shifted.auc.value < best + 3 * shifted.auc.error


def test_the_divergence_is_that_of_the_densities(shifted: ClassifierTest) -> None:
    points = gaussian_showers(200_000, seed=5)
    ratio = log_ratio(points, 0.05)
    # By symmetry of the two densities the reference alone gives the mean.
    wanted = 1 - np.log1p(np.exp(-ratio)).mean() / math.log(2)
    assert shifted.jsd.value == pytest.approx(wanted, abs=3 * shifted.jsd.error + 0.005)


def test_areas_of_seeds_are_those_of_scikit_learn(shifted: ClassifierTest) -> None:
    assert shifted.sizes == (2400, 800, 800)
    assert len(shifted.labels) == 2 * 1600
    assert shifted.auc.value == pytest.approx(np.mean([e.value for e in shifted.aucs]))
    theirs = roc_auc_score(shifted.labels, shifted.scores)
    assert shifted.roc.area()[0] == pytest.approx(theirs)
    # Calibration joins scores, but leaves their order.
    assert theirs == pytest.approx(shifted.auc.value, abs=0.01)


def test_scores_are_probabilities(shifted: ClassifierTest) -> None:
    seen = shifted.calibration
    pull = (seen.observed - seen.predicted) / seen.error
    # Ten bins; the calibration itself was learnt from half as many showers.
    assert np.sqrt(np.mean(pull**2)) < 2.5


def test_weights_that_undo_a_shift_undo_the_test() -> None:
    generated = gaussian_showers(6000, 0.05, seed=2)
    weighted = Showers(
        GEOMETRY,
        generated.incident_energy,
        generated.voxels,
        weight=np.exp(log_ratio(generated, 0.05)),
    )
    found = classifier_test(gaussian_showers(6000, seed=1), weighted, seeds=2, **FAST)
    assert found.auc.value == pytest.approx(0.5, abs=3.5 * found.auc.error)
    assert found.auc.error < 0.02


@pytest.mark.parametrize("level", ["low", "low-normalised"])
def test_voxels_tell_samples_apart_as_well(level: Level) -> None:
    found = classifier_test(
        gaussian_showers(1500, seed=1),
        gaussian_showers(1500, 0.1, seed=2),
        level=level,
        seeds=1,
        epochs=15,
    )
    # Shares of layers of one voxel are 1: what is left there are the energies.
    assert found.auc.value == pytest.approx(best_auc(0.1), abs=0.04)
    assert level in str(found)


def test_energies_in_pairs_do_not_mislead_a_network_that_learns_them_by_heart() -> None:
    rng = np.random.default_rng(0)
    energy = np.exp(rng.uniform(0, 4, 200))
    pair = [
        Showers(GEOMETRY, energy, energy[:, None] * rng.dirichlet([9] * LAYERS, 200))
        for _ in range(2)
    ]
    found = classifier_test(*pair, seeds=5, epochs=30, patience=None)
    assert found.auc.value == pytest.approx(0.5, abs=3 * found.auc.error)


def of_energies(energy: np.ndarray, seed: int) -> Showers:
    share = np.random.default_rng(seed).dirichlet([9] * LAYERS, len(energy))
    return Showers(GEOMETRY, energy, energy[:, None] * share)


def test_the_longer_sample_may_be_sorted_by_energy_as_files_are() -> None:
    energy = np.exp(np.random.default_rng(0).uniform(0, 4, 900))
    reference = of_energies(np.sort(energy), 1)
    found = classifier_test(reference, of_energies(energy[:300], 2), seeds=2, floor=True, **FAST)
    # The first third of a sorted file are of other energies: an area of 0.8, and a floor of 1.
    assert found.auc.value == pytest.approx(0.5, abs=3 * found.auc.error)
    assert found.auc.floor == pytest.approx(0.5, abs=3 * found.auc.error)
    generators = {"short": of_energies(energy[:300], 3), "sorted": of_energies(np.sort(energy), 4)}
    alike = log_posterior(of_energies(energy[:300], 5), generators, seeds=2, **FAST)
    for one in alike.own.values():
        assert one.value == pytest.approx(alike.uniform, abs=0.05)


def test_showers_of_the_same_particles_stay_together_when_a_sample_is_cut() -> None:
    energy = np.exp(np.random.default_rng(0).uniform(0, 4, 90))
    long, short = of_energies(energy, 1), of_energies(energy[:30], 2)
    first, second = cut_alike([long, short], seed=0)
    assert first.incident_energy.tolist() == second.incident_energy.tolist()
    drawn, _ = cut_alike([long, of_energies(np.flip(energy)[:30], 2)], seed=0)
    assert len(set(drawn.incident_energy)) == 30
    assert drawn.incident_energy.tolist() != energy[:30].tolist()


def test_both_samples_are_cut_at_the_threshold_of_the_reference() -> None:
    reference = gaussian_showers(300, seed=1)
    other = replace(reference, geometry=replace(GEOMETRY, threshold=3.0))
    found = classifier_test(reference, other, seeds=1, **FAST)
    assert found.auc.value == pytest.approx(0.5, abs=1e-3)


def test_the_closer_generator_has_the_higher_posterior() -> None:
    found = log_posterior(
        gaussian_showers(2000, seed=1),
        {"near": gaussian_showers(2000, 0.03, seed=2), "far": gaussian_showers(2000, 0.1, seed=3)},
        seeds=2,
        **FAST,
    )
    assert isinstance(found, LogPosterior)
    assert found.uniform == -math.log(2)
    near, far = found.reference["near"], found.reference["far"]
    assert near.value > found.uniform > far.value
    assert near.value - far.value > 5 * math.hypot(near.error, far.error)
    for own in found.own.values():
        assert found.uniform < own.value < 0


def test_three_generators_alike_have_the_posterior_of_chance() -> None:
    found = log_posterior(
        gaussian_showers(1500, seed=1),
        {name: gaussian_showers(1500, seed=2 + i) for i, name in enumerate("abc")},
        seeds=1,
        **FAST,
    )
    assert found.uniform == -math.log(3)
    for one in found.reference.values():
        # 900 showers of each teach little: the network believes in differences that are chance.
        assert one.value == pytest.approx(found.uniform, abs=0.06)


def test_samples_that_cannot_be_compared_are_told() -> None:
    sample = gaussian_showers(60)
    other = Geometry(tuple(Layer((0, 5), 1, i) for i in range(LAYERS)))
    with pytest.raises(GeometryError, match="cannot be compared"):
        classifier_test(sample, Showers(other, sample.incident_energy, sample.voxels))
    with pytest.raises(ShowerError, match="40 showers are too few for a classifier, wanted 50"):
        classifier_test(sample, sample[:40])
    with pytest.raises(ValueError, match="no level 'middle' of features; there are high, low"):
        classifier_test(sample, sample, level="middle")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="seeds=0"):
        classifier_test(sample, sample, seeds=0)
    irregular = Geometry((Layer((0, 5)), Layer((0, 5), 2)))
    voxels = np.ones((60, 3))
    pair = Showers(irregular, np.ones(60), voxels)
    with pytest.raises(GeometryError, match="not all alike, as resnet needs"):
        classifier_test(pair, pair, level="resnet")
    with pytest.raises(ShowerError, match="wanted two generators at least"):
        log_posterior(sample, {"a": sample})


def test_a_result_can_be_written_as_json(shifted: ClassifierTest) -> None:
    import json

    told = json.loads(json.dumps(shifted.to_dict()))
    assert told["auc"]["value"] == shifted.auc.value
    assert told["sizes"] == [2400, 800, 800]
