"""Packed batches: the constituents of B jets end to end, with offsets instead of padding.

A batch is a ``torch_geometric.data.Batch``, so every layer and transform of torch_geometric works
on it; ``batch[i]`` and ``to_data_list()`` give single jets.

Shapes: B jets, N constituents of all jets end to end, F features, T targets.
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
    p4: Tensor | None = None,
    pos: Tensor | None = None,
    y: Tensor | None = None,
    weight: Tensor | None = None,
    targets: Tensor | None = None,
    constituent_y: Tensor | None = None,
) -> Batch:
    """One packed batch of B jets.

    Args:
        x: features of the constituents, shape (N, F).
        ptr: offsets of the jets in N, shape (B + 1,), int64, from 0 to N.
        p4: four-momenta (E, px, py, pz) in GeV, shape (N, 4).
        pos: (delta_eta, delta_phi) to the jet axis, shape (N, 2).
        y: class index of each jet, shape (B,), int64.
        weight: weight of each jet in the loss, shape (B,).
        targets: what is to be predicted of each jet besides its class, shape (B, T).
        constituent_y: class index of each constituent, shape (N,), int64.

    Returns:
        A torch_geometric batch with these attributes, and ``batch``, the jet of each constituent,
        shape (N,), int64.
    """
    batch = torch.repeat_interleave(ptr.diff(), output_size=x.shape[0])
    per_constituent = {"x": x, "pos": pos, "p4": p4, "constituent_y": constituent_y}
    per_jet = {"y": y, "weight": weight, "targets": targets}
    fields = {k: v for k, v in (per_constituent | per_jet).items() if v is not None}
    made = Batch(ptr=ptr, batch=batch, **fields)
    # What torch_geometric notes when it collates single graphs, and needs to take them apart again.
    size = ptr.numel() - 1
    one_each, nothing = torch.arange(size + 1), torch.zeros(size, dtype=torch.int64)
    made._num_graphs = size
    made._slice_dict = {key: ptr if key in per_constituent else one_each for key in fields}
    made._inc_dict = dict.fromkeys(fields, nothing)
    return made
