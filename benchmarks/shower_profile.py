"""Parametrised showers: how many a second, and the factor to Geant4.

``python -m benchmarks.shower_profile`` times `hepgen.calorimeter.simulate_showers` in the layout of
CaloChallenge's data set 2 (6480 voxels, 90 plates of tungsten and silicon) for electrons and
photons of energies drawn evenly in their logarithm from 1 to 100 GeV, and for some fixed energies,
and with ``--threads`` on several threads. Showers are made 5000 at a time, as a file would be
filled. One thread is timed by its processor time, several on the wall, as the machine has other
work; the least and the median of the repetitions are told. Geant4's 6 ms of processor time a GeV is
what the showers in ``shared/data`` cost, by their README: it is not measured here.
"""

from __future__ import annotations

import argparse
import csv
import os
import statistics
import time
from pathlib import Path

import numpy as np

from hepgen.calorimeter import Sampling, named_geometry, simulate_showers

STACK = Sampling((("W", 1.4), ("Si", 0.3)), 0.135)
PIECE = 5000
# Milliseconds of Geant4 for a GeV.
GEANT4 = 6.0


def seconds(energy: np.ndarray, particle: str, threads: int, seed: int) -> float:
    """What one piece costs."""
    clock = time.thread_time if threads == 1 else time.perf_counter
    geometry = named_geometry("ds2")
    start = clock()
    simulate_showers(
        geometry, STACK, energy, particle=particle, response=0.967, seed=seed, threads=threads
    )
    return clock() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--output", type=Path, help="CSV to write")
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    spread = 100 ** rng.random(PIECE)
    energies = {"1:100": spread} | {f"{e:g}": np.full(PIECE // 5, e) for e in (1.0, 10.0, 100.0)}
    rows = []
    for threads in arguments.threads:
        seconds(spread[:50], "photon", threads, 0)  # compiles
        for particle in ("electron", "photon"):
            for name, energy in energies.items():
                times = [
                    seconds(energy, particle, threads, i) for i in range(arguments.repetitions)
                ]
                per_shower = 1e6 * min(times) / len(energy)
                row = {
                    "threads": threads,
                    "particle": particle,
                    "GeV": name,
                    "us a shower": f"{per_shower:.1f}",
                    "median": f"{1e6 * statistics.median(times) / len(energy):.1f}",
                    "showers/s": f"{1e6 / per_shower:.0f}",
                    "a million, s": f"{per_shower:.0f}",
                    "over Geant4": f"{1e3 * GEANT4 * energy.mean() / per_shower:.0f}",
                    "load": f"{os.getloadavg()[0]:.1f}",
                }
                rows.append(row)
                print(*row.values(), sep="\t", flush=True)
    if arguments.output:
        with arguments.output.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
