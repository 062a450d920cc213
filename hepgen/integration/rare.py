r"""Integrals over rare events: how much of a density lies where a statistic exceeds a threshold.

.. math:: P = \int p(x) \, [s(x) \ge t] \, dx

Plain Monte Carlo needs 100 / P calls for ten per cent, and no sampler learns from zeros alone. The
threshold is therefore raised level by level: each level is what the best tenth of the points of the
last one reach, and a mixture learns it before the next (the cross-entropy method: R. Y. Rubinstein,
Methodol. Comput. Appl. Probab. 1 (1999) 127). What learns is adapted to the last level only, and
the estimate comes from further, independent points.

Shapes: B points, D dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepgen.integration.domain import Domain
from hepgen.integration.evaluator import BadIntegrand
from hepgen.integration.integral import Integral
from hepgen.integration.mixture import Mixture
from hepgen.integration.run import integrate
from hepgen.integration.sampler import Draw
from hepgen.integration.strategy import OneSampler

__all__ = ["RareEvent", "rare_event"]

Array = NDArray[np.float64]
Function = Callable[[Any], Any]

# Share of the weight beyond a level that the next level keeps, and points of effect in it at least.
KEPT = 0.1
EFFECTIVE = 20
# Student's t: what lies beyond an edge has longer tails than the Gaussian that fits it.
DEGREES = 3.0
# Draws that a level learns from.
REMEMBERED = 3
# Share of the calls for a level, and of all levels together at most.
LEVEL, ALL_LEVELS = 0.04, 0.6
# Calls that leave enough for the integral after all levels, of 200 points at least.
FEWEST = 2000


@dataclass(frozen=True)
class RareEvent:
    """What `rare_event` gives.

    Attributes:
        result: the integral beyond the threshold, with error and diagnostics.
        levels: thresholds on the way, the last one the one that was asked for.
        level_calls: calls spent on the way, beside those of the result.
    """

    result: Integral
    levels: tuple[float, ...]
    level_calls: int

    @property
    def calls(self) -> int:
        """Of density and statistic in total."""
        return self.result.calls + self.level_calls

    def __str__(self) -> str:
        return f"{self.result}\n{len(self.levels)} levels, {self.level_calls:,} calls on the way"


def rare_event(
    density: Function,
    statistic: Function,
    threshold: float,
    bounds: Any,
    *,
    calls: int = 100_000,
    seed: int = 0,
    **options: Any,
) -> RareEvent:
    """Integrate a density over the points where a statistic reaches a threshold.

    Args:
        density: function of points (B, D) to (B,), numpy; not negative. Normalised, the result is a
            probability.
        statistic: function of points (B, D) to (B,); large where the event happens.
        threshold: from which the event counts.
        bounds: as for `integrate`.
        calls: of both functions in total.
        seed: of all random numbers.
        **options: further arguments of `integrate`.

    Returns:
        The integral, and the levels that led there.

    Raises:
        BadIntegrand: the density is negative or zero everywhere, a function gives a wrong shape or
            NaN, or the levels do not reach the threshold; the message tells how far they came.
        ValueError: a threshold that is no finite number, or what `integrate` raises.

    Warns:
        IntegrationWarning: the error should not be trusted, and why.
    """
    if not math.isfinite(threshold):
        raise ValueError(f"threshold: wanted a finite number, got {threshold}")
    if calls < FEWEST:
        raise ValueError(f"calls: wanted at least {FEWEST} for levels and integral, got {calls}")
    domain = bounds if isinstance(bounds, Domain) else Domain(bounds)
    rng = np.random.default_rng([seed, 0x72617265])
    sampler = Mixture(domain.dimension, degrees=DEGREES, seed=seed)
    seen: list[tuple[Draw, Array, Array]] = []
    levels: list[float] = []
    spent = 0
    while not levels or levels[-1] < threshold:
        if spent >= ALL_LEVELS * calls:
            raise BadIntegrand(
                f"the statistic has come to {levels[-1]:g} of {threshold:g} in {len(levels)} "
                f"levels and {spent:,} calls; give more calls, or a threshold that it can reach"
            )
        draw = sampler.draw(max(int(LEVEL * calls), 200), rng)
        x, jacobian = domain.forward(draw.x)
        p, s = _both(density, statistic, x).T
        seen.append((draw, p * jacobian, s))
        spent += len(draw)
        levels.append(_next_level(*seen[-1], threshold, levels[-1] if levels else -math.inf))
        # Anew for each level: the mixture remembers values, and those were of the last level.
        sampler = Mixture(domain.dimension, degrees=DEGREES, seed=seed)
        for past, value, s in seen[-REMEMBERED:]:
            if (value * (s >= levels[-1]) > 0).sum() >= EFFECTIVE:
                sampler.adapt(past, value * (s >= levels[-1]))
    result = integrate(
        lambda x: _beyond(density, statistic, threshold, x),
        domain,
        calls=calls - spent,
        sampler=OneSampler("mixture", sampler, lessons=(0.15, 0.15), keep_learning=False),
        seed=seed,
        **options,
    )
    return RareEvent(result, tuple(levels), spent)


def _both(density: Function, statistic: Function, x: Array) -> Array:
    p, s = np.asarray(density(x), np.float64), np.asarray(statistic(x), np.float64)
    for name, value in (("density", p), ("statistic", s)):
        if value.shape != (len(x),):
            raise BadIntegrand(f"{name}: wanted shape ({len(x)},), got {value.shape}")
        if np.isnan(value).any():
            raise BadIntegrand(f"{name}: {int(np.isnan(value).sum())} of {len(x)} values are NaN")
    if not (p.min(initial=0.0) >= 0 and p.max(initial=0.0) < np.inf):
        raise BadIntegrand(f"a density is finite and not negative, got {p.min():g} to {p.max():g}")
    return np.stack([p, s], axis=1)


def _beyond(density: Function, statistic: Function, threshold: float, x: Array) -> Array:
    p, s = _both(density, statistic, x).T
    return np.asarray(p * (s >= threshold))


def _next_level(draw: Draw, p: Array, s: Array, threshold: float, level: float) -> float:
    """The level that a tenth of the weight beyond the last one reaches, if enough points do.

    The mixture covers what lies below the level as well, so that the level rises even if the last
    one was not reached well.
    """
    weights = p * draw.measure
    if not weights.any():
        raise BadIntegrand("the density is zero at all points: nothing to raise the threshold from")
    order = np.argsort(-s)
    order = order[weights[order] > 0]
    sums, squares = np.cumsum(weights[order]), np.cumsum(weights[order] ** 2)
    beyond = s[order] >= level
    total = sums[beyond][-1] if beyond.any() else sums[-1]
    good = (sums >= KEPT * total) & (sums**2 >= EFFECTIVE * squares)
    if not good.any():
        return level if math.isfinite(level) else float(s[order[-1]])
    return min(max(float(s[order[int(good.argmax())]]), level), threshold)
