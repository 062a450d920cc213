"""The hardest constituents of each jet, in a number of places that no batch changes.

Shapes: B jets, N constituents of all jets end to end, P places.
"""

from __future__ import annotations

from torch import Tensor, arange, where
from torch.nn import functional

from hepgen.data import Batch
from hepgen.taggers.ordering import by_pt

__all__ = ["hardest_places"]


def hardest_places(jets: Batch, places: int) -> Tensor:
    """Which constituent stands in which place, the highest transverse momentum first.

    Args:
        jets: packed jets with ``p4`` and ``x``; equal momenta are ordered as by `by_content`.
        places: P; what a jet has beyond them is left out.

    Returns:
        Rows of the constituents, shape (B, P), int64, -1 where there is none, for `to_dense`.
    """
    order = functional.pad(by_pt(jets), (0, 1), value=-1)  # (N + 1,)
    place = arange(places, device=order.device)
    there = place < jets.ptr.diff()[:, None]  # (B, P)
    return order[where(there, jets.ptr[:-1, None] + place, jets.x.shape[0])]
