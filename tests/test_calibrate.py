"""Calibration and ensembles from files to files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import uproot

import hepgen
from hepgen.calibrate import Calibration, calibrate_files, join_models
from hepgen.checkpoint import CheckpointError, save
from hepgen.cli import main
from hepgen.data import Features
from hepgen.io.errors import MissingName, OutputExists
from hepgen.metrics import expected_calibration_error, log_loss
from hepgen.taggers import LorentzNet, ParticleFlowNetwork

SAMPLE = str(Path(__file__).parents[1] / "data_samples" / "top_qcd.root")
CLASSES = ("top", "QCD")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("models")
    jets = hepgen.read(SAMPLE, labels=CLASSES, entry_stop=1000)
    paths = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        tagger = ParticleFlowNetwork(Features(), CLASSES, (16,), (16,))
        hepgen.fit(tagger, jets, epochs=2, batch_size=50, lr=5e-3, seed=seed, progress=False)
        tagger.save(folder / f"{seed}.safetensors")
        paths.append(folder / f"{seed}.safetensors")
    return paths


@pytest.mark.parametrize("method", ["temperature", "isotonic", "bayesian_last_layer"])
def test_a_calibrated_file_scores_as_promised(models, tmp_path, method) -> None:
    found = calibrate_files(
        models[0], SAMPLE, tmp_path / "new.safetensors", method=method, entries=2000,
        plot=tmp_path / "plot.png", seed=3,
    )  # fmt: skip
    assert isinstance(found, Calibration)
    assert found.jets == 1000
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    held = np.sort(np.random.default_rng(3).permutation(2000)[:1000])
    jets = hepgen.read(SAMPLE, labels=CLASSES, entry_stop=2000)[held]
    label = (~jets.label_top).to_numpy().astype(int)
    for path, number in ((models[0], 0), (tmp_path / "new.safetensors", 1)):
        scores = hepgen.load(path).predict(jets)
        assert found.error[number].value == expected_calibration_error(label, scores).value
        assert found.loss[number].value == log_loss(label, scores).value
    assert "expected calibration error" in str(found)
    assert "1000 jets that the calibration has not seen" in str(found)


def test_the_verbs_write_models_that_predict_with_their_spreads(models, tmp_path, capsys) -> None:
    both = tmp_path / "both.safetensors"
    assert main(["ensemble", *map(str, models), "-o", str(both)]) == 0
    calibrated = tmp_path / "calibrated.safetensors"
    words = ["calibrate", str(both), SAMPLE, "-o", str(calibrated), "--entries", "1000"]
    assert main(words) == 0
    assert "cross entropy" in capsys.readouterr().out
    columns = ["jet_pt", "jet_eta", "jet_phi", "jet_energy", "jet_mass"]
    with uproot.open({SAMPLE: "tree"}) as tree:
        names = tree.keys(filter_name="part_*")
        rows = tree.arrays([*names, *columns], entry_stop=50)
    hepgen.write(tmp_path / "in.root", {name: rows[name] for name in rows.fields})
    for model, more in ((both, {"spread_top", "mutual_information"}), (calibrated, set())):
        out = tmp_path / f"{model.stem}.root"
        assert main(["predict", str(model), str(tmp_path / "in.root"), "-o", str(out)]) == 0
        with uproot.open(out) as file:
            assert {"score_top", "score_QCD", *more} <= set(file["hepgen"].keys())


def test_dropout_needs_nothing_to_fit(tmp_path) -> None:
    torch.manual_seed(0)
    LorentzNet(Features(), CLASSES, hidden=8, blocks=1).save(tmp_path / "net.safetensors")
    new = tmp_path / "new.safetensors"
    calibrate_files(tmp_path / "net.safetensors", SAMPLE, new, method="dropout", entries=60)
    assert type(hepgen.load(new)).__name__ == "MonteCarloDropout"


def test_what_makes_no_sense_is_refused(models, tmp_path, capsys) -> None:
    new = tmp_path / "new.safetensors"
    with pytest.raises(ValueError, match=r"method should be one of temperature, .*not 'platt'"):
        calibrate_files(models[0], SAMPLE, new, method="platt")
    both = join_models(models, tmp_path / "both.safetensors")
    with pytest.raises(ValueError, match="for a tagger, not Ensemble"):
        calibrate_files(both, SAMPLE, new, method="dropout", entries=20)
    with pytest.raises(ValueError, match="held_out should be between 0 and 1, not 1"):
        calibrate_files(models[0], SAMPLE, new, held_out=1)
    with pytest.raises(MissingName, match="label"):
        calibrate_files(models[0], SAMPLE, new, labels=["top", "QCDs"])
    with pytest.raises(ValueError, match="two members at least"):
        join_models(models[:1], new)
    save(torch.nn.Linear(1, 1), tmp_path / "linear.safetensors")
    with pytest.raises(CheckpointError, match="no class of hepgen"):
        join_models([tmp_path / "linear.safetensors", models[0]], new)
    assert not new.exists()
    new.touch()
    for call in (
        lambda: calibrate_files(models[0], SAMPLE, new),
        lambda: join_models(models, new),
    ):
        with pytest.raises(OutputExists, match="exists; overwrite replaces it"):
            call()
    assert join_models(models, new, overwrite=True) == new
    assert main(["calibrate", str(models[0]), SAMPLE, "-o", str(new)]) == 1
    assert "OutputExists" in capsys.readouterr().err
