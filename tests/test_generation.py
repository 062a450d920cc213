"""``hepgen generate``: showers into files, by one process or several, and after a kill."""

from __future__ import annotations

from dataclasses import replace

import h5py
import numpy as np
import pytest
import uproot

from hepgen import calorimeter, generation
from hepgen.calorimeter import EnergyRangeWarning, GeometryError, ShowerError
from hepgen.cli import main
from hepgen.generation import generate
from hepgen.generation_parts import Parts, write_part
from hepgen.io.errors import InputError, MissingFile, NotReadable, OutputExists
from hepgen.shower_layout import in_layout, read_like
from hepgen.shower_output import check_new_file, try_to_write
from hepgen.simulators import CaloVAE
from tests.simulators.samples import IRREGULAR, made
from tests.simulators.sizes import SIZES


@pytest.fixture(scope="module")
def simulator():
    showers = made(256)
    model = CaloVAE.of(showers, **SIZES["CaloVAE"])
    model.fit(showers, epochs=1, batch_size=64, progress=False)
    return model


@pytest.fixture(scope="module")
def expected(simulator):
    return simulator.sample(300, "2:50", seed=5, block=32)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(generation, "PART", 64)


OPTIONS = {"seed": 5, "block": 32, "progress": False}


def assert_same(path, expected):
    found = calorimeter.read(path, geometry=expected.geometry)
    np.testing.assert_allclose(found.voxels, expected.voxels, rtol=2e-7)
    np.testing.assert_allclose(found.incident_energy, expected.incident_energy, rtol=1e-7)


def test_the_file_holds_what_sample_gives(simulator, expected, tmp_path):
    path = generate(simulator, 300, "2:50", output=tmp_path / "a.hdf5", **OPTIONS)
    assert_same(path, expected)
    assert [p.name for p in tmp_path.iterdir()] == ["a.hdf5"]


