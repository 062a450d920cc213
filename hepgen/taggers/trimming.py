"""Long jets cut at random in training, as weaver-core does.

Shapes: B jets, N constituents of all jets end to end, M that are kept; ``ptr`` has B + 1 entries.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hepgen.data import Batch, make_batch

__all__ = ["trimmed"]


def trimmed(jets: Batch, least: float) -> Batch:
    """The batch without some random constituents of its longest jets.

    A quantile q is drawn uniformly between ``least`` and 1.02, at most 1; of jets longer than the
    quantile q of the lengths in the batch, as many random constituents are kept. With 0.9 this is
    what weaver's SequenceTrimmer does in training.

    Args:
        jets: packed jets.
        least: the least quantile.

    Returns:
        A batch of the same jets; ``y`` and ``weight`` are as they were.
    """
    chance = torch.rand(jets.x.shape[0], device=jets.x.device)
    quantile = torch.empty((), device=jets.x.device).uniform_(least, 1.02).clamp(max=1)
    rows, ptr = _kept(jets.ptr, chance, quantile)
    tensors = {name: jets[name][rows] for name in ("p4", "pos") if jets.get(name) is not None}
    labels = {name: jets[name] for name in ("y", "weight") if jets.get(name) is not None}
    return make_batch(jets.x[rows], ptr, **tensors, **labels)


@torch.library.custom_op("hepgen::trimmed", mutates_args=())
def _kept(ptr: Tensor, chance: Tensor, quantile: Tensor) -> tuple[Tensor, Tensor]:
    """Rows (M,) that are kept, ascending, and the offsets of the jets in them."""
    counts = ptr.diff()
    if counts.numel() == 0:
        return torch.arange(0, device=ptr.device), ptr.clone()
    most = torch.quantile(counts.float(), quantile).long().clamp(min=1)
    jet = torch.repeat_interleave(counts, output_size=chance.shape[0])
    order = chance.argsort()
    order = order[jet[order].argsort(stable=True)]  # random in each jet
    place = torch.arange(chance.shape[0], device=ptr.device) - ptr[jet]
    rows = order[place < most].sort().values
    return rows, torch.nn.functional.pad(counts.clamp(max=most).cumsum(0), (1, 0))


@_kept.register_fake
def _(ptr: Tensor, chance: Tensor, quantile: Tensor) -> tuple[Tensor, Tensor]:
    size = torch.library.get_ctx().new_dynamic_size()
    return ptr.new_empty(size), torch.empty_like(ptr)
