"""Whether two samples may have the same law: p-values by dealing all rows out anew.

Where both samples have one law, which row came from which is chance, so the statistic is one of
those of random deals, and its p-value is right for any number of rows, with ties, in any dimension
(M. Dwass, Ann. Math. Stat. 28 (1957) 181). Which statistic sees a difference best depends on the
difference: S. Grossi, M. Letizia and R. Torre, arXiv:2409.16336.

Shapes: B rows, F features, R permutations.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from hepgen.metrics.generative.cumulative import distances, permuted_weightings
from hepgen.metrics.generative.kernel_distance import median_distance
from hepgen.metrics.generative.kernel_sums import (
    Kernel,
    energy_kernel,
    gaussian_kernel,
    split_discrepancies,
)
from hepgen.metrics.generative.tables import Pair, Scale, paired, scaled
from hepgen.metrics.samples import Floats

__all__ = ["TwoSampleTest", "permutation_test"]

Statistic = Literal["energy", "gaussian", "kolmogorov", "wasserstein"]


@dataclass(frozen=True, slots=True)
class TwoSampleTest:
    """A statistic beside those of random deals.

    Attributes:
        statistic: of the samples as they are.
        null: (R,), of the random deals.
    """

    statistic: float
    null: Floats

    @property
    def p_value(self) -> float:
        """Share of deals, with the real one, whose statistic is at least as large."""
        # The same deal may be summed in another order.
        margin = 1e-12 * abs(self.statistic)
        return float(1 + (self.null >= self.statistic - margin).sum()) / (1 + len(self.null))

    @property
    def error(self) -> float:
        """Error of the p-value from the number of deals."""
        p = self.p_value
        return math.sqrt(p * (1 - p) / (1 + len(self.null)))

    @property
    def excess(self) -> float:
        """The statistic above the mean of the deals, in their standard deviations."""
        return float((self.statistic - self.null.mean()) / self.null.std(ddof=1))


def permutation_test(
    reference: ArrayLike,
    generated: ArrayLike,
    statistic: Statistic | Callable[[Floats, Floats], Any] = "energy",
    *,
    scale: Scale = "std",
    permutations: int = 200,
    seed: int = 0,
) -> TwoSampleTest:
    """Test that both tables have the same law.

    Args:
        reference: (B, F).
        generated: (B', F), without weights: weighted rows are no deal of the same rows.
        statistic: "energy" (energy distance), "gaussian" (maximum mean discrepancy, width the
            median distance), "kolmogorov" or "wasserstein" (means over features); or a function of
            two tables that gives a number or an estimate, larger for more different tables, which
            is called again for each permutation.
        scale: of the features, see :func:`~hepgen.metrics.generative.tables.scaled`.
        permutations: R; the smallest p-value is 1 / (R + 1).
        seed: of the permutations.

    Returns:
        The statistic, its permutations and the p-value.

    Raises:
        ValueError: tables that do not go together, fewer than two permutations, or an unknown
            statistic.
    """
    pair = scaled(paired(reference, generated), scale)
    if permutations < 2:
        raise ValueError(f"at least two permutations are wanted; got {permutations}")
    if callable(statistic):
        found = _called(pair, statistic, permutations, seed)
    elif statistic in ("kolmogorov", "wasserstein"):
        weightings = permuted_weightings(pair, permutations, seed)
        found = distances(pair, weightings)[int(statistic == "wasserstein")].mean(axis=1)
    elif statistic in ("energy", "gaussian"):
        table = np.concatenate([pair.reference, pair.generated])
        chosen = permuted_weightings(pair, permutations, seed).T > 0
        kernel: Kernel = energy_kernel
        if statistic == "gaussian":
            # All rows together, so that it is the same for each deal.
            kernel = gaussian_kernel(max(median_distance(table, seed), 1e-300))
        found = split_discrepancies(table, chosen, kernel)
    else:
        raise ValueError(
            f"no statistic {statistic!r}; there are 'energy', 'gaussian', 'kolmogorov', "
            "'wasserstein', and functions of two tables"
        )
    return TwoSampleTest(float(found[0]), found[1:])


def _called(
    pair: Pair, statistic: Callable[[Floats, Floats], Any], permutations: int, seed: int
) -> Floats:
    table = np.concatenate([pair.reference, pair.generated])
    split = len(pair.reference)
    rng = np.random.default_rng([seed, 5])
    found = [float(statistic(pair.reference, pair.generated))]
    for _ in range(permutations):
        dealt = table[rng.permutation(len(table))]
        found.append(float(statistic(dealt[:split], dealt[split:])))
    return np.array(found)
