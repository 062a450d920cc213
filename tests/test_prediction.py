"""Whole files through a model: the scores that numpy computes, each in its own row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import torch
import uproot

import hepgen
from hepgen.io.errors import EmptyInput, InputError, OutputExists
from hepgen.io.friends import METADATA
from hepgen.io.root import RootSource
from hepgen.prediction import Scorer, predict_files
from hepgen.taggers import ParticleFlowNetwork
from tests.io.friend_files import EVENTS_SCHEMA, write_events, write_jets


class Features:
    """Asks for no field of constituents besides their momenta."""

    fields = ()


class SumOfPx:
    """Scores that can be computed by hand: sum of px, and number of constituents."""

    classes: tuple[str, ...] = ("sum", "number")
    features = Features()

    def __init__(self, stop_after: int | None = None) -> None:
        self.calls = 0
        self.stop_after = stop_after

    def predict(
        self, jets: ak.Array, *, batch_size: int = 256, device: Any = None, progress: bool = False
    ) -> Any:
        self.calls += 1
        if self.stop_after is not None and self.calls > self.stop_after:
            raise KeyboardInterrupt
        px = jets.constituents.px
        columns = (np.asarray(ak.sum(px, axis=1)), np.asarray(ak.num(px)))
        return np.stack(columns, axis=1).astype(np.float32)


class JetPt(SumOfPx):
    """The transverse momentum of the jet, for jets without constituents."""

    classes: tuple[str, ...] = ("pt",)

    def predict(self, jets: ak.Array, **_: Any) -> Any:
        return np.asarray(jets.pt, dtype=np.float32)[:, None]


SCORER: Scorer = SumOfPx()


def rows_of(path: Path, tree: str = "hepgen") -> ak.Array:
    with uproot.open({path: tree}) as opened:
        return opened.arrays()


@pytest.mark.parametrize("step", ["100 MB", "10 kB"])
def test_each_row_has_the_score_that_numpy_computes(tmp_path: Path, step: str) -> None:
    columns = write_jets(tmp_path / "jets.root", 700)
    model = SumOfPx()
    (path,) = predict_files(
        model, tmp_path / "jets.root", tmp_path / "s.root", step=step, progress=False
    )
    assert path == tmp_path / "s.root"
    assert (model.calls == 1) is (step == "100 MB")
    friend = rows_of(path)
    expected = ak.sum(columns["part_px"], axis=1)
    np.testing.assert_allclose(friend.score_sum, expected, rtol=1e-6, atol=1e-6)
    assert friend.score_number.to_list() == ak.num(columns["part_px"]).to_list()
    assert friend.event.to_list() == columns["event"].tolist()


def test_a_selection_leaves_nan_and_observers_are_copied(tmp_path: Path) -> None:
    columns = write_jets(tmp_path / "jets.root", 300)
    (path,) = predict_files(
        SumOfPx(),
        tmp_path / "jets.root",
        tmp_path / "s.root",
        where="jet_pt > 550",
        observers=["label_top", "jet_pt"],
        progress=False,
        step="5 kB",
    )
    friend = rows_of(path)
    assert np.isnan(friend.score_sum).tolist() == (columns["jet_pt"] <= 550).tolist()
    assert friend.label_top.to_list() == columns["label_top"].tolist()
    assert friend.jet_pt.to_list() == columns["jet_pt"].tolist()


def test_only_branches_that_the_features_need_are_read(
    tmp_path: Path, real_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: set[str] = set()
    original = RootSource.read

    def watched(self: RootSource, names: Any, start: int, stop: int) -> Any:
        read.update(names)
        return original(self, names, start, stop)

    monkeypatch.setattr(RootSource, "read", watched)
    file = real_data / "root" / "sophon_JetClassII_example.root"
    predict_files(SumOfPx(), file, tmp_path / "s.root", progress=False)
    assert read == {
        *(f"part_{name}" for name in ("px", "py", "pz", "energy")),
        *(f"jet_{name}" for name in ("pt", "eta", "phi", "energy")),
    }


def test_jets_of_events_get_lists_named_after_the_model(tmp_path: Path, real_data: Path) -> None:
    file = real_data / "root" / "coffea_nano_tt_v15.root"
    (path,) = predict_files(
        JetPt(), file, tmp_path / "out", collection="FatJet", where="mass > 50", progress=False
    )
    assert path == tmp_path / "out" / "coffea_nano_tt_v15.root"
    friend = rows_of(path)
    with uproot.open({file: "Events"}) as events:
        pt, mass = events["FatJet_pt"].array(), events["FatJet_mass"].array()
    expected = ak.where(mass > 50, pt, np.float32(np.nan))
    assert ak.array_equal(friend.FatJet_JetPt_pt, expected, equal_nan=True)
    assert "nFatJet_JetPt" in friend.fields


def test_a_schema_of_the_user_names_the_tree(tmp_path: Path) -> None:
    columns = write_events(tmp_path / "events.root", 30)
    with uproot.update(tmp_path / "events.root") as file:
        file.mktree("another", {"x": np.arange(50)})
    schema = tmp_path / "mine.yaml"
    schema.write_text(json.dumps({"tree": "Events", **EVENTS_SCHEMA}))
    (path,) = predict_files(
        JetPt(), tmp_path / "events.root", tmp_path / "s.root", schema=str(schema), progress=False
    )
    assert ak.array_equal(rows_of(path).Jet_JetPt_pt, columns["Jet"].pt)


def test_an_rntuple_is_copied_with_the_scores(tmp_path: Path) -> None:
    columns = write_jets(tmp_path / "jets.root", 60, kind="rntuple")
    (path,) = predict_files(SumOfPx(), tmp_path / "jets.root", tmp_path / "s.root", progress=False)
    back = rows_of(path, "tree")
    assert set(back.fields) == {*columns, "score_sum", "score_number"}
    assert back.part_px.to_list() == columns["part_px"].to_list()
    assert back.score_number.to_list() == ak.num(columns["part_px"]).to_list()
    with pytest.raises(InputError, match="RNTuple, of which ROOT knows no friends"):
        predict_files(
            SumOfPx(), tmp_path / "jets.root", tmp_path / "t.root", copy=False, progress=False
        )


def test_a_run_that_stops_can_be_taken_up_again_file_by_file(tmp_path: Path) -> None:
    files = [tmp_path / f"in_{seed}.root" for seed in (1, 2, 3)]
    for seed, file in enumerate(files):
        write_jets(file, 20, seed + 1)
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        predict_files(SumOfPx(stop_after=2), files, out, progress=False)
    assert sorted(path.name for path in out.iterdir()) == ["in_1.root", "in_2.root"]
    before = [path.read_bytes() for path in sorted(out.iterdir())]
    with pytest.raises(OutputExists, match=r"in_1\.root exists, and 1 more.*resume leaves"):
        predict_files(SumOfPx(), files, out, progress=False)
    model = SumOfPx()
    written = predict_files(model, files, out, resume=True, progress=False)
    assert written == [out / file.name for file in files]
    assert model.calls == 1
    assert [path.read_bytes() for path in written[:2]] == before
    predict_files(model, files, out, overwrite=True, progress=False)
    assert model.calls == 4


def test_a_file_without_jets_is_an_error_alone_and_rows_of_nan_among_others(tmp_path: Path) -> None:
    files = [tmp_path / f"in_{seed}.root" for seed in (1, 2)]
    write_jets(files[0], 20, 1)
    write_jets(files[1], 0, 2)
    with pytest.raises(EmptyInput, match="no entries"):
        predict_files(SumOfPx(), files[1], tmp_path / "s.root", progress=False)
    assert not (tmp_path / "s.root").exists()
    with pytest.warns(UserWarning, match=r"rows without scores: no entries in in_2\.root"):
        written = predict_files(SumOfPx(), files, tmp_path / "out", progress=False)
    assert [len(rows_of(path)) for path in written] == [20, 0]


def test_a_tagger_scores_a_file_as_it_scores_its_jets(
    tmp_path: Path, real_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = real_data / "root" / "sophon_JetClassII_example.root"
    jets = hepgen.read(file)
    torch.manual_seed(1)
    features = hepgen.Features("kinematics").fit(jets)
    tagger = ParticleFlowNetwork(features, classes=["top", "qcd"])
    (path,) = hepgen.predict_files(tagger, file, tmp_path / "s.root", step="50 kB")
    friend = rows_of(path)
    expected = tagger.predict(jets)
    np.testing.assert_allclose(friend.score_top, expected[:, 0], rtol=0, atol=2e-7)
    np.testing.assert_allclose(friend.score_qcd, expected[:, 1], rtol=0, atol=2e-7)
    with uproot.open(path) as opened:
        about = json.loads(str(opened[METADATA]))
    assert about["model"] == "ParticleFlowNetwork"
    assert len(about["weights"]) == 16
    shown = capsys.readouterr().err
    assert "100/100" in shown
    (other,) = predict_files(tagger, file, tmp_path / "t.root", progress=False)
    assert capsys.readouterr().err == ""
    assert rows_of(other).to_list() == friend.to_list()
