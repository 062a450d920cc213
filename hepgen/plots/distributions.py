"""Distributions by class: of scores, features, masses.

Shapes: B jets, M bins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import hist
import mplhep
import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from hepgen.plots.style import colours

__all__ = ["distributions", "histogram", "scores"]


def histogram(
    values: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    bins: int | ArrayLike = 50,
    span: tuple[float, float] | None = None,
    name: str = "value",
    title: str = "",
) -> hist.Hist[Any]:
    """A histogram with the sums of squared weights, which uproot writes and ROOT reads.

    Args:
        values: (B,); NaN counts in no bin.
        weights: (B,).
        bins: number of bins of equal width, or rising edges.
        span: lowest and highest edge; the middle 99.8 % of the values where there is none.
        name: of the axis.
        title: of the axis: what is drawn below, with its unit.

    Returns:
        The filled histogram.

    Raises:
        ValueError: no finite value to take the span from.
    """
    value = np.asarray(values, dtype=np.float64)
    if np.ndim(bins):
        axis: Any = hist.axis.Variable(np.asarray(bins), name=name, label=title)
    else:
        low, high = span if span is not None else _middle(value)
        axis = hist.axis.Regular(int(np.asarray(bins)), low, high, name=name, label=title)
    found = hist.Hist(axis, storage=hist.storage.Weight())
    found.fill(value, weight=None if weights is None else np.asarray(weights, dtype=np.float64))
    return found


def distributions(
    ax: Axes,
    histograms: Mapping[str, hist.Hist[Any]],
    *,
    xlabel: str | None = None,
    density: bool = True,
    log: bool = False,
    fill_first: bool = False,
) -> list[Any]:
    """Draw histograms over each other as steps, with bars for their errors.

    Args:
        ax: where.
        histograms: by name, as the legend has them; of equal axes.
        xlabel: below; the label of the axis of the first histogram if None.
        density: scale each to area 1.
        log: logarithmic vertical axis.
        fill_first: fill the area under the first.

    Returns:
        The artists of mplhep.

    Raises:
        ValueError: no histogram.
    """
    if not histograms:
        raise ValueError("distributions need a histogram")
    artists: list[Any] = []
    first = next(iter(histograms.values()))
    shades = colours(len(histograms))
    for number, (name, content) in enumerate(histograms.items()):
        fill = fill_first and number == 0
        artists += mplhep.histplot(
            content,
            ax=ax,
            label=name,
            density=density,
            histtype="fill" if fill else "step",
            yerr=not fill,
            # Bars of empty bins would hide the bins that are not.
            w2method="sqrt",
            color=shades[number],
            alpha=0.35 if fill else 1.0,
            flow="none",
        )
    axis = first.axes[0]
    ax.set(
        xlabel=axis.label if xlabel is None else xlabel,
        ylabel="Arbitrary units" if density else "Jets",
        xlim=(axis.edges[0], axis.edges[-1]),
    )
    if log:
        ax.set_yscale("log")
        _logarithmic_limits(ax, list(histograms.values()), density)
    else:
        ax.set_ylim(0, 1.3 * ax.get_ylim()[1])
    many = len(histograms) > 5
    ax.legend(
        loc="upper right",
        ncols=1 if len(histograms) < 4 else 2,
        fontsize="x-small" if many else None,
    )
    return artists


def scores(
    ax: Axes,
    values: Mapping[str, hist.Hist[Any] | ArrayLike],
    *,
    signal: str = "signal",
    bins: int = 50,
    log: bool = True,
) -> list[Any]:
    """Draw the scores of each class.

    Args:
        ax: where.
        values: by class: a histogram, or scores (B,).
        signal: the class that the score is of, for the axis.
        bins: their number, where scores come as arrays.
        log: logarithmic vertical axis.

    Returns:
        The artists.

    Raises:
        ValueError: no class.
    """
    arrays = [np.asarray(v) for v in values.values() if not isinstance(v, hist.Hist)]
    span = _range_of(arrays)
    histograms = {
        name: value if isinstance(value, hist.Hist) else histogram(value, bins=bins, span=span)
        for name, value in values.items()
    }
    return distributions(ax, histograms, xlabel=f"Score for {signal}", log=log)


def _middle(value: Any) -> tuple[float, float]:
    finite = value[np.isfinite(value)]
    if not len(finite):
        raise ValueError("a histogram without a span needs finite values")
    low, high = np.quantile(finite, [0.001, 0.999])
    return (float(low), float(high)) if low < high else (float(low) - 0.5, float(low) + 0.5)


def _range_of(arrays: Sequence[Any]) -> tuple[float, float] | None:
    values = np.concatenate(arrays) if arrays else np.zeros(0)
    values = values[np.isfinite(values)]
    if not len(values):
        return None
    low, high = float(values.min()), float(values.max())
    # Probabilities get the whole of [0, 1]; anything else what it covers. The last edge is not in
    # the last bin.
    return (0.0, 1.0 + 1e-9) if low >= 0 and high <= 1 else (low, high + 1e-9 * (1 + abs(high)))


def _logarithmic_limits(ax: Axes, histograms: list[Any], density: bool) -> None:
    lowest, highest = [], []
    for content in histograms:
        values = content.values()
        total = values.sum() if density else 1.0
        heights = values / content.axes[0].widths / total if density and total else values
        positive = heights[heights > 0]
        if len(positive):
            lowest.append(positive.min())
            highest.append(positive.max())
    if lowest:
        ax.set_ylim(0.4 * min(lowest), 12 * max(highest))
