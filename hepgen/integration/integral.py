r"""What an integration gives: value, error, and whether both can be believed.

Batches of the final stage are independent estimates I_k of N_k calls. They are combined by calls,
:math:`I = \sum_k N_k I_k / N`, as weights from the estimated variances would favour batches that
missed a peak. Whether they agree tells

.. math:: \chi^2 = \frac{K - 1}{K} \sum_k \frac{(I_k - I)^2}{V_k}, \qquad
   V_k = \sigma_k^2 (1 - 2 N_k / N) + \sum_j (N_j / N)^2 \sigma_j^2

with K - 1 degrees of freedom; with equal errors it is :math:`\sum (I_k - I)^2 / \sigma^2`. The
errors are estimates themselves, of sixteen nets for instance, so how likely a :math:`\chi^2` is
follows from an F distribution (B. L. Welch, Biometrika 38 (1951) 330; of two batches Student's t).

Shapes: N kept points, D dimensions, M values of a vector integrand.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import hist
import numpy as np
from numpy.typing import NDArray
from scipy import special

from hepgen.integration.domain import Domain
from hepgen.integration.evaluator import Evaluator
from hepgen.integration.sampler import Sampler
from hepgen.metrics import (
    Estimate,
    effective_sample_size,
    largest_weight_share,
    pareto_k,
    unweighting_efficiency,
)

if TYPE_CHECKING:
    from hepgen.integration.unweighting import UnweightedEvents

__all__ = ["Batch", "Integral", "IntegrationWarning"]

Array = NDArray[np.float64]

# Above this the mean of the weights has not settled (arXiv:1507.02646, section 3).
HIGHEST_PARETO_K = 0.7
# Agreement of batches less likely than this is reported.
LEAST_AGREEMENT = 1e-4
LARGEST_MOVE = 0.2
ROUNDING = 1e-13
FEWEST_EFFECTIVE = 100
LARGEST_SHARE = 0.05
# Share of the total that unweighted events may carry above weight one, for the quoted efficiency.
OVERWEIGHT = 1e-3
# Weights below this have squares that floating point numbers cannot hold.
SMALLEST_WEIGHT = 1e-150


class IntegrationWarning(UserWarning):
    """An integral whose error should not be trusted as it stands."""


@dataclass(frozen=True)
class Batch:
    """One independent estimate.

    Attributes:
        calls: N_k.
        integral: shape (M,).
        covariance: shape (M, M).
        sampler: which sampler drew it.
        final: whether it counts for the result; the others taught the samplers.
        freedom: degrees of freedom of the errors, shape (M,); None where they are not known and
            taken as infinite.
    """

    calls: int
    integral: Array
    covariance: Array
    sampler: str
    final: bool
    freedom: Array | None = None


@dataclass(frozen=True)
class Integral:
    """An integral with its error of one standard deviation, its points and its history.

    Attributes:
        batches: all estimates in their order, those that only taught a sampler too.
        names: of the M values if the integrand gives a mapping; else None.
        scalar: whether the integrand gives one number a point.
        domain: where it was integrated.
        sampler: what drew the points of the final stage, as it stands at the end; without learning
            any more it goes on drawing.
        sampler_name: its name.
        x: points of the final stage in the integrand's variables, shape (N, D); where there are
            more than were to be kept, a random part of them.
        point_weights: integrand over density at these points, shape (N, M); their mean is the
            integral.
        observables: further quantities at the points by name, each (N,).
        histograms: differential distributions by name.
        seconds: how long it took, and of that in the integrand.
        integrand_seconds: the part of it that the integrand took.
        non_finite_points: how many points gave NaN or infinity and were counted as zero.
        choice: why the sampler was chosen, in words.
        evaluator: what calls the integrand, for more points; None in a result read from a file.
    """

    batches: tuple[Batch, ...]
    domain: Domain
    sampler: Sampler
    sampler_name: str
    x: Array
    point_weights: Array
    names: tuple[str, ...] | None = None
    scalar: bool = True
    observables: Mapping[str, Array] = field(default_factory=dict)
    histograms: Mapping[str, hist.Hist[Any]] = field(default_factory=dict)
    seconds: float = 0.0
    integrand_seconds: float = 0.0
    non_finite_points: int = 0
    choice: str = ""
    evaluator: Evaluator | None = field(default=None, repr=False, compare=False)

    @cached_property
    def final(self) -> tuple[Batch, ...]:
        """The batches that count."""
        return tuple(batch for batch in self.batches if batch.final)

    @property
    def calls(self) -> int:
        """Calls of the integrand in total, learning included."""
        return sum(batch.calls for batch in self.batches)

    @property
    def final_calls(self) -> int:
        """Calls of the final stage."""
        return sum(batch.calls for batch in self.final)

    @cached_property
    def vector(self) -> Array:
        """The integrals, shape (M,)."""
        total = sum(batch.calls * batch.integral for batch in self.final)
        return np.asarray(total / self.final_calls)

    @cached_property
    def covariance(self) -> Array:
        """Their covariance, shape (M, M)."""
        total = sum(batch.calls**2 * batch.covariance for batch in self.final)
        return np.asarray(total / self.final_calls**2)

    @property
    def integral(self) -> Any:
        """The value: a number, an array (M,), or numbers by name, as the integrand gives them."""
        return self._shaped(self.vector)

    @property
    def error(self) -> Any:
        """One standard deviation, in the shape of `integral`."""
        return self._shaped(np.sqrt(np.diag(self.covariance)))

    @property
    def estimate(self) -> Any:
        """Value and error as `hepgen.Estimate`, in the shape of `integral` (a list of M)."""
        made = [
            Estimate(float(v), float(e)) for v, e in zip(self.vector, self._errors, strict=True)
        ]
        if self.names is not None:
            return dict(zip(self.names, made, strict=True))
        return made[0] if self.scalar else made

    @property
    def relative_error(self) -> float:
        """The largest of the errors over their integrals; infinite where an integral is zero."""
        sizes = np.abs(self.vector)
        ratios = np.where(self._errors == 0, 0.0, self._errors / np.where(sizes > 0, sizes, 1))
        return float(np.where((sizes == 0) & (self._errors > 0), math.inf, ratios).max())

    @property
    def dof(self) -> int:
        """Degrees of freedom of `chi2`: batches of the final stage less one."""
        return len(self.final) - 1

    @cached_property
    def chi2(self) -> float:
        """Disagreement of the batches; of a vector that of its worst component."""
        return float(self._chi2s.max()) if self.dof else 0.0

    @cached_property
    def agreement(self) -> float:
        """Probability that batches that agree give such a chi2 or a larger one.

        Of a vector the smallest of its components', times their number. One for a single batch.
        """
        if not self.dof:
            return 1.0
        variances = np.stack([np.diag(batch.covariance) for batch in self.final])  # (K, M)
        unknown = np.full(len(self.vector), np.inf)
        freedom = np.stack([unknown if b.freedom is None else b.freedom for b in self.final])
        # Welch's denominator; batches without an error have no say in it.
        precision = 1 / np.where(variances > 0, variances, np.inf)
        share = precision / np.maximum(precision.sum(0), np.finfo(float).tiny)
        inverse = (3 * (1 - share) ** 2 / freedom).sum(0) / (len(self.final) ** 2 - 1)
        # 1e9 degrees of freedom are as good as infinitely many.
        chances = special.fdtrc(self.dof, 1 / np.maximum(inverse, 1e-9), self._chi2s / self.dof)
        return min(float(chances.min()) * len(chances), 1.0)

    @cached_property
    def _chi2s(self) -> Array:
        """Of each component, shape (M,)."""
        values = np.stack([batch.integral for batch in self.final])  # (K, M)
        variances = np.stack([np.diag(batch.covariance) for batch in self.final])
        share = np.array([[batch.calls / self.final_calls] for batch in self.final])
        # Batches of very different errors: the mean moves more than the best of them may.
        variances = variances * (1 - 2 * share) + (share**2 * variances).sum(0)
        # Where all weights are equal, batches differ by rounding alone.
        variances += (ROUNDING * self.vector) ** 2
        pulls = np.where(variances > 0, (values - self.vector) ** 2, 0.0)
        total = (pulls / np.where(variances > 0, variances, 1)).sum(0)
        return np.asarray(total * self.dof / (self.dof + 1))

    @cached_property
    def weights(self) -> Array:
        """Weight of each kept point, shape (N,), for a vector integrand (N, M).

        The mean is the integral.
        """
        return self.point_weights[:, 0] if self.point_weights.shape[1] == 1 else self.point_weights

    @cached_property
    def sizes(self) -> Array:
        """One weight a point, not negative: |w|, summed over components scaled to one mean."""
        sizes = np.abs(self.point_weights)
        if sizes.shape[1] > 1:
            mean = sizes.mean(0)
            sizes = sizes / np.where(mean > 0, mean, 1)
        return np.asarray(sizes.sum(1))

    @cached_property
    def effective_sample_size(self) -> float:
        """Equal weights that the points of the final stage are worth."""
        kept = max(len(self.sizes), 1)
        return effective_sample_size(self.sizes) * self.final_calls / kept

    @cached_property
    def pareto_k(self) -> float:
        """Shape of the tail of the weights; above 0.7 the error cannot be trusted."""
        return pareto_k(self.sizes)

    @cached_property
    def largest_weight_share(self) -> float:
        """Share of the largest (kept) weight in the sum over all points of the final stage."""
        return largest_weight_share(self.sizes) * len(self.sizes) / self.final_calls

    @cached_property
    def unweighting_efficiency(self) -> float:
        """Events left of each point if a thousandth of the total stays in overweight events."""
        return unweighting_efficiency(self.sizes, OVERWEIGHT)

    @cached_property
    def warnings(self) -> tuple[str, ...]:
        """Why value or error should not be trusted; empty if nothing speaks against it."""
        return tuple(_doubts(self))

    def unweight(
        self, n: int | None = None, *, overweight: float = OVERWEIGHT, seed: int = 0
    ) -> UnweightedEvents:
        """Events of weight one, see `hepgen.integration.unweight`."""
        from hepgen.integration.unweighting import unweight

        return unweight(self, n, overweight=overweight, seed=seed)

    def summary(self) -> dict[str, Any]:
        """The figures as a mapping that JSON takes."""
        return {
            "integral": _listed(self.integral),
            "error": _listed(self.error),
            "chi2": self.chi2,
            "dof": self.dof,
            "calls": self.calls,
            "final_calls": self.final_calls,
            "effective_sample_size": self.effective_sample_size,
            "pareto_k": self.pareto_k if math.isfinite(self.pareto_k) else None,
            "largest_weight_share": self.largest_weight_share,
            "unweighting_efficiency": self.unweighting_efficiency,
            "sampler": self.sampler_name,
            "choice": self.choice,
            "seconds": self.seconds,
            "integrand_seconds": self.integrand_seconds,
            "warnings": list(self.warnings),
        }

    def __str__(self) -> str:
        values = [
            Estimate(float(v), float(e)) for v, e in zip(self.vector, self._errors, strict=True)
        ]
        names = self.names or [""] * len(values)
        shown = [
            f"{name + ' = ' if name else ''}{value}"
            for name, value in zip(names, values, strict=True)
        ]
        if len(shown) > 8:
            shown = [*shown[:8], f"and {len(values) - 8} more"]
        share, efficiency = self.largest_weight_share, self.unweighting_efficiency
        lines = [
            ", ".join(shown),
            f"chi2/dof {self.chi2:.1f}/{self.dof}",
            f"{self.calls:,} calls, {self.final_calls:,} of them in the final stage",
            f"{self.seconds:.2g} s, {self.integrand_seconds:.2g} s of it in the integrand",
            f"n_eff {self.effective_sample_size:,.0f}, Pareto k {self.pareto_k:.2f}",
            f"largest weight {share:.2%} of the sum",
            f"unweighting efficiency {efficiency:.2%} at {OVERWEIGHT:.1%} overweight",
            f"sampler: {self.sampler_name}" + (f" ({self.choice})" if self.choice else ""),
            *(f"warning: {text}" for text in self.warnings),
        ]
        return "\n".join(lines)

    @property
    def _errors(self) -> Array:
        return np.sqrt(np.diag(self.covariance))

    def _shaped(self, vector: Array) -> Any:
        if self.names is not None:
            return dict(zip(self.names, map(float, vector), strict=True))
        return float(vector[0]) if self.scalar else vector


def _listed(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value


def _doubts(result: Integral) -> list[str]:
    if not result.sizes.any():
        text = f"the integrand is zero at all {result.calls:,} points: either it vanishes or its "
        return [text + "support is too small to be hit; give tighter bounds"]
    found = []
    largest = np.abs(result.point_weights).max(0)
    if ((largest > 0) & (largest < SMALLEST_WEIGHT)).any():
        text = (
            f"weights of {largest[largest > 0].min():.1g} at most have no squares, and the error "
        )
        found.append(text + "is too small; multiply the integrand by a constant")
    cure = "use more calls or another sampler"
    # A clump of somewhat larger weights fits a heavy tail too, but does no harm: one point of a
    # true one moves the integral by a good part of its error.
    moves = result.largest_weight_share * math.sqrt(result.effective_sample_size)
    if result.pareto_k > HIGHEST_PARETO_K and moves > LARGEST_MOVE:
        text = f"Pareto k is {result.pareto_k:.2f}, above {HIGHEST_PARETO_K}: the largest weights "
        found.append(text + f"have probably not been seen, the error is too small; {cure}")
    if result.effective_sample_size < FEWEST_EFFECTIVE:
        found.append(f"only {result.effective_sample_size:.0f} effective points; {cure}")
    if result.largest_weight_share > LARGEST_SHARE:
        found.append(f"one point carries {result.largest_weight_share:.0%} of the integral; {cure}")
    if result.agreement < LEAST_AGREEMENT:
        text = f"the batches disagree: chi2/dof {result.chi2:.1f}/{result.dof}, a chance of "
        found.append(text + f"{result.agreement:.1g}; the error is too small")
    if result.non_finite_points:
        found.append(f"{result.non_finite_points:,} points were NaN or infinite and count as zero")
    return found
