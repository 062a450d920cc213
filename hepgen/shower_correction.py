"""What ``hepgen correct`` does: weights that bring generated showers to the full simulation."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from hepgen import calorimeter
from hepgen.io.errors import InputError
from hepgen.shower_layout import in_layout
from hepgen.shower_output import check_new_file, try_to_write
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
    recipe: str | None = None,
    greatest: float = 20.0,
    closure: float = 0.3,
    seed: int = 0,
    overwrite: bool = False,
    progress: bool = True,
) -> Closure | None:
    """Learn weights of generated showers, and tell what they do and what they cost.

    Args:
        generated: files of generated showers.
        reference: files of showers of the full simulation, of the same energies, in the layout of
            the generated ones or a finer one.
        output: the model file of the correction, for ``hepgen generate --correction``.
        weighted: a file for the generated showers with their weights, ``.hdf5`` or ``.root``.
        geometry: name or file of the calorimeter, where the files do not tell it.
        level: features that the classifiers see: "high", "low", "low-normalised" or "resnet".
        recipe: of their training; "quick" if not given, "resnet" for the level of that name.
        greatest: largest weight.
        closure: share of both samples that is kept to test the weights; 0 for no test.
        seed: of everything random.
        overwrite: replace files that exist.
        progress: show bars.

    Returns:
        The test of the weights, None without.

    Raises:
        OutputExists: a file exists.
        MissingFile: a file to read, or a folder to write into, does not exist.
        NotReadable: a name to write that ends in no format that hepgen writes.
        InputError: showers that cannot be read or compared, or a share that is none.
    """
    check_new_file(output, overwrite=overwrite, suffix=".safetensors")
    if weighted is not None:
        check_new_file(weighted, overwrite=overwrite)
    if not 0 <= closure < 1:
        raise InputError(f"closure={closure}: wanted a share from 0 on and below 1")
    samples = [calorimeter.read(files, geometry) for files in (reference, generated)]
    samples[0] = in_layout(samples[0], samples[1].geometry)
    if weighted is not None:
        try_to_write(weighted, replace(samples[1][:1], weight=np.ones(1)))
    # One threshold for both, whatever the files say.
    cut = samples[0].geometry.threshold
    samples = [
        replace(some, geometry=replace(some.geometry, threshold=cut)).above() for some in samples
    ]
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
