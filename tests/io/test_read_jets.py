"""The parts that readers are made of: tables of jets, momenta, links, labels, plans."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import awkward as ak
import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
import vector
from hypothesis import given
from hypothesis import strategies as st

from hepgen.io import FileSpec, Schema, read
from hepgen.io.chunks import FileReader, Request
from hepgen.io.columns import Jagged
from hepgen.io.delphes import DELPHES
from hepgen.io.edm4hep import EDM4HEP
from hepgen.io.errors import InputError, MissingName
from hepgen.io.events import check_inside, choose_collection, flat, jets_of, scaled, sorted_by_jet
from hepgen.io.flat import JET_CLASS, JET_CLASS_II
from hepgen.io.jets import JetTable, jet_momenta, sum_momenta
from hepgen.io.jets_only import PHYSLITE, TREE_MAKER
from hepgen.io.labels import Labels, choose_labels
from hepgen.io.nanoaod import NANO_AOD, NANO_AOD_PF_CAND, PF_NANO
from hepgen.io.padded import JET_NET, QUARK_GLUON, TOP_TAGGING
from hepgen.io.parquet import ParquetSource
from hepgen.io.root import RootSource
from hepgen.io.schema import Plan, Source
from hepgen.io.schemas import SCHEMAS
from tests.io.jet_files import jet_columns, write_root

SETS = [("pt", "eta", "phi", "mass"), ("pt", "eta", "phi", "energy"), ("px", "py", "pz", "energy")]


@pytest.mark.parametrize("names", SETS)
def test_momenta_from_any_components_agree_with_vector(names: tuple[str, ...]) -> None:
    rng = np.random.default_rng(0)
    true = vector.arr(
        {
            "pt": rng.uniform(1, 1000, 500),
            "eta": rng.normal(0, 2, 500),
            "phi": rng.uniform(-np.pi, np.pi, 500),
            "mass": rng.uniform(1, 100, 500),
        }
    )
    momenta = jet_momenta({name: np.asarray(getattr(true, name)) for name in names})
    for name in ("pt", "eta", "phi", "mass"):
        assert np.allclose(momenta[name], getattr(true, name), rtol=1e-9, atol=1e-6), name
    assert jet_momenta({}) == {}


def test_momenta_keep_the_precision_and_the_sign_of_the_mass() -> None:
    momenta = jet_momenta(
        {name: np.array([value], "f4") for name, value in zip(SETS[2], (3, 4, 0, 4), strict=True)}
    )
    assert momenta["mass"].dtype == np.float32
    assert momenta["mass"][0] == -3  # as in ROOT, where E < |p|
    along = jet_momenta(
        {"px": np.zeros(2), "py": np.zeros(2), "pz": np.array([2.0, -2]), "energy": np.full(2, 2.0)}
    )
    assert along["eta"].tolist() == [np.inf, -np.inf]


@given(arrays.arrays(np.int64, st.integers(1, 8), elements=st.integers(0, 4)))
def test_sums_of_constituents_agree_with_awkward(counts: np.ndarray) -> None:
    rng = np.random.default_rng(1)
    p3 = rng.normal(0, 10, (3, int(counts.sum())))
    columns = dict(zip(("px", "py", "pz"), p3, strict=True))
    columns["energy"] = np.sqrt((p3**2).sum(axis=0) + 1)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    found = sum_momenta(offsets, columns)
    lists = ak.unflatten(ak.Array(columns), counts)
    px, py = ak.sum(lists.px, 1).to_numpy(), ak.sum(lists.py, 1).to_numpy()
    assert np.allclose(found["pt"], np.hypot(px, py))
    energy, pz = ak.sum(lists.energy, 1).to_numpy(), ak.sum(lists.pz, 1).to_numpy()
    square = energy**2 - px**2 - py**2 - pz**2
    assert np.allclose(found["mass"], np.sqrt(np.maximum(square, 0)), atol=1e-5)
    assert np.all(found["eta"][counts == 0] == 0)


def table() -> JetTable:
    """Three jets of two events, with 2, 0 and 1 constituents."""
    momenta = {name: np.array([3.0, 2.0, 1.0]) for name in ("pt", "eta", "phi", "mass")}
    jets = {**momenta, "kept": Jagged(np.array([0, 1, 1, 3]), np.arange(3))}
    offsets = np.array([0, 2, 2, 3])
    parts = {name: np.array([1.0, 2.0, 3.0]) for name in ("px", "py", "pz", "energy")}
    return JetTable.several_per_entry(jets, np.array([0, 2, 3]), offsets, parts)


def test_a_table_counts_jets_in_their_entries() -> None:
    jets = table()
    assert len(jets) == 3
    assert jets.entry.tolist() == [0, 0, 1]
    assert jets.jet_index.tolist() == [0, 1, 0]
    flat_table = JetTable.one_per_entry({"pt": np.ones(4)})
    assert flat_table.entry.tolist() == [0, 1, 2, 3]


def test_a_table_is_selected_and_joined_as_awkward_would() -> None:
    jets = table()
    whole = jets.to_awkward({"schema": "x"})
    assert whole.attrs == {"schema": "x"}
    for mask in ([True, False, True], [False, True, False], [True, True, True], [False] * 3):
        chosen = jets.select(np.array(mask)).to_awkward({})
        assert ak.array_equal(chosen, whole[np.array(mask)], check_parameters=False)
    twice = JetTable.concatenate([jets, table().select(np.array([False, False, True]))])
    expected = ak.concatenate([whole, whole[2:]])
    assert ak.array_equal(twice.to_awkward({}), expected, check_parameters=False)


def test_values_are_not_copied_into_the_array() -> None:
    jets = table()
    content = jets.to_awkward({}).constituents.layout.content
    assert np.shares_memory(content["px"].data, jets.constituents["px"])


def test_the_usual_collection_is_the_one_with_constituents() -> None:
    def usual(names: list[str], linked: list[str]) -> str:
        return choose_collection(None, names, linked, where="x")

    assert usual(["Jet", "FatJet", "GenJet"], ["Jet", "FatJet", "GenJet"]) == "FatJet"
    assert usual(["Jet", "FatJet", "GenJet"], ["Jet"]) == "Jet"
    assert usual(["GenJetAK8", "JetAK15", "JetAK8", "Jet"], []) == "JetAK8"
    assert usual(["GenJet", "JetPUPPI"], ["GenJet", "JetPUPPI"]) == "JetPUPPI"
    assert usual(["GenJet", "SubJet", "Jet"], []) == "Jet"
    assert choose_collection("GenJet", ["GenJet", "Jet"], [], where="x") == "GenJet"
    with pytest.raises(MissingName, match="no collection of jets 'Jets' in x; nearest: Jet"):
        choose_collection("Jets", ["Jet"], [], where="x")


@given(st.lists(st.integers(0, 4), max_size=20))
def test_links_are_sorted_by_jet_in_the_order_of_the_table(owners: list[int]) -> None:
    jet, row = np.array(owners, dtype=np.int64), np.arange(len(owners))
    offsets, rows = sorted_by_jet(jet, row, 5)
    for number in range(5):
        expected = [i for i, owner in enumerate(owners) if owner == number]
        assert rows[offsets[number] : offsets[number + 1]].tolist() == expected


def test_links_that_point_outside_are_errors() -> None:
    check_inside(np.array([0, 2]), np.array([3, 3]), what="links", where="x")
    with pytest.raises(InputError, match="1 of 2 values of links of x point outside; the first is"):
        check_inside(np.array([0, 3]), np.array([3, 3]), what="links", where="x")


def test_units_scale_only_what_has_another_unit() -> None:
    columns = {"d0": np.array([1.5], "f4"), "pt": np.array([2.0])}
    found = scaled(columns, {"d0": 10.0})
    assert found["d0"].tolist() == [15]
    assert found["d0"].dtype == np.float32
    assert found["pt"] is columns["pt"]


class EnergyOnly(Schema):
    """A schema of one's own: jets at rest."""

    name = "energy only"

    def missing(self, names: Collection[str]) -> list[str]:
        return [name for name in ("jet_energy",) if name not in names]

    def plan(
        self, source: Source, *, collection: str | None, fields: Collection[str] | None
    ) -> Plan:
        def build(values: Mapping[str, np.ndarray]) -> JetTable:
            zero = np.zeros_like(values["jet_energy"])
            jets = {"pt": zero, "eta": zero, "phi": zero, "mass": values["jet_energy"]}
            return JetTable.one_per_entry(jets)

        return Plan(("jet_energy",), build, collection)


