"""The recursive network: its trees, its features and its published forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from hepgen.data import Batch, Features, make_batch
from hepgen.data.clustering import POWERS, cluster
from hepgen.taggers.recursive_network import RecursiveNetwork, node_features
from tests.data.momenta import azimuth, fastjet_sequence
from tests.taggers.jets import CLASSES, make, one

TREENIN = {
    "gated": False,
    "hidden": 50,
    "leaf_layers": 2,
    "node_layers": 4,
    "fc_channels": (50, 50),
}


def count(**arguments) -> int:
    return sum(p.numel() for p in RecursiveNetwork(Features(), CLASSES, **arguments).parameters())


def test_parameters_are_those_of_the_equations() -> None:
    node, head = 7 * 40 + 40, 2 * (40 * 40 + 40) + 40 * 2 + 2
    merge, reset, update = 120 * 40 + 40, 120 * 120 + 120, 160 * 160 + 160
    assert count(gated=False) == node + merge + head
    assert count() == node + merge + reset + update + head == 48_802
    assert count(**TREENIN) == 400 + 7550 + 8 * 2550 + 102


def massive(counts: list[int]) -> Batch:
    """Constituents with masses, which FastJet's own rapidities keep."""
    batch = make(counts, dtype=torch.float64)
    p4 = batch.p4.clone()
    p4[:, 0] = (p4[:, 1:].square().sum(1) + 1).sqrt()
    return make_batch(batch.x, batch.ptr, p4=p4, pos=batch.pos, y=batch.y, weight=batch.weight)


def slowly(tagger: RecursiveNetwork, fastjet, p4: np.ndarray) -> Tensor:
    """The network on FastJet's tree, by a function that calls itself."""
    sequence = fastjet_sequence(fastjet, p4, POWERS[tagger.algorithm], None)
    (jet,) = sequence.inclusive_jets()
    scale = [0.4, 4, 4, 0.4, 0.4, 0.4, 4]
    centre = [2.5, 0, 0, 2.5, -4, 2.5, math.pi / 2]

    def feature(node) -> Tensor:
        # pT and the transverse mass stay, rapidity and azimuth are those to the jet.
        y, phi = node.rap() - jet.rap(), azimuth(node.phi() - jet.phi())
        energy, pz = node.mt() * math.cosh(y), node.mt() * math.sinh(y)
        p, eta = math.hypot(node.pt(), pz), math.asinh(pz / node.pt())
        theta, ratio = math.acos(pz / p), energy / jet.mt()
        raw = [math.log(p), eta, phi, math.log(energy), math.log(ratio), math.log(node.pt()), theta]
        return torch.tensor(raw, dtype=torch.float64)

    def state(node) -> Tensor:
        f = feature(node)
        f = (f - torch.tensor(centre, dtype=torch.float64)) * torch.tensor(scale).double()
        u = tagger.node(f).relu()
        first, second = fastjet.PseudoJet(), fastjet.PseudoJet()
        if not node.has_parents(first, second):
            return tagger.leaves(u)
        if first.pt2() < second.pt2():
            first, second = second, first
        c = torch.cat([state(first), state(second), u])
        h = tagger.merge(c).relu()
        if tagger.gated:
            candidate = tagger.merge(tagger.reset(c).sigmoid() * c).relu()
            four = torch.stack([candidate, *c.chunk(3)])
            h = (tagger.update(four.flatten()).view(4, -1).softmax(0) * four).sum(0)
        for layer in tagger.network:
            h = layer(h).relu()
        return h

    return tagger.out(tagger.fc(state(jet)))


@pytest.mark.parametrize("algorithm", POWERS)
@pytest.mark.parametrize("arguments", [{}, TREENIN], ids=["gated", "TreeNiN"])
def test_logits_are_those_of_a_recursion_over_the_tree_of_fastjet(algorithm, arguments) -> None:
    fastjet = pytest.importorskip("fastjet", reason="needs FastJet: pip install 'hepgen[pythia]'")
    torch.manual_seed(3)
    tagger = RecursiveNetwork(Features(), CLASSES, algorithm, **arguments).double()
    batch = massive([1, 2, 3, 8, 40, 200])
    with torch.no_grad():
        got = tagger(batch)
        for number in range(len(got)):
            expected = slowly(tagger, fastjet, one(batch, number).p4.numpy())
            torch.testing.assert_close(got[number], expected, rtol=0, atol=1e-9)


def test_jets_without_constituents_have_the_state_zero() -> None:
    tagger = RecursiveNetwork(Features(), CLASSES)
    expected = tagger.out(tagger.fc(torch.zeros(1, 40)))
    torch.testing.assert_close(tagger(make([0, 3, 0]))[[0, 2]], expected.expand(2, 2))


def test_scores_do_not_change_with_the_place_on_the_cylinder() -> None:
    tagger, batch = RecursiveNetwork(Features(), CLASSES).double(), massive([1, 2, 30, 60])
    energy, px, py, pz = batch.p4.T
    c, s, ch, sh = np.cos(2.0), np.sin(2.0), np.cosh(0.7), np.sinh(0.7)
    columns = [ch * energy + sh * pz, c * px - s * py, s * px + c * py, ch * pz + sh * energy]
    moved = make_batch(batch.x, batch.ptr, p4=torch.stack(columns, dim=1), pos=batch.pos)
    with torch.no_grad():
        assert (tagger(moved) - tagger(batch)).abs().max() < 1e-10


def test_features_of_odd_momenta_are_finite() -> None:
    odd = [[5.0, 0, 0, 5], [7, 0, 0, -7], [0, 0, 0, 0], [3, 0, 0, 0], [1, 1, 0, 0], [-1, 1, 0, 3]]
    p4, ptr = torch.tensor(odd, dtype=torch.float64), torch.tensor([0, 1, 3, 6])
    f = node_features(cluster(p4, ptr, 1.0), p4, ptr)
    assert f.shape == (12, 7)
    assert f.isfinite().all()


def test_an_unknown_algorithm_is_refused() -> None:
    with pytest.raises(ValueError, match="no algorithm 'antikt'; nearest: anti_kt; there are"):
        RecursiveNetwork(Features(), CLASSES, "antikt")
