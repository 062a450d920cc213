r"""Recursive network: the binary tree of a jet, folded from its constituents to its root.

G. Louppe, K. Cho, C. Becot and K. Cranmer, "QCD-aware recursive neural networks for jet physics",
JHEP 01 (2019) 057, arXiv:1702.00748. Written from the paper.

Shapes: B jets, N constituents of all jets end to end, 2 N nodes of their trees, H hidden,
K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import ClassVar, cast, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from hepgen.data import Batch, Features
from hepgen.data.clustering import POWERS, Trees, cluster
from hepgen.heads import Head
from hepgen.taggers.mlp import mlp
from hepgen.taggers.recursion import Unit, recurse
from hepgen.taggers.segments import segment_sum
from hepgen.taggers.tagger import Paper, Tagger

__all__ = ["RecursiveNetwork", "node_features"]

FEATURES = 7


@final
class RecursiveNetwork(Tagger):
    r"""A state for each node of the jet's tree, made of its children's; layers on the root's.

    The constituents are clustered into one tree. A node has seven features
    (`node_features`), :math:`u = \mathrm{ReLU}(W_u f + b_u)`; the state of a constituent is its u,
    that of a merging comes from u and the states of the two children, of which that of greater
    transverse momentum is the first (`hepgen.taggers.recursion`). The state of a jet without
    constituents is 0. The features of the constituents do not enter, only their momenta.

    ``RecursiveNetwork(features, classes, gated=False, hidden=50, leaf_layers=2, node_layers=4,
    fc_channels=(50, 50))`` is near TreeNiN (S. Macaluso and K. Cranmer, in arXiv:1902.09914), whose
    entry in the table of the top-tagging reference set is accuracy 0.933, AUC 0.982, 1/background
    efficiency at 30 % signal efficiency 1025 +- 11, 34 thousand parameters; it has 28 452 here, as
    TreeNiN has weights of their own for constituents, mergings and the root's two children. The
    gated network of the paper, published for W jets, is the default and has 48 802 parameters.

    The published features are scaled by the quartiles of the training sample; here energies enter
    by their logarithms, with fixed scales.

    Args:
        features: kept with the model; none is used.
        classes: names of the K classes, in the order of the logits; or a head.
        algorithm: ``kt``, ``cambridge_aachen`` or ``anti_kt``.
        gated: whether gates choose what a node takes from its children; a single layer otherwise.
        hidden: width H of a state.
        leaf_layers: fully connected layers on the states of constituents.
        node_layers: fully connected layers on the state of each merging.
        fc_channels: widths of the fully connected layers before the last.

    Raises:
        ValueError: an unknown algorithm.
    """

    inputs: ClassVar[tuple[str, ...]] = ("x", "p4")
    paper: ClassVar[Paper | None] = Paper(
        "G. Louppe, K. Cho, C. Becot and K. Cranmer",
        "QCD-aware recursive neural networks for jet physics",
        "JHEP 01 (2019) 057",
        "1702.00748",
    )
    chunk: ClassVar[int] = 128

    def __init__(
        self,
        features: Features,
        classes: Sequence[str] | Head,
        algorithm: str = "kt",
        gated: bool = True,
        hidden: int = 40,
        leaf_layers: int = 0,
        node_layers: int = 0,
        fc_channels: Sequence[int] = (40, 40),
    ) -> None:
        super().__init__(features, classes)
        if algorithm not in POWERS:
            near = get_close_matches(str(algorithm), POWERS, n=1, cutoff=0.0)[0]
            raise ValueError(
                f"no algorithm {algorithm!r}; nearest: {near}; there are {', '.join(POWERS)}"
            )
        self.algorithm, self.gated, self.hidden = algorithm, gated, hidden
        self.leaf_layers, self.node_layers = leaf_layers, node_layers
        self.fc_channels = tuple(fc_channels)
        self.node = nn.Linear(FEATURES, hidden)
        self.leaves = mlp(hidden, [hidden] * leaf_layers)
        self.merge = nn.Linear(3 * hidden, hidden)
        if gated:
            self.reset = nn.Linear(3 * hidden, 3 * hidden)
            self.update = nn.Linear(4 * hidden, 4 * hidden)
        self.network = nn.ModuleList(nn.Linear(hidden, hidden) for _ in range(node_layers))
        self.fc = mlp(hidden, self.fc_channels)
        self.out = nn.Linear([hidden, *self.fc_channels][-1], self.width)

    def forward(self, jets: Batch) -> Tensor:
        """Logits (B, K)."""
        trees = cluster(jets.p4, jets.ptr, POWERS[self.algorithm])
        f = node_features(trees, jets.p4, jets.ptr).to(jets.x.dtype)  # (2 N, 7)
        u = functional.relu(self.node(f))  # (2 N, H)
        size = jets.p4.shape[0]
        u = torch.cat([self.leaves(u[:size]), u[size:]])
        states = recurse(u, trees.children, trees.levels, self._unit())  # (2 N, H)
        count, start = jets.ptr.diff(), jets.ptr[:-1]
        root = torch.where(count > 1, size + start + count - 2, start)
        # A row more at the end is the root of jets without constituents.
        root = torch.where(count > 0, root, 2 * size)
        root_state = functional.pad(states, (0, 0, 0, 1)).index_select(0, root)  # (B, H)
        logits: Tensor = self.out(self.fc(root_state))  # (B, K)
        return logits

    def _unit(self) -> Unit:
        w_h, b_h = self.merge.weight, self.merge.bias
        w_r = w_z = w_h.new_empty(0, 0)
        b_r = b_z = b_h.new_empty(0)
        if self.gated:
            w_r, b_r = self.reset.weight, self.reset.bias
            w_z, b_z = self.update.weight, self.update.bias
        w_n, b_n = w_h.new_empty(0, *b_h.shape, *b_h.shape), b_h.new_empty(0, *b_h.shape)
        if self.node_layers:
            layers = cast("list[nn.Linear]", list(self.network))
            w_n = torch.stack([layer.weight for layer in layers])
            b_n = torch.stack([layer.bias for layer in layers])
        return Unit(w_h, b_h, w_r, b_r, w_z, b_z, w_n, b_n)


def node_features(trees: Trees, p4: Tensor, ptr: Tensor) -> Tensor:
    r"""The seven features of all nodes, in the frame where the jet has rapidity and azimuth 0.

    Momentum, pseudorapidity, azimuth, energy, energy over the jet's, transverse momentum and polar
    angle. Of energies and momenta in GeV it is :math:`0.4\,(\ln - 2.5)`, of the ratio
    :math:`0.4\,(\ln + 4)`, angles are multiplied by 4: medians near 0 and quartiles near
    :math:`\pm 1/2` for jets of 500 GeV.

    Args:
        trees: what `hepgen.data.clustering.cluster` gives for the momenta.
        p4: four-momenta (E, px, py, pz) in GeV, shape (N, 4).
        ptr: offsets of the jets in N, shape (B + 1,), int64.

    Returns:
        Shape (2 N, 7), float64; finite for all momenta.
    """
    jet = segment_sum(p4.to(trees.p4.dtype), ptr)  # (B, 4)
    jet_of_node = torch.repeat_interleave(ptr.diff(), output_size=p4.shape[0]).repeat(2)
    cosh, sinh = _boost(jet)
    cos, sin = _direction(jet)
    frame = torch.stack([cosh, sinh, cos, sin, cosh * jet[:, 0] - sinh * jet[:, 3]], dim=1)
    cosh, sinh, cos, sin, jet_energy = frame[jet_of_node].unbind(1)
    e, px, py, pz = trees.p4.unbind(1)
    energy, along = cosh * e - sinh * pz, cosh * pz - sinh * e
    x, y = cos * px + sin * py, cos * py - sin * px
    transverse = (x.square() + y.square()).sqrt()
    momentum = (transverse.square() + along.square()).sqrt()
    eta = torch.asinh(along / transverse.clamp(min=1e-9)).clamp(-10, 10)
    theta = torch.atan2(transverse, along) - torch.pi / 2
    energies = torch.stack([momentum, energy, transverse, jet_energy], dim=1)
    p, e, pt, of_jet = energies.clamp(min=1e-3).log().unbind(1)
    logs = [0.4 * (p - 2.5), 0.4 * (e - 2.5), 0.4 * (e - of_jet + 4), 0.4 * (pt - 2.5)]
    angles = [4 * eta, 4 * torch.atan2(y, x), 4 * theta]
    return torch.stack([logs[0], *angles[:2], *logs[1:], angles[2]], dim=1)


def _boost(p4: Tensor) -> tuple[Tensor, Tensor]:
    """Hyperbolic cosine and sine of the rapidity, 1 and 0 where there is none."""
    square = p4[:, 0].square() - p4[:, 3].square()
    there = square > 0
    root = torch.where(there, square, 1).sqrt()
    return torch.where(there, p4[:, 0] / root, 1), torch.where(there, p4[:, 3] / root, 0)


def _direction(p4: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine and sine of the azimuth, 1 and 0 where there is none."""
    transverse = (p4[:, 1].square() + p4[:, 2].square()).sqrt()
    there = transverse > 0
    length = torch.where(there, transverse, 1)
    return torch.where(there, p4[:, 1] / length, 1), torch.where(there, p4[:, 2] / length, 0)
