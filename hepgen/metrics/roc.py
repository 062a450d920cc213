"""The ROC curve of weighted jets, with the error of each of its points.

The curve runs over the distinct scores from the highest down. Weights may be negative, as those of
next-to-leading-order generators are; efficiencies are then ratios of sums of weights as ever, they
may pass 1 or go down as the cut is loosened, and "the cut with a signal efficiency of 30 %" is the
tightest cut that reaches it.

Shapes: B jets, P points = distinct scores + 1, T targets.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray

from hepgen.metrics.samples import Bools, Floats, binary, both_classes

__all__ = ["Roc", "roc"]


@dataclass(frozen=True)
class Roc:
    """Signal and background efficiency for every cut on the score.

    Attributes:
        thresholds: (P,), falling; jets with score >= threshold pass. The first is infinite: nothing
            passes.
        signal: (P,), sum of weights of the signal that passes; the last is all of it.
        background: (P,), the same of the background.
        signal_squares: (P,), sum of squared weights of the signal that passes.
        background_squares: (P,), the same of the background.
    """

    thresholds: Floats
    signal: Floats
    background: Floats
    signal_squares: Floats
    background_squares: Floats

    @cached_property
    def signal_efficiency(self) -> Floats:
        """Share of the signal that passes, (P,), from 0 to 1."""
        return np.asarray(self.signal / self.signal[-1])

    @cached_property
    def background_efficiency(self) -> Floats:
        """Share of the background that passes, (P,), from 0 to 1."""
        return np.asarray(self.background / self.background[-1])

    @property
    def signal_jets(self) -> float:
        """Effective number of signal jets, (sum w)^2 / sum w^2."""
        return float(self.signal[-1] ** 2 / self.signal_squares[-1])

    @property
    def background_jets(self) -> float:
        """Effective number of background jets, (sum w)^2 / sum w^2."""
        return float(self.background[-1] ** 2 / self.background_squares[-1])

    def area(self) -> tuple[float, float]:
        """Area under the curve and its error by DeLong, as :func:`hepgen.metrics.auc` says.

        Returns:
            The area, and its standard error: NaN where a class has one jet.
        """
        area, signal, background = _delong(
            self.signal, self.background, self.signal_squares, self.background_squares
        )
        variance = 0.0
        for spread, jets in ((signal, self.signal_jets), (background, self.background_jets)):
            variance += spread * jets / (jets - 1) if jets > 1 else math.nan
        return area, math.sqrt(variance)

    def background_at(self, signal_efficiency: ArrayLike) -> tuple[Floats, Floats]:
        """Background efficiency where the cut reaches a signal efficiency, and its standard error.

        Between two cuts the curve is a straight line, which is what breaking ties at random gives
        on average. The error has two parts, added in quadrature: the binomial one of the background
        at a fixed cut, and the uncertainty of the cut itself, taken as half the change of the
        background efficiency where the signal efficiency is moved by one standard error up and
        down.

        Args:
            signal_efficiency: targets (T,) or one number, in (0, 1].

        Returns:
            Efficiencies and errors, each of the shape of the targets.

        Raises:
            ValueError: a target is not in (0, 1].
        """
        return _across(
            self.signal,
            self.signal_squares,
            self.background,
            self.background_squares,
            signal_efficiency,
        )

    def signal_at(self, background_efficiency: ArrayLike) -> tuple[Floats, Floats]:
        """Signal efficiency where the cut reaches a background efficiency, and its error.

        Args:
            background_efficiency: targets (T,) or one number, in (0, 1].

        Returns:
            Efficiencies and errors, each of the shape of the targets.

        Raises:
            ValueError: a target is not in (0, 1].
        """
        return _across(
            self.background,
            self.background_squares,
            self.signal,
            self.signal_squares,
            background_efficiency,
        )

    def threshold_at(self, signal_efficiency: float) -> float:
        """The tightest cut whose signal efficiency is at least the target.

        Raises:
            ValueError: the target is not in (0, 1].
        """
        reached = np.maximum.accumulate(self.signal_efficiency)
        return float(self.thresholds[_first(reached, _targets(signal_efficiency))])

    def thinned(self, points: int = 300) -> Roc:
        """At most about 4 * ``points`` points, even in both efficiencies and their logarithms."""
        if len(self.thresholds) <= 4 * points:
            return self
        chosen: list[NDArray[np.int64]] = [np.array([0, len(self.thresholds) - 1])]
        for efficiency in (self.signal_efficiency, self.background_efficiency):
            reached = np.maximum.accumulate(efficiency)
            least = min(reached[reached > 0][0], 1.0)
            grid = np.concatenate([np.linspace(0, 1, points), np.geomspace(least, 1, points)])
            chosen.append(np.minimum(np.searchsorted(reached, grid), len(reached) - 1))
        keep = np.unique(np.concatenate(chosen))
        return Roc(
            self.thresholds[keep],
            self.signal[keep],
            self.background[keep],
            self.signal_squares[keep],
            self.background_squares[keep],
        )


def roc(labels: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None) -> Roc:
    """The ROC curve.

    Args:
        labels: (B,), 1 or True for signal, 0 or False for background.
        scores: (B,), higher for what looks like signal.
        weights: (B,), may be negative; 1 without them.

    Returns:
        Sums of weights and thresholds, from which efficiencies and errors come; jets of equal score
        are one point.

    Raises:
        ValueError: lengths differ, a score is NaN (the message counts them), or a class has no
            weight.
    """
    return curve(*binary(labels, scores, weights), what="a ROC curve")


def curve(labels: Bools, scores: Floats, weights: Floats | None, *, what: str) -> Roc:
    """The ROC curve of checked arrays; ``what`` names the metric where a class is missing.

    Raises:
        ValueError: a class has no weight.
    """
    # The bootstrap hands over sorted scores; to look is ten times as fast as to sort.
    if not np.all(scores[1:] <= scores[:-1]):
        order = np.argsort(-scores, kind="stable")
        labels, scores = labels[order], scores[order]
        weights = None if weights is None else weights[order]
    found = Roc(*_accumulate(labels, scores, np.ones(len(scores)) if weights is None else weights))
    both_classes(what, found.signal[-1], found.background[-1])
    return found


@numba.njit(cache=True, nogil=True)
def _accumulate(
    labels: Bools, scores: Floats, weights: Floats
) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """Sums of weights and of squares down to each distinct score, without jets of weight 0."""
    points = np.empty((5, len(scores) + 1))
    points[:, 0] = (np.inf, 0.0, 0.0, 0.0, 0.0)
    signal = background = signal_squares = background_squares = 0.0
    last, previous = 0, np.inf
    for jet in range(len(scores)):
        weight = weights[jet]
        if weight == 0:
            continue
        # Jets of equal score pass together: they share one point.
        if scores[jet] != previous or last == 0:
            previous = scores[jet]
            last += 1
        true = 1.0 if labels[jet] else 0.0
        signal += true * weight
        background += (1.0 - true) * weight
        signal_squares += true * weight * weight
        background_squares += (1.0 - true) * weight * weight
        points[0, last] = previous
        points[1, last] = signal
        points[2, last] = background
        points[3, last] = signal_squares
        points[4, last] = background_squares
    end = last + 1
    return points[0, :end], points[1, :end], points[2, :end], points[3, :end], points[4, :end]


@numba.njit(cache=True, nogil=True)
def _delong(
    signal: Floats, background: Floats, signal_squares: Floats, background_squares: Floats
) -> tuple[float, float, float]:
    """Area under the curve, and the parts of its variance from the signal and from the background.

    The structural component of a signal jet is the share of the background below it, that of a
    background jet the share of the signal above it, ties counting one half.
    """
    area = signal_part = background_part = 0.0
    for pass_number in range(2):
        for i in range(1, len(signal)):
            above = (signal[i] + signal[i - 1]) / 2 / signal[-1]
            if pass_number == 0:
                area += above * (background[i] - background[i - 1]) / background[-1]
                continue
            below = 1 - (background[i] + background[i - 1]) / 2 / background[-1]
            signal_part += (below - area) ** 2 * (signal_squares[i] - signal_squares[i - 1])
            background_part += (above - area) ** 2 * (
                background_squares[i] - background_squares[i - 1]
            )
    return area, signal_part / signal[-1] ** 2, background_part / background[-1] ** 2


def efficiency_error(
    passing: Floats, squares: Floats, total: float, total_squares: float
) -> Floats:
    r"""Standard error of weighted efficiencies :math:`\epsilon`.

    .. math:: \sigma^2 = \frac{(1-\epsilon)^2 \sum_\mathrm{pass} w^2
        + \epsilon^2 \sum_\mathrm{fail} w^2}{(\sum w)^2}

    which is :math:`\epsilon(1-\epsilon)/n` for unit weights.

    Args:
        passing: sums of weights that pass, (T,).
        squares: sums of squared weights that pass, (T,).
        total: sum of all weights.
        total_squares: sum of all squared weights.

    Returns:
        Errors (T,).
    """
    share = passing / total
    variance = (1 - share) ** 2 * squares + share**2 * (total_squares - squares)
    return np.asarray(np.sqrt(np.maximum(variance, 0)) / abs(total))


def _targets(targets: ArrayLike) -> Floats:
    target = np.asarray(targets, dtype=np.float64)
    if not np.all((target > 0) & (target <= 1)):
        raise ValueError(f"an efficiency to reach is in (0, 1]; got {target}")
    return target


def _first(reached: Floats, target: Floats) -> NDArray[np.int64]:
    # A sum of weights misses a round number by rounding: 0.29999999999999998 is 30 %.
    found = np.searchsorted(reached, target * (1 - 1e-12))
    return np.asarray(np.clip(found, 1, len(reached) - 1))


def _across(
    x: Floats, x_squares: Floats, y: Floats, y_squares: Floats, targets: ArrayLike
) -> tuple[Floats, Floats]:
    """Efficiency in y, and its error, where the efficiency in x first reaches the targets."""
    target = _targets(targets)
    reached = np.maximum.accumulate(x)

    def between(column: Floats, where: Floats) -> Floats:
        wanted = where * x[-1]
        k = _first(reached, wanted)
        share = np.clip((wanted - x[k - 1]) / (x[k] - x[k - 1]), 0, 1)
        return np.asarray(column[k - 1] + share * (column[k] - column[k - 1]))

    value = between(y, target) / y[-1]
    binomial = efficiency_error(
        between(y, target), between(y_squares, target), y[-1], y_squares[-1]
    )
    shift = efficiency_error(between(x, target), between(x_squares, target), x[-1], x_squares[-1])
    above = between(y, np.minimum(target + shift, 1.0)) / y[-1]
    below = between(y, np.maximum(target - shift, np.nextafter(0, 1))) / y[-1]
    return np.asarray(value), np.hypot(binomial, (above - below) / 2)
