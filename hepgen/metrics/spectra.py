"""Histograms that an evaluation keeps: scores by class, masses before and after a cut.

Shapes: B jets, M bins.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hepgen.metrics.roc import curve
from hepgen.metrics.samples import Bools, Floats, Ints
from hepgen.metrics.sculpting import mass_edges
from hepgen.metrics.summary import Spectrum

__all__ = ["mass_bins", "mass_spectra", "score_spectra"]


def mass_bins(background: Bools) -> int:
    """Fewer bins for few jets: each holds a hundred on average, a handful after the cut."""
    return int(np.clip(background.sum() // 100, 5, 40))


def score_spectra(
    index: Ints, score: Floats, weight: Floats | None, classes: Sequence[str]
) -> dict[str, Spectrum]:
    """Scores (B,) by true class: 50 bins, in [0, 1] for probabilities."""
    low, high = float(score.min()), float(score.max())
    if low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    edges = np.linspace(low, high if high > low else low + 1, 51)
    found = {}
    for number, name in enumerate(classes):
        chosen = index == number
        used = None if weight is None else weight[chosen]
        found[name] = _spectrum(score[chosen], used, edges)
    return found


def mass_spectra(
    true: Bools, score: Floats, mass: Floats, weight: Floats | None, points: tuple[float, ...]
) -> dict[str, Spectrum]:
    """The background's mass, of all and of what passes the cut for each signal efficiency."""
    background = ~true & np.isfinite(mass)
    if not np.any(background):
        return {}
    edges = mass_edges(mass[background], mass_bins(background))
    whole = curve(true, score, weight, what="a mass spectrum")
    chosen = {"all": background}
    chosen |= {f"{point:g}": background & (score >= whole.threshold_at(point)) for point in points}
    return {
        name: _spectrum(mass[where], None if weight is None else weight[where], edges)
        for name, where in chosen.items()
    }


def _spectrum(values: Floats, weight: Floats | None, edges: Floats) -> Spectrum:
    sums = np.histogram(values, edges, weights=weight)[0].astype(np.float64)
    squares = sums
    if weight is not None:
        squares = np.histogram(values, edges, weights=weight**2)[0].astype(np.float64)
    return Spectrum(edges, sums, squares)
