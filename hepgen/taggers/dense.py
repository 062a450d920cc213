"""Packed constituents into padded tensors and back, for layers that need rectangles.

Shapes: B jets, N constituents of all jets end to end, P places of the largest jet, D values of
each; ``ptr`` has B + 1 entries.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["from_dense", "places", "to_dense"]


def places(ptr: Tensor) -> Tensor:
    """Which constituent stands in which place.

    One operator to torch.compile and torch.export, ``hepgen::places``, as P depends on the data.

    Args:
        ptr: offsets of the jets in N, shape (B + 1,), int64.

    Returns:
        Rows of the constituents, shape (B, P), int64, -1 where there is none; P is at least 2,
        so that compilers need not ask whether it is 1.
    """
    rows: Tensor = _places(ptr)
    if torch.compiler.is_compiling():
        torch._check(rows.shape[1] >= 2)  # type: ignore[no-untyped-call]
    return rows


def to_dense(values: Tensor, rows: Tensor, fill: float = 0.0) -> Tensor:
    """Padded values.

    Args:
        values: shape (N, D).
        rows: what `places` gives, shape (B, P).
        fill: value of places without constituent.

    Returns:
        Shape (B, P, D).
    """
    padded = functional.pad(values, (0, 0, 0, 1), value=fill)
    # One row more at the end, so that an index of -1 is there also where N is 0.
    return padded[torch.where(rows < 0, values.shape[0], rows)]


def from_dense(dense: Tensor, ptr: Tensor, size: int) -> Tensor:
    """Packed values.

    Args:
        dense: shape (B, P, D).
        ptr: offsets of the jets in N, shape (B + 1,), int64.
        size: N.

    Returns:
        Shape (N, D).
    """
    jet = torch.repeat_interleave(ptr.diff(), output_size=size)
    place = torch.arange(size, device=ptr.device) - ptr[jet]
    return dense[jet, place]


@torch.library.custom_op("hepgen::places", mutates_args=())
def _places(ptr: Tensor) -> Tensor:
    counts = ptr.diff()
    most = max(2, int(counts.max())) if counts.numel() else 2
    column = torch.arange(most, device=ptr.device)
    return torch.where(column < counts[:, None], ptr[:-1, None] + column, -1)


@_places.register_fake
def _(ptr: Tensor) -> Tensor:
    size = torch.library.get_ctx().new_dynamic_size(min=2)
    return ptr.new_empty((ptr.shape[0] - 1, size))
