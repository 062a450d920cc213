"""LundNet: its convolution against torch_geometric's, and the whole against a plain loop."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch_geometric.nn import EdgeConv as GeometricEdgeConv

from hepgen.data import Batch, Features, make_batch
from hepgen.data.lund import lund_trees
from hepgen.taggers.lund_net import LundNet, LundNet3, TreeConv
from tests.data.momenta import azimuth, components, fastjet_sequence, splittings
from tests.taggers.jets import CLASSES, make, one

SMALL = {"conv_channels": ((6, 5), (5, 5), (8, 7)), "fusion": 9, "fc_channels": (4,)}


def settled(tagger: LundNet) -> LundNet:
    """In float64, normalisations away from where they begin."""
    tagger.double()
    with torch.no_grad():
        for seed in range(3):
            tagger(make([30, 50, 20], seed=seed, dtype=torch.float64))
    return tagger.eval()


@pytest.mark.parametrize(("cls", "parameters"), [(LundNet, 391_330), (LundNet3, 391_138)])
def test_they_have_the_parameters_that_their_widths_make(cls, parameters) -> None:
    tagger = cls(Features(), CLASSES)
    assert sum(p.numel() for p in tagger.parameters()) == parameters


@pytest.mark.parametrize(("width", "channels"), [(5, (32, 32)), (32, (32, 32)), (7, (4, 6, 8))])
def test_the_convolution_is_that_of_torch_geometric(width, channels) -> None:
    batch = make([40, 1, 2, 0, 60], dtype=torch.float64)
    lund = lund_trees(batch.p4, batch.ptr)
    torch.manual_seed(0)
    x = torch.randn(len(lund.x), width, dtype=torch.float64, requires_grad=True)
    ours = TreeConv(width, channels).double()
    layers: list[nn.Module] = []
    for conv, norm in zip(ours.convs, ours.bns, strict=True):
        layers += [conv, norm, nn.ReLU()]
    theirs = GeometricEdgeConv(nn.Sequential(*layers), aggr="mean")
    for training in (True, False):
        ours.train(training)
        shortcut = x if ours.sc is None else ours.sc_bn(ours.sc(x))
        expected = (shortcut + theirs(x, lund.edges)).relu()
        got = ours(x, lund.edges)
        torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-10)
        inputs = [x, *ours.parameters()]
        for one_, other in zip(
            torch.autograd.grad(got.sin().sum(), inputs),
            torch.autograd.grad(expected.sin().sum(), inputs),
            strict=True,
        ):
            torch.testing.assert_close(one_, other, rtol=1e-10, atol=1e-10)


def slowly(tagger: LundNet, fastjet, p4: np.ndarray) -> Tensor:
    """The network on the nodes and parents that FastJet gives, node by node."""
    sequence = fastjet_sequence(fastjet, p4, 0.0, None)
    found = splittings(fastjet, sequence.inclusive_jets())
    names = list(found)
    values, neighbours = [], []
    for rows in names:
        node, harder, softer = found[rows]
        delta = harder.delta_R(softer)
        psi = np.arctan2(softer.rap() - harder.rap(), azimuth(softer.phi() - harder.phi()))
        energy, *momentum = components(node)
        mass = np.sqrt(energy**2 - np.square(momentum).sum())
        z = softer.pt() / (harder.pt() + softer.pt())
        values.append(np.log([z, delta, np.exp(psi), mass, softer.pt() * delta]))
        near = [other for other in names if rows < other]
        near = [min(near, key=len)] if near else []
        for child in (harder, softer):
            below = frozenset(part.user_index() for part in child.constituents())
            near += [below] if below in found else []
        neighbours.append([names.index(other) for other in near])
    x = torch.from_numpy(np.array(values)).reshape(-1, 5)[:, tagger._columns]
    outputs = []
    for conv in tagger.convs:
        fresh = []
        for i, near in enumerate(neighbours):
            total = torch.zeros(conv.bns[-1].num_features, dtype=torch.float64)
            for j in near:
                h = torch.cat([x[i], x[j] - x[i]])[None]
                for linear, norm in zip(conv.convs, conv.bns, strict=True):
                    h = norm(linear(h)).relu()
                total += h[0] / len(near)
            shortcut = x[i] if conv.sc is None else conv.sc_bn(conv.sc(x[i][None]))[0]
            fresh.append((shortcut + total).relu())
        x = torch.stack(fresh)
        outputs.append(x)
    joined = tagger.fusion_bn(tagger.fusion_block(torch.cat(outputs, dim=1))).relu()
    return tagger.fc(joined.mean(0, keepdim=True))


@pytest.mark.parametrize("cls", [LundNet, LundNet3])
def test_logits_are_those_of_a_loop_over_the_splittings_of_fastjet(cls) -> None:
    fastjet = pytest.importorskip("fastjet", reason="needs FastJet: pip install 'hepgen[pythia]'")
    torch.manual_seed(1)
    tagger = settled(cls(Features(), CLASSES, **SMALL))
    batch = massive([2, 3, 4, 8, 15, 40])
    with torch.no_grad():
        got = tagger(batch)
        for number in range(len(got)):
            expected = slowly(tagger, fastjet, one(batch, number).p4.numpy())
            torch.testing.assert_close(got[number : number + 1], expected, rtol=0, atol=1e-7)


def massive(counts: list[int]) -> Batch:
    """Constituents with masses, for FastJet loses the digits of small ones."""
    batch = make(counts, dtype=torch.float64)
    p4 = batch.p4.clone()
    p4[:, 0] = (p4[:, 1:].square().sum(1) + 1).sqrt()
    return make_batch(batch.x, batch.ptr, p4=p4, pos=batch.pos, y=batch.y, weight=batch.weight)


def test_features_of_the_constituents_do_not_enter() -> None:
    tagger, batch = settled(LundNet(Features(), CLASSES, **SMALL)), massive([5, 20])
    with torch.no_grad():
        expected = tagger(batch)
        batch.x += 1
        torch.testing.assert_close(tagger(batch), expected, rtol=0, atol=0)


def test_scores_do_not_change_with_the_place_on_the_cylinder() -> None:
    # Rotations about the beam and boosts along it leave rapidity and azimuth differences.
    tagger, batch = settled(LundNet(Features(), CLASSES, **SMALL)), massive([1, 2, 30, 60])
    energy, px, py, pz = batch.p4.T
    c, s, ch, sh = np.cos(2.0), np.sin(2.0), np.cosh(0.7), np.sinh(0.7)
    columns = [ch * energy + sh * pz, c * px - s * py, s * px + c * py, ch * pz + sh * energy]
    moved = make_batch(batch.x, batch.ptr, p4=torch.stack(columns, dim=1), pos=batch.pos)
    with torch.no_grad():
        assert (tagger(moved) - tagger(batch)).abs().max() < 1e-10


@pytest.mark.parametrize("wrong", [["ln_zz"], [], "psi"])
def test_coordinates_are_some_of_the_five(wrong) -> None:
    with pytest.raises(ValueError, match=r"nearest: ln_z|should be a sequence of names"):
        LundNet(Features(), CLASSES, coordinates=wrong)


def test_convolutions_without_layers_are_refused() -> None:
    with pytest.raises(ValueError, match="convolutions with layers"):
        LundNet(Features(), CLASSES, conv_channels=((4,), ()))
