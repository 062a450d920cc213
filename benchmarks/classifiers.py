"""Recipes of classifiers side by side, on real showers and a copy that is wrong in a known way.

``python -m benchmarks.classifiers electrons_1-100GeV_ds2.hdf5 --csv FILE``. The showers are merged
to 15 x 8 x 4 voxels. Of the first half nothing is changed; in the second half each layer is that of
another shower of nearly the same energy, scaled to the energy that the layer had: everything within
a layer and all energies of layers stay as they are, what goes on from layer to layer is lost. All
recipes see the same 60 % of each half, choose their epoch by the same 20 %, and are tested on the
same 20 %. Seconds are processor time.
"""

from __future__ import annotations

import argparse
import csv
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from hepgen.calorimeter import Showers, read
from hepgen.simulators import classifier_test

RECIPES = {
    "high": ("quick", "challenge"),
    "low": ("quick", "challenge"),
    "low-normalised": ("quick", "challenge"),
    "resnet": ("resnet",),
}


@dataclass
class Row:
    """One classifier: features, recipe, epochs at most, area with its error, seconds."""

    level: str
    recipe: str
    showers: int
    epochs: str
    auc: float
    error: float
    seconds: float


def layers_exchanged(showers: Showers, seed: int = 0) -> Showers:
    """Each layer from one of the four showers next in energy, scaled to the energy it had."""
    rng = np.random.default_rng(seed)
    order = np.argsort(showers.incident_energy)
    rank = np.argsort(order)
    voxels, starts = showers.voxels.copy(), showers.geometry.starts
    for layer in range(showers.geometry.num_layers):
        piece = slice(starts[layer], starts[layer + 1])
        near = rank + rng.choice([-2, -1, 1, 2], len(showers))
        taken = showers.voxels[order[near.clip(0, len(showers) - 1)], piece]
        wanted, got = showers.voxels[:, piece].sum(axis=1), taken.sum(axis=1)
        scale = np.divide(wanted, got, out=np.zeros_like(got), where=got > 0)
        voxels[:, piece] = taken * scale[:, None]
    return Showers(showers.geometry, showers.incident_energy, voxels).above()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--levels", nargs="+", default=list(RECIPES), choices=list(RECIPES))
    parser.add_argument("--recipes", nargs="+", default=["quick", "challenge", "resnet"])
    parser.add_argument("--epochs", type=int, help="instead of those of the recipes")
    parser.add_argument("--precision", help="instead of that of the recipes, such as 32-true")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--csv", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    showers = read(arguments.file).merged(layers=3, sectors=2, rings=(1, 1, 2, 5))
    half = len(showers) // 2
    reference, generated = showers[:half], layers_exchanged(showers[half : 2 * half])
    options = {"epochs": arguments.epochs, "precision": arguments.precision}
    more = {name: value for name, value in options.items() if value is not None}
    for level in arguments.levels:
        for recipe in set(RECIPES[level]).intersection(arguments.recipes):
            start = time.process_time()
            found = classifier_test(
                reference, generated, level=level, recipe=recipe, seeds=1, **more
            )
            seconds = time.process_time() - start
            epochs = "recipe" if arguments.epochs is None else str(arguments.epochs)
            row = Row(level, recipe, half, epochs, found.auc.value, found.auc.error, seconds)
            print(f"{level:15} {recipe:10} AUC {found.auc}  {seconds:.0f} s", flush=True)
            if arguments.csv is not None:
                new = not arguments.csv.exists()
                with arguments.csv.open("a", newline="", encoding="utf-8") as file:
                    writer = csv.DictWriter(file, list(asdict(row)))
                    if new:
                        writer.writeheader()
                    writer.writerow(asdict(row))


if __name__ == "__main__":
    main()
