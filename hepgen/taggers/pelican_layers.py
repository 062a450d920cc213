r"""Layers of PELICAN: what commutes with every order of the constituents, on pairs and on jets.

A. Bogatskiy, T. Hoffman, D. W. Miller and J. T. Offermann, "PELICAN: Permutation equivariant and
Lorentz invariant or covariant aggregator network for particle physics", arXiv:2211.00454; H. Maron
et al., "Invariant and equivariant graph networks", arXiv:1812.09902.

There are fifteen linear maps from pairs T to pairs that commute with permutations. With the means
over a jet of n nodes :math:`r_i = \frac1n\sum_j T_{ij}`, :math:`c_j = \frac1n\sum_i T_{ij}`,
:math:`d_i = T_{ii}`, :math:`t = \frac1n\sum_i d_i`, :math:`u = \frac1n\sum_i r_i` they are, in the
order of the published program,

.. math::
    T_{ij},\ T_{ji},\ \delta_{ij} d_i,\ d_j,\ d_i,\ \delta_{ij} c_i,\ c_j,\ c_i,\ \delta_{ij} r_i,
    \ r_j,\ r_i,\ t,\ \delta_{ij} t,\ u,\ \delta_{ij} u.

Only the first two need a product for each pair; the others are made for each node and each jet.

Shapes: B jets, N nodes of all jets end to end, E ordered pairs, those of a node with itself among
them, C channels that come in, S channels that go out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from hepgen.taggers.pair_blocks import Pairs, flipped, over_pairs
from hepgen.taggers.pair_norm import Moments
from hepgen.taggers.segments import segment_mean

__all__ = [
    "Aggregate1to2",
    "Aggregate2to0",
    "Aggregate2to2",
    "Pooled",
    "mix",
    "pool",
    "spread",
]

SLOPE = 0.01


@dataclass(frozen=True)
class Pooled:
    """Means over the pairs of each node and of the batch.

    Attributes:
        row: means over j, shape (N, C).
        column: means over i, shape (N, C).
        diagonal: values of (i, i), shape (N, C).
        moments: of all pairs of the batch.
    """

    row: Tensor
    column: Tensor
    diagonal: Tensor
    moments: Moments

    def affine(self, scale: Tensor, shift: Tensor) -> Pooled:
        """The same of scale T + shift, both (C,) or, by nodes, (N, C); the moments stay."""
        row, column, diagonal = (
            torch.addcmul(shift, means, scale) for means in (self.row, self.column, self.diagonal)
        )
        return replace(self, row=row, column=column, diagonal=diagonal)


def pool(pairs: Pairs, diagonal: Tensor, z: Tensor) -> Pooled:
    """Means of LeakyReLU(z) over pairs.

    Args:
        pairs: with loops.
        diagonal: rows of the pairs (i, i), shape (N,), int64.
        z: values of the pairs, shape (E, C).
    """
    # Somewhere near the mean, so that the squares do not cancel.
    near = _activation(z[:256].detach()).float().sum(dim=0) / 256
    near = near.to(torch.float64 if z.dtype == torch.float64 else torch.float32)
    row, column, middle, first, second = over_pairs(
        _sums,
        pairs,
        ("pair", "node", "all"),
        ("node", "node", "node", "all", "all"),
        z,
        diagonal,
        near,
    )
    count, moments = pairs.counts[:, None], Moments(near, first, second, pairs.counts.sum())
    return Pooled(row / count, column / count, middle, moments)


def _sums(
    first: Tensor, second: Tensor, z: Tensor, diagonal: Tensor, near: Tensor
) -> tuple[Tensor, ...]:
    a = _activation(z).to(near.dtype)
    zeros = a.new_zeros(diagonal.shape[0], a.shape[1])
    deviation = a - near
    return (
        zeros.index_add(0, first, a),
        zeros.index_add(0, second, a),
        a.index_select(0, diagonal),
        deviation.sum(dim=0),
        deviation.square().sum(dim=0),
    )


def _activation(z: Tensor) -> Tensor:
    return functional.leaky_relu(z, SLOPE)


class Aggregate2to2(nn.Module):
    r"""Coefficients of the fifteen maps: :math:`T'_{ij,s} = \sum_{b,d} K_{dsb}\,(M_b T)_{ij,d}`.

    They are factorised, :math:`K_{dsb} = c^{00}_{db} c^{10}_{ds} + c^{01}_{sb} c^{11}_{ds}`. The
    ten maps that take a mean are multiplied by :math:`(n/\bar n)^\alpha` with an exponent for each
    channel, which lets them be anything between a mean and a sum. There is a bias, and one more on
    the diagonal.

    Args:
        channels: C.
        out_channels: S.
        average: the usual number of nodes of a jet.
    """

    def __init__(self, channels: int, out_channels: int, average: float) -> None:
        super().__init__()
        self.average = average
        self.coefs00 = nn.Parameter(torch.randn(channels, 15) / 15**0.5)
        self.coefs01 = nn.Parameter(torch.randn(out_channels, 15) / 15**0.5)
        self.coefs10 = nn.Parameter(torch.randn(channels, out_channels) / channels**0.5)
        self.coefs11 = nn.Parameter(torch.randn(channels, out_channels) / channels**0.5)
        self.alphas = nn.Parameter(torch.rand(10, channels))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.diagonal_bias = nn.Parameter(torch.zeros(out_channels))

    def coefficients(self) -> Tensor:
        """K, shape (15, C, S)."""
        first = self.coefs00.t()[:, :, None] * self.coefs10
        return first + self.coefs01.t()[:, None, :] * self.coefs11

    def forward(self, pairs: Pairs, pooled: Pooled) -> tuple[Tensor, ...]:
        r"""What all maps but the first two give.

        Args:
            pairs: with loops.
            pooled: means of T.

        Returns:
            P, Q and D, shape (N, S) each: they give :math:`P_i + Q_j + \delta_{ij} D_i`.
        """
        k = self.coefficients()
        row, column, diagonal = pooled.row, pooled.column, pooled.diagonal
        trace, total = _jet_mean(diagonal, pairs), _jet_mean(row, pairs)
        logarithm = (pairs.counts.to(row.dtype) / self.average).log()[:, None]
        means = [column, column, column, row, row, row, trace, trace, total, total]
        means = [
            mean * torch.exp(logarithm * alpha)
            for mean, alpha in zip(means, self.alphas.unbind(), strict=True)
        ]
        by_row = [(diagonal, 4), (means[2], 7), (means[5], 10), (means[6], 11), (means[8], 13)]
        by_column = [(diagonal, 3), (means[1], 6), (means[4], 9)]
        middle = [(diagonal, 2), (means[0], 5), (means[3], 8), (means[7], 12), (means[9], 14)]
        p, q, d = (
            torch.cat([values for values, _ in terms], dim=1)
            @ torch.cat([k[number] for _, number in terms])
            for terms in (by_row, by_column, middle)
        )
        # Half precision is for pairs alone.
        return p + self.bias, q.to(row.dtype), d + self.diagonal_bias


def _jet_mean(values: Tensor, pairs: Pairs) -> Tensor:
    """The mean over a jet for each of its nodes, shape (N, C)."""
    means = segment_mean(values, pairs.ptr)
    return means.repeat_interleave(pairs.ptr.diff(), dim=0, output_size=values.shape[0])


class Aggregate1to2(nn.Module):
    r"""The five maps from nodes to pairs, and a bias.

    For labels l of the nodes, with the mean :math:`\bar l` of the jet, they are
    :math:`\delta_{ij} l_i,\ l_j,\ l_i,\ \delta_{ij} \bar l,\ \bar l`.

    Args:
        channels: C.
        out_channels: S.
        average: the usual number of nodes of a jet.
    """

    def __init__(self, channels: int, out_channels: int, average: float) -> None:
        super().__init__()
        self.average = average
        self.coefs00 = nn.Parameter(torch.randn(channels, 5) / 5**0.5)
        self.coefs01 = nn.Parameter(torch.randn(out_channels, 5) / 5**0.5)
        self.coefs10 = nn.Parameter(torch.randn(channels, out_channels) / channels**0.5)
        self.coefs11 = nn.Parameter(torch.randn(channels, out_channels) / channels**0.5)
        self.alphas = nn.Parameter(torch.zeros(5, channels))
        self.bias = nn.Parameter(torch.zeros(out_channels))

    def coefficients(self) -> Tensor:
        """K, shape (5, C, S)."""
        first = self.coefs00.t()[:, :, None] * self.coefs10
        return first + self.coefs01.t()[:, None, :] * self.coefs11

    def forward(self, pairs: Pairs, labels: Tensor) -> tuple[Tensor, ...]:
        """P, Q and D as of `Aggregate2to2`, shape (N, S) each.

        Args:
            pairs: with loops.
            labels: shape (N, C).
        """
        k = self.coefficients()
        logarithm = (pairs.counts.to(labels.dtype) / self.average).log()[:, None]
        mean = _jet_mean(labels, pairs)
        scaled = [
            values * torch.exp(logarithm * alpha)
            for values, alpha in zip(
                (labels, labels, labels, mean, mean), self.alphas.unbind(), strict=True
            )
        ]
        p = scaled[2] @ k[2] + scaled[4] @ k[4] + self.bias
        q, d = scaled[1] @ k[1], scaled[0] @ k[0] + scaled[3] @ k[3]
        return p, q.to(p.dtype), d.to(p.dtype)


class Aggregate2to0(nn.Module):
    r"""The two maps from pairs to the jet: the mean u of all pairs and that of the diagonal, t.

    Both are multiplied by :math:`(n/\bar n)^\alpha` and go through the activation before they are
    mixed.

    Args:
        channels: C.
        out_channels: S.
        average: the usual number of nodes of a jet.
    """

    def __init__(self, channels: int, out_channels: int, average: float) -> None:
        super().__init__()
        self.average = average
        self.coefs = nn.Parameter(torch.randn(2, channels, out_channels) * (2 / channels) ** 0.5)
        self.alphas = nn.Parameter(torch.rand(2, channels))
        self.bias = nn.Parameter(torch.zeros(out_channels))

    def forward(self, pairs: Pairs, pooled: Pooled) -> Tensor:
        """Shape (B, S).

        Args:
            pairs: with loops.
            pooled: means of T.
        """
        counts = pairs.ptr.diff().clamp(min=1)
        logarithm = (counts.to(pooled.row.dtype) / self.average).log()[:, None]
        means = [segment_mean(pooled.row, pairs.ptr), segment_mean(pooled.diagonal, pairs.ptr)]
        scaled = [
            _activation(mean * torch.exp(logarithm * alpha))
            for mean, alpha in zip(means, self.alphas.unbind(), strict=True)
        ]
        return torch.cat(scaled, dim=1) @ self.coefs.flatten(0, 1) + self.bias


def mix(
    first: Tensor,
    second: Tensor,
    z: Tensor,
    flip: Tensor,
    diagonal: Tensor,
    p: Tensor,
    q: Tensor,
    d: Tensor,
    keep: Tensor,
    straight: Tensor,
    turned: Tensor,
    weight: Tensor,
    bias: Tensor,
) -> tuple[Tensor]:
    r"""From before one message layer to before the next, for `over_pairs`.

    With :math:`a = k\,\mathrm{LeakyReLU}(z)` and :math:`T'_{ij} = \mathrm{LeakyReLU}(A a_{ij} +
    B a_{ji} + P_i + Q_j + \delta_{ij} D_i)` it is :math:`W T' + b`.

    Args:
        first: nodes i, shape (E,).
        second: nodes j, shape (E,).
        z: shape (E, C).
        flip: rows of (j, i), shape (E,).
        diagonal: rows of (i, i), shape (N,).
        p: P, shape (N, S).
        q: Q, shape (N, S).
        d: D, shape (N, S).
        keep: k, what dropout leaves of the channels of a node's jet, shape (N, C); nothing is
            dropped where it has no columns.
        straight: A, shape (C, S).
        turned: B, shape (C, S).
        weight: W, shape (C_out, S).
        bias: b, shape (C_out,).

    Returns:
        Shape (E, C_out), alone in a tuple.
    """
    a = _activation(z)
    if keep.shape[1]:
        a = a * keep.index_select(0, first)
    t = spread(first, second, diagonal, p, q, d)
    t = torch.addmm(torch.addmm(t, a, straight), flipped(a, flip), turned)
    return (functional.linear(functional.leaky_relu(t, SLOPE, inplace=True), weight, bias),)


def spread(
    first: Tensor, second: Tensor, diagonal: Tensor, p: Tensor, q: Tensor, d: Tensor
) -> Tensor:
    r"""The pairs :math:`P_i + Q_j + \delta_{ij} D_i`, shape (E, S), all as in `mix`."""
    t = p.index_select(0, first).add_(q.index_select(0, second))
    return t.index_add_(0, diagonal, d)
