"""From labels and scores to every number of an evaluation.

Shapes: B jets, K classes, M bins, R resamples.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from hepgen.metrics.binned import bin_edges, efficiency_in_bins, in_bins
from hepgen.metrics.bootstrap import replicas, spread
from hepgen.metrics.calibration import expected_calibration_error, log_loss, reliability
from hepgen.metrics.classification import accuracy, rejection_at
from hepgen.metrics.estimate import Estimate
from hepgen.metrics.multiclass import confusion_matrix, discriminant, pair
from hepgen.metrics.roc import Roc, curve
from hepgen.metrics.samples import Bools, Floats, Ints, several
from hepgen.metrics.sculpting import mass_sculpting
from hepgen.metrics.spectra import mass_bins, mass_spectra, score_spectra
from hepgen.metrics.summary import BinnedMetric, Evaluation, Separation

__all__ = ["summarise"]

# Fewer jets of a class than this may all be missing from a replica.
_ENOUGH = 30


def summarise(
    labels: ArrayLike,
    scores: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    classes: Sequence[str],
    signal: str | None = None,
    observables: Mapping[str, ArrayLike] | None = None,
    working_points: Sequence[float] = (0.3, 0.5),
    bins: int | Mapping[str, int | Sequence[float]] = 8,
    probabilities: bool = True,
    resamples: int = 100,
    seed: int = 0,
    name: str = "tagger",
) -> Evaluation:
    """Every number for one tagger on one sample.

    Args:
        labels: class indices (B,), or true columns (B, K).
        scores: (B, K); every class has jets.
        weights: (B,), may be negative.
        classes: K names, in the order of the columns.
        signal: the class that plots and bins are for; the first if None.
        observables: columns (B,) for the metrics in bins, such as ``pt`` in GeV; the sculpting is
            of the one named ``mass``. NaN is in no bin.
        working_points: signal efficiencies in (0, 1].
        bins: number of bins with equally many jets, or that or rising edges by observable.
        probabilities: False where the scores only rank, though they lie in [0, 1]: no calibration.
        resamples: R of the bootstrap of the main numbers; 0 for none. It is left out where a class
            has fewer than 30 jets.
        seed: of the bootstrap.
        name: of the run.

    Returns:
        The evaluation, without provenance.

    Raises:
        ValueError: a class without jets, an unknown signal, NaN scores, lengths that differ.
    """
    index, table, weight = several(labels, scores, weights)
    if len(classes) != table.shape[1] or len(set(classes)) != len(classes):
        raise ValueError(f"{list(classes)} are not {table.shape[1]} different class names")
    jets = np.bincount(index, minlength=len(classes))
    empty = [label for label, number in zip(classes, jets, strict=True) if number == 0]
    if empty:
        raise ValueError(f"no jets of class {', '.join(empty)} among {len(index)}")
    signal = classes[0] if signal is None else signal
    if signal not in classes:
        raise ValueError(f"no class {signal!r} for signal; classes: {', '.join(classes)}")
    points = tuple(float(point) for point in working_points)
    enough = resamples if resamples and jets.min() >= _ENOUGH else 0
    sample = _Sample(index, table, weight, tuple(classes), classes.index(signal), points)
    drawn = _replicas(sample, enough, seed)
    probable = probabilities and _probabilities(table)
    columns = {key: np.asarray(values, np.float64) for key, values in (observables or {}).items()}
    true, score = index == sample.signal, discriminant(table, sample.signal)
    mass = columns.get("mass")
    return Evaluation(
        name=name,
        classes=tuple(classes),
        signal=signal,
        jets=dict(zip(classes, jets.tolist(), strict=True)),
        weights=dict(zip(classes, np.bincount(index, weight).astype(float).tolist(), strict=True)),
        working_points=points,
        accuracy=accuracy(index, table, weight),
        log_loss=log_loss(index, table, weight) if probable else None,
        calibration=expected_calibration_error(index, table, weight) if probable else None,
        confusion=confusion_matrix(index, table, weight),
        separations=tuple(_separations(sample, drawn)),
        reliability=reliability(true, table[:, sample.signal], weight) if probable else None,
        binned=tuple(_binned(true, score, weight, columns, points, bins)),
        sculpting={} if mass is None else _sculpting(true, score, mass, weight, points),
        score_spectra=score_spectra(index, score, weight, classes),
        mass_spectra={} if mass is None else mass_spectra(true, score, mass, weight, points),
        replicas=drawn,
        seed=seed,
        fingerprint=_fingerprint(index, weight, classes),
    )


class _Sample:
    """The jets as they are handed around here."""

    def __init__(
        self,
        index: Ints,
        table: Any,
        weight: Floats | None,
        classes: tuple[str, ...],
        signal: int,
        points: tuple[float, ...],
    ) -> None:
        self.index = index
        self.table = table
        self.weight = weight
        self.classes = classes
        self.signal = signal
        self.points = points

    def backgrounds(self, signal: int) -> list[int | None]:
        """What a class is told from: the rest (None) and each other class; for two, the other."""
        others: list[int | None] = [i for i in range(len(self.classes)) if i != signal]
        return others if len(others) == 1 else [None, *others]

    def pairs(self) -> list[tuple[int, int | None]]:
        """Signal and background of each separation."""
        signals = [self.signal] if len(self.classes) == 2 else range(len(self.classes))
        return [(signal, other) for signal in signals for other in self.backgrounds(signal)]

    def of_pair(self, signal: int, background: int | None) -> tuple[Bools, Floats, Floats | None]:
        """Labels, discriminant and weights of the jets of a pair."""
        return pair(self.index, self.table, self.weight, signal, background)


def _separations(sample: _Sample, drawn: Mapping[str, Floats]) -> list[Separation]:
    found = []
    for signal, background in sample.pairs():
        full = curve(*sample.of_pair(signal, background), what="a separation")
        rejections = {point: rejection_at(full, point) for point in sample.points}
        bootstrapped = {}
        for point, estimate in rejections.items():
            values = drawn.get(_key("background efficiency", sample, signal, background, point))
            if values is not None and np.isfinite(estimate.value):
                # The efficiency has finite replicas where the rejection may not: errors of
                # value v and 1/v differ by v squared.
                error = spread(values) * estimate.value**2
                bootstrapped[point] = Estimate(estimate.value, error)
        other = None if background is None else sample.classes[background]
        found.append(
            Separation(
                sample.classes[signal],
                other,
                Estimate(*full.area()),
                rejections,
                bootstrapped,
                full.thinned(200),
            )
        )
    return found


def _replicas(sample: _Sample, resamples: int, seed: int) -> dict[str, Floats]:
    """Replicas of accuracy, and of AUC and background efficiencies of the signal."""
    if not resamples:
        return {}
    settings: dict[str, Any] = {"resamples": resamples, "seed": seed}
    whole = replicas(accuracy, sample.index, sample.table, weights=sample.weight, **settings)
    found = {"accuracy": whole}
    for background in sample.backgrounds(sample.signal):
        label, score, weight = sample.of_pair(sample.signal, background)
        columns = _both(label, score, weight, sample.points, settings)
        found[_key("AUC", sample, sample.signal, background)] = columns[:, 0]
        for number, point in enumerate(sample.points):
            name = _key("background efficiency", sample, sample.signal, background, point)
            found[name] = columns[:, 1 + number]
    return found


def _both(
    label: Bools,
    score: Floats,
    weight: Floats | None,
    points: tuple[float, ...],
    settings: Mapping[str, Any],
) -> Floats:
    """Replicas (R, 1 + points) of the area and the background efficiencies, from one curve each."""

    def metric(labels: Bools, scores: Floats, weights: Floats | None = None) -> Floats:
        found: Roc = curve(labels, scores, weights, what="a replica")
        return np.concatenate([[found.area()[0]], found.background_at(points)[0]])

    return replicas(metric, label, score, weights=weight, **settings)


def _key(
    metric: str, sample: _Sample, signal: int, background: int | None, point: float | None = None
) -> str:
    other = "rest" if background is None else sample.classes[background]
    where = "" if point is None else f"@{point:g}"
    return f"{metric}{where}:{sample.classes[signal]}:{other}"


def _probabilities(table: Any) -> bool:
    inside = table.min() >= 0 and table.max() <= 1
    return bool(inside and np.all(np.abs(table.sum(axis=1, dtype=np.float64) - 1) < 1e-3))


def _binned(
    true: Bools,
    score: Floats,
    weight: Floats | None,
    columns: Mapping[str, Floats],
    points: tuple[float, ...],
    bins: int | Mapping[str, int | Sequence[float]],
) -> list[BinnedMetric]:
    whole = curve(true, score, weight, what="metrics in bins")
    found = []
    for name, values in columns.items():
        if not np.any(np.isfinite(values)):
            continue
        wanted = bins if isinstance(bins, int) else bins.get(name, 8)
        edges = (
            bin_edges(values, wanted) if isinstance(wanted, int) else np.asarray(wanted, np.float64)
        )
        for point in points:
            cut = whole.threshold_at(point)
            binned = {
                "background_rejection": in_bins(
                    _rejection, values, true, score, weight, bins=edges, target=point
                )
            }
            for metric, chosen in (("signal_efficiency", true), ("background_efficiency", ~true)):
                used = None if weight is None else weight[chosen]
                binned[metric] = efficiency_in_bins(
                    score[chosen] >= cut, values[chosen], used, bins=edges
                )
            found += [BinnedMetric(name, key, point, value) for key, value in binned.items()]
    return found


def _rejection(labels: Bools, scores: Floats, weights: Floats | None, target: float) -> Estimate:
    return rejection_at(curve(labels, scores, weights, what="a bin"), target)


def _sculpting(
    true: Bools, score: Floats, mass: Floats, weight: Floats | None, points: tuple[float, ...]
) -> dict[float, Estimate]:
    known = np.isfinite(mass)
    used = None if weight is None else weight[known]
    if not np.any(known & ~true) or not np.any(known & true):
        return {}
    bins = mass_bins(known & ~true)
    return {
        point: mass_sculpting(true[known], score[known], mass[known], point, used, bins=bins)
        for point in points
    }


def _fingerprint(index: Ints, weight: Floats | None, classes: Sequence[str]) -> str:
    """Names of the classes rather than their numbers, so that their order does not matter."""
    order = np.argsort(np.array(classes))
    rank = np.empty(len(classes), dtype=np.int32)
    rank[order] = np.arange(len(classes), dtype=np.int32)
    content = hashlib.sha256("\0".join(sorted(classes)).encode())
    content.update(rank[index].tobytes())
    if weight is not None:
        content.update(weight.tobytes())
    return content.hexdigest()[:32]
