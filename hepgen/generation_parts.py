"""Showers on their way into a file: parts of a run that are whole, so that it can go on.

A part holds the voxels of some blocks that are not empty, as a sparse array; energies and
conditions follow from the settings of the run.

Shapes: B showers, V voxels, H voxels that are not empty.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepgen.atomic import replacing
from hepgen.calorimeter import Showers
from hepgen.io.errors import OutputExists

__all__ = ["Parts", "write_part"]


class Parts:
    """The folder of a run that is not finished, beside its output.

    Args:
        output: the file that the run makes.
        settings: what decides the showers, as JSON can hold it.
        overwrite: drop what another run left.

    Raises:
        OutputExists: the parts are of a run with other settings; the first that differs is named.
        OSError: the folder cannot be written.
    """

    def __init__(self, output: Path, settings: Mapping[str, Any], *, overwrite: bool) -> None:
        self.folder = output.with_name(f".{output.name}.parts")
        told = self.folder / "settings.json"
        if told.exists():
            before = json.loads(told.read_text())
            differing = [k for k in {**settings, **before} if before.get(k) != settings.get(k)]
            if differing and not overwrite:
                key = differing[0]
                raise OutputExists(
                    f"{self.folder} holds parts of a run with another {key}: {before.get(key)!r}, "
                    f"now {settings.get(key)!r}; overwrite drops them"
                )
            if differing:
                self.drop()
        elif self.folder.exists():
            self.drop()
        self.folder.mkdir(exist_ok=True)
        with replacing(told) as temporary:
            temporary.write_text(json.dumps(settings))

    def path(self, number: int) -> Path:
        """Where a part is.

        Args:
            number: from 0.
        """
        return self.folder / f"{number:06d}.npz"

    def __contains__(self, number: int) -> bool:
        return self.path(number).exists()

    def write(self, number: int, voxels: NDArray[np.float32]) -> None:
        """Keep a part, whole or not at all.

        Args:
            number: of the part.
            voxels: energies in GeV, shape (B, V).
        """
        write_part(self.path(number), voxels)

    def read(self, number: int, like: Showers) -> Showers:
        """A part.

        Args:
            number: which.
            like: showers of the same geometry without energies, with what else is known of them.
        """
        with np.load(self.path(number)) as part:
            counts, cell, energy = part["counts"], part["cell"], part["energy"]
        voxels = np.zeros((len(counts), like.geometry.num_voxels), dtype=np.float32)
        voxels[np.repeat(np.arange(len(counts)), counts), cell] = energy
        return replace(like, voxels=voxels)

    def numbers(self, total: int) -> Iterator[int]:
        """Parts that are not there yet.

        Args:
            total: how many there shall be.
        """
        return (number for number in range(total) if number not in self)

    def drop(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder)


def write_part(path: Path, voxels: NDArray[np.float32]) -> None:
    """Write one part.

    Args:
        path: where to.
        voxels: energies in GeV, shape (B, V).
    """
    row, cell = np.nonzero(voxels)
    counts = np.bincount(row, minlength=len(voxels))
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(
            file,
            counts=counts.astype(np.int32),
            cell=cell.astype(np.int32),
            energy=voxels[row, cell],
        )
