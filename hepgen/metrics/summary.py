"""All numbers of one tagger on one sample, and how they are kept in JSON.

Shapes: B jets, K classes, M bins, R resamples.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepgen.metrics.binned import Binned
from hepgen.metrics.calibration import Reliability
from hepgen.metrics.estimate import Estimate, to_json
from hepgen.metrics.multiclass import Confusion
from hepgen.metrics.roc import Roc
from hepgen.metrics.samples import Floats

__all__ = ["BinnedMetric", "Evaluation", "Separation", "Spectrum"]

FORMAT = 1


@dataclass(frozen=True)
class Separation:
    """How well one class is told from another, or from all others.

    Attributes:
        signal: name of a class.
        background: name of another; None for all others together.
        auc: area under the ROC curve, error by DeLong.
        background_rejection: by signal efficiency, binomial error.
        bootstrapped: the same with errors from resampled jets; empty where that was not asked for.
        curve: the ROC curve, thinned.
    """

    signal: str
    background: str | None
    auc: Estimate
    background_rejection: dict[float, Estimate]
    bootstrapped: dict[float, Estimate]
    curve: Roc


@dataclass(frozen=True)
class BinnedMetric:
    """A metric in bins of an observable.

    Attributes:
        observable: "pt", "eta", "mass", or a name of the user's.
        metric: "background_rejection" (its cut anew in each bin), "signal_efficiency" or
            "background_efficiency" (at one cut for all bins).
        working_point: the signal efficiency of the cut.
        binned: an estimate for each bin.
    """

    observable: str
    metric: str
    working_point: float
    binned: Binned


@dataclass(frozen=True)
class Spectrum:
    """A histogram: edges (M + 1,), sums of weights (M,) and of their squares (M,)."""

    edges: Floats
    values: Floats
    variances: Floats


@dataclass(frozen=True)
class Evaluation:
    """All numbers of one tagger on one sample; ``print`` shows the main ones.

    Attributes:
        name: of the run, as legends have it.
        classes: names of the K classes.
        signal: the class that plots and bins are for.
        jets: number of jets of each class.
        weights: sum of weights of each class.
        working_points: signal efficiencies.
        accuracy: of the class with the highest score.
        log_loss: cross-entropy in nats; None where the scores are no probabilities.
        calibration: expected calibration error of the winning class; None likewise.
        confusion: shares of each true class (rows) taken for each class.
        separations: each class against the rest and against each other; for two classes, one.
        reliability: of the score of the signal; None where the scores are no probabilities.
        binned: metrics in bins of observables, of the signal against the rest.
        sculpting: Jensen-Shannon divergence in bits of the background's mass by working point.
        score_spectra: scores for the signal, by true class.
        mass_spectra: the background's mass, of all and by working point ("all", "0.5").
        replicas: values of the main numbers for resampled jets, each (R,), for paired differences.
        seed: of the resampling.
        fingerprint: of the labels and weights in order; equal for runs on the same jets.
        provenance: files, entries, what was left out, model, versions, date.
    """

    name: str
    classes: tuple[str, ...]
    signal: str
    jets: dict[str, int]
    weights: dict[str, float]
    working_points: tuple[float, ...]
    accuracy: Estimate
    log_loss: Estimate | None
    calibration: Estimate | None
    confusion: Confusion
    separations: tuple[Separation, ...]
    reliability: Reliability | None
    binned: tuple[BinnedMetric, ...]
    sculpting: dict[float, Estimate]
    score_spectra: dict[str, Spectrum]
    mass_spectra: dict[str, Spectrum]
    replicas: dict[str, Floats]
    seed: int
    fingerprint: str
    provenance: dict[str, Any] = field(default_factory=dict)

    @property
    def headline(self) -> list[Separation]:
        """The separations of the signal: from the rest first, then from each class."""
        chosen = [found for found in self.separations if found.signal == self.signal]
        return sorted(chosen, key=lambda found: found.background is not None)

    def numbers(self) -> dict[str, Estimate]:
        """The main numbers by name: what is compared between runs."""
        whole = {
            "accuracy": self.accuracy,
            "log loss": self.log_loss,
            "calibration error": self.calibration,
        }
        found = {name: estimate for name, estimate in whole.items() if estimate is not None}
        for separation in self.headline:
            against = f", {separation.signal} against {separation.background or 'the rest'}"
            tail = against if len(self.classes) > 2 else ""
            found[f"AUC{tail}"] = separation.auc
            for point, estimate in separation.background_rejection.items():
                found[f"rejection at {100 * point:g} %{tail}"] = estimate
        for point, estimate in self.sculpting.items():
            found[f"mass sculpting at {100 * point:g} %"] = estimate
        return found

    def __str__(self) -> str:
        numbers = ", ".join(f"{number} {name}" for name, number in self.jets.items())
        lines = [f"{self.name}: {numbers} jets; signal {self.signal}"]
        rows = self.numbers()
        width = max(len(name) for name in rows)
        lines += [f"  {name:{width}}  {estimate}" for name, estimate in rows.items()]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Everything, as a mapping for strict JSON: NaN is null, infinity the string "inf"."""
        return {"format": FORMAT, **_plain(self)}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Evaluation:
        """The evaluation that :meth:`to_dict` wrote.

        Raises:
            ValueError: it is of another format, or a value is damaged.
            KeyError: a field is missing.
        """
        if fields.get("format") != FORMAT:
            raise ValueError(
                f"an evaluation of format {FORMAT} is wanted, got {fields.get('format')!r}"
            )
        return cls(
            name=fields["name"],
            classes=tuple(fields["classes"]),
            signal=fields["signal"],
            jets={name: int(number) for name, number in fields["jets"].items()},
            weights={name: _number(number) for name, number in fields["weights"].items()},
            working_points=tuple(fields["working_points"]),
            accuracy=Estimate.from_dict(fields["accuracy"]),
            log_loss=_optional(fields["log_loss"]),
            calibration=_optional(fields["calibration"]),
            confusion=Confusion(*(_array(rows) for rows in fields["confusion"])),
            separations=tuple(_separation(found) for found in fields["separations"]),
            reliability=None
            if fields["reliability"] is None
            else Reliability(**{k: _array(v) for k, v in fields["reliability"].items()}),
            binned=tuple(_binned(found) for found in fields["binned"]),
            sculpting=_by_point(fields["sculpting"]),
            score_spectra={k: _spectrum(v) for k, v in fields["score_spectra"].items()},
            mass_spectra={k: _spectrum(v) for k, v in fields["mass_spectra"].items()},
            replicas={k: _array(v) for k, v in fields["replicas"].items()},
            seed=int(fields["seed"]),
            fingerprint=fields["fingerprint"],
            provenance=dict(fields["provenance"]),
        )


