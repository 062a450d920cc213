"""Friend trees as a real ROOT joins them: each score beside its own entry, in every row."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot

from hepgen.io.friends import write_friend
from hepgen.io.reader import read
from tests.io.friend_files import EVENTS_SCHEMA, write_events, write_jets

ROWS = (4000, 1, 2500)


@pytest.fixture(params=[1, 2], ids=["one-thread", "two-threads"])
def frames(root: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    """ROOT with implicit multi-threading off and on."""
    if request.param > 1:
        root.EnableImplicitMT(request.param)
    yield root
    if request.param > 1:
        root.DisableImplicitMT()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], list[str]]:
    """Three files of jets, and their friends with score_top = 2 * jet_pt for jets above 530."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "scores").mkdir()
    inputs = [folder / f"jets_{seed}.root" for seed in range(len(ROWS))]
    for seed, (path, rows) in enumerate(zip(inputs, ROWS, strict=True)):
        write_jets(path, rows, seed + 1)
    jets = read(inputs, where="jet_pt > 530", keep=["event"])
    jets = jets[np.random.default_rng(1).permutation(len(jets))]
    scores = np.stack([2 * jets.pt, jets.event % 1000], axis=1)
    friends = write_friend(folder / "scores", scores, of=inputs, jets=jets, classes=["top", "code"])
    return [str(path) for path in inputs], [str(path) for path in friends]


def check(columns: dict[str, Any], rows: int) -> None:
    """Every row has the score of its own jet, by value and by event number."""
    assert len(columns["jet_pt"]) == rows
    scored = columns["jet_pt"] > 530
    expected = np.where(scored, 2 * columns["jet_pt"], np.nan).astype(np.float32)
    np.testing.assert_array_equal(columns["score_top"], expected)
    code = np.where(scored, columns["event"] % 1000, np.nan).astype(np.float32)
    np.testing.assert_array_equal(columns["score_code"], code)
    np.testing.assert_array_equal(columns["hepgen.event"], columns["event"])


NAMES = ["jet_pt", "event", "score_top", "score_code", "hepgen.event"]


def test_a_ttree_reads_its_friend_entry_by_entry(root: Any, files: Any) -> None:
    inputs, friends = files
    with root.TFile.Open(inputs[0]) as file:
        tree = file.Get("tree")
        tree.AddFriend("hepgen", friends[0])
        assert tree.GetEntries("score_top > 1060") == tree.GetEntries("jet_pt > 530") > 0
        assert tree.GetEntries("jet_pt > 530 && abs(score_top / jet_pt - 2) < 1e-6") > 0
        assert tree.GetEntries("event != hepgen.event") == 0
        tree.GetEntry(17)
        with uproot.open({friends[0]: "hepgen"}) as friend:
            expected = friend["score_code"].array()[17]
        assert tree.score_code == expected or (tree.score_code != tree.score_code) is np.isnan(
            expected
        )


def test_rdataframe_reads_a_ttree_with_its_friend(frames: Any, files: Any) -> None:
    inputs, friends = files
    with frames.TFile.Open(inputs[0]) as file:
        tree = file.Get("tree")
        tree.AddFriend("hepgen", friends[0])
        check(frames.RDataFrame(tree).AsNumpy(NAMES), ROWS[0])


def test_a_chain_of_files_reads_a_chain_of_friends(frames: Any, files: Any) -> None:
    inputs, friends = files
    chain, friend = frames.TChain("tree"), frames.TChain("hepgen")
    for path, beside in zip(inputs, friends, strict=True):
        chain.Add(path)
        friend.Add(beside)
    chain.AddFriend(friend)
    assert chain.GetEntries("event != hepgen.event") == 0
    check(frames.RDataFrame(chain).AsNumpy(NAMES), sum(ROWS))


def test_a_dataset_specification_takes_friends_of_all_files(frames: Any, files: Any) -> None:
    inputs, friends = files
    spec = frames.RDF.Experimental.RDatasetSpec()
    spec.AddSample(("jets", "tree", inputs))
    spec.WithGlobalFriends("hepgen", friends, "hepgen")
    check(frames.RDataFrame(spec).AsNumpy(NAMES), sum(ROWS))


def test_friends_that_root_has_added_up_stand_beside_the_inputs_added_up(
    root: Any, files: Any, tmp_path: Path
) -> None:
    for name, parts in zip(("jets.root", "friends.root"), files, strict=True):
        merger = root.TFileMerger(False)
        merger.OutputFile(str(tmp_path / name), "RECREATE")
        for part in parts:
            merger.AddFile(part)
        assert merger.Merge()
    with root.TFile.Open(str(tmp_path / "jets.root")) as file:
        tree = file.Get("tree")
        tree.AddFriend("hepgen", str(tmp_path / "friends.root"))
        check(root.RDataFrame(tree).AsNumpy(NAMES), sum(ROWS))


