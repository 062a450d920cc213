r"""Separation power of two histograms, with what lies outside of the edges.

.. math:: S = \tfrac12 \sum_i \frac{(p_i - q_i)^2}{p_i + q_i}

of contents p and q that sum to one: 0 for equal, 1 for disjoint histograms. Also triangular
discrimination; S. Diefenbacher et al., "DCTRGAN", JINST 15 (2020) P11004, arXiv:2009.03796, eq. 15.

Shapes: B values, M bins.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from hepgen.metrics.estimate import Estimate
from hepgen.metrics.generative.floors import real_floor
from hepgen.metrics.generative.tables import paired
from hepgen.metrics.samples import Floats, weight_of

__all__ = ["Histogram", "histogram", "separation_power"]


@dataclass(frozen=True, slots=True)
class Histogram:
    """Sums of weights in bins, with what lies below and above them.

    Attributes:
        edges: (M + 1,), ascending, in the unit of the observable.
        contents: (M + 2,): below the first edge, the bins, from the last edge on.
        variances: (M + 2,), sums of squared weights.
    """

    edges: Floats
    contents: Floats
    variances: Floats

    @property
    def inside(self) -> Floats:
        """Contents of the bins alone, (M,)."""
        return self.contents[1:-1]

    @property
    def outside(self) -> float:
        """Share of the weights that lies beyond the edges."""
        return float((self.contents[0] + self.contents[-1]) / self.contents.sum())


def histogram(values: ArrayLike, edges: ArrayLike, weights: ArrayLike | None = None) -> Histogram:
    """Fill a histogram that loses nothing.

    Args:
        values: (B,), in the unit of the edges.
        edges: (M + 1,), ascending. A value on the last edge is in the last bin, as in NumPy.
        weights: (B,).

    Returns:
        The histogram.

    Raises:
        ValueError: edges that do not ascend, a NaN, no values, another number of weights, or a sum
            of weights that is not positive. Infinite values lie below or above.
    """
    value = np.asarray(values, dtype=np.float64)
    border = _edges(edges)
    if value.ndim != 1 or not len(value):
        raise ValueError(f"values (B,) of one observable are wanted; got shape {value.shape}")
    missing = int(np.isnan(value).sum())
    if missing:
        raise ValueError(f"{missing} of {len(value)} values are NaN")
    weight = weight_of(weights, len(value))
    index = _bins(value, border)
    length = len(border) + 1
    contents = np.bincount(index, weight, length).astype(np.float64)
    if not contents.sum() > 0:
        raise ValueError(f"a positive sum of weights is wanted; got {contents.sum():g}")
    squares = None if weight is None else np.square(weight)
    variances = np.bincount(index, squares, length).astype(np.float64)
    return Histogram(border, contents, variances)


def separation_power(
    reference: ArrayLike,
    generated: ArrayLike,
    edges: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    other: ArrayLike | None = None,
    out_of_range: Literal["keep", "drop"] = "keep",
    splits: int = 20,
    seed: int = 0,
) -> Estimate:
    """Separation power of an observable.

    The challenge drops what lies outside of its edges before it normalises, so a generator may put
    half of its showers there unseen; "drop" is for numbers beside published ones.

    Args:
        reference: (B,), in the unit of the edges.
        generated: (B',).
        edges: (M + 1,), ascending.
        weights: (B',) of the generated values.
        other: (B'',), a second reference sample for the floor.
        out_of_range: "keep" counts what is below and above as two more bins.
        splits: of the reference for the floor; 0 for none.
        seed: of the splits.

    Returns:
        Between 0 and 1. The error knows that S is a square where there is no difference.

    Raises:
        ValueError: what :func:`histogram` raises, infinite values, negative weights, or nothing
            within the edges and "drop".
    """
    if out_of_range not in ("keep", "drop"):
        raise ValueError(f"out_of_range is 'keep' or 'drop'; got {out_of_range!r}")
    pair = paired(reference, generated, weights, other)
    if pair.reference.shape[1] != 1:
        raise ValueError(f"one observable is wanted; got {pair.reference.shape[1]}")
    border = _edges(edges)
    cut = slice(None) if out_of_range == "keep" else slice(1, -1)
    found = [
        histogram(table[:, 0], border, weight)
        for table, weight in ((pair.reference, None), (pair.generated, pair.weights))
    ]
    for name, one in zip(("reference", "generated"), found, strict=True):
        if not one.contents[cut].sum() > 0:
            raise ValueError(f"{name}: nothing lies between {border[0]:g} and {border[-1]:g}")
    contents = [one.contents[cut] for one in found]
    variances = [one.variances[cut] for one in found]

    def statistic(first: Floats, second: Floats) -> float:
        parts = [histogram(table[:, 0], border).contents[cut] for table in (first, second)]
        return _separation(*parts) if all(part.sum() > 0 for part in parts) else math.nan

    floor = real_floor(statistic, pair, power=1.0, splits=splits, seed=seed)
    return Estimate(_separation(*contents), _error(contents, variances), floor=floor)


def _edges(edges: ArrayLike) -> Floats:
    border = np.asarray(edges, dtype=np.float64)
    if border.ndim != 1 or len(border) < 2 or not np.all(np.diff(border) > 0):
        raise ValueError(f"at least two ascending edges are wanted; got {border[:5]!r} ...")
    return border


def _bins(values: Floats, edges: Floats) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    index = np.searchsorted(edges, values, side="right")
    return np.where(values == edges[-1], len(edges) - 1, index)


def _separation(first: Floats, second: Floats) -> float:
    p, q = first / first.sum(), second / second.sum()
    total = p + q
    filled = total > 0
    return float(0.5 * (np.square(p - q)[filled] / total[filled]).sum())


def _error(contents: list[Floats], variances: list[Floats]) -> float:
    p, q = (content / content.sum() for content in contents)
    total = np.where(p + q > 0, p + q, 1.0)
    linear, quadratic = 0.0, np.zeros(len(p))
    sides = ((p, q, contents[0], variances[0]), (q, p, contents[1], variances[1]))
    for mine, yours, content, variance in sides:
        slope = (mine - yours) * (mine + 3 * yours) / (2 * np.square(total))
        # An event moves its bin and, through the norm, all others.
        centred = slope - (slope * mine).sum()
        linear += float((np.square(centred) * variance).sum() / content.sum() ** 2)
        quadratic += variance / content.sum() ** 2
    # The noise of p - q is in the slope as well: it is taken off once, and what it does alone (the
    # variance of a sum of squares) is the least there can be.
    noise = float(2 * np.square(quadratic / (2 * total)).sum())
    return math.sqrt(max(linear - noise, noise))
