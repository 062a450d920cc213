r"""The edges of packed jets in blocks that stay in the cache of a CPU.

With all layers of an edge's MLP applied to one block after another, nothing as large as the edges
need pass through memory. The blocks form strands, which threads take in turn; sums are taken along
a strand and then over the strands, so that results do not depend on the number of threads.

The pre-activations of the first layer are :math:`z^1_{ij} = a_i + b_j`, with a = ``own`` and
b = ``other``; those of the others :math:`z^{l+1} = W^{l+1} h^l`, with
:math:`h^l = \mathrm{ReLU}(\mathrm{BN}(z^l))`.

Shapes: N constituents, k neighbours, E = N k edges, C channels of a layer, L layers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar, cast

import torch
from torch import Tensor, nn

from hepgen.taggers.threads import map_in_threads

__all__ = ["Block", "Edges", "fold_edges"]

# Of one buffer (edges of a block, C), so that what a thread works on stays in its L2 cache.
BLOCK_BYTES = 1 << 19
STRANDS = 16

Result = TypeVar("Result")


class Block:
    """Some nodes and their edges, with buffers for values of these edges."""

    def __init__(self, nodes: slice, k: int, memory: Tensor) -> None:
        self.nodes = nodes
        self.edges = slice(nodes.start * k, nodes.stop * k)
        self._rows, self._memory = self.edges.stop - self.edges.start, memory

    def buffer(self, number: int, width: int) -> Tensor:
        """Room for values of the edges, shape (edges, width)."""
        return self._memory[number, : self._rows * width].view(self._rows, width)


class Edges:
    """All edges of a batch, cut into blocks of whole nodes."""

    def __init__(self, own: Tensor, other: Tensor, index: Tensor, widest: int) -> None:
        self.own, self.other, self.index = own, other, index
        self.k, self.count = index.shape[1], index.numel()
        self._step = max(1, BLOCK_BYTES // (self.k * widest * own.element_size()))
        self._room = (3, self._step * self.k * widest)
        starts = range(0, len(index), self._step)
        length = -(-len(starts) // STRANDS)
        self._strands = [starts[i : i + length] for i in range(0, len(starts), length)]

    def each_strand(self, work: Callable[[list[Block]], Result]) -> list[Result]:
        """What the work gives for each strand of blocks."""

        def walk(starts: range) -> Result:
            memory = self.own.new_empty(self._room)
            nodes = (slice(i, min(i + self._step, len(self.index))) for i in starts)
            return work([Block(some, self.k, memory) for some in nodes])

        return map_in_threads(walk, self._strands)

    def pre_activation(self, stored: Tensor | None, block: Block, number: int) -> Tensor:
        """The z of a block: a view of what is stored, or a_i + b_j in the given buffer."""
        if stored is not None:
            return stored[block.edges]
        out = block.buffer(number, self.own.shape[1])
        torch.index_select(self.other, 0, self.index[block.nodes].flatten(), out=out)
        self.by_node(out).add_(self.own[block.nodes, None])
        return out

    def activation(
        self, stored: Tensor | None, scale: Tensor, shift: Tensor, block: Block, number: int
    ) -> Tensor:
        """The h of a block in the given buffer."""
        z = self.pre_activation(stored, block, number)
        out = block.buffer(number, len(scale))
        return torch.addcmul(shift, z, scale, out=out).relu_()

    def by_node(self, values: Tensor) -> Tensor:
        """(edges, C) as (nodes, k, C)."""
        return values.view(-1, self.k, values.shape[1])


def fold_edges(
    own: Tensor,
    other: Tensor,
    index: Tensor,
    weights: Sequence[Tensor],
    norms: Sequence[nn.BatchNorm1d],
) -> Tensor:
    """Mean over the neighbours in evaluation: each normalisation folded into the map before it.

    Args:
        own: a_i, shape (N, C).
        other: b_j and, last, the null node, shape (N + 1, C).
        index: neighbours, rows of other, shape (N, k), int64; N > 0.
        weights: of layers 2 to L, each (C_out, C_in).
        norms: of layers 1 to L, with running statistics.

    Returns:
        Shape (N, C of layer L). No gradient flows through it.
    """
    maps = []
    for norm in norms:
        mean, variance = cast(Tensor, norm.running_mean), cast(Tensor, norm.running_var)
        scale = norm.weight * torch.rsqrt(variance + norm.eps)
        maps.append((scale, norm.bias - mean * scale))
    scale, shift = maps[0]
    layers = [((w * s[:, None]).t(), t) for w, (s, t) in zip(weights, maps[1:], strict=True)]
    widest = max(len(s) for s, _ in maps)
    edges = Edges(torch.addcmul(shift, own, scale), other * scale, index, widest)
    result = own.new_empty(len(own), len(maps[-1][0]))

    def work(blocks: list[Block]) -> None:
        for block in blocks:
            h = edges.pre_activation(None, block, 0).relu_()
            for number, (weight, bias) in enumerate(layers, start=1):
                h = torch.addmm(bias, h, weight, out=block.buffer(number % 2, len(bias))).relu_()
            torch.mean(edges.by_node(h), dim=1, out=result[block.nodes])

    edges.each_strand(work)
    return result
