r"""Expectation values under a density that is known up to its norm, and weights between densities.

.. math:: E_p[g] = \frac{\int g\,p}{\int p}

Both integrals come from the same points, so that their errors largely cancel: with weights
:math:`w = p / q` the error of the ratio is that of the mean of :math:`w (g - E_p[g])`.

Shapes: B points, D dimensions, M quantities.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hepgen.integration.evaluator import BadIntegrand
from hepgen.integration.integral import HIGHEST_PARETO_K, Integral
from hepgen.integration.run import integrate
from hepgen.metrics import Estimate, effective_sample_size, pareto_k

__all__ = ["Reweighted", "expectation", "reweight"]

Array = NDArray[np.float64]
Function = Callable[[Any], Any]


def expectation(
    quantity: Function, density: Function | Integral, bounds: Any = None, **options: Any
) -> Any:
    """Mean of a quantity over a density that need not be normalised.

    Args:
        quantity: function of points (B, D) to (B,), (B, M) or a mapping of names to (B,); numpy.
        density: function of points (B, D) to (B,), not negative; or what `integrate` gave for it,
            whose points are then used again, without further calls of it.
        bounds: of the density's variables, as for `integrate`; not with a finished integral.
        **options: further arguments of `integrate`.

    Returns:
        The mean with its error, an `hepgen.Estimate`; a list of them, or a mapping by name.

    Raises:
        BadIntegrand: values of a wrong shape, NaN or infinite; a density that is negative, or zero
            everywhere.
        TypeError: no bounds, or bounds beside a finished integral.
        ValueError: what `integrate` raises.
    """
    if isinstance(density, Integral):
        if bounds is not None or options:
            raise TypeError("a finished integral has its bounds and options: leave them out")
        weights = _density_values(density.weights, len(density.x))
        columns, names, scalar = _columns(quantity(density.x), len(density.x))
        ratios = _self_normalised(weights, columns)
    else:
        if bounds is None:
            raise TypeError("expectation of a function wants the bounds of its variables")
        seen: dict[str, Any] = {}

        def both(x: Array) -> Array:
            p = _density_values(density(x), len(x))
            columns, seen["names"], seen["scalar"] = _columns(quantity(x), len(x))
            return np.concatenate([p[:, None], p[:, None] * columns], axis=1)

        result = integrate(both, bounds, **options)
        ratios = _of_integrals(result)
        names, scalar = seen["names"], seen["scalar"]
    if names is not None:
        return dict(zip(names, ratios, strict=True))
    return ratios[0] if scalar else ratios


@dataclass(frozen=True)
class Reweighted:
    """Events of one density weighted to be distributed as another.

    Attributes:
        weights: new density over old, times the weights before, shape (B,).
        before: the weights before, shape (B,).
        old_integral: of the old density; one for normalised densities.
    """

    weights: Array
    before: Array
    old_integral: float

    @cached_property
    def integral(self) -> Estimate:
        """Of the new density, in the unit of that of the old: its mean ratio over the events."""
        total = float(self.before.sum())
        mean = float(self.weights.sum()) / total
        ratio = np.divide(
            self.weights, self.before, out=np.zeros_like(self.weights), where=self.before != 0
        )
        error = math.sqrt(float(np.square(self.before * (ratio - mean)).sum())) / abs(total)
        return Estimate(self.old_integral * mean, abs(self.old_integral) * error)

    @cached_property
    def effective_sample_size(self) -> float:
        """Events of weight one that they are worth."""
        return effective_sample_size(self.weights)

    @cached_property
    def pareto_k(self) -> float:
        """Shape of the tail of the weights."""
        return pareto_k(self.weights)

    @property
    def trusted(self) -> bool:
        """Whether the old events cover the new density: a Pareto k of at most 0.7."""
        return not self.pareto_k > HIGHEST_PARETO_K


def reweight(
    events: Any,
    new: Function,
    old: Function,
    *,
    weights: ArrayLike | None = None,
    integral: float | None = None,
    log: bool = False,
) -> Reweighted:
    """Weight events so that they are distributed as another density.

    Other parameters of the same process, another matrix element, or the exact density in place of
    the flow that events were drawn from: nothing has to be generated again as long as the old
    events cover what the new density wants; `Reweighted.trusted` tells.

    Args:
        events: points of shape (B, D), or unweighted events of `Integral.unweight`.
        new: density that they should follow, function of points to (B,); not normalised.
        old: density that they follow.
        weights: of the events before; those of unweighted events, or one.
        integral: of the old density; that of unweighted events, or one.
        log: both functions give logarithms of densities.

    Returns:
        The weights with diagnostics.

    Raises:
        BadIntegrand: densities of a wrong shape, NaN, or the old one zero at an event.
    """
    given = None if isinstance(events, np.ndarray) else getattr(events, "weight", None)
    x = np.asarray(getattr(events, "x", events), np.float64)
    before = np.ones(len(x)) if weights is None and given is None else None
    before = before if before is not None else np.asarray(given if weights is None else weights)
    before = np.asarray(before, np.float64)
    if before.shape != (len(x),):
        raise BadIntegrand(f"wanted {len(x)} weights, one an event, got shape {before.shape}")
    values = []
    for name, function in (("new", new), ("old", old)):
        value = np.asarray(function(x), np.float64)
        if value.shape != (len(x),):
            raise BadIntegrand(f"{name} density: wanted shape ({len(x)},), got {value.shape}")
        if np.isnan(value).any():
            raise BadIntegrand(f"{name} density: {int(np.isnan(value).sum())} of {len(x)} are NaN")
        values.append(value)
    target, source = values
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratio = np.exp(target - source) if log else target / source
    bad = ~np.isfinite(ratio)
    if bad.any():
        row = int(bad.argmax())
        raise BadIntegrand(
            f"{int(bad.sum())} of {len(x)} ratios are no finite numbers, first at event {row}: "
            f"new {target[row]:g}, old {source[row]:g}; the old density cannot be zero where it "
            "has events"
        )
    known = getattr(events, "integral", 1.0) if integral is None else integral
    return Reweighted(before * ratio, before, float(known))


def _density_values(given: Any, size: int) -> Array:
    values = np.asarray(given, np.float64)
    if values.shape != (size,):
        raise BadIntegrand(
            f"density: wanted shape ({size},), one value a point, got {values.shape}"
        )
    if values.min(initial=0.0) < 0:
        raise BadIntegrand(f"a density is not negative, got {values.min():g}")
    return values


def _columns(given: Any, size: int) -> tuple[Array, tuple[str, ...] | None, bool]:
    """Quantities as (B, M), their names, and whether there is one without a name."""
    names = tuple(map(str, given)) if isinstance(given, Mapping) else None
    parts = list(given.values()) if isinstance(given, Mapping) else None
    values = np.asarray(given if parts is None else np.stack(parts, axis=1), np.float64)
    if values.ndim not in (1, 2) or len(values) != size:
        raise BadIntegrand(
            f"quantity: wanted shape ({size},) or ({size}, M), one row a point, got {values.shape}"
        )
    return values.reshape(size, -1), names, values.ndim == 1


def _self_normalised(weights: Array, columns: Array) -> list[Estimate]:
    total = float(weights.sum())
    if total == 0:
        raise BadIntegrand("the density is zero at all points")
    means = weights @ columns / total
    errors = np.sqrt(np.square(weights[:, None] * (columns - means)).sum(0)) / total
    return [Estimate(float(m), float(e)) for m, e in zip(means, errors, strict=True)]


def _of_integrals(result: Integral) -> list[Estimate]:
    """Ratios of all values of a vector integrand to the first."""
    norm = result.vector[0]
    if norm == 0:
        raise BadIntegrand("the density is zero at all points")
    ratios = result.vector[1:] / norm
    covariance = result.covariance
    spread = np.diag(covariance)[1:] - 2 * ratios * covariance[0, 1:]
    errors = np.sqrt(np.maximum(spread + ratios**2 * covariance[0, 0], 0)) / abs(norm)
    return [Estimate(float(r), float(e)) for r, e in zip(ratios, errors, strict=True)]
