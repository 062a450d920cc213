"""ParticleNet on torch_geometric against hepgen's own and against torch_geometric's layers."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
import torch_geometric
from torch import Tensor, nn
from torch_geometric.nn import DynamicEdgeConv, EdgeConv

from hepgen.data import Features, knn_edges
from hepgen.taggers import ParticleNet
from hepgen.taggers.particle_net_pyg import (
    MessagePassingEdgeConv,
    ParticleNetPyG,
    neighbour_edges,
)
from tests.taggers.jets import CLASSES, make

SETTINGS = {"k": 5, "conv_channels": ((8, 8), (12, 10, 12)), "fc_channels": (9,), "dropout": 0.0}
EVERY = [*range(25), 40, 60, 100, 200]


def pair(**arguments) -> tuple[ParticleNet, ParticleNetPyG]:
    """The two with the same weights, in float64, normalisations away from where they begin."""
    torch.manual_seed(4)
    theirs = ParticleNet(Features(), CLASSES, **arguments).double()
    with torch.no_grad():
        for seed in range(3):
            theirs(make([30, 4, 50], seed=seed, dtype=torch.float64))
    ours = ParticleNetPyG(Features(), CLASSES, **arguments).double()
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


def test_weights_load_into_each_other() -> None:
    theirs, ours = pair()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    theirs.load_state_dict(ours.state_dict())
    assert sum(p.numel() for p in ours.parameters()) == 366_160


@pytest.mark.parametrize("arguments", [{}, SETTINGS], ids=["published", "small"])
def test_logits_are_those_of_particle_net_for_jets_of_every_multiplicity(arguments) -> None:
    theirs, ours = pair(**arguments)
    batch = make(EVERY, dtype=torch.float64)
    with torch.no_grad():
        got, expected = ours.eval()(batch), theirs.eval()(batch)
    torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-10)
    with torch.no_grad():
        single = make(EVERY)
        torch.testing.assert_close(ours.float()(single), theirs.float()(single), rtol=0, atol=1e-5)


def test_a_step_of_training_is_that_of_particle_net() -> None:
    theirs, ours = pair(**SETTINGS)
    batch = make([0, 1, 2, 9, 30, 41], dtype=torch.float64)
    for tagger in (theirs, ours):
        tagger.train().loss(batch).backward()
    for (name, one), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-8, atol=1e-10, msg=name)
    for name, value in ours.state_dict().items():
        torch.testing.assert_close(value, theirs.state_dict()[name], rtol=1e-10, atol=1e-12)


def assert_layer_is(ours: MessagePassingEdgeConv, x: Tensor, edges: Tensor) -> None:
    layers: list[nn.Module] = []
    for conv, norm in zip(ours.convs, ours.bns, strict=True):
        layers += [conv, norm, nn.ReLU()]
    theirs = EdgeConv(nn.Sequential(*layers), aggr="mean")
    for training in (True, False):
        ours.train(training)
        shortcut = x if ours.sc is None else ours.sc_bn(ours.sc(x))
        expected = (shortcut + theirs(x, edges)).relu()
        torch.testing.assert_close(ours(x, edges), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("width", [5, 6])
def test_a_convolution_is_that_of_torch_geometric(width) -> None:
    batch = make([8, 20, 50], dtype=torch.float64)
    torch.manual_seed(0)
    x = torch.randn(78, width, dtype=torch.float64)
    edges = neighbour_edges(x, batch.ptr, 7)
    assert torch.equal(edges, knn_edges(x, batch.ptr, 7))
    assert_layer_is(MessagePassingEdgeConv(width, (4, 6)).double(), x, edges)


def every_distance(x: Tensor, y: Tensor, ptr_x: Tensor, ptr_y: Tensor, k: int, *_: int) -> Tensor:
    """What pyg_lib's knn gives: rows of y, and the k rows of x nearest to each."""
    jet_x, jet_y = (torch.repeat_interleave(ptr.diff()) for ptr in (ptr_x, ptr_y))
    distance = torch.cdist(y, x).masked_fill(jet_y[:, None] != jet_x, torch.inf)
    nearest = distance.argsort(dim=1, stable=True)[:, :k]
    return torch.stack([torch.arange(len(y)).repeat_interleave(k), nearest.flatten()])


def test_a_convolution_is_the_dynamic_one_of_torch_geometric(monkeypatch) -> None:
    # torch_geometric's layer searches with pyg_lib, which need not be here.
    monkeypatch.setattr(torch_geometric.typing, "WITH_KNN", True)
    monkeypatch.setattr(torch.ops, "pyg", SimpleNamespace(knn=every_distance))
    batch = make([8, 20, 50], dtype=torch.float64)
    x = torch.randn(78, 5, dtype=torch.float64)
    ours = MessagePassingEdgeConv(5, (4,)).double().eval()
    inner = nn.Sequential(ours.convs[0], ours.bns[0], nn.ReLU())
    # Its k nearest begin with the node itself, whose edge has no difference.
    theirs = DynamicEdgeConv(inner, k=8, aggr="add")(x, batch.batch)
    own = inner(torch.cat([x, torch.zeros_like(x)], dim=1))
    expected = (ours.sc_bn(ours.sc(x)) + (theirs - own) / 7).relu()
    got = ours(x, neighbour_edges(x, batch.ptr, 7))
    torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-10)


def test_missing_neighbours_are_the_null_node() -> None:
    batch = make([1, 0, 3])
    edges = neighbour_edges(batch.pos, batch.ptr, 3)
    assert edges[1].tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert edges[0, :3].tolist() == [4, 4, 4]
    assert (edges[0].view(4, 3)[1:] == 4).sum(1).tolist() == [1, 1, 1]


def test_latent_vectors_stand_in_the_order_of_the_batch() -> None:
    _, ours = pair(**SETTINGS)
    batch = make([12, 0, 30], dtype=torch.float64)
    order = torch.cat([torch.arange(12).flip(0), torch.arange(12, 42)])
    with torch.no_grad():
        expected = ours.eval().latents(batch)
        batch.x, batch.pos, batch.p4 = batch.x[order], batch.pos[order], batch.p4[order]
        torch.testing.assert_close(ours.latents(batch), expected[order], rtol=0, atol=1e-12)
    assert expected.shape == (42, ours.latent_width)


@pytest.mark.parametrize("wrong", [{"k": 0}, {"conv_channels": ()}, {"conv_channels": ((4,), ())}])
def test_arrangements_that_cannot_be_are_refused(wrong) -> None:
    with pytest.raises(ValueError, match="needs k >= 1 and blocks of layers"):
        ParticleNetPyG(Features(), CLASSES, **wrong)
