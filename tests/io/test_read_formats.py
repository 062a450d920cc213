"""Reading HDF5, npz and Parquet, and the reference sets that come so."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import awkward as ak
import h5py
import numpy as np
import pytest

from hepgen.io import FileSpec, iterate, read
from hepgen.io.errors import (
    EmptyInput,
    InputError,
    LabelError,
    MissingName,
    MissingPackage,
    NotReadable,
    WrongType,
)
from hepgen.io.hdf5 import Hdf5Source
from hepgen.io.memory import number_of_bytes
from hepgen.io.npz import NpzSource
from hepgen.io.padded import JetNet, QuarkGluon, TopTagging
from hepgen.io.sources import FORMATS, open_source
from tests.io.jet_files import jet_columns


def same(first: Any, second: Any) -> bool:
    return bool(ak.array_equal(first, second, equal_nan=True, check_parameters=False))


def four_momenta(rng: np.random.Generator, jets: int, places: int) -> np.ndarray:
    """(jets, places, 4) E, px, py, pz in float32, zero behind the last constituent."""
    p3 = rng.normal(0, 30, (jets, places, 3))
    p4 = np.concatenate([np.sqrt((p3**2).sum(axis=2, keepdims=True)), p3], axis=2)
    counts = rng.integers(0, places + 1, jets)
    p4[np.arange(places) >= counts[:, None]] = 0
    return p4.astype("f4")


@pytest.fixture(params=["table", "fixed", "compressed"])
def top_file(tmp_path: Path, request: pytest.FixtureRequest) -> tuple[Path, np.ndarray, np.ndarray]:
    """The layout of the reference set, written by pandas through PyTables as its authors did."""
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("tables")
    rng = np.random.default_rng(3)
    p4 = four_momenta(rng, 40, 200)
    names = [f"{letters}_{i}" for i in range(200) for letters in ("E", "PX", "PY", "PZ")]
    frame = pandas.DataFrame(p4.reshape(40, 800), columns=names)
    truth = pandas.DataFrame(
        rng.normal(size=(40, 4)).astype("f4"), columns=["truthE", "truthPX", "truthPY", "truthPZ"]
    )
    signal = rng.integers(0, 2, 40)
    flags = pandas.DataFrame({"ttv": np.full(40, 2), "is_signal_new": signal})
    frame = pandas.concat([frame, truth, flags], axis=1)
    path = tmp_path / "test.h5"
    options = {"format": "fixed" if request.param == "fixed" else "table"}
    if request.param == "compressed":
        options |= {"complib": "zlib", "complevel": 5}
    frame.to_hdf(path, key="table", mode="w", **options)
    return path, p4, signal


def test_the_top_tagging_set_is_read_as_pandas_wrote_it(
    top_file: tuple[Path, np.ndarray, np.ndarray],
) -> None:
    path, p4, signal = top_file
    jets = read(path, labels=["top", "qcd"], keep=["ttv"])
    assert jets.attrs["schema"] == "top tagging"
    assert np.array_equal(np.asarray(jets.label_top), signal == 1)
    for jet, momenta in zip(jets, p4.astype("f8"), strict=True):
        real = momenta[momenta[:, 0] > 0]
        assert len(jet.constituents) == len(real)
        for i, field in enumerate(("energy", "px", "py", "pz")):
            assert jet.constituents[field].to_list() == real[:, i].tolist()
        energy, px, py, pz = real.sum(axis=0)
        assert np.isclose(jet.pt, np.hypot(px, py), rtol=1e-5)
        assert np.isclose(jet.mass, np.sqrt(max(energy**2 - px**2 - py**2 - pz**2, 0)), atol=1e-3)
    assert set(jets.ttv.to_list()) == {2}
    parts = list(iterate(path, step=7))
    assert same(ak.concatenate(parts), read(path))
    assert [len(part) for part in iterate(path, step="70 kB")] == [21, 19]


def test_hdf5_groups_are_named_or_found(top_file: tuple[Path, np.ndarray, np.ndarray]) -> None:
    path = top_file[0]
    assert len(read(path, tree="table")) == 40
    with pytest.raises(MissingName, match=r"no group 'tabel' .*nearest: table"):
        read(path, tree="tabel")


def test_pickles_in_an_hdf5_file_run_no_code(tmp_path: Path) -> None:
    path = tmp_path / "evil.h5"
    with h5py.File(path, "w") as file:
        data = np.zeros(3, dtype=[("values_block_0", "f4", (2,))])
        dataset = file.create_dataset("table", data=data)
        dataset.attrs["values_block_0_kind"] = np.bytes_(b"cos\nsystem\n(S'echo unsafe'\ntR.")
    with pytest.raises(NotReadable, match=r"os.system is no column name"):
        read(path)


def quark_gluon_arrays(width: int = 4) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    x = np.zeros((30, 12, width))
    x[..., 0] = rng.exponential(20, (30, 12))
    x[..., 1] = rng.normal(0, 1.5, (30, 12))
    x[..., 2] = rng.uniform(0, 2 * np.pi, (30, 12))
    if width == 4:
        x[..., 3] = rng.choice([22, 211, -211, 130, -2212, 11], (30, 12))
    x[np.arange(12) >= rng.integers(1, 13, 30)[:, None]] = 0
    return x, rng.integers(0, 2, 30)


def test_the_quark_gluon_set_has_rapidities_and_masses(tmp_path: Path) -> None:
    vector = pytest.importorskip("vector")
    x, y = quark_gluon_arrays()
    np.savez(tmp_path / "qg.npz", X=x, y=y)
    jets = read(tmp_path / "qg.npz", labels=["quark", "gluon"])
    assert jets.attrs["schema"] == "quark-gluon"
    assert np.array_equal(np.asarray(jets.label_quark), y == 1)
    constituents = ak.flatten(jets.constituents)
    real = x[x[..., 0] > 0]
    momenta = vector.arr(
        {
            "px": constituents.px,
            "py": constituents.py,
            "pz": constituents.pz,
            "E": constituents.energy,
        }
    )
    assert np.allclose(momenta.pt, real[:, 0], rtol=1e-9)
    assert np.allclose(momenta.rapidity, real[:, 1], rtol=1e-6)
    masses = {22: 0, 211: 0.13957, 130: 0.4976, 2212: 0.93827, 11: 0.000511}
    expected = [masses[abs(int(number))] for number in real[:, 3]]
    assert np.allclose(np.maximum(momenta.mass2, 0) ** 0.5, expected, atol=2e-2)
    assert constituents.pid.to_list() == real[:, 3].astype(int).tolist()
    assert len(read(tmp_path / "qg.npz", labels=["quark"], where="y == 1")) == y.sum()


def test_the_quark_gluon_set_without_pid_is_massless(tmp_path: Path) -> None:
    x, y = quark_gluon_arrays(3)
    np.savez(tmp_path / "qg.npz", X=x, y=y)
    jets = read(tmp_path / "qg.npz")
    assert jets.constituents.fields == ["px", "py", "pz", "energy"]
    constituents = ak.flatten(jets.constituents)
    assert np.allclose(constituents.energy, constituents.p, rtol=1e-12)
    total = ak.sum(jets.constituents, axis=1)
    assert np.allclose(total.pt, jets.pt)
    assert np.allclose(total.eta, jets.eta)


def test_a_pdg_number_without_a_mass_is_an_error(tmp_path: Path) -> None:
    x, y = quark_gluon_arrays()
    x[0, 0, 3] = 9999
    np.savez(tmp_path / "qg.npz", X=x, y=y)
    with pytest.raises(WrongType, match="no mass is known for the PDG number 9999"):
        read(tmp_path / "qg.npz")


def jet_net_file(path: Path) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(6)
    particles = rng.normal(0, 0.1, (25, 30, 4)).astype("f4")
    particles[..., 2] = rng.uniform(0, 0.1, (25, 30))
    particles[..., 3] = np.arange(30) < rng.integers(1, 31, 25)[:, None]
    particles[particles[..., 3] == 0] = 0
    jets = np.stack(
        [
            rng.uniform(800, 1200, 25),
            rng.normal(0, 1, 25),
            rng.uniform(50, 150, 25),
            particles[..., 3].sum(axis=1),
        ],
        axis=1,
    ).astype("f4")
    with h5py.File(path, "w") as file:
        file["particle_features"] = particles
        file["jet_features"] = jets
    return particles, jets


def test_jetnet_constituents_are_relative_to_their_jet(tmp_path: Path) -> None:
    particles, features = jet_net_file(tmp_path / "g.hdf5")
    jets = read({"gluon": tmp_path / "g.hdf5"})
    assert jets.attrs["schema"] == "JetNet"
    assert np.all(np.asarray(jets.label_gluon))
    assert np.array_equal(np.asarray(jets.mass), features[:, 2])
    assert ak.num(jets.constituents).to_list() == features[:, 3].astype(int).tolist()
    for jet, row, rows in zip(jets, features, particles, strict=True):
        real = rows[rows[:, 3] == 1]
        assert np.allclose(jet.constituents.pt, real[:, 2] * row[0])
        assert np.allclose(jet.constituents.eta, real[:, 0] + row[1], atol=1e-6)
        sign = -1 if row[1] < 0 else 1
        assert np.allclose(jet.constituents.delta_eta, real[:, 0] * sign)
        assert np.allclose(jet.constituents.phi, real[:, 1])


def test_wrong_shapes_in_reference_sets_are_errors(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        file["particle_features"] = np.zeros((3, 30, 7))
        file["jet_features"] = np.zeros((3, 4))
    with pytest.raises(WrongType, match=r"'particle_features' .* wanted \(P, 4\) an entry"):
        read(tmp_path / "a.hdf5")
    with h5py.File(tmp_path / "b.hdf5", "w") as file:
        file["particle_features"] = np.zeros((3, 30, 4))
        file["jet_features"] = np.zeros((3, 1))
    with pytest.raises(WrongType, match="'jet_features'"):
        read(tmp_path / "b.hdf5")


def test_a_mapping_reads_padded_and_compound_hdf5(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    p4 = four_momenta(rng, 10, 6)
    jets = np.zeros(
        10, dtype=[("pt", "f4"), ("eta", "f4"), ("phi", "f4"), ("mass", "f4"), ("flavour", "i4")]
    )
    jets["pt"] = rng.uniform(20, 100, 10)
    jets["flavour"] = rng.choice([0, 5], 10)
    with h5py.File(tmp_path / "salt.h5", "w") as file:
        file["jets"] = jets
        file["bins"] = np.arange(4)
        for i, name in enumerate(("e", "px", "py", "pz")):
            file[f"parts/{name}"] = p4[..., i] * 1000
    mapping = {
        "jets": {name: f"jets.{name}" for name in ("pt", "eta", "phi", "mass")},
        "constituents": {
            "energy": "parts/e",
            "px": "parts/px",
            "py": "parts/py",
            "pz": "parts/pz",
        },
        "labels": {"b": "jets.flavour == 5", "light": "jets.flavour == 0"},
        "units": "MeV",
    }
    found = read(tmp_path / "salt.h5", schema=mapping, labels=["b", "light"])
    assert np.allclose(found.pt, jets["pt"] / 1000)
    assert np.array_equal(np.asarray(found.label_b), jets["flavour"] == 5)
    counts = (p4[..., 0] > 0).sum(axis=1)
    assert ak.num(found.constituents).to_list() == counts.tolist()
    assert np.allclose(ak.flatten(found.constituents.px), p4[p4[..., 0] > 0][:, 1], rtol=1e-6)


def test_parquet_in_the_layout_of_jetclass(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    columns = jet_columns(50)
    ak.to_parquet(ak.Array(columns), tmp_path / "jets.parquet", row_group_size=20)
    jets = read(tmp_path / "jets.parquet")
    assert same(jets.constituents.px, columns["part_px"])
    assert np.array_equal(np.asarray(jets.pt), columns["jet_pt"])
    assert [len(part) for part in iterate(tmp_path / "jets.parquet", step=30)] == [20, 30]
    parts = list(iterate(tmp_path / "jets.parquet", step="2 kB"))
    assert len(parts) > 2
    assert same(ak.concatenate(parts), jets)
    assert same(read(tmp_path / "jets.parquet", entry_start=15, entry_stop=41), jets[15:41])


def test_parquet_without_pyarrow_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "jets.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(MissingPackage, match=r"pip install hepgen\[parquet\]"):
        read(tmp_path / "jets.parquet")


@pytest.mark.parametrize("suffix", sorted({".h5", ".npz", ".parquet", ".root"}))
@pytest.mark.parametrize("content", [b"", b"hello world" * 100, b"PK\x03\x04", b"PAR1", b"root"])
def test_a_file_of_another_format_is_one_clear_error(
    tmp_path: Path, suffix: str, content: bytes
) -> None:
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / f"jets{suffix}"
    path.write_bytes(content)
    with pytest.raises(NotReadable, match=f"jets{suffix}"):
        read(path)


def test_cut_files_are_errors(tmp_path: Path) -> None:
    jet_net_file(tmp_path / "g.hdf5")
    x, y = quark_gluon_arrays()
    np.savez(tmp_path / "qg.npz", X=x, y=y)
    for name in ("g.hdf5", "qg.npz"):
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[: len(whole) // 2])
        with pytest.raises(NotReadable, match=name):
            read(tmp_path / name)


def test_objects_and_empty_files_are_errors(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", X=np.array([{"a": 1}, None], dtype=object), y=np.zeros(2))
    with pytest.raises(NotReadable, match=r"a.npz"):
        read(tmp_path / "a.npz")
    with h5py.File(tmp_path / "b.h5", "w"):
        pass
    with pytest.raises(EmptyInput, match=r"no dataset in b.h5"):
        read(tmp_path / "b.h5")
    np.savez(tmp_path / "c.npz")
    with pytest.raises(EmptyInput, match=r"no array in c.npz"):
        read(tmp_path / "c.npz")
    np.save(tmp_path / "d.npy", np.zeros(3))
    (tmp_path / "d.npy").rename(tmp_path / "d.npz")
    with pytest.raises(NotReadable, match=r"one array, not an npz"):
        read(tmp_path / "d.npz")


def test_the_format_is_told_by_suffix_or_first_bytes(tmp_path: Path) -> None:
    jet_net_file(tmp_path / "jets")
    assert FileSpec(str(tmp_path / "jets")).format == "hdf5"
    assert len(read(tmp_path / "jets")) == 25
    assert FileSpec("root://host//data/jets").format == "root"
    assert FileSpec("https://host/jets.parquet?token=x.y").format == "parquet"
    (tmp_path / "notes").write_text("hello")
    with pytest.raises(NotReadable, match=r"first bytes are b'hell'"):
        read(tmp_path / "notes")
    with open_source(FileSpec(str(tmp_path / "jets"))) as source:
        assert isinstance(source, Hdf5Source)
    assert FORMATS["npz"] is NpzSource


def test_reference_sets_have_schemas_with_labels() -> None:
    assert TopTagging().labels([]) == {"top": "is_signal_new == 1", "qcd": "is_signal_new == 0"}
    assert list(QuarkGluon().labels([])) == ["quark", "gluon"]
    assert JetNet().labels([]) == {}


def test_an_unknown_value_of_a_label_is_an_error(tmp_path: Path) -> None:
    x, y = quark_gluon_arrays()
    y[4] = 7
    np.savez(tmp_path / "qg.npz", X=x, y=y)
    with pytest.raises(LabelError, match=r"1 of 30 jets are in none .* \(entries 4\)"):
        read(tmp_path / "qg.npz", labels=["quark", "gluon"])


@pytest.mark.parametrize(
    ("text", "count"),
    [("100 MB", 10**8), ("1 kB", 1000), ("2KiB", 2048), ("1.5 GB", 1_500_000_000), ("7 B", 7)],
)
def test_sizes_of_memory(text: str, count: int) -> None:
    assert number_of_bytes(text) == count


@pytest.mark.parametrize("text", ["", "MB", "-3 MB", "0 MB", "3 apples", "3 iB"])
def test_bad_sizes_of_memory(text: str) -> None:
    with pytest.raises(InputError, match="wanted a size in memory"):
        number_of_bytes(text)
