"""The mass of the background before and after a cut on the score."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import hist
from matplotlib.axes import Axes

from hepgen.plots.distributions import distributions
from hepgen.plots.style import AXIS_LABELS

__all__ = ["mass_sculpting"]


def mass_sculpting(
    ax: Axes,
    before: hist.Hist[Any],
    after: Mapping[str, hist.Hist[Any]],
    *,
    observable: str = "mass",
) -> list[Any]:
    """Draw the background's mass: all of it filled, what passes each cut as steps, of area 1.

    Args:
        ax: where.
        before: of all background jets.
        after: of those that pass, by the name of the cut.
        observable: "mass", or the text of the axis with its unit.

    Returns:
        The artists.
    """
    spectra = {"All background": before, **after}
    artists = distributions(
        ax, spectra, xlabel=AXIS_LABELS.get(observable, observable), fill_first=True
    )
    ax.set_ylabel("Background jets, normalised")
    return artists
