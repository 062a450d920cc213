r"""The plane of a jet, :math:`(\Delta\eta, \Delta\phi)`: shares of momentum, centre and axis.

Shapes: B jets, N constituents of all jets end to end; ``ptr`` has B + 1 entries.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hepgen.kinematics import pt
from hepgen.taggers.segments import segment_sum

__all__ = ["along_axis", "centred", "pt_shares"]


def pt_shares(p4: Tensor, ptr: Tensor) -> Tensor:
    r"""Shares :math:`z_i = p_{\mathrm T,i} / \sum_j p_{\mathrm T,j}` of the momentum of each jet.

    Args:
        p4: four-momenta (E, px, py, pz) in GeV, shape (N, 4).
        ptr: offsets of the jets in N, shape (B + 1,), int64.

    Returns:
        Shape (N, 1), of the type of ``p4``; in a jet they sum to 1, or to 0 if none has momentum.
    """
    momenta = pt(p4)[:, None]  # (N, 1)
    total = segment_sum(momenta, ptr).clamp(min=torch.finfo(momenta.dtype).tiny)  # (B, 1)
    return momenta / _spread(total, ptr, p4.shape[0])


def centred(pos: Tensor, shares: Tensor, ptr: Tensor) -> Tensor:
    r"""Angles to the axis weighted by transverse momentum, :math:`r_i - \sum_j z_j r_j`.

    Args:
        pos: :math:`(\Delta\eta, \Delta\phi)`, shape (N, 2).
        shares: z of the constituents, shape (N, 1).
        ptr: offsets of the jets in N, shape (B + 1,), int64.

    Returns:
        Shape (N, 2), of the type of ``pos``.
    """
    centre = segment_sum(shares.to(pos.dtype) * pos, ptr)  # (B, 2)
    return pos - _spread(centre, ptr, pos.shape[0])


def along_axis(angles: Tensor, shares: Tensor, ptr: Tensor) -> Tensor:
    r"""Angles turned so that the principal axis of each jet lies along the second of them.

    The axis is that of the greater eigenvalue of :math:`\sum_i z_i r_i r_i^{\mathsf T}`. Of its two
    ends, that goes up where :math:`\sum_i z_i u_i^3` of the component u along it is positive. A jet
    without an axis, as of one constituent, stays as it is.

    Args:
        angles: centred angles, shape (N, 2).
        shares: z of the constituents, shape (N, 1).
        ptr: offsets of the jets in N, shape (B + 1,), int64.

    Returns:
        Shape (N, 2).
    """
    x, y = angles.unbind(dim=1)
    moments = torch.stack([x.square() - y.square(), 2 * x * y], dim=1)  # (N, 2)
    difference, product = segment_sum(shares * moments, ptr).unbind(dim=1)  # (B,), (B,)
    # The axis lies at this angle from the first direction, and is to lie at pi / 2.
    angle = 0.5 * torch.atan2(product, difference)
    angle = torch.where((difference == 0) & (product == 0), torch.pi / 2, angle)
    axis = torch.stack([angle.cos(), angle.sin()], dim=1)  # (B, 2)
    axis = _spread(axis, ptr, angles.shape[0])  # (N, 2)
    along = (angles * axis).sum(dim=1, keepdim=True)  # (N, 1)
    across = x[:, None] * axis[:, 1:] - y[:, None] * axis[:, :1]  # (N, 1)
    skewness = segment_sum(shares * along**3, ptr)  # (B, 1)
    end = torch.where(skewness < 0, -1.0, 1.0).to(angles.dtype)
    return torch.cat([across, along], dim=1) * _spread(end, ptr, angles.shape[0])


def _spread(values: Tensor, ptr: Tensor, size: int) -> Tensor:
    """Of each jet's values (B, D) one row for each of its constituents, (N, D)."""
    return values.repeat_interleave(ptr.diff(), dim=0, output_size=size)
