r"""Weights that bring generated showers to those of the full simulation.

A classifier that tells the two samples apart knows the ratio of their densities: with p the
probability that a shower is of the full simulation, :math:`w = p / (1 - p)` is the weight with
which generated showers have its distributions, all of them at once, as far as the classifier sees.

A. Andreassen and B. Nachman, "Neural networks for full phase-space reweighting and parameter
tuning", arXiv:1907.08209; S. Diefenbacher et al., "DCTRGAN: improving the precision of generative
models with reweighting", arXiv:2009.03796.

Shapes: B showers, K folds.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Self, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hepgen.calorimeter import Geometry, GeometryError, ShowerError, Showers
from hepgen.calorimeter.observables import observables
from hepgen.metrics import Estimate, effective_sample_size
from hepgen.metrics.generative import separation_power
from hepgen.paper import Paper
from hepgen.simulators.classifier_test import Level, classifier_test, features
from hepgen.simulators.discriminator import Discriminator
from hepgen.simulators.kept import Kept
from hepgen.simulators.labelled import Labelled
from hepgen.simulators.recipes import Recipe, recipe_of

__all__ = ["Closure", "Correction"]

Floats = NDArray[np.float64]
FOLDS = 5
# In each fold of each sample.
FEWEST = 20
BINS = 40
# What closure is looked at in, besides the classifier.
PLAIN = ("response", "depth", "depth_spread", "centre_r", "width_r", "num_hits", "largest_share")


@dataclass(frozen=True)
class Closure:
    """What weights do to a generated sample, and what they cost.

    Attributes:
        auc_before: of a classifier between reference and generated showers.
        auc_after: the same of one trained on the weighted showers.
        separation_before: observable -> separation power without weights.
        separation_after: observable -> separation power with them.
        num_showers: of the generated sample.
        effective_sample_size: (sum w)^2 / sum w^2: how many showers of equal weight they are worth.
        clipped: share of the showers whose weight is at the limit.
        removed: share of the sum of weights that the limit takes.
    """

    auc_before: Estimate
    auc_after: Estimate
    separation_before: dict[str, Estimate]
    separation_after: dict[str, Estimate]
    num_showers: int
    effective_sample_size: float
    clipped: float
    removed: float

    def __str__(self) -> str:
        share = self.effective_sample_size / self.num_showers
        return (
            f"AUC {self.auc_before} -> {self.auc_after}; {self.num_showers} showers are worth "
            f"{self.effective_sample_size:.0f} ({share:.0%}); {self.clipped:.2%} of the weights "
            f"are at their limit, which takes {self.removed:.2%} of their sum"
        )

    def to_dict(self) -> dict[str, Any]:
        """The same as what JSON can hold."""
        numbers: dict[str, Any] = {
            "num_showers": self.num_showers,
            "effective_sample_size": self.effective_sample_size,
            "clipped": self.clipped,
            "removed": self.removed,
        }
        for name in ("auc_before", "auc_after"):
            numbers[name] = getattr(self, name).to_dict()
        for name in ("separation_before", "separation_after"):
            numbers[name] = {key: one.to_dict() for key, one in getattr(self, name).items()}
        return numbers


@final
class Correction(Kept):
    """Weights of generated showers, by classifiers none of which saw the shower it weights.

    Showers fall into K folds by what is in them, and each fold has a classifier that was trained on
    the others: a shower of the training sample and a new one are treated alike.

    Args:
        networks: of the K folds.
        geometry: of the showers, or what `Geometry.to_dict` gave.
        level: which features the networks are given, see `classifier_test`.
        greatest: largest weight.

    Attributes:
        paper: where the method is from.
    """

    paper = Paper(
        authors="A. Andreassen, B. Nachman",
        title="Neural networks for full phase-space reweighting and parameter tuning",
        published="Phys. Rev. D 101 (2020) 091901",
        arxiv="1907.08209",
    )
    slope: Tensor
    offset: Tensor

    def __init__(
        self,
        networks: Sequence[Discriminator],
        geometry: Geometry | Mapping[str, Any],
        *,
        level: Level = "high",
        greatest: float = 20.0,
    ) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.geometry = geometry if isinstance(geometry, Geometry) else Geometry.from_dict(geometry)
        self.level, self.greatest = level, greatest
        # Calibration of the logits, and the logarithm of what makes the mean weight 1.
        self.register_buffer("slope", torch.ones(len(networks), dtype=torch.float64))
        self.register_buffer("offset", torch.zeros(len(networks), dtype=torch.float64))

    def config(self) -> dict[str, Any]:
        """Arguments of the constructor besides the networks, as JSON can hold them."""
        geometry = self.geometry.to_dict()
        return {"geometry": geometry, "level": self.level, "greatest": self.greatest}

    def parts(self) -> dict[str, Any]:
        """The networks inside."""
        return {"networks": list(self.networks)}

    @classmethod
    def fit(
        cls,
        reference: Showers,
        generated: Showers,
        *,
        level: Level = "high",
        recipe: str | Recipe | None = None,
        greatest: float = 20.0,
        seed: int = 0,
        progress: bool = False,
        **more: Any,
    ) -> Self:
        """Learn weights.

        Three folds train a network, one chooses its epoch and calibrates it, and it weights the
        last.

        Args:
            reference: showers of the full simulation.
            generated: of the simulator, at incident energies of the same distribution: weights
                would else bring those to the reference too. Weights that they have count.
            level: features of the networks: "high" corrects what high-level observables show.
            recipe: of the networks, see `classifier_test`.
            greatest: larger weights are cut to this.
            seed: of the trainings.
            progress: show a bar.
            **more: arguments of `hepgen.fit` in place of those of the recipe.

        Raises:
            GeometryError: the samples are of different calorimeters.
            ShowerError: fewer than 100 showers in a sample.
            ValueError: there is no such level or recipe, or ``greatest`` is not above 1.
        """
        if not reference.geometry.same_voxels(generated.geometry):
            raise GeometryError(f"{generated.geometry} cannot be brought to {reference.geometry}")
        least = min(len(reference), len(generated))
        if least < FOLDS * FEWEST:
            raise ShowerError(f"{least} showers are too few, wanted {FOLDS * FEWEST}")
        if not greatest > 1:
            raise ValueError(f"greatest={greatest}: a largest weight should be above 1")
        chosen = recipe_of(recipe or ("resnet" if level == "resnet" else "quick"))
        # Into one geometry, as voxels below its threshold count as empty.
        pair = (generated, reference.into(generated.geometry))
        x = np.concatenate([features(one, level) for one in pair])
        label = np.repeat([0, 1], [len(one) for one in pair])
        weight = np.concatenate([_weight_of(one) for one in pair])
        fold = np.concatenate([_folds(one) for one in pair])
        networks, lines = [], []
        for k in range(FOLDS):
            parts = [
                Labelled.of(x[rows], label[rows], weight[rows])
                for rows in ((fold != k) & (fold != (k + 1) % FOLDS), fold == (k + 1) % FOLDS)
            ]
            network = chosen.trained(
                parts[0],
                parts[1],
                shape=generated.geometry.shape,
                seed=1000 * seed + k,
                progress=progress,
                **more,
            )
            networks.append(network)
            slope, offset = _line(network.logits(parts[1].x), parts[1])
            # The mean weight of generated showers that this network did not see.
            mine = (fold == k) & (label == 0)
            found = np.exp(np.minimum(slope * network.logits(x[mine]) + offset, math.log(greatest)))
            lines.append((slope, offset - math.log(np.average(found, weights=weight[mine]))))
        correction = cls(networks, generated.geometry, level=level, greatest=greatest)
        correction.slope.copy_(torch.tensor([slope for slope, _ in lines]))
        correction.offset.copy_(torch.tensor([offset for _, offset in lines]))
        return correction.eval()

    def weights(self, showers: Showers) -> Floats:
        """Weights of generated showers, besides those that they may have.

        Args:
            showers: of the simulator that the correction is for.

        Returns:
            Shape (B,), from 0 to ``greatest``, about 1 on average.

        Raises:
            GeometryError: the showers are of another calorimeter.
        """
        return np.minimum(self._odds(showers), self.greatest)

    def _odds(self, showers: Showers) -> Floats:
        if not self.geometry.same_voxels(showers.geometry):
            raise GeometryError(
                f"the correction is for {self.geometry}, the showers are in {showers.geometry}"
            )
        # Cut as the showers were that it learnt from.
        showers = showers.into(self.geometry)
        x, fold = features(showers, self.level), _folds(showers)
        found = np.ones(len(showers))
        for k, network in enumerate(self.networks):
            rows = fold == k
            if rows.any():
                slope, offset = float(self.slope[k]), float(self.offset[k])
                logits = network.logits(x[rows])  # type: ignore[operator]
                found[rows] = np.exp((slope * logits + offset).clip(-50, 50))
        return found

    def weighted(self, showers: Showers) -> Showers:
        """The showers with their weights.

        Args:
            showers: of the simulator that the correction is for; weights that they have are
                multiplied.

        Raises:
            GeometryError: the showers are of another calorimeter.
        """
        return replace(showers, weight=self.weights(showers) * _weight_of(showers))

    def closure(
        self,
        reference: Showers,
        generated: Showers,
        *,
        names: Sequence[str] = PLAIN,
        seeds: int = 3,
        seed: int = 0,
        **more: Any,
    ) -> Closure:
        """Whether weighted showers are like those of the full simulation, and what it costs.

        Args:
            reference: showers of the full simulation, best such that the correction did not learn
                from.
            generated: showers that are to be weighted.
            names: observables whose separation power is compared.
            seeds: trainings of each classifier test.
            seed: of the same.
            **more: arguments of `classifier_test`, such as ``recipe``.

        Raises:
            GeometryError: the showers are of another calorimeter.
            ShowerError: too few showers, or an observable that there is not.
        """
        weighted, odds = self.weighted(generated), self._odds(generated)
        settings = {"level": self.level, "seeds": seeds, "seed": seed, **more}
        before = classifier_test(reference, generated, **settings)
        after = classifier_test(reference, weighted, **settings)
        real, ours = observables(reference, names), observables(generated, names)
        plain: dict[str, Estimate] = {}
        corrected: dict[str, Estimate] = {}
        for name in names:
            edges = np.unique(np.quantile(real[name], np.linspace(0, 1, BINS + 1)))
            if len(edges) < 2:
                continue
            for found, weights in ((plain, generated.weight), (corrected, weighted.weight)):
                found[name] = separation_power(real[name], ours[name], edges, weights=weights)
        assert weighted.weight is not None
        return Closure(
            auc_before=before.auc,
            auc_after=after.auc,
            separation_before=plain,
            separation_after=corrected,
            num_showers=len(generated),
            effective_sample_size=effective_sample_size(weighted.weight),
            clipped=float((odds > self.greatest).mean()),
            removed=float(
                (_weight_of(generated) * (odds - self.greatest).clip(0)).sum()
                / (_weight_of(generated) * odds).sum()
            ),
        )


def _weight_of(showers: Showers) -> Floats:
    return np.ones(len(showers)) if showers.weight is None else showers.weight


def _folds(showers: Showers) -> NDArray[np.int64]:
    """A number below K of each shower, by numbers of hits and rounded energies.

    They stay what they are when showers go through a file in other units.
    """
    starts = showers.geometry.starts
    kept = showers.above()
    hits = np.stack([(kept.voxels[:, a:b] > 0).sum(axis=1) for a, b in pairwise(starts)], axis=1)
    total = np.maximum(kept.total_energy, 1e-12)
    numbers = np.column_stack([total, showers.incident_energy])
    keys = np.column_stack([hits, np.rint(1e4 * np.log(numbers)).astype(np.int64)])
    digests = (hashlib.blake2b(row.tobytes(), digest_size=8).digest() for row in keys)
    return np.array([int.from_bytes(one, "little") % FOLDS for one in digests], dtype=np.int64)


def _line(logits: Floats, sample: Labelled) -> tuple[float, float]:
    """Slope and offset with which the logits of a sample have the least cross entropy."""
    label, weight = sample.label.numpy(), sample.weight.numpy().astype(np.float64)
    slope, offset = 1.0, 0.0
    design = np.stack([logits, np.ones_like(logits)])
    for _ in range(50):
        p = 1 / (1 + np.exp(-(slope * logits + offset).clip(-50, 50)))
        gradient = design @ (weight * (p - label))
        curvature = (design * (weight * p * (1 - p))) @ design.T + 1e-6 * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        # Newton's steps are for near the minimum; far from it they are kept short.
        step *= min(1.0, 1.0 / float(np.abs(step).max() + 1e-300))
        slope, offset = slope - step[0], offset - step[1]
        if np.abs(step).max() < 1e-9:
            break
    return max(slope, 0.0), offset
