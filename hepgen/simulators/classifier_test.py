r"""How well a classifier tells generated showers from those of the full simulation.

An area under the ROC curve of 0.5 is what a perfect simulator gets. The Jensen-Shannon divergence
in bits is :math:`1 + \langle \log_2 p(\text{true sample}) \rangle` with calibrated probabilities p,
0 for samples alike and 1 for samples without overlap; a network gives a lower limit of both.

C. Krause and D. Shih, "CaloFlow", arXiv:2106.05285; the challenge's definitions: C. Krause et al.,
"CaloChallenge 2022", arXiv:2410.21611.

Shapes: B showers, F features.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hepgen.calorimeter import GeometryError, ShowerError, Showers
from hepgen.calorimeter.observables import high_level_features, low_level_features
from hepgen.metrics import Estimate, Reliability, Roc, auc, log_loss, reliability, roc
from hepgen.metrics.isotonic import isotonic_regression
from hepgen.simulators.labelled import Labelled
from hepgen.simulators.recipes import Recipe, recipe_of

__all__ = ["ClassifierTest", "Level", "classifier_test"]

Level: TypeAlias = Literal["high", "low", "low-normalised", "resnet"]
LEVELS = ("high", "low", "low-normalised", "resnet")
FOLDS = 5
# In each fold of each sample.
FEWEST = 10
# Streams of random numbers besides those of the folds.
CUTTING, HALVING = 1001, 1002


@dataclass(frozen=True)
class ClassifierTest:
    """What a classifier made of two samples of showers.

    Attributes:
        level: which features it was given.
        auc: area under the ROC curve: the mean over seeds, its error that of seeds and of the
            finite test samples; ``floor`` is what two halves of the reference gave.
        jsd: Jensen-Shannon divergence in bits, likewise.
        aucs: the areas of the seeds, each with the error of its test sample.
        jsds: the divergences of the seeds.
        sizes: showers of each sample that each classifier was trained on, chosen by, and tested on.
        labels: of the test showers of all seeds, 1 for the reference.
        scores: calibrated probabilities that they are of the reference.
        weights: of the same.
    """

    level: str
    auc: Estimate
    jsd: Estimate
    aucs: tuple[Estimate, ...]
    jsds: tuple[Estimate, ...]
    sizes: tuple[int, int, int]
    labels: NDArray[np.int64] = field(repr=False)
    scores: NDArray[np.float64] = field(repr=False)
    weights: NDArray[np.float64] = field(repr=False)

    @property
    def roc(self) -> Roc:
        """Over the test showers of all seeds; the reference is the signal."""
        return roc(self.labels, self.scores, self.weights)

    @property
    def calibration(self) -> Reliability:
        """Over the test showers of all seeds, after calibration by others."""
        return reliability(self.labels, self.scores, self.weights, strategy="quantile")

    def __str__(self) -> str:
        return f"{self.level}: AUC {self.auc}, JSD {self.jsd}"

    def to_dict(self) -> dict[str, Any]:
        """What JSON can hold of it: without the scores."""
        return {
            "level": self.level,
            "auc": self.auc.to_dict(),
            "jsd": self.jsd.to_dict(),
            "aucs": [one.to_dict() for one in self.aucs],
            "jsds": [one.to_dict() for one in self.jsds],
            "sizes": list(self.sizes),
        }


def classifier_test(
    reference: Showers,
    generated: Showers,
    *,
    level: Level = "high",
    recipe: str | Recipe | None = None,
    seeds: int = 3,
    floor: bool = False,
    seed: int = 0,
    progress: bool = False,
    **more: Any,
) -> ClassifierTest:
    """Train classifiers on two samples and tell how well they do.

    Of each sample 60 % train, 20 % choose the epoch and calibrate, 20 % test; each seed tests on
    another fifth, so that five seeds have tested all showers. Of the longer sample as many as the
    other has are taken, see `cut_alike`.

    Args:
        reference: showers of the full simulation that the simulator was not trained on.
        generated: of the simulator, at incident energies of the same distribution. Weights of
            either sample count. Both are cut at the threshold of the reference.
        level: "high", "low", "low-normalised" as the challenge defines features, or "resnet", a
            residual network that looks at the voxels of a calorimeter whose layers are all divided
            alike.
        recipe: "quick", "challenge" (published, for GPUs), "resnet", or one of one's own; "quick"
            if not given, "resnet" for the level of that name.
        seeds: number of trainings.
        floor: also test two halves of the reference, drawn at random, against each other.
        seed: decides choices, splits and trainings.
        progress: show a bar.
        **more: arguments of `hepgen.fit` in place of those of the recipe.

    Returns:
        Areas, divergences, and the scores they are from.

    Raises:
        GeometryError: the samples are of different calorimeters, or "resnet" cannot look at this.
        ShowerError: fewer than 50 showers in a sample, or none with weight.
        ValueError: there is no such level or recipe, or ``seeds`` is below 1.
    """
    if not reference.geometry.same_voxels(generated.geometry):
        raise GeometryError(f"{generated.geometry} cannot be compared to {reference.geometry}")
    if seeds < 1:
        raise ValueError(f"seeds={seeds}: wanted one at least")
    size = min(len(reference), len(generated))
    if size < FOLDS * FEWEST:
        raise ShowerError(f"{size} showers are too few for a classifier, wanted {FOLDS * FEWEST}")
    chosen = recipe_of(recipe or ("resnet" if level == "resnet" else "quick"))
    # Into one geometry, as voxels below its threshold count as empty.
    samples = cut_alike([generated.into(reference.geometry), reference], seed)
    inputs = [features(sample, level) for sample in samples]
    weights = [np.ones(size) if s.weight is None else s.weight for s in samples]
    found = []
    for number in range(seeds):
        # Both samples are split alike: showers of one energy, if they come in pairs, then stay
        # together, and energies learnt by heart do not mislead.
        split = split_rows(size, seed, number)
        parts = [labelled(inputs, weights, rows) for rows in split]
        network = chosen.trained(
            parts[0],
            parts[1],
            shape=reference.geometry.shape,
            seed=1000 * seed + number,
            progress=progress,
            **more,
        )
        found.append(_tested(network.predict(parts[1].x), network.predict(parts[2].x), parts))
    aucs, jsds = tuple(one[0] for one in found), tuple(one[1] for one in found)
    lowest: dict[str, float | None] = {"auc": None, "jsd": None}
    if floor:
        order = np.random.default_rng([seed, HALVING]).permutation(len(reference))[:size]
        halves = [reference[np.sort(order[i::2][: size // 2])] for i in (0, 1)]
        real = classifier_test(
            *halves, level=level, recipe=chosen, seeds=seeds, seed=seed, progress=progress, **more
        )
        lowest = {"auc": real.auc.value, "jsd": real.jsd.value}
    return ClassifierTest(
        level,
        mean_over_seeds(aucs, lowest["auc"]),
        mean_over_seeds(jsds, lowest["jsd"]),
        aucs,
        jsds,
        (len(split[0]), len(split[1]), len(split[2])),
        *(np.concatenate([one[i] for one in found]) for i in (2, 3, 4)),
    )


def cut_alike(samples: Sequence[Showers], seed: int) -> list[Showers]:
    """Samples cut to the length of the shortest.

    Files of the field are sorted by energy, so what stays is drawn at random; but where the first
    showers of a longer sample are of the same particles as those of the shortest, they stay.

    Args:
        samples: some.
        seed: of the choice.

    Returns:
        The samples, in their order.
    """
    shortest = min(samples, key=len)
    size, found = len(shortest), []
    for number, one in enumerate(samples):
        if len(one) > size:
            rows = np.random.default_rng([seed, CUTTING, number]).permutation(len(one))[:size]
            one = one[:size] if _same_particles(one[:size], shortest) else one[np.sort(rows)]
        found.append(one)
    return found


def _same_particles(first: Showers, second: Showers) -> bool:
    """Whether shower i of both is of a particle of the same energy and conditions."""
    names = set(first.conditions) & set(second.conditions)
    pairs = [(first.incident_energy, second.incident_energy)]
    pairs += [(first.conditions[name], second.conditions[name]) for name in names]
    return all(np.allclose(a, b, rtol=1e-6, atol=1e-9) for a, b in pairs)


def features(showers: Showers, level: Level) -> NDArray[np.floating[Any]]:
    """What a classifier of a level is given.

    Args:
        showers: a sample.
        level: see `classifier_test`.

    Returns:
        Shape (B, F).

    Raises:
        GeometryError: "resnet" cannot look at this calorimeter.
        ValueError: there is no such level.
    """
    if level not in LEVELS:
        raise ValueError(f"no level {level!r} of features; there are {', '.join(LEVELS)}")
    if level == "high":
        return high_level_features(showers)
    if level == "resnet" and showers.geometry.shape is None:
        raise GeometryError(f"layers of {showers.geometry} are not all alike, as resnet needs")
    return low_level_features(showers, normalised=level == "low-normalised")


def split_rows(size: int, seed: int, number: int) -> tuple[NDArray[np.int64], ...]:
    """Rows to train on, choose by, and test on: three fifths, one and one.

    Args:
        size: number of showers.
        seed: of the fifths.
        number: of the training; five in a row test on different fifths.
    """
    turn, fold = divmod(number, FOLDS)
    pieces = np.array_split(np.random.default_rng([seed, turn]).permutation(size), FOLDS)
    pieces = pieces[fold:] + pieces[:fold]
    return np.concatenate(pieces[2:]), pieces[1], pieces[0]


def labelled(
    inputs: Sequence[NDArray[Any]], weights: Sequence[NDArray[Any]], rows: NDArray[np.int64]
) -> Labelled:
    """Rows of several samples end to end.

    Args:
        inputs: features of M samples, each of shape (B, F).
        weights: of the same, each of shape (B,).
        rows: which of each.
    """
    return Labelled.of(
        np.concatenate([one[rows] for one in inputs]),
        np.repeat(np.arange(len(inputs)), len(rows)),
        np.concatenate([one[rows] for one in weights]),
    )


def _tested(
    before: NDArray[np.float64], scores: NDArray[np.float64], parts: Sequence[Labelled]
) -> tuple[Estimate, Estimate, NDArray[Any], NDArray[Any], NDArray[Any]]:
    """AUC and JSD of a seed; labels, calibrated scores and weights of its test showers."""
    labels, weights = parts[2].label.numpy(), parts[2].weight.numpy().astype(np.float64)
    calibrated = _calibrated(scores, before, parts[1])
    loss = log_loss(labels, calibrated, weights)
    jsd = Estimate(1 - loss.value / math.log(2), loss.error / math.log(2))
    return auc(labels, scores, weights), jsd, labels, calibrated, weights


def _calibrated(
    scores: NDArray[np.float64], by: NDArray[np.float64], sample: Labelled
) -> NDArray[np.float64]:
    """Probabilities instead of scores, as those of a sample teach."""
    weights = sample.weight.numpy()
    kept = weights > 0
    knots, values = isotonic_regression(by[kept], sample.label.numpy()[kept], weights[kept])
    # The challenge has 1e-6 here, and 40 000 showers to calibrate with. With few of them each wrong
    # one beyond the ends would cost 14 nats; n in a row right tell of no more than 1 / (n + 2).
    least = 1 / (kept.sum() + 2)
    values = values.clip(least, 1 - least)
    return np.asarray(np.interp(scores, knots, values))


def mean_over_seeds(
    found: Sequence[Estimate], floor: float | None, disjoint: bool = True
) -> Estimate:
    """Mean over seeds, with an error that counts their spread and their test samples.

    Args:
        found: what each seed gave.
        floor: of the mean.
        disjoint: whether the seeds have test samples of their own. The spread then holds the
            fluctuation of the samples, but is itself known badly: the greater of the two counts.
    """
    values = np.array([one.value for one in found])
    sample = math.sqrt(np.mean([one.error**2 for one in found]))
    sample /= math.sqrt(min(len(values), FOLDS)) if disjoint else 1
    spread = values.std(ddof=1) / math.sqrt(len(values)) if len(values) > 1 else 0.0
    error = max(sample, spread) if disjoint else math.hypot(sample, spread)
    return Estimate(float(values.mean()), float(error), floor=floor)
