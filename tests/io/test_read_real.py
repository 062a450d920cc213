"""Jets of real files, against uproot and slow loops over their links, and against physics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot

from hepgen.io import InputError, iterate, read
from hepgen.io.edm4hep import collection_id
from hepgen.io.errors import EmptyInput, MissingName, SchemaError


def arrays(path: Path, tree: str, names: list[str]) -> dict[str, list[Any]]:
    """Branches as nested Python lists."""
    with uproot.open(path) as file:
        return {name: file[tree][name].array().tolist() for name in names}


def equal(first: Any, second: Any) -> bool:
    return np.array_equal(np.asarray(first), np.asarray(second))


def flat(values: list[list[Any]]) -> list[Any]:
    return [value for some in values for value in some]


def sums(jets: ak.Array, weight: Any = 1.0) -> ak.Array:
    return ak.sum(jets.constituents * weight, axis=1)


def quantile(values: Any, q: float) -> float:
    return float(np.quantile(np.asarray(values, dtype=float), q))


def test_jetclass_ii_is_what_uproot_reads(real_data: Path) -> None:
    path = real_data / "root/sophon_JetClassII_example.root"
    jets = read(path, keep=["jet_label", "jet_nparticles"])
    with uproot.open(path) as file:
        tree = file["tree"].arrays()
    assert jets.attrs["schema"] == "JetClass-II"
    assert ak.array_equal(jets.constituents.dz_error, tree.part_dzerr, check_parameters=False)
    assert ak.array_equal(jets.constituents.is_muon, tree.part_isMuon, check_parameters=False)
    assert equal(ak.num(jets.constituents.px), tree.jet_nparticles)
    assert np.allclose(jets.energy, tree.jet_energy, rtol=1e-6)
    assert np.abs(sums(jets).pt / jets.pt - 1).to_numpy().max() < 1e-6
    qcd = read(path, labels={"qcd": "jet_label >= 161", "resonance": "jet_label < 161"})
    assert equal(qcd.label_qcd, tree.jet_label >= 161)


def test_delta_eta_of_jetclass_is_signed_by_the_hemisphere(real_data: Path) -> None:
    for name in ("sophon_JetClassII_example.root", "timlegge_quarkgluon_2000.root"):
        jets = read(real_data / "root" / name)
        px, py, pz = (ak.values_astype(jets.constituents[c], "float64") for c in ("px", "py", "pz"))
        eta = np.arcsinh(pz / np.hypot(px, py))
        expected = (eta - jets.eta) * np.sign(jets.eta)
        difference = ak.to_numpy(ak.flatten(jets.constituents.delta_eta - expected))
        assert np.abs(difference).max() < 1e-6


def test_parquet_and_root_hold_the_same_jets(real_data: Path) -> None:
    pytest.importorskip("pyarrow")
    folder = real_data / "root"
    first = read(folder / "sophon_JetClassII_example.root")
    second = read(folder / "sophon_JetClassII_example.parquet")
    assert ak.array_equal(first, second)
    parts = iterate(folder / "sophon_JetClassII_example.parquet", step=30)
    assert ak.array_equal(ak.concatenate(list(parts)), second, check_parameters=False)


def test_quark_and_gluon_jets_are_sums_of_their_constituents(real_data: Path) -> None:
    jets = read(
        real_data / "root/timlegge_quarkgluon_2000.root", labels=["quark", "gluon"], keep=["label"]
    )
    total = sums(jets)
    assert np.abs(total.pt / jets.pt - 1).to_numpy().max() < 1e-6
    assert np.abs(total.mass - jets.mass).to_numpy().max() < 0.1
    assert equal(jets.label_quark, jets.label == 1)
    assert np.all(np.asarray(jets.label_quark) != np.asarray(jets.label_gluon))
    assert 500 <= ak.min(jets.pt) <= ak.max(jets.pt) <= 550


CMS_LINKS = [
    ("coffea_pfnano.root", "FatJet", "FatJetPFCands", "pFCandsIdx", "PFCands"),
    ("coffea_pfnano.root", "Jet", "JetPFCands", "pFCandsIdx", "PFCands"),
    ("coffea_pfnano.root", "GenJet", "GenJetCands", "pFCandsIdx", "GenCands"),
    ("coffea_pfnano.root", "GenJetAK8", "GenFatJetCands", "pFCandsIdx", "GenCands"),
    ("coffea_nano_tt_v15.root", "FatJet", "FatJetPFCand", "pfCandIdx", "PFCand"),
]


@pytest.mark.parametrize(("name", "collection", "table", "index", "candidates"), CMS_LINKS)
def test_constituents_of_cms_jets_are_those_of_the_index_table(
    real_data: Path, name: str, collection: str, table: str, index: str, candidates: str
) -> None:
    path = real_data / "root" / name
    parts = ("pt", "eta", "phi", "mass", "pdgId")
    names = [f"{collection}_{part}" for part in parts[:4]]
    names += [f"{table}_jetIdx", f"{table}_{index}", *(f"{candidates}_{part}" for part in parts)]
    columns = arrays(path, "Events", names)
    jets = read(path, collection=collection)
    assert jets.attrs["collection"] == collection
    for part in parts[:4]:
        assert jets[part].to_list() == flat(columns[f"{collection}_{part}"])
    expected: dict[tuple[int, int], list[int]] = {}
    for event, (owners, rows) in enumerate(
        zip(columns[f"{table}_jetIdx"], columns[f"{table}_{index}"], strict=True)
    ):
        for owner, row in zip(owners, rows, strict=True):
            if owner >= 0 and row >= 0:
                expected.setdefault((event, owner), []).append(row)
    for jet in jets:
        rows = expected.get((jet.entry, jet.jet_index), [])
        for part, field in zip(parts, ("pt", "eta", "phi", "mass", "pid"), strict=True):
            found = jet.constituents[field].to_list()
            assert found == [columns[f"{candidates}_{part}"][jet.entry][row] for row in rows]


def test_cms_jets_are_the_puppi_weighted_sums_of_their_constituents(real_data: Path) -> None:
    path = real_data / "root/coffea_pfnano.root"
    for collection, low in (("FatJet", 0.995), ("Jet", 0.995)):
        jets = read(path, collection=collection, keep=["rawFactor"])
        weight = jets.constituents.puppi_weight if collection == "FatJet" else 1.0
        ratio = sums(jets, weight).pt / (jets.pt * (1 - jets.rawFactor))
        assert low < ak.min(ratio) <= ak.max(ratio) < 2 - low
    jets = read(path, collection="Jet", keep=["nConstituents"])
    assert equal(ak.num(jets.constituents), jets.nConstituents)
    assert (
        np.abs(
            sums(read(path, collection="GenJetAK8")).pt / read(path, collection="GenJetAK8").pt - 1
        )
        .to_numpy()
        .max()
        < 2e-3
    )


def test_cms_impact_parameters_are_in_mm(real_data: Path) -> None:
    path = real_data / "root/coffea_pfnano.root"
    jets = read(path)
    centimetres = arrays(path, "Events", ["PFCands_d0"])["PFCands_d0"]
    largest = max(flat(centimetres))
    assert ak.max(jets.constituents.d0) <= 10 * largest * (1 + 1e-6)
    charged = jets.constituents[jets.constituents.charge != 0]
    assert 0.01 < quantile(np.abs(ak.flatten(charged.d0)), 0.5) < 0.2


def test_nanoaod_with_pfcand_gives_jets_close_to_the_stored_ones(real_data: Path) -> None:
    path = real_data / "root/coffea_nano_tt_v15.root"
    jets = read(path, keep=["rawFactor", "nConstituents", "run", "event"])
    assert jets.attrs["schema"] == "NanoAOD with PFCand"
    stored = ak.num(jets.constituents) == jets.nConstituents
    # Two of the 64 jets have no rows in FatJetPFCand.
    assert ak.sum(~stored) == ak.sum(ak.num(jets.constituents) == 0) == 2
    ratio = sums(jets).pt / (jets.pt * (1 - jets.rawFactor))
    assert np.abs(ratio[stored] - 1).to_numpy().max() < 0.01
    events = arrays(path, "Events", ["event"])["event"]
    assert jets.event.to_list() == [events[row] for row in jets.entry]
    small = read(path, collection="GenJet")
    assert "constituents" not in small.fields


def test_rntuple_nanoaod_is_what_uproot_reads(real_data: Path) -> None:
    path = real_data / "root/coffea_nano_dy_rntuple.root"
    columns = arrays(path, "Events", ["Jet_pt", "Jet_mass", "Jet_nConstituents", "event"])
    jets = read(path, collection="Jet", keep=["nConstituents", "event"])
    assert jets.attrs["schema"] == "NanoAOD"
    assert jets.pt.to_list() == flat(columns["Jet_pt"])
    assert jets.mass.to_list() == flat(columns["Jet_mass"])
    assert jets.nConstituents.to_list() == flat(columns["Jet_nConstituents"])
    counts = [len(some) for some in columns["Jet_pt"]]
    assert jets.event.to_list() == list(np.repeat(columns["event"], counts))
    with pytest.raises(EmptyInput, match="no jets in FatJet"):
        read(path, collection="FatJet")
    with pytest.raises(MissingName, match=r"no collection of jets 'FatJets' .*nearest: FatJet"):
        read(path, collection="FatJets")


DELPHES = [
    ("sophon_events_delphes_example.root", "JetPUPPI", ("ParticleFlowCandidate",)),
    ("sophon_events_delphes_example.root", "JetPUPPIAK8", ("ParticleFlowCandidate",)),
    ("sophon_events_delphes_example.root", "GenJetAK8", ("Particle",)),
    ("skhtd_uproot-issue513.root", "Jet", ("EFlowTrack", "EFlowPhoton", "EFlowNeutralHadron")),
    ("skhtd_uproot-issue513.root", "GenJet", ("Particle",)),
]


@pytest.mark.parametrize(("name", "collection", "targets"), DELPHES)
def test_constituents_of_delphes_jets_are_the_objects_referred_to(
    real_data: Path, name: str, collection: str, targets: tuple[str, ...]
) -> None:
    path = real_data / "root" / name
    jets = read(path, collection=collection)
    with uproot.open(path) as file:
        tree = file["Delphes"]
        refs = tree[f"{collection}.Constituents"].array().refs.to_list()
        pts = tree[f"{collection}.PT"].array().to_list()
        objects = []
        for target in targets:
            pt = "ET" if target in ("EFlowPhoton", "EFlowNeutralHadron") else "PT"
            branches = [
                tree[f"{target}.{part}"].array().to_list() for part in ("fUniqueID", pt, "Phi")
            ]
            objects.append(branches)
    assert jets.pt.to_list() == flat(pts)
    for jet in jets:
        found = []
        for number in refs[jet.entry][jet.jet_index]:
            for ids, pt, phi in objects:
                if number in ids[jet.entry]:
                    row = ids[jet.entry].index(number)
                    found.append((pt[jet.entry][row], phi[jet.entry][row]))
                    break
        constituents = jet.constituents
        assert found == list(
            zip(constituents.pt.to_list(), constituents.phi.to_list(), strict=True)
        )


def test_delphes_jets_are_sums_of_their_constituents(real_data: Path) -> None:
    path = real_data / "root/sophon_events_delphes_example.root"
    for collection in ("JetPUPPI", "JetPUPPIAK8", "JetPUPPIAK15"):
        jets = read(path, collection=collection)
        total = sums(jets)
        assert np.abs(total.pt / jets.pt - 1).to_numpy().max() < 1e-5
        assert np.abs(total.eta - jets.eta).to_numpy().max() < 1e-5
        assert np.abs(total.mass - jets.mass).to_numpy().max() < 0.01
    # This card corrects the energy scale of jets, by up to 12 % here.
    jets = read(real_data / "root/skhtd_uproot-issue513.root")
    ratio = sums(jets).pt / jets.pt
    assert 0.85 < ak.min(ratio) <= ak.max(ratio) < 1.0
    assert quantile(np.abs(sums(jets).eta - jets.eta), 0.9) < 0.01


def test_delphes_constituents_have_charges_and_pdg_numbers(real_data: Path) -> None:
    for name in ("sophon_events_delphes_example.root", "skhtd_uproot-issue513.root"):
        constituents = ak.flatten(read(real_data / "root" / name).constituents)
        neutral = constituents.charge == 0
        assert set(constituents.pid[neutral].to_list()) == {22, 130}
        assert 22 not in constituents.pid[~neutral].to_list()
        assert np.all(constituents.d0[neutral].to_numpy() == 0)


def test_delphes_jets_whose_constituents_were_not_written_are_an_error(real_data: Path) -> None:
    path = real_data / "root/sophon_events_delphes_example.root"
    assert read(path).attrs["collection"] == "JetPUPPIAK8"
    with pytest.raises(InputError, match=r"1634 of 1648 constituents of Jet of .* not among Part"):
        read(path, collection="Jet")


def test_edm4hep_jets_are_sums_of_the_particles_in_their_ranges(real_data: Path) -> None:
    path = real_data / "root/coffea_p8_ee_WW_ecm240_edm4hep.root"
    jets = read(path)
    assert jets.attrs == {
        "schema": "EDM4hep",
        "files": [str(path)],
        "tree": "events",
        "collection": "Jet",
    }
    names = ["Jet.particles_begin", "Jet.particles_end", "_Jet_particles.index"]
    target = "ReconstructedParticles"
    names += [f"{target}.energy", f"{target}.momentum.x", f"{target}.charge"]
    columns = arrays(path, "events", names)
    for jet in jets:
        begin, end = (
            columns[f"Jet.particles_{end}"][jet.entry][jet.jet_index] for end in ("begin", "end")
        )
        rows = columns["_Jet_particles.index"][jet.entry][begin:end]
        for field, name in (("energy", "energy"), ("px", "momentum.x"), ("charge", "charge")):
            expected = [columns[f"{target}.{name}"][jet.entry][row] for row in rows]
            assert jet.constituents[field].to_list() == expected
    total = sums(jets)
    assert np.abs(total.pt / jets.pt - 1).to_numpy().max() < 1e-5
    assert np.abs(total.mass - jets.mass).to_numpy().max() < 1e-3
    pid = np.abs(ak.flatten(jets.constituents.pid).to_numpy())
    assert set(pid) <= {11, 13, 22, 130, 211}


def test_podio_numbers_collections_by_a_hash_of_their_names(real_data: Path) -> None:
    with uproot.open(real_data / "root/coffea_edm4hep.root") as file:
        table = file["podio_metadata"]["events___idTable"]
        ids = table["m_collectionIDs"].array()[0].to_list()
        names = table["m_names"].array()[0].to_list()
    assert len(names) > 20
    assert [collection_id(name) for name in names] == ids


def test_edm4hep_without_jets_reads_the_collection_that_has_parts(real_data: Path) -> None:
    path = real_data / "root/coffea_edm4hep.root"
    jets = read(path)
    assert jets.attrs["collection"] == "ReconstructedParticleCollection"
    assert np.allclose(sums(jets).energy, jets.energy)


def test_physlite_jets_are_in_gev(real_data: Path) -> None:
    path = real_data / "root/coffea_PHYSLITE_example.root"
    jets = read(path)
    assert jets.attrs["collection"] == "AnalysisJets"
    columns = arrays(path, "CollectionTree", ["AnalysisJetsAuxDyn.pt", "AnalysisJetsAuxDyn.m"])
    assert np.allclose(jets.pt, np.array(flat(columns["AnalysisJetsAuxDyn.pt"])) / 1000, rtol=1e-6)
    assert np.allclose(jets.mass, np.array(flat(columns["AnalysisJetsAuxDyn.m"])) / 1000, rtol=1e-6)
    large = read(path, collection="AnalysisLargeRJets", keep=["EventInfoAuxDyn.eventNumber"])
    assert ak.min(large.pt) > 90
    truth = read(path, collection="AntiKt4TruthDressedWZJets")
    assert ak.max(truth.pt) < 7000


def test_tree_maker_jets_have_the_masses_of_their_lorentz_vectors(real_data: Path) -> None:
    path = real_data / "root/coffea_treemaker.root"
    jets = read(path, where="softDropMass > 20", keep=["JetsAK8_softDropMass", "EvtNum"])
    assert jets.attrs["collection"] == "JetsAK8"
    heads = [f"JetsAK8.fCoordinates.f{part}" for part in ("Pt", "Eta", "E")]
    columns = arrays(path, "PreSelection", [*heads, "JetsAK8_softDropMass"])
    pt, eta, energy, groomed = (np.array(flat(values)) for values in columns.values())
    mass = np.sqrt(energy**2 - (pt * np.cosh(eta)) ** 2)
    assert np.allclose(jets.mass, mass[groomed > 20], rtol=1e-9)
    assert len(jets.JetsAK8_softDropMass) == np.sum(groomed > 20)


def test_a_file_of_no_known_schema_lists_what_each_misses(real_data: Path) -> None:
    with pytest.raises(SchemaError) as error:
        read(real_data / "root/skhtd_uproot-HZZ.root")
    text = str(error.value)
    assert "tree 'events' of skhtd_uproot-HZZ.root follow no schema" in text
    assert "JetClass: " in text
    assert "schema=" in text


def test_a_mapping_reads_the_tutorial_file(real_data: Path) -> None:
    path = real_data / "root/skhtd_uproot-HZZ.root"
    mapping = {
        "name": "HZZ",
        "jets": {"px": "Jet_Px", "py": "Jet_Py", "pz": "Jet_Pz", "energy": "Jet_E"},
        "weight": "EventWeight",
    }
    jets = read(path, schema=mapping, keep=["Jet_btag", "MET_px"])
    columns = arrays(path, "events", ["Jet_Px", "Jet_Py", "Jet_btag", "EventWeight"])
    pt = np.hypot(flat(columns["Jet_Px"]), flat(columns["Jet_Py"]))
    assert np.allclose(jets.pt, pt, rtol=1e-6)
    assert jets.Jet_btag.to_list() == flat(columns["Jet_btag"])
    assert equal(jets.weight, np.array(columns["EventWeight"], "f4")[jets.entry])
    assert jets.attrs["schema"] == "HZZ"


@pytest.mark.parametrize("name", ["coffea_pfnano.root", "sophon_events_delphes_example.root"])
def test_chunks_of_events_are_the_whole(real_data: Path, name: str) -> None:
    path = real_data / "root" / name
    whole = read(path)
    parts = list(iterate(path, step=3))
    assert len(parts) > 2
    assert ak.array_equal(ak.concatenate(parts), whole, check_parameters=False, equal_nan=True)
    middle = read(path, entry_start=4, entry_stop=8)
    chosen = (whole.entry >= 4) & (whole.entry < 8)
    assert ak.array_equal(middle, whole[chosen], check_parameters=False, equal_nan=True)