def test_a_schema_of_ones_own_is_two_methods(tmp_path: Path) -> None:
    columns = jet_columns()
    path = write_root(tmp_path / "jets.root", columns)
    jets = read(path, schema=EnergyOnly(), where="mass > 900", keep=["jet_pt"])
    assert jets.attrs["schema"] == "energy only"
    assert jets.mass.to_list() == columns["jet_energy"][columns["jet_energy"] > 900].tolist()


def test_a_file_reader_reads_only_the_columns_it_needs(tmp_path: Path) -> None:
    path = write_root(tmp_path / "jets.root", jet_columns())
    request = Request(fields=("charge",), where="jet_sdmass > 50", labels=["top", "qcd"])
    with RootSource(FileSpec(str(path))) as source:
        reader = FileReader(source, request, 0, None)
        assert "part_charge" in reader.plan.columns
        assert "part_d0val" not in reader.plan.columns
        assert set(reader.columns) == {"label_top", "label_qcd", "jet_sdmass"}
        sizes = [(len(jets), before, end) for jets, before, end in reader.tables(0, 20, 8)]
    assert [size[1:] for size in sizes] == [(8, 8), (8, 16), (4, 20)]
    assert sum(size[0] for size in sizes) == np.sum(jet_columns()["jet_sdmass"] > 50)


