"""The analytic simulator: fitted by moments, on showers of full simulation."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

import hepgen
from hepgen.calorimeter import Geometry, GeometryError, Layer, ShowerError, Showers
from hepgen.calorimeter.materials import MaterialError
from hepgen.calorimeter.shower_parameters import ShowerTuning
from hepgen.calorimeter.shower_profile import simulate_showers
from hepgen.calorimeter.stack import Homogeneous, Sampling
from hepgen.io.errors import MissingName
from hepgen.simulators import Conditions
from hepgen.simulators.analytic import ParametrisedShowers

RINGS = tuple(4.65 * i for i in range(10))
LAYERS = Geometry(
    tuple(Layer(RINGS, 16, i, 3.4 * (i + 0.5)) for i in range(45)), "ds2", "electron", 15.15e-6
)
COARSE = LAYERS.merged(layers=3, sectors=2, rings=(1, 1, 2, 5))
ENERGIES = Conditions((1.0, 100.0))
STACK = Sampling((("W", 1.4), ("Si", 0.3)), 0.135)


def some(number: int = 300, **arguments) -> Showers:
    energy = 100 ** np.random.default_rng(0).random(number)
    return simulate_showers(COARSE, STACK, energy, **arguments)


def test_it_makes_the_showers_of_the_formulas_before_any_fit():
    simulator = ParametrisedShowers(COARSE, ENERGIES)
    assert simulator.tuning == ShowerTuning(sampling_term=0.135)
    assert simulator.paper.year == 2000
    found = simulator.sample(2000, 20.0)
    same = simulate_showers(COARSE, STACK, np.full(2000, 20.0))
    error = np.sqrt(2 * same.layer_energies.var(axis=0) / 2000)
    pulls = (found.layer_energies - same.layer_energies).mean(axis=0) / error
    # Fifteen layers: by chance one is beyond 4 sigma in 1e-3 of seeds.
    assert np.abs(pulls).max() < 4


def test_its_fit_has_no_epochs_and_no_history():
    simulator = ParametrisedShowers(COARSE, ENERGIES, number=500)
    assert simulator.fit(some(response=0.5), epochs=3, progress=False) == {}
    assert simulator.tuning.response == pytest.approx(0.5, abs=0.01)
    with pytest.raises(TypeError, match="has no loss"):
        simulator.loss(next(simulator.batches(some(), batch_size=8).epoch(0)))


def test_its_fit_counts_weights_and_no_voxels_below_the_threshold():
    light, heavy = some(response=0.5), some(response=0.8)
    both = Showers.joined([light, heavy])
    weight = np.repeat([0.0, 1.0], [len(light), len(heavy)])
    simulator = ParametrisedShowers(COARSE, ENERGIES, number=300)
    simulator.fit(replace(both, weight=weight), progress=False)
    assert simulator.tuning.response == pytest.approx(0.8, abs=0.01)
    # Noise below the threshold in every voxel, which would be hits and energy at large radii.
    noisy = replace(heavy, voxels=np.where(heavy.voxels > 0, heavy.voxels, np.float32(14e-6)))
    found = [ParametrisedShowers(COARSE, ENERGIES, number=300) for _ in range(2)]
    for one, sample in zip(found, (heavy, noisy), strict=True):
        one.prepare(sample)
    assert torch.equal(found[0].factors, found[1].factors)


def test_what_was_fitted_is_saved(tmp_path):
    mine = {"material": Homogeneous("PbWO4").to_dict()["material"], "sampling_term": 0.02}
    simulator = ParametrisedShowers(COARSE, ENERGIES, calorimeter=mine, particle="photon")
    with torch.no_grad():
        simulator.factors += 0.125
    simulator.save(tmp_path / "model.safetensors")
    again = hepgen.load(tmp_path / "model.safetensors")
    assert again.tuning == simulator.tuning
    assert again.stack == Homogeneous("PbWO4", 0.02)
    assert json.loads(json.dumps(again.config())) == simulator.config()
    found = again.sample(20, 5.0)
    np.testing.assert_array_equal(found.voxels, simulator.sample(20, 5.0).voxels)


def test_photons_and_electrons_of_one_sample_are_told_apart():
    pdg = np.tile([11, 22], 150)
    labels = np.tile([3, 1, 2], 100)
    mixed = some(particle=pdg)
    conditions = {"region": labels, **mixed.conditions, "period": labels}
    mixed = Showers(COARSE, mixed.incident_energy, mixed.voxels, conditions)
    simulator = ParametrisedShowers.of(mixed)
    depth = np.array([layer.z for layer in COARSE.layers])
    means = []
    for one in (11, 22):
        given = {"pdg": one, "region": 3, "period": 1}
        found = simulator.sample(1000, 20.0, conditions=given)
        means.append((found.layer_energies @ depth).sum() / found.total_energy.sum())
    # Photons begin 9/7 radiation lengths later, and both of the pair are of less energy.
    assert 0.3 < (means[1] - means[0]) / STACK.radiation_length < 1.2
    only = ParametrisedShowers.of(Showers(COARSE, [1.0], mixed.voxels[:1], {"pdg": [22]}))
    assert only.sample(2, 1.0).conditions["pdg"].tolist() == [22, 22]


def test_calorimeters_and_particles_that_make_no_sense_are_refused():
    flat = Geometry(tuple(Layer(RINGS, 16, i) for i in range(45)))
    with pytest.raises(GeometryError, match="no depth z of 45 of its 45 layers"):
        ParametrisedShowers(flat, ENERGIES)
    edges = (3.4 * np.arange(46)).tolist()
    simulator = ParametrisedShowers(flat, ENERGIES, z_edges=edges)
    placed = ParametrisedShowers(LAYERS, ENERGIES).sample(3, 10.0)
    mine = simulator.sample(3, 10.0)
    np.testing.assert_allclose(mine.above(15.15e-6).voxels, placed.voxels, rtol=1e-5)
    with pytest.raises(ShowerError, match=r"particle='pion' .*nearest: positron"):
        ParametrisedShowers(COARSE, ENERGIES, particle="pion")
    with pytest.raises(ShowerError, match="particle 211 has no parametrised shower"):
        ParametrisedShowers(COARSE, Conditions((1, 2), categories={"pdg": (11, 211)}))
    with pytest.raises(MissingName, match="nearest: F, W"):
        ParametrisedShowers(COARSE, ENERGIES, calorimeter={"material": "Wf"})
    with pytest.raises(MaterialError, match="nearest: material"):
        ParametrisedShowers(COARSE, ENERGIES, calorimeter={"materials": "W"})
    with (
        pytest.warns(hepgen.calorimeter.EnergyRangeWarning),
        pytest.raises(ShowerError, match=r"not from 0\.0369 GeV"),
    ):
        ParametrisedShowers(COARSE, ENERGIES).sample(3, 0.01)


def load(path: Path, rows: slice) -> Showers:
    with h5py.File(path) as file:
        energy = file["incident_energies"][rows].astype(np.float64) / 1e3
        showers = Showers(LAYERS, energy, file["showers"][rows] / np.float32(1e3))
    return showers.into(COARSE)


def inside(showers: Showers, rings: int) -> float:
    parts = showers.voxels.reshape(len(showers), 15, 8, 4)
    return float((parts[..., :rings].sum(axis=(1, 2, 3)) / showers.total_energy).mean())


def test_fitted_to_geant4_it_agrees_with_showers_that_were_held_back(real_data):
    path = real_data / "showers" / "electrons_1-100GeV_ds2.hdf5"
    train, test = load(path, slice(0, 2500)), load(path, slice(9000, 11500))
    simulator = ParametrisedShowers.of(train, number=1000)
    simulator.fit(train, validation=None, progress=False)
    made = simulator.sample(len(test), test.incident_energy, seed=1)
    depth = np.array([layer.z for layer in COARSE.layers]) / STACK.radiation_length
    for low, high in ((2, 10), (10, 30), (30, 100)):
        rows = (test.incident_energy >= low) & (test.incident_energy < high)
        one, other = test[rows], made[rows]
        # Each agrees to what a common factor can do and four sigma of the showers of a bin.
        share = 4 * 0.135 / np.sqrt(rows.sum() * low)
        assert other.response.mean() == pytest.approx(one.response.mean(), abs=0.004 + share)
        width = one.response.std()
        assert other.response.std() == pytest.approx(width, rel=0.05 + 4 / np.sqrt(rows.sum()))
        a, b = (s.layer_energies @ depth / s.total_energy for s in (one, other))
        error = 4 * a.std() * np.sqrt(2 / rows.sum())
        assert b.mean() == pytest.approx(a.mean(), abs=0.02 * a.mean() + error)
        for rings in (1, 2, 3):
            assert inside(other, rings) == pytest.approx(inside(one, rings), abs=0.02)
        hits = [(s.voxels > 0).sum(axis=1).mean() for s in (one, other)]
        assert hits[1] == pytest.approx(hits[0], rel=0.1)
