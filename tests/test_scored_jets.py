"""Scores of a file and the jets they are of, before any metric."""

from __future__ import annotations

import json

import awkward as ak
import numpy as np
import pytest
import uproot

from hepgen.io.errors import InputError, LabelError, WrongType
from hepgen.io.files import FileSpec
from hepgen.io.friends import METADATA
from hepgen.score_columns import ScoreColumns, class_index, read_score_columns
from hepgen.score_origin import JetsOfFile, Origin, Wanted
from hepgen.scored_jets import ScoredJets, read_scored_jets

WANTED = Wanted(labels=None, where=None, weights=None, observables={}, schema=None, collection=None)


def write(path, columns, about=None):
    with uproot.recreate(path) as file:
        file.mktree("t", {name: ak.Array(v).type.content for name, v in columns.items()})
        file["t"].extend(columns)
        if about is not None:
            file[METADATA] = json.dumps(about)
    return FileSpec(str(path))


def test_what_the_file_tells_of_its_branches_comes_first(tmp_path):
    columns = {"score_x": [0.5], "AK8_net_H_bb": [0.75], "AK8_net_qcd": [0.25]}
    about = {"branches": {"H->bb": "AK8_net_H_bb", "qcd": "AK8_net_qcd"}, "model": "net"}
    found = read_score_columns(write(tmp_path / "a.root", columns, about))
    assert isinstance(found, ScoreColumns)
    assert found.classes == ("H->bb", "qcd")
    assert found.values.tolist() == [[0.75, 0.25]]
    assert found.about["model"] == "net"
    assert found.tree == "t"
    stale = read_score_columns(
        write(tmp_path / "b.root", columns, {"branches": {"a": "gone"}, "model": "net"})
    )
    assert stale.classes == ("x",)
    with uproot.recreate(tmp_path / "c.root") as file:
        file.mktree("t", {"score_a": "f4"})
        file["t"].extend({"score_a": np.zeros(1, np.float32)})
        file[METADATA] = "{"
    with pytest.raises(InputError, match="is not JSON"):
        read_score_columns(FileSpec(str(tmp_path / "c.root")))


def test_float32_scores_stay_float32_and_integers_become_floats(tmp_path):
    spec = write(tmp_path / "a.root", {"score_a": np.zeros(3, np.float32)})
    assert read_score_columns(spec).values.dtype == np.float32
    spec = write(tmp_path / "b.root", {"score_a": np.ones(3, np.int32)})
    assert read_score_columns(spec).values.dtype == np.float64


def test_scores_are_found_by_entry_and_position(tmp_path):
    scores = ak.Array([[0.1, 0.2], [], [0.3]])
    found = read_score_columns(write(tmp_path / "a.root", {"score_a": scores}))
    assert found.of(np.array([2, 0]), np.array([0, 1]))[:, 0].tolist() == [0.3, 0.2]
    assert found.column(np.array([7, 8, 9]), "x").tolist() == [7, 7, 9]
    with pytest.raises(InputError, match="has 1 scores in entry 2, and its input more jets"):
        found.of(np.array([2]), np.array([1]))
    with pytest.raises(WrongType, match="neither one value an entry nor one for each scored jet"):
        found.column(ak.Array([[[1]], [], []]), "x")
    flat = read_score_columns(write(tmp_path / "b.root", {"score_a": [0.1, 0.2]}))
    with pytest.raises(InputError, match="one score an entry, but entry 1 of its input has sever"):
        flat.of(np.array([0, 1]), np.array([0, 1]))


def test_each_jet_is_of_one_class():
    flags = {"a": np.array([True, False]), "b": np.array([False, True])}
    assert class_index(flags, ["b", "a"], "here").tolist() == [1, 0]
    flags["b"][:] = True
    with pytest.raises(LabelError, match=r"of 2 jets of here 0 are in none .* 1 in two or more"):
        class_index(flags, ["a", "b"], "here")


def test_the_jets_of_a_file_are_those_of_its_scores(tmp_path):
    columns = {"score_a": [0.1, 0.2, 0.9], "label_a": [0, 0, 1], "jet_pt": [1.0, 2.0, 3.0]}
    spec = write(tmp_path / "a.root", columns)
    found = Origin(spec, read_score_columns(spec), None).jets(("a", "not a"), None, WANTED)
    assert isinstance(found, JetsOfFile)
    assert found.labels.tolist() == [1, 1, 0]
    assert found.observables["pt"].tolist() == [1, 2, 3]
    joined = read_scored_jets(spec.path, wanted=WANTED)
    assert isinstance(joined, ScoredJets)
    np.testing.assert_allclose(joined.scores, [[0.1, 0.9], [0.2, 0.8], [0.9, 0.1]])
    assert joined.kind == "one score"


def test_weights_in_some_of_the_files_are_an_error(tmp_path):
    columns = {"score_a": [0.1, 0.2], "label_a": [0, 1]}
    files = [
        write(tmp_path / "a.root", columns | {"weight": [1.0, 2.0]}).path,
        write(tmp_path / "b.root", columns).path,
    ]
    with pytest.raises(InputError, match=r"b.root has no weights, others have"):
        read_scored_jets(files, wanted=WANTED)


def test_files_with_other_classes_are_an_error(tmp_path):
    one = write(tmp_path / "a.root", {"score_a": [0.1], "score_b": [0.9], "label_a": [1]})
    two = write(tmp_path / "b.root", {"score_a": [0.1], "score_c": [0.9], "label_a": [1]})
    with pytest.raises(InputError, match="files that are evaluated together need the same classes"):
        read_scored_jets([one.path, two.path], wanted=WANTED)
