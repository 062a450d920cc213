"""Observables and features of showers, against plain loops written from their definitions."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from hepgen.calorimeter import Geometry, Layer, ShowerError, Showers
from hepgen.calorimeter.challenge_geometries import named_geometry
from hepgen.calorimeter.observables import (
    feature_names,
    fpd_features,
    high_level_features,
    layer_labels,
    low_level_features,
    observable_names,
    observables,
)
from hepgen.calorimeter.shower_sums import ShowerSums
from tests.reference.calochallenge_features import CASES, voxels

REFERENCE = Path(__file__).resolve().parents[1] / "reference"

RINGS = tuple(4.65 * i for i in range(10))
DS2 = Geometry(
    tuple(Layer(RINGS, 16, i, 3.4 * (i + 0.5)) for i in range(45)), "ds2", threshold=15.15e-6
)
# The photons of ds1, but for lengths.
DS1 = Geometry(
    (
        Layer((0.0, 5, 10, 30, 50, 100, 200, 400, 600), 1, 0),
        Layer((0.0, 2, 4, 6, 8, 10, 12, 15, 20, 30, 40, 50, 70, 90, 120, 150, 200), 10, 1),
        Layer(tuple(np.linspace(0.0, 200, 20)), 10, 2),
        Layer((0.0, 50, 100, 200, 400, 600), 1, 3),
        Layer((0.0, 100, 200, 400, 1000, 2000), 1, 12),
    ),
    "ds1",
    threshold=1e-3,
)


def made(geometry: Geometry, number: int = 30, seed: int = 0) -> Showers:
    """Showers of which some voxels are empty, some below threshold, one layer and one shower."""
    rng = np.random.default_rng(seed)
    size = (number, geometry.num_voxels)
    voxels = rng.exponential(4 * max(geometry.threshold, 1e-3), size) * (rng.random(size) < 0.3)
    voxels[:, geometry.starts[1] : geometry.starts[2]] *= rng.random((number, 1)) < 0.5
    voxels[3] = 0
    return Showers(geometry, np.exp(rng.uniform(0, 4, number)), voxels.astype(np.float32))


def by_definition(showers: Showers) -> dict[str, NDArray[np.float64]]:
    """Energies in MeV, one voxel after the other; widths from deviations, not from squares."""
    geometry, found = showers.geometry, {}
    kept = np.where(showers.voxels >= geometry.threshold, showers.voxels, 0).astype(float) * 1000
    for number, layer in enumerate(geometry.layers):
        begin = sum(e.num_alpha * (len(e.r_edges) - 1) for e in geometry.layers[:number])
        columns: dict[str, list[float]] = {}
        for shower in kept:
            energy, places, filled = 0.0, [], 0
            for a in range(layer.num_alpha):
                for r in range(len(layer.r_edges) - 1):
                    e = shower[begin + a * (len(layer.r_edges) - 1) + r]
                    radius = (layer.r_edges[r] + layer.r_edges[r + 1]) / 2
                    alpha = -math.pi + (a + 0.5) * 2 * math.pi / layer.num_alpha
                    places.append((radius * math.cos(alpha), radius * math.sin(alpha), radius, e))
                    energy += e
                    filled += e > 0
            columns.setdefault("energy", []).append(energy)
            columns.setdefault("sparsity", []).append(1 - filled / len(places))
            for axis, name in enumerate("xyr"):
                if name != "r" and layer.num_alpha == 1:
                    continue
                mean = sum(p[axis] * p[3] for p in places) / (energy + 1e-16)
                square = sum((p[axis] - mean) ** 2 * p[3] for p in places) / (energy + 1e-16)
                columns.setdefault(f"centre_{name}", []).append(mean)
                columns.setdefault(f"width_{name}", []).append(math.sqrt(square))
        found |= {f"{k}_layer_{layer.id}": np.array(v) for k, v in columns.items()}
    found["total_energy"] = kept.sum(axis=1)
    return found


@pytest.mark.parametrize("geometry", [DS2, DS1], ids=["ds2", "ds1"])
def test_observables_of_layers_are_those_of_a_loop_over_the_definition(geometry: Geometry) -> None:
    showers = made(geometry, 6 if geometry is DS2 else 30)
    wanted = by_definition(showers)
    got = observables(showers)
    for name, values in wanted.items():
        scale = 1000 if "energy" in name else 1
        np.testing.assert_allclose(got[name] * scale, values, rtol=1e-6, atol=1e-5, err_msg=name)
    assert {n for n in got if "_layer_" in n and not n.startswith("share")} == wanted.keys() - {
        "total_energy"
    }


@pytest.mark.parametrize("name", CASES)
def test_observables_are_those_of_the_class_of_the_challenge(name: str) -> None:
    energies = voxels(name).astype(np.float64) / 1000
    got = observables(Showers(named_geometry(name), np.ones(len(energies)), energies))
    with np.load(REFERENCE / f"calochallenge_features_{name}.npz") as stored:
        assert len(stored) >= 29
        for key, values in stored.items():
            scale = 1000 if "energy" in key else 1
            np.testing.assert_allclose(got[key] * scale, values, rtol=1e-6, atol=1e-6, err_msg=key)


@pytest.mark.parametrize("geometry", [DS2, DS1], ids=["ds2", "ds1"])
def test_high_level_features_are_the_vector_of_the_challenge(geometry: Geometry) -> None:
    showers = made(geometry, 6 if geometry is DS2 else 30)
    wanted = by_definition(showers)
    ids = [layer.id for layer in geometry.layers]
    turned = [layer.id for layer in geometry.layers if layer.num_alpha > 1]
    columns = [np.log10(showers.incident_energy * 1000)]
    columns += [np.log10(wanted[f"energy_layer_{i}"] + 1e-8) for i in ids]
    for kind in ("centre_x", "centre_y", "width_x", "width_y"):
        columns += [wanted[f"{kind}_layer_{i}"] / 100 for i in turned]
    columns += [np.log10(wanted["total_energy"] + 1e-8)]
    for kind, scale in (("sparsity", 1), ("centre_r", 100), ("width_r", 100)):
        columns += [wanted[f"{kind}_layer_{i}"] / scale for i in ids]
    got = high_level_features(showers)
    np.testing.assert_allclose(got, np.stack(columns, axis=1), rtol=1e-6, atol=1e-6)
    assert got.shape[1] == len(feature_names(geometry))
    np.testing.assert_array_equal(fpd_features(showers), got)


@pytest.mark.parametrize("geometry", [DS2, DS1], ids=["ds2", "ds1"])
def test_low_level_features_are_those_of_the_challenge(geometry: Geometry) -> None:
    showers = made(geometry)
    voxels = np.where(showers.voxels >= geometry.threshold, showers.voxels, 0).astype(float) * 1000
    energy = showers.incident_energy[:, None] * 1000
    layers = np.stack(
        [
            voxels[:, a:b].sum(axis=1)
            for a, b in np.column_stack([geometry.starts[:-1], geometry.starts[1:]])
        ],
        axis=1,
    )
    np.testing.assert_allclose(
        low_level_features(showers), np.hstack([np.log10(energy), voxels / energy]), rtol=1e-6
    )
    shares = voxels / (layers[:, geometry.layer_of] + 1e-16)
    wanted = np.hstack([np.log10(energy), shares, np.log10(layers + 1e-8)])
    got = low_level_features(showers, normalised=True)
    np.testing.assert_allclose(got, wanted, rtol=1e-6)
    assert got.shape[1] == len(feature_names(geometry, "low-normalised"))
    assert len(feature_names(geometry, "low")) == geometry.num_voxels + 1


def test_a_shower_made_by_hand_has_the_observables_one_reads_off() -> None:
    geometry = Geometry((Layer((0, 10, 20), 4, 0, 5.0), Layer((0, 10, 20), 4, 1, 25.0)))
    voxels = np.zeros((1, 16))
    voxels[0, 0] = 1.0  # layer 0, first sector, inner ring
    voxels[0, 8 + 7] = 3.0  # layer 1, last sector, outer ring
    got = observables(Showers(geometry, np.array([5.0]), voxels))
    told = {name: float(values[0]) for name, values in got.items()}
    assert told["response"] == pytest.approx(0.8)
    assert told["depth"] == pytest.approx(0.75)
    assert told["depth_mm"] == pytest.approx(20)
    assert told["depth_spread"] == pytest.approx(math.sqrt(3) / 4)
    assert told["depth_spread_mm"] == pytest.approx(5 * math.sqrt(3))
    assert told["peak_layer"] == 1
    assert told["peak_share"] == told["share_layer_1"] == told["largest_share"] == 0.75
    assert told["num_hits"] == 2
    assert told["sparsity"] == 14 / 16
    assert told["largest_voxel"] == 3
    assert told["effective_hits"] == pytest.approx(1.6)
    assert told["core_share"] == 0.25
    # A quarter of the energy is within 10 mm, and the rest spread to 20 mm: 0.65 of 0.75 of it.
    assert told["radius_90"] == pytest.approx(10 + 10 * 0.65 / 0.75)
    assert told["centre_r"] == pytest.approx((5 + 3 * 15) / 4)
    assert told["centre_x"] == pytest.approx((-5 + 3 * -15) / 4 / math.sqrt(2))


def test_showers_without_energy_give_numbers() -> None:
    for geometry in (DS1, DS2):
        empty = Showers(geometry, np.array([1.0]), np.zeros((1, geometry.num_voxels)))
        got = observables(empty)
        filled = {"incident_energy"} | {n for n in got if n.startswith("sparsity")}
        assert all(got[name][0] == 1 for name in filled)
        assert all(got[name][0] == 0 for name in got.keys() - filled)
        for features in (high_level_features(empty), low_level_features(empty, normalised=True)):
            assert np.isfinite(features).all()
        assert high_level_features(empty[:0]).shape == (0, len(feature_names(geometry)))


def test_the_radius_that_holds_a_share_grows_with_the_share_and_ends_at_the_last_edge() -> None:
    sums = ShowerSums(made(DS1))
    radii = np.stack([sums.radius(share) for share in (0.1, 0.5, 0.9, 1.0)])
    assert (np.diff(radii, axis=0) >= 0).all()
    filled = sums.total > 0
    assert (radii[-1][filled] <= 2000).all()
    assert (radii[-1][~filled] == 0).all()
    np.testing.assert_allclose(sums.rings.sum(axis=1), sums.total)


def test_voxels_below_threshold_count_as_empty() -> None:
    showers = made(DS2)
    assert (showers.voxels[showers.voxels > 0] < DS2.threshold).any()
    cut = showers.above()
    np.testing.assert_array_equal(high_level_features(showers), high_level_features(cut))
    np.testing.assert_array_equal(low_level_features(showers), low_level_features(cut))


def test_only_what_is_asked_for_comes_back_and_wrong_names_are_told_with_the_nearest() -> None:
    showers = made(DS1)
    assert list(observables(showers, ["response", "width_r_layer_12"])) == [
        "response",
        "width_r_layer_12",
    ]
    assert "centre_x_layer_12" not in observable_names(DS1)
    assert "depth_mm" not in observable_names(DS1)
    assert "depth_mm" in observable_names(DS2)
    with pytest.raises(ShowerError, match=r"no observable 'width_r_layer_4'.*width_r_layer_"):
        observables(showers, ["width_r_layer_4"])


def test_layers_of_one_id_are_called_by_their_number() -> None:
    assert layer_labels(DS1) == ["0", "1", "2", "3", "12"]
    assert layer_labels(Geometry((Layer((0, 1)), Layer((0, 1))))) == ["0", "1"]


def test_geant4_showers_have_the_depth_and_response_that_were_measured(real_data: Path) -> None:
    import h5py

    with h5py.File(real_data / "showers" / "electrons_1-100GeV_ds2.hdf5") as file:
        energy, voxels = file["incident_energies"][:1000], file["showers"][:1000]
    got = observables(Showers(DS2, energy.astype(float) / 1000, voxels / 1000))
    # Told by those who simulated them: 641 hits, 0.967 with 13.5 %/sqrt(E) (mean of 13 000).
    assert got["num_hits"].mean() == pytest.approx(641, rel=0.1)
    resolution = 0.135 / np.sqrt(energy[:, 0] / 1000)
    pull = (got["response"] / 0.967 - 1) / resolution
    # Their mean has an error of 0.03, their spread one of 0.02.
    assert abs(pull.mean()) < 0.15
    assert pull.std() == pytest.approx(1, abs=0.1)
    # Electrons of some 10 GeV in this stack have their mean at layer 9.5.
    near = np.abs(np.log(energy[:, 0] / 1e4)) < 0.4
    assert got["depth"][near].mean() == pytest.approx(9.5, abs=0.4)
    np.testing.assert_allclose(got["depth_mm"], 3.4 * (got["depth"] + 0.5))
