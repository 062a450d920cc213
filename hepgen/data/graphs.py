"""Graphs inside jets: k nearest neighbours and all pairs, without padding where that is faster.

Shapes: B jets, N constituents of all jets end to end, D dimensions, k neighbours, E edges; ``ptr``
has B + 1 entries, from 0 to N.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hepgen.data import kernels, neighbours

__all__ = ["all_pairs", "knn", "knn_edges", "knn_padded"]


def knn(x: Tensor, ptr: Tensor, k: int) -> Tensor:
    """The k nearest other constituents of the same jet.

    By Euclidean distance; of equally near ones the earlier comes first. On a CPU numba computes it,
    elsewhere `knn_padded`, where equal distances come in any order. No gradient flows through. One
    operator to torch.compile and torch.export, ``hepgen::knn``.

    Args:
        x: coordinates, shape (N, D).
        ptr: offsets of the jets in N, shape (B + 1,), int64.
        k: number of neighbours, at least 1.

    Returns:
        Rows of ``x``, shape (N, k), int64, the nearest first; -1 where the jet has no more.

    Raises:
        ValueError: k < 1.
    """
    if k < 1:
        raise ValueError(f"k should be at least 1, not {k}")
    neighbour: Tensor = _knn(x.detach(), ptr, k)
    return neighbour


def knn_edges(x: Tensor, ptr: Tensor, k: int) -> Tensor:
    """The k nearest neighbours as edges, in torch_geometric's order: from neighbour to centre.

    Args:
        x: coordinates, shape (N, D).
        ptr: offsets of the jets in N, shape (B + 1,), int64.
        k: number of neighbours, at least 1.

    Returns:
        Edges (2, E), int64, ascending in the centre ``edge_index[1]``.
    """
    neighbour = knn(x, ptr, k)
    centre = torch.arange(x.shape[0], device=x.device)[:, None].expand_as(neighbour)
    there = neighbour >= 0
    return torch.stack([neighbour[there], centre[there]])


def knn_padded(x: Tensor, ptr: Tensor, k: int) -> Tensor:
    """What `knn` gives, with operators of torch only, on any device.

    The jets are padded to the largest, P; distances take B x P x P floats.

    Args:
        x: coordinates, shape (N, D).
        ptr: offsets of the jets in N, shape (B + 1,), int64.
        k: number of neighbours, at least 1.

    Returns:
        Rows of ``x``, shape (N, k), int64, the nearest first; -1 where the jet has no more.
    """
    if x.shape[0] == 0:
        return torch.empty((0, k), dtype=torch.int64, device=x.device)
    counts = ptr.diff()
    num_jets, most = counts.numel(), int(counts.max())
    jet = torch.repeat_interleave(counts, output_size=x.shape[0])
    place = torch.arange(x.shape[0], device=x.device) - ptr[jet]
    padded = x.new_zeros((num_jets, most, x.shape[1]))
    padded[jet, place] = x
    # |a|^2 + |b|^2 - 2ab is quick and loses digits of near neighbours, which angles cannot spare.
    mode = "donot_use_mm_for_euclid_dist" if x.shape[1] < 8 else "use_mm_for_euclid_dist"
    distance = torch.cdist(padded, padded, compute_mode=mode)
    column = torch.arange(most, device=x.device)
    absent = column >= counts[:, None]  # (B, P)
    distance.masked_fill_(absent[:, None, :] | (column == column[:, None]), torch.inf)
    nearest = distance.topk(min(k, most), largest=False).indices  # (B, P, <= k)
    rows = (nearest + ptr[:-1, None, None])[jet, place]  # (N, <= k)
    rank = torch.arange(rows.shape[1], device=x.device)
    rows = rows.masked_fill(rank >= counts[jet, None] - 1, -1)
    return torch.nn.functional.pad(rows, (0, k - rows.shape[1]), value=-1)


def all_pairs(ptr: Tensor, *, loops: bool = False) -> Tensor:
    """All ordered pairs (i, j) of constituents of the same jet.

    One operator to torch.compile and torch.export, ``hepgen::all_pairs``.

    Args:
        ptr: offsets of the jets, shape (B + 1,), int64.
        loops: whether i = j is a pair, too.

    Returns:
        Edges (2, E), int64, ascending in i and then in j. As edges of torch_geometric, from i to
        j, they are the same graph as from j to i.
    """
    pairs: Tensor = _all_pairs(ptr, loops)
    return pairs


@torch.library.custom_op("hepgen::knn", mutates_args=())
def _knn(x: Tensor, ptr: Tensor, k: int) -> Tensor:
    if x.device.type != "cpu":
        return knn_padded(x, ptr, k)
    # Half and double precision too: the neighbours of bfloat16 coordinates are not worth a kernel.
    points = x.to(torch.float32).contiguous().numpy()
    return torch.from_numpy(neighbours.nearest(points, ptr.numpy(), k))


@_knn.register_fake
def _(x: Tensor, ptr: Tensor, k: int) -> Tensor:
    return x.new_empty((x.shape[0], k), dtype=torch.int64)


@torch.library.custom_op("hepgen::all_pairs", mutates_args=())
def _all_pairs(ptr: Tensor, loops: bool = False) -> Tensor:
    if ptr.device.type == "cpu":
        return torch.from_numpy(kernels.all_pairs(ptr.numpy(), loops))
    counts = ptr.diff()
    others = torch.repeat_interleave(counts if loops else counts - 1, counts)  # (N,)
    i = torch.repeat_interleave(others)  # (E,)
    first = torch.repeat_interleave(ptr[:-1], counts)  # (N,) first constituent of the own jet
    place = torch.arange(i.numel(), device=ptr.device) - (others.cumsum(0) - others)[i]
    j = first[i] + place
    return torch.stack([i, j if loops else j + (j >= i)])


@_all_pairs.register_fake
def _(ptr: Tensor, loops: bool = False) -> Tensor:
    size = torch.library.get_ctx().new_dynamic_size()
    return ptr.new_empty((2, size))
