"""Which of several generators showers of the full simulation seem to come from.

S. H. Lim, K. A. Raman, M. R. Buckley and D. Shih, "GalaxyFlow: upsampling hydrodynamical
simulations for realistic Gaia mock catalogs", arXiv:2211.11765, whose test the CaloChallenge,
arXiv:2410.21611, takes over.

Shapes: B showers, M generators.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepgen.calorimeter import GeometryError, ShowerError, Showers
from hepgen.metrics import Estimate
from hepgen.simulators.classifier_test import (
    FEWEST,
    FOLDS,
    Level,
    cut_alike,
    features,
    labelled,
    mean_over_seeds,
    split_rows,
)
from hepgen.simulators.labelled import Labelled
from hepgen.simulators.recipes import Recipe, recipe_of

__all__ = ["LogPosterior", "log_posterior"]


@dataclass(frozen=True)
class LogPosterior:
    """Which of several generators showers seem to come from.

    Attributes:
        reference: generator -> mean logarithm of the probability that showers of the reference are
            its own; the highest is the closest to the reference.
        own: generator -> the same of its own showers, those that were not trained on.
        uniform: what a classifier that cannot tell them apart gives, -ln M.
    """

    reference: dict[str, Estimate]
    own: dict[str, Estimate]
    uniform: float


def log_posterior(
    reference: Showers,
    generated: Mapping[str, Showers],
    *,
    level: Level = "high",
    recipe: str | Recipe | None = None,
    seeds: int = 3,
    seed: int = 0,
    progress: bool = False,
    **more: Any,
) -> LogPosterior:
    """Compare several generators at once: one classifier among them, asked about the reference.

    Its logits are scaled to what the showers that choose the epoch can bear, so that a classifier
    of few showers that is too certain is not worse than chance.

    Args:
        reference: showers of the full simulation; none of them is trained on.
        generated: name -> showers of each of M generators, of particles of the same distribution;
            of longer samples as many as of the shortest are taken, see `cut_alike`.
        level: see `classifier_test`.
        recipe: likewise.
        seeds: likewise.
        seed: likewise.
        progress: likewise.
        **more: likewise.

    Returns:
        Logarithms of probabilities; their errors are those of seeds and of the finite samples.

    Raises:
        GeometryError: the samples are of different calorimeters.
        ShowerError: fewer than two generators, or fewer than 50 showers of one.
        ValueError: there is no such level or recipe, or ``seeds`` is below 1.
    """
    names, samples = list(generated), list(generated.values())
    if len(names) < 2:
        raise ShowerError(f"wanted two generators at least, got {names}")
    for name, sample in generated.items():
        if not reference.geometry.same_voxels(sample.geometry):
            raise GeometryError(f"{name}: {sample.geometry} is not {reference.geometry}")
    size = min(map(len, samples))
    if size < FOLDS * FEWEST or seeds < 1:
        raise ShowerError(f"{size} showers and {seeds} seeds: wanted {FOLDS * FEWEST} and 1")
    chosen = recipe_of(recipe or ("resnet" if level == "resnet" else "quick"))
    samples = cut_alike([sample.into(reference.geometry) for sample in samples], seed)
    inputs = [features(sample, level) for sample in samples]
    weights = [np.ones(size) if s.weight is None else s.weight for s in samples]
    asked = features(reference, level)
    trust = np.ones(len(asked)) if reference.weight is None else reference.weight
    rows: dict[str, list[Estimate]] = {f"{what} {n}": [] for what in "ro" for n in names}
    for number in range(seeds):
        parts = [labelled(inputs, weights, one) for one in split_rows(size, seed, number)]
        network = chosen.trained(
            parts[0],
            parts[1],
            num_classes=len(names),
            shape=reference.geometry.shape,
            seed=1000 * seed + number,
            progress=progress,
            **more,
        )
        certainty = _certainty(_columns(network.logits(parts[1].x)), parts[1])
        answers, own = (
            _log_softmax(certainty * _columns(network.logits(x))) for x in (asked, parts[2].x)
        )
        for i, name in enumerate(names):
            rows[f"r {name}"].append(_log_mean(answers[:, i], trust))
            mine = parts[2].label.numpy() == i
            rows[f"o {name}"].append(_log_mean(own[mine, i], parts[2].weight.numpy()[mine]))
    return LogPosterior(
        # The showers asked about are the same for all seeds.
        {name: mean_over_seeds(rows[f"r {name}"], None, disjoint=False) for name in names},
        {name: mean_over_seeds(rows[f"o {name}"], None) for name in names},
        -math.log(len(names)),
    )


def _columns(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """One column a generator, also of two."""
    return np.stack([np.zeros_like(logits), logits], axis=1) if logits.ndim == 1 else logits


def _log_softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def _certainty(logits: NDArray[np.float64], sample: Labelled) -> float:
    """The factor from 0 to 2 on logits that makes their cross entropy least."""
    rows, labels, weights = np.arange(len(logits)), sample.label.numpy(), sample.weight.numpy()
    low, high = 0.0, 2.0
    # The cross entropy is convex in the factor.
    for _ in range(40):
        a, b = low + (high - low) / 3, high - (high - low) / 3
        first, second = (-(weights @ _log_softmax(f * logits)[rows, labels]) for f in (a, b))
        low, high = (low, b) if first < second else (a, high)
    return (low + high) / 2


def _log_mean(logarithms: NDArray[np.float64], weights: NDArray[Any]) -> Estimate:
    mean = float(weights @ logarithms / weights.sum())
    return Estimate(mean, float(np.sqrt(weights**2 @ (logarithms - mean) ** 2) / weights.sum()))
