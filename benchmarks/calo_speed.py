"""What a shower costs: all simulators of hepgen, at batch 1, 100, 1000 and 10 000.

``python -m benchmarks.calo_speed [NAME ...] [--threads 1 2]``; with two threads, set
``OMP_WAIT_POLICY=PASSIVE``, so that waiting ones do not count as work. Simulators have their
default sizes and are not trained; energies are drawn evenly in their logarithm from 1 to 100 GeV.
Each is timed from conditions to voxels, as `Simulator.sample` calls it, in the layout of the
CaloChallenge's data set 2 (45 x 16 x 9 = 6480 voxels) and in the coarse one of this project's
trainings (15 x 8 x 4 = 480).

The shortest of the repetitions is written, as the wall clock has it and as the time of all cores:
on a busy machine the wall clock tells of the others. Where there was time for one repetition only
(column ``repetitions``), it includes what a first call costs. Of 10 000 showers 1000 are made at a
time, and no more once the time is over (column ``made``). The load is that of the machine as a
whole, one minute's mean.

What stands beside it is an assumption and no measurement: full simulation taking 6 ms of one core
for each GeV, 129 ms for the mean energy of 21.5 GeV.
"""

from __future__ import annotations

import argparse
import csv
import inspect
import os
import time
from pathlib import Path

import numpy as np
import torch

from hepgen import simulators
from hepgen.calorimeter import Geometry, Layer, Showers
from hepgen.simulators import Conditions, Simulator

BATCHES = (1, 100, 1000, 10_000)
# Of more than so many showers, this many are made at a time.
PIECE = 1000
LOW, HIGH = 1.0, 100.0
# Assumed of Geant4: one core, a GeV of an electron in this calorimeter.
GEANT4_MS_PER_GEV = 6.0
COLUMNS = (
    "simulator",
    "voxels",
    "parameters",
    "threads",
    "batch",
    "wall_ms",
    "cpu_ms",
    "geant4_over_cpu",
    "repetitions",
    "made",
    "load",
)


def challenge() -> Geometry:
    """Data set 2 of the CaloChallenge."""
    edges = tuple(4.65 * i for i in range(10))
    layers = tuple(Layer(edges, 16, i, 3.4 * (i + 0.5)) for i in range(45))
    return Geometry(layers, "ds2", "electron", 15.15e-6, symmetric=True)


def showers(geometry: Geometry, number: int) -> Showers:
    """Something that looks enough like showers to take means and widths of."""
    rng = np.random.default_rng(0)
    energy = LOW * (HIGH / LOW) ** rng.random(number)
    depth = np.exp(-(((geometry.z / geometry.z.max() - 0.25) / 0.2) ** 2))
    expected = depth * np.exp(-geometry.r / 10.0)
    voxels = energy[:, None] * expected / expected.sum() * rng.exponential(size=(number, 1))
    voxels = voxels * rng.exponential(size=(number, geometry.num_voxels))
    return Showers(geometry, energy, voxels.astype(np.float32)).above()


def names() -> list[str]:
    found = ((name, getattr(simulators, name)) for name in simulators.__all__)
    return [
        name
        for name, cls in found
        if inspect.isclass(cls) and issubclass(cls, Simulator) and not inspect.isabstract(cls)
    ]


def measure(
    simulator: Simulator, batch: int, repetitions: int, seconds: float
) -> tuple[float, float, int, int]:
    """Milliseconds a shower by the wall clock and of all cores, how often tried, how many made."""
    rng = np.random.default_rng(1)
    energy = LOW * (HIGH / LOW) ** rng.random(batch)
    context = torch.from_numpy(simulator.conditions.encode(energy))
    incident = torch.from_numpy(energy.astype(np.float32))
    found = []
    began = time.perf_counter()
    # The first makes machine code and does not count, if there is time for another.
    for _ in range(repetitions + 1):
        wall, cpu = time.perf_counter(), time.process_time()
        made = 0
        for start in range(0, batch, PIECE):
            piece = slice(start, start + PIECE)
            with torch.inference_mode():
                simulator.generate(
                    incident[piece], context[piece], torch.Generator().manual_seed(1)
                )
            made = min(start + PIECE, batch)
            if time.perf_counter() - began > seconds:
                break
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        found.append((wall / made, cpu / made, made))
        if time.perf_counter() - began > seconds:
            break
    # A repetition that was cut counts if no other was whole.
    warm = found[1:] or found
    best = [one for one in warm if one[2] == batch] or warm
    wall, cpu = (1e3 * min(one[i] for one in best) for i in range(2))
    return wall, cpu, len(best), max(one[2] for one in best)


def rows_of(
    name: str, sample: Showers, threads: int, repetitions: int, seconds: float
) -> list[dict[str, object]]:
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    simulator = getattr(simulators, name)(sample.geometry, Conditions((LOW, HIGH)))
    simulator.prepare(sample)
    simulator.eval()
    mean = (HIGH - LOW) / np.log(HIGH / LOW)
    rows: list[dict[str, object]] = []
    for batch in BATCHES:
        wall, cpu, count, made = measure(simulator, batch, repetitions, seconds)
        values = (
            name,
            sample.geometry.num_voxels,
            sum(p.numel() for p in simulator.parameters()),
            threads,
            batch,
            f"{wall:.4g}",
            f"{cpu:.4g}",
            f"{GEANT4_MS_PER_GEV * mean / cpu:.4g}",
            count,
            made,
            f"{os.getloadavg()[0]:.1f}",
        )
        rows.append(dict(zip(COLUMNS, values, strict=True)))
        print(", ".join(f"{k} {v}" for k, v in rows[-1].items()), flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="simulators; all if not given")
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--repetitions", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=20.0, help="wall clock of one batch size")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path(__file__).parent / "results" / "calo_speed.csv",
    )
    arguments = parser.parse_args()
    fine = showers(challenge(), 300)
    mean = (HIGH - LOW) / np.log(HIGH / LOW)
    print(
        f"geant4_over_cpu assumes {GEANT4_MS_PER_GEV} ms of one core for each GeV, "
        f"{GEANT4_MS_PER_GEV * mean:.0f} ms for the mean energy of {mean:.1f} GeV; not measured"
    )
    rows = []
    for sample in (fine.merged(layers=3, sectors=2, rings=(1, 1, 2, 5)), fine):
        for name in arguments.names or names():
            for threads in arguments.threads:
                rows += rows_of(name, sample, threads, arguments.repetitions, arguments.seconds)
    with arguments.output.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
