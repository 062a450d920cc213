"""Certainty from the command line: calibrate a model on files, join several into an ensemble."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from torch import nn

from hepgen.atomic import replacing
from hepgen.certainty import BayesianLastLayer, Ensemble, Isotonic, MonteCarloDropout, Temperature
from hepgen.certainty.certain import labelled
from hepgen.checkpoint import CheckpointError, load
from hepgen.data import PackedJets
from hepgen.io import read
from hepgen.io.errors import OutputExists
from hepgen.io.files import Files
from hepgen.metrics import Estimate, expected_calibration_error, log_loss, reliability

__all__ = ["Calibration", "calibrate_files", "join_models"]

Method = Literal["temperature", "isotonic", "bayesian_last_layer", "dropout"]
METHODS = ("temperature", "isotonic", "bayesian_last_layer", "dropout")


@dataclass(frozen=True)
class Calibration:
    """How well probabilities are calibrated, before and after.

    Attributes:
        path: of the calibrated model.
        jets: number of jets that this was measured with.
        error: expected calibration error, before and after.
        loss: cross entropy in nats, before and after.
    """

    path: Path
    jets: int
    error: tuple[Estimate, Estimate]
    loss: tuple[Estimate, Estimate]

    def __str__(self) -> str:
        lines = [f"{self.path}; on {self.jets} jets that the calibration has not seen"]
        for name, (before, after) in (
            ("expected calibration error", self.error),
            ("cross entropy", self.loss),
        ):
            lines.append(f"{name}: {before} before, {after} after")
        return "\n".join(lines)


def calibrate_files(
    model: str | os.PathLike[str],
    files: Files,
    output: str | Path,
    *,
    method: Method = "temperature",
    held_out: float = 0.5,
    labels: Sequence[str] | Mapping[str, str] | None = None,
    where: str | None = None,
    tree: str | None = None,
    schema: str | None = None,
    collection: str | None = None,
    entries: int | None = None,
    batch_size: int = 256,
    device: str | None = None,
    plot: Path | None = None,
    overwrite: bool = False,
    seed: int = 0,
) -> Calibration:
    """Calibrate a model on labelled jets, and write it with its calibration into one file.

    Args:
        model: a model file with probabilities of classes.
        files: jets, as for `hepgen.read`. For temperature and isotonic those that were not trained
            on; for bayesian_last_layer those that were.
        output: the file to write, ``*.safetensors``; `hepgen.load` and ``hepgen predict`` take it.
        method: "temperature" (one number), "isotonic" (a rising function for each class),
            "bayesian_last_layer" (Laplace) or "dropout" (samples with dropout on; nothing is
            fitted). The last two tell a spread of each score too.
        held_out: share of the jets that is not fitted to, for the numbers before and after.
        labels: as for `hepgen.read`; by default what the files tell of the model's classes.
        where: use only these jets, an expression.
        tree: name of the tree, where a file holds several.
        schema: which branches are which standard field; recognised if not given.
        collection: which jets of an event.
        entries: read so many entries at most.
        batch_size: jets scored at a time.
        device: where to score.
        plot: picture of the reliability before and after, such as calibration.png.
        overwrite: replace an output that exists.
        seed: of the division, and of dropout.

    Returns:
        Calibration error and cross entropy on the held-out jets; ``print`` shows them.

    Raises:
        InputError: the jets cannot be read, or lack labels.
        OutputExists: the output exists.
        CheckpointError: the model file is damaged.
        ValueError: a model or jets that the method is not for, or ``held_out`` not in (0, 1).
    """
    path = Path(output)
    if path.exists() and not overwrite:
        raise OutputExists(f"{path} exists; overwrite replaces it")
    if method not in METHODS:
        raise ValueError(f"method should be one of {', '.join(METHODS)}, not {method!r}")
    if not 0 < held_out < 1:
        raise ValueError(f"held_out should be between 0 and 1, not {held_out}")
    inside = _scorer(model)
    wanted: Any = list(inside.classes) if labels is None else labels
    jets = read(
        files,
        labels=wanted,
        where=where,
        tree=tree,
        schema=schema,
        collection=collection,
        entry_stop=entries,
        fields=inside.features.fields,
    )
    order = np.random.default_rng(seed).permutation(len(jets))
    cut = max(1, round(held_out * len(jets)))
    fitted_to, rest = jets[np.sort(order[cut:])], jets[np.sort(order[:cut])]
    made = _calibrated(inside, method, fitted_to, seed, batch_size=batch_size, device=device)
    label = labelled(rest, inside.classes, method)
    columns = [inside.score_names.index(name) for name in inside.classes]
    scores = [
        one.predict(rest, batch_size=batch_size, device=device)[:, columns]
        for one in (inside, made)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    made.save(path)
    if plot is not None:
        _draw(plot, label, scores, inside.classes[0], method)
    errors, losses = (
        [metric(label, score) for score in scores]
        for metric in (expected_calibration_error, log_loss)
    )
    return Calibration(path, len(rest), (errors[0], errors[1]), (losses[0], losses[1]))


def join_models(
    models: Sequence[str | os.PathLike[str]], output: str | Path, *, overwrite: bool = False
) -> Path:
    """Join trained models into a deep ensemble, and write it into one file.

    Args:
        models: model files that give the same scores, such as one tagger trained with several
            seeds.
        output: the file to write, ``*.safetensors``; ``hepgen predict`` takes it, and writes mean,
            spread and mutual information.
        overwrite: replace an output that exists.

    Returns:
        The file.

    Raises:
        OutputExists: the output exists.
        CheckpointError: a model file is damaged, or holds no scorer.
        ValueError: fewer than two models, or models of different scores.
    """
    path = Path(output)
    if path.exists() and not overwrite:
        raise OutputExists(f"{path} exists; overwrite replaces it")
    joined = Ensemble([_scorer(model) for model in models])
    path.parent.mkdir(parents=True, exist_ok=True)
    joined.save(path)
    return path


def _scorer(path: str | os.PathLike[str]) -> Any:
    model: nn.Module = load(Path(path))
    if not (hasattr(model, "predict") and hasattr(model, "score_names")):
        raise CheckpointError(f"{path} holds {type(model).__name__}, which gives jets no scores")
    return model


def _calibrated(
    model: Any, method: Method, jets: Any, seed: int, **scoring: Any
) -> Temperature | Isotonic | BayesianLastLayer | MonteCarloDropout:
    kinds: dict[str, Any] = {
        "temperature": Temperature,
        "isotonic": Isotonic,
        "bayesian_last_layer": BayesianLastLayer,
    }
    try:
        if method == "dropout":
            return MonteCarloDropout(model, seed=seed)
        made = kinds[method](model)
    except TypeError as error:
        raise ValueError(str(error)) from error
    packed = jets
    if hasattr(model.features, "to_dict"):
        packed = PackedJets.pack(jets, model.features, model.classes)
    found: Temperature | Isotonic | BayesianLastLayer = made.fit(packed, **scoring)
    return found


def _draw(path: Path, label: Any, scores: Sequence[Any], signal: str, method: str) -> None:
    """Reliability before and after, whole or not at all."""
    from matplotlib.figure import Figure

    from hepgen.plots import calibration

    figure = Figure(layout="constrained")
    curves = {
        name: reliability(label == 0, score[:, 0], strategy="quantile")
        for name, score in zip(("as trained", method), scores, strict=True)
    }
    calibration(figure.subplots(), curves, signal=signal)
    with replacing(path) as temporary:
        figure.savefig(temporary, format=path.suffix.lstrip(".") or None)
