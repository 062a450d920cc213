r"""Frechet distances: how far apart are two samples, seen through means and covariances.

.. math:: d^2 = |\mu_1 - \mu_2|^2
    + \operatorname{tr}\big(\Sigma_1 + \Sigma_2 - 2\,(\Sigma_1 \Sigma_2)^{1/2}\big)

is the squared 2-Wasserstein distance of Gaussians with these moments (D. C. Dowson and B. V.
Landau, J. Multivar. Anal. 12 (1982) 450). The Frechet physics distance (FPD) is that of normalised
features, extrapolated to infinite samples: R. Kansal et al., "Evaluating generative models in high
energy physics", Phys. Rev. D 107 (2023) 076017, arXiv:2211.10295.

Shapes: B rows, F features, G blocks of rows.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hepgen.metrics.estimate import Estimate
from hepgen.metrics.generative.floors import real_floor
from hepgen.metrics.generative.tables import Pair, Scale, paired, scaled
from hepgen.metrics.samples import Floats

__all__ = ["fpd", "frechet_distance", "frechet_gaussian_distance"]

Sums = tuple[float, float, Floats, Floats]  # of w, w^2, w x (F,), w x x^T (F, F)
FEW = 50_000  # what jetnet recommends


def frechet_distance(
    first_mean: ArrayLike,
    first_covariance: ArrayLike,
    second_mean: ArrayLike,
    second_covariance: ArrayLike,
) -> float:
    r"""Squared Frechet distance of two pairs of moments.

    The trace of the root is the sum of the roots of the eigenvalues of the symmetric matrix
    :math:`\Sigma_1^{1/2} \Sigma_2 \Sigma_1^{1/2}`, which are real and never negative: nothing has
    to be added to a singular covariance, and no imaginary part to be dropped.

    Args:
        first_mean: (F,).
        first_covariance: (F, F), symmetric.
        second_mean: (F,).
        second_covariance: (F, F), symmetric.

    Returns:
        d squared, in the unit of the features squared; rounding may leave about -1e-15 of zero.

    Raises:
        ValueError: shapes do not go together, or a number is NaN or infinite.
    """
    means = [np.atleast_1d(np.asarray(m, np.float64)) for m in (first_mean, second_mean)]
    covariances = [
        np.atleast_2d(np.asarray(c, np.float64)) for c in (first_covariance, second_covariance)
    ]
    shapes = [array.shape for array in (*means, *covariances)]
    number = means[0].size
    if shapes != [(number,)] * 2 + [(number, number)] * 2:
        raise ValueError(
            "means (F,) and covariances (F, F) are wanted; got shapes "
            + ", ".join(map(str, shapes))
        )
    if not all(np.all(np.isfinite(array)) for array in (*means, *covariances)):
        raise ValueError("a mean or a covariance is NaN or infinite")
    return _frechet(means[0], covariances[0], means[1], covariances[1])


def frechet_gaussian_distance(
    reference: ArrayLike,
    generated: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    other: ArrayLike | None = None,
    scale: Scale = "std",
    blocks: int = 20,
    splits: int = 5,
    seed: int = 0,
) -> Estimate:
    """Frechet distance (FGD) of the samples as they are, with the bias of their finite sizes.

    Real samples are not at zero but at the floor, which falls with 1 / B: compare only values at
    the same sizes, or take :func:`fpd`.

    Args:
        reference: (B, F).
        generated: (B', F).
        weights: (B',) of the generated rows.
        other: (B'', F), a second reference sample for the floor.
        scale: of the features, see :func:`~hepgen.metrics.generative.tables.scaled`.
        blocks: G of the jackknife for the error.
        splits: of the reference for the floor; 0 for none.
        seed: of blocks and splits.

    Returns:
        d squared, with the error of the jackknife and the floor.

    Raises:
        ValueError: as :func:`fpd`.
    """
    pair = scaled(paired(reference, generated, weights, other, least=_least(blocks)), scale)
    plain, left_out = _jackknife(pair, blocks, seed)
    error = math.sqrt((blocks - 1) / blocks * np.square(left_out - left_out.mean()).sum())
    floor = real_floor(_plain, pair, power=1.0, splits=splits, seed=seed)
    return Estimate(plain, error, floor=floor)


def fpd(
    reference: ArrayLike,
    generated: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    other: ArrayLike | None = None,
    estimator: Literal["unbiased", "jetnet"] = "unbiased",
    scale: Scale = "max",
    blocks: int = 20,
    min_samples: int | None = None,
    max_samples: int | None = None,
    splits: int | None = None,
    seed: int = 42,
) -> Estimate:
    """Frechet physics distance: the Frechet distance extrapolated to infinite samples.

    "unbiased" takes off the bias of order 1/B with a jackknife over G blocks of both samples
    (sub-samples without replacement): what it gives for real samples is zero within its error.
    "jetnet" is the definition of jetnet 0.2.5 and of the CaloChallenge, for numbers beside
    published ones. Of what that does this must be known:

    - It draws with replacement, so the extrapolation runs to infinitely many draws from the same
      rows, not to infinitely many rows: the bias of the finite sample stays in the value (9e-3 to
      11e-3 for Geant4 against itself in data sets 2 and 3), and jetnet shows no floor beside it.
    - The fit with bounds of zero cannot give a negative distance, which biases small ones up.
      jetnet leaves it to ``scipy.optimize.curve_fit``, whose iteration stops within the bounds and
      short of the least squares: by 1e-8 for most samples, by 5e-6 or 1 % of small distances. Here
      the least squares are solved.
    - The error is that of the straight line through ten means: it knows of neither sample's size
      and can be zero.
    - float32 features are averaged in float32 there; here everything is float64.
    - ``scipy.linalg.sqrtm`` of a product of covariances may be complex, and the real part of
      nonsense is nonsense; its argument ``disp`` leaves scipy with 1.18 and takes jetnet along.
      Here the root is that of a symmetric matrix (:func:`frechet_distance`).

    Args:
        reference: (B, F).
        generated: (B', F).
        weights: (B',) of the generated rows; "unbiased" only.
        other: (B'', F), a second reference sample for the floor. "jetnet" wants one, as large as
            the generated: the bias of a few thousand rows and hundreds of features is not quite in
            proportion to 1/B, and the floor from halves of the reference is 10 % to 20 % high.
        estimator: "unbiased" or "jetnet".
        scale: of the features; both definitions mean "max".
        blocks: G of the jackknife.
        min_samples: smallest batch of "jetnet"; 20 000, or 10 000 in the challenge.
        max_samples: largest batch of "jetnet"; 50 000. Where a sample is smaller than that and
            nothing is said, the batches reach from 2/5 of it to all of it, with a warning.
        splits: of the reference for the floor, 0 for none; 5, or 1 for "jetnet", which is slow.
        seed: of batches, blocks and splits.

    Returns:
        The distance squared in units of the scale. The error of "unbiased" is that of the
        jackknife: right where there is a difference, sqrt(2) times too large where there is none.

    Raises:
        ValueError: tables that do not go together (see
            :func:`~hepgen.metrics.generative.tables.paired`), fewer rows than two a block, weights
            for "jetnet", an unknown estimator, batches that are empty or out of order.
    """
    if estimator not in ("unbiased", "jetnet"):
        raise ValueError(f"no estimator {estimator!r}; there are 'unbiased' and 'jetnet'")
    least = _least(blocks) if estimator == "unbiased" else 2
    pair = scaled(paired(reference, generated, weights, other, least=least), scale)
    if estimator == "unbiased":
        plain, left_out = _jackknife(pair, blocks, seed)
        single = blocks * plain - (blocks - 1) * left_out
        error = float(single.std(ddof=1)) / math.sqrt(blocks)

        def unbiased(first: Floats, second: Floats) -> float:
            whole, parts = _jackknife(Pair(first, second), blocks, seed)
            return float(blocks * whole - (blocks - 1) * parts.mean())

        known = 5 if splits is None else splits
        enough = min(pair.sizes) >= 2 * _least(blocks)
        # What the jackknife leaves of the bias is of the next order.
        floor = real_floor(unbiased, pair, power=2.0, splits=known if enough else 0, seed=seed)
        return Estimate(float(single.mean()), error, floor=floor)
    if pair.weights is not None:
        raise ValueError("jetnet's estimator knows no weights; take estimator='unbiased'")
    batches = _batches(pair, min_samples, max_samples)

    def line(first: Floats, second: Floats) -> float:
        fewer = min(1.0, min(len(first), len(second)) / min(pair.sizes))
        return _jetnet(first, second, np.maximum((batches * fewer).astype(np.int64), 2), seed)[0]

    value, error = _jetnet(pair.reference, pair.generated, batches, seed)
    known = 1 if splits is None else splits
    floor = real_floor(line, pair, power=1.0, splits=known, seed=seed)
    return Estimate(value, error, floor=floor)


def _least(blocks: int) -> int:
    if blocks < 2:
        raise ValueError(f"a jackknife needs at least two blocks; got {blocks}")
    return 2 * blocks


def _frechet(mean: Floats, covariance: Floats, mean2: Floats, covariance2: Floats) -> float:
    values, vectors = np.linalg.eigh(covariance)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T  # (F, F)
    product = np.linalg.eigvalsh(root @ covariance2 @ root)
    cross = np.sqrt(np.maximum(product, 0)).sum()
    return float(
        np.square(mean - mean2).sum() + np.trace(covariance) + np.trace(covariance2) - 2 * cross
    )


def _plain(first: Floats, second: Floats) -> float:
    return _frechet(*_moments(_sums(first, None)), *_moments(_sums(second, None)))


def _sums(table: Floats, weight: Floats | None) -> Sums:
    if weight is None:
        return float(len(table)), float(len(table)), table.sum(axis=0), table.T @ table
    heavy = weight[:, None] * table
    return float(weight.sum()), float(np.square(weight).sum()), heavy.sum(axis=0), table.T @ heavy


def _moments(sums: Sums) -> tuple[Floats, Floats]:
    """Mean and unbiased covariance; weights count as reliabilities."""
    total, squares, first, second = sums
    mean = first / total
    covariance = (second - total * np.outer(mean, mean)) / (total - squares / total)
    return mean, (covariance + covariance.T) / 2


def _jackknife(pair: Pair, blocks: int, seed: int) -> tuple[float, Floats]:
    """The plain distance, and those with each block of both samples left out, (G,)."""
    # Around the origin, means of the size of the features leave few digits for the covariance.
    centre = pair.reference.mean(axis=0)
    rng = np.random.default_rng([seed, 2])
    tables = (pair.reference - centre, pair.generated - centre)
    orders = [np.array_split(rng.permutation(len(table)), blocks) for table in tables]
    weights = (None, pair.weights)
    whole = [_sums(table, weight) for table, weight in zip(tables, weights, strict=True)]

    def distance(sums: Sequence[Sums]) -> float:
        return _frechet(*_moments(sums[0]), *_moments(sums[1]))

    left_out = []
    for block in range(blocks):
        rest: list[Sums] = []
        for table, weight, order, total in zip(tables, weights, orders, whole, strict=True):
            rows = order[block]
            part = _sums(table[rows], None if weight is None else weight[rows])
            rest.append(
                (total[0] - part[0], total[1] - part[1], total[2] - part[2], total[3] - part[3])
            )
        left_out.append(distance(rest))
    return distance(whole), np.array(left_out)


def _batches(pair: Pair, smallest: int | None, largest: int | None) -> NDArray[np.int64]:
    """Sizes at regular intervals in 1/N, cut to integers as jetnet does."""
    rows = min(len(pair.reference), len(pair.generated))
    if smallest is None and largest is None and rows < FEW:
        smallest, largest = max(2, 2 * rows // 5), rows
        warnings.warn(
            f"jetnet's FPD is meant for {FEW} rows and more; of {rows} rows batches of {smallest} "
            f"to {largest} are taken",
            UserWarning,
            stacklevel=3,
        )
    low = 20_000 if smallest is None else smallest
    high = FEW if largest is None else largest
    if not 2 <= low < high:
        raise ValueError(f"batches are wanted from 2 rows upwards; got {low} to {high}")
    return (1 / np.linspace(1.0 / low, 1.0 / high, 10)).astype(np.int64)


def _jetnet(
    first: Floats, second: Floats, batches: NDArray[np.int64], seed: int
) -> tuple[float, float]:
    """Value and error of the fit to 20 batches with replacement of each size."""
    rng = np.random.default_rng(seed)
    means = []
    for size in batches:
        found = []
        for _ in range(20):
            rows, rows2 = rng.choice(len(first), size=size), rng.choice(len(second), size=size)
            found.append(_of_rows(first[rows], second[rows2]))
        means.append(float(np.mean(found)))
    return _intercept(1 / batches, np.array(means))


def _of_rows(first: Floats, second: Floats) -> float:
    moments = []
    for table in (first, second):
        mean = table.mean(axis=0)
        centred = table - mean
        moments += [mean, centred.T @ centred / (len(table) - 1)]
    return _frechet(*moments)


def _intercept(x: Floats, y: Floats) -> tuple[float, float]:
    """Least squares of a + b x with a, b >= 0: a, and its error from the residuals."""

    def line(with_intercept: bool, with_slope: bool) -> tuple[float, float]:
        if with_intercept and with_slope:
            slope = ((x - x.mean()) * (y - y.mean())).sum() / np.square(x - x.mean()).sum()
            return float(y.mean() - slope * x.mean()), float(slope)
        if with_intercept:
            return float(y.mean()), 0.0
        return 0.0, float((x * y).sum() / np.square(x).sum()) if with_slope else 0.0

    def residual(fit: tuple[float, float]) -> float:
        return float(np.square(y - fit[0] - fit[1] * x).sum())

    fits = [line(a, b) for a in (True, False) for b in (True, False)]
    best = min((fit for fit in fits if min(fit) >= 0), key=residual)
    # The covariance of the two parameters as if there were no bounds, as curve_fit has it.
    variance = residual(best) / (len(x) - 2)
    spread = np.square(x - x.mean()).sum()
    return best[0], math.sqrt(variance * (1 / len(x) + x.mean() ** 2 / spread))
