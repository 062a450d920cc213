"""Unordered pairs of the constituents of each jet, each with itself too, and where they stand.

The pairs of a jet of n constituents are rows of a lower triangle: (0, 0), (1, 0), (1, 1), (2, 0),
...; those of the next jet follow. Quantities that do not ask which of two comes first are computed
for them alone, n (n + 1) / 2 instead of the P^2 of a padded square.

Shapes: B jets, N constituents of all jets end to end, P places of the largest jet, E pairs; ``ptr``
has B + 1 entries.
"""

from __future__ import annotations

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["pair_places", "unordered_pairs"]

Indices = NDArray[np.int64]


def unordered_pairs(ptr: Tensor) -> Tensor:
    """All pairs (i, j), i >= j, of constituents of the same jet.

    One operator to torch.compile and torch.export, ``hepgen::unordered_pairs``.

    Args:
        ptr: offsets of the jets in N, shape (B + 1,), int64.

    Returns:
        Rows of the constituents, shape (2, E), int64, ascending in i and then in j.
    """
    pairs: Tensor = _unordered_pairs(ptr)
    return pairs


def pair_places(ptr: Tensor, rows: Tensor) -> Tensor:
    """Which pair belongs to two places of a padded jet.

    Args:
        ptr: offsets of the jets in N, shape (B + 1,), int64.
        rows: what `hepgen.taggers.dense.places` gives, shape (B, P).

    Returns:
        Rows of what `unordered_pairs` gives, shape (B, P, P), int64, symmetric in the last two; -1
        where a place is empty.
    """
    counts = ptr.diff()
    triangles = counts * (counts + 1) // 2
    first = triangles.cumsum(0) - triangles  # (B,)
    place = torch.arange(rows.shape[1], device=ptr.device)
    later, earlier = torch.maximum(place, place[:, None]), torch.minimum(place, place[:, None])
    pair = first[:, None, None] + later * (later + 1) // 2 + earlier  # (B, P, P)
    return torch.where(later < counts[:, None, None], pair, -1)


@njit(cache=True, nogil=True)
def _triangles(offsets: Indices) -> Indices:
    size = 0
    for jet in range(len(offsets) - 1):
        count = offsets[jet + 1] - offsets[jet]
        size += count * (count + 1) // 2
    pairs = np.empty((2, size), np.int64)
    row = 0
    for jet in range(len(offsets) - 1):
        for i in range(offsets[jet], offsets[jet + 1]):
            for j in range(offsets[jet], i + 1):
                pairs[0, row] = i
                pairs[1, row] = j
                row += 1
    return pairs


@torch.library.custom_op("hepgen::unordered_pairs", mutates_args=())
def _unordered_pairs(ptr: Tensor) -> Tensor:
    return torch.from_numpy(_triangles(ptr.cpu().numpy())).to(ptr.device)


@_unordered_pairs.register_fake
def _(ptr: Tensor) -> Tensor:
    return ptr.new_empty((2, torch.library.get_ctx().new_dynamic_size()))
