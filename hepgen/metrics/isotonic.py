"""The rising function that is nearest to given values: what calibrates probabilities.

M. Ayer, H. D. Brunk, G. M. Ewing, W. T. Reid and E. Silverman, Ann. Math. Statist. 26 (1955) 641:
pool adjacent violators.

Shapes: B values, R knots.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from hepgen.metrics.samples import Floats

__all__ = ["isotonic_regression"]


def isotonic_regression(
    x: ArrayLike, y: ArrayLike, weights: ArrayLike | None = None
) -> tuple[Floats, Floats]:
    """The rising function that is nearest to y in the sense of least squares.

    Args:
        x: shape (B,).
        y: shape (B,).
        weights: positive, shape (B,).

    Returns:
        Knots (R,) and values there (R,); the function is linear in between and constant outside.

    Raises:
        ValueError: no values, or shapes that differ, or weights that are not positive.
    """
    places, values = np.asarray(x, np.float64), np.asarray(y, np.float64)
    weight = np.ones(places.shape) if weights is None else np.asarray(weights, np.float64)
    if places.ndim != 1 or not len(places) or {values.shape, weight.shape} != {places.shape}:
        raise ValueError(
            f"wanted equally many x, y and weights, not {places.shape}, {values.shape}, "
            f"{weight.shape}"
        )
    if not (weight > 0).all():
        raise ValueError("weights should be positive")
    knots, index = np.unique(places, return_inverse=True)
    total = np.bincount(index, weight)
    mean = np.bincount(index, weight * values) / total
    fitted = _pooled(mean.tolist(), total.tolist())
    # Of equal values in a row the ends tell all.
    inner = (fitted[1:-1] == fitted[:-2]) & (fitted[1:-1] == fitted[2:])
    kept = np.concatenate([[True], ~inner, [True]])[: len(knots)]
    return knots[kept], fitted[kept]


def _pooled(mean: list[float], weight: list[float]) -> Floats:
    """Pool adjacent violators: blocks are merged as long as one is not above the one before."""
    values: list[float] = []
    weights: list[float] = []
    sizes: list[int] = []
    for value, w in zip(mean, weight, strict=True):
        size = 1
        while values and values[-1] >= value:
            before = weights.pop()
            value = (values.pop() * before + value * w) / (before + w)
            w, size = w + before, size + sizes.pop()
        values.append(value)
        weights.append(w)
        sizes.append(size)
    return np.repeat(values, sizes)
