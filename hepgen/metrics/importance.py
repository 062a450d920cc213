r"""How far the weights of importance sampling can be trusted, and what they are worth.

A weight is w = f / q, integrand over the density that the point was drawn with; the integral is its
mean. Negative weights, of integrands that change sign, count by their size.

Shapes: B points.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "effective_sample_size",
    "largest_weight_share",
    "maximum_weight",
    "pareto_k",
    "unweighting_efficiency",
]

Array = NDArray[np.float64]

# As in the loo package: fewer weights in the tail than this tell nothing of its shape.
SHORTEST_TAIL = 5


def effective_sample_size(weights: ArrayLike) -> float:
    r"""Number of equal weights that are worth as much, :math:`(\sum|w|)^2 / \sum w^2`.

    L. Kish, Survey Sampling (1965).

    Args:
        weights: shape (B,).

    Returns:
        From one (or, without any weight but zero, zero) to B.

    Raises:
        ValueError: no weights, or one that is no finite number.
    """
    sizes = _sizes(weights)
    largest = float(sizes.max())
    if largest == 0:
        return 0.0
    sizes = sizes / largest  # squares of very large or small weights stay in range
    return float(sizes.sum() ** 2 / np.square(sizes).sum())


def largest_weight_share(weights: ArrayLike) -> float:
    """Share of the integral (of absolute weights) that a single point carries.

    Args:
        weights: shape (B,).

    Returns:
        Between 0 and 1; above about a hundredth the error hangs on one point.

    Raises:
        ValueError: no weights, or one that is no finite number.
    """
    sizes = _sizes(weights)
    total = float(sizes.sum())
    return float(sizes.max()) / total if total else 0.0


def pareto_k(weights: ArrayLike) -> float:
    r"""Shape of the tail of the weights, by the fit of a generalised Pareto distribution.

    The variance of the mean exists where k < 1/2; up to about 0.7 the mean and its error can be
    used; above, the largest weights have not been seen yet. A. Vehtari et al., "Pareto smoothed
    importance sampling", JMLR 25 (2024) 72, arXiv:1507.02646; the fit is that of J. Zhang and
    M. A. Stephens, Technometrics 51 (2009) 316, with the weak prior of Vehtari et al.

    Args:
        weights: shape (B,). The tail are the largest min(B / 5, 3 sqrt(B)) ones.

    Returns:
        The shape k; minus infinity where the tail is flat, such as for equal weights, and NaN where
        there are fewer than 25 weights.

    Raises:
        ValueError: no weights, or one that is no finite number.
    """
    sizes = _sizes(weights)
    length = math.ceil(min(0.2 * len(sizes), 3 * math.sqrt(len(sizes))))
    if length < SHORTEST_TAIL or len(sizes) < 5 * SHORTEST_TAIL:
        return math.nan
    ordered = np.sort(np.partition(sizes, len(sizes) - length - 1)[-length - 1 :])
    cut, tail = ordered[0], ordered[1:]
    excess = (tail - cut) / tail[-1] if tail[-1] > 0 else tail
    # What is left of equal weights is rounding.
    if excess[-1] <= 1e-12:
        return -math.inf
    return _pareto_shape(np.maximum(excess, 1e-300))


def maximum_weight(weights: ArrayLike, overweight: float = 0.0) -> float:
    r"""The weight against which events are accepted or rejected.

    Args:
        weights: shape (B,).
        overweight: which share of the total may stand above the maximum,
            :math:`\sum (|w| - w_\max)_+ / \sum |w|`; events there keep a weight above one. Zero
            gives the largest weight.

    Returns:
        The smallest maximum that keeps to the share.

    Raises:
        ValueError: no weights, one that is no finite number, or a share outside [0, 1).
    """
    if not 0 <= overweight < 1:
        raise ValueError(f"overweight is a share of at least 0 and below 1, got {overweight}")
    ordered = np.sort(_sizes(weights))[::-1]
    if overweight == 0:
        return float(ordered[0])
    sums = np.cumsum(ordered)
    count = np.arange(1, len(ordered) + 1)
    # With the maximum at the k-th largest weight, this much stands above it.
    above = sums - count * ordered  # ascending
    allowed = overweight * sums[-1]
    last = int(np.searchsorted(above, allowed, side="right"))  # first weight that is too low
    return float(max((sums[last - 1] - allowed) / last, 0.0))


def unweighting_efficiency(weights: ArrayLike, overweight: float = 0.0) -> float:
    r"""Share of points that acceptance and rejection leaves, :math:`\langle|w|\rangle / w_\max`.

    Args:
        weights: shape (B,).
        overweight: share of the total that may stand above the maximum, see `maximum_weight`; a
            thousandth makes the figure less a matter of the single largest weight.

    Returns:
        Between 0 and 1 for ``overweight=0``; zero if all weights are zero.

    Raises:
        ValueError: as `maximum_weight`.
    """
    maximum = maximum_weight(weights, overweight)
    sizes = _sizes(weights)
    if maximum == 0:
        return 0.0
    return float(np.minimum(sizes, maximum).mean() / maximum)


def _pareto_shape(excess: Array) -> float:
    """Posterior mean of k for positive values in ascending order."""
    size = len(excess)
    grid = 30 + math.floor(math.sqrt(size))
    quarter = excess[int(size / 4 + 0.5) - 1]
    steps = 1 - np.sqrt(grid / (np.arange(1, grid + 1) - 0.5))
    theta = steps / (3 * quarter) + 1 / excess[-1]  # (grid,)
    shapes = np.log1p(-theta[:, None] * excess).mean(1)
    likelihood = size * (np.log(-theta / shapes) - shapes - 1)
    weight = np.exp(likelihood - likelihood.max())
    best = float((theta * weight).sum() / weight.sum())
    shape = float(np.log1p(-best * excess).mean())
    return (size * shape + 10 * 0.5) / (size + 10)


def _sizes(weights: ArrayLike) -> Array:
    sizes = np.abs(np.asarray(weights, np.float64)).ravel()
    if not len(sizes):
        raise ValueError("wanted weights, got none")
    bad = int((~np.isfinite(sizes)).sum())
    if bad:
        first = int(np.argmin(np.isfinite(sizes)))
        raise ValueError(f"{bad} of {len(sizes)} weights are NaN or infinite, first number {first}")
    return sizes
