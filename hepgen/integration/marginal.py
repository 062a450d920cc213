r"""Likelihoods with nuisance parameters integrated out.

.. math:: L(\theta) = \int L(\theta, \nu) \, \pi(\nu) \, d\nu

for many values of theta from the same points in nu, so that the curve is smooth and the errors of
its points go together. Likelihoods of many events overflow and underflow: all is done relative to
the largest value found in a first look.

Shapes: B points, D nuisance parameters, T values of the parameters of interest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hepgen.integration.domain import Domain
from hepgen.integration.evaluator import BadIntegrand
from hepgen.integration.integral import Integral
from hepgen.integration.run import integrate

__all__ = ["MarginalLikelihood", "marginal_likelihood"]

Array = NDArray[np.float64]

# Points of the first look for the largest value, and steps of the search that begins there.
LOOK, STEPS = 2000, 30


@dataclass(frozen=True)
class MarginalLikelihood:
    """A likelihood of the parameters of interest alone.

    Attributes:
        parameters: values of theta, shape (T, ...).
        log_likelihood: logarithm of the marginal likelihood of each, shape (T,).
        error: one standard deviation of it, shape (T,).
        covariance: of the logarithms, shape (T, T).
        result: the integral behind it, in units of exp(offset).
        offset: logarithm that was taken out.
    """

    parameters: Array
    log_likelihood: Array
    error: Array
    covariance: Array
    result: Integral
    offset: float

    @property
    def test_statistic(self) -> Array:
        r""":math:`-2 \ln(L(\theta) / L_\max)` over the given values, shape (T,)."""
        return np.asarray(-2 * (self.log_likelihood - self.log_likelihood.max()))


def marginal_likelihood(
    log_likelihood: Callable[[Any, Array], Any],
    parameters: ArrayLike,
    bounds: Any,
    *,
    seed: int = 0,
    **options: Any,
) -> MarginalLikelihood:
    """Integrate nuisance parameters out of a likelihood.

    Args:
        log_likelihood: function of one value of theta and of nuisance parameters (B, D) to the
            logarithm of likelihood times prior, (B,); minus infinity where it is zero.
        parameters: values of theta, shape (T,) or (T, P).
        bounds: of the nuisance parameters, as for `integrate`.
        seed: of all random numbers.
        **options: further arguments of `integrate`, such as calls or precision.

    Returns:
        The marginal likelihood with errors.

    Raises:
        BadIntegrand: a wrong shape, NaN or plus infinity, or zero likelihood everywhere.
        ValueError: no parameters, or what `integrate` raises.

    Warns:
        IntegrationWarning: the error should not be trusted, and why.
    """
    thetas = np.asarray(parameters, np.float64)
    if not thetas.ndim or not len(thetas):
        raise ValueError(f"parameters: wanted one value at least, got {parameters!r}")
    domain = bounds if isinstance(bounds, Domain) else Domain(bounds)

    def logs(x: Array) -> Array:
        columns = []
        for theta in thetas:
            value = np.asarray(log_likelihood(theta, x), np.float64)
            if value.shape != (len(x),):
                raise BadIntegrand(
                    f"log_likelihood at {theta}: wanted shape ({len(x)},), got {value.shape}"
                )
            if np.isnan(value).any() or (value == np.inf).any():
                raise BadIntegrand(f"log_likelihood at {theta}: NaN or plus infinity")
            columns.append(value)
        return np.stack(columns, axis=1)

    offset = _largest(logs, domain, np.random.default_rng([seed, 0x6D617267]))
    result = integrate(lambda x: np.exp(logs(x) - offset), domain, seed=seed, **options)
    values = result.vector
    if not (values > 0).all():
        dead = thetas[~(values > 0)][0]
        raise BadIntegrand(f"the likelihood at {dead} is zero, or e^700 below the largest")
    covariance = result.covariance / np.outer(values, values)
    return MarginalLikelihood(
        parameters=thetas,
        log_likelihood=np.log(values) + offset,
        error=np.sqrt(np.diag(covariance)),
        covariance=covariance,
        result=result,
        offset=offset,
    )


def _largest(logs: Callable[[Array], Array], domain: Domain, rng: np.random.Generator) -> float:
    """About the largest logarithm: the best of random points, then of ever smaller steps."""
    u = rng.random((LOOK, domain.dimension))
    found = logs(domain.forward(u)[0]).max(1)
    best = u[np.argsort(found)[-20:]]
    largest = float(found.max())
    for step in range(STEPS):
        spread = 0.3 * 0.8**step
        near = np.repeat(best, 10, axis=0)
        moved = np.clip(near + spread * rng.normal(size=near.shape), 1e-12, 1 - 1e-12)
        candidates = np.concatenate([best, moved])
        values = logs(domain.forward(candidates)[0]).max(1)
        best = candidates[np.argsort(values)[-20:]]
        largest = max(largest, float(values.max()))
    if largest == -np.inf:
        raise BadIntegrand(
            f"the likelihood is zero at all {LOOK} points of a first look; give tighter bounds"
        )
    return largest
