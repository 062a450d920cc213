"""Reliability: the share of signal among jets of a score, against the score."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from hepgen.metrics import Reliability
from hepgen.plots.style import colours

__all__ = ["calibration"]


def calibration(
    ax: Axes, curves: Mapping[str, Reliability], *, signal: str = "signal"
) -> list[Any]:
    """Draw reliability curves beside the diagonal of perfect calibration.

    Args:
        ax: where.
        curves: by name, as the legend has them.
        signal: the class that the score is of, for the axes.

    Returns:
        The diagonal and the error bars.

    Raises:
        ValueError: no curve.
    """
    if not curves:
        raise ValueError("a calibration plot needs a curve")
    artists: list[Any] = list(
        ax.plot([0, 1], [0, 1], color="#9c9ca1", lw=1.2, ls="--", label="Perfect")
    )
    shades = colours(len(curves))
    for number, (name, found) in enumerate(curves.items()):
        known = np.isfinite(found.observed)
        artists.append(
            ax.errorbar(
                found.predicted[known],
                found.observed[known],
                yerr=found.error[known],
                fmt="o-",
                color=shades[number],
                label=name,
                markersize=5,
                lw=1.3,
            )
        )
    ax.set(
        xlabel=f"Mean score for {signal}",
        ylabel=f"Share of {signal}",
        xlim=(0, 1),
        ylim=(0, 1),
    )
    ax.legend(loc="upper left")
    return artists