def test_lists_of_scores_select_jets_of_events(frames: Any, tmp_path: Path) -> None:
    columns = write_events(tmp_path / "events.root", 3000)
    jets = read(tmp_path / "events.root", schema=EVENTS_SCHEMA, where="pt > 30")
    write_friend(
        tmp_path / "scores.root",
        {"b": jets.pt / 100},
        of=tmp_path / "events.root",
        jets=jets,
        schema=EVENTS_SCHEMA,
        name="net",
    )
    with frames.TFile.Open(str(tmp_path / "events.root")) as file:
        tree = file.Get("Events")
        tree.AddFriend("hepgen", str(tmp_path / "scores.root"))
        frame = frames.RDataFrame(tree).Define("good", "Jet_pt[Jet_net_b > 0.6]")
        back = frame.AsNumpy(["good", "event", "Jet_net_b"])
    pt = columns["Jet"].pt
    np.testing.assert_array_equal(np.sort(back["event"]), columns["event"])
    order = np.argsort(back["event"])
    good = pt[pt / np.float32(100) > 0.6]
    assert [list(back["good"][row]) for row in order] == good.to_list()
    scores = [list(back["Jet_net_b"][row]) for row in order]
    expected = ak.where(pt > 30, pt / np.float32(100), np.float32(np.nan))
    assert ak.array_equal(ak.Array(scores), expected, equal_nan=True, dtype_exact=False)


def test_fat_jets_of_a_real_nanoaod_file_are_selected_by_score(
    frames: Any, tmp_path: Path, real_data: Path
) -> None:
    path = real_data / "root" / "coffea_nano_tt_v15.root"
    jets = read(path, fields=())
    score = np.asarray(jets.mass)
    write_friend(tmp_path / "s.root", {"top": score}, of=path, jets=jets, name="net")
    with frames.TFile.Open(str(path)) as file:
        tree = file.Get("Events")
        tree.AddFriend("hepgen", str(tmp_path / "s.root"))
        frame = frames.RDataFrame(tree).Define("top", "FatJet_pt[FatJet_net_top > 100]")
        back = frame.AsNumpy(["top", "event", "hepgen.event"])
    np.testing.assert_array_equal(back["event"], back["hepgen.event"])
    with uproot.open({path: "Events"}) as tree:
        pt, mass, event = (tree[n].array() for n in ("FatJet_pt", "FatJet_mass", "event"))
    expected = dict(zip(event.to_list(), pt[mass > 100].to_list(), strict=True))
    assert ak.sum(mass > 100) > 0
    assert {e: list(top) for e, top in zip(back["event"], back["top"], strict=True)} == expected


def test_a_copy_of_an_rntuple_is_read_with_its_scores(frames: Any, tmp_path: Path) -> None:
    columns = write_jets(tmp_path / "in.root", 3000, kind="rntuple")
    scores = columns["jet_pt"] * 2
    write_friend(tmp_path / "out.root", scores, of=tmp_path / "in.root", classes=["top"], copy=True)
    frame = frames.RDataFrame("tree", str(tmp_path / "out.root"))
    back = frame.AsNumpy(["event", "jet_pt", "score_top", "part_px", "label_top"])
    order = np.argsort(back["event"])
    for name in ("event", "jet_pt", "label_top"):
        np.testing.assert_array_equal(back[name][order], columns[name])
    np.testing.assert_array_equal(back["score_top"][order], scores.astype(np.float32))
    assert [list(back["part_px"][row]) for row in order] == columns["part_px"].to_list()


@pytest.mark.slow
def test_a_copy_of_a_real_rntuple_is_read_by_root_as_the_original_is(
    root: Any, tmp_path: Path, real_data: Path
) -> None:
    path = real_data / "root" / "coffea_nano_dy_rntuple.root"
    jets = read(path, collection="Jet", fields=())
    out = tmp_path / "copy.root"
    write_friend(out, {"b": jets.pt}, of=path, jets=jets, name="net", copy=True)
    original, copy = (root.RDataFrame("Events", str(file)) for file in (path, out))
    names = ["event", "nJet", "Jet_pt", "Jet_hadronFlavour", "Muon_charge", "HLT_IsoMu24", "MET_pt"]
    one, other = original.AsNumpy(names), copy.AsNumpy([*names, "Jet_net_b"])
    for name in names:
        assert [str(value) for value in one[name]] == [str(value) for value in other[name]]
    assert [list(row) for row in other["Jet_net_b"]] == [list(row) for row in one["Jet_pt"]]
