r"""PELICAN: products of all pairs of momenta, and maps that commute with every order of them.

A. Bogatskiy, T. Hoffman, D. W. Miller and J. T. Offermann, "PELICAN: Permutation equivariant and
Lorentz invariant or covariant aggregator network for particle physics", arXiv:2211.00454.

Shapes: B jets, N nodes (constituents and spurions) of all jets end to end, E ordered pairs of nodes
of the same jet, those of a node with itself among them, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, cast, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from hepgen.data import Batch, Features
from hepgen.heads import Head
from hepgen.kinematics import minkowski_dot
from hepgen.taggers.momentum_rounding import rounded_mass_squared
from hepgen.taggers.pair_blocks import Pairs, over_pairs
from hepgen.taggers.pair_norm import scale_and_shift
from hepgen.taggers.pelican_layers import (
    Aggregate1to2,
    Aggregate2to0,
    Aggregate2to2,
    Pooled,
    mix,
    pool,
    spread,
)
from hepgen.taggers.spurion_nodes import SpurionNodes
from hepgen.taggers.spurions import check_spurions
from hepgen.taggers.tagger import Paper, Tagger

__all__ = ["PELICAN"]


@final
class PELICAN(Tagger):
    r"""Minkowski products of all pairs through equivariant layers, then sums and a linear layer.

    The products :math:`x = w_c \langle p_i, p_j \rangle + b_c` of each pair are encoded as
    :math:`\operatorname{sign}(x) ((1 + |x|)^{e_c} - 1) / e_c`, with
    :math:`e_c = \alpha_c^2 + 10^{-6}` and :math:`\alpha` learned. Then, ``blocks`` times, a message
    layer acts on each pair (linear, LeakyReLU, batch normalisation) and an
    `~hepgen.taggers.pelican_layers.Aggregate2to2` on all pairs of the jet. A last message layer,
    sums over the pairs and over the diagonal, and a linear layer give the logits.

    Spurions join each jet as further nodes. They and the features named in ``scalars`` are labels
    of the nodes, brought to the pairs by `~hepgen.taggers.pelican_layers.Aggregate1to2`; other
    features do not enter. Without spurions scores are invariant under all Lorentz transformations.
    With the published ones, two lightlike beams, what is left are rotations about z and
    reflections. Products are float64, since nearly all digits of those of collinear momenta cancel;
    a mass that the rounding of the given momenta could have made counts as 0.

    On the top-tagging reference set the authors found accuracy 0.9426 +- 0.0002, AUC 0.9870 +-
    0.0001 and 1/eB 2250 +- 75 at a signal efficiency of 30 %. With the published widths and two
    classes it has 208 742 parameters (published: 208k), with ``hidden=60`` and ``message=35``
    48 427 (48k).
    The published program puts a LeakyReLU behind the logits, too, which no other head could bear.

    Time and memory grow with the number of real pairs: there is no padding, and the batch
    normalisation takes the statistics of real pairs. In training one value for each channel of a
    message layer is kept; all else is made anew in the backward pass, some jets at a time. Under
    ``torch.compile`` a batch needs two pairs at least.

    Args:
        features: what enters of each constituent; only those in ``scalars`` are used.
        classes: names of the K classes, in the order of the logits; or a head.
        scalars: names of Lorentz-invariant features, such as charge or particle type.
        spurions: names of vectors that join each jet, see `hepgen.taggers.spurions.SPURIONS`.
        hidden: channels of the pairs between the blocks.
        message: channels behind a message layer.
        blocks: number of blocks.
        scalar_channels: how many of the ``hidden`` channels come from the labels, if there are any.
        average: the usual number of nodes of a jet.
        dropout: share of the channels of a message layer that are dropped in training, and of those
            before the last layer.

    Raises:
        ValueError: a scalar is no feature, there is no such spurion, no block, or no channel is
            left for the products.
    """

    inputs: ClassVar[tuple[str, ...]] = ("x", "p4")
    paper: ClassVar[Paper | None] = Paper(
        "A. Bogatskiy, T. Hoffman, D. W. Miller and J. T. Offermann",
        "PELICAN: Permutation equivariant and Lorentz invariant or covariant aggregator network "
        "for particle physics",
        "Machine Learning and the Physical Sciences workshop, NeurIPS 2022",
        "2211.00454",
    )
    chunk: ClassVar[int] = 16

    def __init__(
        self,
        features: Features,
        classes: Sequence[str] | Head,
        scalars: Sequence[str] = (),
        spurions: Sequence[str] = ("beams",),
        hidden: int = 132,
        message: int = 78,
        blocks: int = 5,
        scalar_channels: int = 10,
        average: float = 49.0,
        dropout: float = 0.025,
    ) -> None:
        super().__init__(features, classes)
        self.spurions = check_spurions(spurions)
        unknown = [name for name in scalars if name not in features.names]
        self.scalars = tuple(scalars)
        labels = len(self.scalars) + (len(self.spurions) + 1 if self.spurions else 0)
        encoded = hidden - scalar_channels * bool(labels)
        if unknown or blocks < 1 or encoded < 1:
            raise ValueError(
                f"PELICAN needs blocks >= 1, hidden > scalar_channels and scalars among the "
                f"features ({', '.join(features.names)}), not {blocks=}, {hidden=}, "
                f"{scalar_channels=} and {', '.join(unknown) or 'none'}"
            )
        self.hidden, self.message, self.blocks = hidden, message, blocks
        self.scalar_channels, self.average, self.dropout = scalar_channels, average, dropout
        self._columns = [features.names.index(name) for name in self.scalars]
        self.expand = nn.Linear(1, encoded)
        nn.init.ones_(self.expand.weight)
        nn.init.zeros_(self.expand.bias)
        self.alphas = nn.Parameter(torch.linspace(0.05, 0.5, encoded))
        self.labels = Aggregate1to2(labels, scalar_channels, average) if labels else None
        self.messages = nn.ModuleList(nn.Linear(hidden, message) for _ in range(blocks + 1))
        self.norms = nn.ModuleList(nn.BatchNorm1d(message) for _ in range(blocks + 1))
        self.aggregates = nn.ModuleList(
            Aggregate2to2(message, hidden, average) for _ in range(blocks)
        )
        self.drop_channels = nn.Dropout(dropout)
        self.to_jet = Aggregate2to0(message, hidden, average)
        self.drop = nn.Dropout(dropout)
        self.out = nn.Linear(hidden, self.width)

    def forward(self, jets: Batch) -> Tensor:
        """Logits (B, K)."""
        # Devices of Apple have no float64.
        exact = torch.float32 if jets.p4.device.type == "mps" else torch.float64
        nodes = SpurionNodes(self.spurions, jets.ptr, jets.batch)
        x = nodes.momenta(jets.p4.to(exact))  # (N, 4)
        pairs = Pairs.of(nodes.ptr, nodes.count, loops=True)
        diagonal, flip = pairs.diagonal(), pairs.flip()
        squares = rounded_mass_squared(x, jets.p4.dtype)
        z = self._embed(pairs, diagonal, x, squares, self._labels(jets, nodes))  # (E, C)
        for norm, aggregate, message in zip(
            list(self.norms)[:-1], self.aggregates, list(self.messages)[1:], strict=True
        ):
            pooled, scale, shift, keep = self._normalised(norm, pairs, diagonal, z)
            p, q, d = aggregate(pairs, pooled)
            straight, turned = cast(Aggregate2to2, aggregate).coefficients()[:2]
            # What the normalisation adds to each pair, it adds to all pairs of the jet alike.
            p = p + (shift * keep if keep.shape[1] else shift) @ (straight + turned)
            (z,) = over_pairs(
                mix,
                pairs,
                ("pair", "pair", "node", *("node",) * 4, *("all",) * 4),
                ("pair",),
                *(z, flip, diagonal, p, q, d, keep),
                *(scale[:, None] * straight, scale[:, None] * turned),
                *cast(nn.Linear, message).parameters(),
            )
        pooled, *_ = self._normalised(self.norms[-1], pairs, diagonal, z)
        logits: Tensor = self.out(self.drop(self.to_jet(pairs, pooled)))  # (B, K)
        return logits

    def _normalised(
        self, norm: nn.Module, pairs: Pairs, diagonal: Tensor, z: Tensor
    ) -> tuple[Pooled, Tensor, Tensor, Tensor]:
        """Means after normalisation and dropout, its scale and shift, and what dropout leaves."""
        pooled = pool(pairs, diagonal, z)
        scale, shift = scale_and_shift(norm, pooled.moments)
        keep = scale.new_ones(pairs.nodes, 0)
        if self.drop_channels.training and self.dropout > 0:
            keep = self.drop_channels(scale.new_ones(pairs.ptr.shape[0] - 1, scale.shape[0]))
            keep = keep.repeat_interleave(pairs.ptr.diff(), dim=0, output_size=pairs.nodes)
            return pooled.affine(scale * keep, shift * keep), scale, shift, keep
        return pooled.affine(scale, shift), scale, shift, keep

    def _labels(self, jets: Batch, nodes: SpurionNodes) -> Tensor:
        """One of each kind of node, if there are several, and the scalars, shape (N, labels)."""
        scalars = jets.x[:, self._columns]
        scalars = nodes.join(scalars.new_zeros(sum(nodes.each), len(self.scalars)), scalars)
        return torch.cat([nodes.kinds(scalars), scalars], dim=1) if self.spurions else scalars

    def _embed(
        self, pairs: Pairs, diagonal: Tensor, x: Tensor, squares: Tensor, labels: Tensor
    ) -> Tensor:
        """Before the first message layer, shape (E, C)."""
        if self.labels is None:
            parts = (labels.new_zeros(pairs.nodes, 0),) * 3
        else:
            parts = self.labels(pairs, labels)
        message = cast(nn.Linear, self.messages[0])
        (z,) = over_pairs(
            _encode,
            pairs,
            ("node", "node", "node", *("node",) * 3, *("all",) * 5),
            ("pair",),
            *(x, squares, diagonal, *parts),
            *(self.expand.weight, self.expand.bias, self.alphas, message.weight, message.bias),
        )
        return z


def _encode(
    first: Tensor,
    second: Tensor,
    x: Tensor,
    squares: Tensor,
    diagonal: Tensor,
    p: Tensor,
    q: Tensor,
    d: Tensor,
    factor: Tensor,
    offset: Tensor,
    alphas: Tensor,
    weight: Tensor,
    bias: Tensor,
) -> tuple[Tensor]:
    """Products of momenta, encoded, beside labels, into the first message layer."""
    products = minkowski_dot(x.index_select(0, first), x.index_select(0, second))  # (E,)
    products = products.index_copy(0, diagonal, squares).to(factor.dtype)[:, None]
    values = products * factor[:, 0] + offset  # (E, C)
    power = alphas.square() + 1e-6
    encoded = values.sign() * torch.expm1(power * values.abs().log1p()) / power
    labels = functional.leaky_relu(spread(first, second, diagonal, p, q, d))
    joined = torch.cat([encoded, labels.to(encoded.dtype)], dim=1)
    return (functional.linear(joined, weight, bias),)
