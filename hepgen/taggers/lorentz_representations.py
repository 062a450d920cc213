r"""Irreducible representations of the Lorentz group, and how their products decompose.

The finite-dimensional ones are named by two numbers: (k, n) is :math:`\mathrm{Sym}^k(A) \otimes
\mathrm{Sym}^n(\bar A)` of the matrix :math:`A \in SL(2, \mathbb C)` of a transformation, that is
spin k/2 beside spin n/2, of dimension (k + 1)(n + 1). A scalar is (0, 0), a four-vector (1, 1), the
parts of an antisymmetric tensor (2, 0) and (0, 2), a symmetric traceless tensor (2, 2). Everything
here is float64, in the basis of the states :math:`|k/2, m\rangle |n/2, m'\rangle`, m and m' from
highest to lowest, m' running fastest.

A complex number is two reals, real and imaginary part, the last axis but one of a tensor.

Shapes: D = (k + 1)(n + 1) components.
"""

from __future__ import annotations

from functools import lru_cache
from math import factorial, prod, sqrt

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = [
    "Irrep",
    "clebsch_gordan",
    "decompose",
    "dimension",
    "multiply",
    "projector",
    "representation_matrix",
    "spinor_matrix",
    "vector_components",
]

Irrep = tuple[int, int]
"""(k, n): spin k/2 of the group's matrix and spin n/2 of its complex conjugate."""

