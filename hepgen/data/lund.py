r"""Lund declusterings: the splittings of a jet's Cambridge/Aachen tree, and how they hang together.

F. A. Dreyer, G. P. Salam and G. Soyez, "The Lund jet plane", JHEP 12 (2018) 064, arXiv:1807.04758.

For a splitting into a and, of smaller transverse momentum, b, with rapidities y and azimuths
:math:`\phi`,

.. math::
    \Delta = \sqrt{(y_a - y_b)^2 + (\phi_a - \phi_b)^2}, \quad
    z = \frac{p_{\mathrm{T}b}}{p_{\mathrm{T}a} + p_{\mathrm{T}b}}, \quad
    k_\mathrm{T} = p_{\mathrm{T}b}\,\Delta, \quad
    m^2 = (p_a + p_b)^2, \quad
    \psi = \arctan\frac{y_b - y_a}{\phi_b - \phi_a} .

Shapes: B jets, N constituents of all jets end to end, S splittings of all jets end to end, E edges.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor

from hepgen.data.clustering import rapidity_of, recombine

__all__ = ["LUND_COORDINATES", "Lund", "decluster", "lund_trees"]

LUND_COORDINATES = ("ln_z", "ln_delta", "psi", "ln_m", "ln_kt")
"""Names of the columns of `Lund.x`."""

Doubles = NDArray[np.float64]
Indices = NDArray[np.int64]

# What a logarithm is taken of is at least this: of exactly collinear or soft constituents.
_LEAST = 1e-10


class Lund(NamedTuple):
    """The splittings of B jets.

    A jet of n constituents has n - 1, or none; the widest first, so that the first of a jet is the
    root of its tree.

    Attributes:
        x: ln z, ln Delta, psi in [-pi, pi], ln (m / GeV) and ln (kT / GeV) (`LUND_COORDINATES`),
            shape (S, 5), float64. Logarithms are at least that of 1e-10.
        edges: from each splitting to those that its two branches undergo next, and back, shape
            (2, E), as in torch_geometric.
        ptr: offsets of the jets in S, shape (B + 1,).
    """

    x: Tensor
    edges: Tensor
    ptr: Tensor


def lund_trees(p4: Tensor, ptr: Tensor) -> Lund:
    """Clusters each jet with the Cambridge/Aachen algorithm and undoes it.

    No gradient flows through. Computed on the CPU in float64. One operator to torch.compile and
    torch.export, ``hepgen::lund_trees``.

    Args:
        p4: four-momenta (E, px, py, pz) in GeV, shape (N, 4).
        ptr: offsets of the jets in N, shape (B + 1,), int64.

    Returns:
        All splittings, of primary and further branches, on the device of the momenta.
    """
    return Lund(*_lund_trees(p4.detach(), ptr))


@torch.library.custom_op("hepgen::lund_trees", mutates_args=())
def _lund_trees(p4: Tensor, ptr: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    momenta = p4.to("cpu", torch.float64).contiguous().numpy()
    arrays = decluster(momenta, ptr.cpu().numpy())
    x, edges, offsets = (torch.from_numpy(array).to(p4.device) for array in arrays)
    return x, edges, offsets


@_lund_trees.register_fake
def _(p4: Tensor, ptr: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    context = torch.library.get_ctx()
    splittings, edges = context.new_dynamic_size(), context.new_dynamic_size()
    x = p4.new_empty((splittings, len(LUND_COORDINATES)), dtype=torch.float64)
    return x, ptr.new_empty((2, edges)), torch.empty_like(ptr)


@njit(cache=True, nogil=True)
def decluster(p4: Doubles, offsets: Indices) -> tuple[Doubles, Indices, Indices]:
    """What `lund_trees` does, on numpy arrays.

    Args:
        p4: (N, 4) four-momenta (E, px, py, pz) in GeV.
        offsets: (B + 1,) jets in N.

    Returns:
        The values (S, 5), edges (2, E) and offsets (B + 1,) of `Lund`.
    """
    size = len(p4)
    nodes, children, parents, _ = recombine(p4, offsets, 0.0, np.inf)
    starts, linked = np.zeros_like(offsets), 0
    for jet in range(len(offsets) - 1):
        count = max(0, offsets[jet + 1] - offsets[jet] - 1)
        starts[jet + 1] = starts[jet] + count
        linked += max(0, count - 1)
    x, edges = np.empty((starts[-1], 5)), np.empty((2, 2 * linked), np.int64)
    edge = 0
    for jet in range(len(offsets) - 1):
        # The last merging is the first splitting.
        top = size + offsets[jet] + starts[jet + 1] - starts[jet] - 1
        for place in range(starts[jet], starts[jet + 1]):
            row = top - (place - starts[jet])
            hard, soft = children[row]
            _coordinates(nodes[hard], nodes[soft], nodes[row], x[place])
            if parents[row] >= 0:
                above = starts[jet] + top - parents[row]
                edges[0, edge], edges[1, edge] = above, place
                edges[0, edge + 1], edges[1, edge + 1] = place, above
                edge += 2
    return x, edges, starts


@njit(cache=True, nogil=True)
def _coordinates(hard: Doubles, soft: Doubles, both: Doubles, out: Doubles) -> None:
    pt_hard, pt_soft = np.hypot(hard[1], hard[2]), np.hypot(soft[1], soft[2])
    y = rapidity_of(soft) - rapidity_of(hard)
    phi = np.arctan2(soft[2], soft[1]) - np.arctan2(hard[2], hard[1])
    if phi > np.pi:
        phi -= 2 * np.pi
    elif phi < -np.pi:
        phi += 2 * np.pi
    delta = np.hypot(y, phi)
    square = max(0.0, _mass_squared(both))
    if abs(y) < 20:
        # The same without the difference of large numbers, where rounding leaves nothing of m^2.
        square, other = max(0.0, _mass_squared(hard)), max(0.0, _mass_squared(soft))
        product = pt_hard * pt_soft
        masses = np.sqrt((pt_hard**2 + square) * (pt_soft**2 + other)) - product
        angles = np.sinh(y / 2) ** 2 + np.sin(phi / 2) ** 2
        square += other + 2 * (masses * np.cosh(y) + 2 * product * angles)
    out[0] = np.log(max(pt_soft / max(pt_hard + pt_soft, 1e-300), _LEAST))
    out[1] = np.log(max(delta, _LEAST))
    out[2] = np.arctan2(y, phi)
    out[3] = np.log(max(square, _LEAST**2)) / 2
    out[4] = np.log(max(pt_soft * delta, _LEAST))


@njit(cache=True, nogil=True)
def _mass_squared(p4: Doubles) -> float:
    momentum = np.sqrt(p4[1] ** 2 + p4[2] ** 2 + p4[3] ** 2)
    return float((p4[0] - momentum) * (p4[0] + momentum))
