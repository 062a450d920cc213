"""Numbers with errors: how well a score tells classes apart, on weighted jets, from arrays alone.

Every metric takes labels, scores and weights in this order and gives an :class:`Estimate`.
"""

from hepgen.metrics.binned import Binned, bin_edges, efficiency_in_bins, in_bins
from hepgen.metrics.bootstrap import bootstrap, bootstrap_difference, replicas
from hepgen.metrics.calibration import (
    Reliability,
    expected_calibration_error,
    log_loss,
    reliability,
)
from hepgen.metrics.classification import (
    accuracy,
    auc,
    background_efficiency,
    background_rejection,
    efficiency,
    signal_efficiency,
    threshold,
)
from hepgen.metrics.comparison import Comparison, ComparisonRow, compare_evaluations
from hepgen.metrics.estimate import Estimate
from hepgen.metrics.importance import (
    effective_sample_size,
    largest_weight_share,
    maximum_weight,
    pareto_k,
    unweighting_efficiency,
)
from hepgen.metrics.multiclass import (
    Confusion,
    confusion_matrix,
    discriminant,
    one_vs_one,
    one_vs_rest,
)
from hepgen.metrics.resolution import (
    EnergyBins,
    ResolutionFit,
    energy_edges,
    resolution_fit,
    response_in_bins,
)
from hepgen.metrics.roc import Roc, roc
from hepgen.metrics.samples import drop_unscored
from hepgen.metrics.sculpting import jensen_shannon, mass_edges, mass_sculpting
from hepgen.metrics.summarise import summarise
from hepgen.metrics.summary import BinnedMetric, Evaluation, Separation, Spectrum

__all__ = [
    "Binned",
    "BinnedMetric",
    "Comparison",
    "ComparisonRow",
    "Confusion",
    "EnergyBins",
    "Estimate",
    "Evaluation",
    "Reliability",
    "ResolutionFit",
    "Roc",
    "Separation",
    "Spectrum",
    "accuracy",
    "auc",
    "background_efficiency",
    "background_rejection",
    "bin_edges",
    "bootstrap",
    "bootstrap_difference",
    "compare_evaluations",
    "confusion_matrix",
    "discriminant",
    "drop_unscored",
    "effective_sample_size",
    "efficiency",
    "efficiency_in_bins",
    "energy_edges",
    "expected_calibration_error",
    "in_bins",
    "jensen_shannon",
    "largest_weight_share",
    "log_loss",
    "mass_edges",
    "mass_sculpting",
    "maximum_weight",
    "one_vs_one",
    "one_vs_rest",
    "pareto_k",
    "reliability",
    "replicas",
    "resolution_fit",
    "response_in_bins",
    "roc",
    "signal_efficiency",
    "summarise",
    "threshold",
    "unweighting_efficiency",
]
