r"""How many different showers a generator has, by the birthday paradox.

Among s draws from N equally likely showers, :math:`s(s-1)/2N` pairs are the same on average, so C
close pairs in a sample tell the size of the support, :math:`N = s(s-1)/2C` (S. Arora and Y. Zhang,
arXiv:1706.08224). Showers are continuous, so "the same" means closer than a radius at which real
pairs are rare, and only the ratio to the support of real showers has a meaning.

Shapes: B rows, F features.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hepgen.metrics.estimate import Estimate
from hepgen.metrics.generative.floors import real_pairs
from hepgen.metrics.generative.kernel_sums import blocks, squared_distances
from hepgen.metrics.generative.tables import Pair, Scale, paired, scaled
from hepgen.metrics.samples import Floats

__all__ = ["Support", "support_ratio"]


@dataclass(frozen=True, slots=True)
class Support:
    """The size of a generator's support beside that of real showers.

    Attributes:
        ratio: support of the generator over that of the reference; 1 for the same law, below 1
            where showers repeat themselves. Its floor is the ratio of real showers to real ones.
        radius: distance below which two rows count as the same, of each group (one without groups).
        close_reference: close pairs of the reference.
        close_generated: close pairs of generated rows, weighted if they are, brought to as many
            pairs in all as the reference has.
    """

    ratio: Estimate
    radius: tuple[float, ...]
    close_reference: float
    close_generated: float


def support_ratio(
    reference: ArrayLike,
    generated: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    other: ArrayLike | None = None,
    groups: tuple[ArrayLike, ArrayLike] | None = None,
    pairs: int = 400,
    scale: Scale = "std",
    splits: int = 1,
    seed: int = 0,
) -> Support:
    r"""Ratio of the supports of generated and real showers, from all pairs of each sample.

    .. math:: \frac{N_\mathrm{gen}}{N_\mathrm{ref}} = \frac{C_\mathrm{ref}}{C_\mathrm{gen}}
        \cdot \frac{s_\mathrm{gen} (s_\mathrm{gen} - 1)}{s_\mathrm{ref} (s_\mathrm{ref} - 1)}

    Args:
        reference: (B, F), not used to train the generator.
        generated: (B', F), at the same incident energies or the same spectrum of them.
        weights: (B',) of the generated rows; pairs count with their product.
        other: (B'', F), a second reference sample for the floor.
        groups: whole numbers (B,) and (B',), such as bins of incident energy: only pairs within a
            group count, and each group has a radius of its own.
        pairs: how many pairs of the reference are to be close, in all groups together; few make the
            error large, many the radius.
        scale: of the features, see :func:`~hepgen.metrics.generative.tables.scaled`.
        splits: of the reference for the floor, without groups; 0 for none.
        seed: of the splits.

    Returns:
        Ratio, radius and counts. The error has the Poisson errors of both counts, and that pairs
        share showers; the ratio is infinite, with a lower limit at 90 % confidence, where no
        generated pair is close.

    Raises:
        ValueError: tables that do not go together, more pairs than there are, or groups of another
            length, or with fewer than three rows of the reference or two generated ones.
    """
    pair = scaled(paired(reference, generated, weights, other, least=3), scale)
    labels = _groups(pair, groups)
    radii, counts, smallest = [], np.zeros(2), math.inf
    variance = np.zeros(2)
    names = np.unique(labels[0])
    total = sum(_pairs((labels[0] == name).sum()) for name in names)
    if not 1 <= pairs <= total / 2:
        raise ValueError(
            f"between 1 and {int(total / 2)} close pairs can be asked for; got {pairs}"
        )
    for name in names:
        x = pair.reference[labels[0] == name]
        chosen = labels[1] == name
        y = pair.generated[chosen]
        w = np.ones(len(y)) if pair.weights is None else pair.weights[chosen]
        share = pairs * _pairs(len(x)) / total
        radius = _radius(x, max(1, round(share)))
        radii.append(radius)
        for side, (table, weight) in enumerate(((x, np.ones(len(x))), (y, w))):
            count, spread, all_pairs = _close(table, weight, radius)
            if not all_pairs > 0:
                raise ValueError(f"group {name} has {len(table)} generated rows: no pair")
            # Groups in which the generator has more or fewer showers count as the reference's do.
            factor = _pairs(len(x)) / all_pairs
            counts[side] += factor * count
            variance[side] += factor**2 * spread
            smallest = min(smallest, factor)
    floor = _floor(pair, pairs, splits, seed) if groups is None else None
    ratio = _ratio(counts, variance, smallest, floor)
    return Support(ratio, tuple(radii), float(counts[0]), float(counts[1]))


def _ratio(counts: Floats, variance: Floats, factor: float, floor: float | None) -> Estimate:
    if counts[1] <= 0:
        # At 90 % confidence no more than 2.30 pairs were expected.
        limit = float(counts[0]) / (-math.log(0.1) * factor)
        return Estimate(math.inf, math.nan, limit, floor)
    value = float(counts[0] / counts[1])
    relative = math.sqrt(float((variance / np.square(counts)).sum()))
    return Estimate(value, value * relative, floor=floor)


def _pairs(rows: float) -> float:
    return rows * (rows - 1) / 2


def _groups(
    pair: Pair, groups: tuple[ArrayLike, ArrayLike] | None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    lengths = len(pair.reference), len(pair.generated)
    if groups is None:
        return np.zeros(lengths[0], np.int64), np.zeros(lengths[1], np.int64)
    first, second = (np.asarray(one) for one in groups)
    if first.shape != lengths[:1] or second.shape != lengths[1:]:
        raise ValueError(
            f"groups of {lengths[0]} and {lengths[1]} rows are wanted; got shapes "
            f"{first.shape} and {second.shape}"
        )
    names, counts = np.unique(first, return_counts=True)
    if counts.min() < 3:
        raise ValueError(f"group {names[counts.argmin()]} has {counts.min()} rows of the reference")
    return first.astype(np.int64), second.astype(np.int64)


def _radius(table: Floats, pairs: int) -> float:
    """Half way between the wanted number of closest pairs and one more; beyond pairs alike."""
    closest = np.full(pairs + 1, np.inf)
    centred = table - table.mean(axis=0)
    for rows in blocks(len(table), len(table)):
        values = squared_distances(centred[rows], centred)
        later = np.arange(len(table)) > (rows.start + np.arange(len(values)))[:, None]
        near = values[later & (values < closest[-1])]
        closest = np.sort(np.concatenate([closest, near]))[: pairs + 1]
    near, far = np.sqrt(closest[-2:]).tolist()
    # Rows alike, such as empty showers, are at one distance but for what products of matrices round
    # of it: all such pairs are close, or none of a sample with many of them would be.
    margin = 1e-6 * float(np.sqrt(np.einsum("ij,ij->i", centred, centred).max()))
    return float((near + far) / 2 if far - near > margin else far + margin)


def _close(table: Floats, weight: Floats, radius: float) -> tuple[float, float, float]:
    """Close pairs, the variance of their number, and all pairs."""
    if not len(table):
        return 0.0, 0.0, 0.0
    centred = table - table.mean(axis=0)
    degree, count, squares = np.zeros(len(table)), 0.0, 0.0
    for rows in blocks(len(table), len(table)):
        close = squared_distances(centred[rows], centred) < radius**2
        index = np.arange(rows.stop - rows.start)
        close[index, rows.start + index] = False
        degree[rows] = weight[rows] * (close @ weight)
        squares += float(np.square(weight[rows]) @ (close @ np.square(weight))) / 2
    count = float(degree.sum()) / 2
    worth = float(weight.sum() ** 2 / np.square(weight).sum())
    # Pairs with a row in common come and go together.
    shared = float(np.square(degree).sum()) - 2 * squares - 4 * count**2 / worth
    total = float(weight.sum() ** 2 - np.square(weight).sum()) / 2
    return count, squares + max(shared, 0.0), total


def _floor(pair: Pair, pairs: int, splits: int, seed: int) -> float | None:
    if splits < 1 or len(pair.reference) < 8:
        return None
    found = []
    for first, second in real_pairs(pair, splits, seed):
        wanted = max(1, round(pairs * _pairs(len(first)) / _pairs(len(pair.reference))))
        radius = _radius(first, wanted)
        counts = [_close(table, np.ones(len(table)), radius) for table in (first, second)]
        if counts[1][0] > 0:
            found.append(counts[0][0] / counts[0][2] * counts[1][2] / counts[1][0])
    return float(np.mean(found)) if found else None
