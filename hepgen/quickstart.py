"""The main jobs in small on bundled samples: two taggers, a simulator of showers, an integral."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from rich.console import Console

from hepgen.io.errors import MissingFile, OutputExists

__all__ = ["bundled_sample", "quickstart"]

# Chosen so that all of it takes under five minutes on two cores.
_TAGGERS: dict[str, dict[str, Any]] = {
    "ParticleFlowNetwork": {"epochs": 8, "lr": 2e-3},
    "ParticleNetLite": {"epochs": 4, "lr": 5e-3},
}

# Muon pairs around the Z, with densities that need no grid file; as pipelines/drell_yan.yaml.
_PROCESS = [
    *("--process.name", "DrellYan", "--process.pdf", "toy"),
    *("--process.mass_window", "[60, 120]", "--integrate.calls", "200000", "--events", "5000"),
    *("--histograms", "{mass: {bins: 60, low: 60, high: 120, label: '$m$ [GeV]'}}"),
]


# The fast class, long enough to be right within some per cent.
_SIMULATOR = [
    *("--model", "CaloINN", "--data.fractions", "[0.7, 0.1, 0.2]"),
    *("--fit.epochs", "15", "--fit.batch_size", "256"),
]


def bundled_sample(name: str = "top_qcd.root") -> Path:
    """A file of ``data_samples``, in a checkout or in an installed hepgen.

    Args:
        name: of the file.

    Raises:
        MissingFile: this installation has no such sample.
    """
    here = Path(__file__).parent
    folders = (here.parent / "data_samples", here / "data_samples")
    for folder in folders:
        if (folder / name).is_file():
            return folder / name
    raise MissingFile(f"no sample {name} in {' or '.join(map(str, folders))}")


def quickstart(
    output: Path, *, files: str | None = None, entries: int | None = None, seed: int = 1
) -> None:
    """Train two taggers and a simulator, integrate, and leave everything in one folder.

    Args:
        output: folder to make.
        files: jets to use in place of the bundled top and QCD jets.
        entries: use so many entries at most, of jets and of showers.
        seed: of the division into training and test jets, of the training and the integral.

    Raises:
        OutputExists: the folder is there and not empty.
        InputError: the files cannot be read.
    """
    from hepgen.cross_section import cross_section_from_words
    from hepgen.data import Features
    from hepgen.evaluation import compare, evaluate
    from hepgen.io import inspect
    from hepgen.pipeline import train
    from hepgen.prediction import predict_files
    from hepgen.sample import JetSample

    if output.exists() and any(output.iterdir()):
        raise OutputExists(f"{output} is there and not empty; name another folder with -o")
    began, console = time.monotonic(), Console()
    path = files or str(bundled_sample())
    console.rule("What is in the file")
    console.print(inspect(path))
    sample = JetSample(path, fractions=(0.7, 0.1, 0.2), entries=entries)
    evaluated = []
    for name, options in _TAGGERS.items():
        console.rule(f"Training {name}")
        folder = train(sample, Features("full"), name, output=output / name, seed=seed, **options)
        console.rule(f"Scores of {name} in friend trees")
        for written in predict_files(folder / "model.safetensors", path, folder / "friends"):
            console.print(f"{written}: a friend of {path}")
        console.rule(f"How good is {name} on jets it never saw")
        evaluated.append(folder / "evaluation")
        print(evaluate(folder / "test.root", output=evaluated[-1], name=name))
    console.rule("Side by side")
    print(compare(evaluated, output=output / "comparison"))
    console.rule("A cross section, with distributions and events")
    cross_section_from_words(
        [*_PROCESS, "--seed", str(seed), "--output", str(output / "drell_yan")]
    )
    _simulate(output / "showers", entries, seed, console)
    seconds = time.monotonic() - began
    console.print(
        f"All of it is in {output} ({seconds:.0f} s). Open {output}/comparison/report.html"
    )


def _simulate(folder: Path, entries: int | None, seed: int, console: Console) -> None:
    """A simulator of the bundled Geant4 showers, and how far it is from them."""
    from hepgen.generation import generate
    from hepgen.shower_evaluation import evaluate_showers
    from hepgen.shower_pipeline import read_shower_pipeline, train_simulator

    console.rule("A simulator of calorimeter showers")
    words = [*_SIMULATOR, "--data.files", str(bundled_sample("electrons.hdf5"))]
    words += ["--seed", str(seed), "--output", str(folder)]
    train_simulator(
        read_shower_pipeline(words if entries is None else [*words, "--data.entries", str(entries)])
    )
    console.rule("Ten thousand more of its showers, as a ROOT tree")
    model = folder / "model.safetensors"
    console.print(generate(model, 10_000, output=folder / "showers.root", seed=seed))
    console.rule("How far its showers are from those of Geant4")
    found = evaluate_showers(
        folder / "generated.hdf5",
        folder / "test.hdf5",
        output=folder / "evaluation",
        model=model,
        classifiers=["high"],
        seeds=1,
        name="CaloINN",
        seed=seed,
    )
    print(found)
