r"""What two constituents have to do with each other: four logarithms for each unordered pair.

H. Qu, C. Li and S. Qian, "Particle transformer for jet tagging", ICML 2022, arXiv:2202.03772,
eq. 3, after F. Dreyer and H. Qu, "Jet tagging in the Lund plane with graph networks",
JHEP 03 (2021) 052, arXiv:2012.08526.

Shapes: N constituents of all jets end to end, E unordered pairs.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hepgen import kinematics

__all__ = ["pair_features"]

# Below it a logarithm is that of it.
LEAST = 1e-8


def pair_features(p4: Tensor, pairs: Tensor) -> Tensor:
    r"""The logarithms of :math:`k_\mathrm{T}`, z, :math:`\Delta` and :math:`m^2`.

    With the distance :math:`\Delta` in rapidity and azimuth,
    :math:`k_\mathrm{T} = \min(p_{\mathrm{T}i}, p_{\mathrm{T}j})\,\Delta`,
    :math:`z = \min(p_{\mathrm{T}i}, p_{\mathrm{T}j}) / (p_{\mathrm{T}i} + p_{\mathrm{T}j})` and
    :math:`m^2 = (p_i + p_j)^2`, each at least 1e-8.

    In the type of the momenta, step by step as in weaver-core: of light constituents the mass is
    what rounding left of it, networks are trained on these numbers, and their weights give the same
    scores only for the same. One thing differs: where weaver's rapidity is infinite, for momenta
    that rounding puts along the beam, it is that of `hepgen.kinematics.rapidity` here, 30 at most.

    Args:
        p4: four-momenta (E, px, py, pz) in GeV, shape (N, 4).
        pairs: rows of the two constituents, shape (2, E), int64.

    Returns:
        Shape (E, 4), finite, in the order ln kT, ln z, ln Delta, ln m2; lengths in GeV.
    """
    pt, phi, y = kinematics.pt(p4), kinematics.phi(p4), _rapidity(p4)
    first, second = pairs
    one, other = pt.index_select(0, first), pt.index_select(0, second)  # (E,)
    delta = kinematics.delta_r(
        y.index_select(0, first),
        phi.index_select(0, first),
        y.index_select(0, second),
        phi.index_select(0, second),
    )
    softer = torch.minimum(one, other)
    energy, px, py, pz = (p4.index_select(0, first) + p4.index_select(0, second)).unbind(1)
    mass_squared = energy.square() - (px.square() + py.square() + pz.square())
    share = softer / (one + other).clamp(min=LEAST)
    values = torch.stack([softer * delta, share, delta, mass_squared], dim=1)  # (E, 4)
    return values.clamp(min=LEAST).log()


def _rapidity(p4: Tensor) -> Tensor:
    """Rapidities (N,) as weaver rounds them, finite where its are not."""
    energy, pz = p4[:, 0], p4[:, 3]
    ratio = 1 + 2 * pz / (energy - pz).clamp(min=1e-20)
    regular = (ratio > 0) & (ratio < torch.inf)
    y = 0.5 * torch.where(regular, ratio, 1).log()
    return torch.where(regular, y, kinematics.rapidity(p4).clamp(-30, 30))
