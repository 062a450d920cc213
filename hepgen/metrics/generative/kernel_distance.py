r"""Distances by kernels: the squared maximum mean discrepancy of two samples.

.. math:: \mathrm{MMD}^2 = E\,k(x, x') + E\,k(y, y') - 2 E\,k(x, y)

A. Gretton et al., JMLR 13 (2012) 723. With :math:`k = (x \cdot y / F + 1)^4` of normalised features
it is the kernel physics distance (KPD, R. Kansal et al., arXiv:2211.10295); with :math:`k = -|x-y|`
the energy distance (G. J. Szekely and M. L. Rizzo, J. Stat. Plan. Inference 143 (2013) 1249).

Shapes: B rows, F features.
"""

from __future__ import annotations

import math
import warnings
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from hepgen.metrics.estimate import Estimate
from hepgen.metrics.generative.floors import real_floor
from hepgen.metrics.generative.kernel_sums import (
    GroupSums,
    Kernel,
    energy_kernel,
    gaussian_kernel,
    polynomial_kernel,
    squared_distances,
)
from hepgen.metrics.generative.tables import Pair, Scale, paired, scaled
from hepgen.metrics.samples import Floats

__all__ = ["energy_distance", "kpd", "maximum_mean_discrepancy"]

GROUPS = 20  # of the jackknife


