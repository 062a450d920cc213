"""What a tagger of one's own gets from `Tagger`, and what it is told when something is wrong."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn

from hepgen.data import Features, PackedJets
from hepgen.taggers import ParticleNet, Tagger
from hepgen.taggers.segments import segment_mean
from hepgen.taggers.tagger import Paper
from tests.taggers.jets import CLASSES, make, make_jets, make_packed


class Mean(Tagger):
    """Nothing but ``__init__`` and ``forward``."""

    def __init__(self, features, classes, width=4, layers=(3, 2), fault=None):
        super().__init__(features, classes)
        self.width, self.layers, self.fault = width, layers, fault
        self.map = nn.Linear(len(features), len(classes))

    def forward(self, jets):
        return segment_mean(self.map(jets.x), jets.ptr)


def test_init_and_forward_are_all_that_a_tagger_needs() -> None:
    tagger = Mean(Features(), CLASSES)
    assert tagger.predict(make_jets([3, 0, 5])).shape == (3, 2)
    assert tagger.loss(make([3, 0, 5])).requires_grad
    assert tagger.config() == {"width": 4, "layers": [3, 2], "fault": None}
    assert tagger.paper is None
    assert tagger.inputs == ("x",)


def test_a_paper_says_where_an_architecture_is_from() -> None:
    assert isinstance(ParticleNet.paper, Paper)
    assert "Qu" in ParticleNet.paper.authors


def test_an_architecture_without_forward_is_none() -> None:
    with pytest.raises(TypeError, match="abstract"):
        Tagger(Features(), CLASSES)  # type: ignore[abstract]


@pytest.mark.parametrize(
    ("classes", "error", "told"),
    [
        (["top"], ValueError, "two or more"),
        ([], ValueError, "two or more"),
        (["top", "top"], ValueError, "different names"),
        ("top", TypeError, "sequence of names, not 'top'"),
        ([0, 1], TypeError, "sequence of names"),
    ],
)
def test_classes_are_two_different_names_at_least(classes, error, told) -> None:
    with pytest.raises(error, match=told):
        Mean(Features(), classes)


def test_a_batch_of_other_features_is_refused_with_both_numbers() -> None:
    packed = PackedJets.pack(make_jets([5, 6]), Features("kinematics"), CLASSES)
    tagger = Mean(Features(["log_pt", "charge"]), CLASSES)
    with pytest.raises(ValueError, match=r"2 features \(log_pt, charge\), the batch has 7"):
        tagger.loss(packed.batch(slice(None)))
    with pytest.raises(ValueError, match="the batch has 7"):
        tagger.predict(packed)


def test_a_batch_without_labels_is_refused() -> None:
    batch = make_packed([5, 6], labels=False).batch(slice(None))
    for ask in ("loss", "accuracy"):
        with pytest.raises(ValueError, match=r"Mean needs y of a batch, .*labels come with"):
            getattr(Mean(Features(), CLASSES), ask)(batch)


def test_a_batch_without_an_input_is_refused() -> None:
    batch = make([5, 6])
    del batch.pos
    with pytest.raises(ValueError, match="ParticleNet needs pos of a batch"):
        ParticleNet(Features(), CLASSES).loss(batch)


def test_a_batch_without_weights_counts_each_jet_once() -> None:
    tagger, batch = Mean(Features(), CLASSES), make([5, 6, 7])
    batch.weight = torch.ones(3)
    weighted = tagger.loss(batch)
    del batch.weight
    assert tagger.loss(batch) == weighted


def test_batches_hold_each_jet_once_in_an_order_of_the_seed() -> None:
    tagger, jets = Mean(Features(), CLASSES), make_jets(list(range(20)))
    for given in (jets, make_packed(list(range(20)))):
        batches = tagger.batches(given, batch_size=6, shuffle=True, seed=3)
        counts = np.concatenate([batch.ptr.diff() for batch in batches.epoch(0)])
        assert len(batches) == 4
        assert sorted(counts) == list(range(20))
        assert list(counts) != list(range(20))
        again = tagger.batches(given, batch_size=6, shuffle=True, seed=3)
        assert list(counts) == list(np.concatenate([b.ptr.diff() for b in again.epoch(0)]))


def test_class_weights_are_for_jets_that_are_not_packed_yet() -> None:
    tagger = Mean(Features(), CLASSES)
    jets = make_jets([5] * 50)
    batch = next(iter(tagger.batches(jets, class_weights={"top": 3.0}).epoch(0)))
    top, qcd = (batch.weight[batch.y == k].unique() for k in (0, 1))
    assert float(top / qcd) == pytest.approx(3)
    with pytest.raises(ValueError, match="packed"):
        tagger.batches(make_packed([5, 6]), class_weights={"top": 3.0})


def test_predict_needs_a_batch_of_one_jet_at_least() -> None:
    with pytest.raises(ValueError, match="batch_size should be at least 1, not 0"):
        Mean(Features(), CLASSES).predict(make_jets([3]), batch_size=0)


def test_predict_shows_a_bar_if_asked_to(capsys) -> None:
    Mean(Features(), CLASSES).predict(make_jets([3] * 100), progress=True)
    assert "100%" in capsys.readouterr().out
    Mean(Features(), CLASSES).predict(make_jets([3] * 100))
    assert capsys.readouterr().out == ""


def test_the_mode_comes_back_after_an_error_too() -> None:
    tagger = Mean(Features(), CLASSES).train()
    tagger.map = nn.Linear(3, 2)
    with pytest.raises(RuntimeError):
        tagger.predict(make_jets([3]))
    assert tagger.training


def test_an_argument_that_is_not_kept_is_named() -> None:
    class Forgetful(Mean):
        def __init__(self, features, classes, depth=2):
            super().__init__(features, classes)

    with pytest.raises(TypeError, match=r"'depth' of Forgetful should be kept as self\.depth"):
        Forgetful(Features(), CLASSES).config()


def test_an_argument_that_json_cannot_hold_is_named() -> None:
    with pytest.raises(TypeError, match="'fault' of Mean should be what JSON can hold"):
        Mean(Features(), CLASSES, fault=torch.ones(2)).config()


def test_arguments_without_names_are_refused() -> None:
    class Open(Mean):
        def __init__(self, features, classes, **more):
            super().__init__(features, classes, **more)

    with pytest.raises(TypeError, match="'more' of Open should be a named one"):
        Open(Features(), CLASSES).config()


def test_a_configuration_is_json() -> None:
    config = ParticleNet(Features(), CLASSES, k=5, conv_channels=((4, 4),)).config()
    assert json.loads(json.dumps(config)) == config
    assert config["conv_channels"] == [[4, 4]]


def test_a_compiled_tagger_predicts_the_same() -> None:
    tagger = Mean(Features(), CLASSES)
    jets = make_jets([3, 0, 5] * 50)
    expected = tagger.predict(jets)
    tagger.compile(backend="eager", dynamic=True)
    np.testing.assert_allclose(tagger.predict(jets), expected, rtol=1e-6)
