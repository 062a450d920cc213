"""HDF5 in the layout of the CaloChallenge: bit for bit, units, and files that are not whole."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from hepgen.calorimeter import Geometry, GeometryError, Layer, ShowerError, Showers
from hepgen.calorimeter.challenge import DATASETS, ChallengeFile, size_mismatch
from hepgen.calorimeter.challenge_geometries import named_geometry
from hepgen.calorimeter.challenge_writer import ChallengeWriter
from hepgen.calorimeter.reading import Float, Reading
from hepgen.calorimeter.units import Unit, check_units, per_gev, unit_of
from hepgen.calorimeter.voxel_order import AXES, flat_order
from hepgen.io.errors import (
    InputError,
    MissingFile,
    MissingName,
    NotReadable,
    OutputExists,
    WrongType,
)

ELECTRONS = "electrons_1-100GeV_ds2.hdf5"
SMALL = Geometry(tuple(Layer((0, 1, 2, 4), 2, i) for i in range(4)), "small", threshold=1e-5)
PBWO4 = Geometry(tuple(Layer(tuple(1.96 * np.arange(61)), 1, i, 8.904 * i) for i in range(49)))


def showers(number: int = 50, geometry: Geometry = SMALL, dtype: Any = np.float32) -> Showers:
    rng = np.random.default_rng(3)
    energy = rng.uniform(1, 100, number).astype(np.float32).astype(np.float64)
    share = rng.dirichlet(np.full(geometry.num_voxels, 0.3), number)
    return Showers(geometry, energy, (share * energy[:, None]).astype(dtype))


def write(path: Path, some: Showers, **options: Any) -> None:
    with ChallengeWriter(path, some.geometry, **options) as writer:
        writer.extend(some)


def all_of(path: Path, geometry: Geometry | None = None, **options: Any) -> Showers:
    file = ChallengeFile(path, geometry, Reading(**options))
    return file.read(0, len(file))


def raw(path: Path, energy: Any, voxels: Any, **more: Any) -> Path:
    """A file as others write it: two datasets, nothing else."""
    with h5py.File(path, "w") as file:
        file["incident_energies"] = np.asarray(energy, np.float32)
        file["showers"] = np.asarray(voxels, np.float32)
        for name, values in more.items():
            file[name] = values
    return path


def assert_close(ours: Any, wanted: Any, rel: float) -> None:
    np.testing.assert_allclose(ours, wanted, rtol=rel, atol=0)


def _extend(writer: ChallengeWriter, *pieces: Showers) -> None:
    for piece in pieces:
        writer.extend(piece)


def content(path: Path) -> dict[str, np.ndarray]:
    with h5py.File(path) as file:
        return {name: dataset[...] for name, dataset in file.items()}


@pytest.mark.parametrize("name", [ELECTRONS, "photons_1-50GeV_ds2.hdf5"])
def test_a_real_file_read_in_double_precision_is_written_bit_for_bit(
    name: str, real_data: Path, tmp_path: Path
) -> None:
    source = ChallengeFile(real_data / "showers" / name, reading=Reading(dtype="float64"))
    write(tmp_path / "copy.hdf5", source.read(0, 700))
    theirs, ours = h5py.File(source.path), h5py.File(tmp_path / "copy.hdf5")
    with theirs, ours:
        assert set(ours) == set(theirs)
        for name in ours:
            assert ours[name].dtype == theirs[name].dtype
            assert ours[name].compression == "gzip"
            assert ours[name].shape == (700, *theirs[name].shape[1:])
            assert ours[name][...].tobytes() == theirs[name][:700].tobytes()


def test_a_real_file_read_in_single_precision_is_written_to_one_unit_in_the_last_place(
    real_data: Path, tmp_path: Path
) -> None:
    source = ChallengeFile(real_data / "showers" / ELECTRONS)
    some = source.read(0, 700)
    assert some.voxels.dtype == np.float32
    write(tmp_path / "copy.hdf5", some)
    with h5py.File(source.path) as file:
        theirs = file["showers"][:700]
        energy = file["incident_energies"][:700]
    ours = content(tmp_path / "copy.hdf5")
    assert np.abs(ours["showers"].view(np.int32) - theirs.view(np.int32)).max() <= 1
    assert ours["incident_energies"].tobytes() == energy.tobytes()


@pytest.mark.parametrize("file_type", ["float32", "float64"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_showers_come_back_in_each_precision(
    file_type: Float, dtype: Float, tmp_path: Path
) -> None:
    some = showers(dtype=np.dtype(dtype))
    write(tmp_path / "a.hdf5", some, dtype=file_type)
    back = all_of(tmp_path / "a.hdf5", dtype=dtype)
    single = "float32" in (file_type, dtype)
    assert_close(back.voxels, some.voxels, 1.3e-7 if single else 3e-16)
    exact = file_type == "float64"
    assert_close(back.incident_energy, some.incident_energy, 3e-16 if exact else 6e-8)
    assert back.voxels.dtype == dtype
    assert back.geometry == SMALL
    with h5py.File(tmp_path / "a.hdf5") as file:
        assert file["showers"].dtype == file["incident_energies"].dtype == file_type
        assert file["showers"].attrs["unit"] == file["incident_energies"].attrs["unit"] == "MeV"
        assert file["incident_energies"].shape == (50, 1)


def test_energies_of_files_are_a_thousand_times_those_of_memory(real_data: Path) -> None:
    file = ChallengeFile(real_data / "showers" / "electrons_50GeV_ds3.hdf5")
    some = file.read(10, 20)
    assert some.geometry.same_voxels(named_geometry("ds3"))
    assert some.geometry.particle is None
    assert np.all(some.incident_energy == 50)
    assert some.response.mean() == pytest.approx(0.967, abs=0.03)
    with h5py.File(file.path) as theirs:
        assert_close(some.voxels, theirs["showers"][10:20] / 1000, 1e-7)


def test_conditions_events_and_weights_come_back(tmp_path: Path) -> None:
    bare = showers()
    rng = np.random.default_rng(1)
    theta, pdg = rng.random(50), np.where(rng.random(50) < 0.5, 11, 22)
    some = Showers(
        SMALL, bare.incident_energy, bare.voxels, {"theta": theta, "pdg": pdg, "spin": theta < 0.5},
        event=rng.integers(2**60, size=50), weight=rng.random(50),
    )  # fmt: skip
    path = tmp_path / "a.hdf5"
    write(path, some)
    back = all_of(path)
    for name, values in some.conditions.items():
        assert np.array_equal(back.conditions[name], values)
        assert back.conditions[name].dtype == values.dtype
    assert np.array_equal(back.event, some.event)
    assert np.array_equal(back.weight, some.weight)
    assert set(all_of(path, conditions=["pdg"]).conditions) == {"pdg"}
    assert not all_of(path, conditions=[]).conditions
    with pytest.raises(MissingName, match=r"no dataset 'theta_0'.*nearest: theta"):
        ChallengeFile(path, reading=Reading(conditions=["theta_0"]))
    with pytest.raises(ShowerError, match="cannot be called 'showers'"):
        write(tmp_path / "b.hdf5", Showers(SMALL, bare.incident_energy, bare.voxels,
                                           {"showers": theta}))  # fmt: skip


def test_datasets_may_have_other_names_and_shapes(tmp_path: Path) -> None:
    some = showers(3)
    path = tmp_path / "a.hdf5"
    with h5py.File(path, "w") as file:
        file["in/energy"] = some.incident_energy
        file["in/angle"] = np.array([[0.1], [0.2], [0.3]])
        file["cells"] = some.voxels.reshape(3, 4, 2, 3) * 1000
        file["phi"] = np.zeros(3)
        file["eta"] = np.zeros(4)
    names = {"incident_energy": "in/energy", "voxels": "cells", "theta": "in/angle"}
    units = {"incident_energy": "GeV", "voxels": "MeV"}
    back = all_of(path, SMALL, names=names, unit=units)
    assert np.array_equal(back.incident_energy, some.incident_energy)
    assert_close(back.voxels, some.voxels, 1e-6)
    assert back.conditions["theta"].tolist() == [0.1, 0.2, 0.3]
    # eta is of another length, and so of nothing that is a shower.
    assert set(back.conditions) == {"theta", "phi"}
    with pytest.raises(MissingName, match=r"no dataset 'incident_energies' .*nearest: in/energy"):
        ChallengeFile(path, SMALL)
    with pytest.raises(MissingName, match=r"no dataset 'cell' .*nearest: cells"):
        ChallengeFile(path, SMALL, Reading(names={**names, "voxels": "cell"}))
    with pytest.raises(ShowerError, match=r"theta of .*shape \(4,\); there are 3 showers"):
        ChallengeFile(path, SMALL, Reading(names={**names, "theta": "eta"}, unit=units))


def test_a_homogeneous_calorimeter_with_an_axis_for_each_direction_is_read(real_data: Path) -> None:
    file = ChallengeFile(real_data / "showers" / "pbwo4_electrons.hdf5", PBWO4)
    some = file.read(0, 790)
    with h5py.File(file.path) as theirs:
        assert_close(some.voxels.reshape(-1, 49, 60), theirs["showers"][...] / 1000, 1e-7)
    assert some.layer_energies.shape == (790, 49)
    with pytest.raises(GeometryError, match="has 2940 voxels and tells no geometry"):
        ChallengeFile(file.path)
    turned = Geometry(tuple(Layer(tuple(1.96 * np.arange(50)), 1, i) for i in range(60)))
    with pytest.raises(GeometryError, match=r"shape \(49, 60\), wanted calorimeter \(60 x 1 x 49"):
        ChallengeFile(file.path, turned)


def test_axes_in_another_order_are_turned_when_they_are_told(tmp_path: Path) -> None:
    some = showers(20)
    grid = some.voxels.reshape(20, 4, 2, 3)
    path = raw(tmp_path / "a.hdf5", some.incident_energy * 1e3, grid.transpose(0, 3, 2, 1) * 1e3)
    back = all_of(path, SMALL, axes="r alpha z")
    assert_close(back.voxels, some.voxels, 1e-6)
    with pytest.raises(GeometryError, match=r"shape \(3, 2, 4\).*say so: axes='r alpha z'"):
        ChallengeFile(path, SMALL)
    with pytest.raises(GeometryError, match="say so: axes='r alpha z'"):
        ChallengeFile(path, SMALL, Reading(axes="alpha r z"))
    flat = grid.transpose(0, 2, 3, 1).reshape(20, -1) * 1e3
    path = raw(tmp_path / "b.hdf5", some.incident_energy[:, None] * 1e3, flat)
    assert all_of(path, SMALL, axes="alpha, r, z").voxels == pytest.approx(some.voxels, rel=1e-6)
    with pytest.raises(GeometryError, match="axes='r phi': wanted some of z, alpha, r"):
        ChallengeFile(path, SMALL, Reading(axes="r phi"))
    with pytest.raises(GeometryError, match="do not describe voxels"):
        ChallengeFile(path, SMALL, Reading(axes="r z"))


def test_the_order_of_axes_is_that_of_a_transposition() -> None:
    numbers = np.arange(24)
    assert AXES == ("z", "alpha", "r")
    assert flat_order((24,), None, SMALL, "x") is flat_order((4, 2, 3), "z alpha r", SMALL, "x")
    order = flat_order((24,), "r z alpha", SMALL, "x")
    wanted = numbers.reshape(3, 4, 2).transpose(1, 2, 0).ravel()
    assert np.array_equal(order, wanted)
    with pytest.raises(GeometryError, match="need layers that are divided alike"):
        flat_order((368,), "r z", named_geometry("ds1-photons"), "x")


def test_kev_where_mev_are_expected_are_found_out(tmp_path: Path) -> None:
    some = showers()
    path = raw(tmp_path / "a.hdf5", some.incident_energy * 1e6, some.voxels * 1e6)
    with pytest.raises(ShowerError, match=r"looks as if the file is in keV; say which .*'keV'"):
        ChallengeFile(path, SMALL)
    read = all_of(path, SMALL, unit="keV")
    assert read.incident_energy == pytest.approx(some.incident_energy, rel=1e-6)


@pytest.mark.parametrize(
    ("energy_factor", "voxel_factor", "message"),
    [
        (1, 1, "greatest incident energy is 0.0[0-9]* GeV .*looks as if the file is in GeV"),
        (1000, 1, "looks as if voxels are in GeV and incident energies in MeV"),
        (1, 1000, "looks as if incident energies are in GeV and voxels in MeV"),
    ],
)
def test_gev_where_mev_are_expected_is_found_out(
    energy_factor: float, voxel_factor: float, message: str, tmp_path: Path
) -> None:
    some = showers()
    energy, voxels = some.incident_energy, some.voxels
    keep = energy < 40
    energy, voxels = energy[keep], voxels[keep]
    path = raw(tmp_path / "a.hdf5", energy * energy_factor, voxels * voxel_factor)
    with pytest.raises(ShowerError, match=message):
        ChallengeFile(path, SMALL)
    units = {
        "incident_energy": "GeV" if energy_factor == 1 else "MeV",
        "voxels": "GeV" if voxel_factor == 1 else "MeV",
    }
    assert all_of(path, SMALL, unit=units).voxels == pytest.approx(voxels, rel=1e-6)
    with h5py.File(path, "a") as file:
        for name, unit in units.items():
            file[DATASETS[name]].attrs["unit"] = unit
    assert all_of(path, SMALL).voxels == pytest.approx(voxels, rel=1e-6)


def test_a_real_file_in_gev_is_found_out_and_real_files_in_mev_are_not(
    real_data: Path, tmp_path: Path
) -> None:
    some = ChallengeFile(real_data / "showers" / ELECTRONS).read(0, 200)
    path = raw(tmp_path / "a.hdf5", some.incident_energy, some.voxels)
    with pytest.raises(ShowerError, match=r"the file is in GeV; say which .*unit='GeV'"):
        ChallengeFile(path)
    assert np.array_equal(all_of(path, unit="GeV").voxels, some.voxels)
    # Of what is told it is not doubted, even where it is wrong.
    assert all_of(path, unit="MeV").incident_energy.max() < 0.1
    for file in (real_data / "showers").glob("*_ds*.hdf5"):
        assert ChallengeFile(file).read(0, 10).incident_energy.min() >= 1


def test_units_are_known_by_name() -> None:
    assert [per_gev(unit) for unit in ("keV", "MeV", "GeV", "TeV")] == [1e6, 1e3, 1, 1e-3]
    with pytest.raises(ShowerError, match="unit 'Mev' of energies is not known; nearest: MeV"):
        per_gev("Mev")
    told: Unit = {"voxels": "keV"}
    assert unit_of("voxels", told, "GeV") == "keV"
    assert unit_of("incident_energy", told, b"GeV") == "GeV"
    assert unit_of("incident_energy", None, None) == "MeV"
    with pytest.raises(ShowerError, match="unit of 'voxel': no such quantity; nearest: voxels"):
        unit_of("voxels", {"voxel": "GeV"}, None)


def test_what_a_sampling_calorimeter_sees_is_made_the_whole_energy(tmp_path: Path) -> None:
    some = showers()
    path = raw(tmp_path / "a.hdf5", some.incident_energy * 1e3, some.voxels * 33)
    assert_close(all_of(path, SMALL, sampling_fraction=0.033).voxels, some.voxels, 2e-7)
    for wrong in (0, 1.5, float("nan")):
        with pytest.raises(ShowerError, match=r"sampling_fraction=.*wanted a share"):
            Reading(sampling_fraction=wrong)


def test_showers_without_energy_tell_nothing_of_units() -> None:
    none = np.zeros((2, 3))
    check_units(np.ones(2), none.sum(axis=1), none, 1e-3, "nowhere")


def test_datasets_that_do_not_go_together_are_refused(tmp_path: Path) -> None:
    voxels = showers(5).voxels * 1000
    path = raw(tmp_path / "a.hdf5", np.full(4, 5e3), voxels)
    with pytest.raises(ShowerError, match=r"has 5 showers, but incident_energies has shape \(4,\)"):
        ChallengeFile(path, SMALL)
    path = raw(tmp_path / "b.hdf5", np.full(24, 5e3), voxels[0])
    with pytest.raises(ShowerError, match=r"shape \(24,\), wanted a row for each shower"):
        ChallengeFile(path, SMALL)
    with h5py.File(tmp_path / "c.hdf5", "w") as file:
        file["showers"] = np.array([b"a", b"b"])[:, None]
        file["incident_energies"] = np.ones(2)
    with pytest.raises(WrongType, match=r"showers of .* wanted numbers"):
        ChallengeFile(tmp_path / "c.hdf5", SMALL)
    with pytest.raises(WrongType, match="dtype='half': wanted 'float32'"):
        ChallengeFile(tmp_path / "c.hdf5", SMALL, Reading(dtype="half"))  # type: ignore[arg-type]


def test_showers_and_geometries_that_do_not_fit_name_both_sizes(tmp_path: Path) -> None:
    voxels = np.ones((2, 533))
    path = raw(tmp_path / "a.hdf5", np.full(2, 1e3), voxels)
    message = r"a.hdf5 has 533 voxels, ds2 .* has 6480; ds1-pions would fit"
    with pytest.raises(GeometryError, match=message):
        ChallengeFile(path, "ds2")
    with pytest.raises(GeometryError, match=r"533 voxels, small .* has 24; ds1-pions would fit"):
        ChallengeFile(path, SMALL)
    assert "no geometry of the challenge fits" in str(size_mismatch(7, SMALL, "x"))
    assert ChallengeFile(path).geometry.name == "ds1-pions"


def test_bad_showers_are_told_with_their_file_and_rows(tmp_path: Path) -> None:
    voxels = showers(300).voxels * 1000
    energy = showers(300).incident_energy * 1000
    voxels[222, 3] = np.nan
    energy[150] = 0
    file = ChallengeFile(raw(tmp_path / "a.hdf5", energy, voxels), SMALL)
    with pytest.raises(ShowerError, match=r"a.hdf5 \(rows 200 to 300\): .*voxel 3 of shower 22"):
        file.read(200, 300)
    with pytest.raises(ShowerError, match=r"rows 100 to 200\): .*shower 50 has 0.0 GeV"):
        file.read(100, 200)


def test_files_that_are_not_whole_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.hdf5"
    write(path, showers(500))
    whole = path.read_bytes()
    for size in (0, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(NotReadable, match=r"a.hdf5"):
            all_of(path)
    path.write_bytes(b"no showers" * 100)
    with pytest.raises(NotReadable, match="is not an HDF5 file"):
        ChallengeFile(path)
    with pytest.raises(MissingFile, match="no file"):
        ChallengeFile(tmp_path / "b.hdf5")
    # One byte in the middle of what is compressed.
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 0xFF
    path.write_bytes(damaged)
    with pytest.raises(NotReadable, match=r"a\.hdf5 \(rows 0 to 500\) cannot be read"):
        all_of(path)


def test_a_geometry_that_is_carried_and_none_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.hdf5"
    write(path, showers())
    with h5py.File(path, "a") as file:
        file.attrs["geometry"] = json.dumps({"layers": 3})
    with pytest.raises(NotReadable, match=r"attribute 'geometry' of .*give the geometry yourself"):
        ChallengeFile(path)
    assert len(ChallengeFile(path, SMALL)) == 50
    with h5py.File(path, "a") as file:
        file.attrs["geometry"] = json.dumps(named_geometry("ds2").to_dict())
    with pytest.raises(GeometryError, match=r"has 24 voxels, ds2 .*6480"):
        ChallengeFile(path)


def test_pieces_are_written_end_to_end_and_the_name_comes_last(tmp_path: Path) -> None:
    some, path = showers(500), tmp_path / "a.hdf5"
    with ChallengeWriter(path, SMALL) as writer:
        for start in range(0, 500, 64):
            writer.extend(some[start : start + 64])
            assert writer.num_showers == min(500, start + 64)
            assert not path.exists()
    writer.close()
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.hdf5"]
    assert_close(all_of(path).voxels, some.voxels, 2e-7)
    with h5py.File(path) as file:
        assert "whole" not in file.attrs


def test_an_error_leaves_nothing_and_the_old_file_stays(tmp_path: Path) -> None:
    some, path = showers(), tmp_path / "a.hdf5"
    write(path, some[:10])
    with pytest.raises(OutputExists, match="overwrite=True"):
        ChallengeWriter(path, SMALL)
    with pytest.raises(GeometryError), ChallengeWriter(path, SMALL, overwrite=True) as writer:
        _extend(writer, some, showers(2, named_geometry("ds2")))
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.hdf5"]
    assert len(ChallengeFile(path)) == 10
    write(path, some, overwrite=True)
    assert len(ChallengeFile(path)) == 50


def test_what_does_not_go_with_the_first_piece_is_refused(tmp_path: Path) -> None:
    some = showers()
    with ChallengeWriter(tmp_path / "a.hdf5", SMALL) as writer:
        writer.extend(some)
        with pytest.raises(GeometryError, match=r"a.hdf5 is for small .*, got ds2"):
            writer.extend(showers(2, named_geometry("ds2")))
        with pytest.raises(ShowerError, match="event: known of some of the showers"):
            writer.extend(Showers(SMALL, some.incident_energy, some.voxels, event=np.arange(50)))
    assert len(ChallengeFile(tmp_path / "a.hdf5")) == 50
    with (
        pytest.raises(InputError, match="was given no showers"),
        ChallengeWriter(tmp_path / "b.hdf5", SMALL),
    ):
        pass
    with pytest.raises(MissingFile, match="no folder"):
        ChallengeWriter(tmp_path / "no" / "a.hdf5", SMALL)
    with pytest.raises(InputError, match="level=12: wanted float32 or float64, 0 to 9"):
        ChallengeWriter(tmp_path / "b.hdf5", SMALL, level=12)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.hdf5"]


def test_an_interrupted_file_is_gone_on_with(tmp_path: Path) -> None:
    some, path = showers(100), tmp_path / "a.hdf5"
    other = showers(2, named_geometry("ds2"))
    with pytest.raises(GeometryError), ChallengeWriter(path, SMALL, resume=True) as writer:
        _extend(writer, some[:30], some[30:45], other)
    assert [entry.name for entry in tmp_path.iterdir()] == [".a.hdf5.part"]
    with pytest.raises(GeometryError, match=r"left of a run in small .*this one is in ds2"):
        ChallengeWriter(path, named_geometry("ds2"), resume=True)
    with pytest.raises(InputError, match="left of a run in float32"):
        ChallengeWriter(path, SMALL, resume=True, dtype="float64")
    # A row that was begun in one dataset and not in the others.
    with h5py.File(tmp_path / ".a.hdf5.part", "a") as file:
        file["showers"].resize(47, axis=0)
    with ChallengeWriter(path, SMALL, resume=True) as writer:
        assert writer.num_showers == 45
        writer.extend(some[45:])
    write(tmp_path / "b.hdf5", some)
    ours, whole = content(path), content(tmp_path / "b.hdf5")
    assert all(np.array_equal(ours[name], whole[name]) for name in whole)


def test_a_partial_file_that_cannot_be_opened_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / ".a.hdf5.part").write_bytes(b"half a header")
    with ChallengeWriter(tmp_path / "a.hdf5", SMALL, resume=True) as writer:
        assert writer.num_showers == 0
        writer.extend(showers(5))
    assert len(ChallengeFile(tmp_path / "a.hdf5")) == 5


KILLED = """
import sys, time, numpy as np
from hepgen.calorimeter import Geometry, Layer, Showers
from hepgen.calorimeter.challenge_writer import ChallengeWriter
small = Geometry(tuple(Layer((0, 1, 2, 4), 2, i) for i in range(4)), "small", threshold=1e-5)
with ChallengeWriter(sys.argv[1], small, resume=True) as writer:
    while True:
        writer.extend(Showers(small, np.full(40, 9.0), np.full((40, 24), 0.25)))
        print(writer.num_showers, flush=True)
        time.sleep(0.05)
"""


def test_what_was_written_before_a_kill_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.hdf5"
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        told = [int(process.stdout.readline()) for _ in range(5)][-1]
        os.kill(process.pid, signal.SIGKILL)
    assert not path.exists()
    with ChallengeWriter(path, SMALL, resume=True) as writer:
        assert writer.num_showers >= told
        writer.extend(showers(3))
    back = all_of(path)
    assert np.all(back.voxels[:told] == 0.25)
    assert len(back) == writer.num_showers


def test_large_geometries_fit_into_the_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    layers = [Layer(tuple(np.cumsum(rng.random(200)).tolist()), 2, i) for i in range(50)]
    one = Geometry(tuple(layers))
    write(tmp_path / "a.hdf5", Showers(one, np.ones(1), np.full((1, one.num_voxels), 1e-5)))
    assert ChallengeFile(tmp_path / "a.hdf5").geometry == one
    with h5py.File(tmp_path / "a.hdf5") as file:
        assert len(file.attrs["geometry"]) > 100_000
