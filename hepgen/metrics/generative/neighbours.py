"""Nearest rows by Euclidean distance, by brute force: exact in any dimension, in bounded memory.

Tables of voxels are as large as the memory of many machines: they may be float32, are looked at
tile by tile and never copied. Arithmetic is in float64.

Shapes: B rows, Q queries, F features, k neighbours, S groupings.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from hepgen.metrics.generative.kernel_sums import squared_distances, tiles
from hepgen.metrics.samples import Floats

__all__ = ["distance_tiles", "nearest", "neighbour_radii"]


def distance_tiles(
    first: Floats, second: Floats, centre: Floats
) -> Iterator[tuple[slice, slice, Floats]]:
    """Squared distances of all pairs, tile by tile.

    Args:
        first: (B, F), float32 or float64.
        second: (B', F), likewise.
        centre: (F,), near which both are: what is far from it has distances that are rounded.

    Yields:
        Rows, columns and their squared distances, band by band.
    """
    band, near = slice(0, 0), np.empty((0, first.shape[1]))
    for rows, columns in tiles(len(first), len(second)):
        if rows != band:
            band, near = rows, first[rows] - centre
        yield rows, columns, squared_distances(near, second[columns] - centre)


def nearest(
    queries: Floats, points: Floats, k: int, *, same: bool = False
) -> tuple[Floats, NDArray[np.int64]]:
    """The k nearest points of each query.

    Candidates come from products of matrices, their distances from differences: two equal rows
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
    closest = _Closest(len(queries), k)
    for rows, columns, values in distance_tiles(queries, points, _centre(points)):
        if same:
            _without_itself(values, rows, columns)
        closest.look(
            np.arange(rows.start, rows.stop), np.arange(columns.start, columns.stop), values
        )
    return closest.exact(queries, points)


def neighbour_radii(table: Floats, groups: NDArray[np.int64], k: int) -> Floats:
    """Distances to the k-th neighbour of the same group, in several groupings at once.

    Args:
        table: (B, F).
        groups: whole numbers, (S, B).
        k: which neighbour.

    Returns:
        (S, B).

    Raises:
        ValueError: a group has no more than k rows.
    """
    least = min(int(np.unique(one, return_counts=True)[1].min()) for one in groups)
    if k < 1 or k >= least:
        raise ValueError(f"{k} neighbours are wanted of {least - 1} rows")
    closest = [_Closest(len(table), k) for _ in groups]
    for rows, columns, values in distance_tiles(table, table, _centre(table)):
        _without_itself(values, rows, columns)
        for one, labels in zip(closest, groups, strict=True):
            for label in np.unique(labels):
                mine, others = (np.flatnonzero(labels[part] == label) for part in (rows, columns))
                some = _some(values, mine, others)
                one.look(rows.start + mine, columns.start + others, some)
    return np.stack([one.exact(table, table)[0][:, -1] for one in closest])


class _Closest:
    """The closest of the points that were looked at.

    Args:
        queries: Q.
        k: neighbours.
    """

    def __init__(self, queries: int, k: int) -> None:
        self.squares = np.full((queries, k), np.inf)
        self.index = np.zeros((queries, k), np.int64)

    def look(self, rows: NDArray[np.int64], columns: NDArray[np.int64], values: Floats) -> None:
        """Look at more points.

        Args:
            rows: numbers of the queries, (q,).
            columns: numbers of the points, (p,).
            values: their squared distances, (q, p).
        """
        k = self.squares.shape[1]
        if len(columns) > k:
            chosen = np.argpartition(values, k - 1, axis=1)[:, :k]
            values, columns = np.take_along_axis(values, chosen, axis=1), columns[chosen]
        else:
            columns = np.broadcast_to(columns, values.shape)
        squares = np.concatenate([self.squares[rows], values], axis=1)
        index = np.concatenate([self.index[rows], columns], axis=1)
        order = np.argsort(squares, axis=1, kind="stable")[:, :k]
        self.squares[rows] = np.take_along_axis(squares, order, axis=1)
        self.index[rows] = np.take_along_axis(index, order, axis=1)

    def exact(self, queries: Floats, points: Floats) -> tuple[Floats, NDArray[np.int64]]:
        """Distances (Q, k) from differences, ascending, and numbers of the points.

        Args:
            queries: (Q, F).
            points: (B, F).
        """
        found = np.empty(self.squares.shape)
        for rows, _ in tiles(len(queries), 1):
            some = queries[rows].astype(np.float64)
            for neighbour, column in enumerate(self.index[rows].T):
                found[rows, neighbour] = np.linalg.norm(some - points[column], axis=1)
        order = np.argsort(found, axis=1, kind="stable")
        return np.take_along_axis(found, order, axis=1), np.take_along_axis(
            self.index, order, axis=1
        )


def _centre(table: Floats) -> Floats:
    return np.asarray(table.mean(axis=0, dtype=np.float64))


def _some(values: Floats, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> Floats:
    """Some rows and columns; no copy where they are all."""
    return values if values.shape == (len(rows), len(columns)) else values[np.ix_(rows, columns)]


def _without_itself(values: Floats, rows: slice, columns: slice) -> None:
    """Put the pairs of a row and itself infinitely far apart."""
    index = np.arange(max(rows.start, columns.start), min(rows.stop, columns.stop))
    values[index - rows.start, index - columns.start] = np.inf
