"""What enters a comparison of two samples: tables of features, checked once and in one place.

A row is a shower (or any event), a column a feature in a unit of its own: an observable, an energy,
a voxel. The reference is what counts as the truth (Geant4) and has unit weights; generated rows may
carry weights, such as those of a correction.

Shapes: B rows, F features.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from hepgen.metrics.samples import Floats, weight_of

__all__ = ["Pair", "paired", "scaled"]

Scale = Literal["std", "max"] | None


@dataclass(frozen=True, slots=True)
class Pair:
    """Two checked tables with the same columns.

    Attributes:
        reference: (B, F) of the reference.
        generated: (B', F) of the generator.
        weights: (B',) of the generated rows, not negative; None for unit weights.
        other: (B'', F) of a second reference sample, for the floor.
    """

    reference: Floats
    generated: Floats
    weights: Floats | None = None
    other: Floats | None = None

    @property
    def sizes(self) -> tuple[float, float]:
        """Rows of the reference, and how many unweighted rows the generated ones are worth."""
        if self.weights is None:
            return float(len(self.reference)), float(len(self.generated))
        worth = self.weights.sum() ** 2 / np.square(self.weights).sum()
        return float(len(self.reference)), float(worth)


def paired(
    reference: ArrayLike,
    generated: ArrayLike,
    weights: ArrayLike | None = None,
    other: ArrayLike | None = None,
    *,
    least: int = 2,
    keep: bool = False,
) -> Pair:
    """Tables in float64 that can be compared; a column of numbers (B,) is a table (B, 1).

    Args:
        reference: (B, F) or (B,).
        generated: (B', F) or (B',).
        weights: (B',) of the generated rows.
        other: (B'', F) or (B'',), more of the reference.
        least: rows that each table needs.
        keep: leave tables in float32 that are, instead of a copy of twice the size.

    Returns:
        The checked tables.

    Raises:
        ValueError: numbers of columns differ, there are too few rows, NaN or infinite features, or
            weights that are negative, not finite or all zero.
    """
    x, y = (
        _table(name, values, least, keep)
        for name, values in (("reference", reference), ("generated", generated))
    )
    _same_columns("generated", x, y)
    weight = weight_of(weights, len(y))
    if weight is not None:
        if np.any(weight < 0) or not weight.sum() > 0:
            raise ValueError(
                f"weights are wanted that are not negative and not all zero; got "
                f"{int((weight < 0).sum())} negative ones and a sum of {weight.sum():g}"
            )
        # So that sums of weights are of the order of numbers of rows.
        weight = weight / weight.mean()
    more = None if other is None else _table("other", other, least, keep)
    if more is not None:
        _same_columns("other", x, more)
    return Pair(x, y, weight, more)


def scaled(pair: Pair, scale: Scale) -> Pair:
    """The tables with each feature divided by its size in the reference.

    Args:
        pair: the tables.
        scale: "std" for the standard deviation; "max" for the largest absolute value, as jetnet
            does, where columns of zeros stay as they are; None for nothing.

    Returns:
        The tables in units of the scale.

    Raises:
        ValueError: "std", and a feature is constant in the reference but not elsewhere: nothing
            tells how large a difference in it is.
    """
    if scale is None:
        return pair
    if scale not in ("std", "max"):
        raise ValueError(f"no scale {scale!r}; there are 'std', 'max' and None")
    x = pair.reference
    size = np.abs(x).max(axis=0) if scale == "max" else x.std(axis=0)
    if scale == "std":
        # Rounding leaves a constant feature with a spread.
        constant = np.ptp(x, axis=0) <= 1e-12 * np.abs(x).max(axis=0)
        size = np.where(constant, 0.0, size)
        first = x[0]
        tables = [pair.generated] if pair.other is None else [pair.generated, pair.other]
        differs = [np.abs(one - first).max(axis=0) > 1e-9 * np.abs(first) for one in tables]
        strange = constant & np.any(differs, axis=0)
        if np.any(strange):
            columns = np.flatnonzero(strange)
            raise ValueError(
                f"features {columns[:5].tolist()} of {x.shape[1]} are constant in the reference "
                f"({first[columns[0]]:g} in the first) but not in the generated sample, so nothing "
                "tells their scale: leave them out, or scale the tables yourself and say scale=None"
            )
    size = np.where(size == 0, 1.0, size)
    other = None if pair.other is None else pair.other / size
    return replace(pair, reference=x / size, generated=pair.generated / size, other=other)


def _table(name: str, values: ArrayLike, least: int, keep: bool) -> Floats:
    given = np.asarray(values)
    small = keep and given.dtype == np.float32
    table: Floats = given if small else np.asarray(given, dtype=np.float64)
    table = table[:, None] if table.ndim == 1 else table
    if table.ndim != 2 or not table.shape[1]:
        raise ValueError(f"{name}: a table (B, F) of features is wanted; got shape {table.shape}")
    if len(table) < least:
        raise ValueError(f"{name}: at least {least} rows are needed; got {len(table)}")
    finite = np.isfinite(table)
    if not np.all(finite):
        rows = np.flatnonzero(~finite.all(axis=1))
        columns = np.flatnonzero(~finite.all(axis=0))
        raise ValueError(
            f"{name}: {len(rows)} of {len(table)} rows have NaN or infinite features, "
            f"the first is row {rows[0]}; in columns {columns[:5].tolist()}"
        )
    return table


def _same_columns(name: str, reference: Floats, table: Floats) -> None:
    if table.shape[1] != reference.shape[1]:
        raise ValueError(
            f"reference has {reference.shape[1]} features, {name} has {table.shape[1]}"
        )
