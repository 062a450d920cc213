"""Showers: sums, thresholds, coarser voxels, and what is refused."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hepgen.calorimeter import Geometry, GeometryError, Layer, ShowerError, Showers
from hepgen.calorimeter.challenge_geometries import named_geometry

GEOMETRY = Geometry(tuple(Layer((0, 1, 2, 3), 4, i) for i in range(4)), threshold=0.1)


def showers(number: int = 7, geometry: Geometry = GEOMETRY, dtype: Any = np.float32) -> Showers:
    rng = np.random.default_rng(5)
    voxels = rng.exponential(size=(number, geometry.num_voxels)).astype(dtype)
    voxels *= rng.random(voxels.shape) < 0.3
    return Showers(
        geometry,
        rng.uniform(10, 20, number),
        voxels,
        {"theta": rng.random(number), "pdg": np.full(number, 11)},
        event=np.arange(number) + 100,
        weight=rng.random(number),
    )


def test_sums_over_layers_are_those_of_a_loop() -> None:
    for geometry in (GEOMETRY, named_geometry("ds1-pions")):
        some = showers(geometry=geometry)
        sums = np.zeros((len(some), geometry.num_layers))
        for voxel, layer in enumerate(geometry.layer_of.tolist()):
            sums[:, layer] += some.voxels[:, voxel]
        assert some.layer_energies == pytest.approx(sums, rel=1e-12)
        assert some.total_energy == pytest.approx(sums.sum(axis=1), rel=1e-12)
        assert some.response == pytest.approx(sums.sum(axis=1) / some.incident_energy, rel=1e-12)
        assert some.layer_energies.dtype == some.total_energy.dtype == np.float64


def test_single_precision_does_not_spoil_sums_of_many_voxels() -> None:
    geometry = named_geometry("ds3")
    voxels = np.full((1, geometry.num_voxels), 0.1, np.float32)
    total = Showers(geometry, np.array([1e4]), voxels).total_energy
    assert total[0] == pytest.approx(float(np.float32(0.1)) * geometry.num_voxels, rel=1e-12)


def test_some_of_the_showers_keep_all_that_is_known_of_them() -> None:
    some = showers()
    for which in (slice(1, 6, 2), np.array([1, 3, 5]), [1, 3, 5], np.arange(7) % 2 == 1):
        part = some[which]
        rows = np.array([1, 3, 5])
        assert np.array_equal(part.voxels, some.voxels[rows])
        assert np.array_equal(part.incident_energy, some.incident_energy[rows])
        assert np.array_equal(part.conditions["theta"], some.conditions["theta"][rows])
        assert np.array_equal(part.event, some.event[rows])
        assert np.array_equal(part.weight, some.weight[rows])
    assert len(some[:0]) == 0
    with pytest.raises(IndexError, match="wanted a slice"):
        some[3]


def test_what_is_below_the_threshold_is_emptied_but_not_what_rounding_put_there() -> None:
    voxels = np.zeros((1, GEOMETRY.num_voxels), np.float32)
    voxels[0, :4] = [0.05, 0.1 * (1 - 5e-7), 0.0999, 0.2]
    some = Showers(GEOMETRY, np.ones(1), voxels)
    assert np.flatnonzero(some.above().voxels).tolist() == [1, 3]
    assert np.flatnonzero(some.above(0.15).voxels).tolist() == [3]
    assert some.above().voxels.dtype == np.float32
    # NaN would empty all of them without a word.
    for threshold in (math.nan, -1e-3):
        with pytest.raises(ShowerError, match="wanted a number from 0 on"):
            some.above(threshold)


@pytest.mark.parametrize("number", [0, 1, 7, 5000])
def test_merged_voxels_hold_the_sums_of_their_parts(number: int) -> None:
    some = showers(number)
    coarse = some.merged(layers=2, sectors=2, rings=(1, 2))
    target = GEOMETRY.voxels_in(coarse.geometry)
    sums = np.zeros((number, coarse.geometry.num_voxels))
    np.add.at(sums.T, target, some.voxels.T.astype(np.float64))
    assert coarse.voxels == pytest.approx(sums, rel=1e-6)
    assert coarse.total_energy == pytest.approx(some.total_energy, rel=1e-6)
    assert coarse.event is some.event
    assert np.array_equal(some.into(coarse.geometry).voxels, coarse.voxels)


def test_samples_end_to_end_are_the_sample_again() -> None:
    some = showers()
    both = Showers.joined([some[:3], some[3:]])
    assert np.array_equal(both.voxels, some.voxels)
    assert np.array_equal(both.conditions["pdg"], some.conditions["pdg"])
    assert np.array_equal(both.event, some.event)
    assert np.array_equal(both.weight, some.weight)


def test_samples_that_do_not_go_together_are_not_joined() -> None:
    some = showers()
    with pytest.raises(ShowerError, match="no showers to join"):
        Showers.joined([])
    with pytest.raises(GeometryError, match="cannot be joined"):
        Showers.joined([some, some.merged(layers=2)])
    bare = Showers(GEOMETRY, some.incident_energy, some.voxels, some.conditions)
    with pytest.raises(ShowerError, match="event is known of some of the showers only"):
        Showers.joined([some, bare])
    other = Showers(GEOMETRY, some.incident_energy, some.voxels, {}, some.event, some.weight)
    with pytest.raises(ShowerError, match=r"\['pdg', 'theta'\] and \[\] cannot be joined"):
        Showers.joined([some, other])


def with_voxel(value: float) -> Any:
    voxels = np.zeros((3, GEOMETRY.num_voxels), np.float32)
    voxels[1, 4] = value
    return voxels


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"voxels": with_voxel(-1)}, "voxel 4 of shower 1: -1.0 GeV"),
        ({"voxels": with_voxel(np.nan)}, "voxel 4 of shower 1: nan GeV"),
        ({"voxels": with_voxel(np.inf)}, "voxel 4 of shower 1: inf GeV"),
        ({"incident_energy": [1, 0, 2]}, "shower 1 has 0.0 GeV"),
        ({"incident_energy": [1, -3, 2]}, "shower 1 has -3.0 GeV"),
        ({"incident_energy": [1, 2, np.nan]}, "shower 2 has nan GeV"),
        ({"incident_energy": [1, 2]}, r"incident_energy has shape \(2,\); there are 3 showers"),
        ({"conditions": {"theta": np.zeros(2)}}, r"theta has shape \(2,\); there are 3"),
        ({"conditions": {"theta": 1.0}}, r"theta has shape \(\); there are 3"),
        ({"weight": np.ones((3, 1))}, r"weight has shape \(3, 1\); there are 3"),
        ({"event": np.arange(4)}, r"event has shape \(4,\); there are 3"),
    ],
)
def test_what_no_calorimeter_gives_is_refused(changes: Any, message: str) -> None:
    usual = {"incident_energy": [1, 2, 3], "voxels": with_voxel(0.5)}
    with pytest.raises(ShowerError, match=message):
        Showers(GEOMETRY, **{**usual, **changes})


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_conditions_and_weights_are_numbers(wrong: float) -> None:
    some = showers()
    angles = np.linspace(0, 1, 7)
    angles[3] = wrong
    for changes, name in (
        ({"conditions": {"theta": angles}}, "theta"),
        ({"weight": angles}, "weight"),
    ):
        with pytest.raises(ShowerError, match=f"{name} of shower 3 is {wrong}: wanted a number"):
            replace(some, **changes)


def test_showers_of_another_calorimeter_are_refused_with_both_sizes() -> None:
    with pytest.raises(GeometryError, match=r"showers have 47 voxels, .*= 48 voxels\) has 48"):
        Showers(GEOMETRY, np.ones(2), np.zeros((2, 47)))
    with pytest.raises(GeometryError, match=r"shape \(48,\)"):
        Showers(GEOMETRY, np.ones(48), np.zeros(48))


def test_energies_of_the_layout_of_files_and_numbers_of_other_types_are_understood() -> None:
    some = Showers(GEOMETRY, np.ones((2, 1), np.float32), np.ones((2, 48), np.int32))
    assert some.incident_energy.shape == (2,)
    assert some.incident_energy.dtype == np.float64
    assert some.voxels.dtype == np.float32
    assert Showers(GEOMETRY, np.ones(2), np.ones((2, 48), np.float64)).voxels.dtype == np.float64
