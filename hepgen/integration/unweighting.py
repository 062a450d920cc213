r"""Unweighted events: each point kept with the probability of its weight.

A point of weight w is kept with probability min(1, |w| / w_max) and gets weight one with the sign
of w, or w / w_max where that is larger: overweight events, whose share of the total is stated.
However the maximum is chosen, distributions stay unbiased.

Shapes: B points, D dimensions, U events.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hepgen.integration.integral import OVERWEIGHT, Integral
from hepgen.metrics import maximum_weight

__all__ = ["UnweightedEvents", "unweight"]

Array = NDArray[np.float64]

# Points of a round of drawing more, at least and at most.
SMALLEST_ROUND, LARGEST_ROUND = 10_000, 1_000_000
# Rounds that may pass without an event before giving up.
EMPTY_ROUNDS = 100


@dataclass(frozen=True)
class UnweightedEvents:
    """Points distributed as the absolute value of the integrand.

    Attributes:
        x: the points in the integrand's variables, shape (U, D).
        weight: one or minus one, above that in size for overweight events, shape (U,).
        maximum: the weight that counts as one.
        efficiency: share of the points that were kept.
        overweight_share: of the total, how much stands above weight one.
        integral: of the integrand, so that each event stands for integral / sum(weight).
        calls: of the integrand for points beyond those of the integration.
        observables: further quantities of the events, where all come from kept points.
    """

    x: Array
    weight: Array
    maximum: float
    efficiency: float
    overweight_share: float
    integral: float
    calls: int = 0
    observables: Mapping[str, Array] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.x)


def unweight(
    result: Integral,
    n: int | None = None,
    *,
    overweight: float = OVERWEIGHT,
    seed: int = 0,
) -> UnweightedEvents:
    """Turn the points of an integration into events of weight one.

    Args:
        result: of `integrate`, of a scalar integrand.
        n: how many events; None takes what the points of the integration give. For more, further
            points are drawn from the same sampler.
        overweight: share of the total that may stand above weight one; zero takes the largest
            weight as maximum, so that no event of the integration's own points does.
        seed: for acceptance and further points.

    Returns:
        The events in random order.

    Raises:
        ValueError: a vector integrand, one that is zero everywhere, or too few points in a result
            that was read from a file without its integrand.
    """
    if result.point_weights.shape[1] != 1:
        raise ValueError(
            f"unweighting wants one weight a point, the integrand has "
            f"{result.point_weights.shape[1]}; integrate the one that events should follow"
        )
    if n is not None and n < 1:
        raise ValueError(f"n: wanted at least one event, got {n}")
    weights = result.point_weights[:, 0]
    maximum = maximum_weight(weights, overweight)
    if maximum == 0:
        raise ValueError("the integrand is zero at all points: there are no events")
    rng = np.random.default_rng([seed, 0x756E77])
    kept = _kept(weights, maximum, rng)
    xs, made, points, calls = [result.x[kept]], [weights[kept] / maximum], len(weights), 0
    over, total = _above(weights, maximum), float(np.abs(weights).sum())
    count, empty = int(kept.sum()), 0
    if n is not None and count < n and result.evaluator is None:
        raise ValueError(
            f"{n} events wanted, {len(weights)} points give {count}; to draw more, read the result "
            "with its integrand: load_integral(path, integrand=...)"
        )
    while n is not None and count < n:
        need = 1.1 * (n - count) / max(count / points, 1e-6)
        x, more = _more(result, int(np.clip(need, SMALLEST_ROUND, LARGEST_ROUND)), rng)
        kept_more = _kept(more, maximum, rng)
        xs.append(x[kept_more])
        made.append(more[kept_more] / maximum)
        points, calls, count = points + len(x), calls + len(x), count + int(kept_more.sum())
        over, total = over + _above(more, maximum), total + float(np.abs(more).sum())
        empty = 0 if kept_more.any() else empty + 1
        if empty == EMPTY_ROUNDS:
            raise ValueError(f"no event in {EMPTY_ROUNDS} rounds of {len(x)} points; {count} found")
    # Samplers draw in the order of their strata, of which the first n would be a corner.
    order = rng.permutation(count)[:n]
    weight = np.concatenate(made)[order]
    observables = {} if calls else {k: v[kept][order] for k, v in result.observables.items()}
    return UnweightedEvents(
        x=np.concatenate(xs)[order],
        weight=np.sign(weight) * np.maximum(np.abs(weight), 1.0),
        maximum=maximum,
        efficiency=count / points,
        overweight_share=over / total,
        integral=float(result.vector[0]),
        calls=calls,
        observables=observables,
    )


def _kept(weights: Array, maximum: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    return np.asarray(rng.random(len(weights)) * maximum < np.abs(weights))


def _above(weights: Array, maximum: float) -> float:
    return float(np.maximum(np.abs(weights) - maximum, 0).sum())


def _more(result: Integral, calls: int, rng: np.random.Generator) -> tuple[Array, Array]:
    assert result.evaluator is not None
    draw = result.sampler.draw(calls, rng)
    found = result.evaluator(draw.x)
    return found.x, found.values[:, 0] * draw.measure * len(draw)
