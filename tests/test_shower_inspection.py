"""``hepgen inspect`` on files of showers: what they are, and what is wrong with them."""

from __future__ import annotations

import json
from dataclasses import replace

import awkward as ak
import h5py
import numpy as np
import pytest
import uproot

from hepgen import calorimeter
from hepgen.calorimeter import GeometryError, named_geometry
from hepgen.cli import main
from hepgen.io import inspect
from hepgen.shower_inspection import ShowerInspection, inspect_showers
from tests.simulators.samples import REGULAR, made


@pytest.fixture(scope="module")
def showers():
    some = made(60)
    told = {"pdg": np.repeat([11, 22], 30), "run": np.arange(60)}
    return replace(some, conditions=told, event=np.arange(60), weight=np.ones(60))


def looked(path, **options):
    found = inspect_showers(inspect(path), **options)
    assert isinstance(found, ShowerInspection)
    return found


def challenge(path, some, **columns):
    """A file as others write it: two datasets in MeV and nothing else."""
    given = {"incident_energies": 1e3 * some.incident_energy[:, None]}
    given |= {"showers": 1e3 * some.voxels, **columns}
    with h5py.File(path, "w") as file:
        for name, values in given.items():
            if values is not None:
                file[name] = values
    return path


@pytest.mark.parametrize(
    ("name", "options"),
    [("a.hdf5", {}), ("a.root", {"kind": "ttree"}), ("b.root", {"kind": "rntuple"})],
)
def test_our_files_tell_all_of_themselves(showers, tmp_path, name, options):
    found = looked(calorimeter.write(tmp_path / name, showers, **options))
    assert (found.showers, found.looked_at) == (60, 60)
    assert found.geometry == str(REGULAR)
    assert found.known_from == "told by the file"
    assert found.energy_range[0] == pytest.approx(showers.incident_energy.min(), rel=1e-6)
    assert found.response == pytest.approx(np.median(showers.response), rel=1e-5)
    assert found.fill == pytest.approx((showers.voxels > 0).mean())
    assert found.conditions == {"pdg": "11, 22", "run": "0 to 59, 60 different whole numbers"}
    assert found.columns == ("event", "weight")
    assert not found.problems
    assert "--data.numbers '[run]'" in found.next[0]


def test_the_limit_of_labels_is_that_of_training():
    from hepgen import shower_inspection
    from hepgen.simulators import conditions  # torch, for this test alone

    assert shower_inspection.MOST_LABELS == conditions.MOST_LABELS


def test_files_of_the_challenge_are_known_by_their_voxels(tmp_path):
    for name in ("ds1-photons", "ds2"):
        found = looked(challenge(tmp_path / f"{name}.hdf5", made(20, named_geometry(name))))
        assert found.geometry.startswith(name)
        assert found.known_from == "by the number of voxels"
        assert "as is usual" in found.unit
    merged = named_geometry("ds2").merged(layers=3, sectors=2, rings=(1, 1, 2, 5))
    found = looked(challenge(tmp_path / "coarse.hdf5", made(20, merged)))
    assert found.known_from.startswith("perhaps, as the bundled sample")
    assert "named_geometry('ds2').merged(layers=3" in found.next[0]


def test_voxels_of_no_known_calorimeter_are_told_with_what_can_be_done(showers, tmp_path):
    path = challenge(tmp_path / "a.hdf5", showers)
    found = looked(path)
    assert found.geometry is None
    assert "has 48 voxels and tells no geometry" in found.problems[0]
    assert found.energy_range is not None
    assert "--geometry NAME" in found.next[0]
    with pytest.raises(GeometryError, match=r"nearest: ds2"):
        looked(path, geometry="ds22")
    assert "48 voxels, ds2" in looked(path, geometry="ds2").problems[0]


def test_half_written_files_are_told_in_words(showers, tmp_path):
    energy = 1e3 * showers.incident_energy[:, None]
    late = np.where(np.arange(60)[:, None] < 40, energy, 0)
    empty = 1e3 * showers.voxels * (late > 0)
    path = tmp_path / "late.hdf5"
    found = looked(challenge(path, showers, incident_energies=late, showers=empty))
    assert "20 of 60 showers are not above 0: shower 40 has" in found.problems[0]
    assert found.problems[-1].startswith("the last showers are empty: whatever wrote the file")
    few = challenge(tmp_path / "few.hdf5", showers, incident_energies=energy[:40])
    assert "60 showers, but incident_energies has shape (40, 1)" in looked(few).problems[0]
    lone = challenge(tmp_path / "lone.hdf5", showers, incident_energies=None)
    assert "no dataset 'incident_energies'" in looked(lone).problems[0]
    soft = challenge(tmp_path / "gev.hdf5", showers, incident_energies=energy / 1e3)
    assert "incident energies are in GeV" in looked(soft).problems[0]
    assert "unit=" in looked(soft).next[0]
    none = challenge(tmp_path / "none.hdf5", showers[:0])
    assert "no showers in it" in " ".join(looked(none).problems)


def test_trees_of_others_are_known_by_their_branches(tmp_path):
    sample = made(20, named_geometry("ds2"))
    rows, cells = np.nonzero(sample.voxels)
    layer, sector, ring = np.unravel_index(cells, sample.geometry.shape)
    counts = np.bincount(rows, minlength=20)
    energy = 1e3 * sample.voxels[rows, cells].astype(float)
    par04 = {"EnergyCell": energy, "rhoCell": ring, "phiCell": sector, "zCell": layer}
    hits = {"cell_energy": energy, "cell_x": 1.0 * ring, "cell_y": 1.0 * ring}
    for name, lists, one in (("par04", par04, "EnergyMC"), ("hits", hits, "incident_energy")):
        columns = {k: ak.unflatten(v, counts) for k, v in lists.items()}
        with uproot.recreate(tmp_path / f"{name}.root") as file:
            file["events"] = columns | {one: 1e3 * sample.incident_energy}
    found = looked(tmp_path / "par04.root")
    assert found.kind == "a ROOT file of Geant4's example Par04"
    assert found.geometry.startswith("ds2")
    found = looked(tmp_path / "hits.root")
    assert "lists of hits" in found.kind
    assert "tells no geometry; give one" in found.problems[0]


def test_the_verb_prints_showers_and_says_nothing_of_jets(showers, tmp_path, capsys):
    path = calorimeter.write(tmp_path / "a.hdf5", showers)
    assert main(["inspect", str(path)]) == 0
    out = capsys.readouterr().out
    assert "showers: 60 in HDF5 in the layout of the CaloChallenge" in out
    assert "condition pdg: 11, 22" in out
    assert "follow no schema" not in out
    assert main(["inspect", str(path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["showers"]["showers"] == 60
    jets = "data_samples/top_qcd.root"
    assert inspect_showers(inspect(jets)) is None
    (tmp_path / "nothing.hdf5").touch()
    assert main(["inspect", str(tmp_path / "nothing.hdf5")]) == 1
    assert "is cut short: it is empty" in capsys.readouterr().err
