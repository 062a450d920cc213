"""Batches of showers: their order, where they are taken up, and who gets which."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from hepgen import calorimeter
from hepgen.calorimeter import Showers
from hepgen.simulators import Conditions, ShowerBatch, ShowerBatches
from hepgen.simulators.batches import ShowerSource
from hepgen.simulators.stages import Part
from tests.simulators.samples import made


@pytest.fixture(scope="module")
def showers():
    return made(103)


@pytest.fixture(scope="module")
def files(showers, tmp_path_factory):
    folder = tmp_path_factory.mktemp("batches")
    paths = [folder / "a.hdf5", folder / "b.hdf5"]
    for path, some in zip(paths, (showers[:40], showers[40:]), strict=True):
        calorimeter.write(path, some)
    return calorimeter.ShowerFiles([str(path) for path in paths])


def batches(source: ShowerSource, **options) -> ShowerBatches:
    options = {"batch_size": 10, "shuffle": True, "seed": 3} | options
    return ShowerBatches(source, Conditions((1, 100)), **options)


def numbers(found) -> list[list[int]]:
    return [batch.number.tolist() for batch in found]


def test_the_order_follows_from_seed_and_epoch_alone(showers):
    first, again = batches(showers), batches(showers)
    list(first.epoch(0))
    assert numbers(first.epoch(1)) == numbers(again.epoch(1))
    assert numbers(first.epoch(1)) != numbers(first.epoch(0))
    assert numbers(first.epoch(0)) != numbers(batches(showers, seed=4).epoch(0))
    plain = numbers(batches(showers, shuffle=False).epoch(5))
    assert np.concatenate(plain).tolist() == list(range(103))


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_ranks_share_the_showers_in_batches_that_are_not_too_large(showers, world_size):
    ranks = [batches(showers, rank=rank, world_size=world_size) for rank in range(world_size)]
    found = [numbers(one.epoch(2)) for one in ranks]
    assert {len(one) for one in found} == {len(ranks[0])}
    sizes = {len(batch) for one in found for batch in one}
    assert max(sizes) <= 10
    assert max(sizes) - min(sizes) <= 1
    seen = sorted(row for one in found for batch in one for row in batch)
    assert seen == list(range(103))


@pytest.mark.parametrize("where", ["memory", "files", "part"])
def test_an_epoch_is_taken_up_at_any_batch(showers, files, where, monkeypatch):
    monkeypatch.setattr(ShowerBatches, "pool", 32)
    monkeypatch.setattr(ShowerBatches, "neighbours", 8)
    source = {"memory": showers, "files": files, "part": Part(files, np.arange(1, 103, 2))}[where]
    whole = list(batches(source, augment=True).epoch(1))
    for start in (1, len(whole) - 1):
        rest = list(batches(source, augment=True).epoch(1, start))
        assert len(rest) == len(whole) - start
        for here, there in zip(rest, whole[start:], strict=True):
            for name, tensor in here.to_dict().items():
                assert torch.equal(tensor, there.to_dict()[name]), name


def test_each_shower_of_files_comes_once_an_epoch_as_it_is(showers, files, monkeypatch):
    monkeypatch.setattr(ShowerBatches, "pool", 32)
    monkeypatch.setattr(ShowerBatches, "neighbours", 8)
    found = list(batches(files).epoch(0))
    rows = np.concatenate(numbers(found))
    assert sorted(rows.tolist()) == list(range(103))
    assert rows.tolist() != sorted(rows.tolist())
    voxels = torch.cat([batch.voxels for batch in found]).numpy()
    np.testing.assert_allclose(voxels, showers.voxels[rows], rtol=1e-6)
    energy = torch.cat([batch.incident_energy for batch in found]).numpy()
    np.testing.assert_allclose(energy, showers.incident_energy[rows], rtol=1e-6)


def test_showers_of_many_voxels_are_mixed_in_pools_that_fit_in_memory(files, monkeypatch):
    monkeypatch.setattr(ShowerBatches, "pool_bytes", 4 * files.geometry.num_voxels * 30)
    read, whole = [], ShowerBatches._read

    def seen(self, rows):
        read.append(len(rows))
        return whole(self, rows)

    monkeypatch.setattr(ShowerBatches, "_read", seen)
    rows = np.concatenate(numbers(batches(files).epoch(0)))
    assert sorted(rows) == list(range(103))
    assert max(read) == 30
    # A batch is never less than what was asked for.
    assert batches(files, batch_size=50).pool == 50


def test_turned_showers_have_the_energies_of_their_rings(showers):
    turned = batches(showers, augment=True)
    voxels, rows = [], []
    for batch in turned.epoch(0):
        voxels.append(batch.voxels.numpy())
        rows.append(batch.number.numpy())
    found = np.concatenate(voxels).reshape(-1, 4, 4, 3)
    truth = showers.voxels[np.concatenate(rows)].reshape(-1, 4, 4, 3)
    np.testing.assert_allclose(found.sum(axis=2), truth.sum(axis=2), rtol=1e-5)
    share_left = np.mean([np.array_equal(a, b) for a, b in zip(found, truth, strict=True)])
    # One of eight turns leaves a shower: 0.125 with a spread of 0.033; five sigma.
    assert share_left < 0.29
    other = np.concatenate([b.voxels.numpy() for b in turned.epoch(1)])
    assert not np.array_equal(np.sort(other.sum(0)), np.sort(np.concatenate(voxels).sum(0)))


def test_showers_of_slanting_particles_are_not_turned(showers):
    given = {"theta": np.linspace(0, 0.5, 103)}
    some = replace(showers, conditions=given)
    made_of = ShowerBatches(some, Conditions.of(some), batch_size=50, augment=True)
    found = np.concatenate([batch.voxels.numpy() for batch in made_of.epoch(0)])
    np.testing.assert_array_equal(found, showers.voxels)


def test_showers_at_angles_that_are_labels_are_not_turned(showers):
    some = replace(showers, conditions={"theta": np.arange(103) % 3})
    made_of = ShowerBatches(some, Conditions.of(some), batch_size=50, augment=True)
    found = np.concatenate([batch.voxels.numpy() for batch in made_of.epoch(0)])
    np.testing.assert_array_equal(found, showers.voxels)


def test_voxels_below_the_threshold_are_energy_of_no_layer(showers):
    cut = float(np.median(showers.voxels[showers.voxels > 0]))
    some = replace(showers, geometry=replace(showers.geometry, threshold=cut))
    found = torch.cat([batch.voxels for batch in batches(some, shuffle=False).epoch(0)])
    np.testing.assert_array_equal(found.numpy(), some.above().voxels)
    assert found.sum() < 0.99 * showers.voxels.sum()


def test_weights_and_their_mean_come_along(showers):
    some = replace(showers, weight=np.linspace(0, 2, 103))
    (batch,) = batches(some, batch_size=200, shuffle=False).epoch(0)
    assert isinstance(batch, ShowerBatch)
    assert len(batch) == 103
    values = torch.arange(103.0)
    expected = np.average(values.numpy(), weights=some.weight) * some.weight.mean()
    assert batch.mean(values).item() == pytest.approx(expected, rel=1e-5)
    assert batch.to(torch.float64).voxels.dtype == torch.float64
    assert {"weight", "number"} <= set(batch.to_dict())


def test_batches_that_cannot_be_are_refused(showers):
    nothing: Showers = showers[:0]
    for source, options, told in (
        (nothing, {}, "no showers"),
        (showers, {"batch_size": 0}, "batch_size=0"),
        (showers, {"rank": 2, "world_size": 2}, "rank=2"),
        (showers[:1], {"world_size": 2}, "1 showers are too few for 2 processes"),
    ):
        with pytest.raises(ValueError, match=told):
            batches(source, **options)
