"""What is known of generated showers beside true ones, and how it is kept in JSON.

Shapes: L layers, V voxels, M bins, N observables.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepgen.calorimeter import Geometry
from hepgen.metrics import EnergyBins, Estimate, ResolutionFit, resolution_fit

__all__ = ["ClassifierResult", "ShowerEvaluation", "ShowerSpectrum"]

FORMAT = 1
KIND = "showers"

# What each number is called, and the value of a perfect simulator.
TITLES: dict[str, tuple[str, str]] = {
    "fpd": ("Fréchet physics distance × 1000", "0"),
    "frechet": ("Fréchet distance at these sizes × 1000", "floor"),
    "kpd": ("kernel physics distance × 1000", "0"),
    "mean_ks": ("mean Kolmogorov-Smirnov distance", "floor"),
    "sliced_ks": ("sliced Kolmogorov-Smirnov distance", "floor"),
    "sliced_wasserstein": ("sliced Wasserstein distance [std]", "floor"),
    "p_value": ("p-value of the energy distance", "uniform"),
    "precision": ("precision", "floor"),
    "recall": ("recall", "floor"),
    "density": ("density", "floor"),
    "coverage": ("coverage", "floor"),
    "equivalent_events": ("equivalent number of true showers", "size"),
    "support": ("support over that of true showers", "1"),
    "memorisation": ("nearer to training showers than true ones", "0.5"),
}


@dataclass(frozen=True)
class ShowerSpectrum:
    """One observable of both samples, with what is beyond the edges.

    Attributes:
        label: of the axis, with its unit.
        edges: of the bins, (M + 1,).
        reference: sums of weights, (M + 2,), the first and last below and above the edges.
        reference_variances: sums of their squares.
        generated: likewise.
        generated_variances: likewise.
        log: whether the edges are equal in the logarithm.
    """

    label: str
    edges: NDArray[np.float64]
    reference: NDArray[np.float64]
    reference_variances: NDArray[np.float64]
    generated: NDArray[np.float64]
    generated_variances: NDArray[np.float64]
    log: bool = False

    def to_dict(self) -> dict[str, Any]:
        """The same as what JSON can hold."""
        found = {k: v.tolist() for k, v in vars(self).items() if isinstance(v, np.ndarray)}
        return {**found, "label": self.label, "log": self.log}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> ShowerSpectrum:
        """The spectrum that `to_dict` gave.

        Args:
            content: see there.
        """
        arrays = {k: np.array(v, dtype=float) for k, v in content.items() if isinstance(v, list)}
        return cls(label=content["label"], log=content["log"], **arrays)


@dataclass(frozen=True)
class ClassifierResult:
    """What a classifier made of both samples.

    Attributes:
        auc: area under the ROC curve.
        jsd: Jensen-Shannon divergence in bits.
        sizes: showers of each sample for training, choice and test of each classifier.
        taken: share of the generated showers taken for true ones, at each cut, (M,).
        kept: share of the true showers that the cut keeps, (M,).
    """

    auc: Estimate
    jsd: Estimate
    sizes: tuple[int, int, int]
    taken: NDArray[np.float64]
    kept: NDArray[np.float64]


@dataclass(frozen=True)
class ShowerEvaluation:
    """All numbers of one simulator; ``print`` shows the main ones.

    Attributes:
        name: of the simulator, as legends have it.
        geometry: of the showers.
        showers: number of showers of each sample.
        separations: separation power by observable.
        distances: by name; what they mean is in ``hepgen.shower_summary.TITLES``.
        classifiers: by level of features.
        spectra: by observable.
        energies: response and resolution of "reference" and "generated".
        mean_voxels: mean shower of both, in GeV, (V,).
        correlations: of the observables in ``spectra``, (N, N), of both.
        times: of the simulator, see `hepgen.simulators.GenerationTime`.
        provenance: files, seed, versions, date.
    """

    name: str
    geometry: Geometry
    showers: dict[str, int]
    separations: dict[str, Estimate]
    distances: dict[str, Estimate]
    classifiers: dict[str, ClassifierResult]
    spectra: dict[str, ShowerSpectrum]
    energies: dict[str, EnergyBins]
    mean_voxels: dict[str, NDArray[np.float64]]
    correlations: dict[str, NDArray[np.float64]]
    times: list[dict[str, Any]] = field(default_factory=list)
    provenance: dict[str, Any] = field(default_factory=dict)

    @property
    def fits(self) -> dict[str, ResolutionFit]:
        """A / sqrt(E) (+) b / E (+) c of both, where there are three bins of energy."""
        found = {}
        for name, bins in self.energies.items():
            values = [one.value for one in bins.resolution]
            errors = [one.error for one in bins.resolution]
            good = np.isfinite(values) & np.isfinite(errors) & (np.array(errors) > 0)
            if good.sum() >= 3:
                found[name] = resolution_fit(bins.energy, values, errors)
        return found

    @property
    def response_ratio(self) -> list[Estimate]:
        """Mean response over that of the true showers, bin by bin."""
        return self._ratio("response")

    @property
    def resolution_ratio(self) -> list[Estimate]:
        """Resolution over that of the true showers, bin by bin."""
        return self._ratio("resolution")

    def _ratio(self, what: str) -> list[Estimate]:
        found = []
        pairs = (getattr(self.energies[k], what) for k in ("generated", "reference"))
        for above, below in zip(*pairs, strict=True):
            if not (below.value > 0 and above.value > 0):
                found.append(Estimate(math.nan, math.nan))
                continue
            value = above.value / below.value
            relative = math.hypot(above.error / above.value, below.error / below.value)
            found.append(Estimate(value, value * relative))
        return found

    def rows(self) -> list[tuple[str, Estimate, str]]:
        """(what, estimate, what is perfect) of the table of numbers."""
        found = [
            (f"classifier AUC, {level}-level", result.auc, "0.5")
            for level, result in self.classifiers.items()
        ]
        for name, estimate in self.distances.items():
            title, perfect = TITLES[name]
            found.append((title, _thousand(estimate) if "1000" in title else estimate, perfect))
        return found

    def __str__(self) -> str:
        counts = ", ".join(f"{number} {name}" for name, number in self.showers.items())
        rows = self.rows()
        width = max([len(title) for title, _, _ in rows], default=0)
        lines = [f"{self.name} in {self.geometry}; showers: {counts}"]
        lines += [f"  {title:<{width}}  {estimate}" for title, estimate, _ in rows]
        if self.separations:
            worst = max(self.separations, key=lambda name: self.separations[name].value)
            lines.append(
                f"  {'worst separation power':<{width}}  {self.separations[worst]} ({worst})"
            )
        bins = self.energies["reference"]
        for i, (mean, width_ratio) in enumerate(
            zip(self.response_ratio, self.resolution_ratio, strict=True)
        ):
            if math.isfinite(mean.value):
                energies = f"{bins.edges[i]:.3g}-{bins.edges[i + 1]:.3g} GeV"
                lines.append(
                    f"  {energies:<{width}}  response x {mean}, resolution x {width_ratio}"
                )
        for one in self.times:
            what = f"ms per shower, {one['batch']} at a time"
            lines.append(
                f"  {what:<{width}}  {one['milliseconds']:.3g} ({one['device']}, "
                f"{one['threads']} threads)"
            )
        return "\n".join(lines)

    def to_json(self) -> bytes:
        """Everything, as JSON."""
        content = {
            "format": FORMAT,
            "kind": KIND,
            "name": self.name,
            "geometry": self.geometry.to_dict(),
            "showers": self.showers,
            "separations": {k: v.to_dict() for k, v in self.separations.items()},
            "distances": {k: v.to_dict() for k, v in self.distances.items()},
            "classifiers": {k: _classifier(v) for k, v in self.classifiers.items()},
            "spectra": {k: v.to_dict() for k, v in self.spectra.items()},
            "energies": {k: v.to_dict() for k, v in self.energies.items()},
            "fits": {k: v.to_dict() for k, v in self.fits.items()},
            "mean_voxels": {k: [float(f"{x:.5g}") for x in v] for k, v in self.mean_voxels.items()},
            "correlations": {k: v.tolist() for k, v in self.correlations.items()},
            "times": self.times,
            "provenance": self.provenance,
        }
        return (json.dumps(content, indent=1) + "\n").encode()

    @classmethod
    def from_json(cls, text: str | bytes) -> ShowerEvaluation:
        """The evaluation that `to_json` gave.

        Args:
            text: see there.

        Raises:
            ValueError: it is something else, or of a newer hepgen.
        """
        content = json.loads(text)
        if content.get("kind") != KIND:
            raise ValueError("no results of an evaluation of showers")
        if content["format"] > FORMAT:
            raise ValueError(f"results of a newer hepgen, format {content['format']}")
        return cls(
            name=content["name"],
            geometry=Geometry.from_dict(content["geometry"]),
            showers=content["showers"],
            classifiers={k: _from_classifier(v) for k, v in content["classifiers"].items()},
            spectra={k: ShowerSpectrum.from_dict(v) for k, v in content["spectra"].items()},
            energies={k: EnergyBins.from_dict(v) for k, v in content["energies"].items()},
            times=content["times"],
            provenance=content["provenance"],
            separations=_estimates(content["separations"]),
            distances=_estimates(content["distances"]),
            mean_voxels=_arrays(content["mean_voxels"]),
            correlations=_arrays(content["correlations"]),
        )


def _estimates(content: Mapping[str, Any]) -> dict[str, Estimate]:
    return {name: Estimate.from_dict(one) for name, one in content.items()}


def _arrays(content: Mapping[str, Any]) -> dict[str, NDArray[np.float64]]:
    return {name: np.array(one, dtype=np.float64) for name, one in content.items()}


def _thousand(estimate: Estimate) -> Estimate:
    floor = None if estimate.floor is None else 1000 * estimate.floor
    return Estimate(1000 * estimate.value, 1000 * estimate.error, floor=floor)


def _classifier(result: ClassifierResult) -> dict[str, Any]:
    return {
        "auc": result.auc.to_dict(),
        "jsd": result.jsd.to_dict(),
        "sizes": list(result.sizes),
        "taken": result.taken.tolist(),
        "kept": result.kept.tolist(),
    }


def _from_classifier(content: Mapping[str, Any]) -> ClassifierResult:
    a, b, c = content["sizes"]
    return ClassifierResult(
        Estimate.from_dict(content["auc"]),
        Estimate.from_dict(content["jsd"]),
        (a, b, c),
        np.array(content["taken"]),
        np.array(content["kept"]),
    )
