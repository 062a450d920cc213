"""Numbers with errors: how well a score tells classes apart, on weighted jets, from arrays alone.

Every metric of a score takes labels, scores and weights in this order and gives an
:class:`Estimate`; those of :mod:`hepgen.metrics.generative` compare two tables of features.
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
from hepgen.metrics.generative import (
    EquivalentEvents,
    Histogram,
    Memorisation,
    PrecisionRecall,
    Support,
    TwoSampleTest,
    energy_distance,
    equivalent_events,
    fpd,
    frechet_distance,
    frechet_gaussian_distance,
    histogram,
    kolmogorov_p_value,
    kolmogorov_smirnov,
    kpd,
    maximum_mean_discrepancy,
    mean_kolmogorov,
    memorisation,
    permutation_test,
    precision_recall,
    separation_power,
    sliced_kolmogorov,
    sliced_wasserstein,
    support_ratio,
    wasserstein,
)
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
    "EquivalentEvents",
    "Estimate",
    "Evaluation",
    "Histogram",
    "Memorisation",
    "PrecisionRecall",
    "Reliability",
    "ResolutionFit",
    "Roc",
    "Separation",
    "Spectrum",
    "Support",
    "TwoSampleTest",
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
    "energy_distance",
    "energy_edges",
    "equivalent_events",
    "expected_calibration_error",
    "fpd",
    "frechet_distance",
    "frechet_gaussian_distance",
    "histogram",
    "in_bins",
    "jensen_shannon",
    "kolmogorov_p_value",
    "kolmogorov_smirnov",
    "kpd",
    "largest_weight_share",
    "log_loss",
    "mass_edges",
    "mass_sculpting",
    "maximum_mean_discrepancy",
    "maximum_weight",
    "mean_kolmogorov",
    "memorisation",
    "one_vs_one",
    "one_vs_rest",
    "pareto_k",
    "permutation_test",
    "precision_recall",
    "reliability",
    "replicas",
    "resolution_fit",
    "response_in_bins",
    "roc",
    "separation_power",
    "signal_efficiency",
    "sliced_kolmogorov",
    "sliced_wasserstein",
    "summarise",
    "support_ratio",
    "threshold",
    "unweighting_efficiency",
    "wasserstein",
]
