"""Weights of generated showers, where the right ones are known."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import hepgen
from hepgen import checkpoint
from hepgen.calorimeter import Geometry, GeometryError, Layer, ShowerError, Showers
from hepgen.metrics import effective_sample_size
from hepgen.simulators.correction import Closure, Correction
from hepgen.simulators.discriminator import DenseDiscriminator
from hepgen.simulators.residual_discriminator import ResidualDiscriminator
from tests.simulators.gaussian_showers import GEOMETRY, LAYERS, gaussian_showers, log_ratio

SHIFT = 0.05
FAST = {"epochs": 10, "batch_size": 256}


@pytest.fixture(scope="module")
def correction() -> Correction:
    return Correction.fit(
        gaussian_showers(4000, seed=1), gaussian_showers(4000, SHIFT, seed=2), **FAST
    )


@pytest.fixture(scope="module")
def closure(correction: Correction) -> Closure:
    return correction.closure(
        gaussian_showers(4000, seed=3), gaussian_showers(4000, SHIFT, seed=4), seeds=1, **FAST
    )


def mean_and_error(values: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    mean = np.average(values, weights=weights)
    return mean, np.sqrt(weights**2 @ (values - mean) ** 2) / weights.sum()


@pytest.mark.parametrize("seed", [2, 14])
def test_the_weighted_mean_response_returns_to_the_truth(correction: Correction, seed: int) -> None:
    """Of the sample that was learnt from, and of another one."""
    generated, truth = gaussian_showers(4000, SHIFT, seed=seed), gaussian_showers(4000, seed=1)
    before, _ = mean_and_error(generated.response, np.ones(4000))
    after, error = mean_and_error(generated.response, correction.weights(generated))
    wanted, uncertain = mean_and_error(truth.response, np.ones(4000))
    assert before - wanted > 20 * uncertain
    # Both samples fluctuate; the weights are of the truth sample, not of its distribution.
    assert abs(after - wanted) < 2 * np.hypot(error, uncertain)


def test_weights_are_the_ratio_of_the_densities(correction: Correction) -> None:
    generated = gaussian_showers(5000, SHIFT, seed=8)
    got, wanted = np.log(correction.weights(generated)), log_ratio(generated, SHIFT)
    assert np.corrcoef(got, wanted)[0, 1] > 0.97
    assert np.std(got - wanted) < 0.3
    assert correction.weights(generated).mean() == pytest.approx(1, abs=0.06)


def test_weighted_showers_can_hardly_be_told_from_the_truth(closure: Closure) -> None:
    assert closure.auc_before.value > 0.68
    assert closure.auc_after.value == pytest.approx(0.5, abs=3.5 * closure.auc_after.error)
    before, after = closure.separation_before["response"], closure.separation_after["response"]
    assert before.value > 0.1
    assert after.value < 0.1 * before.value
    assert "->" in str(closure)
    assert json.loads(json.dumps(closure.to_dict()))["num_showers"] == 4000


def test_the_cost_is_the_effective_sample_size(correction: Correction, closure: Closure) -> None:
    weights = correction.weights(gaussian_showers(4000, SHIFT, seed=4))
    assert closure.effective_sample_size == pytest.approx(weights.sum() ** 2 / (weights**2).sum())
    # Of normal densities that are d widths apart, exp(-d^2) of the showers are left.
    assert closure.effective_sample_size / 4000 == pytest.approx(np.exp(-LAYERS / 4), abs=0.08)


def test_large_weights_are_cut_and_it_is_told_how_much(correction: Correction) -> None:
    generated = gaussian_showers(3000, SHIFT, seed=4)
    free, low = (
        Correction(list(correction.networks), GEOMETRY, greatest=limit) for limit in (1e9, 2.0)
    )
    for other in (free, low):
        other.load_state_dict(correction.state_dict())
    free = free.weights(generated)
    np.testing.assert_array_equal(low.weights(generated), np.minimum(free, 2))
    found = low.closure(gaussian_showers(3000, seed=3), generated, seeds=1, epochs=1)
    assert found.clipped == pytest.approx((free > 2).mean())
    assert found.removed == pytest.approx((free - np.minimum(free, 2)).sum() / free.sum())
    assert found.effective_sample_size > effective_sample_size(free)


def test_no_shower_is_weighted_by_a_network_that_saw_it(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[int, set[bytes]] = {}
    trained = DenseDiscriminator.trained.__func__

    def spy(cls, train, validation, **options):
        network, history = trained(cls, train, validation, **options)
        both = np.concatenate([train.x.numpy(), validation.x.numpy()])
        seen[id(network)] = {row.tobytes() for row in both}
        return network, history

    monkeypatch.setattr(DenseDiscriminator, "trained", classmethod(spy))
    reference, generated = gaussian_showers(300, seed=1), gaussian_showers(300, SHIFT, seed=2)
    correction = Correction.fit(reference, generated, epochs=1)
    asked: list[bytes] = []
    logits = DenseDiscriminator.logits

    def look(self, x):
        rows = [row.tobytes() for row in np.asarray(x)]
        assert not seen[id(self)].intersection(rows)
        asked.extend(rows)
        return logits(self, x)

    monkeypatch.setattr(DenseDiscriminator, "logits", look)
    correction.weights(generated)
    correction.weights(reference)
    assert len(asked) == 600
    assert len(seen) == 5


def test_weights_stay_the_same_through_a_file_in_mev(correction: Correction) -> None:
    generated = gaussian_showers(2000, SHIFT, seed=6)
    back = (generated.voxels.astype(np.float32) * np.float32(1000)).astype(np.float32)
    again = Showers(GEOMETRY, generated.incident_energy, back / np.float32(1000))
    first, second = correction.weights(generated), correction.weights(again)
    # A total energy next to a boundary may change its fold: four in 1000 float32 steps at most.
    assert (np.abs(first / second - 1) > 1e-3).mean() < 0.005


def test_showers_are_cut_as_those_that_were_learnt_from(correction: Correction) -> None:
    generated = gaussian_showers(300, SHIFT, seed=6)
    strict = replace(generated, geometry=replace(GEOMETRY, threshold=3.0))
    np.testing.assert_array_equal(correction.weights(strict), correction.weights(generated))


def test_samples_alike_get_weights_near_one() -> None:
    correction = Correction.fit(
        gaussian_showers(3000, seed=1), gaussian_showers(3000, seed=2), **FAST
    )
    weights = correction.weights(gaussian_showers(3000, seed=3))
    assert weights.std() < 0.15
    assert weights.mean() == pytest.approx(1, abs=0.05)


def test_a_correction_comes_back_from_its_file(correction: Correction, tmp_path: Path) -> None:
    path, showers = tmp_path / "correction.safetensors", gaussian_showers(200, SHIFT, seed=5)
    correction.save(path)
    for again in (Correction.load(path), hepgen.load(path)):
        assert isinstance(again, Correction)
        np.testing.assert_array_equal(again.weights(showers), correction.weights(showers))
    network = DenseDiscriminator(3)
    checkpoint.save(network, tmp_path / "network.safetensors")
    with pytest.raises(
        checkpoint.CheckpointError, match="holds DenseDiscriminator, wanted Correction"
    ):
        Correction.load(tmp_path / "network.safetensors")


def test_the_level_of_the_residual_network_has_that_network(tmp_path: Path) -> None:
    geometry = Geometry(tuple(Layer(tuple(range(7)), 6, i) for i in range(6)))
    voxels = np.random.default_rng(1).exponential(size=(2, 120, geometry.num_voxels))
    pair = [Showers(geometry, np.ones(120), one.astype(np.float32)) for one in voxels]
    found = Correction.fit(*pair, level="resnet", epochs=1, batch_size=64)
    assert all(isinstance(network, ResidualDiscriminator) for network in found.networks)
    found.save(tmp_path / "correction.safetensors")
    kept = Correction.load(tmp_path / "correction.safetensors")
    np.testing.assert_array_equal(kept.weights(pair[1]), found.weights(pair[1]))


def test_weights_are_put_beside_those_that_are_there(correction: Correction) -> None:
    showers = gaussian_showers(50, SHIFT, seed=5)
    once = correction.weighted(showers)
    np.testing.assert_array_equal(once.weight, correction.weights(showers))
    twice = correction.weighted(replace(showers, weight=np.full(50, 2.0)))
    np.testing.assert_allclose(twice.weight, 2 * correction.weights(showers))


def test_empty_showers_and_none_at_all_have_weights(correction: Correction) -> None:
    empty = Showers(GEOMETRY, np.full(3, 10.0), np.zeros((3, LAYERS)))
    assert np.isfinite(correction.weights(empty)).all()
    assert correction.weights(empty[:0]).shape == (0,)


def test_wrong_input_is_told(correction: Correction) -> None:
    sample = gaussian_showers(120)
    other = Geometry(tuple(Layer((0, 5), 1, i) for i in range(LAYERS)))
    wrong = Showers(other, sample.incident_energy, sample.voxels)
    with pytest.raises(GeometryError, match="the correction is for three voxels"):
        correction.weights(wrong)
    with pytest.raises(GeometryError, match="cannot be brought to"):
        Correction.fit(sample, wrong)
    with pytest.raises(ShowerError, match="50 showers are too few, wanted 100"):
        Correction.fit(sample, sample[:50])
    with pytest.raises(ValueError, match="greatest=1"):
        Correction.fit(sample, sample, greatest=1)
