r"""Differential distributions: the integral cut into the bins of a histogram.

Each bin is an integral of its own, estimated from the same points,

.. math:: I_b = \sum_i m_i f(x_i) [x_i \in b]

with the error of the draw that the points come from. Bins add up to the integral, overflow
included where axes have it, and batches are combined by their numbers of calls: an average weighted
by the estimated variances would prefer batches in which a bin got few points, and come out low.

Shapes: B points, K bins with underflow and overflow.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import hist
import numpy as np
from numpy.typing import NDArray

from hepgen.integration.sampler import Draw

__all__ = ["Differential"]

Array = NDArray[np.float64]
Indices = NDArray[np.int64]
Axes = Sequence[Any]

# Of the integers that axes of integers take.
LARGEST = 2**31 - 1


class Differential:
    """One histogram of the integral, filled batch by batch.

    Args:
        axes: hist axes with names, those of the observables; in a distribution of one observable a
            single axis.

    Raises:
        ValueError: no axis, one without a name, of a growing kind or of texts.
    """

    def __init__(self, axes: Axes) -> None:
        self.axes = tuple(axes)
        if not self.axes:
            raise ValueError("a distribution wants an axis at least, got none")
        for axis in self.axes:
            if not getattr(axis, "name", ""):
                raise ValueError(
                    f"{axis!r} has no name; wanted that of an observable, as in "
                    'hist.axis.Regular(20, 0, 100, name="pt")'
                )
            if axis.traits.growth:
                raise ValueError(f"axis {axis.name!r} grows; wanted fixed bins")
            if isinstance(axis, hist.axis.StrCategory):
                raise ValueError(f"axis {axis.name!r} is one of texts; wanted one of numbers")
        self.name = "_".join(axis.name for axis in self.axes)
        self.shape = tuple(axis.extent for axis in self.axes)
        self.values = np.zeros(int(np.prod(self.shape)))
        self.variances = np.zeros_like(self.values)
        self.calls = 0

    def add(self, draw: Draw, values: Array, observables: Mapping[str, Array]) -> None:
        """Add a batch.

        Args:
            draw: where the points come from.
            values: of the integrand, shape (B,).
            observables: quantities at the points by name, each (B,).

        Raises:
            KeyError: no observable of an axis's name; the message names the nearest.
        """
        bins, inside = self._bins(observables)
        value, variance = _in_bins(draw, np.where(inside, values, 0), bins, len(self.values))
        total = self.calls + len(draw)
        old, new = self.calls / total, len(draw) / total
        self.values = old * self.values + new * value
        self.variances = old**2 * self.variances + new**2 * variance
        self.calls = total

    def hist(self) -> hist.Hist[Any]:
        """The distribution: in each bin the integral over it and its variance.

        Divide by the widths of the bins for a density. Underflow and overflow are kept, where the
        axes have them.
        """
        made = hist.Hist(*self.axes, storage=hist.storage.Weight())
        view: Any = made.view(flow=True)
        view["value"] = self.values.reshape(self.shape)
        view["variance"] = self.variances.reshape(self.shape)
        return made

    def check(self, names: Collection[str]) -> None:
        """See that there is an observable for each axis.

        Args:
            names: of the observables.

        Raises:
            KeyError: there is none of an axis's name; the message names the nearest.
        """
        for axis in self.axes:
            if axis.name not in names:
                near = get_close_matches(axis.name, list(names), n=3, cutoff=0.0)
                raise KeyError(
                    f"no observable {axis.name!r} for the axis; nearest: {', '.join(near)}"
                )

    def _bins(self, observables: Mapping[str, Array]) -> tuple[Indices, NDArray[np.bool_]]:
        """Bin of each point, and whether it lies in one: axes may have no overflow."""
        self.check(observables)
        indices, inside = [], np.ones((), np.bool_)
        for axis in self.axes:
            index = _places(axis, observables[axis.name]) + int(axis.traits.underflow)
            inside = inside & (index >= 0) & (index < axis.extent)
            indices.append(np.clip(index, 0, axis.extent - 1))
        return np.asarray(np.ravel_multi_index(tuple(indices), self.shape), np.int64), inside


def _places(axis: Any, column: Array) -> Indices:
    """Bin of each value on one axis; -1 below and the number of bins above it."""
    if isinstance(axis, hist.axis.IntCategory):
        # Its own index knows no value but the categories.
        match = column[:, None] == np.asarray(list(axis))
        return np.asarray(np.where(match.any(1), match.argmax(1), match.shape[1]), np.int64)
    if axis.traits.discrete:
        # These take integers only; NaN belongs beyond the end.
        whole = np.nan_to_num(np.floor(column), nan=LARGEST)
        column = np.clip(whole, -LARGEST, LARGEST).astype(np.int64)
    return np.asarray(axis.index(column), np.int64)


def _in_bins(draw: Draw, values: Array, bins: Indices, count: int) -> tuple[Array, Array]:
    """Integral and variance of each bin, as `Draw.estimate` has them for the whole."""
    totals: Array = values * draw.measure
    sums: Array = np.bincount(bins, totals, count).astype(np.float64)
    stratum = np.zeros(draw.units, np.int64) if draw.stratum is None else draw.stratum
    if draw.unit is not None:
        keys, place = np.unique(draw.unit * count + bins, return_inverse=True)
        totals = np.bincount(place, totals).astype(np.float64)
        unit, bins = np.divmod(keys, count)
        stratum = stratum[unit]
    # Of each pair of stratum and bin that has points: sum and sum of squares; the units of the
    # stratum outside the bin count as zeros.
    keys, place = np.unique(stratum * count + bins, return_inverse=True)
    first, second = np.bincount(place, totals), np.bincount(place, totals**2)
    sizes = np.bincount(np.zeros(draw.units, np.int64) if draw.stratum is None else draw.stratum)
    size = sizes[keys // count].astype(np.float64)
    spread = np.maximum(second - first**2 / size, 0.0) * size / (size - 1)
    return sums, np.bincount(keys % count, spread, count).astype(np.float64)
