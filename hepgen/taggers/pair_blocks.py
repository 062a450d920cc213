r"""Work on all pairs of constituents, some jets at a time, of which no intermediate value is kept.

What a network does with pairs takes far more memory than the constituents themselves, in training
above all, where autograd keeps each intermediate value until the backward pass. Here a function of
pairs is applied to a few jets at a time, so that its values stay in the cache of a CPU, and in the
backward pass it is applied once more: only what it is given and what it gives stays in memory.

Shapes: B jets, N nodes (constituents, and what was added to them) of all jets end to end, E ordered
pairs of nodes of the same jet; ``ptr`` has B + 1 entries.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from threading import Lock
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hepgen.data import all_pairs
from hepgen.taggers.threads import map_in_threads

__all__ = ["Axis", "Pairs", "flipped", "over_pairs"]

# Pairs of a block: 8192 values a channel pass through a cache of 1 MB in a few dozens of channels.
BLOCK = 4096
STRANDS = 16

Axis = Literal["node", "pair", "all"]
"""What a tensor belongs to: nodes, shape (N, ...), pairs, shape (E, ...), or none of them."""


@dataclass(frozen=True)
class Pairs:
    """All ordered pairs (i, j) of some jets.

    Attributes:
        ptr: offsets of the jets in N, shape (B + 1,), int64.
        first: node i of each pair, ascending, shape (E,), int64.
        second: node j, shape (E,), int64.
        counts: number of nodes of each node's jet, shape (N,), int64.
        nodes: number of nodes N.
        loops: whether there are pairs i = j.
    """

    ptr: Tensor
    first: Tensor
    second: Tensor
    counts: Tensor
    nodes: int
    loops: bool

    @classmethod
    def of(cls, ptr: Tensor, nodes: int, *, loops: bool = False) -> Pairs:
        """The pairs of packed jets.

        Args:
            ptr: offsets of the jets, shape (B + 1,), int64.
            nodes: N.
            loops: whether i = j are pairs, too.
        """
        first, second = all_pairs(ptr, loops=loops)
        if torch.compiler.is_compiling():
            # The compiler cannot know how many pairs there are.
            torch._check(first.shape[0] > 1)  # type: ignore[no-untyped-call]
        counts = torch.repeat_interleave(ptr.diff(), ptr.diff(), output_size=nodes)
        return cls(ptr, first, second, counts, nodes, loops)

    def flip(self) -> Tensor:
        """Row of (j, i) for each pair (i, j), shape (E,), int64; for pairs with loops."""
        start = self.diagonal() - torch.arange(self.nodes, device=self.ptr.device)
        # The rows of the jet are (i - s) n + (j - s) from its first row, with s its first node.
        base = start - torch.arange(self.nodes, device=self.ptr.device) * self.counts
        n = self.counts.index_select(0, self.first)
        return base.index_select(0, self.first) + self.second * n + self.first

    def diagonal(self) -> Tensor:
        """Row of (i, i) for each node, shape (N,), int64; for pairs with loops."""
        place = torch.arange(self.nodes, device=self.ptr.device) - torch.repeat_interleave(
            self.ptr[:-1], self.ptr.diff(), output_size=self.nodes
        )
        return self.counts.cumsum(0) - self.counts + place

    def blocks(self) -> list[tuple[slice, slice]]:
        """Nodes and pairs of some whole jets at a time; all at once off the CPU."""
        if self.ptr.device.type != "cpu" or self.first.shape[0] <= BLOCK:
            return [(slice(0, self.nodes), slice(0, self.first.shape[0]))]
        offsets = self.ptr.tolist()
        found, node, pair, after = [], 0, 0, 0
        for start, stop in pairwise(offsets):
            count = stop - start
            pairs = count * (count if self.loops else count - 1)
            if after > pair and after + pairs - pair > BLOCK:
                found.append((slice(node, start), slice(pair, after)))
                node, pair = start, after
            after += pairs
        return [*found, (slice(node, self.nodes), slice(pair, after))]


Function = Callable[..., tuple[Tensor, ...]]


def over_pairs(
    function: Function,
    pairs: Pairs,
    takes: Sequence[Axis],
    gives: Sequence[Axis],
    *tensors: Tensor,
    gradient: Callable[..., tuple[Tensor | None, ...]] | None = None,
) -> tuple[Tensor, ...]:
    """Apply a function of pairs to some jets at a time; in the backward pass once more.

    Under ``torch.compile`` and ``torch.export`` it is applied to all jets at once, and the compiler
    decides what is kept.

    Args:
        function: called with the nodes i and j of some pairs, both (e,), int64, rows of the nodes
            it is given, and with the part of each tensor that belongs to these jets. It knows no
            other tensor that needs a gradient, and may not draw random numbers.
        pairs: the pairs.
        takes: for each tensor, what it belongs to. Integers are taken for rows of pairs.
        gives: the same of each tensor that the function returns. What belongs to none is summed
            over the jets.
        tensors: what the function is given.
        gradient: called with what the function is called with, and then the gradients of what it
            returned; returns those of all tensors. If not given, and under autocast, autograd finds
            them.

    Returns:
        What the function gives, of all jets together. Once differentiable.
    """
    if torch.compiler.is_compiling():
        return function(pairs.first, pairs.second, *tensors)
    result: tuple[Tensor, ...] = _OverPairs.apply(  # type: ignore[no-untyped-call]
        function, gradient, pairs, tuple(takes), tuple(gives), *tensors
    )
    return result


def flipped(values: Tensor, flip: Tensor) -> Tensor:
    """Values of the pairs (j, i) in the places of (i, j).

    Args:
        values: shape (E, C).
        flip: of these pairs, see `Pairs.flip`, shape (E,).

    Returns:
        Shape (E, C). The gradient is gathered in the same way, where that of an index in general
        has to be summed.
    """
    if torch.compiler.is_compiling():
        return values.index_select(0, flip)
    result: Tensor = _Flipped.apply(values, flip)  # type: ignore[no-untyped-call]
    return result


class _Flipped(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, flip: Tensor) -> Tensor:
        ctx.save_for_backward(flip)
        return values.index_select(0, flip)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (flip,) = ctx.saved_tensors
        return gradient.index_select(0, flip), None


class _OverPairs(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        function: Function,
        gradient: Callable[..., tuple[Tensor | None, ...]] | None,
        pairs: Pairs,
        takes: tuple[Axis, ...],
        gives: tuple[Axis, ...],
        *tensors: Tensor,
    ) -> tuple[Tensor, ...]:
        ctx.function, ctx.pairs, ctx.takes, ctx.gives = function, pairs, takes, gives
        ctx.gradient = gradient
        device = pairs.ptr.device.type
        ctx.autocast = torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)
        ctx.save_for_backward(*tensors)

        def run(block: tuple[slice, slice]) -> tuple[Tensor, ...]:
            parts = _parts(pairs, takes, tensors, block)
            with torch.autocast(device, ctx.autocast[1], ctx.autocast[0], cache_enabled=False):
                return function(*_local(pairs, block), *parts)

        return _gathered(run, pairs, gives)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        tensors, pairs, takes = ctx.saved_tensors, ctx.pairs, ctx.takes
        device = pairs.ptr.device.type
        wanted = [i for i, needed in enumerate(ctx.needs_input_grad[5:]) if needed]

        def run_by_hand(block: tuple[slice, slice]) -> tuple[Tensor, ...]:
            parts = _parts(pairs, takes, tensors, block)
            ours = _parts(pairs, ctx.gives, gradients, block)
            found = ctx.gradient(*_local(pairs, block), *parts, *ours)
            return tuple(found[i] for i in wanted)

        def run(block: tuple[slice, slice]) -> tuple[Tensor, ...]:
            parts = [part.detach() for part in _parts(pairs, takes, tensors, block)]
            inputs = [parts[i].requires_grad_() for i in wanted]
            with (
                torch.enable_grad(),
                torch.autocast(device, ctx.autocast[1], ctx.autocast[0], cache_enabled=False),
            ):
                outputs = ctx.function(*_local(pairs, block), *parts)
            ours = _parts(pairs, ctx.gives, gradients, block)
            joined = [(o, g) for o, g in zip(outputs, ours, strict=True) if o.requires_grad]
            found: tuple[Tensor | None, ...] = torch.autograd.grad(
                [o for o, _ in joined], inputs, [g for _, g in joined], allow_unused=True
            )
            return tuple(
                torch.zeros_like(one) if gradient is None else gradient
                for one, gradient in zip(inputs, found, strict=True)
            )

        by_hand = ctx.gradient is not None and not ctx.autocast[0]
        found = _gathered(run_by_hand if by_hand else run, pairs, [takes[i] for i in wanted])
        results: list[Tensor | None] = [None] * (5 + len(tensors))
        for i, gradient in zip(wanted, found, strict=True):
            results[5 + i] = gradient
        return tuple(results)


def _parts(
    pairs: Pairs, axes: Sequence[Axis], tensors: Sequence[Tensor], block: tuple[slice, slice]
) -> list[Tensor]:
    """What belongs to the nodes and pairs of a block."""
    nodes, rows = block
    parts = []
    for axis, tensor in zip(axes, tensors, strict=True):
        part = tensor if axis == "all" else tensor[nodes if axis == "node" else rows]
        parts.append(part if part.is_floating_point() else part - rows.start)
    return parts


def _local(pairs: Pairs, block: tuple[slice, slice]) -> tuple[Tensor, Tensor]:
    nodes, rows = block
    return pairs.first[rows] - nodes.start, pairs.second[rows] - nodes.start


def _gathered(
    run: Callable[[tuple[slice, slice]], tuple[Tensor, ...]], pairs: Pairs, axes: Sequence[Axis]
) -> tuple[Tensor, ...]:
    """What the blocks give, joined or summed in an order that does not depend on the threads."""
    blocks = pairs.blocks()
    if len(blocks) == 1:
        return run(blocks[0])
    sizes = {"node": pairs.nodes, "pair": pairs.first.shape[0]}
    whole: list[Tensor] = []
    allocating = Lock()

    def put(block: tuple[slice, slice], parts: tuple[Tensor, ...]) -> list[Tensor]:
        with allocating:
            if not whole:  # the first block to come tells the shapes
                whole.extend(
                    part if axis == "all" else part.new_empty(sizes[axis], *part.shape[1:])
                    for axis, part in zip(axes, parts, strict=True)
                )
        for axis, target, part in zip(axes, whole, parts, strict=True):
            if axis != "all":
                target[block[0] if axis == "node" else block[1]] = part
        return [part for axis, part in zip(axes, parts, strict=True) if axis == "all"]

    def walk(strand: list[tuple[slice, slice]]) -> list[Tensor]:
        sums = put(strand[0], run(strand[0]))
        for block in strand[1:]:
            sums = [a + b for a, b in zip(sums, put(block, run(block)), strict=True)]
        return sums

    length = -(-len(blocks) // STRANDS)
    strands = [blocks[i : i + length] for i in range(0, len(blocks), length)]
    sums = map_in_threads(walk, strands)
    totals = iter([torch.stack(column).sum(dim=0) for column in zip(*sums, strict=True)])
    return tuple(
        next(totals) if axis == "all" else one for axis, one in zip(axes, whole, strict=True)
    )
