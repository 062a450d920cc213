"""Several taggers side by side: a panel a metric, a line a tagger."""

from __future__ import annotations

import math
from collections.abc import Mapping

from matplotlib.figure import Figure

__all__ = ["taggers_side_by_side"]

Numbers = Mapping[str, tuple[float, float, float]]


def taggers_side_by_side(columns: Mapping[str, Numbers]) -> Figure:
    """Draw metrics of several taggers as points with two errors.

    Args:
        columns: metric -> tagger -> mean over seeds, standard deviation over the seeds (thick; NaN
            draws none), error of the test sample (thin). Infinite means are left out.

    Returns:
        A figure with one panel for each metric, taggers from top to bottom.

    Raises:
        ValueError: there is no metric.
    """
    if not columns:
        raise ValueError("no metric to draw")
    names = list(next(iter(columns.values())))
    size = (2.2 + 2.6 * len(columns), 1.2 + 0.32 * len(names))
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(1, len(columns), sharey=True, squeeze=False)[0]
    for ax, (metric, numbers) in zip(panels, columns.items(), strict=True):
        for place, name in enumerate(names):
            mean, spread, sampling = numbers[name]
            if not math.isfinite(mean):
                continue
            ax.errorbar(mean, place, xerr=sampling, color="C0", fmt="o", markersize=4, lw=1)
            if math.isfinite(spread):
                ax.errorbar(mean, place, xerr=spread, color="C1", lw=3, alpha=0.7, zorder=0)
        ax.set_xlabel(metric)
        ax.grid(axis="x", alpha=0.3)
    panels[0].set_yticks(range(len(names)), names)
    panels[0].set_ylim(len(names) - 0.5, -0.5)
    return figure