def kpd(
    reference: ArrayLike,
    generated: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    other: ArrayLike | None = None,
    estimator: Literal["unbiased", "jetnet"] = "unbiased",
    scale: Scale = "max",
    batch_size: int | None = None,
    splits: int = 2,
    seed: int = 42,
) -> Estimate:
    """Kernel physics distance.

    "unbiased" uses every pair of rows once and has the error of a jackknife over 20 groups of both
    samples. "jetnet" is the definition of jetnet 0.2.5 and of the CaloChallenge: the median over
    ten batches. Of what that does this must be known:

    - The batches are drawn with replacement, so a row can meet itself: the value is biased up by
      about E[k(x,x) - k(x,x')] (1/B + 1/B'), although its estimator is called unbiased.
    - The error is half the range from 16.275 % to 83.725 %, which holds 67.45 % of a normal
      distribution where one standard deviation holds 68.27 %; and it is the spread of single
      batches, not the error of their median.
    - With ``num_threads`` jetnet draws from another generator and gives other numbers than without,
      and it needs three matrices of (batch, batch) numbers; this is its version without threads, in
      blocks.

    Args:
        reference: (B, F).
        generated: (B', F).
        weights: (B',) of the generated rows; "unbiased" only.
        other: (B'', F), a second reference sample for the floor.
        estimator: "unbiased" or "jetnet".
        scale: of the features; both definitions mean "max".
        batch_size: rows of a batch of "jetnet"; 5000, or 10 000 in the challenge. Where a sample is
            smaller and nothing is said, half of it, with a warning.
        splits: of the reference for the floor; 0 for none.
        seed: of batches, groups and splits.

    Returns:
        The distance; "unbiased" is zero on average for real samples, and negative for half of them.

    Raises:
        ValueError: tables that do not go together (see
            :func:`~hepgen.metrics.generative.tables.paired`), fewer than 40 rows for "unbiased",
            weights for "jetnet", an unknown estimator.
    """
    if estimator == "unbiased":
        pair = _pair(reference, generated, weights, other, scale)
        return _estimate(pair, polynomial_kernel, splits, seed)
    if estimator != "jetnet":
        raise ValueError(f"no estimator {estimator!r}; there are 'unbiased' and 'jetnet'")
    pair = scaled(paired(reference, generated, weights, other), scale)
    if pair.weights is not None:
        raise ValueError("jetnet's estimator knows no weights; take estimator='unbiased'")
    rows = min(len(pair.reference), len(pair.generated))
    size = 5000 if batch_size is None else batch_size
    if batch_size is None and rows < size:
        size = max(2, rows // 2)
        warnings.warn(
            f"KPD takes batches of 5000 rows; of {rows} rows batches of {size} are taken",
            UserWarning,
            stacklevel=2,
        )
    if size < 2:
        raise ValueError(f"a batch of at least two rows is wanted; got {size}")
    found = _jetnet(pair.reference, pair.generated, size, seed)
    low, high = np.percentile(found, [16.275, 83.725])

    def median(first: Floats, second: Floats) -> float:
        fewer = min(1.0, min(len(first), len(second)) / rows)
        return float(np.median(_jetnet(first, second, max(2, int(size * fewer)), seed)))

    floor = real_floor(median, pair, power=1.0, splits=splits, seed=seed)
    return Estimate(float(np.median(found)), float(high - low) / 2, floor=floor)


def maximum_mean_discrepancy(
    reference: ArrayLike,
    generated: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    other: ArrayLike | None = None,
    width: float | None = None,
    scale: Scale = "std",
    splits: int = 2,
    seed: int = 0,
) -> Estimate:
    """Squared maximum mean discrepancy with a Gaussian kernel, unbiased.

    Args:
        reference: (B, F).
        generated: (B', F).
        weights: (B',) of the generated rows.
        other: (B'', F), a second reference sample for the floor.
        width: of the kernel, in units of the scale; the median distance of rows of the reference
            where it is not given.
        scale: of the features, see :func:`~hepgen.metrics.generative.tables.scaled`.
        splits: of the reference for the floor; 0 for none.
        seed: of groups and splits.

    Returns:
        Between 0 and 2, up to fluctuations; zero on average for real samples. The error is that of
        the jackknife: right where there is a difference, sqrt(2) times too large where there is
        none.

    Raises:
        ValueError: tables that do not go together, fewer than 40 rows, or a width that is not
            positive (all rows of the reference are the same).
    """
    pair = _pair(reference, generated, weights, other, scale)
    wide = median_distance(pair.reference, seed) if width is None else width
    if not (math.isfinite(wide) and wide > 0):
        raise ValueError(f"a positive width of the kernel is wanted; got {wide:g}")
    return _estimate(pair, gaussian_kernel(wide), splits, seed)


def energy_distance(
    reference: ArrayLike,
    generated: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    other: ArrayLike | None = None,
    scale: Scale = "std",
    splits: int = 2,
    seed: int = 0,
) -> Estimate:
    r"""Energy distance :math:`2 E|x - y| - E|x - x'| - E|y - y'|`, unbiased.

    ``scipy.stats.energy_distance`` is the root of it in one dimension, with rows paired with
    themselves, and so biased.

    Args:
        reference: (B, F).
        generated: (B', F).
        weights: (B',) of the generated rows.
        other: (B'', F), a second reference sample for the floor.
        scale: of the features, see :func:`~hepgen.metrics.generative.tables.scaled`.
        splits: of the reference for the floor; 0 for none.
        seed: of groups and splits.

    Returns:
        The distance in units of the scale, zero on average for real samples. The error is that of
        the jackknife: right where there is a difference, sqrt(2) times too large where there is
        none.

    Raises:
        ValueError: tables that do not go together, or fewer than 40 rows.
    """
    pair = _pair(reference, generated, weights, other, scale)
    return _estimate(pair, energy_kernel, splits, seed)


def median_distance(table: Floats, seed: int) -> float:
    """Median distance of up to 1000 rows, in the unit of the features."""
    rng = np.random.default_rng([seed, 4])
    some = table[rng.permutation(len(table))[:1000]]
    squares = squared_distances(some, some)[np.triu_indices(len(some), 1)]
    return math.sqrt(float(np.median(squares)))


def _pair(
    reference: ArrayLike,
    generated: ArrayLike,
    weights: ArrayLike | None,
    other: ArrayLike | None,
    scale: Scale,
) -> Pair:
    return scaled(paired(reference, generated, weights, other, least=2 * GROUPS), scale)


def _estimate(pair: Pair, kernel: Kernel, splits: int, seed: int) -> Estimate:
    sums = GroupSums.of(pair, kernel, GROUPS, seed)
    left_out = sums.jackknife()
    error = math.sqrt((GROUPS - 1) / GROUPS * np.square(left_out - left_out.mean()).sum())

    def statistic(first: Floats, second: Floats) -> float:
        return GroupSums.of(Pair(first, second), kernel, 1, seed).discrepancy()

    floor = real_floor(statistic, pair, power=0.0, splits=splits, seed=seed)
    return Estimate(sums.discrepancy(), error, floor=floor)


def _jetnet(first: Floats, second: Floats, size: int, seed: int) -> Floats:
    """Discrepancies of ten batches with replacement."""
    found = []
    for batch in range(10):
        rng = np.random.default_rng(seed + 1000 * batch)
        rows, rows2 = rng.choice(len(first), size=size), rng.choice(len(second), size=size)
        drawn = Pair(first[rows], second[rows2])
        found.append(GroupSums.of(drawn, polynomial_kernel, 1, seed).discrepancy())
    return np.array(found)
