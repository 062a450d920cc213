"""Which schema a file follows, and schemas of one's own."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot

from hepgen.io import SCHEMAS, Schema, read, recognise
from hepgen.io.delphes import Delphes
from hepgen.io.edm4hep import EDM4hep
from hepgen.io.errors import (
    InputError,
    MissingFile,
    MissingName,
    NotReadable,
    SchemaError,
    WrongType,
)
from hepgen.io.flat import MappedSchema
from hepgen.io.jets_only import JetsOnly
from hepgen.io.mapping import from_mapping, from_yaml
from hepgen.io.nanoaod import NanoAOD
from hepgen.io.schema import FIELDS, choose_fields
from hepgen.io.schemas import find
from tests.io.jet_files import jet_columns, write_root

JETCLASS = [f"part_{c}" for c in ("px", "py", "pz", "energy")]
JETCLASS += [f"jet_{c}" for c in ("pt", "eta", "phi", "energy")]
NANO = ["run", "luminosityBlock", "event", *(f"Jet_{c}" for c in ("pt", "eta", "phi", "mass"))]
DELPHES = ["Event.Number", *(f"Jet.{c}" for c in ("PT", "Eta", "Phi", "Mass"))]


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("JetClass", JETCLASS),
        ("JetClass-II", [*JETCLASS, "jet_label"]),
        ("top tagging", ["E_0", "PX_0", "PY_0", "PZ_0", "is_signal_new"]),
        ("quark-gluon", ["X", "y"]),
        ("JetNet", ["particle_features", "jet_features"]),
        ("NanoAOD", NANO),
        ("PFNano", [*NANO, "PFCands_pt", "JetPFCands_jetIdx"]),
        ("NanoAOD with PFCand", [*NANO, "PFCand_pt", "FatJetPFCand_jetIdx"]),
        ("Delphes", DELPHES),
    ],
)
def test_a_schema_is_recognised_by_the_columns(name: str, columns: list[str]) -> None:
    assert recognise(columns).name == name
    assert recognise([*reversed(columns), "something_else"]).name == name
    assert SCHEMAS[name].missing(columns) == []


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("coffea_PHYSLITE_example.root:CollectionTree", "PHYSLITE"),
        ("coffea_edm4hep.root:events", "EDM4hep"),
        ("coffea_nano_tt_v15.root:Events", "NanoAOD with PFCand"),
        ("coffea_p8_ee_WW_ecm240_edm4hep.root:events", "EDM4hep"),
        ("coffea_pfnano.root:Events", "PFNano"),
        ("coffea_treemaker.root:PreSelection", "TreeMaker"),
        ("skhtd_uproot-issue513.root:Delphes", "Delphes"),
        ("sophon_JetClassII_example.root:tree", "JetClass-II"),
        ("sophon_events_delphes_example.root:Delphes", "Delphes"),
        ("timlegge_quarkgluon_2000.root:tree", "JetClass"),
    ],
)
def test_exactly_one_schema_fits_a_real_file(real_data: Path, file: str, name: str) -> None:
    with uproot.open(str(real_data / "root" / file)) as tree:
        names = {path.rsplit("/", 1)[-1] for path in tree.keys()}  # noqa: SIM118
    assert [s.name for s in SCHEMAS.values() if not s.missing(names)] == [name]


def test_unrecognised_columns_list_the_nearest_schema_first() -> None:
    columns = [name for name in JETCLASS if name != "part_pz"]
    with pytest.raises(SchemaError) as error:
        recognise(columns, where="tree 'tree' of jets.root")
    lines = str(error.value).splitlines()
    assert lines[0].startswith("the columns of tree 'tree' of jets.root follow no schema")
    assert lines[1].strip() == "JetClass: part_pz"
    assert len(lines) == len(SCHEMAS) + 2


def test_a_schema_that_does_not_fit_says_what_it_misses() -> None:
    with pytest.raises(SchemaError, match=r"x.root is not Delphes: it misses Event.Number, Jet.PT"):
        find("Delphes", JETCLASS, where="x.root")
    with pytest.raises(SchemaError, match=r"is not JetClass: \(no column jet_label\)"):
        find("JetClass", [*JETCLASS, "jet_label"], where="x.root")
    with pytest.raises(MissingName, match=r"no schema 'Jetclass' in hepgen; nearest: JetClass"):
        find("Jetclass", JETCLASS, where="x.root")
    assert find(SCHEMAS["JetClass"], JETCLASS, where="x.root") is SCHEMAS["JetClass"]
    assert find(None, JETCLASS, where="x.root").name == "JetClass"


def test_every_schema_has_its_name_and_its_kind() -> None:
    for name, schema in SCHEMAS.items():
        assert isinstance(schema, Schema)
        assert schema.name == name
        assert schema.missing([])
    kinds = {type(schema) for schema in SCHEMAS.values()}
    assert {Delphes, EDM4hep, JetsOnly, MappedSchema, NanoAOD} <= kinds


def test_fields_follow_from_what_the_file_has() -> None:
    available = {"pid": "c_pid", "d0": "c_d0"}
    assert choose_fields(None, available, where="x") == available
    assert choose_fields(["d0", "px", "delta_eta"], available, where="x") == {"d0": "c_d0"}
    assert choose_fields(["is_muon", "charge"], available, where="x") == {"pid": "c_pid"}
    with pytest.raises(MissingName, match="no field of constituents 'dz' in x; nearest: d0"):
        choose_fields(["dz"], available, where="x")


YAML = """
name: my ntuples
tree: analysis
units: {energy: MeV, length: cm}
jets: {pt: j_pt, eta: j_eta, phi: j_phi, energy: j_e}
constituents: {px: c_x, py: c_y, pz: c_z, energy: c_e, charge: c_q, d0: c_d0}
labels: {top: truth == 6, qcd: truth != 6}
weight: mc
"""
RENAMED = {
    "jet_pt": "j_pt",
    "jet_eta": "j_eta",
    "jet_phi": "j_phi",
    "jet_energy": "j_e",
    "part_px": "c_x",
    "part_py": "c_y",
    "part_pz": "c_z",
    "part_energy": "c_e",
    "part_charge": "c_q",
    "part_d0val": "c_d0",
}


def my_file(path: Path) -> dict[str, Any]:
    """JetClass jets under the names of the mapping above, in MeV and cm."""
    columns = jet_columns()
    mine = {new: columns[old] for old, new in RENAMED.items()}
    for name in ("j_pt", "j_e", "c_x", "c_y", "c_z", "c_e"):
        mine[name] = mine[name] * np.float32(1000)
    mine["c_d0"] = mine["c_d0"] / np.float32(10)
    mine["truth"] = np.where(columns["label_top"] == 1, 6, 21).astype("i4")
    mine["mc"] = np.linspace(-1, 2, 20).astype("f4")
    write_root(path, mine, tree="analysis")
    return mine


def test_a_mapping_in_yaml_reads_any_names_and_units(tmp_path: Path) -> None:
    mine, columns = my_file(tmp_path / "mine.root"), jet_columns()
    (tmp_path / "mine.yaml").write_text(YAML)
    jets = read(tmp_path / "mine.root", schema=tmp_path / "mine.yaml", labels=["top", "qcd"])
    assert jets.attrs["schema"] == "my ntuples"
    assert jets.attrs["tree"] == "analysis"
    assert np.allclose(jets.pt, columns["jet_pt"], rtol=1e-6)
    assert np.allclose(jets.energy, columns["jet_energy"], rtol=1e-6)
    assert ak.all(np.abs(jets.constituents.px - columns["part_px"]) < 1e-4)
    assert ak.all(np.abs(jets.constituents.d0 - columns["part_d0val"]) < 1e-5)
    assert np.array_equal(np.asarray(jets.label_top), columns["label_top"] == 1)
    assert np.array_equal(np.asarray(jets.weight), mine["mc"])
    with pytest.raises(MissingName, match="no class or label column 'tob'"):
        read(tmp_path / "mine.root", schema=tmp_path / "mine.yaml", labels=["tob"])


def test_a_mapping_of_lists_reads_events(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    events = ak.Array(
        [
            {"p": [10.0, 20.0], "h": [0.0, 1.0], "f": [0.1, 0.2], "m": [1.0, 2.0], "run": 5},
            {"p": [], "h": [], "f": [], "m": [], "run": 6},
            {"p": [30.0], "h": [2.0], "f": [0.3], "m": [3.0], "run": 7},
        ]
    )
    events["c"] = [[[1.0, 2.0], [3.0]], [], [[4.0, 5.0, 6.0]]]
    ak.to_parquet(events, tmp_path / "events.parquet")
    mapping = {
        "jets": {"pt": "p", "eta": "h", "phi": "f", "mass": "m"},
        "constituents": {"pt": "c", "eta": "c", "phi": "c", "mass": "c"},
    }
    jets = read(tmp_path / "events.parquet", schema=mapping, keep=["run", "p"])
    assert jets.pt.to_list() == [10, 20, 30]
    assert jets.entry.to_list() == [0, 0, 2]
    assert jets.jet_index.to_list() == [0, 1, 0]
    assert jets.run.to_list() == [5, 5, 7]
    assert jets["p"].to_list() == [10, 20, 30]
    assert jets.constituents.pt.to_list() == [[1, 2], [3], [4, 5, 6]]
    ak.to_parquet(
        ak.with_field(events, [[1.0], [2.0], [3.0]], "other"), tmp_path / "events.parquet"
    )
    with pytest.raises(WrongType, match="neither one value an event nor one a jet"):
        read(tmp_path / "events.parquet", schema=mapping, keep=["other"])


def test_jets_of_a_mapping_without_jets_are_sums(tmp_path: Path) -> None:
    columns = jet_columns()
    only = {name: columns[name] for name in columns if name.startswith("part_")}
    write_root(tmp_path / "jets.root", only)
    mapping = {"constituents": {c: f"part_{c}" for c in ("px", "py", "pz", "energy")}}
    jets = read(tmp_path / "jets.root", schema=mapping)
    assert np.allclose(
        jets.pt, np.hypot(ak.sum(only["part_px"], 1), ak.sum(only["part_py"], 1)), rtol=1e-5
    )
    assert jets.pt[0] == jets.eta[0] == jets.mass[0] == 0  # this jet has no constituents


def test_a_mapped_column_that_is_missing_names_the_nearest(tmp_path: Path) -> None:
    my_file(tmp_path / "mine.root")
    (tmp_path / "mine.yaml").write_text(YAML.replace("c_q", "c_charge"))
    with pytest.raises(SchemaError, match=r"my ntuples: it misses c_charge .*nearest:"):
        read(tmp_path / "mine.root", schema=str(tmp_path / "mine.yaml"))


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"jet": {}}, MissingName, "no key 'jet' in s; nearest: jets"),
        (
            {"jets": {"pt": "a", "eta": "b"}},
            InputError,
            r"jets of s give pt, eta; wanted \(pt, eta",
        ),
        ({"jets": {"pT": "a"}}, MissingName, "no component of jets 'pT' in s; nearest: pt"),
        ({"jets": ["a"]}, WrongType, "jets of s is"),
        ({"jets": {"pt": 3}}, WrongType, "wanted a mapping of names to columns"),
        ({"constituents": {"isPhoton": "a"}}, MissingName, "nearest: is_photon"),
        ({"units": "Gev"}, MissingName, "no unit of energy 'Gev' in s; nearest: GeV"),
        ({"units": {"length": "inch"}}, MissingName, "no unit of length 'inch'"),
        ({"units": {"mass": "GeV"}}, MissingName, "no unit 'mass'"),
        ({"labels": ["top"]}, WrongType, "labels of s is"),
    ],
)
def test_mistakes_in_a_mapping_are_named(
    change: dict[str, Any], error: type[Exception], text: str
) -> None:
    good = {"jets": {"pt": "a", "eta": "b", "phi": "c", "mass": "d"}}
    assert from_mapping(good).name == "the schema"
    with pytest.raises(error, match=text):
        from_mapping({**good, **change}, where="s")


def test_mistakes_in_a_yaml_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match=r"no file .*none.yaml' with a schema"):
        from_yaml(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_text("jets: {pt: [")
    with pytest.raises(NotReadable, match=r"bad.yaml is not YAML"):
        from_yaml(tmp_path / "bad.yaml")
    (tmp_path / "text.yaml").write_text("hello")
    with pytest.raises(WrongType, match=r"text.yaml is 'hello', wanted a mapping"):
        from_yaml(tmp_path / "text.yaml")
    (tmp_path / "empty.yaml").write_text("name: x")
    with pytest.raises(InputError, match=r"gives neither jets nor constituents"):
        from_yaml(tmp_path / "empty.yaml")


def test_standard_fields_are_spelt_one_way() -> None:
    assert len(set(FIELDS)) == len(FIELDS)
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", name) for name in FIELDS)
    for schema in SCHEMAS.values():
        if isinstance(schema, MappedSchema):
            momenta = {"px", "py", "pz", "energy"}
            assert set(schema.constituents) <= momenta | set(FIELDS)
