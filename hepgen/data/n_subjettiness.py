r"""N-subjettiness of packed jets, compiled by numba; the kernel releases the GIL.

J. Thaler and K. Van Tilburg, "Identifying boosted objects with N-subjettiness", JHEP 03 (2011) 015,
arXiv:1011.2268, and "Maximizing boosted top identification by minimizing N-subjettiness",
JHEP 02 (2012) 093, arXiv:1108.2701. The basis of M-body phase space: K. Datta and A. Larkoski, "How
much information is in a jet?", JHEP 06 (2017) 073, arXiv:1704.08249.

Shapes: B jets, N constituents of all jets end to end, A axes at most, b exponents; offsets have
B + 1 entries.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from hepgen.data.clustering import rapidity_of, recombine

__all__ = ["n_subjettiness", "n_subjettiness_basis"]

Doubles = NDArray[np.float64]
Indices = NDArray[np.int64]


def n_subjettiness(
    p4: ArrayLike, ptr: ArrayLike, max_axes: int = 7, betas: Sequence[float] = (0.5, 1.0, 2.0)
) -> Doubles:
    r"""How far constituents are from 1, 2, ... axes.

    .. math::
        \tau_n^{(\beta)} = \frac{\sum_i p_{\mathrm{T}i} \min_{a \le n} \Delta_{ia}^\beta}
        {\sum_i p_{\mathrm{T}i}}, \quad
        \Delta_{ia}^2 = (y_i - y_a)^2 + (\phi_i - \phi_a)^2

    The axes are the n exclusive subjets of the kT algorithm in the E-scheme, as in
    arXiv:1704.08249 (from memory); no minimisation follows. Other normalisations differ by
    :math:`R_0^\beta`, here 1.

    Args:
        p4: four-momenta (E, px, py, pz) in GeV, shape (N, 4).
        ptr: offsets of the jets in N, shape (B + 1,).
        max_axes: A, the greatest n, at least 1.
        betas: exponents, > 0.

    Returns:
        Shape (B, A, b), float64; 0 where a jet has not more constituents than axes.

    Raises:
        ValueError: ``max_axes`` < 1, an exponent <= 0, or the shapes do not fit.
    """
    momenta = np.ascontiguousarray(p4, np.float64)
    offsets = np.ascontiguousarray(ptr, np.int64)
    exponents = np.array(betas, np.float64).reshape(-1)
    if momenta.ndim != 2 or momenta.shape[1] != 4:
        raise ValueError(f"p4 should have shape (N, 4), not {momenta.shape}")
    rising = offsets.ndim == 1 and len(offsets) > 0 and bool(np.all(np.diff(offsets) >= 0))
    if not rising or offsets[0] or offsets[-1] != len(momenta):
        raise ValueError(f"ptr should rise from 0 to the {len(momenta)} rows of p4")
    if max_axes < 1 or not np.all(exponents > 0):
        raise ValueError(f"max_axes should be >= 1 and betas > 0, not {max_axes} and {list(betas)}")
    result = np.zeros((len(offsets) - 1, max_axes, len(exponents)))
    nodes, children, _, _ = recombine(momenta, offsets, 1.0, np.inf)
    _taus(nodes, children, offsets, exponents, result)
    return result


def n_subjettiness_basis(p4: ArrayLike, ptr: ArrayLike, bodies: int = 8) -> Doubles:
    r"""The 3 M - 4 observables that tell M constituents from one another, for any M.

    They are :math:`\tau_n^{(1/2)}, \tau_n^{(1)}, \tau_n^{(2)}` for n = 1 to M - 2, and
    :math:`\tau_{M-1}^{(1)}, \tau_{M-1}^{(2)}`: as many as M-body phase space has dimensions.

    Args:
        p4: four-momenta (E, px, py, pz) in GeV, shape (N, 4).
        ptr: offsets of the jets in N, shape (B + 1,).
        bodies: M, at least 2.

    Returns:
        Shape (B, 3 M - 4), float64, in this order; see `n_subjettiness`.

    Raises:
        ValueError: ``bodies`` < 2, or the shapes do not fit.
    """
    if bodies < 2:
        raise ValueError(f"bodies should be at least 2, not {bodies}")
    taus = n_subjettiness(p4, ptr, bodies - 1).reshape(-1, 3 * (bodies - 1))
    return np.delete(taus, 3 * (bodies - 2), axis=1)


@njit(cache=True, nogil=True)
def _taus(
    nodes: Doubles, children: Indices, offsets: Indices, betas: Doubles, result: Doubles
) -> None:
    """Fills (B, A, b), from trees of the kT algorithm as `recombine` gives them."""
    size = offsets[-1]
    most = 0
    for jet in range(len(offsets) - 1):
        most = max(most, offsets[jet + 1] - offsets[jet])
    axes = np.empty(result.shape[1], np.int64)
    pt, y, phi = np.empty(most), np.empty(most), np.empty(most)
    squares = np.empty((result.shape[1], most))
    for jet in range(len(offsets) - 1):
        start = offsets[jet]
        n = offsets[jet + 1] - start
        total = 0.0
        for i in range(n):
            px, py = nodes[start + i, 1], nodes[start + i, 2]
            pt[i], phi[i] = np.sqrt(px * px + py * py), np.arctan2(py, px)
            y[i] = rapidity_of(nodes[start + i])
            total += pt[i]
        if not total > 0:
            continue
        # The last mergings are undone one after the other; with n axes nothing is left to measure.
        for count in range(1, min(result.shape[1], n - 1) + 1):
            merging = size + start + n - count
            new = count - 1
            if count == 1:
                axes[0] = merging - 1
            else:
                old = 0
                while axes[old] != merging:
                    old += 1
                axes[old], axes[new] = children[merging]
                _distances(nodes[axes[old]], y[:n], phi[:n], squares[old])
            _distances(nodes[axes[new]], y[:n], phi[:n], squares[new])
            for i in range(n):
                square = squares[0, i]
                for a in range(1, count):
                    square = min(square, squares[a, i])
                for b in range(len(betas)):
                    result[jet, new, b] += pt[i] * _power(square, betas[b])
            for b in range(len(betas)):
                result[jet, new, b] /= total


@njit(cache=True, nogil=True)
def _distances(axis: Doubles, y: Doubles, phi: Doubles, squares: Doubles) -> None:
    rapidity, angle = rapidity_of(axis), np.arctan2(axis[2], axis[1])
    for i in range(len(y)):
        around = np.pi - abs(np.pi - abs(phi[i] - angle))
        squares[i] = (y[i] - rapidity) ** 2 + around * around


@njit(cache=True, nogil=True)
def _power(square: float, beta: float) -> float:
    """A distance to some power."""
    if beta == 2:
        return square
    if beta == 1:
        return float(np.sqrt(square))
    if beta == 0.5:
        return float(np.sqrt(np.sqrt(square)))
    return float(square ** (beta / 2))
