"""Fine-tuning: weights of one run in another, and a learning rate for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from hepgen import checkpoint, cli
from hepgen.checkpoint import CheckpointError
from hepgen.data import Features
from hepgen.io.errors import InputError, SchemaError, WrongType
from hepgen.pipeline import Pipeline, fit_to, make_tagger, read_pipeline, train_from_words
from hepgen.rate import draw_search, find_rate_from_words
from hepgen.start import Start
from hepgen.taggers import ParticleFlowNetwork, ParticleNetLite
from hepgen.training import RateSearch

REPOSITORY = Path(__file__).parents[1]
SAMPLE = str(REPOSITORY / "data_samples" / "top_qcd.root")
SMALL = {"phi_channels": (8, 8), "f_channels": (8,)}


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """Weights of a network with three classes and a standardisation of its own."""
    torch.manual_seed(1)
    features = Features()
    features.centre[0] = 0.25
    ParticleFlowNetwork(features, ("a", "b", "c"), **SMALL).save(tmp_path / "old.safetensors")
    return tmp_path / "old.safetensors"


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    text = f"""
data: {{files: {SAMPLE}, entries: 300}}
model:
  class_path: ParticleFlowNetwork
  init_args: {{phi_channels: [8, 8], f_channels: [8]}}
fit: {{epochs: 1, batch_size: 60, accelerator: cpu}}
output: {tmp_path / "run"}
"""
    (tmp_path / "small.yaml").write_text(text)
    return [str(tmp_path / "small.yaml")]


def test_a_new_head_on_old_weights(trained: Path, words: list[str], tmp_path: Path) -> None:
    more = ["--start.weights", str(trained), "--start.fresh", '["out"]', "--fit.freeze", '["phi"]']
    run = train_from_words([*words, *more, "--fit.lr_factors", '{"out": 10}'])
    old, new = checkpoint.load(trained), checkpoint.load(run / "model.safetensors")
    for name, tensor in new.state_dict().items():
        if name.startswith("phi"):
            torch.testing.assert_close(tensor, old.state_dict()[name], rtol=0, atol=0)
        else:
            there = old.state_dict()[name]
            assert tensor.shape != there.shape or not torch.equal(tensor, there), name
    assert new.features.centre[0] == 0.25
    resolved = read_pipeline([str(run / "pipeline.yaml")])
    assert isinstance(resolved, Pipeline)
    assert resolved.start == Start(str(trained), ["out"])
    assert resolved.options["lr_factors"] == {"out": 10}


def test_arguments_that_shapes_do_not_tell_are_warned_of(tmp_path: Path) -> None:
    start = Start(str(tmp_path / "net.safetensors"))
    ParticleNetLite(Features(), ("a", "b"), k=7).save(tmp_path / "net.safetensors")
    start.load_into(ParticleNetLite(Features(), ("c", "d"), k=7))
    with pytest.warns(UserWarning, match=r"was trained with k=7, here 9: its weights fit"):
        start.load_into(ParticleNetLite(Features(), ("a", "b"), k=9))


def test_weights_that_do_not_fit_are_refused(trained: Path) -> None:
    features = Start(str(trained)).features(Features())
    arguments = {"model": "ParticleFlowNetwork", "features": features, "arguments": SMALL}
    with pytest.raises(CheckpointError, match=r"out\.bias has shape \(3,\), wanted \(2,\)"):
        make_tagger(classes=("a", "b"), start=Start(str(trained)), **arguments)
    with pytest.raises(CheckpointError, match=r"no weight fits 'fc\.\*'; nearest: f\."):
        make_tagger(classes=("a", "b"), start=Start(str(trained), ["fc.*"]), **arguments)
    with pytest.raises(SchemaError, match=r"was trained on .*; the pipeline has .*charge"):
        Start(str(trained)).features(Features("full"))
    assert Start().features(features) is features


def test_fresh_weights_stay_as_the_model_has_them(trained: Path) -> None:
    torch.manual_seed(5)
    model = ParticleFlowNetwork(Features(), ("a", "b", "c"), **SMALL)
    before = {n: t.clone() for n, t in model.state_dict().items()}
    checkpoint.load_weights(model, trained, fresh=["f.*", "out.bias"])
    old = checkpoint.load(trained).state_dict()
    for name, tensor in model.state_dict().items():
        source = before if name.startswith("f.") or name == "out.bias" else old
        torch.testing.assert_close(tensor, source[name], rtol=0, atol=0)


def test_features_are_fitted_to_the_training_jets(words: list[str], tmp_path: Path) -> None:
    run = train_from_words([*words, "--features.fit", "true"])
    kept = checkpoint.load(run / "model.safetensors").features
    chosen = read_pipeline(words)
    jets = chosen.sample.parts(chosen.features, progress=False).train
    np.testing.assert_allclose(kept.centre, Features().fit(jets).centre, rtol=1e-6)
    assert not np.allclose(kept.centre, Features().centre)


def test_fitting_features_needs_jets_in_memory_and_no_old_weights(trained: Path) -> None:
    jets = read_pipeline(["--model", "ParticleFlowNetwork", "--data.files", SAMPLE]).sample
    jets.stream, jets.by, jets.fractions = True, "file", (1.0, 0.0, 0.0)
    parts = jets.parts(Features(), progress=False)
    with pytest.raises(WrongType, match=r"features\.fit needs jets in memory"):
        fit_to(Features(), parts.train)
    with pytest.raises(WrongType, match=r"does not go with start\.weights"):
        fit_to(Features(), None, Start(str(trained)))


def test_a_learning_rate_from_the_command_line(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "rate.png"
    options = ["--steps", "30", "--highest", "0.1", "--plot", str(picture)]
    assert cli.main(["find-rate", *words, *options, "--fit.optimizer", "lion"]) == 0
    assert "steepest fall of the loss" in capsys.readouterr().out
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert not (tmp_path / "run").exists()


def test_a_search_and_its_picture_from_python(words: list[str], tmp_path: Path) -> None:
    found = find_rate_from_words([*words, "--lowest", "1e-4", "--steps", "12"])
    assert isinstance(found, RateSearch)
    assert found.lr[0] == pytest.approx(1e-4)
    draw_search(found, tmp_path / "rate.svg")
    assert "<svg" in (tmp_path / "rate.svg").read_text()


def test_a_search_names_an_option_that_does_not_exist(words: list[str]) -> None:
    with pytest.raises(InputError, match=r"nearest: --fit\.lr"):
        find_rate_from_words([*words, "--fit.lrr", "1"])
