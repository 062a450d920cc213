"""What enters a metric: labels, scores and weights of B jets, checked once and in one place.

Shapes: B jets, K classes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["drop_unscored"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


def drop_unscored(scores: ArrayLike, *columns: ArrayLike) -> tuple[Any, ...]:
    """Leave out jets without a score; in a friend tree NaN stands for a jet that was not scored.

    Args:
        scores: (B,) or (B, K).
        columns: arrays of B entries that are cut alike: labels, weights, masses.

    Returns:
        The scores, the columns, and last the number of jets left out.

    Raises:
        ValueError: a column has another length.
    """
    array = np.asarray(scores)
    keep = ~np.isnan(array if array.ndim == 1 else array.sum(axis=1))
    found = [np.asarray(column) for column in columns]
    for column in found:
        _same_length("scores", len(array), "a column beside them", len(column))
    return (array[keep], *(column[keep] for column in found), int(len(keep) - keep.sum()))


def binary(
    labels: ArrayLike, scores: ArrayLike, weights: ArrayLike | None
) -> tuple[Bools, Floats, Floats | None]:
    """Labels (True for signal), scores and weights, each (B,).

    Raises:
        ValueError: lengths differ, there is no jet, a label is not 0 or 1, a score is NaN, a weight
            is not finite.
    """
    score = np.asarray(scores, dtype=np.float64)
    if score.ndim != 1:
        raise ValueError(
            f"a score for each jet is wanted, shape (B,); got shape {score.shape}: "
            "take one column, or the discriminant of two classes"
        )
    label = truth(labels)
    _same_length("labels", len(label), "scores", len(score))
    _no_nan(score)
    return label, score, weight_of(weights, len(label))


def several(
    labels: ArrayLike, scores: ArrayLike, weights: ArrayLike | None
) -> tuple[Ints, Floats, Floats | None]:
    """Class indices (B,), scores (B, K) and weights (B,); scores keep float32 where they come so.

    Labels are class indices (B,), or one true column a jet (B, K).

    Raises:
        ValueError: lengths differ, there is no jet, a jet is in no class, in two, or in one beyond
            K; NaN.
    """
    score = np.asarray(scores)
    score = score if score.dtype == np.float32 else score.astype(np.float64)
    if score.ndim != 2 or score.shape[1] < 2:
        raise ValueError(
            f"scores of each class are wanted, shape (B, K), K >= 2; got {score.shape}"
        )
    label = np.asarray(labels)
    _same_length("labels", len(label), "scores", len(score))
    if not len(score):
        raise ValueError("no jet: labels and scores are empty")
    if label.ndim == 2:
        label = _index(label, score.shape[1])
    index = label.astype(np.int64)
    if np.any(index != label) or index.min() < 0 or index.max() >= score.shape[1]:
        raise ValueError(
            f"labels are class indices from 0 to {score.shape[1] - 1}, one a column of scores; "
            f"got values from {label.min()} to {label.max()}"
        )
    _no_nan(score)
    return index, score, weight_of(weights, len(index))


def truth(labels: ArrayLike) -> Bools:
    """Labels as booleans, True for signal.

    Raises:
        ValueError: there is none, or one is neither 0 nor 1.
    """
    label = np.asarray(labels)
    if label.ndim != 1:
        raise ValueError(f"a label for each jet is wanted, shape (B,); got shape {label.shape}")
    if not len(label):
        raise ValueError("no jet: labels and scores are empty")
    if label.dtype == np.bool_:
        return label
    strange = (label != 0) & (label != 1)
    if np.any(strange):
        raise ValueError(
            f"labels are 0 (background) or 1 (signal); got "
            f"{np.unique(label[strange])[:5].tolist()} in {int(strange.sum())} of {len(label)} jets"
        )
    return label.astype(np.bool_)


def weight_of(weights: ArrayLike | None, length: int) -> Floats | None:
    """Weights (B,), or None for unit weights.

    Raises:
        ValueError: another length, or a weight that is NaN or infinite.
    """
    if weights is None:
        return None
    weight = np.asarray(weights, dtype=np.float64)
    _same_length("labels", length, "weights", len(weight))
    strange = int(len(weight) - np.isfinite(weight).sum())
    if strange:
        raise ValueError(f"{strange} of {length} weights are NaN or infinite")
    return weight


def both_classes(what: str, signal: float, background: float) -> None:
    """Say so where a metric needs both classes and one has nothing.

    Raises:
        ValueError: the sum of weights of a class is not positive.
    """
    if not (signal > 0 and background > 0):
        raise ValueError(
            f"{what} needs signal and background with positive sums of weights; "
            f"got {signal:g} of signal and {background:g} of background"
        )


def _index(one_hot: NDArray[Any], classes: int) -> Ints:
    if one_hot.shape[1] != classes:
        raise ValueError(f"labels have {one_hot.shape[1]} columns, scores have {classes}")
    true = one_hot.astype(np.bool_)
    number = true.sum(axis=1)
    if np.any(number != 1):
        raise ValueError(
            f"each jet is in one class; of {len(number)} jets {int((number == 0).sum())} "
            f"are in none, {int((number > 1).sum())} in two or more"
        )
    return np.asarray(true.argmax(axis=1), dtype=np.int64)


def _no_nan(score: NDArray[Any]) -> None:
    missing = np.isnan(score) if score.ndim == 1 else np.isnan(score).any(axis=1)
    if np.any(missing):
        raise ValueError(
            f"{int(missing.sum())} of {len(score)} jets have NaN scores; "
            "hepgen.metrics.drop_unscored leaves them out and counts them"
        )


def _same_length(name: str, length: int, other: str, other_length: int) -> None:
    if length != other_length:
        raise ValueError(
            f"{name} and {other} differ in length: {length} jets against {other_length}"
        )
