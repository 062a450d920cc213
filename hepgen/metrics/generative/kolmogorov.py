r"""Kolmogorov-Smirnov distances and their p-values.

:math:`D = \max_t |F_\mathrm{ref}(t) - F_\mathrm{gen}(t)|` needs no scale and is the same for any
monotonic map of a feature. Its mean over features or over random directions is a distance of
tables: S. Grossi, M. Letizia and R. Torre, arXiv:2409.16336.

Shapes: B rows, F features, K directions, R resamples.
"""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import ArrayLike

from hepgen.metrics.estimate import Estimate
from hepgen.metrics.generative.tables import Scale, paired, scaled
from hepgen.metrics.generative.transport import feature_estimates, mean_estimate, projected

__all__ = ["kolmogorov_p_value", "kolmogorov_smirnov", "mean_kolmogorov", "sliced_kolmogorov"]

STEPS = 100_000_000  # of the exact p-value: a second or less


def kolmogorov_smirnov(
    reference: ArrayLike,
    generated: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    other: ArrayLike | None = None,
    resamples: int = 100,
    splits: int = 5,
    seed: int = 0,
) -> tuple[Estimate, ...]:
    """Kolmogorov-Smirnov distance of each feature.

    Args:
        reference: (B, F) or (B,).
        generated: (B', F) or (B',).
        weights: (B',) of the generated rows.
        other: (B'', F), a second reference sample for the floor.
        resamples: R of both samples, for the error; 0 leaves it NaN.
        splits: of the reference for the floor; 0 for none.
        seed: of resamples and splits.

    Returns:
        F estimates between 0 and 1, with bootstrap errors.

    Raises:
        ValueError: tables that do not go together, see
            :func:`~hepgen.metrics.generative.tables.paired`.
    """
    pair = paired(reference, generated, weights, other)
    return feature_estimates(pair, 0, resamples, splits, seed)


def mean_kolmogorov(
    reference: ArrayLike,
    generated: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    other: ArrayLike | None = None,
    resamples: int = 50,
    splits: int = 5,
    seed: int = 0,
) -> Estimate:
    """Mean of the Kolmogorov-Smirnov distances of all features.

    Args:
        reference: (B, F).
        generated: (B', F).
        weights: (B',) of the generated rows.
        other: (B'', F), a second reference sample for the floor.
        resamples: R of both samples, for the error; 0 leaves it NaN.
        splits: of the reference for the floor; 0 for none.
        seed: of resamples and splits.

    Returns:
        Between 0 and 1.

    Raises:
        ValueError: tables that do not go together.
    """
    return mean_estimate(paired(reference, generated, weights, other), 0, resamples, splits, seed)


def sliced_kolmogorov(
    reference: ArrayLike,
    generated: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    other: ArrayLike | None = None,
    directions: int = 100,
    scale: Scale = "std",
    resamples: int = 50,
    splits: int = 5,
    seed: int = 0,
) -> Estimate:
    """Mean Kolmogorov-Smirnov distance along random directions.

    Args:
        reference: (B, F).
        generated: (B', F).
        weights: (B',) of the generated rows.
        other: (B'', F), a second reference sample for the floor.
        directions: K, uniform on the sphere; the same for the same seed and F.
        scale: of the features, see :func:`~hepgen.metrics.generative.tables.scaled`.
        resamples: R of both samples, for the error, which is that for these directions; 0 leaves it
            NaN.
        splits: of the reference for the floor; 0 for none.
        seed: of directions, resamples and splits.

    Returns:
        Between 0 and 1.

    Raises:
        ValueError: tables that do not go together, or no directions.
    """
    pair = projected(scaled(paired(reference, generated, weights, other), scale), directions, seed)
    return mean_estimate(pair, 0, resamples, splits, seed)


def kolmogorov_p_value(distance: float, first: float, second: float) -> float:
    r"""Probability of a Kolmogorov-Smirnov distance at least as large between two equal laws.

    Exact for whole sizes whose product is at most 1e8, by counting the paths through the lattice of
    the two samples that reach the distance (J. L. Hodges, Ark. Mat. 3 (1958) 469); beyond, and for
    effective sizes of weighted samples, Kolmogorov's limit. Ties, such as showers with an empty
    layer, make it too large: :func:`~hepgen.metrics.generative.permutation_test` is right there.

    Args:
        distance: D, between 0 and 1.
        first: size of one sample.
        second: size of the other.

    Returns:
        The p-value.

    Raises:
        ValueError: a distance outside of [0, 1], or sizes below 1.
    """
    if not (0 <= distance <= 1 and first >= 1 and second >= 1):
        raise ValueError(
            f"a distance in [0, 1] and sizes from 1 are wanted; got {distance}, {first}, {second}"
        )
    if first == int(first) and second == int(second) and first * second <= STEPS:
        chance: float = _exact(float(distance), int(first), int(second))
        return chance
    argument = distance * math.sqrt(first * second / (first + second))
    return _limit(argument)


def _limit(x: float) -> float:
    """Survival function of Kolmogorov's distribution."""
    if x <= 0:
        return 1.0
    if x < 1:
        # The series of the theta function that converges here.
        terms = sum(math.exp(-((2 * k - 1) ** 2) * math.pi**2 / (8 * x * x)) for k in range(1, 20))
        return min(1.0, 1 - math.sqrt(2 * math.pi) / x * terms)
    return 2 * sum((-1.0) ** (k - 1) * math.exp(-2 * k * k * x * x) for k in range(1, 20))


@numba.njit(cache=True)
def _exact(distance: float, first: int, second: int) -> float:
    # Sizes are whole, so D is a multiple of 1 / (first * second): half a step keeps rounding out.
    reach = distance - 0.5 / (first * second)
    # chance[j]: that a path through (i, j) has been at the distance before.
    chance = np.zeros(second + 1)
    for i in range(first + 1):
        for j in range(second + 1):
            if abs(i / first - j / second) >= reach:
                chance[j] = 1.0
            elif i > 0 and j > 0:
                chance[j] = (i * chance[j] + j * chance[j - 1]) / (i + j)
            elif j > 0:
                chance[j] = chance[j - 1]
            elif i == 0:
                chance[j] = 0.0
    found: float = chance[second]
    return found
