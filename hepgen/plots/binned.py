"""A metric against an observable: efficiency or rejection in bins of pT, eta or mass."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from hepgen.metrics import Binned
from hepgen.plots.style import AXIS_LABELS, colours

__all__ = ["efficiency_vs"]


def efficiency_vs(
    ax: Axes,
    binned: Mapping[str, Binned],
    *,
    observable: str = "pt",
    quantity: str = "Efficiency",
    log: bool = False,
) -> list[Any]:
    """Draw a metric against an observable, a point a bin.

    The bar across is the bin, the bar along the error.

    Args:
        ax: where.
        binned: by name, as the legend has them.
        observable: "pt", "eta", "mass", or the text of the axis with its unit.
        quantity: what the metric is.
        log: logarithmic vertical axis, as rejections want.

    Returns:
        The error bars.

    Raises:
        ValueError: nothing to draw.
    """
    if not binned:
        raise ValueError("a plot in bins needs a metric")
    markers = "osD^vP"
    artists = []
    shades = colours(len(binned))
    for number, (name, found) in enumerate(binned.items()):
        edges, values = found.edges, found.values
        known = np.isfinite(values)
        # Several metrics share the bins: set side by side, their bars stay readable.
        shift = 0.12 * (number - (len(binned) - 1) / 2) * np.diff(edges)
        middle = (edges[1:] + edges[:-1]) / 2 + shift
        artists.append(
            ax.errorbar(
                middle[known],
                values[known],
                xerr=np.stack([middle - edges[:-1], edges[1:] - middle])[:, known],
                yerr=np.nan_to_num(found.errors[known]),
                fmt=markers[number % len(markers)],
                color=shades[number],
                label=name,
                markersize=5,
                capsize=0,
                lw=1.3,
            )
        )
    ax.set(xlabel=AXIS_LABELS.get(observable, observable), ylabel=quantity)
    _limits(ax, list(binned.values()), log)
    ax.legend(loc="upper right", ncols=2 if len(binned) > 3 else 1)
    return artists


def _limits(ax: Axes, binned: list[Binned], log: bool) -> None:
    """Room for the legend above the points."""
    values = np.concatenate([found.values for found in binned])
    errors = np.nan_to_num(np.concatenate([found.errors for found in binned]))
    known = np.isfinite(values)
    if not np.any(known):
        return
    low, high = np.min(values[known]), np.max((values + errors)[known])
    if log and low > 0:
        ax.set_yscale("log")
        ax.set_ylim(low / 2, high * (high / low) ** 0.4 * 2)
    else:
        ax.set_ylim(min(0.0, float(np.min((values - errors)[known]))), 1.35 * high)
