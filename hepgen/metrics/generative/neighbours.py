"""Nearest rows by Euclidean distance, by brute force: exact in any dimension, in bounded memory.

Shapes: B rows, Q queries, F features, k neighbours.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hepgen.metrics.generative.kernel_sums import blocks, squared_distances
from hepgen.metrics.samples import Floats

__all__ = ["nearest"]


def nearest(
    queries: Floats, points: Floats, k: int, *, same: bool = False
) -> tuple[Floats, NDArray[np.int64]]:
    """The k nearest points of each query.

    Candidates come from one product of matrices, their distances from differences: two equal rows
    are at distance zero exactly.

    Args:
        queries: (Q, F).
        points: (B, F).
        k: how many.
        same: queries are the points themselves, and none is its own neighbour.

    Returns:
        Distances (Q, k) in ascending order, and the indices of the points.

    Raises:
        ValueError: there are fewer than k points.
    """
    if k < 1 or k > len(points) - same:
        raise ValueError(f"{k} neighbours are wanted of {len(points) - same} rows")
    centre = points.mean(axis=0)
    near, shifted = points - centre, queries - centre
    distances = np.empty((len(queries), k))
    indices = np.empty((len(queries), k), np.int64)
    for rows in blocks(len(queries), len(points)):
        values = squared_distances(shifted[rows], near)
        if same:
            index = np.arange(len(values))
            values[index, rows.start + index] = np.inf
        chosen = np.argpartition(values, k - 1, axis=1)[:, :k]
        exact = np.stack(
            [np.linalg.norm(queries[rows] - points[column], axis=1) for column in chosen.T], axis=1
        )
        order = np.argsort(exact, axis=1, kind="stable")
        distances[rows] = np.take_along_axis(exact, order, axis=1)
        indices[rows] = np.take_along_axis(chosen, order, axis=1)
    return distances, indices
