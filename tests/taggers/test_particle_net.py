"""ParticleNet against weaver-core's, with the same weights."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hepgen.data import Batch, Features, PackedJets, make_batch
from hepgen.io import read
from hepgen.taggers import ParticleNet, ParticleNetLite
from hepgen.taggers.particle_net import from_weaver_state
from tests.taggers.jets import CLASSES, make

LITE: dict[str, Any] = {"k": 7, "conv_channels": ((32,) * 3, (64,) * 3), "fc": 128}
TEN = [f"class{i}" for i in range(10)]


@pytest.fixture(scope="module")
def weaver_net() -> Any:
    pytest.importorskip("weaver", reason="needs weaver-core: pip install 'hepgen[bench]'")
    from tests.taggers import weaver_net

    return weaver_net


def real_batch(path, count: int) -> Batch:
    packed = PackedJets.pack(read(path)[:count], Features())
    return packed.batch(slice(None))


def evaluated(model: torch.nn.Module, batch: Batch) -> Tensor:
    with torch.no_grad():
        logits: Tensor = model.eval()(batch)
    return logits


def assert_same(ours: ParticleNet, theirs: torch.nn.Module, batch: Batch) -> None:
    """Logits equal in float32 and, where rounding decides no neighbour, in float64."""
    torch.testing.assert_close(
        evaluated(ours, batch), evaluated(theirs, batch), rtol=1e-5, atol=1e-5
    )
    double = make_batch(batch.x.double(), batch.ptr, pos=batch.pos.double())
    expected = evaluated(copy.deepcopy(theirs).double(), double)
    got = evaluated(copy.deepcopy(ours).double(), double)
    torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("cls", "features", "classes", "parameters"),
    [
        (ParticleNet, "kinematics", CLASSES, 366_160),
        (ParticleNet, "full", TEN, 370_156),
        (ParticleNetLite, "kinematics", CLASSES, 26_416),
    ],
)
def test_they_have_as_many_parameters_as_published(cls, features, classes, parameters) -> None:
    tagger = cls(Features(features), classes)
    assert sum(p.numel() for p in tagger.parameters()) == parameters


@pytest.mark.parametrize("cls", [ParticleNet, ParticleNetLite])
def test_names_of_parameters_are_those_of_weaver(cls, weaver_net) -> None:
    settings = LITE if cls is ParticleNetLite else {}
    theirs = weaver_net.WeaverParticleNet(7, 2, **settings).state_dict()
    ours = cls(Features(), CLASSES).state_dict()
    assert ["mod." + name for name in ours] == list(theirs)


@pytest.mark.parametrize("cls", [ParticleNet, ParticleNetLite])
def test_logits_are_those_of_weaver_for_jets_of_every_multiplicity(cls, weaver_net) -> None:
    settings = LITE if cls is ParticleNetLite else {}
    theirs = weaver_net.WeaverParticleNet(7, 2, **settings)
    ours = cls(Features(), CLASSES)
    ours.load_state_dict(from_weaver_state(weaver_net.randomise(theirs)))
    assert_same(ours, theirs, make(list(range(1, 101))))


@pytest.mark.parametrize(
    ("file", "count"),
    [("sophon_JetClassII_example.root", 100), ("timlegge_quarkgluon_2000.root", 200)],
)
def test_public_weights_give_the_logits_of_weaver_on_real_jets(
    file, count, real_data, weaver_net
) -> None:
    path = real_data / "weights" / "ParticleNet_kin.pt"
    state = torch.load(path, weights_only=True, map_location="cpu")
    theirs = weaver_net.WeaverParticleNet(7, 10)
    theirs.load_state_dict(state)
    ours = ParticleNet(Features(), TEN)
    ours.load_state_dict(from_weaver_state(state))
    batch = real_batch(real_data / "root" / file, count)
    assert_same(ours, theirs, batch)
    # The weights mean something: without them the logits would all be alike.
    assert evaluated(ours, batch).std() > 1


def test_a_step_of_training_is_that_of_weaver_where_nothing_is_padded(weaver_net) -> None:
    theirs = weaver_net.WeaverParticleNet(7, 2, **LITE).double()
    ours = ParticleNetLite(Features(), CLASSES, dropout=0.0).double()
    theirs.mod.fc[0][2].p = 0.0
    ours.load_state_dict(from_weaver_state(weaver_net.randomise(theirs)))
    batch = make([40] * 12, dtype=torch.float64)
    points, features = (t.view(12, 40, -1).mT for t in (batch.pos, batch.x))
    mask = torch.ones(12, 1, 40, dtype=torch.bool)
    theirs.train().mod(points, features.clone().requires_grad_(), mask).square().sum().backward()
    ours.train()(batch).square().sum().backward()
    expected = {
        name: p.grad.flatten(1) if p.ndim > 2 else p.grad
        for name, p in theirs.mod.named_parameters()
    }
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name], rtol=1e-8, atol=1e-8)
    after = from_weaver_state(theirs.state_dict())
    for name, value in ours.state_dict().items():
        torch.testing.assert_close(value, after[name], rtol=1e-10, atol=1e-10)


def test_missing_neighbours_are_null_nodes() -> None:
    # A constituent alone in its jet: all its k edges go to the null node, whose features are 0.
    tagger = ParticleNet(Features(), CLASSES, k=3, conv_channels=((4,),), fc_channels=()).double()
    tagger.eval()
    batch = make([1], dtype=torch.float64)
    state = {name: tensor.numpy() for name, tensor in tagger.state_dict().items()}
    x = batch.x.numpy()[0] / np.sqrt(1 + 1e-5)
    edge = state["edge_convs.0.convs.0.weight"] @ np.concatenate([x, -x])
    shortcut = state["edge_convs.0.sc.weight"] @ x
    node = np.maximum(shortcut / np.sqrt(1 + 1e-5) + np.maximum(edge / np.sqrt(1 + 1e-5), 0), 0)
    expected = state["fc.0.weight"] @ node + state["fc.0.bias"]
    np.testing.assert_allclose(evaluated(tagger, batch)[0], expected, rtol=1e-12)


@pytest.mark.parametrize("wrong", [{"k": 0}, {"conv_channels": ()}, {"conv_channels": ((4,), ())}])
def test_arrangements_that_cannot_be_are_refused(wrong) -> None:
    with pytest.raises(ValueError, match="needs k >= 1 and blocks of layers"):
        ParticleNet(Features(), CLASSES, **wrong)


def test_any_number_of_fully_connected_layers_will_do() -> None:
    for fc_channels in ((), (8,), (8, 4)):
        tagger = ParticleNetLite(Features(), CLASSES, fc_channels=fc_channels)
        assert tagger(make([5, 6])).shape == (2, 2)
        assert len(tagger.fc) == len(fc_channels) + 1


def test_scores_of_a_file_are_the_same_in_chunks_and_at_once(real_data) -> None:
    jets = read(real_data / "root" / "sophon_JetClassII_example.root")
    tagger = ParticleNetLite(Features(), CLASSES)
    at_once = tagger.predict(jets)
    parts = [tagger.predict(jets[i : i + 30]) for i in range(0, len(jets), 30)]
    np.testing.assert_allclose(np.concatenate(parts), at_once, rtol=1e-5)
