r"""Precision, recall, density and coverage: two samples seen through balls around their rows.

The ball of a row reaches to its k-th neighbour in its own sample. Precision is the share of
generated rows in some ball of the reference, recall that of the reference in some ball of generated
rows (T. Kynkaanniemi et al., NeurIPS 2019, arXiv:1904.06991); density counts the balls,
:math:`\frac{1}{k B'} \sum_{ij} 1[d_{ij} < r_i]`, and coverage is the share of balls of the
reference with a generated row inside (M. F. Naeem et al., ICML 2020, arXiv:2002.09797).

Shapes: B rows, F features, k neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hepgen.metrics.estimate import Estimate
from hepgen.metrics.generative.floors import real_pairs
from hepgen.metrics.generative.kernel_sums import blocks, squared_distances
from hepgen.metrics.generative.neighbours import nearest
from hepgen.metrics.generative.tables import Scale, paired, scaled
from hepgen.metrics.samples import Floats

__all__ = ["PrecisionRecall", "precision_recall"]


@dataclass(frozen=True, slots=True)
class PrecisionRecall:
    """Four estimates, each with what real rows reach against real rows as its floor.

    Attributes:
        precision: share of generated rows that look real.
        recall: share of real rows that could have been generated.
        density: real balls around a generated row, over k: 1 for equal laws.
        coverage: share of real balls that hold a generated row.
    """

    precision: Estimate
    recall: Estimate
    density: Estimate
    coverage: Estimate


def precision_recall(
    reference: ArrayLike,
    generated: ArrayLike,
    *,
    other: ArrayLike | None = None,
    k: int = 5,
    scale: Scale = None,
    halves: int = 10,
    splits: int = 1,
    seed: int = 0,
) -> PrecisionRecall:
    """Precision, recall, density and coverage.

    Args:
        reference: (B, F).
        generated: (B', F); weights have no meaning here, as a ball has no weighted radius.
        other: (B'', F), a second reference sample for the floor; without it the floor comes from
            halves of the reference, which for precision and recall is not quite that of the whole.
        k: neighbours that a ball reaches to; 5 in the CaloChallenge, whose features are
            log10(voxel / MeV) with 0.1 MeV for empty voxels, without a scale.
        scale: of the features, see :func:`~hepgen.metrics.generative.tables.scaled`.
        halves: how often both samples are halved at random, the errors being the differences of
            halves; each takes half the time of the metric. 0 leaves them NaN.
        splits: of the reference for the floor; 0 for none.
        seed: of halves and splits.

    Returns:
        The estimates. Ten halvings know the errors to about a quarter.

    Raises:
        ValueError: tables that do not go together, or fewer than 2 (k + 2) rows in one.
    """
    if k < 1:
        raise ValueError(f"at least one neighbour is wanted; got k = {k}")
    pair = scaled(paired(reference, generated, other=other, least=2 * (k + 2)), scale)
    values = _measure(pair.reference, pair.generated, k)
    errors = _errors(pair.reference, pair.generated, k, halves, seed)
    floors: list[Floats] = []
    if splits > 0:
        floors = [_measure(*parts, k) for parts in real_pairs(pair, splits, seed, least=k + 1)]
    floor = [float(f) for f in np.mean(floors, axis=0)] if floors else [None] * 4
    return PrecisionRecall(
        *(
            Estimate(float(value), float(error), floor=one)
            for value, error, one in zip(values, errors, floor, strict=True)
        )
    )


def _measure(real: Floats, generated: Floats, k: int) -> Floats:
    """Precision, recall, density, coverage."""
    radii = [nearest(table, table, k, same=True)[0][:, -1] for table in (real, generated)]
    holding, held = _balls(real, radii[0], generated)
    reached, _ = _balls(generated, radii[1], real)
    return np.array([(holding > 0).mean(), (reached > 0).mean(), holding.mean() / k, held.mean()])


def _errors(real: Floats, generated: Floats, k: int, halves: int, seed: int) -> Floats:
    """From differences of two halves of both samples, whose variance is four times that of all."""
    if halves < 1:
        return np.full(4, np.nan)
    rng = np.random.default_rng([seed, 9])
    squares = np.zeros(4)
    for _ in range(halves):
        parts = []
        for table in (real, generated):
            order = rng.permutation(len(table))
            middle = len(table) // 2
            parts.append((table[order[:middle]], table[order[middle:]]))
        first, second = (_measure(x, y, k) for x, y in zip(*parts, strict=True))
        squares += np.square(first - second)
    return np.asarray(np.sqrt(squares / halves) / 2)


def _balls(
    centres: Floats, radii: Floats, rows: Floats
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """How many balls hold each row, and whether each ball holds a row."""
    middle = centres.mean(axis=0)
    near, shifted = centres - middle, rows - middle
    # What lies on the surface is outside, whatever the rounding of the product of matrices.
    squares = np.einsum("ij,ij->i", near, near)
    reach = np.square(radii) - 1e-13 * squares
    holding, held = np.empty(len(rows), np.int64), np.zeros(len(centres), np.bool_)
    for part in blocks(len(rows), len(centres)):
        block = shifted[part]
        distances = squared_distances(block, near)
        distances += 1e-13 * np.einsum("ij,ij->i", block, block)[:, None]
        inside = distances < reach
        holding[part] = inside.sum(axis=1)
        held |= inside.any(axis=0)
    return holding, held
