r"""Wasserstein distances: how far probability has to be moved, feature by feature or along lines.

:math:`W_1 = \int |F_\mathrm{ref}(t) - F_\mathrm{gen}(t)|\,dt` in one dimension; sliced, it is the
mean over directions :math:`\theta` on the sphere of :math:`W_1(X\theta, Y\theta)` (J. Rabin et al.,
SSVM 2011). The use for generators in physics: R. Kansal et al., arXiv:2211.10295; S. Grossi,
M. Letizia and R. Torre, "Refereeing the referees", arXiv:2409.16336.

Shapes: B rows, F features, K directions, R resamples.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from hepgen.metrics.estimate import Estimate
from hepgen.metrics.generative.cumulative import distances, resampled_weightings
from hepgen.metrics.generative.floors import real_pairs
from hepgen.metrics.generative.tables import Pair, Scale, paired, scaled
from hepgen.metrics.samples import Floats

__all__ = ["sliced_wasserstein", "wasserstein"]


def wasserstein(
    reference: ArrayLike,
    generated: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    other: ArrayLike | None = None,
    scale: Scale = None,
    resamples: int = 100,
    splits: int = 5,
    seed: int = 0,
) -> tuple[Estimate, ...]:
    """1-Wasserstein distance of each feature.

    jetnet's w1p, w1m and w1efp are means over five batches drawn with replacement by a generator
    that cannot be seeded, and their error is the spread of these batches, of 50 000 rows whatever
    the samples' sizes; here all rows are used once.

    Args:
        reference: (B, F) or (B,).
        generated: (B', F) or (B',).
        weights: (B',) of the generated rows.
        other: (B'', F), a second reference sample for the floor.
        scale: of the features, see :func:`~hepgen.metrics.generative.tables.scaled`; None leaves
            each distance in the unit of its feature.
        resamples: R of both samples, for the error; 0 leaves it NaN.
        splits: of the reference for the floor; 0 for none.
        seed: of resamples and splits.

    Returns:
        F estimates with bootstrap errors; distances are positive, and no smaller than about the
        floor for real samples.

    Raises:
        ValueError: tables that do not go together, see
            :func:`~hepgen.metrics.generative.tables.paired`.
    """
    pair = scaled(paired(reference, generated, weights, other), scale)
    return feature_estimates(pair, 1, resamples, splits, seed)


def sliced_wasserstein(
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
    """Mean 1-Wasserstein distance along random directions.

    Args:
        reference: (B, F).
        generated: (B', F).
        weights: (B',) of the generated rows.
        other: (B'', F), a second reference sample for the floor.
        directions: K, uniform on the sphere; the same for the same seed and F, so that models can
            be compared.
        scale: of the features, see :func:`~hepgen.metrics.generative.tables.scaled`.
        resamples: R of both samples, for the error, which is that for these directions; 0 leaves it
            NaN.
        splits: of the reference for the floor; 0 for none.
        seed: of directions, resamples and splits.

    Returns:
        The distance in units of the scale.

    Raises:
        ValueError: tables that do not go together, or no directions.
    """
    pair = projected(scaled(paired(reference, generated, weights, other), scale), directions, seed)
    return mean_estimate(pair, 1, resamples, splits, seed)


def projected(pair: Pair, directions: int, seed: int) -> Pair:
    """The tables seen along random directions, (B, K).

    Args:
        pair: the tables.
        directions: K.
        seed: of the directions.

    Returns:
        Tables of K features.

    Raises:
        ValueError: no directions.
    """
    if directions < 1:
        raise ValueError(f"at least one direction is wanted; got {directions}")
    rng = np.random.default_rng([seed, 6])
    lines = rng.normal(size=(directions, pair.reference.shape[1]))
    lines /= np.linalg.norm(lines, axis=1, keepdims=True)
    other = None if pair.other is None else pair.other @ lines.T
    return replace(
        pair, reference=pair.reference @ lines.T, generated=pair.generated @ lines.T, other=other
    )


def feature_estimates(
    pair: Pair, kind: int, resamples: int, splits: int, seed: int
) -> tuple[Estimate, ...]:
    """Distances of each feature with bootstrap errors and floors.

    Args:
        pair: the tables.
        kind: 0 for Kolmogorov-Smirnov, 1 for Wasserstein.
        resamples: R.
        splits: for the floor.
        seed: of both.

    Returns:
        F estimates.
    """
    found = distances(pair, resampled_weightings(pair, resamples, seed))[kind]  # (1 + R, F)
    errors = _spread(found[1:])
    floors = _floors(pair, kind, splits, seed)
    return tuple(
        Estimate(float(value), float(error), floor=None if floors is None else float(floors[i]))
        for i, (value, error) in enumerate(zip(found[0], errors, strict=True))
    )


def mean_estimate(pair: Pair, kind: int, resamples: int, splits: int, seed: int) -> Estimate:
    """The mean over features of the distances, with the error of that mean.

    Args:
        pair: the tables.
        kind: 0 for Kolmogorov-Smirnov, 1 for Wasserstein.
        resamples: R.
        splits: for the floor.
        seed: of both.

    Returns:
        One estimate; correlations of features are in its error.
    """
    found = distances(pair, resampled_weightings(pair, resamples, seed))[kind].mean(axis=1)
    floors = _floors(pair, kind, splits, seed)
    floor = None if floors is None else float(floors.mean())
    return Estimate(float(found[0]), float(_spread(found[1:])), floor=floor)


def _spread(values: Floats) -> Floats:
    if len(values) < 2:
        return np.full(values.shape[1:], np.nan)
    return np.asarray(values.std(axis=0, ddof=1))


def _floors(pair: Pair, kind: int, splits: int, seed: int) -> Floats | None:
    if splits < 1:
        return None
    wanted = sum(1 / size for size in pair.sizes)
    found = []
    for first, second in real_pairs(pair, splits, seed):
        real = Pair(first, second)
        got = 1 / len(first) + 1 / len(second)
        one = distances(real, resampled_weightings(real, 0, seed))[kind][0]
        found.append(one * np.sqrt(wanted / got))
    return np.asarray(np.mean(found, axis=0))
