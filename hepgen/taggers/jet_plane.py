r"""The plane of a jet, :math:`(\Delta\eta, \Delta\phi)`: shares of momentum, centre and axis.

Shapes: B jets, N constituents of all jets end to end.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hepgen.data import Batch
from hepgen.kinematics import pt
from hepgen.taggers.segments import segment_sum

__all__ = ["along_axis", "centred", "pt_shares"]


def pt_shares(jets: Batch) -> Tensor:
    r"""Shares :math:`z_i = p_{\mathrm T,i} / \sum_j p_{\mathrm T,j}` of the momentum of each jet.

    Args:
        jets: packed jets with ``p4``.

    Returns:
        Shape (N, 1), of the type of ``p4``; in a jet they sum to 1, or to 0 if none has momentum.
    """
    momenta = pt(jets.p4)[:, None]  # (N, 1)
    total = segment_sum(momenta, jets.ptr).clamp(min=torch.finfo(momenta.dtype).tiny)  # (B, 1)
    shares: Tensor = momenta / total.index_select(0, jets.batch)
    return shares


def centred(jets: Batch, shares: Tensor) -> Tensor:
    r"""Angles to the axis weighted by transverse momentum, :math:`r_i - \sum_j z_j r_j`.

    Args:
        jets: packed jets with ``pos``.
        shares: z of the constituents, shape (N, 1).

    Returns:
        Shape (N, 2), of the type of ``pos``.
    """
    centre = segment_sum(shares.to(jets.pos.dtype) * jets.pos, jets.ptr)  # (B, 2)
    angles: Tensor = jets.pos - centre.index_select(0, jets.batch)
    return angles


def along_axis(angles: Tensor, shares: Tensor, jets: Batch) -> Tensor:
    r"""Angles turned so that the principal axis of each jet lies along the second of them.

    The axis is that of the greater eigenvalue of :math:`\sum_i z_i r_i r_i^{\mathsf T}`. Of its two
    ends, that goes up where :math:`\sum_i z_i u_i^3` of the component u along it is positive. A jet
    without an axis, as of one constituent, stays as it is.

    Args:
        angles: centred angles, shape (N, 2).
        shares: z of the constituents, shape (N, 1).
        jets: the packed jets that they are of.

    Returns:
        Shape (N, 2).
    """
    x, y = angles.unbind(dim=1)
    moments = torch.stack([x.square() - y.square(), 2 * x * y], dim=1)  # (N, 2)
    difference, product = segment_sum(shares * moments, jets.ptr).unbind(dim=1)  # (B,), (B,)
    # The axis lies at this angle from the first direction, and is to lie at pi / 2.
    angle = 0.5 * torch.atan2(product, difference)
    angle = torch.where((difference == 0) & (product == 0), torch.pi / 2, angle)
    axis = torch.stack([angle.cos(), angle.sin()], dim=1).index_select(0, jets.batch)  # (N, 2)
    along = (angles * axis).sum(dim=1, keepdim=True)  # (N, 1)
    across = x[:, None] * axis[:, 1:] - y[:, None] * axis[:, :1]  # (N, 1)
    skewness = segment_sum(shares * along**3, jets.ptr)  # (B, 1)
    end = torch.where(skewness < 0, -1.0, 1.0).to(angles.dtype).index_select(0, jets.batch)
    return torch.cat([across, along], dim=1) * end
