"""Showers in ROOT files: hits into voxels, cells and hits as lists, read back by ROOT itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
from hypothesis import given
from hypothesis import strategies as st

from hepgen.calorimeter import Geometry, GeometryError, Layer, ShowerError, Showers
from hepgen.calorimeter.challenge_geometries import named_geometry
from hepgen.calorimeter.files import ShowerFiles, read, write
from hepgen.calorimeter.hits import PLACES, Hits, hits_of, place_names, voxels_of
from hepgen.calorimeter.reading import Reading
from hepgen.calorimeter.tree_names import OWN_BRANCHES, PAR04_TREES, TreeNames, tree_names_of
from hepgen.calorimeter.tree_writer import ShowerTreeWriter
from hepgen.calorimeter.trees import TreeFile
from hepgen.io.errors import (
    InputError,
    MissingFile,
    MissingName,
    NotReadable,
    OutputExists,
    WrongType,
)
from hepgen.io.files import FileSpec
from hepgen.io.write import Kind

KINDS: list[Kind] = ["ttree", "rntuple"]
LAYERS = tuple(Layer((0, 1.5, 2, 4), 4, 3 * i + 1, 5.0 * i + 2) for i in range(3))
GEOMETRY = Geometry(LAYERS, "small", "photon", 1e-6)


def showers(number: int = 40, geometry: Geometry = GEOMETRY, dtype: Any = np.float32) -> Showers:
    rng = np.random.default_rng(2)
    energy = rng.uniform(1, 100, number)
    share = rng.dirichlet(np.full(geometry.num_voxels, 0.3), number)
    share *= rng.random(share.shape) < 0.6
    return Showers(
        geometry,
        energy,
        (share * energy[:, None]).astype(dtype),
        {"theta": rng.random(number), "pdg": np.full(number, 22)},
        event=rng.integers(2**60, size=number),
        weight=rng.random(number),
    )


def tree(path: Path, columns: dict[str, Any], name: str = "tree") -> Path:
    """A tree as others write it."""
    with uproot.recreate(path) as file:
        file.mktree(name, {n: a.type.content if isinstance(a, ak.Array) else a.dtype
                           for n, a in columns.items()})  # fmt: skip
        file[name].extend(columns)
    return path


def jagged(hits: Hits, values: Any) -> ak.Array:
    return ak.unflatten(values, np.diff(hits.offsets))


@pytest.fixture(scope="module")
def some() -> Showers:
    return showers()


@pytest.fixture(scope="module")
def hits(some: Showers) -> Hits:
    return hits_of(some)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("unit", ["GeV", "MeV"])
def test_written_showers_come_back(kind: Kind, unit: str, tmp_path: Path, some: Showers) -> None:
    path = write(tmp_path / "a.root", some, kind=kind, unit=unit)
    back = read(path)
    assert back.geometry == GEOMETRY
    if unit == "GeV":
        assert np.array_equal(back.voxels, some.voxels)
        assert np.array_equal(back.incident_energy, some.incident_energy)
    np.testing.assert_allclose(back.voxels, some.voxels, rtol=1.2e-7)
    np.testing.assert_allclose(back.incident_energy, some.incident_energy, rtol=3e-16)
    assert list(back.conditions) == ["theta", "pdg"]
    for name, values in some.conditions.items():
        assert np.array_equal(back.conditions[name], values)
    assert np.array_equal(back.event, some.event)
    assert np.array_equal(back.weight, some.weight)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.root"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_in_the_file_is_the_hits_with_their_places(
    kind: Kind, tmp_path: Path, some: Showers
) -> None:
    path = write(tmp_path / "a.root", some, kind=kind, tree="cells", unit="MeV")
    with uproot.open(path) as file:
        assert str(file["energy_unit"]) == "MeV"
        assert Geometry.from_dict(json.loads(str(file["geometry"]))) == GEOMETRY
        events = file["cells"].arrays()
    for i in range(len(some)):
        index = np.flatnonzero(some.voxels[i])
        assert events["cell_index"][i].tolist() == index.tolist()
        energy = np.asarray(events["cell_energy"][i])
        np.testing.assert_allclose(energy, some.voxels[i, index] * 1000, rtol=1e-6)
        np.testing.assert_allclose(events["cell_x"][i], GEOMETRY.x[index], rtol=1e-6)
        np.testing.assert_allclose(events["cell_y"][i], GEOMETRY.y[index], rtol=1e-6)
        np.testing.assert_allclose(events["cell_z"][i], GEOMETRY.z[index], rtol=1e-6)
        ids = [GEOMETRY.layers[n].id for n in GEOMETRY.layer_of[index]]
        assert events["cell_layer"][i].tolist() == ids


def test_depths_that_are_not_known_are_not_written(tmp_path: Path) -> None:
    pions = showers(5, named_geometry("ds1-pions"))
    path = write(tmp_path / "a.root", pions)
    with uproot.open(path) as file:
        assert "cell_z" not in file["showers"].keys()  # noqa: SIM118
    assert np.array_equal(read(path).voxels, pions.voxels)


PLACE_COLUMNS = [
    ("index",),
    ("layer", "sector", "ring"),
    ("layer", "x", "y"),
    ("layer", "r", "phi"),
    ("z", "x", "y"),
    ("z", "r", "phi"),
    ("z", "sector", "ring"),
]


def places_of(hits: Hits, geometry: Geometry) -> dict[str, Any]:
    voxel = hits.index
    layer = geometry.layer_of[voxel]
    rings = np.array([one.num_r for one in geometry.layers])[layer]
    inside = voxel - geometry.starts[layer]
    return {
        "index": voxel,
        "layer": np.array([one.id for one in geometry.layers])[layer],
        "sector": inside // rings,
        "ring": inside % rings,
        "x": geometry.x[voxel],
        "y": geometry.y[voxel],
        "z": geometry.z[voxel],
        "r": geometry.r[voxel],
        "phi": geometry.alpha[voxel],
    }


@pytest.mark.parametrize("names", PLACE_COLUMNS, ids=" ".join)
def test_hits_find_their_voxels_however_their_places_are_told(
    names: tuple[str, ...], some: Showers, hits: Hits, tmp_path: Path
) -> None:
    places = {name: places_of(hits, GEOMETRY)[name] for name in names}
    assert place_names(names, GEOMETRY) == names or set(place_names(names, GEOMETRY)) == set(names)
    sums, lost = voxels_of(hits.offsets, hits.energy, places, GEOMETRY)
    np.testing.assert_allclose(sums, some.voxels, rtol=1e-7)
    assert not lost.any()
    columns = {
        "E": some.incident_energy * 1000,
        "hit_e": jagged(hits, hits.energy * 1000),
        **{f"hit_{name}": jagged(hits, values) for name, values in places.items()},
    }
    path = tree(tmp_path / "a.root", columns)
    told = {"incident_energy": "E", "cell_energy": "hit_e"}
    told |= {f"cell_{name}": f"hit_{name}" for name in names}
    back = read(path, GEOMETRY, names=told)
    np.testing.assert_allclose(back.voxels, some.voxels, rtol=2e-7)
    np.testing.assert_allclose(back.incident_energy, some.incident_energy, rtol=3e-16)


@given(st.integers(0, 2**32 - 1))
def test_hits_at_random_lie_in_the_voxel_whose_edges_are_about_them(seed: int) -> None:
    rng = np.random.default_rng(seed)
    number = 50
    x, y = rng.uniform(-4.5, 4.5, (2, number))
    z = rng.uniform(-2, 16, number)
    energy = rng.exponential(size=number)
    offsets = np.array([0, 20, 20, number])
    sums, lost = voxels_of(offsets, energy, {"x": x, "y": y, "z": z}, GEOMETRY)
    wanted, out = np.zeros((3, GEOMETRY.num_voxels)), np.zeros(3)
    for i in range(number):
        row = 0 if i < 20 else 2
        found = None
        for voxel in range(GEOMETRY.num_voxels):
            layer = GEOMETRY.layers[GEOMETRY.layer_of[voxel]]
            ring = voxel % 3
            angle = (np.arctan2(y[i], x[i]) - GEOMETRY.alpha[voxel] + np.pi) % (2 * np.pi) - np.pi
            if (
                layer.r_edges[ring] <= np.hypot(x[i], y[i]) < layer.r_edges[ring + 1]
                and abs(z[i] - (layer.z or 0)) < 2.5
                and abs(angle) < np.pi / 4
            ):
                found = voxel
        if found is None:
            out[row] += energy[i]
        else:
            wanted[row, found] += energy[i]
    np.testing.assert_allclose(sums, wanted, rtol=1e-12)
    np.testing.assert_allclose(lost, out, rtol=1e-12)


def test_hits_beyond_the_geometry_are_left_out_and_those_of_one_voxel_summed() -> None:
    offsets = np.array([0, 4, 6])
    places = {
        "layer": np.array([1, 1, 2, 7, 4, 4]),
        "ring": np.array([0, 0, 0, 3, -1, 2]),
        "sector": np.array([1, 1, 1, 1, 0, 4]),
    }
    sums, lost = voxels_of(offsets, np.array([1.0, 2, 4, 8, 16, 32]), places, GEOMETRY)
    assert np.flatnonzero(sums[0]).tolist() == [3]
    assert sums[0, 3] == 3
    assert lost.tolist() == [12, 48]
    index = {"index": np.array([0, 35, 36, -1, 5, 5])}
    sums, lost = voxels_of(offsets, np.ones(6), index, GEOMETRY)
    assert (sums.sum(axis=1).tolist(), lost.tolist()) == ([2, 2], [2, 0])
    nan = {"z": np.full(6, np.nan), "x": np.ones(6), "y": np.ones(6)}
    with pytest.raises(ShowerError, match="z of a hit is no number"):
        voxels_of(offsets, np.ones(6), nan, GEOMETRY)


def test_places_that_are_not_enough_are_refused() -> None:
    with pytest.raises(GeometryError, match=r"known x, y; wanted index, or layer or z with sector"):
        place_names(["x", "y"], GEOMETRY)
    with pytest.raises(GeometryError, match=r"known z, r; wanted"):
        place_names(["z", "r"], GEOMETRY)
    with pytest.raises(GeometryError, match="of hits is known nothing"):
        place_names([], GEOMETRY)
    with pytest.raises(GeometryError, match=r"whose depths are known and rise; ds1-pions"):
        place_names(["z", "x", "y"], named_geometry("ds1-pions"))
    rings = Geometry(tuple(Layer((0, 1, 2), 1, i, float(i)) for i in range(3)))
    assert place_names(["r", "z"], rings) == ("z", "r")
    assert set(place_names(PLACES, GEOMETRY)) == {"index"}


def test_names_are_those_told_then_those_of_hepgen_then_those_of_par04() -> None:
    own = sorted(OWN_BRANCHES | {"theta"})
    found = tree_names_of(own, {}, None, ["theta"], "x")
    assert isinstance(found, TreeNames)
    assert (found.energy, found.event, found.weight, found.par04) == (
        "incident_energy",
        "event",
        "weight",
        False,
    )
    assert found.conditions == {"theta": "theta"}
    par04 = ["EnergyMC", "EnergyCell", "rhoCell", "phiCell", "zCell", "SimTime", "ThetaMC"]
    found = tree_names_of(par04, {}, None, [], "x")
    assert found.par04
    assert found.places == {"ring": "rhoCell", "sector": "phiCell", "layer": "zCell"}
    assert found.conditions == {"theta": "ThetaMC"}
    assert found.branches == ["EnergyMC", "EnergyCell", "zCell", "phiCell", "rhoCell", "ThetaMC"]
    assert tree_names_of(par04, {"incident_energy": "SimTime"}, [], [], "x").energy == "SimTime"
    with pytest.raises(MissingName, match=r"no branch 'TimeSim' in x \(time\); nearest: SimTime"):
        tree_names_of(par04, {"time": "TimeSim"}, None, [], "x")
    with pytest.raises(MissingName, match=r"no branch 'incident_energy' in x"):
        tree_names_of(["E", "cell_energy"], {}, None, [], "x")
    with pytest.raises(MissingName, match=r"no branch 'phi' in x .*nearest: phiCell"):
        tree_names_of([*par04, "cell_energy", "incident_energy"], {}, ["phi"], [], "x")


def par04_columns(hits: Hits, geometry: Geometry, scale: float = 1000.0) -> dict[str, Any]:
    places = places_of(hits, geometry)
    return {
        "EnergyCell": jagged(hits, hits.energy.astype(np.float64) * scale),
        "rhoCell": jagged(hits, places["ring"].astype(np.int32)),
        "phiCell": jagged(hits, places["sector"].astype(np.int32)),
        "zCell": jagged(hits, places["layer"].astype(np.int32)),
    }


@pytest.mark.parametrize("name", ["ds2", "ds3"])
def test_ntuples_of_par04_are_read_in_their_usual_meshes(name: str, tmp_path: Path) -> None:
    geometry = named_geometry(name)
    sample = showers(20, geometry)
    columns = par04_columns(hits_of(sample), geometry)
    columns |= {"EnergyMC": sample.incident_energy * 1000, "SimTime": np.ones(20)}
    back = read(tree(tmp_path / "a.root", columns, "events"))
    assert back.geometry.same_voxels(geometry)
    assert back.geometry.name == name
    assert back.geometry.particle is None
    np.testing.assert_allclose(back.voxels, sample.voxels, rtol=2e-7)
    np.testing.assert_allclose(back.incident_energy, sample.incident_energy, rtol=3e-16)
    assert not back.conditions


def test_ntuples_of_recent_par04_stand_in_two_trees(tmp_path: Path) -> None:
    geometry = named_geometry("ds2")
    sample = showers(20, geometry)
    cells = par04_columns(hits_of(sample), geometry, 1000 * 0.033)
    particles = {"EnergyMC": sample.incident_energy * 1000, "ThetaMC": np.full(20, 1.5)}
    path = tmp_path / "a.root"
    with uproot.recreate(path) as file:
        for name, columns in zip(PAR04_TREES, (cells, particles), strict=True):
            file.mktree(name, {n: a.type.content if isinstance(a, ak.Array) else a.dtype
                               for n, a in columns.items()})  # fmt: skip
            file[name].extend(columns)
        file.mktree("physicalReadout", {"EnergyCell": "float64"})
    back = read(path, sampling_fraction=0.033)
    np.testing.assert_allclose(back.voxels, sample.voxels, rtol=2e-7)
    assert back.conditions["theta"].tolist() == [1.5] * 20
    with pytest.raises(MissingName, match=r"no branch 'EnergyMC' .*virtualReadout"):
        read(FileSpec(str(path), "virtualReadout"))


def test_cells_beyond_the_meshes_of_par04_need_a_geometry(tmp_path: Path) -> None:
    wide = Geometry(
        tuple(Layer(tuple(range(26)), 60, i, i + 0.5) for i in range(10)), threshold=1e-6
    )
    sample = showers(5, wide)
    columns = par04_columns(hits_of(sample), wide) | {"EnergyMC": sample.incident_energy * 1000}
    path = tree(tmp_path / "a.root", columns, "events")
    with pytest.raises(GeometryError, match="number 24 in r, 59 in phi, 9 in z: neither 18 x"):
        read(path)
    np.testing.assert_allclose(read(path, wide).voxels, sample.voxels, rtol=2e-7)


def test_slices_and_numbers_of_trees_are_those_of_the_sample(tmp_path: Path, some: Showers) -> None:
    paths = [
        write(tmp_path / f"{i}.root", some[a:b]) for i, (a, b) in enumerate([(0, 25), (25, 40)])
    ]
    files = ShowerFiles(paths)
    assert len(files) == 40
    rows = np.array([0, 3, 24, 25, 39])
    assert np.array_equal(files[rows].voxels, some.voxels[rows])
    assert np.array_equal(files[20:30].event, some[20:30].event)
    assert len(files[:0]) == 0
    mixed = [paths[0], write(tmp_path / "b.hdf5", some[25:], dtype="float64")]
    assert np.array_equal(read(mixed).voxels, some.voxels)
    assert np.array_equal(read(f"{paths[0]}:showers").voxels, some.voxels[:25])


def test_pieces_are_written_end_to_end(tmp_path: Path, some: Showers) -> None:
    pieces: Iterator[Showers] = (some[a : a + 7] for a in range(0, 40, 7))
    path = write(tmp_path / "a.root", pieces)
    assert np.array_equal(read(path).voxels, some.voxels)
    assert np.array_equal(
        read(write(tmp_path / "a.hdf5", (some[a : a + 7] for a in range(0, 40, 7)))).event,
        some.event,
    )
    with pytest.raises(ShowerError, match="no showers to write"):
        write(tmp_path / "b.root", [])
    empty = Showers(GEOMETRY, np.ones(3), np.zeros((3, 36)))
    assert not read(write(tmp_path / "c.root", empty)).voxels.any()
    with ShowerTreeWriter(tmp_path / "d.root", GEOMETRY, dtype="float64") as writer:
        double = showers(dtype=np.float64)
        writer.extend(double[:5])
        assert writer.num_showers == 5
    assert np.array_equal(read(tmp_path / "d.root", dtype="float64").voxels, double[:5].voxels)


def test_what_cannot_be_written_is_refused_and_leaves_nothing(
    tmp_path: Path, some: Showers
) -> None:
    with (
        pytest.raises(GeometryError, match=r"a.root is for small .*, got ds2"),
        ShowerTreeWriter(tmp_path / "a.root", GEOMETRY) as writer,
    ):
        writer.extend(showers(2, named_geometry("ds2")))
    bad = Showers(GEOMETRY, some.incident_energy, some.voxels, {"cell_x": np.ones(40)})
    with pytest.raises(ShowerError, match="cannot be called 'cell_x'"):
        write(tmp_path / "a.root", bad)
    bare = Showers(GEOMETRY, some.incident_energy, some.voxels)
    with pytest.raises(MissingName, match="theta"):
        write(tmp_path / "a.root", [some, bare])
    with pytest.raises(ShowerError, match="unit 'Gev'"):
        write(tmp_path / "a.root", some, unit="Gev")
    with pytest.raises(InputError, match="kind 'tuple' is not known"):
        write(tmp_path / "a.root", some, kind="tuple")
    with pytest.raises(InputError, match="dtype='int'"):
        write(tmp_path / "a.root", some, dtype="int")
    assert not list(tmp_path.iterdir())
    write(tmp_path / "a.root", some)
    with pytest.raises(OutputExists):
        write(tmp_path / "a.root", some)


def test_energies_of_trees_in_other_units_are_found_out(
    tmp_path: Path, some: Showers, hits: Hits
) -> None:
    columns = {
        "incident_energy": some.incident_energy,
        "cell_energy": jagged(hits, hits.energy),
        "cell_index": jagged(hits, hits.index),
    }
    keep = some.incident_energy < 50
    columns = {name: values[keep] for name, values in columns.items()}
    path = tree(tmp_path / "a.root", columns)
    with pytest.raises(ShowerError, match="looks as if the file is in GeV"):
        read(path, GEOMETRY)
    assert np.array_equal(read(path, GEOMETRY, unit="GeV").voxels, some.voxels[keep])


def test_trees_that_are_no_showers_are_refused(tmp_path: Path, some: Showers, hits: Hits) -> None:
    columns = {
        "incident_energy": some.incident_energy * 1000,
        "cell_energy": jagged(hits, hits.energy * 1000),
        "cell_index": jagged(hits, hits.index),
    }
    path = tree(tmp_path / "a.root", columns)
    with pytest.raises(GeometryError, match="tells no geometry; give one"):
        read(path)
    with pytest.raises(GeometryError, match="axes are of HDF5 files"):
        read(path, GEOMETRY, axes="z r")
    with pytest.raises(WrongType, match="dtype='half'"):
        TreeFile(FileSpec(str(path)), GEOMETRY, Reading(dtype="half"))  # type: ignore[arg-type]
    with pytest.raises(MissingName, match=r"no branch 'cell_eng' .*nearest: cell_energy"):
        read(path, GEOMETRY, names={"cell_energy": "cell_eng"})
    with pytest.raises(WrongType, match=r"'cell_energy' .*wanted one number an entry"):
        read(path, GEOMETRY, names={"incident_energy": "cell_energy"})
    with pytest.raises(WrongType, match=r"'incident_energy' .*wanted a list"):
        read(path, GEOMETRY, names={"cell_energy": "incident_energy"}, unit="MeV")
    away = tree(tmp_path / "b.root", {**columns, "cell_index": columns["cell_index"] + 1000})
    with pytest.raises(ShowerError, match=r"b.root.*none of \d+ hits lies in a voxel of small"):
        read(away, GEOMETRY)
    nan = tree(tmp_path / "c.root", {**columns, "cell_energy": columns["cell_energy"] * np.nan})
    with pytest.raises(ShowerError, match=r"c.root, entries 0 to 40: .*voxel"):
        read(nan, GEOMETRY)
    uneven = ak.unflatten(ak.flatten(columns["cell_index"]), np.roll(np.diff(hits.offsets), 1))
    path = tree(tmp_path / "d.root", {**columns, "cell_index": uneven})
    with pytest.raises(InputError, match="lists of different lengths"):
        read(path, GEOMETRY)


def test_incident_energies_may_stand_in_lists_of_one(
    tmp_path: Path, some: Showers, hits: Hits
) -> None:
    columns = {
        "energies": ak.unflatten(some.incident_energy * 1000, 1),
        "cell_energy": jagged(hits, hits.energy * 1000),
        "cell_index": jagged(hits, hits.index),
    }
    columns["lists"] = ak.from_regular(columns["energies"])
    path = tree(tmp_path / "a.root", columns)
    for name in ("energies", "lists"):
        back = read(path, GEOMETRY, names={"incident_energy": name})
        np.testing.assert_allclose(back.incident_energy, some.incident_energy, rtol=3e-16)


def test_files_that_are_not_whole_are_refused(tmp_path: Path, some: Showers) -> None:
    path = write(tmp_path / "a.root", some)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(NotReadable, match=r"a.root"):
        read(path)
    path.write_bytes(b"nothing" * 100)
    with pytest.raises(NotReadable, match="is not a ROOT file"):
        read(path)
    with pytest.raises(MissingFile):
        read(tmp_path / "b.root")
    columns = {"incident_energy": np.ones(1), "cell_energy": ak.Array([[1.0]])}
    with uproot.update(tree(tmp_path / "c.root", columns)) as file:
        file["energy_unit"], file["geometry"] = "GeV", "{"
    with pytest.raises(NotReadable, match=r"text 'geometry' .* give the geometry yourself"):
        read(tmp_path / "c.root")


@pytest.mark.parametrize("kind", KINDS)
def test_root_reads_what_was_written(kind: Kind, tmp_path: Path, some: Showers, root: Any) -> None:
    path = write(tmp_path / "a.root", some, kind=kind)
    frame = root.RDataFrame("showers", str(path))
    frame = frame.Define(
        "total", "std::accumulate(cell_energy.begin(), cell_energy.end(), 0.0)"
    ).Define("first", "cell_index.empty() ? -1 : int(cell_index[0])")
    columns = frame.AsNumpy(["incident_energy", "total", "first", "theta", "pdg", "event"])
    assert np.array_equal(columns["incident_energy"], some.incident_energy)
    np.testing.assert_allclose(columns["total"], some.total_energy, rtol=1e-7)
    assert np.array_equal(columns["event"], some.event)
    assert np.array_equal(columns["theta"], some.conditions["theta"])
    firsts = [int(np.flatnonzero(row)[0]) for row in some.voxels]
    assert columns["first"].tolist() == firsts
    mean = frame.Define("depth", "ROOT::VecOps::Sum(cell_energy * cell_z) / total").Mean("depth")
    wanted = (some.voxels * GEOMETRY.z).sum(axis=1) / some.total_energy
    assert mean.GetValue() == pytest.approx(wanted.mean(), rel=1e-6)


def test_vectors_that_root_writes_are_read(tmp_path: Path, root: Any) -> None:
    """As the analysis manager of Geant4 does: one number or std::vector a branch."""
    geometry = named_geometry("ds3")
    sample = showers(5, geometry)
    hits, path = hits_of(sample), tmp_path / "a.root"
    places = places_of(hits, geometry)
    file = root.TFile(str(path), "RECREATE")
    events = root.TTree("events", "per event data")
    energy = np.zeros(1)
    lists = {"EnergyCell": root.std.vector("double")()}
    lists |= {name: root.std.vector("int")() for name in ("rhoCell", "phiCell", "zCell")}
    events.Branch("EnergyMC", energy, "EnergyMC/D")
    for name, values in lists.items():
        events.Branch(name, values)
    for i in range(5):
        part = slice(hits.offsets[i], hits.offsets[i + 1])
        energy[0] = sample.incident_energy[i] * 1000
        filled = zip(
            lists.values(),
            (hits.energy * 1000.0, places["ring"], places["sector"], places["layer"]),
            strict=True,
        )
        for values, array in filled:
            values.clear()
            for value in array[part].tolist():
                values.push_back(value)
        events.Fill()
    events.Write()
    file.Close()
    np.testing.assert_allclose(read(path).voxels, sample.voxels, rtol=2e-7)