def test_labels_are_chosen_once_for_a_file(tmp_path: Path) -> None:
    path = write_root(tmp_path / "jets.root", jet_columns())
    with RootSource(FileSpec(str(path))) as source:
        labels = choose_labels(["top", "qcd"], [], JET_CLASS, source)
        assert labels == Labels({"top": "label_top", "qcd": "label_qcd"}, frozenset(source.names))
        assert labels.names == ["label_top", "label_qcd"]
        assert not choose_labels(None, [], JET_CLASS, source).strict
    with RootSource(FileSpec(str(path), None, "top")) as source:
        assert choose_labels(None, ["top", "qcd"], JET_CLASS, source).of_file == "top"
        with pytest.raises(MissingName, match="no class 'qcd' in labels"):
            choose_labels(["top"], ["top", "qcd"], JET_CLASS, source)


def test_events_give_flat_columns_under_standard_names(tmp_path: Path) -> None:
    path = write_root(tmp_path / "jets.root", jet_columns())
    with RootSource(FileSpec(str(path))) as source:
        names = {name: f"part_{name}" for name in ("px", "py", "pz", "energy")}
        values = source.read(list(names.values()), 0, 20)
        offsets, columns = flat(names, values, source)
        assert columns["px"].tolist() == ak.flatten(jet_columns()["part_px"]).to_list()
        same, momenta = jets_of(names, values, source)
    assert same.tolist() == offsets.tolist()
    assert np.allclose(momenta["pt"], np.hypot(columns["px"], columns["py"]))


def test_parquet_sources_have_the_names_of_the_columns(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    ak.to_parquet(ak.Array(jet_columns()), tmp_path / "jets.parquet")
    with ParquetSource(FileSpec(str(tmp_path / "jets.parquet"))) as source:
        assert set(source.names) == set(jet_columns())
        assert source.num_entries == 20


def test_all_schemas_are_listed() -> None:
    listed = [JET_CLASS, JET_CLASS_II, TOP_TAGGING, QUARK_GLUON, JET_NET, PF_NANO]
    listed += [NANO_AOD_PF_CAND, NANO_AOD, DELPHES, EDM4HEP, PHYSLITE, TREE_MAKER]
    assert list(SCHEMAS.values()) == listed
