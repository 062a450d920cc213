r"""Edge convolution over packed jets, the block that ParticleNet is made of.

Y. Wang et al., "Dynamic graph CNN for learning on point clouds", ACM Trans. Graph. 38 (2019) 146,
arXiv:1801.07829, in the form of H. Qu and L. Gouskos, "Jet tagging via particle clouds",
Phys. Rev. D 101 (2020) 056019, arXiv:1902.08570.

Shapes: N constituents of all jets end to end, k neighbours, E = N k edges, C channels of a layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from hepgen.taggers.edge_blocks import fold_edges
from hepgen.taggers.edge_training import train_edges

__all__ = ["EdgeConv", "batch_norm"]


def batch_norm(norm: nn.Module, x: Tensor) -> Tensor:
    """Batch normalisation that also takes the batches for which no variance exists.

    Args:
        norm: a batch-normalisation layer of torch.
        x: values, shape (N, C), or (N, C, ...) of lines and images.

    Returns:
        Normalised values, of the same shape. In training with N < 2 by the running statistics,
        which are left as they are.
    """
    if norm.training and x.shape[0] < 2:
        norm = cast(nn.BatchNorm1d, norm)
        mean, var, weight, bias = norm.running_mean, norm.running_var, norm.weight, norm.bias
        return functional.batch_norm(x, mean, var, weight, bias, training=False, eps=norm.eps)
    if torch.compiler.is_compiling() and not norm.training and x.ndim == 2:
        # torch's own asks whether there are any values, which the compiler may not know.
        norm = cast(nn.BatchNorm1d, norm)
        mean, variance = cast(Tensor, norm.running_mean), cast(Tensor, norm.running_var)
        return (x - mean) * torch.rsqrt(variance + norm.eps) * norm.weight + norm.bias
    return cast(Tensor, norm(x))


class EdgeConv(nn.Module):
    r"""Mean over the neighbours of an MLP of each edge, plus a shortcut.

    :math:`x_i' = \mathrm{ReLU}\big(S x_i + \frac1k\sum_{j\in\mathcal N(i)} h(x_i, x_j-x_i)\big)`,
    where a layer of h is linear without bias, batch normalisation, ReLU, and S is the identity or,
    where the widths differ, linear with batch normalisation.

    The first layer is computed by nodes, :math:`W\,[x_i, x_j - x_i] = (W_a - W_b)\,x_i + W_b\,x_j`,
    which saves it the factor k. A missing neighbour is the null node, whose features are zero; it
    counts in the mean and, in training, in the batch statistics. (In weaver, padded nodes count in
    the statistics as well; here there are none.)

    On a CPU in float32 or float64 the edges go through all layers in blocks that stay in the cache
    (`hepgen.taggers.edge_blocks`); elsewhere, under ``torch.compile`` and under autocast they are
    ordinary torch operations. Parameters are named as in weaver-core.

    Args:
        in_channels: features of a node.
        channels: widths of the layers; the last is the number of features that come out.
    """

    def __init__(self, in_channels: int, channels: Sequence[int]) -> None:
        super().__init__()
        ends = zip([2 * in_channels, *channels[:-1]], channels, strict=True)
        self.convs = nn.ModuleList(nn.Linear(i, o, bias=False) for i, o in ends)
        self.bns = nn.ModuleList(nn.BatchNorm1d(o) for o in channels)
        self.sc: nn.Linear | None = None
        if in_channels != channels[-1]:
            self.sc = nn.Linear(in_channels, channels[-1], bias=False)
            self.sc_bn = nn.BatchNorm1d(channels[-1])

    def forward(self, x: Tensor, neighbours: Tensor) -> Tensor:
        """New features of the nodes.

        Args:
            x: features of the nodes, shape (N, C_in).
            neighbours: rows of x, or N for the null node, shape (N, k), int64.

        Returns:
            Shape (N, C_out).
        """
        centre, difference = cast(Tensor, self.convs[0].weight).chunk(2, dim=1)
        own = functional.linear(x, centre - difference)  # (N, C)
        other = functional.linear(x, difference)  # (N, C)
        other = functional.pad(other, (0, 0, 0, 1))  # (N + 1, C), the null node last
        shortcut = x if self.sc is None else batch_norm(self.sc_bn, self.sc(x))  # (N, C_out)
        return functional.relu(shortcut + self._mean_over_edges(own, other, neighbours))

    def _mean_over_edges(self, own: Tensor, other: Tensor, neighbours: Tensor) -> Tensor:
        weights = [cast(Tensor, conv.weight) for conv in list(self.convs)[1:]]
        if self._blocks_apply(own, neighbours):
            norms = cast("list[nn.BatchNorm1d]", list(self.bns))
            if self.training:
                return train_edges(own, other, neighbours, weights, norms)
            if not torch.is_grad_enabled():
                return fold_edges(own, other, neighbours, weights, norms)
        edges = own[:, None] + other[neighbours]  # (N, k, C)
        h = functional.relu(batch_norm(self.bns[0], edges.flatten(0, 1)))  # (E, C)
        for weight, norm in zip(weights, list(self.bns)[1:], strict=True):
            h = functional.relu(batch_norm(norm, functional.linear(h, weight)))
        return h.view(*neighbours.shape, h.shape[1]).mean(dim=1)  # (N, C_out)

    def _blocks_apply(self, x: Tensor, neighbours: Tensor) -> bool:
        return (
            x.device.type == "cpu"
            and not torch.compiler.is_compiling()
            and x.dtype == self.convs[0].weight.dtype
            and x.dtype in (torch.float32, torch.float64)
            and neighbours.numel() > 1
            and all(type(norm) is nn.BatchNorm1d and norm.momentum is not None for norm in self.bns)
        )
