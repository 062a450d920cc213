"""Products of multivectors: the sum over all pairs of slots, and numerical gradients."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hepgen.data.blades import multiply, multiply_backward

# Any algebra whose blades multiply as bits are added: here with signs from nowhere.
TARGETS = np.bitwise_xor.outer(np.arange(16), np.arange(16)).astype(np.int8)
SIGNS = np.random.default_rng(0).choice([-1, 1], (16, 16)).astype(np.int8)
N, D = 3, 2


def parts(rows: NDArray, sides: bool) -> list[NDArray]:
    """Rows (8, N, 2 sides, 2 halves, D), or (8, N, 2, D), as three arrays."""
    assert rows.shape == ((8, N, 2, 2, D) if sides else (8, N, 2, D))
    return [np.ascontiguousarray(part) for part in (rows[0], rows[1:5], rows[5:])]


def products(rows: NDArray) -> NDArray:
    out = np.zeros((8, N, 2, D))
    for a in range(16):
        for b in range(16):
            left, right = rows[a // 2, :, 0, a % 2], rows[b // 2, :, 1, b % 2]
            c = TARGETS[a, b]
            out[c // 2, :, c % 2] += SIGNS[a, b] * left * right
    return out


def test_products_are_sums_over_all_pairs_of_slots() -> None:
    rows = np.random.default_rng(1).normal(size=(8, N, 2, 2, D))
    for dtype, tolerance in ((np.float64, 1e-12), (np.float32, 1e-5)):
        out = parts(np.full((8, N, 2, D), np.nan, dtype), sides=False)
        multiply(*parts(rows.astype(dtype), sides=True), SIGNS, TARGETS, *out)
        for got, expected in zip(out, parts(products(rows), sides=False), strict=True):
            np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)


def test_gradients_are_those_of_finite_differences() -> None:
    rng = np.random.default_rng(2)
    rows, given = rng.normal(size=(8, N, 2, 2, D)), rng.normal(size=(8, N, 2, D))
    into = parts(np.full((8, N, 2, 2, D), np.nan), sides=True)
    arguments = (SIGNS, TARGETS, *parts(given, sides=False), *into)
    multiply_backward(*parts(rows, sides=True), *arguments)
    expected = np.empty_like(rows)
    for place in np.ndindex(rows.shape):
        # Linear in each number, so that the difference is exact.
        step = np.zeros_like(rows)
        step[place] = 1.0
        expected[place] = ((products(rows + step) - products(rows)) * given).sum()
    for got, part in zip(into, parts(expected, sides=True), strict=True):
        np.testing.assert_allclose(got, part, rtol=1e-10, atol=1e-10)
