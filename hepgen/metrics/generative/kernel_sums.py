"""Sums of a kernel over pairs of rows, in blocks: any number of rows in bounded memory.

Shapes: B rows, F features, G groups of rows, P choices of rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hepgen.metrics.generative.tables import Pair
from hepgen.metrics.samples import Floats

# Of two tables (B, F) and (B', F): all pairs, (B, B').
Kernel = Callable[[Floats, Floats], Floats]
BLOCK = 1 << 20  # numbers of a block of pairs: 8 MB


def polynomial_kernel(first: Floats, second: Floats) -> Floats:
    """(x.y / F + 1)^4, the kernel of KPD, (B, B')."""
    values = first @ second.T
    values /= first.shape[1]
    values += 1
    values *= values
    values *= values
    return np.asarray(values)


def energy_kernel(first: Floats, second: Floats) -> Floats:
    """Minus the Euclidean distance, (B, B')."""
    return np.asarray(-np.sqrt(squared_distances(first, second)))


def gaussian_kernel(width: float) -> Kernel:
    """exp(-d^2 / 2 width^2) of the Euclidean distance d.

    Args:
        width: in the unit of the features, positive.

    Returns:
        The kernel.
    """

    def kernel(first: Floats, second: Floats) -> Floats:
        return np.asarray(np.exp(squared_distances(first, second) / (-2 * width**2)))

    return kernel


def squared_distances(first: Floats, second: Floats) -> Floats:
    """Squared Euclidean distances by one product of matrices, (B, B'); rounding is cut at zero."""
    squares = np.einsum("ij,ij->i", first, first), np.einsum("ij,ij->i", second, second)
    values = first @ second.T
    values *= -2
    values += squares[0][:, None]
    values += squares[1]
    return np.asarray(np.maximum(values, 0, out=values))


@dataclass(frozen=True, slots=True)
class GroupSums:
    r"""Weighted sums of a kernel between groups of rows of two tables.

    Attributes:
        xx: (G, G), sums over pairs of the reference, no row paired with itself.
        yy: (G, G), the same for the generated rows, with their weights.
        xy: (G, G), reference against generated.
        pairs: the sums of the products of weights that go with them.
    """

    xx: Floats
    yy: Floats
    xy: Floats
    pairs: tuple[Floats, Floats, Floats]

    @classmethod
    def of(cls, pair: Pair, kernel: Kernel, groups: int, seed: int) -> GroupSums:
        """The sums for groups of equal size that are drawn at random.

        Args:
            pair: the tables.
            kernel: of two tables.
            groups: G.
            seed: of the groups.

        Returns:
            The sums.
        """
        rng = np.random.default_rng([seed, 3])
        shares = []
        for table, weight in ((pair.reference, None), (pair.generated, pair.weights)):
            group = rng.permutation(np.arange(len(table)) % groups)
            share = np.zeros((len(table), groups))
            share[np.arange(len(table)), group] = 1.0 if weight is None else weight
            shares.append(share)
        x, y = pair.reference, pair.generated
        sums = (
            _sums(x, shares[0], None, shares[0], kernel),
            _sums(y, shares[1], None, shares[1], kernel),
            _sums(x, shares[0], y, shares[1], kernel),
        )
        totals = [share.sum(axis=0) for share in shares]
        squares = [np.square(share).sum(axis=0) for share in shares]
        pairs = [np.outer(t, t) - np.diag(s) for t, s in zip(totals, squares, strict=True)]
        return cls(*sums, (pairs[0], pairs[1], np.outer(*totals)))

    def discrepancy(self, without: int | None = None) -> float:
        r"""Unbiased :math:`E k(x,x') + E k(y,y') - 2 E k(x,y)`.

        Args:
            without: a group that is left out of both samples.

        Returns:
            The squared maximum mean discrepancy; it may be negative.
        """
        means = []
        for sums, pairs in zip((self.xx, self.yy, self.xy), self.pairs, strict=True):
            means.append(_without(sums, without) / _without(pairs, without))
        return float(means[0] + means[1] - 2 * means[2])

    def jackknife(self) -> Floats:
        """The discrepancies with each group left out, (G,)."""
        return np.array([self.discrepancy(group) for group in range(len(self.xx))])


def blocks(rows: int, columns: int) -> Iterator[slice]:
    """Slices of the rows of a table of pairs, each of about a million pairs.

    Args:
        rows: of the whole table.
        columns: of the whole table.

    Yields:
        Slices that cover the rows in order.
    """
    step = int(np.clip(BLOCK // max(columns, 1), 16, 1024))
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))


def tiles(rows: int, columns: int) -> Iterator[tuple[slice, slice]]:
    """Tiles of a table of pairs, each of about a million pairs, band by band.

    They are nearly square: a product of matrices reads both tables once a tile.

    Args:
        rows: of the whole table.
        columns: of the whole table.

    Yields:
        Slices of rows and columns that cover the table.
    """
    high = max(1, min(rows, max(16, 2 * math.isqrt(BLOCK))))
    wide = max(16, BLOCK // high)
    for top in range(0, rows, high):
        for left in range(0, columns, wide):
            yield slice(top, min(top + high, rows)), slice(left, min(left + wide, columns))


def split_discrepancies(table: Floats, chosen: NDArray[np.bool_], kernel: Kernel) -> Floats:
    """Unbiased discrepancies between rows that are chosen and the others, for many choices at once.

    Args:
        table: (B, F), both samples together.
        chosen: (B, P), the rows of the first sample in each of P choices.
        kernel: of two tables.

    Returns:
        The discrepancies, (P,).
    """
    first = chosen.astype(np.float64)
    inside, across, total = np.zeros(chosen.shape[1]), np.zeros(chosen.shape[1]), 0.0
    for rows in blocks(len(table), len(table)):
        values = _hollow(kernel(table[rows], table), rows.start)
        seen = values @ first  # (rows, P)
        inside += np.einsum("ij,ij->j", first[rows], seen)
        across += seen.sum(axis=0)
        total += float(values.sum())
    mixed = across - inside
    outside = total - inside - 2 * mixed
    n, m = first.sum(axis=0), len(table) - first.sum(axis=0)
    return np.asarray(inside / (n * (n - 1)) + outside / (m * (m - 1)) - 2 * mixed / (n * m))


def _sums(
    table: Floats, share: Floats, second: Floats | None, second_share: Floats, kernel: Kernel
) -> Floats:
    """Sums (G, G) of a kernel with the second table, or with the same one without equal rows."""
    sums = np.zeros((share.shape[1], second_share.shape[1]))
    points = table if second is None else second
    for rows, columns in tiles(len(table), len(points)):
        if second is None and columns.stop <= rows.start:
            continue  # kernels are symmetric: seen from the other side
        values = kernel(table[rows], points[columns])
        if second is None and columns.start < rows.stop:
            index = np.arange(rows.start, rows.stop)[:, None]
            values[index >= np.arange(columns.start, columns.stop)] = 0.0
        sums += share[rows].T @ (values @ second_share[columns])
    return sums if second is not None else sums + sums.T


def _hollow(values: Floats, start: int) -> Floats:
    """Without the pairs of a row and itself."""
    index = np.arange(len(values))
    values[index, start + index] = 0.0
    return values


def _without(sums: Floats, group: int | None) -> float:
    total = float(sums.sum())
    if group is None:
        return total
    return total - float(sums[group].sum() + sums[:, group].sum() - sums[group, group])
