"""How far generated showers are from those of the full simulation: all numbers of one comparison.

Shapes: B showers, L layers, V voxels, M bins, E bins of energy.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from hepgen import __version__, calorimeter, report
from hepgen.calorimeter import EnergyRangeWarning, ShowerError, Showers
from hepgen.io.errors import MissingName
from hepgen.shower_layout import in_layout
from hepgen.shower_metrics import (
    classifier_tests,
    correlations,
    distances,
    energy_bins,
    memorised,
    separations,
    spectra,
)
from hepgen.shower_summary import ClassifierResult, ShowerEvaluation
from hepgen.simulators import Simulator, generation_times
from hepgen.simulators.classifier_test import Level

__all__ = ["evaluate_showers"]

Files = str | os.PathLike[str] | Sequence[str] | Showers
RESULTS = "results.json"
# Fewer tell nothing in fifths, halves and bins of energy.
FEWEST = 100
# Probability (Kolmogorov and Smirnov) below which energies are told to differ.
FALSE_ALARM = 1e-6
LEVELS = ("high", "low", "low-normalised", "resnet")


def evaluate_showers(
    generated: Files,
    reference: Files,
    *,
    output: str | os.PathLike[str] | None = None,
    geometry: str | None = None,
    other: Files | None = None,
    train: Files | None = None,
    model: str | os.PathLike[str] | Simulator | None = None,
    classifiers: Sequence[Level] = ("high", "low"),
    seeds: int = 3,
    recipe: str | None = None,
    energy_edges: Sequence[float] | None = None,
    name: str | None = None,
    seed: int = 0,
    overwrite: bool = False,
    progress: bool = True,
) -> ShowerEvaluation:
    """Compare generated showers with those of the full simulation, and write the page.

    Each number stands beside its floor, which is what showers of the full simulation give against
    each other, and has an error. The generated showers should have the energies of the reference
    (``hepgen generate MODEL --like REFERENCE``). Weights of the generated showers count.

    Args:
        generated: showers of a simulator, or files of them.
        reference: showers of the full simulation that the simulator was not trained on, in the
            layout of the generated ones or a finer one, whose voxels are joined.
        output: folder to make, for report.html, results.json and plots; None writes nothing.
        geometry: name or file of the calorimeter, where the files do not tell it.
        other: more showers of the full simulation, for the floors; parts of the reference if not
            given, of which there are fewer.
        train: what the simulator was trained on, to see whether it remembers.
        model: the simulator or its file, to measure its time for batches of 1, 100 and 10 000.
        classifiers: levels of features that classifiers are given: "high", "low",
            "low-normalised", "resnet"; none for none.
        seeds: trainings of each.
        recipe: of the classifiers: "quick", or "challenge" as published, for a GPU.
        energy_edges: of the bins for response and resolution, in GeV; about four in the range if
            not given, or the energies themselves where there are few.
        name: of the simulator; that of the file if not given.
        seed: of everything random.
        overwrite: whether files in the output folder may be replaced.
        progress: show what is being done.

    Returns:
        The evaluation; ``print`` shows its main numbers.

    Raises:
        InputError: files that are missing or damaged; showers of different calorimeters; fewer
            than 100 of either; true showers with weights; an output that exists.

    Warns:
        EnergyRangeWarning: the incident energies of both have different distributions.
    """
    if output is not None:
        report.check_output(output, overwrite=overwrite)
    for level in classifiers:
        if level not in LEVELS:
            raise MissingName.among(level, LEVELS, kind="level", where="classifiers")
    samples = {"generated": generated, "reference": reference, "other": other, "train": train}
    read = {key: _read(key, files, geometry) for key, files in samples.items() if files is not None}
    # True showers may be in the finer layout of their files.
    layout = read["generated"].geometry
    read = {key: in_layout(some, layout) for key, some in read.items()}
    left, right = read["generated"], read["reference"]
    _check_truth(read, right, left)
    # One threshold for all, whatever the files say, now and wherever their geometries tell it.
    cut = right.geometry.threshold
    read = {
        key: replace(some, geometry=replace(some.geometry, threshold=cut)).above()
        for key, some in read.items()
    }
    left, right = read["generated"], read["reference"]
    edges = None if energy_edges is None else np.asarray(energy_edges, dtype=float)
    with _telling(progress) as tell:
        tell("observables")
        shapes = spectra(right, left)
        tell("separation powers")
        apart = separations(right, left, read.get("other"), seed=seed)
        tell("distances")
        found = distances(right, left, read.get("other"), seed=seed)
        tell("response and resolution")
        binned = energy_bins(right, left, edges)
        if "train" in read:
            tell("nearest training showers")
            found |= memorised(read["train"], right, left, seed=seed)
        tests: dict[str, ClassifierResult] = {}
        for level in classifiers:
            tell(f"classifiers, {level}-level features")
            tests |= classifier_tests(right, left, level, seeds=seeds, recipe=recipe, seed=seed)
        times = []
        if model is not None:
            tell("times")
            simulator = model if isinstance(model, Simulator) else Simulator.load(Path(model))
            times = [one.to_dict() for one in generation_times(simulator)]
    evaluation = ShowerEvaluation(
        name=name or _name(generated, model),
        geometry=right.geometry,
        showers={key: len(value) for key, value in read.items()},
        separations=apart,
        distances=found,
        classifiers=tests,
        spectra=shapes,
        energies=binned,
        mean_voxels={
            key: np.average(some.voxels, axis=0, weights=some.weight)
            for key, some in (("reference", right), ("generated", left))
        },
        correlations=correlations(right, left),
        times=times,
        provenance=_provenance(samples, seed, recipe),
    )
    if output is not None:
        files = {RESULTS: evaluation.to_json(), **report.of_showers(evaluation)}
        report.write_folder(output, files, overwrite=overwrite)
    return evaluation


def _read(what: str, files: Files, geometry: str | None) -> Showers:
    showers = files if isinstance(files, Showers) else calorimeter.read(files, geometry)
    if len(showers) < FEWEST:
        raise ShowerError(f"{what}: {len(showers)} showers tell too little, wanted {FEWEST}")
    return showers


def _check_truth(read: Mapping[str, Showers], reference: Showers, generated: Showers) -> None:
    """Refuse true showers with weights, which would not count; tell of other energies."""
    for key, some in read.items():
        if key != "generated" and some.weight is not None and np.ptp(some.weight) > 0:
            raise ShowerError(f"{key}: weights of true showers do not count; wanted none")
    pair = [np.sort(some.incident_energy) for some in (reference, generated)]
    # Energies of float32 files differ in the last bits.
    at = np.concatenate(pair) * (1 + 1e-6)
    shares = [np.searchsorted(some, at) / len(some) for some in pair]
    distance = np.abs(shares[0] - shares[1]).max()
    size = len(pair[0]) * len(pair[1]) / (len(pair[0]) + len(pair[1]))
    if generated.weight is None and 2 * np.exp(-2 * size * distance**2) < FALSE_ALARM:
        told = [f"{some[0]:.4g} to {some[-1]:.4g} GeV" for some in pair]
        warnings.warn(
            f"the reference has energies from {told[0]}, the generated showers from {told[1]}, "
            f"and their distributions differ by {distance:.2g}: all numbers see that difference; "
            "hepgen generate --like makes showers of the same energies",
            EnergyRangeWarning,
            stacklevel=3,
        )


def _name(generated: Files, model: Any) -> str:
    if isinstance(model, Simulator):
        return type(model).__name__
    if not isinstance(generated, Showers):
        first = generated if isinstance(generated, (str, os.PathLike)) else generated[0]
        path = Path(first)
        return path.parent.name if path.stem == "generated" and path.parent.name else path.stem
    return "generated"


def _provenance(samples: Mapping[str, Any], seed: int, recipe: str | None) -> dict[str, Any]:
    told = {
        key: "in memory" if isinstance(files, Showers) else str(files)
        for key, files in samples.items()
        if files is not None
    }
    return {
        "files": told,
        "seed": seed,
        "classifier_recipe": recipe or "quick",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {"hepgen": __version__, "numpy": np.__version__},
    }


@contextmanager
def _telling(visible: bool):  # type: ignore[no-untyped-def]
    """A line that tells what is being done and for how long."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, disable=not visible, transient=True) as bar:
        task = bar.add_task("reading", total=None)

        def tell(what: str) -> None:
            bar.update(task, description=what)

        yield tell
