"""Plots for a group meeting: functions of axes and arrays or histograms, that give back artists.

Nothing here touches pyplot or changes a global setting: make axes with :func:`figure` inside of
``with style():``, or bring your own.
"""

from hepgen.plots.binned import efficiency_vs
from hepgen.plots.calibration import calibration
from hepgen.plots.confusion import confusion
from hepgen.plots.distributions import distributions, histogram, scores
from hepgen.plots.integration import (
    convergence,
    differential,
    marginals,
    weight_distribution,
)
from hepgen.plots.roc import roc
from hepgen.plots.sculpting import mass_sculpting
from hepgen.plots.shower_spectra import spectra_ratio, spectrum_ratio
from hepgen.plots.showers import (
    classifier_curve,
    correlation_map,
    energy_ratio,
    energy_resolution,
    energy_response,
    generation_time,
    layer_map,
    layer_picture,
    plain_ticks,
)
from hepgen.plots.side_by_side import taggers_side_by_side
from hepgen.plots.style import COLOURS, figure, label, style
from hepgen.plots.training import rate_search, training_curves

__all__ = [
    "COLOURS",
    "calibration",
    "classifier_curve",
    "confusion",
    "convergence",
    "correlation_map",
    "differential",
    "distributions",
    "efficiency_vs",
    "energy_ratio",
    "energy_resolution",
    "energy_response",
    "figure",
    "generation_time",
    "histogram",
    "label",
    "layer_map",
    "layer_picture",
    "marginals",
    "mass_sculpting",
    "plain_ticks",
    "rate_search",
    "roc",
    "scores",
    "spectra_ratio",
    "spectrum_ratio",
    "style",
    "taggers_side_by_side",
    "training_curves",
    "weight_distribution",
]
