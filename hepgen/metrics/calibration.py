"""Whether a score of 0.8 means that 80 % of such jets are signal.

Shapes: B jets, K classes, R bins.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from hepgen.metrics.estimate import Estimate
from hepgen.metrics.samples import Floats, binary, several

__all__ = ["Reliability", "expected_calibration_error", "log_loss", "reliability"]


@dataclass(frozen=True, slots=True)
class Reliability:
    """Predicted and observed shares of signal in bins of the score; bins without jets hold NaN.

    Attributes:
        edges: (R + 1,), of the bins in the score.
        predicted: (R,), mean score.
        observed: (R,), share of signal.
        error: (R,), standard error of ``observed``, estimated with the predicted share so that it
            does not vanish where all jets of a bin are of one class.
        share: (R,), share of the sum of weights that falls in the bin.
    """

    edges: Floats
    predicted: Floats
    observed: Floats
    error: Floats
    share: Floats


def reliability(
    labels: ArrayLike,
    scores: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    bins: int = 10,
    strategy: Literal["uniform", "quantile"] = "uniform",
) -> Reliability:
    """The reliability curve.

    Args:
        labels: (B,), 1 for signal.
        scores: (B,), probabilities of signal.
        weights: (B,).
        bins: their number R; fewer for quantiles where many scores are equal.
        strategy: bins of equal width in [0, 1], or with equally many jets (weights do not count).

    Returns:
        Shares in bins; the upper edge belongs to a bin, and 0 to the first.

    Raises:
        ValueError: a score is not a probability, or strange ``labels``, ``bins`` or ``strategy``.
    """
    label, score, weight = binary(labels, scores, weights)
    if strategy not in ("uniform", "quantile") or bins < 1:
        raise ValueError(f"no reliability with {bins} bins and strategy {strategy!r}")
    _probabilities(score)
    edges = np.linspace(0, 1, bins + 1)
    if strategy == "quantile":
        edges = np.unique(np.quantile(score, edges))
        edges = edges if len(edges) > 1 else np.array([edges[0], np.nextafter(edges[0], 2)])
    weight = np.ones(len(score)) if weight is None else weight
    bins = len(edges) - 1
    index = np.searchsorted(edges[1:-1], score)
    total = np.bincount(index, weight, bins)
    with np.errstate(divide="ignore", invalid="ignore"):
        predicted = np.bincount(index, weight * score, bins) / total
        observed = np.bincount(index, weight * label, bins) / total
        # The variance of a true share is the sum over jets of p (1 - p), each with its own score.
        variance = np.bincount(index, weight**2 * score * (1 - score), bins)
        error = np.sqrt(variance) / np.abs(total)
    return Reliability(edges, predicted, observed, error, total / total.sum())


def expected_calibration_error(
    labels: ArrayLike,
    scores: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    bins: int = 10,
    strategy: Literal["uniform", "quantile"] = "quantile",
) -> Estimate:
    r"""Mean distance between predicted and observed shares of signal.

    It is :math:`\sum_r w_r |o_r - p_r|` over bins r of the score. For scores (B, K) the question is
    asked of the winning class: its probability, and whether it is right.

    Args:
        labels: (B,), 1 for signal; class indices or true columns for scores (B, K).
        scores: (B,) probabilities of signal, or (B, K).
        weights: (B,).
        bins: their number.
        strategy: bins with equally many jets, or of equal width.

    Returns:
        The distance; ``floor`` is what a perfect calibration gives on average with this many jets.

    Raises:
        ValueError: a score is not a probability, or strange ``labels``, ``bins`` or ``strategy``.
    """
    if np.ndim(scores) == 2:
        index, score, weights = several(labels, scores, weights)
        labels, scores = score.argmax(axis=1) == index, score.max(axis=1)
    found = reliability(labels, scores, weights, bins=bins, strategy=strategy)
    filled = np.isfinite(found.observed)
    share, error = found.share[filled], found.error[filled]
    distance = np.abs(found.observed - found.predicted)[filled]
    # Of a Gaussian of mean zero and width s, the absolute value is s sqrt(2 / pi) on average.
    return Estimate(
        float(share @ distance),
        float(np.sqrt(share**2 @ error**2)),
        floor=float(share @ error * np.sqrt(2 / np.pi)),
    )


def log_loss(labels: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None) -> Estimate:
    """Cross-entropy: the mean of minus the logarithm of the probability of the true class.

    Args:
        labels: (B,), 1 for signal; class indices or true columns for scores (B, K).
        scores: (B,) probabilities of signal, or (B, K).
        weights: (B,), may be negative.

    Returns:
        The loss in nats with the standard error of the mean. Probabilities are kept a rounding
        error of their type away from 0 (1.2e-7 in float32, 2.2e-16 in float64), so that a wrong
        certainty costs 16 or 36 nats, not infinity.

    Raises:
        ValueError: a score is not a probability, lengths differ, or weights sum to nothing.
    """
    kind = np.asarray(scores).dtype
    floor = np.finfo(kind if kind.kind == "f" else np.float64).eps
    if np.ndim(scores) == 1:
        label, score, weight = binary(labels, scores, weights)
        _probabilities(score)
        right = np.where(label, score, 1 - score)
    else:
        index, table, weight = several(labels, scores, weights)
        _probabilities(table)
        right = table[np.arange(len(index)), index].astype(np.float64)
    loss = -np.log(np.clip(right, floor, 1 - floor))
    weight = np.ones(len(loss)) if weight is None else weight
    if weight.sum() <= 0:
        raise ValueError(f"a mean needs a positive sum of weights; got {weight.sum():g}")
    mean = float(weight @ loss / weight.sum())
    return Estimate(mean, float(np.sqrt(weight**2 @ (loss - mean) ** 2) / weight.sum()))


def _probabilities(score: ArrayLike) -> None:
    value = np.asarray(score)
    outside = int(np.sum((value < 0) | (value > 1)))
    if outside:
        raise ValueError(
            f"{outside} of {value.size} scores are not probabilities: "
            f"they reach from {value.min():g} to {value.max():g}"
        )
