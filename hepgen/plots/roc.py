"""Background rejection against signal efficiency, for one tagger or several.

Shapes: T points of the grid in signal efficiency.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from hepgen.metrics import Roc
from hepgen.plots.style import colours

__all__ = ["roc"]


def roc(
    ax: Axes,
    curves: Mapping[str, Roc],
    *,
    ratio_ax: Axes | None = None,
    working_points: tuple[float, ...] = (),
    lowest: float = 0.05,
    points: int = 400,
) -> list[Any]:
    """Draw background rejection against signal efficiency, with bands of one standard error.

    From the right, a curve ends where fewer than about three background jets pass.

    Args:
        ax: where.
        curves: ROC curves by name, as the legend has them.
        ratio_ax: where the ratios to the first curve go, with bands of each curve alone.
        working_points: signal efficiencies to mark by a thin line.
        lowest: signal efficiency at the left end.
        points: T, equally spaced in signal efficiency.

    Returns:
        Lines and bands.

    Raises:
        ValueError: no curve.
    """
    if not curves:
        raise ValueError("a ROC plot needs a curve")
    artists: list[Any] = []
    signal = np.linspace(lowest, 1, points)
    first: Any = None
    for colour, (name, curve) in zip(colours(len(curves)), curves.items(), strict=True):
        value, error = curve.background_at(signal)
        known = (value > 0) & (error < 0.6 * value)
        known = np.logical_and.accumulate(known[::-1])[::-1]
        with np.errstate(divide="ignore", invalid="ignore"):
            rejection = np.where(known, 1 / value, np.nan)
            width = rejection * error / value
        artists += ax.plot(signal, rejection, color=colour, label=name)
        artists.append(_band(ax, signal, rejection, width, colour))
        first = rejection if first is None else first
        if ratio_ax is not None:
            artists += ratio_ax.plot(signal, rejection / first, color=colour)
            artists.append(_band(ratio_ax, signal, rejection / first, width / first, colour))
    for target in working_points:
        for axes in (ax, ratio_ax):
            if axes is not None:
                artists.append(axes.axvline(target, color="#9c9ca1", lw=0.8, ls=":", zorder=0))
    ax.set(yscale="log", ylabel="Background rejection", xlim=(0, 1))
    ax.set_ylim(bottom=1)
    if len(curves) <= 5:
        ax.legend(loc="upper right")
    else:
        # Rejections fall from the upper left to the lower right.
        ax.legend(loc="lower left", fontsize="x-small")
    lowest_ax = ax if ratio_ax is None else ratio_ax
    lowest_ax.set_xlabel("Signal efficiency")
    if ratio_ax is not None:
        ratio_ax.set(ylabel="Ratio", xlim=(0, 1), ylim=_around_one(artists, ratio_ax))
    return artists


def _band(ax: Axes, x: Any, y: Any, width: Any, colour: str) -> Any:
    return ax.fill_between(x, y - width, y + width, color=colour, alpha=0.25, lw=0)


def _around_one(artists: list[Any], ax: Axes) -> tuple[float, float]:
    """Limits that hold the bulk of the ratios, not the last jets of the steepest part."""
    values = [
        line.get_ydata() for line in artists if line.axes is ax and hasattr(line, "get_ydata")
    ]
    ratios = np.concatenate([np.asarray(value, dtype=float) for value in values if len(value) > 2])
    ratios = ratios[np.isfinite(ratios)]
    if not len(ratios):
        return 0.5, 1.5
    reach = 1.4 * max(np.quantile(np.abs(ratios - 1), 0.95), 0.05)
    return float(max(1 - reach, 0)), float(1 + reach)
