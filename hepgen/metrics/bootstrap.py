"""Errors of any metric by resampling the jets.

Each replica gives every jet a weight drawn from a Poisson distribution of mean 1 (the bootstrap of
a sample whose size itself fluctuates, as that of data does). The draws are a function of the seed,
the number of the replica and the position of the jet alone: two taggers on the same jets see the
same replicas, so the spread of the difference of their replicas is the error of their difference.

Shapes: B jets, K classes, R resamples.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hepgen.metrics.estimate import Estimate
from hepgen.metrics.samples import Floats, weight_of

__all__ = ["bootstrap", "bootstrap_difference", "replicas"]

Metric = Callable[..., Any]


def bootstrap(
    metric: Metric,
    labels: ArrayLike,
    scores: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    resamples: int = 100,
    seed: int = 0,
    **keywords: Any,
) -> Estimate:
    """The metric of the jets as they are, with the spread over resampled jets as its error.

    Args:
        metric: ``metric(labels, scores, weights=..., **keywords)``, giving an estimate or a number.
        labels: (B,) or (B, K), as the metric takes them.
        scores: (B,) or (B, K).
        weights: (B,), may be negative.
        resamples: R; the error is known to 1 / sqrt(2 R): 7 % for 100.
        seed: of the draws.
        **keywords: for the metric.

    Returns:
        The estimate; its error is infinite where the metric of a replica is not finite, as a
        background rejection is where no background passes (take the background efficiency there).

    Raises:
        ValueError: what the metric raises, or fewer than two resamples.
    """
    value = metric(labels, scores, weights=weights, **keywords)
    found = replicas(
        metric, labels, scores, weights=weights, resamples=resamples, seed=seed, **keywords
    )
    limits = (value.lower_limit, value.floor) if isinstance(value, Estimate) else (None, None)
    return Estimate(float(value), spread(found), *limits)


def bootstrap_difference(
    metric: Metric,
    labels: ArrayLike,
    scores: ArrayLike,
    reference: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    resamples: int = 100,
    seed: int = 0,
    **keywords: Any,
) -> Estimate:
    """The metric of one score minus that of another on the same jets.

    What fluctuates in both drops out.

    Args:
        metric: ``metric(labels, scores, weights=..., **keywords)``, giving an estimate or a number.
        labels: (B,) or (B, K).
        scores: (B,) or (B, K) of one tagger.
        reference: the scores of the other.
        weights: (B,), may be negative.
        resamples: R.
        seed: of the draws.
        **keywords: for the metric.

    Returns:
        The difference with the error of the paired replicas.

    Raises:
        ValueError: what the metric raises, or fewer than two resamples.
    """
    values, found = [], []
    for score in (scores, reference):
        values.append(float(metric(labels, score, weights=weights, **keywords)))
        found.append(
            replicas(
                metric, labels, score, weights=weights, resamples=resamples, seed=seed, **keywords
            )
        )
    return Estimate(values[0] - values[1], spread(found[0] - found[1]))


def replicas(
    metric: Metric,
    labels: ArrayLike,
    scores: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    resamples: int = 100,
    seed: int = 0,
    **keywords: Any,
) -> Floats:
    """The metric of R resamples of the jets: (R,), or (R, ...) for a metric that gives arrays.

    Raises:
        ValueError: what the metric raises, or fewer than two resamples.
    """
    if resamples < 2:
        raise ValueError(f"a spread needs at least two resamples; got {resamples}")
    label, score = np.asarray(labels), np.asarray(scores)
    weight = weight_of(weights, len(score))
    order = _order(score, keywords)
    if order is not None:
        label, score = label[order], score[order]
        weight = None if weight is None else weight[order]
    results = []
    for replica in range(resamples):
        count = draws(len(score), seed, replica)
        count = count if order is None else count[order]
        used = count.astype(np.float64) if weight is None else count * weight
        result = metric(label, score, weights=used, **keywords)
        results.append(result.value if isinstance(result, Estimate) else result)
    return np.asarray(results, dtype=np.float64)


def draws(length: int, seed: int, replica: int) -> NDArray[np.uint8]:
    """How often each of the jets is in a replica: Poisson numbers of mean 1, shape (B,)."""
    source = np.random.Generator(np.random.SFC64([seed, replica]))
    return np.take(_POISSON, source.integers(0, len(_POISSON), length, dtype=np.uint16))


def spread(values: Floats) -> float:
    """Standard deviation of replicas (R,), infinite where one of them is not finite."""
    return float(np.std(values, ddof=1)) if np.all(np.isfinite(values)) else float("inf")


def _order(score: NDArray[Any], keywords: dict[str, Any]) -> NDArray[np.int64] | None:
    # Sorted once, the scores need no sorting in each replica. Arrays among the keywords may belong
    # to the jets one by one, and then the jets stay where they are.
    if score.ndim != 1 or any(np.ndim(value) for value in keywords.values()):
        return None
    return np.argsort(-score, kind="stable")


def _poisson_table() -> NDArray[np.uint8]:
    # 65536 equally likely outcomes: mean and variance are 1 to 2e-4, at a thirtieth of the time of
    # exact draws.
    terms = np.cumprod(np.concatenate([[np.exp(-1.0)], 1 / np.arange(1, 12)]))
    return np.searchsorted(np.cumsum(terms), (np.arange(65536) + 0.5) / 65536).astype(np.uint8)


_POISSON = _poisson_table()
