"""Targets and labels of constituents, in memory and from files, against the columns themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import torch

from hepgen.data import Batches, Features, JetFiles, NonFinite, PackedJets, StreamedBatches
from hepgen.data.packed import join, rows_of
from hepgen.data.targets import (
    constituent_fields,
    constituent_labels,
    kept_columns,
    target_values,
    with_label_columns,
)
from hepgen.io import read
from hepgen.io.errors import InputError, MissingName, WrongType
from hepgen.io.expressions import ExpressionError
from tests.data.jet_samples import some_jets
from tests.io.jet_files import jet_columns, write_root

CLASSES = ["top", "qcd"]
FEATURES = Features(["log_pt", "charge", "delta_eta"])
TARGETS = ("log(gen_mass)", "mass / pt", "num_constituents")
LABELS = "where(part_truth > 0.5, 1, -1) + 0 * charge"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Files with a true mass of each jet and a true number of each constituent."""
    folder = tmp_path_factory.mktemp("targets")
    paths = []
    for i, size in enumerate((150, 90)):
        columns: dict[str, Any] = jet_columns(size, seed=i)
        rng = np.random.default_rng(i)
        columns["gen_mass"] = rng.uniform(10, 200, size).astype(np.float32)
        counts = ak.num(columns["part_px"])
        flat = rng.uniform(size=int(ak.sum(counts))).astype(np.float32)
        columns["part_truth"] = ak.unflatten(flat, counts)
        paths.append(write_root(folder / f"{i}.root", columns, parts=3))
    return paths


def packed(files: list[Path], features: Features = FEATURES) -> PackedJets:
    jets = read(files, labels=CLASSES, keep=kept_columns(TARGETS, LABELS))
    return PackedJets.pack(jets, features, CLASSES, targets=TARGETS, constituent_labels=LABELS)


def test_targets_are_the_columns_of_the_jets(files: list[Path]) -> None:
    jets = read(files, labels=CLASSES, keep=["gen_mass"])
    found = target_values(jets, TARGETS)
    assert found.dtype == np.float32
    expected = [np.log(jets.gen_mass), jets.mass / jets.pt, ak.num(jets.constituents)]
    np.testing.assert_allclose(found, np.stack(expected, axis=1), rtol=1e-5)
    assert target_values(jets, ()).shape == (len(jets), 0)


def test_labels_follow_the_constituents_that_enter(files: list[Path]) -> None:
    jets = read(files, labels=CLASSES, keep=["part_truth"])
    features = Features(["log_pt", "charge"], max_constituents=3)
    found = PackedJets.pack(jets, features, constituent_labels="1 * (part_truth > 0.5)")
    assert found.constituent_y is not None
    assert len(found.constituent_y) == len(found.x) < ak.sum(ak.num(jets.part_truth))
    truth = with_label_columns(jets, "part_truth").constituents
    order = ak.argsort(truth.pt, axis=1, ascending=False)[:, :3]
    # The order of the file is kept among those that enter.
    kept = truth[ak.sort(order, axis=1)]
    expected = ak.to_numpy(ak.flatten(kept.part_truth > 0.5))
    np.testing.assert_array_equal(found.constituent_y, expected)


@pytest.mark.parametrize("shuffle", [False, True])
def test_batches_of_streamed_jets_have_the_targets_of_their_jets(
    files: list[Path], shuffle: bool
) -> None:
    """The momenta of a jet tell which it is; targets and labels must be those of that jet."""
    whole = packed(files)
    known = {jet_key(graph): graph for graph in whole.batch(slice(None)).to_data_list()}
    sources = [
        Batches(whole, 32, shuffle),
        StreamedBatches(
            files, FEATURES, CLASSES, batch_size=32, shuffle=shuffle, step=40, pool=3,
            targets=TARGETS, constituent_labels=LABELS,
        ),
        JetFiles(files, {"labels": CLASSES}, step=50).batches(
            FEATURES, CLASSES, batch_size=32, shuffle=shuffle,
            targets=TARGETS, constituent_labels=LABELS,
        ),
    ]  # fmt: skip
    for source in sources:
        seen = 0
        for batch in source.epoch(0):
            assert batch.targets.shape == (batch.num_graphs, len(TARGETS))
            assert batch.targets.dtype == torch.float32
            assert batch.constituent_y.dtype == torch.int64
            for graph in batch.to_data_list():
                seen += 1
                if not len(graph.p4):  # these look all alike
                    continue
                other = known[jet_key(graph)]
                for name in ("targets", "constituent_y", "y", "weight"):
                    torch.testing.assert_close(graph[name], other[name], msg=name)
        assert seen == len(whole)


