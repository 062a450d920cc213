"""Taggers in the hands of the training: they learn, resume, and come back from a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import hepgen
from hepgen.data import Features, PackedJets
from hepgen.taggers import LorentzNet, ParticleFlowNetwork, ParticleNet, ParticleNetLite, Tagger
from hepgen.training import DifferentRun, fit

TAGGERS: list[tuple[type[Tagger], dict[str, Any]]] = [
    (ParticleFlowNetwork, {}),
    (ParticleNetLite, {}),
    (ParticleNet, {"k": 5}),
    (LorentzNet, {}),
]
every_tagger = pytest.mark.parametrize(
    ("kind", "options"), TAGGERS, ids=lambda v: getattr(v, "__name__", "")
)


def packed(number: int, seed: int) -> PackedJets:
    """Jets of 0 to 14 constituents, wider in the second class; some weights are negative."""
    random = np.random.default_rng(seed)
    counts = random.integers(0, 15, number)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    y = random.integers(0, 2, number)
    width = np.repeat(np.where(y == 1, 0.3, 0.1), counts)
    pos = random.normal(0, width[:, None], (len(width), 2)).astype(np.float32)
    pt = random.exponential(20.0, len(width))
    px, py, pz = pt * np.cos(pos[:, 1]), pt * np.sin(pos[:, 1]), pt * np.sinh(pos[:, 0])
    p4 = np.stack([np.sqrt(px**2 + py**2 + pz**2), px, py, pz], axis=1).astype(np.float32)
    x = np.concatenate([random.normal(size=(len(width), 5)), pos / 0.2], axis=1).astype(np.float32)
    weight = np.where(random.random(number) < 0.1, -1.0, 1.0).astype(np.float32)
    return PackedJets(x, pos, p4, offsets, y, weight)


def tagger(kind: type[Tagger], **options: Any) -> Tagger:
    with torch.random.fork_rng():
        torch.manual_seed(2)
        return kind(Features("kinematics"), ["top", "qcd"], **options)


def train(model: Tagger, output: Path | None = None, **changes: Any) -> hepgen.training.History:
    options = {"epochs": 2, "batch_size": 16, "lr": 3e-3, "checkpoint_steps": 3, "progress": False}
    samples = {"train": packed(160, 1), "validation": packed(60, 2)}
    return fit(model, output=output, **{**samples, **options, **changes})


@every_tagger
def test_scores_are_the_same_after_a_kill_and_from_the_file(
    kind: type[Tagger], options: dict[str, Any], tmp_path: Path
) -> None:
    whole, killed, resumed = (tagger(kind, **options) for _ in range(3))
    train(whole, tmp_path / "whole")
    calls = iter(range(1, 1000))

    def loss(jets: Any) -> Tensor:
        if next(calls) == 19:  # training batch 15 of the run, after 4 of the validation
            raise RuntimeError("killed")
        return kind.loss(killed, jets)

    killed.loss = loss  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="killed"):
        train(killed, tmp_path / "run")
    train(resumed, tmp_path / "run")
    jets = packed(50, 3)
    scores = whole.predict(jets)
    assert np.array_equal(resumed.predict(jets), scores)
    loaded = hepgen.load(tmp_path / "run" / "model.safetensors")
    assert isinstance(loaded, kind)
    assert np.array_equal(loaded.predict(jets), scores)
    assert loaded.config() == whole.config()


@every_tagger
def test_a_saved_tagger_comes_back_with_the_same_scores(
    kind: type[Tagger], options: dict[str, Any], tmp_path: Path
) -> None:
    model, jets = tagger(kind, **options), packed(40, 3)
    hepgen.save(model, tmp_path / "model.safetensors")
    loaded = hepgen.load(tmp_path / "model.safetensors")
    assert isinstance(loaded, kind)
    assert np.array_equal(loaded.predict(jets), model.predict(jets))
    assert loaded.features.to_dict() == model.features.to_dict()


@every_tagger
def test_taggers_train_in_bfloat16_close_to_float32(
    kind: type[Tagger], options: dict[str, Any]
) -> None:
    histories = [
        train(tagger(kind, **options), precision=precision, epochs=1, lr=1e-6)
        for precision in ("32-true", "bf16-mixed")
    ]
    losses = [history["train_loss"][0] for history in histories]
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.05)


def test_a_tagger_learns(tmp_path: Path) -> None:
    history = train(tagger(ParticleFlowNetwork), epochs=10, train=packed(2000, 1), batch_size=100)
    assert history.best["validation_accuracy"] > 0.75
    assert history["train_loss"][-1] < 0.8 * history["train_loss"][0]


def test_other_features_of_the_same_number_are_another_run(tmp_path: Path) -> None:
    train(tagger(ParticleFlowNetwork), tmp_path, epochs=1)
    names = Features("kinematics").names
    other = ParticleFlowNetwork(Features(list(reversed(names))), ["top", "qcd"])
    with pytest.raises(DifferentRun, match=r"model\.features: \['"):
        train(other, tmp_path, epochs=1)