Complex = NDArray[np.complex128]
PAULI: Complex = np.array([[[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])


def dimension(irrep: Irrep) -> int:
    """(k + 1)(n + 1)."""
    k, n = irrep
    return (k + 1) * (n + 1)


def decompose(first: Irrep, second: Irrep, largest: int) -> list[Irrep]:
    """The irreducible parts of a product, those of spins above largest / 2 left out.

    Args:
        first: (k1, n1).
        second: (k2, n2).
        largest: greatest k and n that are kept.

    Returns:
        (k, n) with k from |k1 - k2| to k1 + k2 in steps of two, and n likewise.
    """
    ks, ns = (
        range(abs(a - b), min(a + b, largest) + 1, 2) for a, b in zip(first, second, strict=True)
    )
    return [(k, n) for k in ks for n in ns]


@lru_cache
def clebsch_gordan(k1: int, k2: int, k: int) -> NDArray[np.float64]:
    r"""Coefficients :math:`\langle j_1 m_1; j_2 m_2 | j m \rangle` of SU(2) with j = k/2.

    By Racah's formula, in the phases of Condon and Shortley.

    Args:
        k1: twice the first spin.
        k2: twice the second spin.
        k: twice the total spin.

    Returns:
        Shape (k + 1, k1 + 1, k2 + 1), each m from highest to lowest.

    Raises:
        ValueError: the two spins cannot make the total.
    """
    if not (abs(k1 - k2) <= k <= k1 + k2 and (k1 + k2 - k) % 2 == 0):
        raise ValueError(f"spins {k1}/2 and {k2}/2 do not make {k}/2")
    result = np.zeros((k + 1, k1 + 1, k2 + 1))
    front = (k + 1) * factorial((k + k1 - k2) // 2) * factorial((k - k1 + k2) // 2)
    front *= factorial((k1 + k2 - k) // 2)
    for a in range(k1 + 1):
        for b in range(k2 + 1):
            # Lowered by a of k1 and b of k2: c of k.
            c = a + b - (k1 + k2 - k) // 2
            if not 0 <= c <= k:
                continue
            steps = (k1 - a, a, k2 - b, b, k - c, c)
            squared = front * prod(map(factorial, steps)) / factorial((k1 + k2 + k) // 2 + 1)
            total = 0.0
            for s in range((k1 + k2 - k) // 2 + 1):
                below = (
                    s,
                    (k1 + k2 - k) // 2 - s,
                    a - s,
                    k2 - b - s,
                    (k - k2 + k1) // 2 - a + s,
                    (k - k1 + k2) // 2 - (k2 - b) + s,
                )
                if min(below) >= 0:
                    total += (-1) ** s / prod(map(factorial, below))
            result[c, a, b] = sqrt(squared) * total
    result.flags.writeable = False
    return result


def projector(first: Irrep, second: Irrep, target: Irrep) -> Tensor:
    """What takes the product of two representations to one of its irreducible parts.

    Args:
        first: (k1, n1).
        second: (k2, n2).
        target: (k, n).

    Returns:
        Real, shape (D, D1 D2), float64, with orthonormal rows.

    Raises:
        ValueError: the target is no part of the product.
    """
    left, right = (clebsch_gordan(*spins) for spins in zip(first, second, target, strict=True))
    both = np.einsum("kab,ncd->knacbd", left, right)
    return torch.from_numpy(both.reshape(dimension(target), -1).copy())


def multiply(first: Tensor, second: Tensor) -> Tensor:
    """All products of the components of two complex vectors.

    Args:
        first: shape (..., 2, D1).
        second: shape (..., 2, D2), the same but for the last axis, or broadcast.

    Returns:
        Shape (..., 2, D1 D2), the second index running fastest.
    """
    a, b = first[..., :, None], second[..., None, :]  # (..., 2, D1, 1), (..., 2, 1, D2)
    ar, ai, br, bi = a[..., 0, :, :], a[..., 1, :, :], b[..., 0, :, :], b[..., 1, :, :]
    return torch.stack([ar * br - ai * bi, ar * bi + ai * br], dim=-3).flatten(-2)


def vector_components(p4: Tensor) -> Tensor:
    r"""A four-vector in the representation (1, 1): the matrix :math:`(E + \sigma p) / \sqrt 2`.

    Args:
        p4: (E, px, py, pz), shape (..., 4).

    Returns:
        Shape (..., 2, 4); the sum of the squares of the 8 numbers is :math:`E^2 + |p|^2`.
    """
    e, x, y, z = (p4 * 0.5**0.5).unbind(dim=-1)
    nothing = torch.zeros_like(e)
    real = torch.stack([e + z, x, x, e - z], dim=-1)
    return torch.stack([real, torch.stack([nothing, -y, y, nothing], dim=-1)], dim=-2)


def spinor_matrix(rotation: NDArray[np.float64], boost: NDArray[np.float64]) -> Complex:
    r"""The matrix :math:`A = e^{\zeta \sigma / 2}\, e^{-i \theta \sigma / 2}` of a transformation.

    A vector X (see `vector_components`) goes to :math:`A X A^\dagger`: first it is turned by
    :math:`\theta`, then it gets the rapidity :math:`\zeta`.

    Args:
        rotation: axis times angle, in radians, shape (3,).
        boost: direction times rapidity, shape (3,).

    Returns:
        Shape (2, 2), of determinant 1.
    """
    angle, rapidity = np.linalg.norm(rotation), np.linalg.norm(boost)
    turn: Complex = np.cos(angle / 2) * np.eye(2, dtype=complex)
    push: Complex = np.cosh(rapidity / 2) * np.eye(2, dtype=complex)
    if angle:
        turn -= 1j * np.sin(angle / 2) * np.tensordot(rotation / angle, PAULI, 1)
    if rapidity:
        push += np.sinh(rapidity / 2) * np.tensordot(boost / rapidity, PAULI, 1)
    return np.asarray(push @ turn, np.complex128)


def representation_matrix(matrix: Complex, irrep: Irrep) -> Complex:
    """How the components of a representation transform.

    Args:
        matrix: A of the transformation, shape (2, 2).
        irrep: (k, n).

    Returns:
        Shape (D, D).
    """
    k, n = irrep
    both = np.kron(_symmetric_power(matrix, k), _symmetric_power(matrix.conj(), n))
    return np.asarray(both, np.complex128)


def _symmetric_power(matrix: Complex, k: int) -> Complex:
    """The representation of spin k/2 from that of spin 1/2, one half at a time."""
    power: Complex = np.ones((1, 1), complex)
    for spin in range(k):
        top: Complex = clebsch_gordan(spin, 1, spin + 1).reshape(spin + 2, -1).astype(complex)
        power = np.asarray(top @ np.kron(power, matrix) @ top.T, complex)
    return power
