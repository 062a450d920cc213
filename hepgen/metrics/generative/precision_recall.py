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
from hepgen.metrics.generative.kernel_sums import tiles
from hepgen.metrics.generative.neighbours import distance_tiles, neighbour_radii
from hepgen.metrics.generative.tables import Scale, paired, scaled
from hepgen.metrics.samples import Floats, Ints

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
        reference: (B, F); float32 stays float32 without a scale, and is never copied.
        generated: (B', F), likewise; weights have no meaning, as a ball has no weighted radius.
        other: (B'', F), a second reference sample for the floor; without it the floor comes from
            halves of the reference, which for precision and recall is not quite that of the whole.
        k: neighbours that a ball reaches to; 5 in the CaloChallenge, whose features are
            log10(voxel / MeV) with 0.1 MeV for empty voxels, without a scale.
        scale: of the features, see :func:`~hepgen.metrics.generative.tables.scaled`.
        halves: how often both samples are halved at random, the errors being the differences of
            halves, which share the distances of all rows. 0 leaves them NaN.
        splits: of the reference for the floor; 0 for none.
        seed: of halves and splits.

    Returns:
        The estimates. Ten halvings know the errors to about a quarter.

    Raises:
        ValueError: tables that do not go together, or fewer than 2 (k + 2) rows in one.
    """
    if k < 1:
        raise ValueError(f"at least one neighbour is wanted; got k = {k}")
    # Tables of voxels are large: they stay as they are where nothing divides them.
    tables = paired(reference, generated, other=other, least=2 * (k + 2), keep=scale is None)
    pair = scaled(tables, scale)
    whole, parts = _measure(pair.reference, pair.generated, k, halves, seed)
    errors = np.sqrt(np.square(parts[:, 0] - parts[:, 1]).mean(axis=0)) / 2 if halves > 0 else None
    floors: list[Floats] = []
    if splits > 0:
        real = real_pairs(pair, splits, seed, least=k + 1)
        floors = [_measure(*both, k, 0, seed)[0] for both in real]
    floor = [float(f) for f in np.mean(floors, axis=0)] if floors else [None] * 4
    return PrecisionRecall(
        *(
            Estimate(float(value), float(error), floor=one)
            for value, error, one in zip(
                whole, np.full(4, np.nan) if errors is None else errors, floor, strict=True
            )
        )
    )


def _measure(
    real: Floats, generated: Floats, k: int, halves: int, seed: int
) -> tuple[Floats, Floats]:
    """Precision, recall, density, coverage of all, (4,), and of pairs of halves, (H, 2, 4).

    The variance of a difference of halves is four times that of all.
    """
    groups = _halves(len(real), len(generated), halves, seed)
    radii = [
        neighbour_radii(table, group, k)
        for table, group in zip((real, generated), groups, strict=True)
    ]
    holding, held, reached = _balls(real, generated, radii, groups)
    found = []
    for number in range(halves + 1):
        for label in range(2 if number else 1):
            mine, yours = (group[number] == label for group in groups)
            count = holding[number, yours]
            shares = (reached[number, mine].mean(), count.mean() / k, held[number, mine].mean())
            found.append([(count > 0).mean(), *shares])
    return np.array(found[0]), np.array(found[1:]).reshape(halves, 2, 4)


def _halves(real: int, generated: int, halves: int, seed: int) -> tuple[Ints, Ints]:
    """Labels 0 and 1 of the halves of both samples, (H + 1, B); first all, labelled 0."""
    rng = np.random.default_rng([seed, 9])
    groups = tuple(np.zeros((max(halves, 0) + 1, size), np.int64) for size in (real, generated))
    for number in range(1, halves + 1):
        for group in groups:
            order = rng.permutation(group.shape[1])
            group[number, order[len(order) // 2 :]] = 1
    return groups[0], groups[1]


def _balls(
    real: Floats, generated: Floats, radii: list[Floats], groups: tuple[Ints, Ints]
) -> tuple[Ints, NDArray[np.bool_], NDArray[np.bool_]]:
    """What balls hold, within the same group of each of H + 1 groupings.

    Returns:
        How many real balls hold each generated row, (H + 1, B'); whether each real ball holds a
        generated row, and whether each real row is in a generated ball, (H + 1, B).
    """
    holding = np.zeros(groups[1].shape, np.int64)
    held, reached = np.zeros((2, *groups[0].shape), np.bool_)
    centre = np.asarray(real.mean(axis=0, dtype=np.float64))
    # What lies on the surface is outside, whatever the rounding of the product of matrices.
    near, away = (1e-13 * _squares(table, centre) for table in (real, generated))
    first, second = np.square(radii[0]), np.square(radii[1])
    for rows, columns, values in distance_tiles(real, generated, centre):
        values += near[rows, None]
        values += away[columns]
        for number in range(len(holding)):
            for label in range(2 if number else 1):
                mine = np.flatnonzero(groups[0][number, rows] == label)
                yours = np.flatnonzero(groups[1][number, columns] == label)
                some = values[np.ix_(mine, yours)] if number else values
                mine, yours = mine + rows.start, yours + columns.start
                inside = some < first[number, mine, None]
                holding[number, yours] += inside.sum(axis=0)
                held[number, mine] |= inside.any(axis=1)
                reached[number, mine] |= (some < second[number, yours]).any(axis=1)
    return holding, held, reached


def _squares(table: Floats, centre: Floats) -> Floats:
    """Squared distances from the centre, (B,)."""
    found = np.empty(len(table))
    for rows, _ in tiles(len(table), 1):
        shifted = table[rows] - centre
        found[rows] = np.einsum("ij,ij->i", shifted, shifted)
    return found
