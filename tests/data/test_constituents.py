"""The columns of constituents, against vector, awkward and the columns of real files."""

from __future__ import annotations

from pathlib import Path

import awkward as ak
import numpy as np
import pytest

from hepgen.data import Constituents
from hepgen.data.constituents import BLOCK
from hepgen.data.pdg import KINDS, charge
from hepgen.io import read
from hepgen.io.errors import MissingName, WrongType
from tests.data.jet_samples import constituents, jets_of, some_jets

COUNTS = [3, 0, 40, 1]


def in_polar_coordinates(jets: ak.Array) -> ak.Array:
    parts = jets.constituents
    names = ("pt", "eta", "phi", "mass")
    columns = {name: ak.to_numpy(ak.flatten(getattr(parts, name), axis=1)) for name in names}
    fields = {name: jets[name] for name in names}
    return jets_of(fields, columns, ak.num(parts).tolist())


@pytest.mark.parametrize("polar", [False, True])
def test_momenta_are_those_of_vector(polar: bool) -> None:
    jets = some_jets(COUNTS)
    columns = Constituents.of(in_polar_coordinates(jets) if polar else jets)
    for name in ("px", "py", "pz", "energy", "pt", "eta", "phi"):
        expected = ak.to_numpy(ak.flatten(getattr(jets.constituents, name)))
        values = getattr(columns, name)
        assert values.dtype == np.float32
        np.testing.assert_allclose(values, expected, rtol=2e-5, atol=2e-5, err_msg=name)


def test_angles_to_the_axis_are_those_of_vector_with_the_sign_of_the_jet() -> None:
    jets = some_jets(COUNTS)
    columns = Constituents.of(jets)
    sign = np.where(ak.to_numpy(jets.eta) < 0, -1, 1)
    eta = ak.to_numpy(ak.flatten(jets.constituents.deltaeta(jets) * sign))
    phi = ak.to_numpy(ak.flatten(jets.constituents.deltaphi(jets)))
    np.testing.assert_allclose(columns.delta_eta, eta, atol=1e-6)
    np.testing.assert_allclose(columns.delta_phi, phi, atol=1e-6)


def test_delta_phi_is_in_a_half_open_interval() -> None:
    phi = np.array([np.pi, -np.pi, 3.1415925, -3.1415925, 0.0], np.float32)
    columns = {"pt": np.ones(5), "eta": np.zeros(5), "phi": phi, "mass": np.zeros(5)}
    for jet_phi in (0.0, np.pi / 2, -np.pi, 3.0, -1e-9):
        fields = {"pt": [1.0], "eta": [0.0], "phi": [jet_phi], "mass": [0.0]}
        delta = Constituents.of(jets_of(fields, columns, [5])).delta_phi
        assert (delta >= -np.float32(np.pi)).all()
        assert (delta < np.float32(np.pi)).all()


@pytest.mark.parametrize(
    "name", ["sophon_JetClassII_example.root", "timlegge_quarkgluon_2000.root"]
)
def test_angles_computed_by_us_are_the_columns_of_real_files(real_data: Path, name: str) -> None:
    jets = read(real_data / "root" / name)
    stored = Constituents.of(jets)
    fields = [field for field in stored.fields if not field.startswith("delta_")]
    computed = Constituents(
        fields, stored.column, stored.offsets, stored.jet_fields, stored.jet_column
    )
    np.testing.assert_allclose(computed.delta_eta, stored.delta_eta, atol=2e-6)
    np.testing.assert_allclose(computed.delta_phi, stored.delta_phi, atol=2e-6)
    assert "delta_eta" in stored.fields


def test_columns_of_the_file_are_not_copied() -> None:
    jets = some_jets(COUNTS)
    content = jets.constituents.layout.content
    columns = Constituents.of(jets)
    for name in ("px", "d0"):
        assert np.shares_memory(columns.column(name), content[name].data)
    assert np.shares_memory(columns.jets(2, 3).px, content["px"].data)


@pytest.mark.parametrize(
    "select",
    [
        lambda jets: jets[1:3],
        lambda jets: jets[[2, 0]],
        lambda jets: jets[np.array([True, False, True, True])],
        lambda jets: jets[[2, 0]][1:],
        lambda jets: ak.concatenate([jets[:1], jets[2:]]),
        lambda jets: jets[:0],
    ],
    ids=["slice", "indices", "mask", "indices then slice", "concatenation", "none"],
)
def test_selected_jets_have_their_own_constituents(select: object) -> None:
    jets = select(some_jets(COUNTS))  # type: ignore[operator]
    columns = Constituents.of(jets)
    assert columns.counts.tolist() == ak.num(jets.constituents).tolist()
    assert len(columns) == sum(columns.counts)
    for name in ("px", "charge"):
        expected = ak.flatten(jets.constituents[name]).tolist()
        assert columns.column(name).tolist() == expected
    assert (
        columns.spread(columns.jet_pt).tolist()
        == ak.flatten(ak.broadcast_arrays(jets.pt, jets.constituents.px)[0]).tolist()
    )