def jet_key(graph: Any) -> bytes:
    return graph.p4.numpy().tobytes() + bytes([len(graph.p4)])


def test_jets_without_classes_have_weights_of_mean_one(files: list[Path]) -> None:
    batches = StreamedBatches(files, FEATURES, None, targets=["mass"], batch_size=1000)
    (batch,) = batches.epoch(0)
    assert batch.get("y") is None
    assert float(batch.weight.mean()) == pytest.approx(1)
    (bare,) = StreamedBatches(files, FEATURES, None, batch_size=1000).epoch(0)
    assert bare.get("weight") is None
    jets = read(files, keep=["gen_mass"])
    memory = PackedJets.pack(jets, FEATURES, targets=["mass"])
    assert memory.y is None
    assert memory.weight is not None
    assert memory.weight.tolist() == [1.0] * len(jets)
    assert set(memory.fields(("y", "weight", "targets"))) == {"weight", "targets"}


def test_joined_and_gathered_jets_keep_their_targets(files: list[Path]) -> None:
    whole = packed(files)
    order = np.array([5, 0, 7, 7])
    gathered = whole.batch(order).to_data_list()
    joined = join([(whole, slice(j, j + 1)) for j in order]).to_data_list()
    for j, one, two in zip(order.tolist(), gathered, joined, strict=True):
        alone = whole.batch(slice(j, j + 1))
        for name in ("targets", "constituent_y", "p4"):
            assert torch.equal(one[name], alone[name])
            assert torch.equal(two[name], alone[name])
    ptr = np.array([0, 2, 3])
    rows = rows_of(np.array([0, 1, 3, 6]), np.array([1, 0]), ptr)
    assert rows.tolist() == [1, 2, 0]


def test_targets_of_files_come_with_their_classes(files: list[Path]) -> None:
    source = JetFiles(files, step=40)
    values, y = source.targets(TARGETS, CLASSES)
    jets = read(files, labels=CLASSES, keep=["gen_mass"])
    np.testing.assert_array_equal(values, target_values(jets, TARGETS))
    np.testing.assert_array_equal(y, ak.to_numpy(jets.label_qcd).astype(int))
    assert source.targets(["mass"])[1] is None


def test_targets_that_are_not_finite_are_counted() -> None:
    jets = some_jets([3, 4, 5])
    jets["gen_mass"] = [10.0, -1.0, np.inf]
    told = r"target 'log\(gen_mass\)' is NaN or infinite in 2 of 3 jets, first jet 1"
    with pytest.raises(NonFinite, match=told):
        target_values(jets, ["log(gen_mass)"])


def test_targets_and_labels_that_make_no_sense_are_refused() -> None:
    jets = some_jets([3, 4, 5])
    with pytest.raises(MissingName, match=r"target 'mas' of the jets: no column 'mas'.*mass"):
        target_values(jets, ["mas"])
    with pytest.raises(ExpressionError):
        target_values(jets, ["mass +"])
    with pytest.raises(TypeError, match="sequence of expressions, not 'mass'"):
        PackedJets.pack(jets, FEATURES, targets="mass")
    jets["many"] = [[1, 2], [3], []]
    with pytest.raises(WrongType, match="'many' should give one number for each jet"):
        target_values(jets, ["many"])
    with pytest.raises(WrongType, match="'many' should have one value for each constituent"):
        PackedJets.pack(jets, FEATURES, constituent_labels="many")
    chosen = FEATURES.constituents(jets)
    with pytest.raises(MissingName, match="labels of constituents 'is_electrn': no field"):
        constituent_labels(chosen, "is_electrn")
    with pytest.raises(InputError, match="should be whole numbers; 12 of 12 are not"):
        constituent_labels(chosen, "is_electron + 0.5")
    with pytest.raises(InputError, match="should be whole numbers"):
        constituent_labels(chosen, "is_electron + log(-1)")


def test_expressions_tell_which_columns_to_read() -> None:
    assert kept_columns(["log(gen_mass)", "mass / pt", "gen_mass"]) == ["gen_mass"]
    assert kept_columns([], LABELS) == ["part_truth"]
    assert kept_columns(["label_top", "num_constituents"], "is_muon * (pt > 2)") == []
    assert constituent_fields(LABELS) == ["charge"]
    assert constituent_fields(None) == []
