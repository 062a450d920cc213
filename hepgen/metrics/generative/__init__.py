"""How close generated showers come to simulated ones: functions of two tables of features.

Each takes a ``reference`` and a ``generated`` table and gives an
:class:`~hepgen.metrics.Estimate` with an error, beside the floor that real showers reach against
real showers at the same statistics.
"""

from hepgen.metrics.generative.equivalent_events import EquivalentEvents, equivalent_events
from hepgen.metrics.generative.frechet import fpd, frechet_distance, frechet_gaussian_distance
from hepgen.metrics.generative.kernel_distance import (
    energy_distance,
    kpd,
    maximum_mean_discrepancy,
)
from hepgen.metrics.generative.kolmogorov import (
    kolmogorov_p_value,
    kolmogorov_smirnov,
    mean_kolmogorov,
    sliced_kolmogorov,
)
from hepgen.metrics.generative.memorisation import Memorisation, memorisation
from hepgen.metrics.generative.precision_recall import PrecisionRecall, precision_recall
from hepgen.metrics.generative.separation import Histogram, histogram, separation_power
from hepgen.metrics.generative.support import Support, support_ratio
from hepgen.metrics.generative.transport import sliced_wasserstein, wasserstein
from hepgen.metrics.generative.two_sample import TwoSampleTest, permutation_test

__all__ = [
    "EquivalentEvents",
    "Histogram",
    "Memorisation",
    "PrecisionRecall",
    "Support",
    "TwoSampleTest",
    "energy_distance",
    "equivalent_events",
    "fpd",
    "frechet_distance",
    "frechet_gaussian_distance",
    "histogram",
    "kolmogorov_p_value",
    "kolmogorov_smirnov",
    "kpd",
    "maximum_mean_discrepancy",
    "mean_kolmogorov",
    "memorisation",
    "permutation_test",
    "precision_recall",
    "separation_power",
    "sliced_kolmogorov",
    "sliced_wasserstein",
    "support_ratio",
    "wasserstein",
]
