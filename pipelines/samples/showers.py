"""The sample of showers: Geant4 showers in coarse voxels, from the full files.

`python -m pipelines.samples.showers SOURCE --output data_samples/electrons.hdf5`, where SOURCE is
electrons_1-100GeV_ds2.hdf5: electrons of 1 to 100 GeV, simulated by this project with Geant4 11.4
in the calorimeter of the CaloChallenge's data sets 2 and 3.

Shapes: B showers, V voxels.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hepgen.calorimeter import Geometry, Showers
from hepgen.calorimeter.challenge import ChallengeFile
from hepgen.calorimeter.challenge_writer import ChallengeWriter
from hepgen.calorimeter.reading import Reading

__all__ = ["coarse_showers", "main"]

NUMBER = 4000
BITS = 12
NAME = "coarse W/Si calorimeter"


def coarse_showers(source: str | Path, number: int = NUMBER) -> Showers:
    """The first showers of a file of data set 2, their voxels joined and rounded.

    Args:
        source: in the layout of the CaloChallenge, 6480 voxels.
        number: of showers.

    Returns:
        Showers of 480 voxels: three layers, two sectors and 1, 1, 2 and 5 rings become one. Voxels
        are rounded to 12 binary digits after the first, which is 1.2e-4 of them.
    """
    fine = ChallengeFile(source, "ds2", Reading(dtype="float64")).read(0, number)
    coarse = fine.merged(layers=3, sectors=2, rings=(1, 1, 2, 5))
    geometry = Geometry(
        coarse.geometry.layers, NAME, "electron", coarse.geometry.threshold, symmetric=True
    )
    voxels = _rounded((coarse.voxels * 1000).astype(np.float32)) / 1000.0
    return Showers(geometry, coarse.incident_energy, voxels)


def _rounded(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Numbers of 12 binary digits after the first, which gzip makes smaller."""
    dropped = 23 - BITS
    bits = values.view(np.uint32) + np.uint32(1 << (dropped - 1))
    rounded: NDArray[np.float32] = (bits & np.uint32(0xFFFFFFFF << dropped & 0xFFFFFFFF)).view(
        np.float32
    )
    return rounded


def main() -> None:
    """Make the sample."""
    parser = argparse.ArgumentParser(description="Coarse showers from the full files.")
    parser.add_argument("source", type=Path, help="electrons_1-100GeV_ds2.hdf5")
    parser.add_argument("--output", type=Path, default=Path("data_samples/electrons.hdf5"))
    parser.add_argument("--number", type=int, default=NUMBER)
    arguments = parser.parse_args()
    showers = coarse_showers(arguments.source, arguments.number)
    with ChallengeWriter(arguments.output, showers.geometry, overwrite=True, level=9) as writer:
        writer.extend(showers)


if __name__ == "__main__":
    main()
