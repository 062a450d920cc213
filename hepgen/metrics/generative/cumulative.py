r"""Differences of two weighted distribution functions, feature by feature, for many weightings.

With :math:`D(t) = F_\mathrm{ref}(t) - F_\mathrm{gen}(t)` the Kolmogorov-Smirnov distance is
:math:`\max |D|` and the Wasserstein distance :math:`\int |D|\,dt`. All values of a feature are
sorted once; a resample or a permutation only changes the weights.

Shapes: B rows of both samples together, F features, R weightings.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from hepgen.metrics.bootstrap import draws
from hepgen.metrics.generative.tables import Pair
from hepgen.metrics.samples import Floats


def distances(pair: Pair, weightings: Floats) -> tuple[Floats, Floats]:
    """Kolmogorov-Smirnov and Wasserstein distances of each feature.

    Args:
        pair: the tables.
        weightings: (R, B); rows of the reference come first and sum to 1, generated rows follow and
            sum to -1.

    Returns:
        Distances (R, F) of both kinds; the second in the unit of the feature.
    """
    shape = len(weightings), pair.reference.shape[1]
    largest, area = np.empty(shape), np.empty(shape)
    for feature in range(shape[1]):
        values = np.concatenate([pair.reference[:, feature], pair.generated[:, feature]])
        order = np.argsort(values, kind="stable")
        gaps = np.diff(values[order])  # (B - 1,)
        largest[:, feature], area[:, feature] = _scan(order, gaps, weightings)
    return largest, area


def resampled_weightings(pair: Pair, resamples: int, seed: int) -> Floats:
    """The samples as they are, and Poisson resamples of both: (1 + R, B).

    Args:
        pair: the tables.
        resamples: R.
        seed: of the resamples.

    Returns:
        Weightings for :func:`distances`.
    """
    split = len(pair.reference)
    total = split + len(pair.generated)
    weight = np.ones(total)
    if pair.weights is not None:
        weight[split:] = pair.weights
    found = np.empty((1 + resamples, total))
    found[0] = weight
    for resample in range(resamples):
        found[1 + resample] = draws(total, seed, resample) * weight
    return _normalised(found, split)


def permuted_weightings(pair: Pair, permutations: int, seed: int) -> Floats:
    """The samples as they are, and with all rows dealt out anew: (1 + R, B).

    Args:
        pair: the tables, without weights.
        permutations: R.
        seed: of the permutations.

    Returns:
        Weightings for :func:`distances`.
    """
    split, second = len(pair.reference), len(pair.generated)
    signed = np.concatenate([np.full(split, 1 / split), np.full(second, -1 / second)])
    rng = np.random.default_rng([seed, 5])
    return np.stack([signed, *(rng.permutation(signed) for _ in range(permutations))])


def _normalised(weightings: Floats, split: int) -> Floats:
    for part, sign in ((weightings[:, :split], 1.0), (weightings[:, split:], -1.0)):
        total = part.sum(axis=1, keepdims=True)
        # A resample of a handful of rows may have none.
        part *= sign / np.where(total == 0, 1.0, total)
    return weightings


@numba.njit(cache=True)
def _scan(order: NDArray[Any], gaps: Floats, weightings: Floats) -> tuple[Floats, Floats]:
    resamples = weightings.shape[0]
    largest, area = np.zeros(resamples), np.zeros(resamples)
    for row in range(resamples):
        total = 0.0
        for i in range(len(gaps)):
            total += weightings[row, order[i]]
            # Between equal values the distribution functions have not taken their step yet.
            if gaps[i] > 0:
                height = abs(total)
                largest[row] = max(largest[row], height)
                area[row] += height * gaps[i]
    return largest, area
