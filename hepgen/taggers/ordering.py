"""Orders of the constituents of each jet that depend on what they are, not on the file.

Shapes: B jets, N constituents of all jets end to end.
"""

from __future__ import annotations

from torch import Tensor, arange

from hepgen.data import Batch

__all__ = ["by_content", "by_pt"]


def by_content(jets: Batch) -> Tensor:
    """Rows of the constituents, jet by jet, in an order of their angles and features.

    Where equals are told apart by what comes first, such as equally near neighbours, this is an
    order that the file does not decide.

    Args:
        jets: packed jets with ``x`` and, if the order should begin with angles, ``pos``.

    Returns:
        Shape (N,), int64.
    """
    columns = arange(1, jets.x.shape[1] + 1, dtype=jets.x.dtype, device=jets.x.device)
    mixed: Tensor = (jets.x.detach() * columns.sqrt()).sum(dim=1)
    order = mixed.argsort(stable=True)
    keys = [] if jets.get("pos") is None else [jets.pos[:, 1], jets.pos[:, 0]]
    for key in (*keys, jets.batch):
        order = order[key[order].argsort(stable=True)]
    return order


def by_pt(jets: Batch) -> Tensor:
    """Rows of the constituents, jet by jet, the highest transverse momentum first.

    Args:
        jets: packed jets with ``p4`` and ``x``; equal momenta are ordered as by `by_content`.

    Returns:
        Shape (N,), int64.
    """
    pt2 = jets.p4[:, 1].square() + jets.p4[:, 2].square()
    order = by_content(jets)
    order = order[pt2[order].argsort(stable=True, descending=True)]
    rows: Tensor = order[jets.batch[order].argsort(stable=True)]
    return rows
