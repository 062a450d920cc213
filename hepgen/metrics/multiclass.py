"""Several classes: each against the rest, one against one, and the confusion matrix.

Shapes: B jets, K classes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from hepgen.metrics.estimate import Estimate
from hepgen.metrics.samples import Bools, Floats, several

__all__ = ["Confusion", "confusion_matrix", "discriminant", "one_vs_one", "one_vs_rest"]

Metric = Callable[..., Estimate]


class Confusion(NamedTuple):
    """A confusion matrix.

    Attributes:
        values: (K, K), true class down, predicted class across.
        errors: (K, K), standard errors.
    """

    values: Floats
    errors: Floats


def discriminant(
    scores: ArrayLike,
    signal: int,
    background: int | Sequence[int] | Mapping[int, float] | None = None,
) -> Floats:
    r"""One score from several: :math:`D = p_s / (p_s + \sum_b f_b\,p_b)`, what tells s from b best.

    Args:
        scores: (B, K) probabilities.
        signal: column of the signal class s.
        background: column of b, columns (each with f = 1), or columns with their fractions f; all
            others if None.

    Returns:
        D, shape (B,), in [0, 1]. It is 0 where all of the probabilities vanish: such a jet looks
        like a third class.

    Raises:
        ValueError: a column that is not there, the signal among the backgrounds, or no background.
    """
    score = np.asarray(scores)
    columns = score.shape[1] if score.ndim == 2 else 0
    if background is None:
        background = [column for column in range(columns) if column != signal]
    if isinstance(background, int | np.integer):
        background = [int(background)]
    fractions = (
        dict(background) if isinstance(background, Mapping) else dict.fromkeys(background, 1.0)
    )
    wrong = [column for column in (signal, *fractions) if not 0 <= column < columns]
    if wrong or signal in fractions or not fractions:
        raise ValueError(
            f"a discriminant needs a signal and other columns for background, "
            f"of {columns} columns of scores; "
            f"got signal {signal} and background {list(fractions)}"
        )
    top = score[:, signal].astype(np.float64)
    rest = sum(fraction * score[:, column] for column, fraction in fractions.items())
    total = top + rest
    return np.divide(top, total, out=np.where(np.isnan(total), np.nan, 0.0), where=total > 0)


def one_vs_rest(
    metric: Metric,
    labels: ArrayLike,
    scores: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    classes: Sequence[str],
    **keywords: Any,
) -> dict[str, Estimate]:
    """A metric of two classes for each class against all others, on its probability.

    Args:
        metric: ``metric(labels, scores, weights=..., **keywords)``.
        labels: class indices (B,) or true columns (B, K).
        scores: (B, K) probabilities.
        weights: (B,).
        classes: K names, in the order of the columns.
        **keywords: for the metric.

    Returns:
        An estimate for each class.

    Raises:
        ValueError: what the metric raises, a class without jets among them, or another number of
            names.
    """
    index, score, weight = _named(labels, scores, weights, classes)
    return {
        name: metric(index == column, score[:, column], weights=weight, **keywords)
        for column, name in enumerate(classes)
    }


def one_vs_one(
    metric: Metric,
    labels: ArrayLike,
    scores: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    classes: Sequence[str],
    **keywords: Any,
) -> dict[tuple[str, str], Estimate]:
    """A metric of two classes for each ordered pair, on their jets and their discriminant.

    Args:
        metric: ``metric(labels, scores, weights=..., **keywords)``.
        labels: class indices (B,) or true columns (B, K).
        scores: (B, K) probabilities.
        weights: (B,).
        classes: K names, in the order of the columns.
        **keywords: for the metric.

    Returns:
        An estimate for each (signal, background).

    Raises:
        ValueError: what the metric raises, a class without jets among them, or another number of
            names.
    """
    index, score, weight = _named(labels, scores, weights, classes)
    found = {}
    for signal, background in itertools.permutations(range(len(classes)), 2):
        label, value, used = pair(index, score, weight, signal, background)
        found[classes[signal], classes[background]] = metric(label, value, weights=used, **keywords)
    return found


def pair(
    index: Any, score: Any, weight: Floats | None, signal: int, background: int | None
) -> tuple[Bools, Floats, Floats | None]:
    """Labels, discriminant and weights of the jets of two classes.

    ``background`` None means all jets, the signal against the rest.
    """
    chosen = (
        np.ones(len(index), bool) if background is None else np.isin(index, (signal, background))
    )
    return (
        index[chosen] == signal,
        discriminant(score[chosen], signal, background),
        None if weight is None else weight[chosen],
    )


def confusion_matrix(
    labels: ArrayLike,
    scores: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    normalise: Literal["true", "predicted"] | None = "true",
) -> Confusion:
    """How often jets of each true class (rows) are taken for each class (columns).

    A jet is taken for the class of its highest score, the first of equals.

    Args:
        labels: class indices (B,) or true columns (B, K).
        scores: (B, K).
        weights: (B,), may be negative.
        normalise: "true": rows sum to 1, "predicted": columns sum to 1; None: sums of weights.

    Returns:
        Values and standard errors, each (K, K); NaN in a row (column) that has no jets.

    Raises:
        ValueError: lengths differ, labels are strange, scores are NaN, or ``normalise`` is none of
            these.
    """
    if normalise not in ("true", "predicted", None):
        raise ValueError(f"normalise is 'true', 'predicted' or None; got {normalise!r}")
    index, score, weight = several(labels, scores, weights)
    classes = score.shape[1]
    cell = index * classes + score.argmax(axis=1)
    weight = np.ones(len(cell)) if weight is None else weight
    shape = (classes, classes)
    sums = np.bincount(cell, weight, classes * classes).reshape(shape).astype(np.float64)
    squares = np.bincount(cell, weight**2, classes * classes).reshape(shape)
    if normalise is None:
        return Confusion(sums, np.sqrt(squares))
    axis = 1 if normalise == "true" else 0
    total, all_squares = sums.sum(axis, keepdims=True), squares.sum(axis, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = sums / total
        variance = (1 - share) ** 2 * squares + share**2 * (all_squares - squares)
        return Confusion(share, np.sqrt(variance) / np.abs(total))


def _named(
    labels: ArrayLike, scores: ArrayLike, weights: ArrayLike | None, classes: Sequence[str]
) -> tuple[Any, Any, Floats | None]:
    index, score, weight = several(labels, scores, weights)
    if len(classes) != score.shape[1]:
        raise ValueError(f"{len(classes)} class names for {score.shape[1]} columns of scores")
    return index, score, weight