def test_blocks_are_all_constituents_in_order() -> None:
    jets = some_jets([30_000, 10, 0, 20_000, 5, 0])
    columns = Constituents.of(jets)
    blocks = list(columns.blocks())
    assert [len(block) <= BLOCK for _, block in blocks] == [False, True]
    assert [before for before, _ in blocks] == [0, 1]
    assert np.array_equal(np.concatenate([block.pt for _, block in blocks]), columns.pt)
    spread = [block.spread(block.jet_energy) for _, block in blocks]
    assert np.array_equal(np.concatenate(spread), columns.spread(columns.jet_energy))
    assert sum(block.num_jets for _, block in blocks) == 6


def test_taken_constituents_keep_their_jets() -> None:
    columns = Constituents.of(some_jets([2, 3]))
    taken = columns.take(np.array([1, 2, 4]), np.array([0, 1, 3]))
    assert taken.px.tolist() == columns.px[[1, 2, 4]].tolist()
    assert taken.spread(taken.jet_pt).tolist() == columns.spread(columns.jet_pt)[[1, 2, 4]].tolist()


def test_a_missing_field_names_the_nearest() -> None:
    columns = Constituents.of(some_jets([2], full=False))
    with pytest.raises(MissingName, match="no field 'd0'"):
        _ = columns.d0
    with pytest.raises(MissingName, match=r"no field 'enregy'.*nearest: energy"):
        columns.column("enregy")
    with pytest.raises(MissingName, match=r"no field 'ptt'.*nearest: pt"):
        _ = columns.jet_ptt
    with pytest.raises(MissingName, match="no field 'constituents'"):
        Constituents.of(ak.Array([{"pt": 1.0}]))


def test_constituents_that_are_no_records_are_refused() -> None:
    with pytest.raises(WrongType, match="lists of records"):
        Constituents.of(ak.Array({"pt": [1.0], "constituents": [[1.0, 2.0]]}))
    with pytest.raises(WrongType, match="one number each"):
        Constituents.of(ak.Array({"constituents": [[{"px": [1.0]}]]})).column("px")
    with pytest.raises(WrongType, match=r"not \?float64"):
        Constituents.of(ak.Array({"constituents": [[{"px": None}, {"px": 1.0}]]})).column("px")


def test_kinds_and_charge_follow_from_pdg_ids_only_where_the_file_has_none() -> None:
    pid = np.array([211, -211, 130, 22, 11, -13, 1, 2, 321, -2212, 2112, 0])
    columns = {**{name: np.ones(12) for name in ("px", "py", "pz", "energy")}, "pid": pid}
    record = constituents(columns, [12])
    derived = Constituents.of(ak.Array({"constituents": record}))
    assert derived.charge.tolist() == [1, -1, 0, 0, -1, 1, 0, 0, 1, -1, 0, 0]
    assert np.flatnonzero(derived.is_charged_hadron).tolist() == [0, 1, 8, 9]
    assert np.flatnonzero(derived.is_neutral_hadron).tolist() == [2, 6, 10, 11]
    assert np.flatnonzero(derived.is_photon).tolist() == [3, 7]
    assert np.flatnonzero(derived.is_electron).tolist() == [4]
    assert np.flatnonzero(derived.is_muon).tolist() == [5]
    own = constituents({**columns, "is_muon": np.arange(12), "charge": np.arange(12)}, [12])
    stored = Constituents.of(ak.Array({"constituents": own}))
    assert stored.is_muon.tolist() == stored.charge.tolist() == list(range(12))
    assert set(KINDS) == {name for name in dir(Constituents) if name.startswith("is_")}


def test_charges_are_those_of_pythia() -> None:
    pythia8 = pytest.importorskip("pythia8mc")
    data = pythia8.Pythia("", False).particleData
    ids = [11, 12, 13, 15, 16, 22, 111, 113, 130, 211, 213, 221, 310, 321, 323, 331, 333, 411]
    ids += [421, 431, 443, 511, 521, 531, 541, 553, 2112, 2114, 2212, 2224, 3112, 3122, 3212]
    ids += [3222, 3312, 3322, 3334, 4122, 4132, 4222, 4232, 5112, 5122, 5132, 5222, 5232, 10321]
    ids += [20213, 10433, 1000010020, 1000020040]
    for pid in (*ids, *(-pid for pid in ids if data.hasAnti(pid))):
        assert charge(np.array([pid]))[0] == data.charge(pid), pid
