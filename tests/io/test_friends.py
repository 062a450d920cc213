"""Friend trees as uproot reads them: every entry in its row, every jet in its place."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
from hypothesis import given
from hypothesis import strategies as st

from hepgen.io.copying import CopiedColumns
from hepgen.io.errors import (
    InputError,
    MissingFile,
    MissingName,
    OutputExists,
    SchemaError,
    WrongType,
)
from hepgen.io.files import FileSpec
from hepgen.io.friend_layout import EVENT_NUMBERS, FriendLayout
from hepgen.io.friends import METADATA, FriendWriter, output_paths, write_friend
from hepgen.io.jet_counts import JetCounts
from hepgen.io.reader import iterate, read
from hepgen.io.root import RootSource
from hepgen.io.schemas import find
from hepgen.io.scores import ScoredJets, branch_name, score_matrix
from tests.io.friend_files import EVENTS_SCHEMA, write_events, write_jets


def rows_of(path: Path, tree: str = "hepgen") -> ak.Array:
    with uproot.open({path: tree}) as opened:
        return opened.arrays()


def test_the_house_example_gives_one_row_a_jet_in_entry_order(tmp_path: Path) -> None:
    columns = write_jets(tmp_path / "top_qcd.root", 50)
    scores = np.random.default_rng(2).random((50, 2))
    written = write_friend(
        tmp_path / "scores.root", scores, of=tmp_path / "top_qcd.root", classes=["top", "qcd"]
    )
    assert written == [tmp_path / "scores.root"]
    friend = rows_of(tmp_path / "scores.root")
    assert friend.fields == ["run", "luminosityBlock", "event", "score_top", "score_qcd"]
    assert str(friend.score_top.type) == "50 * float32"
    np.testing.assert_array_equal(friend.score_top, scores[:, 0].astype(np.float32))
    np.testing.assert_array_equal(friend.score_qcd, scores[:, 1].astype(np.float32))
    for name in ("run", "luminosityBlock", "event"):
        np.testing.assert_array_equal(friend[name], columns[name])


def test_entries_without_a_score_stay_as_rows_of_nan_whatever_the_order_of_jets(
    tmp_path: Path,
) -> None:
    columns = write_jets(tmp_path / "jets.root", 80)
    jets = read(tmp_path / "jets.root", where="jet_pt > 550")
    jets = jets[np.random.default_rng(3).permutation(len(jets))]
    write_friend(
        tmp_path / "scores.root",
        {"top": np.asarray(jets.pt) / 1000},
        of=tmp_path / "jets.root",
        jets=jets,
        observers=["label_top", "jet_phi", "mass"],
    )
    friend = rows_of(tmp_path / "scores.root")
    selected = columns["jet_pt"] > 550
    assert 0 < selected.sum() < 80
    expected = np.where(selected, columns["jet_pt"] / 1000, np.nan).astype(np.float32)
    np.testing.assert_array_equal(friend.score_top, expected)
    np.testing.assert_array_equal(friend.label_top, columns["label_top"])
    np.testing.assert_array_equal(friend.jet_phi, columns["jet_phi"])
    np.testing.assert_array_equal(friend.mass, np.where(selected, columns["jet_mass"], np.nan))


def test_jets_of_events_get_lists_with_every_jet_in_its_place(tmp_path: Path) -> None:
    columns = write_events(tmp_path / "events.root", 60)
    jets = read(tmp_path / "events.root", schema=EVENTS_SCHEMA, where="pt > 50")
    write_friend(
        tmp_path / "scores.root",
        np.stack([jets.pt, -jets.eta], axis=1),
        of=tmp_path / "events.root",
        jets=jets[::-1][::-1],
        classes=["b", "light"],
        schema=EVENTS_SCHEMA,
        name="my-net",
        observers=["phi"],
    )
    friend = rows_of(tmp_path / "scores.root")
    jet = columns["Jet"]
    assert friend.fields == [
        "event",
        "nJet_my_net",
        *(f"Jet_my_net_{n}" for n in ("b", "light", "phi")),
    ]
    np.testing.assert_array_equal(friend.nJet_my_net, ak.num(jet))
    for branch, values in {"b": jet.pt, "light": -jet.eta, "phi": jet.phi}.items():
        expected = ak.where(jet.pt > 50, values, np.float32(np.nan))
        assert ak.array_equal(friend[f"Jet_my_net_{branch}"], expected, equal_nan=True)


def test_a_real_nanoaod_file_gets_all_its_fat_jets(tmp_path: Path, real_data: Path) -> None:
    file = real_data / "root" / "coffea_nano_tt_v15.root"
    jets = read(file, where="num_constituents > 20")
    assert jets.attrs["collection"] == "FatJet"
    write_friend(tmp_path / "s.root", {"top": jets.pt}, of=file, jets=jets, name="net")
    friend = rows_of(tmp_path / "s.root")
    with uproot.open({file: "Events"}) as events:
        pt, event = events["FatJet_pt"].array(), events["event"].array()
    assert (friend.event == event).to_list() == [True] * 200
    assert (ak.num(friend.FatJet_net_top) == ak.num(pt)).to_list() == [True] * 200
    scored = ~np.isnan(friend.FatJet_net_top)
    assert ak.sum(scored) == len(jets) > 0
    assert ak.all(friend.FatJet_net_top[scored] == pt[scored])


@pytest.mark.parametrize(
    ("file", "collection", "pt"),
    [
        ("coffea_pfnano.root", "Jet", "Jet_pt"),
        ("sophon_events_delphes_example.root", "JetPUPPIAK8", "JetPUPPIAK8/JetPUPPIAK8.PT"),
        ("coffea_treemaker.root", None, None),
        ("coffea_PHYSLITE_example.root", None, "AnalysisJetsAuxDyn.pt"),
        ("coffea_p8_ee_WW_ecm240_edm4hep.root", None, None),
    ],
)
def test_real_events_of_other_formats_have_as_many_scores_as_jets(
    tmp_path: Path, real_data: Path, file: str, collection: str | None, pt: str | None
) -> None:
    path = real_data / "root" / file
    jets = read(path, collection=collection, fields=())
    write_friend(tmp_path / "s.root", {"x": jets.pt}, of=path, jets=jets, name="net")
    friend = rows_of(tmp_path / "s.root")
    (branch,) = (name for name in friend.fields if name.endswith("_net_x"))
    assert ak.flatten(friend[branch]).to_list() == np.asarray(jets.pt, np.float32).tolist()
    assert ak.flatten(ak.local_index(friend[branch])).to_list() == jets.jet_index.to_list()
    if pt is not None:
        with uproot.open(path) as opened:
            tree = opened[jets.attrs["tree"]]
            assert ak.num(friend[branch]).to_list() == ak.num(tree[pt].array()).to_list()


@given(cuts=st.lists(st.integers(0, 200), max_size=8), seed=st.integers(0, 5))
def test_a_stream_gives_the_same_file_as_one_call(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int], seed: int
) -> None:
    folder = tmp_path_factory.mktemp("stream")
    write_events(folder / "events.root", 100, seed)
    jets = read(folder / "events.root", schema=EVENTS_SCHEMA, where="pt > 40")
    scores = {"b": np.asarray(jets.pt)}
    how: dict[str, Any] = {"of": folder / "events.root", "schema": EVENTS_SCHEMA}
    write_friend(folder / "whole.root", scores, jets=jets, **how)
    edges = [0, *sorted(min(cut, len(jets)) for cut in cuts), len(jets)]
    with FriendWriter(folder / "pieces.root", classes=["b"], **how) as writer:
        for start, stop in pairwise(edges):
            writer.extend({"b": scores["b"][start:stop]}, jets[start:stop])
    assert writer.num_scored == len(jets)
    whole, pieces = rows_of(folder / "whole.root"), rows_of(folder / "pieces.root")
    assert whole.fields == pieces.fields
    assert ak.array_equal(whole, pieces, equal_nan=True)


def test_rows_are_written_while_a_long_stream_goes_on(tmp_path: Path) -> None:
    with uproot.recreate(tmp_path / "in.root") as file:
        file.mktree("tree", {"event": np.arange(350_000)})
    values = np.random.default_rng(1).random(350_000, dtype=np.float32)
    with FriendWriter(
        tmp_path / "out.root", of=tmp_path / "in.root", classes=["a"], one_per_entry=True
    ) as writer:
        for start in range(0, 350_000, 7_000):
            writer.extend(values[start : start + 7_000])
            assert sum(len(part.entry) for part in writer._pending) <= 110_000
    friend = rows_of(tmp_path / "out.root")
    np.testing.assert_array_equal(friend.score_a, values)
    np.testing.assert_array_equal(friend.event, np.arange(350_000))


def test_several_files_get_one_friend_each_by_the_file_of_each_jet(tmp_path: Path) -> None:
    columns = {seed: write_jets(tmp_path / f"in_{seed}.root", 20, seed) for seed in (1, 2, 3)}
    files = [tmp_path / f"in_{seed}.root" for seed in (1, 2, 3)]
    (tmp_path / "out").mkdir()
    jets = read(files)[::-1]
    written = write_friend(tmp_path / "out", {"top": jets.mass}, of=files, jets=jets)
    assert written == [tmp_path / "out" / f"in_{seed}.root" for seed in (1, 2, 3)]
    for seed, path in zip((1, 2, 3), written, strict=True):
        expected = columns[seed]["jet_mass"].astype(np.float32)
        np.testing.assert_array_equal(rows_of(path).score_top, expected)
    (only,) = write_friend(
        tmp_path / "second.root", {"top": jets.mass[20:40]}, of=files[1], jets=jets[20:40]
    )
    np.testing.assert_array_equal(rows_of(only).event, columns[2]["event"])
    scores = np.arange(60.0)
    every = write_friend(tmp_path / "out", scores, of=files, overwrite=True)
    assert rows_of(every[2]).score_0.to_list() == list(range(40, 60))


def test_a_file_that_is_not_root_gets_a_friend_tree_by_row(tmp_path: Path, real_data: Path) -> None:
    file = real_data / "root" / "sophon_JetClassII_example.parquet"
    jets = read(file)
    write_friend(tmp_path / "s.root", {"x": jets.pt}, of=file, jets=jets, observers=["jet_label"])
    friend = rows_of(tmp_path / "s.root")
    assert friend.score_x.to_list() == jets.pt.to_list()
    assert friend.jet_label.to_list() == read(file, keep=["jet_label"]).jet_label.to_list()


def test_an_empty_tree_gets_an_empty_friend(tmp_path: Path) -> None:
    write_jets(tmp_path / "in.root", 0)
    write_friend(tmp_path / "out.root", np.zeros((0, 2)), of=tmp_path / "in.root")
    friend = rows_of(tmp_path / "out.root")
    assert len(friend) == 0
    assert friend.fields == ["run", "luminosityBlock", "event", "score_0", "score_1"]


def test_what_the_scores_are_is_told_beside_the_tree(tmp_path: Path) -> None:
    write_jets(tmp_path / "in.root", 3)
    write_friend(
        tmp_path / "out.root",
        np.zeros((3, 2)),
        of=tmp_path / "in.root",
        classes=["H->bb", "qcd"],
        name="net",
        metadata={"sha256": "abc"},
    )
    with uproot.open(tmp_path / "out.root") as file:
        about = json.loads(str(file[METADATA]))
    assert about["branches"] == {"H->bb": "score_H_bb", "qcd": "score_qcd"}
    assert about["model"] == "net"
    assert about["sha256"] == "abc"
    assert (about["input"], about["input_tree"]) == ("in.root", "tree")


def test_a_friend_of_an_rntuple_is_refused_and_a_copy_holds_everything(tmp_path: Path) -> None:
    columns = write_jets(tmp_path / "in.root", 40, kind="rntuple")
    scores = np.random.default_rng(2).random((40, 1))
    with pytest.raises(InputError, match=r"RNTuple, of which ROOT knows no friends.*copy=True"):
        write_friend(tmp_path / "out.root", scores, of=tmp_path / "in.root")
    assert not (tmp_path / "out.root").exists()
    write_friend(tmp_path / "out.root", scores, of=tmp_path / "in.root", classes=["top"], copy=True)
    with uproot.open(tmp_path / "out.root") as file:
        assert file.classnames()["tree;1"] == "ROOT::RNTuple"
        back = file["tree"].arrays()
    assert set(back.fields) == {*columns, "score_top"}
    np.testing.assert_array_equal(back.score_top, scores[:, 0].astype(np.float32))
    for name, values in columns.items():
        assert back[name].to_list() == ak.Array(values).to_list()


@pytest.mark.slow
def test_a_real_rntuple_is_copied_with_lists_of_scores(tmp_path: Path, real_data: Path) -> None:
    file = real_data / "root" / "coffea_nano_dy_rntuple.root"
    jets = read(file, collection="Jet", fields=())
    write_friend(tmp_path / "s.root", {"b": jets.pt}, of=file, jets=jets, name="net", copy=True)
    with (
        uproot.open({tmp_path / "s.root": "Events"}) as copy,
        uproot.open({file: "Events"}) as whole,
    ):
        fields = [field.name for field in whole.fields if not field.name.startswith("_")]
        assert {field.name for field in copy.fields} >= {*fields, "Jet_net_b"}
        assert ak.array_equal(copy["Jet_net_b"].array(), whole["Jet_pt"].array())
        # Reading all 1499 takes uproot a quarter of a minute.
        for name in [*fields[::20], "HLT_IsoMu24", "nJet", "Jet_hadronFlavour"]:
            back, original = copy[name].array(), whole[name].array()
            assert ak.array_equal(back, original, equal_nan=True, same_content_types=False), name


def test_a_ttree_is_copied_with_its_counters_or_refused_by_name(
    tmp_path: Path, real_data: Path
) -> None:
    columns = write_events(tmp_path / "in.root", 30)
    jets = read(tmp_path / "in.root", schema=EVENTS_SCHEMA)
    write_friend(
        tmp_path / "out.root",
        {"b": jets.pt},
        of=tmp_path / "in.root",
        jets=jets,
        schema=EVENTS_SCHEMA,
        copy=True,
    )
    back = rows_of(tmp_path / "out.root", "Events")
    original = rows_of(tmp_path / "in.root", "Events")
    assert set(back.fields) - set(original.fields) == {"Jet_hepgen_b", "nJet_hepgen"}
    assert ak.array_equal(back[original.fields], original)
    assert ak.array_equal(back.Jet_hepgen_b, columns["Jet"].pt)
    with (
        RootSource(FileSpec(str(real_data / "root" / "sophon_events_delphes_example.root"))) as src,
        pytest.raises(WrongType, match=r"cannot be copied.*Event.*write a friend tree"),
    ):
        CopiedColumns(src)
    parquet = real_data / "root" / "sophon_JetClassII_example.parquet"
    with pytest.raises(InputError, match="no ROOT file"):
        FriendWriter(tmp_path / "x.root", of=parquet, classes=["a"], copy=True)


WRONG = {
    "few": ({"scores": np.zeros((7, 2))}, InputError, "7 scores for the 20 entries.*give jets="),
    "shape": ({"scores": np.zeros((20, 2, 2))}, WrongType, r"wanted scores \(jets, classes\)"),
    "text": ({"scores": np.array(["a"] * 20)}, WrongType, "wanted scores"),
    "classes": ({"classes": ["a"]}, InputError, r"2 scores a jet, but 1 classes \['a'\]"),
    "same": ({"classes": ["a-b", "a b"]}, InputError, "would give the same branch"),
    "unnamed": ({"classes": ["a", "->"]}, InputError, "two of the classes|no branch"),
    "mapping": (
        {"scores": {"a": [0.0] * 20}, "classes": ["b"]},
        InputError,
        "scores are given for",
    ),
    "uneven": ({"scores": {"a": [0.0] * 20, "b": [0.0]}}, WrongType, "one score a jet for each"),
    "observer": ({"observers": ["jet_ptt"]}, MissingName, "no column 'jet_ptt'.*nearest: jet_pt"),
    "clash": ({"classes": ["a", "b"], "observers": ["score_a"]}, MissingName, "score_a"),
}


@pytest.mark.parametrize("case", WRONG)
def test_scores_that_do_not_fit_are_refused_and_nothing_is_written(
    tmp_path: Path, case: str
) -> None:
    write_jets(tmp_path / "in.root", 20)
    arguments, error, message = WRONG[case]
    how = {"scores": np.zeros((20, 2)), "of": tmp_path / "in.root", **arguments}
    with pytest.raises(error, match=message):
        write_friend(tmp_path / "out.root", how.pop("scores"), **how)
    assert [path.name for path in tmp_path.iterdir()] == ["in.root"]


def test_jets_that_are_not_of_the_file_are_refused(tmp_path: Path) -> None:
    write_jets(tmp_path / "in.root", 20)
    write_jets(tmp_path / "other.root", 30)
    write_events(tmp_path / "events.root", 20)
    jets = read(tmp_path / "in.root")
    how: dict[str, Any] = {"of": tmp_path / "in.root"}
    out = tmp_path / "out.root"
    with pytest.raises(
        InputError, match=r"20 of the jets come from .*in\.root, which is not among"
    ):
        write_friend(out, jets.pt, jets=jets, of=tmp_path / "other.root")
    with pytest.raises(InputError, match="3 scores for 20 jets"):
        write_friend(out, jets.pt[:3], jets=jets, **how)
    twice = jets[[0, 1, 1]]
    with pytest.raises(
        InputError, match=r"jet 0 of entry 1 of tree 'tree' of in.root has two scores"
    ):
        write_friend(out, twice.pt, jets=twice, **how)
    writer = FriendWriter(out, classes=["a"], **how)
    with pytest.raises(InputError, match=r"entry 3 comes after entry 7.*sorts them"), writer:
        writer.extend(jets.pt[[2, 7, 3]], jets[[2, 7, 3]])
    late = ak.with_field(jets[:1], [25], "entry")
    with pytest.raises(InputError, match=r"a jet of entry 25, but .* has 20 entries"):
        write_friend(out, late.pt, jets=late, **how)
    second = ak.with_field(jets[:1], [1], "jet_index")
    with pytest.raises(
        InputError, match="jet 1 of entry 0 has a score, but each entry was to be one"
    ):
        write_friend(out, second.pt, jets=second, **how)
    events = read(tmp_path / "events.root", schema=EVENTS_SCHEMA)
    beyond = ak.with_field(events[:1], [7], "jet_index")
    with pytest.raises(InputError, match="a score for jet 7 of entry"):
        write_friend(out, beyond.pt, jets=beyond, of=tmp_path / "events.root", schema=EVENTS_SCHEMA)
    with pytest.raises(InputError, match=r"a schema of your own.*give schema="):
        write_friend(out, events.pt, jets=events, of=tmp_path / "events.root")
    with pytest.raises(SchemaError):
        FriendWriter(out, of=tmp_path / "events.root", classes=["a"])
    assert not out.exists()


def test_outputs_are_never_the_input_nor_two_inputs_in_one(tmp_path: Path) -> None:
    write_jets(tmp_path / "in.root", 5)
    (tmp_path / "b").mkdir()
    write_jets(tmp_path / "b" / "in.root", 5)
    scores = np.zeros((5, 1))
    with pytest.raises(InputError, match="is the input itself"):
        write_friend(tmp_path / "in.root", scores, of=tmp_path / "in.root", overwrite=True)
    write_friend(tmp_path / "out.root", scores, of=tmp_path / "in.root")
    with pytest.raises(OutputExists):
        write_friend(tmp_path / "out.root", scores, of=tmp_path / "in.root")
    both = [FileSpec(str(tmp_path / "in.root")), FileSpec(str(tmp_path / "b" / "in.root"))]
    with pytest.raises(InputError, match="would both be written to"):
        output_paths(tmp_path, both)
    with pytest.raises(MissingFile, match=r"no folder .* to write 2 files to"):
        output_paths(tmp_path / "nowhere", both)
    with pytest.raises(InputError, match="a friend tree is of one file"):
        FriendWriter(tmp_path / "x.root", of=str(tmp_path / "*.root"), classes=["a"])
    assert output_paths(tmp_path / "b", [FileSpec("x/y.h5")]) == [tmp_path / "b" / "y.root"]


def test_an_error_in_the_stream_leaves_nothing_and_closes_the_input(tmp_path: Path) -> None:
    write_jets(tmp_path / "in.root", 5)
    writer = FriendWriter(tmp_path / "out.root", of=tmp_path / "in.root", classes=["a"])
    with pytest.raises(KeyboardInterrupt), writer:
        raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir()] == ["in.root"]


def test_a_chunked_reading_fills_the_same_friend_as_a_whole_one(
    tmp_path: Path, real_data: Path
) -> None:
    file = real_data / "root" / "timlegge_quarkgluon_2000.root"
    jets = read(file)
    write_friend(tmp_path / "whole.root", {"q": jets.mass}, of=file, jets=jets)
    with FriendWriter(tmp_path / "chunks.root", of=file, classes=["q"]) as writer:
        for chunk in iterate(file, step=300):
            writer.extend({"q": chunk.mass}, chunk)
    whole, chunks = rows_of(tmp_path / "whole.root"), rows_of(tmp_path / "chunks.root")
    assert whole.score_q.to_list() == chunks.score_q.to_list() == jets.mass.to_list()


def test_jets_are_counted_without_reading_constituents(real_data: Path) -> None:
    with RootSource(FileSpec(str(real_data / "root" / "coffea_nano_tt_v15.root"))) as source:
        counts = JetCounts(source, find(None, source.names, where=source.where))
        offsets = counts.read(10, 200)
        layout = FriendLayout(source, classes=["t"], counts=counts, name="n", observers=())
        assert source.tree["FatJet_pt"].array(entry_start=10).layout.offsets.data.tolist() == list(
            offsets
        )
    assert counts.collection == "FatJet"
    assert counts._cheap == "FatJet_pt"
    assert layout.from_file == list(EVENT_NUMBERS[:3])
    assert layout.branches == {"t": "FatJet_n_t"}


def test_names_of_branches_are_names_of_variables() -> None:
    assert branch_name("FatJet", "my-net", "H->bb") == "FatJet_my_net_H_bb"
    assert branch_name("4top") == "_4top"
    with pytest.raises(InputError, match="no branch can be named"):
        branch_name("->")


def test_scores_come_as_matrix_vector_mapping_or_records() -> None:
    for scores in (np.ones((3, 1)), np.ones(3), {"0": np.ones(3)}, ak.Array([{"0": 1.0}] * 3)):
        matrix, names = score_matrix(scores)
        assert matrix.tolist() == [[1.0]] * 3
        assert (matrix.dtype, names) == (np.float32, ("0",))


def test_scored_jets_sort_by_entry_and_then_by_jet() -> None:
    jets = ScoredJets(np.array([2, 0, 2]), np.array([1, 0, 0]), {"x": np.array([3.0, 1.0, 2.0])})
    ordered = jets.sorted()
    assert ordered.values["x"].tolist() == [1.0, 2.0, 3.0]
    assert ordered.of_jets(0, np.array([0, 1, 1, 4]), "file")["x"].tolist()[:3] == [1.0, 2.0, 3.0]
