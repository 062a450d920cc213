"""Turns and reflections of a calorimeter about its axis."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hepgen.calorimeter import Geometry, Layer
from hepgen.simulators.symmetry import turns
from tests.simulators.samples import IRREGULAR, REGULAR, made


def test_all_turns_and_reflections_of_four_sectors_are_found_once():
    found = turns(REGULAR)
    assert found.shape == (8, REGULAR.num_voxels)
    assert found[0].tolist() == list(range(REGULAR.num_voxels))
    assert len(np.unique(found, axis=0)) == 8
    assert all(len(np.unique(one)) == REGULAR.num_voxels for one in found)


def test_angles_between_voxels_stay():
    # What a turn is: layer and radius of each voxel stay, and so does each distance.
    x, y = REGULAR.x, REGULAR.y
    distance = np.hypot(x[:, None] - x, y[:, None] - y)
    for one in turns(REGULAR):
        np.testing.assert_array_equal(REGULAR.layer_of[one], REGULAR.layer_of)
        np.testing.assert_allclose(REGULAR.r[one], REGULAR.r)
        np.testing.assert_allclose(distance[one][:, one], distance, atol=1e-9)


def test_layers_of_different_division_turn_together():
    geometry = Geometry(
        (Layer((0, 1), 6, 0), Layer((0, 1, 2), 4, 1), Layer((0, 3), 1, 2)), symmetric=True
    )
    found = turns(geometry)
    # Half a turn is what six and four sectors have in common; with reflections four.
    assert len(found) == 4
    for one in found:
        ring = geometry.r > 0
        shift = np.angle(np.exp(1j * (geometry.alpha[one] - geometry.alpha)))
        mirror = np.angle(np.exp(1j * (geometry.alpha[one] + geometry.alpha)))
        several = ring & (geometry.layer_of < 2)
        same = [np.allclose(np.cos(a[several]), np.cos(a[several][0])) for a in (shift, mirror)]
        assert any(same)


def test_a_calorimeter_that_singles_out_an_angle_has_one_turn():
    assert turns(replace(REGULAR, symmetric=False)).shape == (1, REGULAR.num_voxels)
    assert turns(replace(IRREGULAR, symmetric=True)).shape == (10, IRREGULAR.num_voxels)


def test_turned_showers_keep_their_widths_and_energies():
    showers = made(50)
    for one in turns(REGULAR):
        turned = replace(showers, voxels=showers.voxels[:, one])
        np.testing.assert_allclose(turned.layer_energies, showers.layer_energies, rtol=1e-6)
        width = (turned.voxels * REGULAR.r).sum(axis=1)
        np.testing.assert_allclose(width, (showers.voxels * REGULAR.r).sum(axis=1), rtol=1e-5)
