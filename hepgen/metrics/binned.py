"""Metrics in bins of an observable: how a tagger does at low and at high pT.

Shapes: B jets, M bins.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hepgen.metrics.classification import efficiency
from hepgen.metrics.estimate import Estimate
from hepgen.metrics.samples import Floats, binary, truth, weight_of

__all__ = ["Binned", "bin_edges", "efficiency_in_bins", "in_bins"]

NOT_A_NUMBER = Estimate(float("nan"), float("nan"))


@dataclass(frozen=True, slots=True)
class Binned:
    """An estimate for each bin.

    Attributes:
        edges: (M + 1,), in the unit of the observable; the last bin holds its upper edge.
        estimates: M of them; value and error are NaN where a bin has too little to tell.
        jets: (M,), number of jets, of whatever weight.
        outside: number of jets beyond the edges, or whose observable is NaN.
    """

    edges: Floats
    estimates: tuple[Estimate, ...]
    jets: NDArray[np.int64]
    outside: int

    @property
    def values(self) -> Floats:
        """The values, (M,)."""
        return np.array([estimate.value for estimate in self.estimates])

    @property
    def errors(self) -> Floats:
        """The errors, (M,)."""
        return np.array([estimate.error for estimate in self.estimates])


def bin_edges(
    values: ArrayLike, bins: int = 10, strategy: Literal["quantile", "uniform"] = "quantile"
) -> Floats:
    """Edges of bins with equally many jets, or of equal width.

    Args:
        values: (B,); what is not finite is left out.
        bins: their number; fewer come back where many values are equal.
        strategy: "quantile" or "uniform", from the lowest to the highest value.

    Returns:
        Rising edges; at least two.

    Raises:
        ValueError: no finite value, no bins, or another strategy.
    """
    value = np.asarray(values, dtype=np.float64)
    value = value[np.isfinite(value)]
    if not len(value) or bins < 1 or strategy not in ("quantile", "uniform"):
        raise ValueError(
            f"no edges of {bins} bins by {strategy!r} from {len(value)} finite values; "
            "strategies are 'quantile' and 'uniform'"
        )
    if strategy == "quantile":
        edges = np.unique(np.quantile(value, np.linspace(0, 1, bins + 1)))
    else:
        edges = np.unique(np.linspace(value.min(), value.max(), bins + 1))
    return edges if len(edges) > 1 else np.array([edges[0], np.nextafter(edges[0], np.inf)])


def in_bins(
    metric: Callable[..., Estimate],
    values: ArrayLike,
    labels: ArrayLike,
    scores: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    bins: int | ArrayLike = 10,
    strategy: Literal["quantile", "uniform"] = "quantile",
    **keywords: Any,
) -> Binned:
    """A metric of two classes in bins, the cut for a given signal efficiency anew in each.

    Args:
        metric: ``metric(labels, scores, weights=..., **keywords)``.
        values: (B,), the observable, such as pT in GeV.
        labels: (B,), 1 for signal.
        scores: (B,).
        weights: (B,).
        bins: rising edges, or a number (:func:`bin_edges`).
        strategy: how edges are chosen for a number of bins.
        **keywords: for the metric.

    Returns:
        An estimate a bin, NaN where a class is missing or its weights sum to nothing.

    Raises:
        ValueError: lengths differ, scores are NaN, or edges do not rise.
    """
    label, score, weight = binary(labels, scores, weights)
    edges, index = _binned(values, len(label), bins, strategy)
    estimates = []
    for number in range(len(edges) - 1):
        chosen = index == number
        used = None if weight is None else weight[chosen]
        if _both(label[chosen], used):
            estimates.append(metric(label[chosen], score[chosen], weights=used, **keywords))
        else:
            estimates.append(NOT_A_NUMBER)
    return _result(edges, index, estimates)


def efficiency_in_bins(
    passed: ArrayLike,
    values: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    bins: int | ArrayLike = 10,
    strategy: Literal["quantile", "uniform"] = "quantile",
) -> Binned:
    """Share of jets that pass one cut, in bins of an observable.

    Args:
        passed: (B,), True where a jet passes.
        values: (B,), the observable.
        weights: (B,).
        bins: rising edges, or a number (:func:`bin_edges`).
        strategy: how edges are chosen for a number of bins.

    Returns:
        An efficiency a bin, NaN where there is no weight.

    Raises:
        ValueError: lengths differ, or edges do not rise.
    """
    chosen = truth(passed)
    weight = weight_of(weights, len(chosen))
    weight = np.ones(len(chosen)) if weight is None else weight
    edges, index = _binned(values, len(chosen), bins, strategy)
    estimates = []
    for number in range(len(edges) - 1):
        here = index == number
        known = weight[here].sum() > 0
        estimates.append(efficiency(chosen[here], weight[here]) if known else NOT_A_NUMBER)
    return _result(edges, index, estimates)


def _binned(
    values: ArrayLike, length: int, bins: int | ArrayLike, strategy: Literal["quantile", "uniform"]
) -> tuple[Floats, NDArray[np.int64]]:
    """Edges, and the bin of each jet: -1 for those outside."""
    value = np.asarray(values, dtype=np.float64)
    if value.shape != (length,):
        raise ValueError(f"{value.shape} values of the observable for {length} jets")
    if np.ndim(bins) == 0:
        edges = bin_edges(value, int(np.asarray(bins)), strategy)
    else:
        edges = np.asarray(bins, dtype=np.float64)
    if len(edges) < 2 or not np.all(np.diff(edges) > 0):
        raise ValueError(f"edges of bins rise and are at least two; got {edges.tolist()}")
    index = np.searchsorted(edges, value, side="right") - 1
    index[value == edges[-1]] = len(edges) - 2
    index[(index >= len(edges) - 1) | np.isnan(value)] = -1
    return edges, index


def _both(label: Any, weight: Floats | None) -> bool:
    weight = np.ones(len(label)) if weight is None else weight
    return bool(weight[label].sum() > 0 and weight[~label].sum() > 0)


def _result(edges: Floats, index: NDArray[np.int64], estimates: list[Estimate]) -> Binned:
    jets = np.bincount(index[index >= 0], minlength=len(edges) - 1)
    return Binned(edges, tuple(estimates), jets, int(np.sum(index < 0)))
