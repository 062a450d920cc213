"""Jets of about the same size together, so that little is padded and all at work stays in cache.

Jets are put in order of their size and cut into groups. For what each jet does alone the result is
that of the whole batch at once. How many groups there are depends on the data, so that under
``torch.compile`` and on other devices than a CPU nobody should ask for them.

Shapes: B jets, N constituents of all jets end to end, E unordered pairs; ``ptr`` has B + 1 entries.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from hepgen.taggers.group_gradients import map_with_gradients
from hepgen.taggers.threads import map_in_threads

__all__ = ["SizeGroups", "groups_apply"]


def groups_apply(x: Tensor) -> bool:
    """Whether jets should go in groups: eager, on a CPU, and there is a constituent.

    Args:
        x: something of the constituents, shape (N, ...).
    """
    return x.device.type == "cpu" and not torch.compiler.is_compiling() and x.shape[0] > 0


class SizeGroups:
    """Jets in order of their size, in groups.

    Args:
        ptr: offsets of the jets in N, shape (B + 1,), int64.
        size: N.
        most: constituents of a group, but a jet is never divided.

    Attributes:
        ptr: offsets of the jets, the smallest first, shape (B + 1,).
        groups: offsets of the jets of each group in its own rows; one group of no jets if B is 0.
    """

    def __init__(self, ptr: Tensor, size: int, most: int) -> None:
        counts = ptr.diff()
        self._jets = counts.argsort(stable=True)
        counts = counts[self._jets]
        self.ptr = functional.pad(counts.cumsum(0), (1, 0))
        shift = (ptr[:-1][self._jets] - self.ptr[:-1]).repeat_interleave(counts, output_size=size)
        self._rows = shift + torch.arange(size, device=ptr.device)
        cuts = _cuts(self.ptr.tolist(), most)
        pairs = functional.pad((counts * (counts + 1) // 2).cumsum(0), (1, 0))[cuts]
        self.groups = [self.ptr[i : j + 1] - self.ptr[i] for i, j in pairwise(cuts)]
        self._row_counts: list[int] = self.ptr[cuts].diff().tolist()
        self._pair_counts: list[int] = pairs.diff().tolist()

    def sort(self, values: Tensor) -> Tensor:
        """Values of the constituents, (N, ...), in the order of the groups."""
        return values.index_select(0, self._rows)

    def rows(self, values: Tensor) -> tuple[Tensor, ...]:
        """Sorted values of the constituents, (N, ...), of each group."""
        return torch.split(values, self._row_counts)

    def pairs(self, values: Tensor) -> tuple[Tensor, ...]:
        """Sorted values of the unordered pairs, (E, ...), of each group."""
        return torch.split(values, self._pair_counts)

    def join_rows(self, parts: Sequence[Tensor]) -> Tensor:
        """Values of the constituents of each group as (N, ...), in the order of the batch."""
        return torch.cat(list(parts)).index_select(0, _inverse(self._rows))

    def join_jets(self, parts: Sequence[Tensor]) -> Tensor:
        """Values of the jets of each group as (B, ...), in the order of the batch."""
        return torch.cat(list(parts)).index_select(0, _inverse(self._jets))

    def map(
        self, work: Callable[..., Tensor], *parts: Sequence[Tensor], threads: bool = True
    ) -> list[Tensor]:
        """What the work gives for each group.

        Args:
            work: called with what each of ``parts`` has for a group, and with its offsets.
            parts: something for each group, as `rows` and `pairs` give it.
            threads: whether threads share the groups; the work then has no gradients and no chance.

        Returns:
            One result for each group.
        """
        items = list(zip(*parts, self.groups, strict=True))
        if threads:
            return map_in_threads(lambda item: work(*item), items)
        return [work(*item) for item in items]

    def map_trained(
        self, module: nn.Module, work: Callable[..., Tensor], *parts: Sequence[Tensor]
    ) -> list[Tensor]:
        """What the work gives for each group, in several threads, with gradients if wanted.

        Args:
            module: whose parameters the work depends on; in training it may use chance.
            work: called with what each of ``parts`` has for a group, and with its offsets.
            parts: something for each group, as `rows` and `pairs` give it.

        Returns:
            One result for each group.
        """
        if torch.is_grad_enabled() or module.training:
            return map_with_gradients(work, parts, self.groups, list(module.parameters()))
        return self.map(work, *parts)


def _cuts(offsets: Sequence[int], most: int) -> list[int]:
    """Where groups begin and end, in numbers of jets."""
    cuts, last = [0], len(offsets) - 1
    for jet in range(1, last):
        if offsets[jet + 1] - offsets[cuts[-1]] > most:
            cuts.append(jet)
    return [*cuts, last]


def _inverse(order: Tensor) -> Tensor:
    inverse = torch.empty_like(order)
    inverse[order] = torch.arange(order.shape[0], device=order.device)
    return inverse