def test_several_processes_make_the_same_file(simulator, expected, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    alone = generate(simulator, 300, "2:50", output=tmp_path / "a.hdf5", **OPTIONS)
    both = generate(simulator, 300, "2:50", output=tmp_path / "b.hdf5", workers=2, **OPTIONS)
    one, two = (calorimeter.read(p, geometry=expected.geometry) for p in (alone, both))
    np.testing.assert_array_equal(one.voxels, two.voxels)


def test_a_run_that_was_killed_goes_on(simulator, expected, tmp_path, monkeypatch):
    write, made = Parts.write, []

    def dies(self, number, voxels):
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append(number)
        write(self, number, voxels)

    monkeypatch.setattr(Parts, "write", dies)
    with pytest.raises(KeyboardInterrupt):
        generate(simulator, 300, "2:50", output=tmp_path / "a.hdf5", **OPTIONS)
    assert not (tmp_path / "a.hdf5").exists()
    again = []

    def told(self, number, voxels):
        again.append(number)
        write(self, number, voxels)

    monkeypatch.setattr(Parts, "write", told)
    with pytest.raises(OutputExists, match="another seed: 5, now 6; overwrite drops them"):
        generate(simulator, 300, "2:50", output=tmp_path / "a.hdf5", **{**OPTIONS, "seed": 6})
    path = generate(simulator, 300, "2:50", output=tmp_path / "a.hdf5", **OPTIONS)
    assert made == [0, 1]
    assert again == [2, 3, 4]
    assert_same(path, expected)


def test_parts_of_another_run_are_dropped_where_that_is_wanted(tmp_path):
    output = tmp_path / "a.hdf5"
    first = Parts(output, {"seed": 1}, overwrite=False)
    write_part(first.path(0), np.ones((2, 3), np.float32))
    assert 0 in Parts(output, {"seed": 1}, overwrite=False)
    second = Parts(output, {"seed": 2}, overwrite=True)
    assert 0 not in second
    assert list(second.numbers(2)) == [0, 1]


def test_showers_like_others_have_their_energies(simulator, tmp_path):
    like = made(40, seed=9)
    path = generate(simulator, like=like, output=tmp_path / "a.root", progress=False)
    found = calorimeter.read(path, geometry=like.geometry)
    np.testing.assert_allclose(found.incident_energy, like.incident_energy, rtol=1e-6)
    np.testing.assert_array_equal(found.event, np.arange(40))
    with pytest.raises(ShowerError, match="there are 40 showers to be like"):
        generate(simulator, 41, like=like, output=tmp_path / "b.root")
    with pytest.raises(ShowerError, match="energies are those of"):
        generate(simulator, 4, 10.0, like=like, output=tmp_path / "b.root")


def test_what_makes_no_sense_is_refused_before_anything_is_made(simulator, tmp_path):
    (tmp_path / "there.hdf5").touch()
    with pytest.raises(OutputExists, match=r"there\.hdf5 exists; overwrite replaces it"):
        generate(simulator, 10, output=tmp_path / "there.hdf5")
    with pytest.raises(InputError, match="workers=0"):
        generate(simulator, 10, output=tmp_path / "a.hdf5", workers=0)
    with pytest.raises(ShowerError, match="wanted a number of showers n"):
        generate(simulator, output=tmp_path / "a.hdf5")
    with pytest.raises(NotReadable, match=r"wanted the name of a file that ends in"):
        generate(simulator, 10, output=tmp_path / "a.txt")
    with pytest.raises(InputError, match="levle"):
        generate(simulator, 10, output=tmp_path / "a.hdf5", levle=3)
    with pytest.raises(InputError, match="block=0"):
        generate(simulator, 10, output=tmp_path / "a.hdf5", block=0)
    with pytest.raises(MissingFile, match=r"there is no folder .*nowhere"):
        generate(simulator, 10, output=tmp_path / "nowhere" / "a.hdf5")
    assert [p.name for p in tmp_path.iterdir()] == ["there.hdf5"]


def test_events_keep_their_identifiers(simulator, tmp_path):
    like = replace(made(70, seed=9), event=np.arange(500, 640, 2))
    path = generate(simulator, like=like, output=tmp_path / "a.root", **OPTIONS)
    found = calorimeter.read(path, geometry=like.geometry)
    np.testing.assert_array_equal(found.event, like.event)


def test_seeds_may_be_of_numpy(simulator, expected, tmp_path):
    options = {**OPTIONS, "seed": np.int64(5)}
    path = generate(simulator, 300, "2:50", output=tmp_path / "a.hdf5", **options)
    assert_same(path, expected)


def test_energies_beyond_the_training_are_told_once(simulator, tmp_path):
    with pytest.warns(EnergyRangeWarning) as told:
        generate(simulator, 100, "50:500", output=tmp_path / "a.hdf5", **OPTIONS)
    assert len(told) == 1


def test_the_verb_makes_a_file(simulator, tmp_path, capsys):
    simulator.save(tmp_path / "model.safetensors")
    words = [str(tmp_path / "model.safetensors"), "-n", "20", "--incident-energy", "2:50"]
    assert main(["generate", *words, "-o", str(tmp_path / "a.hdf5"), "--progress", "false"]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "a.hdf5")
    assert len(calorimeter.read(tmp_path / "a.hdf5", geometry=simulator.geometry)) == 20
    assert main(["generate", *words, "-o", str(tmp_path / "a.hdf5")]) == 1
    assert "exists; overwrite replaces it" in capsys.readouterr().err


def test_the_verb_hands_on_what_a_writer_is_told(simulator, tmp_path, capsys):
    simulator.save(tmp_path / "model.safetensors")
    words = [str(tmp_path / "model.safetensors"), "-n", "20", "--progress", "false"]
    told = {
        "a.root": ["--kind", "rntuple", "--unit", "MeV", "--tree", "mine"],
        "b.hdf5": ["--level", "9", "--dtype", "float64"],
    }
    for name, own in told.items():
        assert main(["generate", *words, "-o", str(tmp_path / name), *own]) == 0
    with uproot.open(tmp_path / "a.root") as file:
        assert file.classnames()["mine;1"] == "ROOT::RNTuple"
    with h5py.File(tmp_path / "b.hdf5") as file:
        assert (file["showers"].dtype, file["showers"].compression_opts) == (np.float64, 9)
    capsys.readouterr()
    assert main(["generate", *words, "-o", str(tmp_path / "c.hdf5"), "--kind", "rntuple"]) == 1
    told = "files of this kind have no option 'kind'; they have dtype, level"
    assert told in capsys.readouterr().err
    assert not (tmp_path / "c.hdf5").exists()
    name = tmp_path / "d.hdf6"
    assert main(["generate", *words, "-o", str(name)]) == 1
    assert f"NotReadable: {name}: wanted the name of a file that ends" in capsys.readouterr().err
    assert main(["generate", *words, "-o", str(name), "--incident-energi", "1:2"]) == 2
    assert "no option --incident-energi; nearest: --incident-energy" in capsys.readouterr().err


def test_showers_to_be_like_may_be_finer_than_the_simulator(simulator, tmp_path):
    geometry = simulator.geometry
    layers = [replace(e, num_alpha=2 * e.num_alpha) for e in geometry.layers]
    some = made(30, replace(geometry, layers=tuple(layers), name="fine"), seed=9)
    fine = calorimeter.write(tmp_path / "fine.hdf5", some)
    path = generate(simulator, like=fine, output=tmp_path / "a.hdf5", **OPTIONS)
    found = calorimeter.read(path)
    assert found.geometry.same_voxels(geometry)
    np.testing.assert_allclose(found.incident_energy, some.incident_energy, rtol=1e-6)
    read = read_like(fine, geometry)
    np.testing.assert_allclose(read.total_energy, some.total_energy, rtol=1e-5)
    other = calorimeter.write(tmp_path / "other.hdf5", made(30, IRREGULAR))
    with pytest.raises(GeometryError, match=r"irregular .* cannot be compared to small .* finer"):
        generate(simulator, like=other, output=tmp_path / "b.hdf5", **OPTIONS)
    assert in_layout(read, geometry) is read


def test_the_model_of_the_caller_stays_where_it_was(simulator, tmp_path, monkeypatch):
    moves = []
    monkeypatch.setattr(CaloVAE, "to", lambda self, where: moves.append(str(where)) or self)
    generate(simulator, 10, output=tmp_path / "a.hdf5", devices="cuda", **OPTIONS)
    assert moves == ["cuda", "cpu"]


def test_files_that_cannot_be_made_are_told_at_once(tmp_path):
    with pytest.raises(OutputExists, match="is a folder; wanted the name of a file"):
        check_new_file(tmp_path, overwrite=True)
    with pytest.raises(NotReadable, match=r"wanted the name of a file that ends in \.safetensors"):
        check_new_file(tmp_path / "model.pt", suffix=".safetensors")
    assert check_new_file(tmp_path / "model.safetensors", suffix=".safetensors").suffix
    with pytest.raises(InputError, match="levle"):
        try_to_write(tmp_path / "a.hdf5", made(1), {"levle": 2})
    assert not list(tmp_path.iterdir())
