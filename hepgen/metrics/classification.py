"""Numbers that say how well a score tells signal from background, each with its error.

Everything takes labels (1 = signal), scores (higher = more like signal) and optional weights, in
that order, and gives an :class:`~hepgen.metrics.Estimate`. Errors are those of a finite test
sample; what another training with another seed would give is seen only by training again.

Shapes: B jets, K classes.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from hepgen.metrics.estimate import Estimate
from hepgen.metrics.roc import Roc, curve, efficiency_error
from hepgen.metrics.samples import binary, several, truth, weight_of

__all__ = [
    "accuracy",
    "auc",
    "background_efficiency",
    "background_rejection",
    "efficiency",
    "signal_efficiency",
    "threshold",
]


def efficiency(passed: ArrayLike, weights: ArrayLike | None = None) -> Estimate:
    """Share of jets that pass a cut, with the binomial error of weighted jets.

    Args:
        passed: (B,), True where the jet passes.
        weights: (B,), may be negative; 1 without them.

    Returns:
        The share. Its error is zero where all or none pass.

    Raises:
        ValueError: no jet, another length, or a sum of weights that is not positive.
    """
    chosen = truth(passed)
    weight = weight_of(weights, len(chosen))
    weight = np.ones(len(chosen)) if weight is None else weight
    if weight.sum() <= 0:
        raise ValueError(f"an efficiency needs a positive sum of weights; got {weight.sum():g}")
    passing, squares = weight[chosen].sum(), np.square(weight[chosen]).sum()
    error = efficiency_error(passing, squares, weight.sum(), np.square(weight).sum())
    return Estimate(float(passing / weight.sum()), float(error))


def accuracy(
    labels: ArrayLike,
    scores: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    threshold: float = 0.5,
) -> Estimate:
    """Share of jets that are given their true class.

    Args:
        labels: (B,) of 0 and 1 for scores (B,); class indices (B,) or true columns (B, K) for
            scores (B, K).
        scores: (B,), signal from ``threshold`` on; or (B, K), where the highest column wins, the
            first of equals.
        weights: (B,).
        threshold: where signal begins, for scores (B,).

    Returns:
        The accuracy with its binomial error.

    Raises:
        ValueError: lengths differ, labels are strange, or scores are NaN.
    """
    if np.ndim(scores) == 1:
        label, score, weight = binary(labels, scores, weights)
        return efficiency((score >= threshold) == label, weight)
    index, score, weight = several(labels, scores, weights)
    return efficiency(score.argmax(axis=1) == index, weight)


def auc(labels: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None) -> Estimate:
    """Area under the ROC curve: how often a signal jet scores above a background jet.

    Ties count one half. The error is DeLong's: the spread of the structural components, with the
    weights squared for weighted jets. It holds for any distribution of the scores, where the
    formula of Hanley and McNeil assumes exponential ones.

    E. R. DeLong, D. M. DeLong and D. L. Clarke-Pearson, Biometrics 44 (1988) 837.

    Args:
        labels: (B,), 1 for signal.
        scores: (B,).
        weights: (B,), may be negative.

    Returns:
        The area; its error is zero for perfect separation, and NaN where a class has one jet.

    Raises:
        ValueError: a class is missing, lengths differ, or scores are NaN.
    """
    found = curve(*binary(labels, scores, weights), what="the AUC")
    return Estimate(*found.area())


def background_efficiency(
    labels: ArrayLike,
    scores: ArrayLike,
    signal_efficiency: float = 0.3,
    weights: ArrayLike | None = None,
) -> Estimate:
    """Share of the background that passes the cut which keeps a given share of the signal.

    Args:
        labels: (B,), 1 for signal.
        scores: (B,).
        signal_efficiency: what the cut keeps, in (0, 1].
        weights: (B,), may be negative.

    Returns:
        The efficiency; the error counts the background that passes and the signal that sets the cut
        (:meth:`Roc.background_at`). Where none passes, value and error are 0: see
        :func:`background_rejection`.

    Raises:
        ValueError: a class is missing, lengths differ, scores are NaN, or ``signal_efficiency`` is
            out of range.
    """
    found = curve(*binary(labels, scores, weights), what="a background efficiency")
    value, error = found.background_at(signal_efficiency)
    return Estimate(float(value), float(error))


def background_rejection(
    labels: ArrayLike,
    scores: ArrayLike,
    signal_efficiency: float = 0.3,
    weights: ArrayLike | None = None,
) -> Estimate:
    """How many background jets are refused for one that passes: 1 / background efficiency.

    Args:
        labels: (B,), 1 for signal.
        scores: (B,).
        signal_efficiency: what the cut keeps of the signal, in (0, 1].
        weights: (B,), may be negative.

    Returns:
        The rejection with its error (see :func:`background_efficiency`). Where no background
        passes, or the weights of what passes sum to nothing, it is infinite and ``lower_limit``
        says what it exceeds at 90 % confidence.

    Raises:
        ValueError: a class is missing, lengths differ, scores are NaN, or ``signal_efficiency`` is
            out of range.
    """
    return rejection_at(
        curve(*binary(labels, scores, weights), what="a background rejection"), signal_efficiency
    )


def rejection_at(found: Roc, signal_efficiency: float) -> Estimate:
    """Background rejection from a ROC curve that is there already.

    Raises:
        ValueError: ``signal_efficiency`` is not in (0, 1].
    """
    value, error = (float(number) for number in found.background_at(signal_efficiency))
    if value > 0:
        return Estimate(1 / value, error / value**2)
    # Clopper and Pearson: with none of n passing, the efficiency is below 1 - 0.1^(1/n) at 90 %.
    largest = -math.expm1(math.log(0.1) / found.background_jets)
    return Estimate(math.inf, math.nan, lower_limit=1 / max(largest, value + 1.2816 * error))


def signal_efficiency(
    labels: ArrayLike,
    scores: ArrayLike,
    background_efficiency: float = 0.01,
    weights: ArrayLike | None = None,
) -> Estimate:
    """Share of the signal that passes the cut which lets a given share of the background through.

    Args:
        labels: (B,), 1 for signal.
        scores: (B,).
        background_efficiency: what the cut lets through, in (0, 1].
        weights: (B,), may be negative.

    Returns:
        The efficiency, with the error of the signal and that of the cut (:meth:`Roc.signal_at`).

    Raises:
        ValueError: a class is missing, lengths differ, scores are NaN, or ``background_efficiency``
            is out of range.
    """
    found = curve(*binary(labels, scores, weights), what="a signal efficiency")
    value, error = found.signal_at(background_efficiency)
    return Estimate(float(value), float(error))


def threshold(
    labels: ArrayLike,
    scores: ArrayLike,
    signal_efficiency: float = 0.3,
    weights: ArrayLike | None = None,
) -> float:
    """The tightest cut that keeps at least this share of the signal; jets with score >= cut pass.

    Args:
        labels: (B,), 1 for signal.
        scores: (B,).
        signal_efficiency: what to keep, in (0, 1].
        weights: (B,), may be negative.

    Returns:
        A score of the sample.

    Raises:
        ValueError: a class is missing, lengths differ, scores are NaN, or ``signal_efficiency`` is
            out of range.
    """
    found = curve(*binary(labels, scores, weights), what="a cut")
    return found.threshold_at(signal_efficiency)
