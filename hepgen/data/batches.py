r"""Packed batches: the constituents of B jets end to end, with offsets instead of padding.

A batch is a ``torch_geometric.data.Batch``, so that every layer and transform of torch_geometric works on it.

Shapes: B jets, N constituents of all jets end to end, F features.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch_geometric.data import Batch

__all__ = ["Batch", "make_batch"]


def make_batch(
    x: Tensor,
    ptr: Tensor,
    *,
    pos: Tensor | None = None,
    p4: Tensor | None = None,
    y: Tensor | None = None,
    weight: Tensor | None = None,
) -> Batch:
    """One packed batch of B jets.

    Args:
        x: features of the constituents, shape (N, F).
        ptr: offsets of the jets in N, shape (B + 1,), int64, from 0 to N.
        pos: (delta_eta, delta_phi) to the jet axis, shape (N, 2).
        p4: four-momenta (E, px, py, pz) in GeV, shape (N, 4).
        y: class index of each jet, shape (B,), int64.
        weight: weight of each jet in the loss, shape (B,).

    Returns:
        A torch_geometric batch with these attributes, and ``batch`` (N,), the jet of each constituent.
    """
    jet = torch.arange(ptr.numel() - 1, device=ptr.device)
    batch = torch.repeat_interleave(jet, ptr.diff(), output_size=x.shape[0])
    fields = {"pos": pos, "p4": p4, "y": y, "weight": weight}
    return Batch(x=x, ptr=ptr, batch=batch, **{k: v for k, v in fields.items() if v is not None})
