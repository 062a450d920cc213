"""What ``hepgen correct`` does: weights that bring generated showers to the full simulation."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hepgen import calorimeter
from hepgen.io.errors import InputError, OutputExists
from hepgen.simulators import Closure, Correction
from hepgen.simulators.classifier_test import Level

__all__ = ["correct_showers"]

Files = str | os.PathLike[str] | Sequence[str]


def correct_showers(
    generated: Files,
    reference: Files,
    *,
    output: str | os.PathLike[str],
    weighted: str | os.PathLike[str] | None = None,
    geometry: str | None = None,
    level: Level = "high",
    recipe: str = "quick",
    greatest: float = 20.0,
    closure: float = 0.3,
    seed: int = 0,
    overwrite: bool = False,
    progress: bool = True,
) -> Closure | None:
    """Learn weights of generated showers, and tell what they do and what they cost.

    Args:
        generated: files of generated showers.
        reference: files of showers of the full simulation, of the same energies.
        output: the model file of the correction, for ``hepgen generate --correction``.
        weighted: a file for the generated showers with their weights, ``.hdf5`` or ``.root``.
        geometry: name or file of the calorimeter, where the files do not tell it.
        level: features that the classifiers see: "high", "low", "low-normalised" or "resnet".
        recipe: of their training.
        greatest: largest weight.
        closure: share of both samples that is kept to test the weights; 0 for no test.
        seed: of everything random.
        overwrite: replace files that exist.
        progress: show bars.

    Returns:
        The test of the weights, None without.

    Raises:
        OutputExists: a file exists.
        InputError: showers that cannot be read or compared, or a share that is none.
    """
    for path in (output, weighted):
        if path is not None and Path(path).exists() and not overwrite:
            raise OutputExists(f"{path} exists; overwrite replaces it")
    if not 0 <= closure < 1:
        raise InputError(f"closure={closure}: wanted a share from 0 on and below 1")
    samples = [calorimeter.read(files, geometry) for files in (reference, generated)]
    # One threshold for both, whatever the files say.
    samples = [some.above(samples[0].geometry.threshold) for some in samples]
    # Alike, as showers of one energy may come in pairs.
    kept = [np.random.default_rng(seed).random(len(some)) < closure for some in samples]
    train = [some[~mask] for some, mask in zip(samples, kept, strict=True)]
    options = {"level": level, "recipe": recipe, "seed": seed, "progress": progress}
    correction = Correction.fit(*train, greatest=greatest, **options)  # type: ignore[arg-type]
    correction.save(Path(output))
    if weighted is not None:
        calorimeter.write(weighted, correction.weighted(samples[1]), overwrite=overwrite)
    if not closure:
        return None
    test = [some[mask] for some, mask in zip(samples, kept, strict=True)]
    return correction.closure(test[0], test[1], seed=seed, recipe=recipe)