def _plain(value: Any) -> Any:
    """What JSON takes: lists, mappings with texts as keys, numbers, texts, None."""
    if isinstance(value, Estimate):
        return value.to_dict()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {item.name: _plain(getattr(value, item.name)) for item in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(name): _plain(content) for name, content in value.items()}
    if isinstance(value, np.ndarray):
        return [_plain(content) for content in value]
    if isinstance(value, (list, tuple)):
        return [_plain(content) for content in value]
    if isinstance(value, (bool, str)) or value is None:
        return value
    if isinstance(value, (int, np.integer)):
        return int(value)
    return to_json(_short(float(value)))


def _short(number: float) -> float:
    """Ten digits are far below any error, and halve the file."""
    return float(f"{number:.10g}") if math.isfinite(number) else number


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def _array(values: Any) -> Floats:
    return np.array(list(_numbers(values)), dtype=np.float64)


def _numbers(values: Any) -> Iterator[Any]:
    for value in values:
        yield list(_numbers(value)) if isinstance(value, list) else _number(value)


def _optional(fields: Any) -> Estimate | None:
    return None if fields is None else Estimate.from_dict(fields)


def _by_point(fields: Mapping[str, Any]) -> dict[float, Estimate]:
    return {float(point): Estimate.from_dict(found) for point, found in fields.items()}


def _separation(fields: Mapping[str, Any]) -> Separation:
    return Separation(
        fields["signal"],
        fields["background"],
        Estimate.from_dict(fields["auc"]),
        _by_point(fields["background_rejection"]),
        _by_point(fields["bootstrapped"]),
        Roc(**{name: _array(values) for name, values in fields["curve"].items()}),
    )


def _binned(fields: Mapping[str, Any]) -> BinnedMetric:
    inner = fields["binned"]
    jets: NDArray[np.int64] = np.array(inner["jets"], dtype=np.int64)
    estimates = tuple(Estimate.from_dict(found) for found in inner["estimates"])
    return BinnedMetric(
        fields["observable"],
        fields["metric"],
        float(fields["working_point"]),
        Binned(_array(inner["edges"]), estimates, jets, int(inner["outside"])),
    )


def _spectrum(fields: Mapping[str, Any]) -> Spectrum:
    return Spectrum(**{name: _array(values) for name, values in fields.items()})
