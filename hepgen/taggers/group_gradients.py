"""Groups of jets in several threads also where gradients are wanted.

Each group is computed by one thread, forward and backward, so that no thread waits for another at
the end of each operation (see `hepgen.taggers.threads`). Gradients of parameters are added in the
order of the groups, and each group has random numbers of its own: what comes out does not depend on
the number of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from hepgen.taggers.dropout import seeded
from hepgen.taggers.threads import map_in_threads

__all__ = ["map_with_gradients"]

Work = Callable[..., Tensor]


def map_with_gradients(
    work: Work,
    parts: Sequence[Sequence[Tensor]],
    offsets: Sequence[Tensor],
    parameters: Sequence[nn.Parameter],
) -> list[Tensor]:
    """What the work gives for each group, once differentiable.

    Args:
        work: called with what each of ``parts`` has for a group, and with its offsets.
        parts: of each input, a tensor for each group.
        offsets: of the jets of each group.
        parameters: what else the work may depend on.

    Returns:
        One result for each group.
    """
    seeds = torch.randint(2**62, (len(offsets),)).tolist()
    if torch.is_autocast_enabled("cpu"):
        # It is a matter of each thread, with a memory that all threads share.
        return [
            _seeded(work, seed)(*inputs, ptr)
            for *inputs, seed, ptr in zip(*parts, seeds, offsets, strict=True)
        ]
    wanted = [parameter for parameter in parameters if parameter.requires_grad]
    tensors = [tensor for part in parts for tensor in part]
    apply = cast(Callable[..., tuple[Tensor, ...]], _Groups.apply)
    return list(apply(work, seeds, offsets, len(parts), *tensors, *wanted))


def _seeded(work: Work, seed: int) -> Work:
    def with_own_chance(*inputs: Tensor) -> Tensor:
        with seeded(seed):
            return work(*inputs)

    return with_own_chance


class _Groups(torch.autograd.Function):
    """Forward and backward of all groups, each with a graph of its own."""

    @staticmethod
    def forward(
        ctx: Any,
        work: Work,
        seeds: list[int],
        offsets: Sequence[Tensor],
        count: int,
        *tensors: Tensor,
    ) -> tuple[Tensor, ...]:
        groups = len(offsets)
        ctx.parameters = tensors[count * groups :]
        wanted = ctx.needs_input_grad[4:]

        def one(group: int) -> tuple[list[Tensor], Tensor]:
            inputs = [
                tensors[number].detach().requires_grad_(wanted[number])
                for number in range(group, count * groups, groups)
            ]
            with torch.enable_grad():
                return inputs, _seeded(work, seeds[group])(*inputs, offsets[group])

        ctx.done = map_in_threads(one, range(groups))
        return tuple(result.detach() for _, result in ctx.done)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        done, parameters = ctx.done, ctx.parameters
        if done is None:
            raise RuntimeError("the gradients of a group of jets can be had once only")
        ctx.done = None

        def one(group: int) -> list[Tensor | None]:
            inputs, result = done[group]
            done[group] = None
            wanted = [tensor for tensor in (*inputs, *parameters) if tensor.requires_grad]
            if not result.requires_grad:
                return [None] * (len(inputs) + len(parameters))
            found = iter(torch.autograd.grad(result, wanted, gradients[group], allow_unused=True))
            return [next(found) if t.requires_grad else None for t in (*inputs, *parameters)]

        each = map_in_threads(one, range(len(done)))
        count = len(each[0]) - len(parameters)
        of_inputs = [found[number] for number in range(count) for found in each]
        of_parameters = [_sum(found) for found in zip(*(g[count:] for g in each), strict=True)]
        return (None, None, None, None, *of_inputs, *of_parameters)


def _sum(gradients: Sequence[Tensor | None]) -> Tensor | None:
    there = [gradient for gradient in gradients if gradient is not None]
    if not there:
        return None
    total = there[0].clone()
    for gradient in there[1:]:
        total += gradient
    return total
