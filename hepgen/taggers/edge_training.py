r"""Training the MLP of :class:`~hepgen.taggers.edge_conv.EdgeConv` on a CPU, block by block.

In the notation of `hepgen.taggers.edge_blocks`,
:math:`h^l = \mathrm{ReLU}(\gamma^l \hat z^l + \beta^l)`, where :math:`\hat z` is z standardised
over all edges of the batch, and the result is :math:`\frac1k \sum_j h^L_{ij}`. Only
:math:`z^2 \ldots z^L` are ever stored: each h is made again where it is needed, which costs less
than to fetch it from memory. The backward pass is written by hand for the same reason.

Shapes: N constituents, k neighbours, E = N k edges, C channels of a layer, L layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from hepgen.taggers.edge_blocks import Block, Edges

__all__ = ["train_edges"]


def train_edges(
    own: Tensor,
    other: Tensor,
    index: Tensor,
    weights: Sequence[Tensor],
    norms: Sequence[nn.BatchNorm1d],
) -> Tensor:
    """Mean over the neighbours in training, with the statistics of all edges of the batch.

    Args:
        own: a_i, shape (N, C).
        other: b_j and, last, the null node, shape (N + 1, C).
        index: neighbours, rows of other, shape (N, k), int64; N k > 1.
        weights: of layers 2 to L, each (C_out, C_in).
        norms: of layers 1 to L; their running statistics are updated.

    Returns:
        Shape (N, C of layer L), differentiable once in own, other and all parameters.
    """
    eps = tuple(norm.eps for norm in norms)
    gammas, betas = [norm.weight for norm in norms], [norm.bias for norm in norms]
    parameters = (*gammas, *betas, *weights)
    result, *statistics = _TrainEdges.apply(own, other, index, eps, *parameters)  # type: ignore[no-untyped-call]
    unbiased = index.numel() / (index.numel() - 1)
    with torch.no_grad():
        for norm, (mean, variance, _, _) in zip(norms, statistics, strict=True):
            momentum = cast(float, norm.momentum)
            cast(Tensor, norm.running_mean).lerp_(mean, momentum)
            cast(Tensor, norm.running_var).lerp_(variance * unbiased, momentum)
            cast(Tensor, norm.num_batches_tracked).add_(1)
    return cast(Tensor, result)


class _TrainEdges(torch.autograd.Function):
    """Forward and backward; ``statistics`` of a layer hold mean, variance, scale and shift."""

    @staticmethod
    def forward(
        ctx: Any,
        own: Tensor,
        other: Tensor,
        index: Tensor,
        eps: tuple[float, ...],
        *parameters: Tensor,
    ) -> tuple[Tensor, ...]:
        depth = len(eps)
        gammas, betas = parameters[:depth], parameters[depth : 2 * depth]
        weights = parameters[2 * depth :]
        edges = Edges(own, other, index, max(len(gamma) for gamma in gammas))
        stored: list[Tensor | None] = [None]
        statistics: list[Tensor] = []
        for layer, (gamma, beta) in enumerate(zip(gammas, betas, strict=True)):
            if layer == 0:
                moments = _moments_of_first_layer(edges)
            else:
                z = own.new_empty(edges.count, len(gamma))
                moments = _next_layer(edges, stored[-1], statistics[-1], weights[layer - 1], z)
                stored.append(z)
            mean, variance = _merge(moments)
            scale = gamma * torch.rsqrt(variance + eps[layer])
            statistics.append(torch.stack([mean, variance, scale, beta - mean * scale]))
        result = own.new_empty(len(own), len(gammas[-1]))
        _, _, scale, shift = statistics[-1]

        def average(blocks: list[Block]) -> None:
            for block in blocks:
                h = edges.activation(stored[-1], scale, shift, block, 0)
                torch.mean(edges.by_node(h), dim=1, out=result[block.nodes])

        edges.each_strand(average)
        ctx.eps = eps
        ctx.save_for_backward(own, other, index, *stored[1:], *statistics, *weights)
        ctx.mark_non_differentiable(*statistics)
        return (result, *statistics)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        depth = len(ctx.eps)
        own, other, index, *rest = ctx.saved_tensors
        stored: list[Tensor | None] = [None, *rest[: depth - 1]]
        statistics, weights = rest[depth - 1 : 2 * depth - 1], rest[2 * depth - 1 :]
        edges = Edges(own, other, index, max(s.shape[1] for s in statistics))
        backward = _Backward(edges, gradient / edges.k, stored, statistics, weights)
        grad_own, grad_other = backward.run(ctx.eps)
        return (grad_own, grad_other, None, None, *backward.gammas, *backward.betas, *backward.maps)


class _Moments:
    """Count, mean and summed squared deviation of the columns of blocks, in one pass."""

    def __init__(self) -> None:
        self.count = 0
        self.shift = self.first = self.second = torch.empty(0)

    def add(self, z: Tensor, buffer: Tensor) -> None:
        if self.count == 0:
            self.shift = z.mean(dim=0)  # near enough to the mean for the squares not to cancel
            self.first, self.second = torch.zeros_like(self.shift), torch.zeros_like(self.shift)
        deviation = torch.sub(z, self.shift, out=buffer)
        self.first += deviation.sum(dim=0)
        self.second += deviation.square_().sum(dim=0)
        self.count += len(z)


def _merge(parts: list[_Moments]) -> tuple[Tensor, Tensor]:
    """Mean and variance of all parts together."""
    count = sum(part.count for part in parts)
    means = [part.shift + part.first / part.count for part in parts]
    mean = torch.stack([m * (p.count / count) for m, p in zip(means, parts, strict=True)]).sum(0)
    within = [p.second - p.first.square() / p.count for p in parts]
    between = [p.count * (m - mean).square() for m, p in zip(means, parts, strict=True)]
    return mean, torch.stack([*within, *between]).sum(0).clamp_(min=0) / count


def _moments_of_first_layer(edges: Edges) -> list[_Moments]:
    def work(blocks: list[Block]) -> _Moments:
        moments = _Moments()
        for block in blocks:
            z = edges.pre_activation(None, block, 0)
            moments.add(z, block.buffer(1, z.shape[1]))
        return moments

    return edges.each_strand(work)


def _next_layer(
    edges: Edges, stored: Tensor | None, statistics: Tensor, weight: Tensor, z: Tensor
) -> list[_Moments]:
    """Writes the pre-activations z (E, C) of the layer above the stored one."""
    _, _, scale, shift = statistics

    def work(blocks: list[Block]) -> _Moments:
        moments = _Moments()
        for block in blocks:
            h = edges.activation(stored, scale, shift, block, 0)
            torch.mm(h, weight.t(), out=z[block.edges])
            moments.add(z[block.edges], block.buffer(1, len(weight)))
        return moments

    return edges.each_strand(work)


class _Sums:
    """Sums over edges of a gradient, and of its product with the centred pre-activation."""

    def __init__(self, mean: Tensor) -> None:
        self.mean, self.values = mean, mean.new_zeros(2, len(mean))

    def add(self, gradient: Tensor, z: Tensor, buffer: Tensor) -> None:
        self.values[0] += gradient.sum(dim=0)
        self.values[1] += torch.sub(z, self.mean, out=buffer).mul_(gradient).sum(dim=0)


class _Backward:
    r"""From the top layer down, with g = dLoss/dy behind the mask of the ReLU (y its argument).

    Sums over all edges, :math:`\sum g` and :math:`\sum g\,(z - \mu)`, stand between g and
    :math:`\partial \mathrm{Loss} / \partial z`; they are taken while the blocks of g are made.
    """

    def __init__(
        self,
        edges: Edges,
        top: Tensor,
        stored: list[Tensor | None],
        statistics: list[Tensor],
        weights: list[Tensor],
    ) -> None:
        self.edges, self.top, self.stored = edges, top, stored
        self.statistics, self.weights = statistics, weights
        self.gammas: list[Tensor] = []
        self.betas: list[Tensor] = []
        self.maps: list[Tensor] = []
        self.masked: Tensor | None = None  # g of the layer at hand, shape (E, C); None at the top

    def run(self, eps: tuple[float, ...]) -> tuple[Tensor, Tensor]:
        """Gradients of own and other; those of the parameters are left in the lists."""
        sums = self._sums_at_the_top()
        for layer in reversed(range(len(eps))):
            mean, variance, scale, _ = self.statistics[layer]
            plain, product = sums
            inverse = torch.rsqrt(variance + eps[layer])
            self.gammas.insert(0, product * inverse)
            self.betas.insert(0, plain)
            # dLoss/dz = scale g + slope z + offset
            slope = -scale * inverse.square() * product / self.edges.count
            offset = -scale * plain / self.edges.count - mean * slope
            if layer:
                sums = self._through(layer, slope, offset)
        return self._to_nodes(slope, offset)

    def _gradient(self, layer: int, z: Tensor, block: Block) -> Tensor:
        """The g of a block, in buffer 1 at the top."""
        if self.masked is not None:
            return self.masked[block.edges]
        _, _, scale, shift = self.statistics[layer]
        y = torch.addcmul(shift, z, scale, out=block.buffer(0, len(scale)))
        g = block.buffer(1, len(scale))
        self.edges.by_node(g).copy_(self.top[block.nodes, None])
        return _relu_backward(g, y)

    def _before_normalisation(
        self, layer: int, slope: Tensor, offset: Tensor, block: Block
    ) -> Tensor:
        """The dLoss/dz of a block, in buffer 0."""
        z = self.edges.pre_activation(self.stored[layer], block, 2)
        g = self._gradient(layer, z, block)
        out = torch.addcmul(offset, z, slope, out=block.buffer(0, len(slope)))
        return out.addcmul_(g, self.statistics[layer][2])

    def _sums_at_the_top(self) -> Tensor:
        layer = len(self.stored) - 1
        mean = self.statistics[layer][0]

        def work(blocks: list[Block]) -> Tensor:
            sums = _Sums(mean)
            for block in blocks:
                z = self.edges.pre_activation(self.stored[layer], block, 2)
                sums.add(self._gradient(layer, z, block), z, block.buffer(0, len(mean)))
            return sums.values

        return torch.stack(self.edges.each_strand(work)).sum(0)

    def _through(self, layer: int, slope: Tensor, offset: Tensor) -> Tensor:
        """Gradient of a layer's weight, and g and its sums for the layer below."""
        weight, (mean, _, scale, shift) = self.weights[layer - 1], self.statistics[layer - 1]
        masked = self.masked  # overwritten block by block behind the reading, if the widths agree
        if masked is None or masked.shape[1] != len(mean):
            masked = weight.new_empty(self.edges.count, len(mean))

        def work(blocks: list[Block]) -> tuple[Tensor, Tensor]:
            sums, grad_weight = _Sums(mean), torch.zeros_like(weight)
            for block in blocks:
                grad_z = self._before_normalisation(layer, slope, offset, block)
                z = self.edges.pre_activation(self.stored[layer - 1], block, 2)
                h = torch.addcmul(shift, z, scale, out=block.buffer(1, len(mean))).relu_()
                grad_weight.addmm_(grad_z.t(), h)
                g = _relu_backward(torch.mm(grad_z, weight, out=masked[block.edges]), h)
                sums.add(g, z, h)
            return sums.values, grad_weight

        values, grad_weights = zip(*self.edges.each_strand(work), strict=True)
        self.masked = masked
        self.maps.insert(0, torch.stack(grad_weights).sum(0))
        return torch.stack(values).sum(0)

    def _to_nodes(self, slope: Tensor, offset: Tensor) -> tuple[Tensor, Tensor]:
        """Sums of dLoss/dz over the edges of each node, as the one and as the other end."""
        edges = self.edges
        grad_own = torch.empty_like(edges.own)
        grad_z = (
            edges.own.new_empty(edges.count, len(slope)) if self.masked is None else self.masked
        )

        def work(blocks: list[Block]) -> None:
            for block in blocks:
                values = self._before_normalisation(0, slope, offset, block)
                torch.sum(edges.by_node(values), dim=1, out=grad_own[block.nodes])
                grad_z[block.edges] = values

        edges.each_strand(work)
        grad_other = torch.zeros_like(edges.other)
        return grad_own, grad_other.index_add_(0, edges.index.flatten(), grad_z)


def _relu_backward(gradient: Tensor, y: Tensor) -> Tensor:
    """The gradient where y > 0, else 0, in place."""
    result: Tensor = torch.ops.aten.threshold_backward.grad_input(
        gradient, y, 0.0, grad_input=gradient
    )
    return result
