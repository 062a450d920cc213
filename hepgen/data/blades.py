"""Products of multivectors in one pass, compiled by numba; both functions release the GIL.

A product of blades is a blade with a sign, so that with two tables this holds for every algebra.

Shapes: N multivectors of D channels each, 16 blades. Those of a multivector stand in slots of 8
rows x 2 halves; the first row is in one array, rows 1 to 4 in the next, 5 to 7 in the last.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["multiply", "multiply_backward"]

Values = NDArray[Any]


@njit(cache=True, nogil=True)
def multiply(
    first: Values,
    middle: Values,
    last: Values,
    signs: NDArray[np.int8],
    targets: NDArray[np.int8],
    out_first: Values,
    out_middle: Values,
    out_last: Values,
) -> None:
    """Products of left and right factors.

    Args:
        first: (N, 2 sides, 2 halves, D) row 0 of left and right factors.
        middle: (4, N, 2, 2, D) rows 1 to 4.
        last: (3, N, 2, 2, D) rows 5 to 7.
        signs: (16, 16) sign of the product of two slots.
        targets: (16, 16) slot of it.
        out_first: (N, 2 halves, D) row 0 of the products; written, as the others.
        out_middle: (4, N, 2, D).
        out_last: (3, N, 2, D).
    """
    width = first.shape[3]
    x, y = np.empty((16, width), first.dtype), np.empty((16, width), first.dtype)
    out = np.empty((16, width), first.dtype)
    for n in range(len(first)):
        _factors(first, middle, last, n, x, y)
        out[:] = 0
        for a in range(16):
            for b in range(16):
                sign, target = first.dtype.type(signs[a, b]), targets[a, b]
                for d in range(width):
                    out[target, d] += sign * x[a, d] * y[b, d]
        for half in range(2):
            out_first[n, half] = out[half]
            for row in range(4):
                out_middle[row, n, half] = out[2 + 2 * row + half]
            for row in range(3):
                out_last[row, n, half] = out[10 + 2 * row + half]


@njit(cache=True, nogil=True)
def multiply_backward(
    first: Values,
    middle: Values,
    last: Values,
    signs: NDArray[np.int8],
    targets: NDArray[np.int8],
    grad_first: Values,
    grad_middle: Values,
    grad_last: Values,
    into_first: Values,
    into_middle: Values,
    into_last: Values,
) -> None:
    """Gradients of the factors from those of the products.

    Args:
        first: as in `multiply`, like ``middle``, ``last``, ``signs`` and ``targets``.
        middle: (4, N, 2, 2, D).
        last: (3, N, 2, 2, D).
        signs: (16, 16).
        targets: (16, 16).
        grad_first: (N, 2, D) gradient of ``out_first``, and so on.
        grad_middle: (4, N, 2, D).
        grad_last: (3, N, 2, D).
        into_first: gradient of ``first``, of its shape; written, as the others.
        into_middle: (4, N, 2, 2, D).
        into_last: (3, N, 2, 2, D).
    """
    width = first.shape[3]
    x, y = np.empty((16, width), first.dtype), np.empty((16, width), first.dtype)
    by_x, by_y = np.empty((16, width), first.dtype), np.empty((16, width), first.dtype)
    out = np.empty((16, width), first.dtype)
    for n in range(len(first)):
        _factors(first, middle, last, n, x, y)
        for half in range(2):
            out[half] = grad_first[n, half]
            for row in range(4):
                out[2 + 2 * row + half] = grad_middle[row, n, half]
            for row in range(3):
                out[10 + 2 * row + half] = grad_last[row, n, half]
        by_x[:] = 0
        by_y[:] = 0
        for a in range(16):
            for b in range(16):
                sign, target = first.dtype.type(signs[a, b]), targets[a, b]
                for d in range(width):
                    signed = sign * out[target, d]
                    by_x[a, d] += signed * y[b, d]
                    by_y[b, d] += signed * x[a, d]
        for half in range(2):
            into_first[n, 0, half], into_first[n, 1, half] = by_x[half], by_y[half]
            for row in range(4):
                into_middle[row, n, 0, half] = by_x[2 + 2 * row + half]
                into_middle[row, n, 1, half] = by_y[2 + 2 * row + half]
            for row in range(3):
                into_last[row, n, 0, half] = by_x[10 + 2 * row + half]
                into_last[row, n, 1, half] = by_y[10 + 2 * row + half]


@njit(cache=True, nogil=True)
def _factors(first: Values, middle: Values, last: Values, n: int, x: Values, y: Values) -> None:
    """Left and right factor of one product, slot by slot."""
    for half in range(2):
        x[half], y[half] = first[n, 0, half], first[n, 1, half]
        for row in range(4):
            x[2 + 2 * row + half] = middle[row, n, 0, half]
            y[2 + 2 * row + half] = middle[row, n, 1, half]
        for row in range(3):
            x[10 + 2 * row + half] = last[row, n, 0, half]
            y[10 + 2 * row + half] = last[row, n, 1, half]
